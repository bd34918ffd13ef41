"""The guide's network, by its shapes and counts."""

from __future__ import annotations

import keras
import pytest
from small import POINT

from catdog_ray import model
from catdog_ray.settings import ModelSettings
from catdog_ray.space import HyperParameters

BASELINE = HyperParameters.of(
    {"learning_rate": 1e-3, "dropout_rate": 0.5, "conv_filters": 32, "conv_kernel": 3, "dense_units": 512}
)


def test_the_guides_network_at_150_pixels():
    network = model.build(BASELINE, ModelSettings("valid", 4, 1), image_size=150, classes=2)
    assert [type(layer).__name__ for layer in network.layers] == (
        ["Conv2D", "MaxPooling2D"] * 4 + ["Dropout", "Flatten", "Dense", "Dense"]
    )
    # The guide's own summary: 148, 74, 72, 36, 34, 17, 15, 7 pixels; 3,453,121 weights less its one-unit head.
    sides = [layer.output.shape[1] for layer in network.layers[:8]]
    assert sides == [148, 74, 72, 36, 34, 17, 15, 7]
    assert [layer.filters for layer in network.layers[:8:2]] == [32, 64, 128, 128]
    convolutions = 3 * 3 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 128) + 32 + 64 + 128 + 128
    dense = (7 * 7 * 128 + 1) * 512 + 513 * 2
    assert network.count_params() == convolutions + dense == 3_453_634


def test_compiled_as_the_guide_says():
    network = model.build(BASELINE, ModelSettings("same", 4, 1), image_size=32, classes=2)
    assert network.loss == "sparse_categorical_crossentropy"
    assert isinstance(network.optimizer, keras.optimizers.Adam)
    assert float(network.optimizer.learning_rate) == pytest.approx(1e-3)
    assert network.layers[8].rate == 0.5
    assert network.layers[-1].activation.__name__ == "softmax"


def test_multiply_adds_by_hand():
    network = model.build(BASELINE, ModelSettings("same", 4, 1), image_size=32, classes=2)
    by_hand = (
        32 * 32 * 9 * 3 * 32
        + 16 * 16 * 9 * 32 * 64
        + 8 * 8 * 9 * 64 * 128
        + 4 * 4 * 9 * 128 * 128
        + 512 * 512
        + 512 * 2
    )
    assert model.multiply_adds(network) == by_hand


def test_multiply_adds_of_separable_and_spreading_convolutions_in_a_nested_model():
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.SeparableConv2D(5, 3, padding="same")])
    network = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            inner,
            keras.layers.Conv2DTranspose(4, 2, strides=2, padding="same"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    assert model.multiply_adds(network) == 8 * 8 * (9 * 3 + 3 * 5) + 8 * 8 * (4 * 4 * 5) + 4 * 2


class Encoder(keras.Model):
    """A subclassed network, whose layers have no shapes of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = keras.layers.Conv2D(4, 3)

    def call(self, inputs):
        return self.inside(inputs)


def test_multiply_adds_of_what_is_not_known_are_left_out():
    network = keras.Sequential([keras.Input((8, 8, 3)), Encoder(), keras.layers.Flatten(), keras.layers.Dense(2)])
    assert model.multiply_adds(network) == 6 * 6 * 4 * 2
    assert model.multiply_adds(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])) == 1


def test_depth_and_classes_from_the_trial():
    deep = HyperParameters.of({**POINT, "conv_layers": 3, "dense_layers": 2})
    network = model.build(deep, ModelSettings("same", 4, 1), image_size=16, classes=3)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds.count("Conv2D") == 3
    assert kinds.count("Dense") == 3
    assert network.output_shape == (None, 3)


def test_blocks_beyond_the_fourth_are_as_wide_as_the_fourth():
    network = model.build(POINT, ModelSettings("same", 6, 1), image_size=64, classes=2)
    assert [layer.filters for layer in network.layers[:12:2]] == [4, 8, 16, 16, 16, 16]
