"""A uint8 batch becomes an augmented float batch, deterministic from (seed, epoch).

`ImageDataGenerator` owns the policy and draws every random parameter, whichever kernel then moves the pixels: its own,
image by image, or `warp` for the whole batch. This module is the only one that imports it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from catdog_ray.data import Images
from catdog_ray.settings import AugmentSettings
from catdog_ray.warp import PIXEL_SCALE, Warper, matrices, rescale

try:
    from tensorflow.keras.preprocessing.image import ImageDataGenerator
except ImportError:  # with JAX or PyTorch alone, Keras carries the same class
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

# ImageDataGenerator draws from NumPy's global generator; it is borrowed under this lock and put back.
_GLOBAL_NUMPY = threading.Lock()


def image_data_generator(settings: AugmentSettings) -> Any:
    """The policy as an `ImageDataGenerator`."""
    return ImageDataGenerator(
        rescale=PIXEL_SCALE,
        horizontal_flip=settings.horizontal_flip,
        rotation_range=settings.rotation_range,
        zoom_range=settings.zoom_range,
    )


def training_batches(
    images: Images, settings: AugmentSettings | None, *, batch_size: int, seed: int, first_epoch: int
) -> Iterator[tuple[Any, np.ndarray]]:
    """Endless shuffled batches, epoch after epoch from `first_epoch` (counted from 0).

    Yields x (batch, height, width, 3) float32 in [0, 1] and y (batch,) int32; an epoch's last batch may be smaller.
    x is what `Warper` returns with the fused kernel, else a NumPy array.
    Order and transforms of epoch e depend on (seed, e) alone. `settings` None: only rescaled.
    """
    generator = None if settings is None else image_data_generator(settings)
    fused = settings is not None and settings.kernel == "fused"
    warper = Warper(images.pixels, batch_size=min(batch_size, len(images.labels))) if fused else None
    epoch = first_epoch
    drawing = Drawing(generator, images, seed=seed, epoch=epoch)
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(len(images.labels))
        following = Drawing(generator, images, seed=seed, epoch=epoch + 1)
        batch = _rescaled(images)
        if settings is not None:
            transforms = drawing.whole()
            batch = _fused(warper, images, transforms) if warper else _one_by_one(generator, images, transforms)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            yield batch(chosen), images.labels[chosen]
            if settings is not None:
                # While a device computes with this batch; all at once, the next epoch's first batch would wait for it.
                following.go_on(len(chosen))
        epoch, drawing = epoch + 1, following


Batch = Callable[[np.ndarray], Any]
"""The images at these indices, ready to train on."""


def _rescaled(images: Images) -> Batch:
    return lambda chosen: rescale(images.pixels[chosen])


def _one_by_one(generator: Any, images: Images, transforms: list[dict[str, Any]]) -> Batch:
    return lambda chosen: apply(generator, images.pixels[chosen], [transforms[index] for index in chosen])


def _fused(warper: Warper, images: Images, transforms: list[dict[str, Any]]) -> Batch:
    height, width = images.pixels.shape[1:3]
    sources = matrices(transforms, height=height, width=width)
    return lambda chosen: warper(chosen, sources[chosen])


class Drawing:
    """The random parameters of every image in one epoch, in the order of the images (not of the batches).

    They may be drawn in parts, and are then those of one go.
    """

    def __init__(self, generator: Any, images: Images, *, seed: int, epoch: int) -> None:
        self._generator, self._shape, self._count = generator, images.pixels.shape[1:], len(images.labels)
        derived = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
        self._state = np.random.RandomState(derived).get_state()
        self._drawn: list[dict[str, Any]] = []

    def go_on(self, count: int) -> None:
        """Draw those of the next `count` images, or of as many as there are left."""
        missing = min(count, self._count - len(self._drawn))
        with _GLOBAL_NUMPY:
            before = np.random.get_state()
            try:
                np.random.set_state(self._state)
                self._drawn += [self._generator.get_random_transform(self._shape) for _ in range(missing)]
                self._state = np.random.get_state()
            finally:
                np.random.set_state(before)

    def whole(self) -> list[dict[str, Any]]:
        """All of them, each as `ImageDataGenerator.get_random_transform` gives it."""
        self.go_on(self._count)
        return self._drawn


def apply(generator: Any, pixels: np.ndarray, transforms: list[dict[str, Any]]) -> np.ndarray:
    """Warp and rescale a uint8 batch, image by image, as `ImageDataGenerator.flow` does."""
    batch = np.empty(pixels.shape, np.float32)
    for index, (image, transform) in enumerate(zip(pixels, transforms, strict=True)):
        batch[index] = generator.standardize(generator.apply_transform(image.astype(np.float32), transform))
    return batch
