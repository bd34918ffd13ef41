"""Accuracy, its interval and the confusion matrix, against figures from elsewhere."""

from __future__ import annotations

import pytest

from catdog_ray.scores import score


def test_counts_and_confusion() -> None:
    pairs = [("cats", "cats")] * 5 + [("cats", "dogs")] * 2 + [("dogs", "dogs")] * 3
    found = score(pairs, ("cats", "dogs", "owls"))
    assert (found.n, found.correct, found.accuracy) == (10, 8, 0.8)
    assert found.confusion == ((5, 2, 0), (0, 3, 0), (0, 0, 0))


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17 (1998), 857, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval(correct: int, n: int, low: float, high: float) -> None:
    pairs = [("a", "a")] * correct + [("a", "b")] * (n - correct)
    found = score(pairs, ("a", "b"))
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_nothing_to_score() -> None:
    with pytest.raises(ValueError, match="at least one"):
        score([], ("a", "b"))
