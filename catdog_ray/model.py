"""`HyperParameters` become a compiled Keras model: the brief's four-block CNN, in any size."""

from __future__ import annotations

import keras

from catdog_ray.settings import ModelSettings
from catdog_ray.space import HyperParameters

_FILTER_FACTORS = (1, 2, 4, 4)


def build(
    hyperparameters: HyperParameters,
    settings: ModelSettings,
    *,
    image_size: int,
    classes: int,
    jit_compile: bool | str = "auto",
) -> keras.Model:
    """Conv2D + MaxPool2D blocks, dropout, dense layers, softmax; compiled with Adam.

    Input (n, image_size, image_size, 3) floats in [0, 1]; output (n, classes) probabilities. Layers compute in Keras'
    dtype policy of the moment.
    """
    filters = int(hyperparameters.number("conv_filters"))
    kernel = int(hyperparameters.number("conv_kernel"))
    units = int(hyperparameters.number("dense_units"))
    conv_layers = int(hyperparameters.number("conv_layers", settings.conv_layers))
    dense_layers = int(hyperparameters.number("dense_layers", settings.dense_layers))
    layers: list[keras.Layer] = [keras.Input((image_size, image_size, 3))]
    for block in range(conv_layers):
        factor = _FILTER_FACTORS[min(block, len(_FILTER_FACTORS) - 1)]
        layers.append(keras.layers.Conv2D(filters * factor, kernel, padding=settings.padding, activation="relu"))
        layers.append(keras.layers.MaxPooling2D(2))
    layers += [keras.layers.Dropout(hyperparameters.number("dropout_rate")), keras.layers.Flatten()]
    layers += [keras.layers.Dense(units, activation="relu") for _ in range(dense_layers)]
    # In float32 under mixed precision too: a softmax of eight bits would blunt the loss.
    layers.append(keras.layers.Dense(classes, activation="softmax", dtype="float32"))
    model = keras.Sequential(layers)
    model.compile(
        optimizer=keras.optimizers.Adam(hyperparameters.number("learning_rate")),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    _create_variables(model, classes)
    return model


def _create_variables(model: keras.Model, classes: int) -> None:
    """Those of optimizer and metrics too: TensorFlow traces a step that creates variables a second time."""
    model.optimizer.build(model.trainable_variables)
    model.compute_metrics(None, keras.ops.zeros((1,), "int32"), keras.ops.ones((1, classes)))
    model.reset_metrics()


def multiply_adds(model: keras.Model) -> int:
    """Multiply-accumulate operations of one image's forward pass, over convolutions and dense layers."""
    total = 0
    for layer in model.layers:
        weights = getattr(layer, "kernel", None)
        if weights is None:
            continue
        # A kernel is used once per output position: height x width of a convolution, one of a dense layer.
        positions = 1
        for side in layer.output.shape[1:-1]:
            positions *= side
        count = 1
        for side in weights.shape:
            count *= side
        total += positions * count
    return total
