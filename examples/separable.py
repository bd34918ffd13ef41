"""A network of one's own: separable convolutions, batch normalisation or none, a fraction of the weights.

    python -m catdog_ray.tune --config examples/separable.yaml --num-samples 8

The function is called on a worker, some times before the search and then for every trial. It may return the model
compiled (with metrics=['accuracy'] and a loss for whole-number labels) or, as here, uncompiled: then Adam with the
trial's `learning_rate` is used. `predict` loads only the layers listed in `catdog_ray/model_file.py`: others would
train, and only your own code could load them.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
from keras import layers


def build(
    hyperparameters: Mapping[str, bool | int | float | str], input_shape: tuple[int, int, int], classes: int
) -> keras.Model:
    """`input_shape` is (size, size, 3), floats in [0, 1]; the model gives probabilities (n, classes)."""
    inputs = keras.Input(input_shape)
    width = int(hyperparameters["width"])
    hidden = layers.Conv2D(width, 3, padding="same", activation="relu")(inputs)
    normalise = bool(hyperparameters["normalise"])
    for block in range(int(hyperparameters["blocks"])):
        hidden = layers.SeparableConv2D(width * 2**block, 3, padding="same", use_bias=not normalise)(hidden)
        if normalise:
            hidden = layers.BatchNormalization()(hidden)
        hidden = layers.Activation(str(hyperparameters["activation"]))(hidden)
        hidden = layers.MaxPooling2D(2)(hidden)
    hidden = layers.GlobalAveragePooling2D()(hidden)
    hidden = layers.Dropout(float(hyperparameters["dropout_rate"]))(hidden)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(hidden))
