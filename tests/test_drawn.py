"""The drawn cats and dogs: counts, determinism, and what must not give the class away."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from catdog_ray import drawn


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    return drawn.draw(1200, size=32, seed=0)


@pytest.mark.parametrize(("count", "size"), [(0, 32), (1, 16), (7, 8), (10, 33), (4, 200)])
def test_any_count_and_size_balanced(count: int, size: int):
    pixels, labels = drawn.draw(count, size=size, seed=1)
    assert pixels.shape == (count, size, size, 3)
    assert pixels.dtype == np.uint8
    assert labels.shape == (count,)
    assert abs(int((labels == 0).sum()) - int((labels == 1).sum())) <= count % 2
    assert drawn.CLASS_NAMES == ("cats", "dogs")


def test_a_shorter_call_gives_the_first_pictures_of_a_longer_one():
    few, few_labels = drawn.draw(5, size=32, seed=3)
    many, many_labels = drawn.draw(20, size=32, seed=3)
    np.testing.assert_array_equal(few, many[:5])
    np.testing.assert_array_equal(few_labels, many_labels[:5])


def test_the_same_in_another_process():
    program = "import hashlib; from catdog_ray import drawn; p, l = drawn.draw(12, size=24, seed=9); "
    program += "print(hashlib.sha256(p.tobytes() + l.astype('i8').tobytes()).hexdigest())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    pixels, labels = drawn.draw(12, size=24, seed=9)
    assert done.stdout.strip() == hashlib.sha256(pixels.tobytes() + labels.astype("i8").tobytes()).hexdigest()


def test_seeds_and_indices_differ(pictures):
    other, _ = drawn.draw(50, size=32, seed=1)
    assert not any(np.array_equal(a, b) for a, b in zip(pictures[0][:50], other, strict=True))
    assert len({picture.tobytes() for picture in pictures[0]}) == 1200


def test_pictures_have_contrast_and_noise(pictures):
    assert pictures[0].std(axis=(1, 2, 3)).min() > 8
    assert 90 < pictures[0].mean() < 165


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (dict(count=-1, size=32, seed=0), "count"),
        (dict(count=1, size=7, seed=0), "size"),
        (dict(count=1, size=32, seed=-1), "seed"),
    ],
)
def test_what_cannot_be_drawn_is_named(call: dict, message: str):
    with pytest.raises(ValueError, match=message):
        drawn.draw(call.pop("count"), **call)


def held_out_accuracy(features: np.ndarray, labels: np.ndarray, strength: float) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
    return float(model.fit(features[:800], labels[:800]).score(features[800:], labels[800:]))


def test_colour_and_brightness_do_not_give_the_class_away(pictures):
    """The standard error of 400 test pictures is 2.5 points: 0.58 is three of them above chance."""
    pixels, labels = pictures
    flat = pixels.reshape(len(pixels), -1, 3).astype(float)
    statistics = np.concatenate(
        [flat.mean(axis=1), flat.std(axis=1), np.quantile(flat, (0.05, 0.5, 0.95), axis=1)[0]], 1
    )
    assert held_out_accuracy(statistics, labels, 1.0) < 0.58


def test_corners_do_not_give_the_class_away(pictures):
    pixels, labels = pictures
    corners = np.concatenate([pixels[:, :4, :4].reshape(1200, -1), pixels[:, -4:, -4:].reshape(1200, -1)], 1)
    assert held_out_accuracy(corners.astype(float), labels, 1e-3) < 0.58


def test_a_linear_model_on_pixels_is_not_enough(pictures):
    pixels, labels = pictures
    assert held_out_accuracy(pixels.reshape(len(pixels), -1).astype(float), labels, 1e-3) < 0.75
