"""What a search knew when: step curves of the best so far against what had been spent, and time to a target.

A trial counts from the moment it ended, completed or stopped, with its objective; failed ones cost and never count. So
the value at any moment is what the study would have answered had it been cut there, with no look into the future, and
the last value is the objective of `records.best_trial`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from catdog_ray.records import TrialRow
from catdog_ray.statistics import interquartile_band, interquartile_mean

AXES = ("trials", "epochs", "multiply_adds", "seconds")
"""What a search spends."""


@dataclass(frozen=True)
class EpochCosts:
    """All epochs of one search in the order of their arrival: when (s), and the multiply-adds of each."""

    seconds: np.ndarray
    multiply_adds: np.ndarray


@dataclass(frozen=True)
class StepCurve:
    """From `at[i]` on the best so far is `values[i]`, until `end`, where the search ended."""

    at: np.ndarray
    values: np.ndarray
    end: float

    def on(self, grid: np.ndarray) -> np.ndarray:
        """The value at each point: what was known at it, that moment included; NaN before anything was known."""
        index = np.searchsorted(self.at, grid, side="right")
        return np.concatenate([[np.nan], self.values])[index]

    def reaches(self, target: float) -> float | None:
        """What had been spent when the target was first reached; None where it never was."""
        index = np.flatnonzero(self.values >= target)
        return float(self.at[index[0]]) if index.size else None


@dataclass(frozen=True)
class Band:
    """The interquartile mean of several searches on a grid, with its bootstrap interval over seeds (NaN: none)."""

    grid: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


@dataclass(frozen=True)
class TimeToTarget:
    """Kaplan-Meier: searches that ended without reaching the target are censored there.

    `median` is the spending by which half have reached it, None where fewer than half are estimated to.
    """

    n: int
    reached: int
    median: float | None
    spent: tuple[float, ...]
    share_reached: tuple[float, ...]


def best_so_far(trials: Sequence[TrialRow], costs: EpochCosts) -> Mapping[str, StepCurve]:
    """One curve per axis of `AXES`. Trials are taken in the order in which they ended."""
    ended = sorted(trials, key=lambda row: (row.elapsed_s, row.trial))
    moments = np.array([row.elapsed_s for row in ended])
    scores = np.array([-np.inf if row.status == "failed" or row.objective is None else row.objective for row in ended])
    order = np.argsort(costs.seconds, kind="stable")
    arrived = np.searchsorted(costs.seconds[order], moments, side="right")
    spent = np.concatenate([[0.0], np.cumsum(costs.multiply_adds[order], dtype=np.float64)])
    at = {
        "trials": np.arange(1, len(ended) + 1, dtype=np.float64),
        "epochs": arrived.astype(np.float64),
        "multiply_adds": spent[arrived],
        "seconds": moments,
    }
    ends = {
        "trials": float(len(ended)),
        "epochs": float(len(order)),
        "multiply_adds": float(spent[-1]),
        "seconds": float(max([*moments, *costs.seconds], default=0.0)),
    }
    best = np.maximum.accumulate(scores) if len(scores) else scores
    rises = np.flatnonzero(best > np.concatenate([[-np.inf], best[:-1]])) if len(best) else np.empty(0, int)
    return {axis: StepCurve(at[axis][rises], best[rises], ends[axis]) for axis in AXES}


def band(curves: Sequence[StepCurve], *, points: int = 120) -> Band | None:
    """From the moment at which every search knew something to the end of the longest; None where one never did.

    A search that ended earlier keeps its last value: it spends nothing more.
    """
    if not curves or any(curve.at.size == 0 for curve in curves):
        return None
    start, end = max(curve.at[0] for curve in curves), max(curve.end for curve in curves)
    grid = np.linspace(start, end, points)
    values = np.stack([curve.on(grid) for curve in curves])
    low, high = interquartile_band(values)
    return Band(grid, interquartile_mean(values), low, high, len(curves))


def time_to_target(curves: Sequence[StepCurve], target: float) -> TimeToTarget:
    """How much it took to reach `target`. ValueError for no searches."""
    return kaplan_meier([curve.reaches(target) for curve in curves], [curve.end for curve in curves])


def kaplan_meier(found: Sequence[float | None], ends: Sequence[float]) -> TimeToTarget:
    """Of searches that reached theirs after `found`, or ended without (None) at `ends`. ValueError for no searches."""
    if not found:
        raise ValueError("time to a target needs at least one search")
    reached = [value for value in found if value is not None]
    censored = [end for end, value in zip(ends, found, strict=True) if value is None]
    if not reached:
        return TimeToTarget(len(found), 0, None, (), ())
    estimated = scipy.stats.ecdf(scipy.stats.CensoredData(uncensored=reached, right=censored)).cdf
    half = np.flatnonzero(estimated.probabilities >= 0.5 - 1e-12)
    return TimeToTarget(
        len(found),
        len(reached),
        float(estimated.quantiles[half[0]]) if half.size else None,
        tuple(estimated.quantiles.tolist()),
        tuple(estimated.probabilities.tolist()),
    )
