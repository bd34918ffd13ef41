"""Small data and settings that several test modules train on."""

from __future__ import annotations

from typing import Any

import numpy as np

from catdog_ray import config
from catdog_ray.data import Images
from catdog_ray.ranges import Choice, FloatRange, IntRange, Range
from catdog_ray.settings import Config
from catdog_ray.space import HyperParameters

POINT = HyperParameters.of(
    {"learning_rate": 1e-3, "dropout_rate": 0.3, "conv_filters": 4, "conv_kernel": 3, "dense_units": 16}
)
"""A network that trains in a fraction of a second an epoch."""


EVERY_KIND: dict[str, Range] = {
    "rate": FloatRange(1e-4, 1e-2, "log"),
    "share": FloatRange(0.0, 1.0, "linear"),
    "width": IntRange(8, 64, 8, "linear"),
    "units": IntRange(1, 4, 1, "log"),
    "skip": Choice((True, False)),
    "batch_size": Choice((8, 16)),
    "scale": Choice((1, 1.5)),
    "activation": Choice(("relu", "gelu")),
}
"""A space with every kind of range that each method of search takes."""

ANY_POINT = HyperParameters.of(
    {
        "rate": 1e-3,
        "share": 1.0,
        "width": 16,
        "units": 4,
        "skip": True,
        "batch_size": 8,
        "scale": 1,
        "activation": "relu",
    }
)


def images(count: int = 48, *, size: int = 16, seed: int = 0) -> Images:
    """Half bright-on-the-left, half bright-on-top pictures with noise: learnable, and not by a flip's invariance."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 120, (count, size, size, 3), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int32) % 2
    pixels[labels == 0, : size // 2] += 100
    pixels[labels == 1, size // 4 : -size // 4, size // 4 : -size // 4] += 100
    return Images(pixels, labels, tuple(f"{i}.png" for i in range(count)), ("cats", "dogs"))


def quick_config(**overrides: Any) -> Config:
    """The quickstart with a tiny network, few epochs and overrides by dotted name (`search__max_epochs=3`)."""
    small: dict[str, Any] = {
        "data.image_size": 16,
        "data.drawn_train": 60,
        "data.drawn_test": 20,
        "space.conv_filters": {"choices": [2, 4]},
        "space.dense_units": {"choices": [8, 16]},
        "baseline.conv_filters": 4,
        "baseline.dense_units": 16,
        "search.num_samples": 4,
        "search.max_epochs": 4,
        "search.grace_epochs": 1,
        "search.reduction_factor": 2,
        "train.checkpoint_epochs": 1,
        "retrain.milestones": [2, 3],
        "cluster.dashboard": False,
    }
    small |= {key.replace("__", "."): value for key, value in overrides.items()}
    return config.load("configs/quickstart.yaml", overrides=small)
