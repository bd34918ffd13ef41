"""One resampling of a batch against `ImageDataGenerator`'s own, image by image: the same pixels for any policy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import booleans, floats, integers

from catdog_ray import augment, warp

GREY_LEVELS = 255
TOLERANCE = 0.05
"""Grey levels of 255: float32 coordinates on one side, float64 on the other."""


def columns(transforms: list[dict]) -> dict[str, np.ndarray]:
    """What is known of one image after the other, by parameter; without those that are off."""
    return {
        name: np.array([one[name] for one in transforms]) for name, value in transforms[0].items() if value is not None
    }


def pictures(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """Noise: the steepest pictures there are, so that a shifted sample shows most."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def fused(pixels: np.ndarray, transforms: dict[str, np.ndarray], *, batch_size: int | None = None) -> np.ndarray:
    sources = warp.matrices(transforms, height=pixels.shape[1], width=pixels.shape[2])
    found = keras.ops.convert_to_numpy(
        warp.Warper(pixels, batch_size=batch_size or len(pixels))(np.arange(len(pixels)), sources)
    )
    assert found.dtype == np.float32
    return found


def worst(policy: dict, pixels: np.ndarray, seed: int) -> float:
    """The largest difference from `ImageDataGenerator(**policy)`, in grey levels."""
    generator = augment.ImageDataGenerator(rescale=1 / GREY_LEVELS, **policy)
    state = np.random.get_state()
    np.random.seed(seed)
    transforms = columns([generator.get_random_transform(pixels.shape[1:]) for _ in pixels])
    np.random.set_state(state)
    expected = augment.apply(generator, pixels, transforms)
    return float(np.abs(fused(pixels, transforms) - expected).max() * GREY_LEVELS)


POLICIES = st.fixed_dictionaries(
    {
        "horizontal_flip": booleans(),
        "vertical_flip": booleans(),
        "rotation_range": floats(0, 180),
        "zoom_range": floats(0, 0.99),
        "width_shift_range": floats(0, 0.99),
        "height_shift_range": floats(0, 0.99),
        "shear_range": floats(0, 80),
    }
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(policy=POLICIES, height=integers(1, 256), width=integers(1, 256), seed=integers(0, 2**32 - 1))
def test_any_policy_gives_the_generators_own_pixels(policy: dict, height: int, width: int, seed: int):
    assert worst(policy, pictures(2, height, width, seed), seed) < TOLERANCE


@pytest.mark.parametrize(("height", "width"), [(256, 256), (150, 150), (256, 90), (31, 200), (1, 1)])
def test_the_guides_policy_in_many_pictures(height: int, width: int):
    policy = {"horizontal_flip": True, "rotation_range": 45, "zoom_range": 0.5}
    assert worst(policy, pictures(24, height, width, 1), 2) < TOLERANCE


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, lambda x: x),
        ({"flip_horizontal": True}, lambda x: x[:, ::-1]),
        ({"flip_vertical": True}, lambda x: x[::-1]),
        # Keras swaps the axes after composing, so that its tx moves columns and its ty rows.
        ({"tx": 1, "flip_horizontal": True}, lambda x: np.concatenate([x[:, 1:], x[:, -1:]], 1)[:, ::-1]),
        ({"ty": 2}, lambda x: np.concatenate([x[2:], x[-1:], x[-1:]])),
        ({"theta": 180}, lambda x: x[::-1, ::-1]),
    ],
)
def test_whole_steps_move_whole_pixels(changes: dict, expected):
    pixels = pictures(1, 6, 6, 0)
    np.testing.assert_allclose(
        fused(pixels, columns([{"theta": 0, **changes}]))[0], expected(pixels[0]) / 255, atol=2e-6
    )


def test_an_image_is_warped_the_same_in_any_batch():
    pixels = pictures(9, 40, 30, 3)
    i = np.arange(9)
    transforms = {"theta": 5.0 * i, "zx": 1 + i / 20, "zy": 1 - i / 20, "flip_horizontal": i % 2 == 0}
    whole = fused(pixels, transforms)
    alone = fused(pixels[6:7], {name: values[6:7] for name, values in transforms.items()})
    filled_up = fused(pixels[4:], {name: values[4:] for name, values in transforms.items()}, batch_size=9)
    np.testing.assert_allclose(alone[0], whole[6], atol=1e-6)
    assert filled_up.shape == (5, 40, 30, 3)
    np.testing.assert_array_equal(filled_up, whole[4:])


@pytest.mark.parametrize("beyond", ["channel_shift_intensity", "brightness"])
def test_what_is_no_geometry_is_refused(beyond: str):
    with pytest.raises(ValueError, match=f"a matrix cannot say {beyond}"):
        warp.matrices({"theta": np.zeros(1), beyond: np.array([0.5])}, height=4, width=4)
