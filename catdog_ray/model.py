"""`HyperParameters` become a compiled Keras model: the guide's four-block CNN, in any size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from catdog_ray import builder
from catdog_ray.builder import BuilderError
from catdog_ray.settings import ModelSettings, TrainSettings
from catdog_ray.space import HyperParameters

_FILTER_FACTORS = (1, 2, 4, 4)


@dataclass(frozen=True)
class Recipe:
    """How Adam's learning rate and the weights' average go over a run.

    `decay_steps`: to zero by half a cosine over so many steps (None: constant). `ema_momentum`: of the running average
    of the weights (0: none is kept).
    """

    decay_steps: int | None = None
    ema_momentum: float = 0.0

    @classmethod
    def of(cls, settings: TrainSettings, *, steps: int) -> Recipe:
        """The recipe for a run of `steps` steps."""
        return cls(steps if settings.learning_rate_schedule == "cosine" else None, settings.ema_momentum)

    def optimizer(self, learning_rate: float) -> keras.Optimizer:
        """Adam, beginning with `learning_rate`."""
        rate = keras.optimizers.schedules.CosineDecay(learning_rate, self.decay_steps) if self.decay_steps else None
        average = {"use_ema": True, "ema_momentum": self.ema_momentum} if self.ema_momentum else {}
        return keras.optimizers.Adam(learning_rate if rate is None else rate, **average)


PLAIN = Recipe()
"""As the guide trains: a constant learning rate, and no average."""


def build(
    hyperparameters: HyperParameters,
    settings: ModelSettings,
    *,
    image_size: int,
    classes: int,
    jit_compile: bool | str = "auto",
    recipe: Recipe = PLAIN,
) -> keras.Model:
    """Conv2D + MaxPool2D blocks, dropout, dense layers, softmax; compiled with Adam. Or the user's own network.

    Input (n, image_size, image_size, 3) floats in [0, 1]; output (n, classes) probabilities. Layers compute in Keras'
    dtype policy of the moment. Raises BuilderError where `settings.builder` gives something else.
    """
    if settings.builder is None:
        network = _four_blocks(hyperparameters, settings, image_size=image_size, classes=classes)
    else:
        network, _ = own(hyperparameters, settings.builder, image_size=image_size, classes=classes)
    return compiled(network, hyperparameters, settings, jit_compile=jit_compile, recipe=recipe)


def compiled(
    network: keras.Model,
    hyperparameters: HyperParameters,
    settings: ModelSettings,
    *,
    jit_compile: bool | str = "auto",
    recipe: Recipe = PLAIN,
) -> keras.Model:
    """The network of `hyperparameters`, compiled unless its builder did, with the variables of its optimizer.

    Raises BuilderError where it is compiled and `recipe` asks for another optimizer.
    """
    if not network.compiled:
        network.compile(
            optimizer=recipe.optimizer(hyperparameters.number("learning_rate", 1e-3)),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=jit_compile,
        )
        # TensorFlow traces a step that creates variables a second time.
        network.compute_metrics(None, keras.ops.zeros((1,), "int32"), keras.ops.ones((1, network.output_shape[-1])))
        network.reset_metrics()
    elif recipe != PLAIN:
        raise BuilderError(
            f"{settings.builder} returns a compiled model, whose optimizer is its own; for "
            "train.learning_rate_schedule and train.ema_momentum return it uncompiled"
        )
    network.optimizer.build(network.trainable_variables)
    return network


def _four_blocks(
    hyperparameters: HyperParameters, settings: ModelSettings, *, image_size: int, classes: int
) -> keras.Model:
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
    return keras.Sequential(layers)


def own(
    hyperparameters: HyperParameters, name: str, *, image_size: int, classes: int
) -> tuple[keras.Model, frozenset[str]]:
    """What `function(hyperparameters, input_shape, classes)` returns, and the names that it read of its first argument.

    Raises BuilderError where that is no network that can be trained, ConfigError where there is no such function.
    """
    function = builder.resolve(name)
    handed = builder.Handed(hyperparameters)
    try:
        model = function(handed, (image_size, image_size, 3), classes)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise BuilderError(f"{name} raised {type(error).__name__}: {error}") from error
    _require_trainable(name, model, image_size=image_size, classes=classes)
    return model, frozenset(handed.read)


def _require_trainable(name: str, model: Any, *, image_size: int, classes: int) -> None:
    if not isinstance(model, keras.Model):
        raise BuilderError(f"{name} must return a keras.Sequential or functional model, got {type(model).__name__}")
    if not hasattr(model, "output_shape"):
        raise BuilderError(
            f"{name} must return a keras.Sequential or functional model that begins with keras.Input(input_shape), "
            f"got a {type(model).__name__} without shapes"
        )
    expected = (None, image_size, image_size, 3), (None, classes)
    if (model.input_shape, model.output_shape) != expected:
        raise BuilderError(
            f"{name} must return a model from {expected[0]} to {expected[1]}, "
            f"got {model.input_shape} to {model.output_shape}"
        )
    if not model.trainable_variables:
        raise BuilderError(f"{name} must return a model that can learn, got one without trainable weights")


def layers_of(network: keras.Model) -> Iterator[keras.Layer]:
    """The layers of a network, and in their place those of the networks that it is made of."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from layers_of(layer)
        else:
            yield layer


def multiply_adds(network: keras.Model) -> int:
    """Multiply-accumulate operations of one image's forward pass, over convolutions and dense layers.

    At least 1, though layers inside a subclassed network do not count.
    """
    total = 0
    for layer in layers_of(network):
        names = ("kernel", "depthwise_kernel", "pointwise_kernel")
        sizes = [
            math.prod(kernel.shape) for name in names for kernel in [getattr(layer, name, None)] if kernel is not None
        ]
        if not sizes or not layer._inbound_nodes:
            # What a subclassed network does inside is not known by its shapes.
            continue
        # A kernel is used once per position: height x width of a convolution's output (of its input, where it spreads
        # that out), one of a dense layer.
        is_spread = "Transpose" in type(layer).__name__
        total += sum(sizes) * math.prod((layer.input if is_spread else layer.output).shape[1:-1])
    return max(1, total)
