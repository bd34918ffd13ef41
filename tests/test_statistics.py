"""Estimates and comparisons beside SciPy's own tests, plain loops and figures by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from catdog_ray import statistics
from catdog_ray.statistics import (
    Difference,
    calibration,
    confusion_matrix,
    estimate,
    interquartile_band,
    interquartile_mean,
    paired_bootstrap,
    paired_difference,
    student_quantile,
    unpaired_difference,
)


@pytest.mark.parametrize("n", [2, 3, 6, 20])
def test_a_paired_difference_is_the_interval_of_the_paired_t_test(n: int) -> None:
    rng = np.random.default_rng(n)
    first, second = rng.normal(0.80, 0.02, n), rng.normal(0.78, 0.02, n)
    found = paired_difference(first.tolist(), second.tolist())
    test = scipy.stats.ttest_rel(first, second)
    low, high = test.confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
    assert found.mean == pytest.approx(float(np.mean(first - second)), abs=1e-15)
    assert found.is_shown == (test.pvalue < 0.05)


def test_pairs_without_spread_have_no_interval_and_show_nothing() -> None:
    for found in (paired_difference([0.8], [0.7]), paired_difference([0.8, 0.8], [0.7, 0.7])):
        assert found.mean == pytest.approx(0.1)
        assert (found.low, found.high) == (None, None)
        assert not found.is_shown


def test_an_unpaired_difference_is_welchs() -> None:
    first, second = [0.70, 0.74, 0.75], [0.69, 0.68, 0.72, 0.69, 0.70]
    a, b = (np.var(side, ddof=1) / len(side) for side in (first, second))
    freedom = (a + b) ** 2 / (a**2 / 2 + b**2 / 4)  # Welch and Satterthwaite
    half = scipy.stats.t.ppf(0.975, freedom) * np.sqrt(a + b)
    found = unpaired_difference(first, second)
    assert (found.n, found.sd) == (3, None)
    assert found.mean == pytest.approx(0.73 - 0.696)
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))
    assert unpaired_difference(first, [0.5]).low is None
    assert unpaired_difference([0.6, 0.6], [0.5, 0.5]).low is None
    with pytest.raises(ValueError, match="values on both sides: 3 and 0"):
        unpaired_difference(first, [])


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="as many on both sides, and not none: 2 and 1"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="0 and 0"):
        paired_difference([], [])


@pytest.mark.parametrize(("low", "high", "shown"), [(-0.1, 0.1, False), (0.0, 0.1, False), (0.001, 0.1, True)])
def test_an_interval_that_contains_zero_shows_nothing(low: float, high: float, shown: bool) -> None:
    assert Difference(5, 0.05, 0.01, low, high).is_shown is shown
    assert Difference(5, -0.05, 0.01, -high, -low).is_shown is shown


def test_the_bootstrap_over_images_beside_a_plain_loop() -> None:
    rng = np.random.default_rng(3)
    differences = rng.choice([-1.0, -0.5, 0.0, 0.0, 0.5, 1.0], 150)
    found = paired_bootstrap(differences)
    again = np.random.default_rng(99)
    means = [differences[again.integers(0, 150, 150)].mean() for _ in range(9999)]
    # 150 images: Student's quantile widened by sqrt(150 / 149), as a level of the normal distribution.
    tail = scipy.stats.norm.cdf(-math.sqrt(150 / 149) * scipy.stats.t.ppf(0.975, 149))
    low, high = np.quantile(means, [tail, 1 - tail])
    assert found.low == pytest.approx(low, abs=0.0071)
    assert found.high == pytest.approx(high, abs=0.0071)
    assert (found.n, found.mean) == (150, pytest.approx(differences.mean()))
    assert paired_bootstrap(differences) == found


def test_models_that_agree_on_every_image_have_no_interval() -> None:
    assert paired_bootstrap(np.zeros(10)) == Difference(10, 0.0, 0.0, None, None)


def test_the_interquartile_mean_by_hand() -> None:
    assert interquartile_mean(np.array([9.0, 1.0, 2.0, 3.0])) == 2.5
    assert interquartile_mean(np.array([9.0, 1.0, 2.0])) == 4.0
    eight = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [100.0]])
    assert interquartile_mean(eight).tolist() == [3.5]


def test_the_band_draws_whole_seeds() -> None:
    values = np.array([[0.1, 0.5], [0.2, 0.6], [0.3, 0.7], [0.4, 0.8]])
    low, high = interquartile_band(values)
    # The second column is the first plus 0.4 in every seed, so every draw moves both alike.
    assert np.allclose(low[1] - low[0], 0.4)
    assert np.allclose(high[1] - high[0], 0.4)
    assert low[0] < interquartile_mean(values)[0] < high[0]
    rng = np.random.default_rng(1)
    plain = [scipy.stats.trim_mean(values[rng.integers(0, 4, 4), 0], 0.25) for _ in range(4000)]
    assert (low[0], high[0]) == (
        pytest.approx(np.quantile(plain, 0.025), abs=0.03),
        pytest.approx(np.quantile(plain, 0.975), abs=0.03),
    )


def test_one_seed_has_no_band() -> None:
    low, high = interquartile_band(np.array([[0.1, 0.5]]))
    assert np.isnan([low, high]).all()


def test_confusion_counts_true_classes_in_rows() -> None:
    true, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 2])
    assert confusion_matrix(true, predicted, classes=3).tolist() == [[1, 2, 0], [1, 1, 0], [0, 0, 1]]


def test_calibration_by_hand() -> None:
    probabilities = np.array([[0.95, 0.05], [0.91, 0.09], [0.4, 0.6], [1.0, 0.0]])
    found = calibration(probabilities, np.array([0, 1, 1, 0]))
    # Three in the bin above 0.9 (two of them right), one in (0.5, 0.6].
    assert found.counts == (0, 0, 0, 0, 0, 1, 0, 0, 0, 3)
    assert found.accuracies[5] == 1.0
    assert found.accuracies[9] == pytest.approx(2 / 3)
    assert found.confidences[9] == pytest.approx((0.95 + 0.91 + 1.0) / 3)
    assert found.confidences[0] is None
    assert found.error == pytest.approx((1 * 0.4 + 3 * abs(2 / 3 - 2.86 / 3)) / 4)


def test_differences_alike_but_for_rounding_have_no_interval() -> None:
    found = paired_difference([0.3, 0.1 + 0.2], [0.0, 0.0])
    assert (found.n, found.low, found.high, found.is_shown) == (2, None, None, False)


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 540.0, 5.6e13])
def test_seeds_that_are_all_alike_have_no_interval(value: float) -> None:
    """Whatever rounding makes of their mean; an interval of no width would claim that all other seeds agree."""
    found = estimate([value] * 3, cut=False)
    assert (found.n, found.sd, found.low, found.high, found.is_alike) == (3, 0.0, None, None, True)
    assert found.mean == pytest.approx(value)
    apart = estimate([value, value, value + 1e-3 * max(1.0, value)], cut=False)
    assert apart.low is not None
    assert not apart.is_alike
    assert not estimate([value], cut=False).is_alike


def test_differences_say_that_they_are_alike_and_one_alone_does_not() -> None:
    same, other = [0.7, 0.7, 0.7], [0.6, 0.6, 0.6]
    assert paired_difference([0.7, 0.8, 0.9], [0.6, 0.7, 0.8]).is_alike
    assert unpaired_difference(same, other).is_alike
    assert not paired_difference([0.7], [0.6]).is_alike
    assert not unpaired_difference(same, [0.6]).is_alike
    assert not unpaired_difference(same, [0.5, 0.6]).is_alike
    assert paired_bootstrap(np.zeros(10)).is_alike


def test_one_side_without_a_spread_has_welchs_interval() -> None:
    found = unpaired_difference([0.5, 0.6, 0.7], [0.4, 0.4, 0.4])
    half = student_quantile(2) * 0.1 / np.sqrt(3)
    assert (found.low, found.high) == (pytest.approx(0.2 - half), pytest.approx(0.2 + half))


def test_the_bootstrap_of_few_images_is_wider_than_its_plain_percentiles() -> None:
    differences = np.array([-1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    found = paired_bootstrap(differences)
    draws = np.random.default_rng(0).choice(differences, (20_000, len(differences))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.low is not None
    assert found.high is not None
    assert found.low < low
    assert found.high > high


def test_the_band_is_the_same_when_it_is_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((5, 7))
    with monkeypatch.context() as patch:
        patch.setattr(statistics, "_BATCH_VALUES", 3 * values.size)
        parts = interquartile_band(values, resamples=50)
    assert np.array_equal(np.stack(interquartile_band(values, resamples=50)), np.stack(parts))
