"""A uint8 batch becomes an augmented float batch, deterministic from (seed, epoch).

`ImageDataGenerator` owns the policy, and every random parameter is the one that it draws, whichever kernel then moves
the pixels: its own, image by image, or `warp` for the whole batch. This module is the only one that imports it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from catdog_ray.data import Images
from catdog_ray.settings import AugmentSettings
from catdog_ray.warp import PIXEL_SCALE, Warper, matrices, rescale

try:
    from tensorflow.keras.preprocessing.image import ImageDataGenerator
except ImportError:  # with JAX or PyTorch alone, Keras carries the same class
    from keras.src.legacy.preprocessing.image import ImageDataGenerator


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
    for epoch in itertools.count(first_epoch):
        order = np.random.default_rng([seed, epoch]).permutation(len(images.labels))
        batch = _rescaled(images)
        if generator is not None:
            transforms = draw(generator, len(images.labels), seed=seed, epoch=epoch)
            batch = _fused(warper, images, transforms) if warper else _one_by_one(generator, images, transforms)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            yield batch(chosen), images.labels[chosen]


Transforms = Mapping[str, np.ndarray]
"""Parameters of `ImageDataGenerator.get_random_transform` by name, each (images,); what is left out does nothing."""

Batch = Callable[[np.ndarray], Any]
"""The images at these indices, ready to train on."""


def _rescaled(images: Images) -> Batch:
    return lambda chosen: rescale(images.pixels[chosen])


def _one_by_one(generator: Any, images: Images, transforms: Transforms) -> Batch:
    return lambda chosen: apply(
        generator, images.pixels[chosen], {name: values[chosen] for name, values in transforms.items()}
    )


def _fused(warper: Warper, images: Images, transforms: Transforms) -> Batch:
    height, width = images.pixels.shape[1:3]
    sources = matrices(transforms, height=height, width=width)
    return lambda chosen: warper(chosen, sources[chosen])


def draw(generator: Any, count: int, *, seed: int, epoch: int) -> dict[str, np.ndarray]:
    """The random parameters of every image in one epoch, in the order of the images (not of the batches).

    To the last bit those of `count` calls of `get_random_transform` after NumPy's global generator was seeded for the
    epoch; drawn at once, they cost an epoch's start next to nothing. Raises ValueError for a policy with more than
    flips, rotation and zoom.
    """
    more = ("width_shift_range", "height_shift_range", "shear_range", "channel_shift_range", "brightness_range")
    if asked := [name for name in more if np.any(getattr(generator, name))]:
        raise ValueError(f"flips, rotation and zoom are drawn, not {', '.join(asked)}")
    flips = {"flip_horizontal": generator.horizontal_flip, "flip_vertical": generator.vertical_flip}
    ranges: dict[str, tuple[float, float]] = {}
    # In its order, and what it leaves out is not drawn.
    if generator.rotation_range:
        ranges["theta"] = -generator.rotation_range, generator.rotation_range
    if tuple(generator.zoom_range) != (1, 1):
        ranges |= dict.fromkeys(("zx", "zy"), tuple(generator.zoom_range))
    ranges |= dict.fromkeys(flips, (0.0, 1.0))
    derived = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    low, high = np.transpose(list(ranges.values()))
    values = np.random.RandomState(derived).uniform(low, high, (count, len(ranges)))
    found = dict(zip(ranges, values.T, strict=True))
    return found | {name: (found[name] < 0.5) & is_on for name, is_on in flips.items()}


def apply(generator: Any, pixels: np.ndarray, transforms: Transforms) -> np.ndarray:
    """Warp and rescale a uint8 batch, image by image, as `ImageDataGenerator.flow` does."""
    batch = np.empty(pixels.shape, np.float32)
    for index, image in enumerate(pixels):
        transform = {name: values[index] for name, values in transforms.items()}
        batch[index] = generator.standardize(generator.apply_transform(image.astype(np.float32), transform))
    return batch
