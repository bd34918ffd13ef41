"""What a search knew when, by hand; time to a target beside a Kaplan-Meier estimate in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from make_rows import trial_row

from catdog_ray.curves import EpochCosts, StepCurve, band, best_so_far, kaplan_meier, time_to_target
from catdog_ray.records import best_trial

TRIALS = (
    trial_row(0, objective=0.6, elapsed_s=10.0, epochs=2),
    trial_row(1, objective=0.9, elapsed_s=20.0, epochs=1, status="failed", reason="diverged"),
    trial_row(2, objective=0.5, elapsed_s=30.0, epochs=1, status="stopped"),
    trial_row(3, objective=0.8, elapsed_s=40.0, epochs=2),
)
COSTS = EpochCosts(np.array([4.0, 9.0, 12.0, 25.0, 28.0, 39.0]), np.array([1.0, 1.0, 5.0, 2.0, 3.0, 3.0]))


def test_a_trial_counts_from_its_end_with_all_that_was_spent_by_then() -> None:
    found = best_so_far(TRIALS[::-1], COSTS)
    assert {axis: curve.at.tolist() for axis, curve in found.items()} == {
        "trials": [1.0, 4.0],
        "epochs": [2.0, 6.0],
        "multiply_adds": [2.0, 15.0],
        "seconds": [10.0, 40.0],
    }
    assert all(curve.values.tolist() == [0.6, 0.8] for curve in found.values())
    assert {axis: curve.end for axis, curve in found.items()} == {
        "trials": 4.0,
        "epochs": 6.0,
        "multiply_adds": 15.0,
        "seconds": 40.0,
    }
    best = best_trial(TRIALS)
    assert best is not None
    assert found["seconds"].values[-1] == best.objective


def test_epochs_count_in_the_order_of_their_arrival_to_the_moment_of_the_end() -> None:
    """They lie in another order; the third to arrive came as the trial ended, and of another trial there is no end."""
    trials = [trial_row(0, objective=0.6, elapsed_s=9.0, epochs=2)]
    # Multiply-adds are so many that single precision loses some.
    costs = EpochCosts(np.array([4.0, 12.0, 9.0, 3.0]), np.array([1.0, 20.0, 2.0, 2.0**30]))
    found = best_so_far(trials, costs)
    assert {axis: curve.at.tolist() for axis, curve in found.items()} == {
        "trials": [1.0],
        "epochs": [3.0],
        "multiply_adds": [2.0**30 + 3],
        "seconds": [9.0],
    }
    ends = {axis: curve.end for axis, curve in found.items()}
    assert ends == {"trials": 1.0, "epochs": 4.0, "multiply_adds": 2.0**30 + 23, "seconds": 12.0}


def test_of_trials_that_ended_together_the_first_comes_first() -> None:
    together = [trial_row(n, objective=score, elapsed_s=5.0, epochs=1) for n, score in ((1, 0.9), (0, 0.5))]
    found = best_so_far(together, EpochCosts(np.array([1.0, 2.0]), np.array([1.0, 1.0])))
    assert found["trials"].at.tolist() == [1.0, 2.0]
    assert found["trials"].values.tolist() == [0.5, 0.9]


def test_a_value_is_known_at_its_moment_and_not_before() -> None:
    curve = best_so_far(TRIALS, COSTS)["seconds"]
    grid = np.array([0.0, 9.999, 10.0, 39.999, 40.0, 1000.0])
    assert np.isnan(curve.on(grid)[:2]).all()
    assert curve.on(grid)[2:].tolist() == [0.6, 0.6, 0.8, 0.8]
    assert [curve.reaches(target) for target in (0.5, 0.6, 0.7, 0.8, 0.801)] == [10.0, 10.0, 40.0, 40.0, None]


def test_what_comes_later_changes_nothing_before() -> None:
    whole, cut = best_so_far(TRIALS, COSTS), best_so_far(TRIALS[:3], EpochCosts(*(a[:5] for a in vars(COSTS).values())))
    for axis in ("trials", "epochs", "multiply_adds", "seconds"):
        grid = np.linspace(0, cut[axis].end, 50)
        assert np.array_equal(whole[axis].on(grid), cut[axis].on(grid), equal_nan=True)


def test_a_search_without_a_score_never_knows_anything() -> None:
    rows = [trial_row(0, objective=None, epochs=0, status="failed", reason="lost", elapsed_s=3.0)]
    curve = best_so_far(rows, EpochCosts(np.empty(0), np.empty(0)))["seconds"]
    assert np.isnan(curve.on(np.array([0.0, 10.0]))).all()
    assert curve.reaches(0.1) is None
    assert band([curve]) is None
    assert band([]) is None
    assert band([curve, StepCurve(np.array([1.0]), np.array([0.2]), 6.0)]) is None


def test_the_band_starts_where_every_search_knows_something() -> None:
    first = StepCurve(np.array([1.0, 5.0]), np.array([0.2, 0.4]), 6.0)
    second = StepCurve(np.array([2.0]), np.array([0.6]), 3.0)
    found = band([first, second], points=5)
    assert found is not None
    assert found.grid.tolist() == [2.0, 3.0, 4.0, 5.0, 6.0]
    # The second keeps its value after its end at 3.
    assert found.middle.tolist() == pytest.approx([0.4, 0.4, 0.4, 0.5, 0.5])
    assert (found.low[0], found.high[0]) == (pytest.approx(0.2), pytest.approx(0.6))


def by_definition(times: list[tuple[float, bool]]) -> list[tuple[float, float]]:
    """(time, share reached) by the definition."""
    left, share = 1.0, []
    for moment in sorted({t for t, reached in times if reached}):
        at_risk = sum(t >= moment for t, _ in times)
        left *= 1 - sum(t == moment and reached for t, reached in times) / at_risk
        share.append((moment, 1 - left))
    return share


def test_unreached_runs_are_censored() -> None:
    ends = [(2.0, True), (3.0, False), (5.0, True), (5.0, True), (7.0, False), (9.0, True)]
    curves = [
        StepCurve(np.array([1.0, t] if reached else [1.0]), np.array([0.1, 0.9] if reached else [0.1]), t)
        for t, reached in ends
    ]
    found = time_to_target(curves, 0.5)
    expected = by_definition(ends)
    assert (found.n, found.reached) == (6, 4)
    values = dict(zip(found.spent, found.share_reached, strict=True))
    assert all(values[moment] == pytest.approx(share) for moment, share in expected)
    assert found.median == next(moment for moment, share in expected if share >= 0.5) == 5.0


def test_where_just_half_reach_a_target_the_last_of_them_is_the_median() -> None:
    """However their shares are rounded."""
    for half in range(1, 21):
        found = kaplan_meier([*map(float, range(1, half + 1)), *[None] * half], [100.0] * 2 * half)
        assert (found.reached, found.median) == (half, float(half))


def test_a_target_that_half_never_reach_has_no_median() -> None:
    reached = StepCurve(np.array([2.0]), np.array([0.9]), 4.0)
    missed = StepCurve(np.array([2.0]), np.array([0.3]), 4.0)
    assert time_to_target([reached, missed, missed], 0.5).median is None
    assert time_to_target([missed, missed], 0.5) == time_to_target([missed, missed], 0.9)
    assert time_to_target([missed, missed], 0.5).share_reached == ()
    with pytest.raises(ValueError, match="at least one search"):
        time_to_target([], 0.5)
