"""Estimates, intervals and comparisons: pure functions of numbers, every random draw from a seed.

An interval is 95 % throughout. Where it contains zero, or there is none, no difference is shown.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from catdog_ray.words import ALIKE

LEVEL = 0.95
RESAMPLES = 9999
SEED = 20260501
"""Of every bootstrap, so that the same rows give the same intervals."""

ENOUGH_SEEDS = 6
"""From so many seeds on a claim about searches is made without a warning."""

_BATCH_VALUES = 2_000_000

_ROUNDING = 1e-12
"""By how much equal values may lie apart, as a share of them from 1 on."""


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` seeds with its sample standard deviation (ddof 1) and 95 % interval, from two seeds on.

    Values that are all alike (accuracies move in steps of one image) have no spread to make an interval from, and then
    there is none: one of no width would claim that every other seed gives the same.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None

    @property
    def is_alike(self) -> bool:
        """Whether there are several values, and no interval because all are alike."""
        return self.sd == 0.0 and self.low is None

    def text(self) -> str:
        """`82.1 % (n=5, 81.0 % to 83.2 %)`; with one seed, or seeds that are all alike, no interval."""
        if self.low is None or self.high is None:
            return f"{self.mean:.1%} (n={self.n}, {ALIKE if self.is_alike else 'no interval'})".replace("%", " %")
        return f"{self.mean:.1%} (n={self.n}, {self.low:.1%} to {self.high:.1%})".replace("%", " %")


@dataclass(frozen=True)
class Difference:
    """A mean difference over `n` pairs and its 95 % interval, which is None where there is nothing to make it from."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None

    @property
    def is_alike(self) -> bool:
        """Whether there are several values, and no interval because all are alike."""
        return self.sd == 0.0 and self.low is None

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low is not None and self.high is not None and not self.low <= 0.0 <= self.high


@dataclass(frozen=True)
class Calibration:
    """Confidence in the predicted class against how often it is right, in equal bins of confidence.

    `error` is the expected calibration error (Guo et al. 2017): the mean gap of the bins, weighted by their counts.
    """

    counts: tuple[int, ...]
    confidences: tuple[float | None, ...]
    accuracies: tuple[float | None, ...]
    error: float


def estimate(values: Sequence[float], *, cut: bool = True) -> Estimate:
    """Mean with a Student t interval over independent seeds, `cut` to [0, 1]; none where they are all alike.

    ValueError for no values.
    """
    if not values:
        raise ValueError("an estimate needs at least one value")
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Estimate(1, mean, None, None, None)
    if _are_alike(values):
        return Estimate(len(values), mean, 0.0, None, None)
    sd = float(np.std(values, ddof=1))
    half = student_quantile(len(values) - 1) * sd / math.sqrt(len(values))
    low, high = mean - half, mean + half
    return Estimate(len(values), mean, sd, max(0.0, low) if cut else low, min(1.0, high) if cut else high)


def _are_alike(values: Sequence[float]) -> bool:
    """Whether values are equal but for rounding, as differences of equal steps are not quite."""
    return max(values) - min(values) <= _ROUNDING * max(1.0, abs(values[0]))


def student_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t."""
    return float(scipy.stats.t.ppf(0.5 + LEVEL / 2, freedom))


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """First minus second, pair by pair, with Student's t interval of the mean difference; none where all are alike.

    ValueError for no pairs or unequal lengths.
    """
    if not len(first) == len(second) > 0:
        raise ValueError(f"paired values must be as many on both sides, and not none: {len(first)} and {len(second)}")
    found = estimate([a - b for a, b in zip(first, second, strict=True)], cut=False)
    return Difference(found.n, found.mean, found.sd, found.low, found.high)


def unpaired_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Mean of the first minus mean of the second, with Welch's interval; `n` counts the first.

    There is none where a side has one value, or neither has a spread. ValueError for no values on a side.
    """
    if not first or not second:
        raise ValueError(f"a difference needs values on both sides: {len(first)} and {len(second)}")
    mean = math.fsum(first) / len(first) - math.fsum(second) / len(second)
    if min(len(first), len(second)) < 2:
        return Difference(len(first), mean, None, None, None)
    if _are_alike(first) and _are_alike(second):
        return Difference(len(first), mean, 0.0, None, None)
    with warnings.catch_warnings():
        # One side without a spread is no loss of precision.
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        found = scipy.stats.ttest_ind(first, second, equal_var=False).confidence_interval(LEVEL)
    return Difference(len(first), mean, None, float(found.low), float(found.high))


def paired_bootstrap(differences: np.ndarray, *, resamples: int = RESAMPLES, seed: int = SEED) -> Difference:
    """The mean of per-image differences (n,) with a percentile bootstrap interval over the images.

    It speaks of these trained models on images like these, not of the methods: seeds are not drawn again. The level is
    expanded for small n as in Hesterberg 2015, "What teachers should know about the bootstrap", section 4.
    """
    n = len(differences)
    mean, sd = float(np.mean(differences)), float(np.std(differences, ddof=1)) if n > 1 else None
    if not sd:
        return Difference(n, mean, sd, None, None)
    tail = scipy.stats.norm.cdf(-math.sqrt(n / (n - 1)) * student_quantile(n - 1))
    found = scipy.stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _BATCH_VALUES // n),
        vectorized=True,
        confidence_level=float(1 - 2 * tail),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Difference(n, mean, sd, float(found.low), float(found.high))


def interquartile_mean(values: np.ndarray, *, axis: int = 0) -> np.ndarray:
    """The mean of what is left after a quarter is cut at each end (rounded down: below four values, the mean).

    Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice".
    """
    return np.asarray(scipy.stats.trim_mean(values, 0.25, axis=axis))


def interquartile_band(values: np.ndarray, *, resamples: int = 999, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap interval of the interquartile mean of `values` (seeds, points): (points,) low and high.

    Seeds are drawn whole, the same draw at every point. One seed has no interval: NaN.
    """
    seeds, points = values.shape
    if seeds < 2:
        return np.full(points, np.nan), np.full(points, np.nan)
    drawn = np.random.default_rng(seed).integers(0, seeds, (resamples, seeds))
    means = np.empty((resamples, points))
    step = max(1, _BATCH_VALUES // values.size)
    for start in range(0, resamples, step):
        means[start : start + step] = interquartile_mean(values[drawn[start : start + step]], axis=1)
    low, high = np.quantile(means, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
    return low, high


def confusion_matrix(true: np.ndarray, predicted: np.ndarray, *, classes: int) -> np.ndarray:
    """(classes, classes) counts: rows are true classes, columns predicted ones."""
    return np.bincount(true * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def calibration(probabilities: np.ndarray, true: np.ndarray, *, bins: int = 10) -> Calibration:
    """Of `probabilities` (n, classes) against `true` (n,) class numbers; a bin holds its upper edge."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == true
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    filled = np.maximum(counts, 1)
    confidences = np.bincount(place, confidence, minlength=bins) / filled
    accuracies = np.bincount(place, right, minlength=bins) / filled
    error = float(np.sum(counts * np.abs(accuracies - confidences)) / len(true))
    return Calibration(
        tuple(int(count) for count in counts),
        tuple(float(value) if count else None for value, count in zip(confidences, counts, strict=True)),
        tuple(float(value) if count else None for value, count in zip(accuracies, counts, strict=True)),
        error,
    )
