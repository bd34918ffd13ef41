"""Curves replayed through ASHA in simulated time."""

from __future__ import annotations

import dataclasses
import heapq

import numpy as np
import pytest
from small import quick_config

from catdog_ray.past import Replayed, asha_scheduler
from catdog_ray.records import objective
from catdog_ray.simulate import Curve, effect, replay

SETTINGS = dataclasses.replace(
    quick_config().search, max_epochs=9, grace_epochs=1, reduction_factor=3, scoring_window=1
)


def flat(accuracy: float, *, seconds: float = 1.0) -> Curve:
    return Curve((accuracy,) * 9, (seconds,) * 9)


def test_one_at_a_time_the_later_and_worse_are_stopped_at_the_first_rung():
    """By hand: the first always passes; a later one must be in the upper third of those before it and itself."""
    curves = {0: flat(0.9), 1: flat(0.5), 2: flat(0.6), 3: flat(0.95)}
    found = replay(curves, [0, 1, 2, 3], settings=SETTINGS, concurrent=1)
    assert found.epochs == {0: 9, 1: 1, 2: 1, 3: 9}
    assert found.best == 0.95


def test_room_for_more_trials_than_there_are_changes_nothing():
    curves = {number: flat(0.5 + number / 10) for number in range(4)}
    assert replay(curves, [0, 1, 2, 3], settings=SETTINGS, concurrent=10**30) == replay(
        curves, [0, 1, 2, 3], settings=SETTINGS, concurrent=4
    )


def test_time_decides_who_reports_first():
    """Two at once: the slow first trial meets the rung after the fast and better one, and is stopped there."""
    curves = {0: flat(0.5, seconds=10.0), 1: flat(0.9, seconds=1.0)}
    assert replay(curves, [0, 1], settings=SETTINGS, concurrent=2).epochs == {0: 1, 1: 9}
    assert replay(curves, [0, 1], settings=SETTINGS, concurrent=1).epochs == {0: 9, 1: 9}


def test_a_slow_starter_is_lost_and_that_is_regret():
    late = Curve((0.1, *(0.99,) * 8), (1.0,) * 9)
    curves = {0: flat(0.5), 1: flat(0.6), 2: late}
    found = replay(curves, [0, 1, 2], settings=SETTINGS, concurrent=1)
    assert found.epochs[2] == 1
    assert found.best == 0.6
    over_orders = effect(curves, settings=SETTINGS, concurrent=1, orders=60, seed=0)
    # Only where it comes first does it pass the first rung: a third of the orders.
    assert over_orders.kept_best == pytest.approx(1 / 3, abs=0.17)
    assert over_orders.regret == pytest.approx((1 - over_orders.kept_best) * 0.39)
    assert over_orders.regret_p95 == pytest.approx(0.39)
    assert over_orders == effect(curves, settings=SETTINGS, concurrent=1, orders=60, seed=0)


def test_the_effect_by_hand():
    """Of two trials that end equally good the first counts, here a slow starter: it is kept only where it begins."""
    curves = {2: flat(0.9), 0: flat(0.5), 1: Curve((0.1, *(0.9,) * 8), (1.0,) * 9)}
    found = effect(curves, settings=SETTINGS, concurrent=1, orders=300, seed=3)
    assert (found.trials, found.orders, found.regret, found.regret_p95) == (3, 300, 0.0, 0.0)
    assert found.kept_best == pytest.approx(1 / 3, abs=0.09)
    # Epochs in the six orders 012, 021, 102, 120, 201 and 210.
    assert found.share_of_epochs == pytest.approx((19 + 19 + 21 + 19 + 11 + 11) / 6 / 27, abs=0.03)
    assert effect(dict(sorted(curves.items())), settings=SETTINGS, concurrent=1, orders=300, seed=3) == found
    assert effect(curves, settings=SETTINGS, concurrent=1, orders=300, seed=4) != found


def test_a_trial_that_was_stopped_cannot_be_replayed():
    curves = {0: flat(0.5), 1: Curve((0.5,) * 3, (1.0,) * 3)}
    with pytest.raises(ValueError, match=r"trials \[1\] did not run for 9 epochs"):
        replay(curves, [0, 1], settings=SETTINGS, concurrent=1)


def through_ray(curves: dict[int, Curve], order: list[int], settings, *, concurrent: int) -> dict[int, int]:
    """Epochs of each trial, every single one reported to the scheduler that searches use."""
    asha = asha_scheduler(settings)
    waiting, running, epochs = list(order), [], {}

    def start(now: float) -> None:
        if waiting:
            number = waiting.pop(0)
            asha.on_trial_add(None, Replayed({"number": number}))
            epochs[number] = 0
            heapq.heappush(running, (now + curves[number].seconds[0], number))

    for _ in range(concurrent):
        start(0.0)
    while running:
        now, number = heapq.heappop(running)
        epochs[number] += 1
        epoch = epochs[number]
        score = objective(curves[number].accuracies[:epoch], window=settings.scoring_window)
        if asha.on_trial_result(None, Replayed({"number": number}), {"epoch": epoch, "objective": score}) == asha.STOP:
            start(now)
        else:
            heapq.heappush(running, (now + curves[number].seconds[epoch], number))
    return epochs


@pytest.mark.parametrize(
    "max_epochs, grace, factor", [(27, 1, 3), (27, 3, 3), (9, 1, 2), (10, 4, 3), (8, 8, 4), (30, 2, 4)]
)
@pytest.mark.parametrize("seed", range(5))
def test_it_decides_as_the_scheduler_of_the_searches_does(max_epochs: int, grace: int, factor: int, seed: int):
    settings = dataclasses.replace(
        SETTINGS, max_epochs=max_epochs, grace_epochs=grace, reduction_factor=factor, scoring_window=3
    )
    rng = np.random.default_rng(seed)
    # Accuracies of few images, so that many are equal; whole seconds would let ties in time decide.
    curves = {
        number: Curve(
            tuple((rng.integers(0, 41, max_epochs) / 40).tolist()), tuple(rng.uniform(1, 2, max_epochs).tolist())
        )
        for number in range(40)
    }
    order = rng.permutation(40).tolist()
    for concurrent in (1, 2, 7):
        found = replay(curves, order, settings=settings, concurrent=concurrent)
        assert found.epochs == through_ray(curves, order, settings, concurrent=concurrent)
