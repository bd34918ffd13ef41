"""What a search writes down, driven by hand."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from make_rows import trial_epoch_row, trial_row
from small import quick_config

from catdog_ray.ledger import StudyDirectory
from catdog_ray.recorder import SearchRecorder
from catdog_ray.records import Progress, trial_name

SETTINGS = quick_config(search__num_samples=3, search__max_epochs=4).search
POINT = {"learning_rate": 0.001, "dropout_rate": 0.5, "conv_filters": 4, "conv_kernel": 3, "dense_units": 16}


def parameters(number: int) -> dict[str, Any]:
    return {"number": number, "hyperparameters": POINT, "suggestion_seconds": 0.25}


def result(epoch: int, accuracy: float) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "train_loss": 0.7,
        "train_accuracy": 0.5,
        "selection_loss": 0.6,
        "selection_accuracy": accuracy,
        "seconds": 2.0,
        "objective": 0.123,  # the worker's, which does not know of epochs that it repeated
        "parameters": 100,
        "multiply_adds": 1000,
        "something_of_ray": "not written",
    }


@pytest.fixture
def recording(tmp_path: Path):
    shown: list[Progress] = []
    with StudyDirectory(tmp_path) as study:
        recorder = SearchRecorder(study, SETTINGS, epochs={}, finished=[], elapsed_s=100.0, on_progress=shown.append)
        yield study, recorder, shown


def test_a_trial_from_start_to_end(recording):
    study, recorder, shown = recording
    recorder.start(0)
    for epoch, accuracy in enumerate((0.5, 0.6, 0.7, 0.65), start=1):
        recorder.epoch(parameters(0), result(epoch, accuracy))
    recorder.end(parameters(0), None)
    [row] = study.trials.read()
    assert (row.trial, row.status, row.epochs, row.reason) == (0, "completed", 4, None)
    # The mean of the last three epochs.
    assert (row.objective, row.parameters, row.suggestion_seconds) == (pytest.approx(0.65), 100, 0.25)
    assert row.training_seconds == 8.0
    assert row.elapsed_s > 100.0
    assert [epoch.epoch for epoch in study.epochs.read()] == [1, 2, 3, 4]
    assert [progress.running for progress in shown] == [1, 1, 1, 1, 1, 0]
    assert [progress.best for progress in shown[:3]] == ["-", "0.500 (trial 0, running)", "0.550 (trial 0, running)"]
    assert shown[-1].best == "0.650 (trial 0)"
    assert [progress.is_event for progress in shown] == [True, False, False, False, False, True]


def test_an_epoch_that_is_on_record_is_compared_and_dropped(recording, caplog):
    study, recorder, _ = recording
    recorder.epoch(parameters(1), result(1, 0.5))
    with caplog.at_level(logging.WARNING):
        recorder.epoch(parameters(1), result(1, 0.51))
        assert caplog.records == []
        recorder.epoch(parameters(1), result(1, 0.6))
    assert "trial 1, epoch 1 was repeated" in caplog.text
    assert [row.selection_accuracy for row in study.epochs.read()] == [0.5]


def test_objectives_are_of_the_epochs_on_record(recording):
    """A lost worker repeats epochs, and need not get the same accuracies."""
    study, recorder, _ = recording
    for epoch, accuracy in ((1, 0.5), (2, 0.6), (1, 0.51), (2, 0.61), (3, 0.7), (4, 0.65)):
        recorder.epoch(parameters(1), result(epoch, accuracy))
    assert [row.objective for row in study.epochs.read()] == [pytest.approx(value) for value in (0.5, 0.55, 0.6, 0.65)]


def test_a_trial_without_an_epoch_is_failed(recording):
    study, recorder, _ = recording
    recorder.start(2)
    recorder.end(parameters(2), None)
    [row] = study.trials.read()
    assert (row.status, row.reason, row.objective, row.epochs) == ("failed", "ended before its first epoch", None, 0)
    assert row.hyperparameters == POINT


@pytest.mark.parametrize("epochs", [0, 1])
def test_why_a_trial_failed_is_in_its_row_and_on_the_terminal(epochs: int, recording):
    study, recorder, shown = recording
    recorder.start(0)
    for epoch in range(1, epochs + 1):
        recorder.epoch(parameters(0), result(epoch, 0.9))
    recorder.end(parameters(0), "the loss became nan")
    [row] = study.trials.read()
    assert (row.status, row.reason, row.epochs) == ("failed", "the loss became nan", epochs)
    assert (shown[-1].failed, shown[-1].latest) == (1, "trial-0000 failed: the loss became nan")
    assert shown[-1].best == "-"  # nor does it run any more


def test_the_best_is_one_that_runs_only_while_it_is_ahead(recording):
    _, recorder, shown = recording
    recorder.start(0)
    recorder.epoch(parameters(0), result(1, 0.7))
    recorder.end(parameters(0), None)
    recorder.start(1)
    found = []
    for epoch, accuracy in ((1, 0.65), (2, 0.85)):
        recorder.epoch(parameters(1), result(epoch, accuracy))
        found.append(shown[-1].best)
    assert found == ["0.700 (trial 0)", "0.750 (trial 1, running)"]
    assert shown[-1].underway == (("trial-0001", 2),)


def test_the_time_left_is_of_whole_trials_to_come_and_the_rest_of_those_that_run(recording, monkeypatch):
    """At 40 s: the rate is of all epochs so far, the length of a trial that of the one that ended."""
    _, recorder, shown = recording
    now = recorder._started
    monkeypatch.setattr("catdog_ray.recorder.time.monotonic", lambda: now + 40.0)
    recorder.start(0)
    for epoch in (1, 2):
        recorder.epoch(parameters(0), result(epoch, 0.5))
    assert shown[-1].left_s is None  # how long a trial is, none has told yet
    recorder.end(parameters(0), None)
    assert shown[-1].left_s == pytest.approx(2 * 2 * 20.0)  # two trials of two epochs, 20 s each
    recorder.start(1)
    recorder.epoch(parameters(1), result(1, 0.5))
    assert shown[-1].left_s == pytest.approx((2 + 1) * 40 / 3)
    recorder.start(2)
    recorder.epoch(parameters(2), result(1, 0.5))
    assert shown[-1].left_s == pytest.approx((1 + 1) * 10.0)
    # One that goes on for longer than others did takes nothing from the rest.
    for epoch in (2, 3, 4):
        recorder.epoch(parameters(2), result(epoch, 0.5))
    assert shown[-1].left_s == pytest.approx(1 * 40 / 7)
    assert shown[-1].elapsed_s == pytest.approx(140.0)


def test_a_resumed_search_shows_all_of_it_and_counts_work_as_before(tmp_path: Path):
    """Another release may count multiply-adds otherwise; the time left is at the rate of this session alone."""
    shown: list[Progress] = []
    earlier = [trial_epoch_row(1, 1, selection_accuracy=0.5, objective=0.5, multiply_adds=999)]
    with StudyDirectory(tmp_path) as study:
        lost = trial_row(2, status="failed", epochs=0, objective=None)
        options = {"epochs": {1: earlier, 0: [trial_epoch_row(0, 1)]}, "finished": [trial_row(0, epochs=4), lost]}
        recorder = SearchRecorder(study, SETTINGS, **options, elapsed_s=100.0, on_progress=shown.append)
        recorder.start(1)
        assert (shown[0].completed, shown[0].epochs, shown[0].left_s) == (1, 2, None)
        assert shown[0].underway == (("trial-0001", 1),)
        recorder.epoch(parameters(1), result(2, 0.6))
        [row] = study.epochs.read()
    assert shown[-1].left_s > 0  # trials have four epochs; one that had none does not count
    assert (row.epoch, row.objective, row.multiply_adds, row.parameters) == (2, pytest.approx(0.55), 999, 100)
    assert len(earlier) == 1  # the caller's rows are its own


def test_what_runs_at_the_end_of_the_time_is_stopped_with_what_it_has(recording):
    study, recorder, shown = recording
    for number in (0, 1):
        recorder.start(number)
    recorder.epoch(parameters(0), result(1, 0.5))
    recorder.epoch(parameters(0), result(2, 0.6))
    assert recorder.end_begun() == study.trials.read()
    assert [(row.trial, row.status, row.epochs) for row in study.trials.read()] == [(0, "stopped", 2)]
    assert recorder.end_begun() == []
    assert shown[-1].stopped == 1


def test_names():
    assert trial_name(7) == "trial-0007"
