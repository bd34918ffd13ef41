"""Score and classify images with a network: weights averaged, and mirrored images too, where a study says so."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from catdog_ray import backend, warp
from catdog_ray.data import Images

EVALUATION_BATCH = 250
"""Images per step where nothing is learnt; it bounds memory and changes no result beyond rounding."""

_LEAST_PROBABILITY = 1e-7
"""As Keras' losses clip it."""


def evaluate(network: keras.Model, images: Images, *, flip: bool = False) -> tuple[float, float]:
    """Mean loss and accuracy (a fraction) on images without augmentation.

    With `flip` of the mean of the probabilities for an image and its mirror image, the loss then being crossentropy.
    """
    if flip:
        probabilities = predict(network, images, flip=True)
        of_truth = probabilities[np.arange(len(images.labels)), images.labels]
        right = np.argmax(probabilities, axis=1) == images.labels
        return float(-np.log(np.clip(of_truth, _LEAST_PROBABILITY, 1)).mean()), float(right.mean())
    with averaged(network):
        scores = network.evaluate(rescaled_batches(images), verbose=0, return_dict=True)
    return float(scores["loss"]), float(scores["accuracy"])


def predict(network: keras.Model, images: Images, *, flip: bool = False) -> np.ndarray:
    """Probabilities (n, classes) float32; with `flip` the mean over each image and its mirror image."""
    with averaged(network):
        probabilities: np.ndarray = network.predict(rescaled_batches(images), verbose=0)
        if flip:
            mirrored = network.predict(rescaled_batches(images, mirrored=True), verbose=0)
            probabilities = (probabilities + mirrored) / 2
    return probabilities


def keeps_average(network: keras.Model) -> bool:
    """Whether the optimizer keeps a running average of the weights; that of a network of one's own may."""
    return bool(network.compiled and getattr(_inner_optimizer(network), "use_ema", False))


def _inner_optimizer(network: keras.Model) -> Any:
    return getattr(network.optimizer, "inner_optimizer", network.optimizer)  # of mixed_float16's loss scaling


@contextmanager
def averaged(network: keras.Model) -> Iterator[None]:
    """The network with the running average of its weights, where its optimizer keeps one; then exactly as it was."""
    if not keeps_average(network):
        yield
        return
    variables = network.trainable_variables
    kept = [_copied(variable) for variable in variables]
    averages = _inner_optimizer(network)._model_variables_moving_average
    for variable, average in zip(variables, averages, strict=True):
        variable.assign(_copied(average))
    try:
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)


def _copied(variable: Any) -> np.ndarray:
    """On JAX two variables must not share memory: a step is given that of its variables, to write over."""
    return np.array(keras.ops.convert_to_numpy(variable))


def rescaled_batches(images: Images, *, mirrored: bool = False) -> Any:
    """Images in order, rescaled batch by batch, as Keras' `fit`, `evaluate` and `predict` take them."""
    return backend.feed(_RescaledBatches(images, mirrored=mirrored), image_shape=images.pixels.shape[1:])


class _RescaledBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Made one by one, so that no float copy of the whole split is made."""

    def __init__(self, images: Images, *, mirrored: bool) -> None:
        super().__init__()
        self._pixels = images.pixels[:, :, ::-1] if mirrored else images.pixels
        self._labels = images.labels

    def __len__(self) -> int:
        return math.ceil(len(self._labels) / EVALUATION_BATCH)

    def __getitem__(self, index: int) -> tuple[Any, np.ndarray]:
        part = slice(index * EVALUATION_BATCH, (index + 1) * EVALUATION_BATCH)
        return warp.rescale_on_device(self._pixels[part]), self._labels[part]
