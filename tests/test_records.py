"""The one rule by which trials are scored and compared."""

from __future__ import annotations

import math

import pytest
from make_rows import BASELINE, trial_epoch_row, trial_row

from catdog_ray.records import OBJECTIVE, STATUSES, TrialRow, best_trial, ended_row, finite_or_none, objective


@pytest.mark.parametrize(
    ("accuracies", "window", "expected"),
    [
        ([0.5], 3, 0.5),
        ([0.5, 0.75], 3, 0.625),
        ([0.5, 0.75, 0.25], 3, 0.5),  # a full window: the shorter means count no longer
        ([0.5, 0.75, 0.625, 0.875], 3, 0.75),  # ..., (0.75 + 0.625 + 0.875) / 3
        ([0.5, 0.75, 0.625, 0.875, 0.0], 3, 0.75),  # the last window is worse and does not count
        ([0.5, 0.75, 0.25, 0.5], 1, 0.75),  # a window of one epoch is the bare maximum
        ([0.25, 0.5, 0.75], 10, 0.5),  # a window larger than the epochs there are
        ([0.75, 0.5, 0.25], 10, 0.5),
        ([0.9, 0.5, 0.5, 0.5], 3, 1.9 / 3),  # one lucky first epoch does not count alone
        ([0.0, 0.0], 2, 0.0),
        ([1, 0], 2, 0.5),
    ],
)
def test_the_objective_by_hand(accuracies: list[float], window: int, expected: float) -> None:
    assert objective(accuracies, window=window) == pytest.approx(expected, abs=1e-15)


def test_the_objective_never_falls_once_a_window_is_full_and_never_looks_ahead() -> None:
    accuracies = [0.5, 0.61, 0.4, 0.72, 0.7, 0.31, 0.69, 0.74, 0.73, 0.2]
    scores = [objective(accuracies[:epoch], window=3) for epoch in range(1, len(accuracies) + 1)]
    assert scores[2:] == sorted(scores[2:])
    windows = [1.51 / 3, 1.73 / 3, 1.82 / 3, 1.73 / 3, 1.7 / 3, 1.74 / 3, 2.16 / 3, 1.67 / 3]
    assert scores == pytest.approx([0.5, 0.555, *(max(windows[:n]) for n in range(1, 9))], abs=1e-12)


def test_no_epoch_has_no_objective() -> None:
    with pytest.raises(ValueError, match=r"^the objective needs at least one epoch$"):
        objective([], window=3)


def test_the_objective_in_a_sentence() -> None:
    assert OBJECTIVE.format(window=3) == (
        "the best value so far of the selection accuracy averaged over the last 3 epochs "
        "(before epoch 3: averaged over the epochs there are)"
    )


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([], None),
        ([trial_row(0, objective=0.5), trial_row(1, objective=0.75), trial_row(2, objective=0.625)], 1),
        ([trial_row(4, objective=0.75), trial_row(2, objective=0.75), trial_row(3, objective=0.75)], 2),
        ([trial_row(0, objective=0.5), trial_row(1, status="failed", reason="diverged", objective=0.9)], 0),
        ([trial_row(0, status="stopped", objective=0.8), trial_row(1, objective=0.75)], 0),
        ([trial_row(0, status="failed", reason="lost", objective=None, epochs=0)], None),
        ([trial_row(0, objective=None), trial_row(1, objective=0.0)], 1),
    ],
)
def test_the_best_trial(rows: list[TrialRow], best: int | None) -> None:
    found = best_trial(rows)
    assert (None if found is None else found.trial) == best


def test_the_best_trial_of_an_iterator_is_the_row_itself() -> None:
    rows = [trial_row(0, objective=0.5), trial_row(1, objective=0.75)]
    assert best_trial(iter(rows)) is rows[1]


@pytest.mark.parametrize(
    ("most", "failure", "status"),
    [(3, None, "stopped"), (2, None, "completed"), (2, "the loss is not finite", "failed")],
)
def test_the_row_of_a_trial_that_ended(most: int, failure: str | None, status: str) -> None:
    changes = {"parameters": 7, "multiply_adds": 8, "suggestion_seconds": 0.25}
    first = trial_epoch_row(4, 1, objective=0.5, seconds=2.0, elapsed_s=3.0, **changes)
    last = trial_epoch_row(4, 2, objective=0.75, seconds=4.5, elapsed_s=8.0, **changes)
    assert ended_row([first, last], most, failure, 9.0) == TrialRow(
        trial=4, status=status, reason=failure, hyperparameters=BASELINE, epochs=2, objective=0.75, parameters=7,
        multiply_adds=8, suggestion_seconds=0.25, training_seconds=6.5, elapsed_s=9.0,
    )  # fmt: skip
    diverged = trial_epoch_row(4, 3, objective=math.nan)
    assert ended_row([first, last, diverged], 9, "diverged", 9.0).objective is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null(value: float) -> None:
    assert finite_or_none(value) is None


@pytest.mark.parametrize("value", [0.0, -1.5, 1e308])
def test_what_is_finite_stays(value: float) -> None:
    assert finite_or_none(value) == value


def test_the_words_for_how_a_trial_ended() -> None:
    assert STATUSES == ("completed", "stopped", "failed")
