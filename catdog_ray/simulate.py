"""Recorded learning curves replayed through the search's own ASHA in simulated time: what stopping saves and costs.

Only trials that ran to full length can be replayed, for only of them is known what stopping them would have lost.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from catdog_ray.past import Replayed, asha_scheduler
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


def replay(curves: Mapping[int, Curve], order: Sequence[int], *, settings: SearchSettings, concurrent: int) -> Replay:
    """Start the trials in `order`, `concurrent` at once, each epoch taking its recorded time.

    Raises ValueError for a curve that does not reach `settings.max_epochs`.
    """
    short = [number for number in order if len(curves[number].accuracies) < settings.max_epochs]
    if short:
        raise ValueError(f"trials {short} did not run for {settings.max_epochs} epochs")
    scores = {number: _objectives(curves[number].accuracies, settings.scoring_window) for number in order}
    asha = asha_scheduler(settings)
    waiting = list(order)
    events: list[tuple[float, int]] = []
    epochs: dict[int, int] = {}

    def start(now: float) -> None:
        if waiting:
            number = waiting.pop(0)
            asha.on_trial_add(None, Replayed({"number": number}))
            epochs[number] = 0
            heapq.heappush(events, (now + curves[number].seconds[0], number))

    for _ in range(min(concurrent, len(order))):
        start(0.0)
    while events:
        now, number = heapq.heappop(events)
        epochs[number] += 1
        epoch = epochs[number]
        score = scores[number][epoch - 1]
        decision = asha.on_trial_result(None, Replayed({"number": number}), {"epoch": epoch, "objective": score})
        if decision == asha.STOP:
            start(now)
        else:
            heapq.heappush(events, (now + curves[number].seconds[epoch], number))
    return Replay(epochs, max(scores[number][epochs[number] - 1] for number in order))


@lru_cache(maxsize=4096)
def _objectives(accuracies: tuple[float, ...], window: int) -> tuple[float, ...]:
    """The objective after each epoch; the same in every order of the trials."""
    return tuple(objective(accuracies[:epoch], window=window) for epoch in range(1, len(accuracies) + 1))


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
    found = [
        replay(curves, rng.permutation(sorted(curves)).tolist(), settings=settings, concurrent=concurrent)
        for _ in range(orders)
    ]
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
