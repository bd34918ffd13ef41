"""Learning curves replayed through the rule of early stopping in simulated time: what it saves and what it costs.

Only trials that ran to full length can be replayed, for only of them is known what stopping them would have lost.
"""

from __future__ import annotations

import bisect
import collections
import heapq
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from catdog_ray.records import objective
from catdog_ray.settings import SearchSettings


@dataclass(frozen=True)
class Curve:
    """One trial of full length: selection accuracy and seconds of every epoch."""

    accuracies: tuple[float, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Replay:
    """What ASHA would have done: epochs run of each trial, and the objective of the best trial found so."""

    epochs: Mapping[int, int]
    best: float


class Rungs:
    """The rungs of Ray's ASHA (one bracket) and its rule, without Ray: a comparison replays hundreds of searches.

    A test holds it to the decisions of the scheduler that searches use.
    """

    def __init__(self, settings: SearchSettings) -> None:
        self._quantile = 1 - 1 / settings.reduction_factor
        self._scores: dict[int, list[float]] = {}
        rung = settings.grace_epochs
        while rung < settings.max_epochs:
            self._scores[rung] = []
            rung *= settings.reduction_factor

    @property
    def epochs(self) -> list[int]:
        """At which a trial may be stopped, ascending."""
        return list(self._scores)

    def passes(self, epoch: int, score: float) -> bool:
        """Whether a trial goes on from a rung: not below the quantile of those that were there before it."""
        earlier = self._scores[epoch]
        passes = not earlier or score >= _quantile(earlier, self._quantile)
        bisect.insort(earlier, score)
        return passes


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between neighbours, as numpy.percentile does it, of values in ascending order."""
    place = share * (len(ordered) - 1)
    below = int(place)
    step, weight = ordered[min(below + 1, len(ordered) - 1)] - ordered[below], place - below
    return ordered[below] + step * weight if weight < 0.5 else ordered[below] + step - step * (1 - weight)


def replay(curves: Mapping[int, Curve], order: Sequence[int], *, settings: SearchSettings, concurrent: int) -> Replay:
    """Start the trials in `order`, `concurrent` at once, each epoch taking its recorded time.

    Raises ValueError for a curve that does not reach `settings.max_epochs`.
    """
    short = [number for number in order if len(curves[number].accuracies) < settings.max_epochs]
    if short:
        raise ValueError(f"trials {short} did not run for {settings.max_epochs} epochs")
    return _replay({number: _Stages(curves[number], settings) for number in order}, order, settings, concurrent)


class _Stages:
    """A curve at the rungs and at its end, where alone something is decided: what was scored and how long it took."""

    def __init__(self, curve: Curve, settings: SearchSettings) -> None:
        self.epochs = [*Rungs(settings).epochs, settings.max_epochs]
        self.scores = [objective(curve.accuracies[:epoch], window=settings.scoring_window) for epoch in self.epochs]
        bounds = itertools.pairwise([0, *self.epochs])
        self.seconds = [math.fsum(curve.seconds[first:last]) for first, last in bounds]


def _replay(stages: Mapping[int, _Stages], order: Sequence[int], settings: SearchSettings, concurrent: int) -> Replay:
    rungs = Rungs(settings)
    waiting = collections.deque(order)
    running: list[tuple[float, int, int]] = []
    epochs: dict[int, int] = {}
    best = -math.inf

    def start(now: float) -> None:
        if waiting:
            number = waiting.popleft()
            heapq.heappush(running, (now + stages[number].seconds[0], number, 0))

    for _ in range(min(concurrent, len(order))):
        start(0.0)
    while running:
        now, number, stage = heapq.heappop(running)
        own = stages[number]
        epoch, score = own.epochs[stage], own.scores[stage]
        if epoch < settings.max_epochs and rungs.passes(epoch, score):
            heapq.heappush(running, (now + own.seconds[stage + 1], number, stage + 1))
        else:
            epochs[number], best = epoch, max(best, score)
            start(now)
    return Replay(epochs, best)


@dataclass(frozen=True)
class Effect:
    """Early stopping over many orders of the same trials.

    `share_of_epochs` are the epochs run, as a share of full length; `kept_best` how often the best trial was not
    stopped; `regret` the objective lost to full length, on average and in the worst of twenty orders (95th percentile).
    """

    trials: int
    orders: int
    share_of_epochs: float
    kept_best: float
    regret: float
    regret_p95: float


def effect(curves: Mapping[int, Curve], *, settings: SearchSettings, concurrent: int, orders: int, seed: int) -> Effect:
    """Replay the trials in `orders` random orders; deterministic from `seed`."""
    full = {number: objective(curve.accuracies, window=settings.scoring_window) for number, curve in curves.items()}
    best = max(full, key=lambda number: (full[number], -number))
    rng = np.random.default_rng(seed)
    stages = {number: _Stages(curve, settings) for number, curve in curves.items()}
    found = [_replay(stages, rng.permutation(sorted(curves)).tolist(), settings, concurrent) for _ in range(orders)]
    whole = len(curves) * settings.max_epochs
    regrets = [full[best] - each.best for each in found]
    return Effect(
        trials=len(curves),
        orders=orders,
        share_of_epochs=float(np.mean([sum(each.epochs.values()) for each in found])) / whole,
        kept_best=float(np.mean([each.epochs[best] == settings.max_epochs for each in found])),
        regret=float(np.mean(regrets)),
        regret_p95=float(np.percentile(regrets, 95)),
    )
