"""The pixels of a whole batch in one affine resampling: `ImageDataGenerator`'s warp, compiled where the backend can.

Bilinear, edges repeated, float32 in [0, 1] from uint8. What is drawn, and for which image, is `augment`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from keras import ops

PIXEL_SCALE = 1 / 255

_MOST_ON_DEVICE_BYTES = 2**29

NO_CHANGE: Mapping[str, float] = {
    **dict.fromkeys(("theta", "tx", "ty", "shear", "flip_horizontal", "flip_vertical"), 0.0),
    **dict.fromkeys(("zx", "zy"), 1.0),
}
"""What of `ImageDataGenerator.get_random_transform` a matrix can say, and the values that move nothing."""


def matrices(transforms: Mapping[str, np.ndarray], *, height: int, width: int) -> np.ndarray:
    """(n, 2, 3) float32: where in the source, (row, column), an output pixel's (row, column, 1) comes from.

    `transforms` are parameters of `ImageDataGenerator.get_random_transform`, each (n,), at least one of them; what is
    left out moves nothing. The product is that of Keras' `apply_affine_transform` (rotation, shift, shear, zoom about
    the centre), then its flips of the result. Raises ValueError for parameters that are no geometry.
    """
    if beyond := sorted(set(transforms) - set(NO_CHANGE)):
        raise ValueError(f"a matrix cannot say {', '.join(beyond)}")
    count = len(next(iter(transforms.values())))
    drawn = {name: np.asarray(transforms.get(name, value), np.float64) for name, value in NO_CHANGE.items()}
    theta, shear = np.deg2rad(drawn["theta"]), np.deg2rad(drawn["shear"])
    rotation = _stack([[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0]], count)
    shift = _stack([[1, 0, drawn["tx"]], [0, 1, drawn["ty"]]], count)
    sheared = _stack([[1, -np.sin(shear), 0], [0, np.cos(shear), 0]], count)
    zoom = _stack([[drawn["zx"], 0, 0], [0, drawn["zy"], 0]], count)
    # Keras shifts by the centre of (height, width) and swaps the axes afterwards; so both, in its order.
    centre = np.array([[1, 0, (height - 1) / 2], [0, 1, (width - 1) / 2], [0, 0, 1]])
    about_centre = centre @ (rotation @ shift @ sheared @ zoom) @ np.linalg.inv(centre)
    swapped = about_centre[:, [1, 0, 2]][:, :, [1, 0, 2]]
    up, left = drawn["flip_vertical"], drawn["flip_horizontal"]
    flip = _stack([[1 - 2 * up, 0, up * (height - 1)], [0, 1 - 2 * left, left * (width - 1)]], count)
    found: np.ndarray = (swapped @ flip)[:, :2].astype(np.float32)
    return found


class Warper:
    """uint8 images (n, height, width, channels), from which batches are warped.

    On JAX and PyTorch with a GPU the images lie there, unless they are large; a batch then costs no more traffic than
    its indices. TensorFlow's `fit` copies what a Python generator yields to the host anyway.
    """

    def __init__(self, pixels: np.ndarray, *, batch_size: int) -> None:
        self._pixels, self._batch_size = pixels, batch_size
        stays = _computes_on_a_gpu() and pixels.nbytes <= _MOST_ON_DEVICE_BYTES
        self._on_device = ops.convert_to_tensor(pixels) if stays else None

    def __call__(self, chosen: np.ndarray, sources: np.ndarray) -> Any:
        """The images at the indices `chosen` (m,) by their `matrices` (m, 2, 3): (m, height, width, channels) float32.

        In [0, 1]. A batch smaller than `batch_size` is filled up for the computation, so that one compiled function
        serves all. The result lies on the device; with TensorFlow it is a NumPy array.
        """
        count = len(chosen)
        missing = max(0, self._batch_size - count)
        if missing:
            chosen = np.concatenate([chosen, np.zeros(missing, chosen.dtype)])
            sources = np.concatenate([sources, np.zeros((missing, 2, 3), np.float32)])
        if self._on_device is None:
            found = _compiled(_resample)(self._pixels[chosen], sources)
        else:
            found = _compiled(_take_and_resample)(self._on_device, chosen.astype(np.int32), sources)
        if keras.backend.backend() == "tensorflow":
            found = ops.convert_to_numpy(found)
        # A slice of a whole tensor on a device is a copy.
        return found[:count] if missing else found


def _computes_on_a_gpu() -> bool:
    """On JAX or PyTorch; elsewhere images would be copied out of memory that all workers share, for nothing."""
    return keras.backend.backend() != "tensorflow" and "cpu" not in str(ops.zeros(1).device).lower()


def rescale(pixels: np.ndarray) -> np.ndarray:
    """uint8 pixels to float32 in [0, 1]: all that validation and test images get."""
    return pixels.astype(np.float32) * np.float32(PIXEL_SCALE)


def rescale_on_device(pixels: np.ndarray) -> Any:
    """As `rescale`; on JAX and PyTorch by the device, which is sent a quarter of the bytes so."""
    if keras.backend.backend() == "tensorflow":
        return rescale(pixels)
    # A mirrored batch is a view that runs backwards, which PyTorch does not take.
    return _compiled(_rescale)(np.ascontiguousarray(pixels))


@lru_cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Fused into one loop by XLA where Keras runs on TensorFlow or JAX; kept while the process lives."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        compiled: Callable[..., Any] = tf.function(function, jit_compile=True)
        return compiled
    if backend == "jax":
        import jax

        return jax.jit(function)
    return function


def _rescale(pixels: Any) -> Any:
    return ops.cast(ops.convert_to_tensor(pixels), "float32") * PIXEL_SCALE


def _take_and_resample(pixels: Any, chosen: Any, sources: Any) -> Any:
    return _resample(ops.take(pixels, ops.convert_to_tensor(chosen), axis=0), sources)


def _resample(pixels: Any, sources: Any) -> Any:
    """The four neighbours of every source position, weighted; positions beyond an edge are moved onto it."""
    # Here and not by the caller: what is compiled takes NumPy arrays in a fraction of the time.
    pixels, sources = ops.convert_to_tensor(pixels), ops.convert_to_tensor(sources)
    count, height, width, channels = pixels.shape
    row = ops.reshape(ops.arange(height, dtype="float32"), (1, height, 1))
    column = ops.reshape(ops.arange(width, dtype="float32"), (1, 1, width))

    def position(axis: int, size: int) -> tuple[Any, Any, Any]:
        """(index, next index, weight of the next) along one axis, each (count, height, width)."""
        a, b, c = (ops.reshape(sources[:, axis, i], (-1, 1, 1)) for i in range(3))
        exact = ops.clip(a * row + b * column + c, 0.0, size - 1.0)
        below = ops.floor(exact)
        index = ops.cast(below, "int32")
        return index, ops.minimum(index + 1, size - 1), ops.expand_dims(exact - below, -1)

    top, bottom, down = position(0, height)
    left, right, across = position(1, width)
    image = ops.reshape(ops.arange(count, dtype="int32") * (height * width), (-1, 1, 1))
    flat = ops.reshape(pixels, (-1, channels))

    def along(rows: Any) -> Any:
        first = ops.cast(ops.take(flat, image + rows * width + left, axis=0), "float32")
        second = ops.cast(ops.take(flat, image + rows * width + right, axis=0), "float32")
        return first + (second - first) * across

    upper, lower = along(top), along(bottom)
    return (upper + (lower - upper) * down) * PIXEL_SCALE


def _stack(rows: Sequence[Sequence[Any]], count: int) -> np.ndarray:
    """(count, 3, 3) from two rows of numbers or of arrays (count,), and the third row of an affine matrix."""
    found = np.zeros((count, 3, 3))
    found[:, 2, 2] = 1
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            found[:, i, j] = value
    return found
