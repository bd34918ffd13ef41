"""The stock Keras Tuner as a study: the same rows, one trial after the other, interrupted and resumed."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import images, quick_config

from catdog_ray import config as configuration
from catdog_ray import stock
from catdog_ray.errors import RunFailed
from catdog_ray.ledger import StudyDirectory
from catdog_ray.ranges import contains
from catdog_ray.records import Progress, TrialEpochRow, TrialRow, objective
from catdog_ray.settings import STOCK
from catdog_ray.space import HyperParameters, require_inside

pytestmark = pytest.mark.slow

TRAIN, SELECTION = images(48), images(24, seed=1)
CONFIG = quick_config(search__method=STOCK, search__num_samples=3, search__max_epochs=3)


def run(folder: Path, config=CONFIG, **options) -> tuple[list[TrialRow], list[TrialEpochRow]]:
    with StudyDirectory(folder) as study:
        trials = stock.run(study, config, TRAIN, SELECTION, **options)
        return trials, study.epochs.read()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder, shown = tmp_path_factory.mktemp("stock"), []
    trials, epochs = run(folder, on_progress=shown.append)
    return folder, trials, epochs, shown


def test_every_trial_has_full_length_and_its_rows(finished):
    folder, trials, epochs, _ = finished
    assert [(row.trial, row.status, row.epochs) for row in trials] == [(n, "completed", 3) for n in range(3)]
    assert [(row.trial, row.epoch) for row in epochs] == [(n, e) for n in range(3) for e in range(1, 4)]
    for row in trials:
        accuracies = [epoch.selection_accuracy for epoch in epochs if epoch.trial == row.trial]
        assert row.objective == pytest.approx(objective(accuracies, window=3), abs=1e-12)
        assert row.parameters > 100
        assert row.multiply_adds > 1000
        assert all(contains(CONFIG.space[name], value) for name, value in row.hyperparameters.items())
    assert trials[0].hyperparameters == dict(CONFIG.baseline)
    assert trials[0].suggestion_seconds is None
    assert all(row.suggestion_seconds > 0 for row in trials[1:])
    assert not (folder / "keras-tuner").exists()


def test_progress(finished):
    shown: list[Progress] = finished[3]
    assert (shown[-1].running, shown[-1].completed, shown[-1].epochs) == (0, 3, 9)
    assert {progress.running for progress in shown} == {0, 1}


def test_a_cut_search_goes_on_with_the_same_trials(finished, tmp_path):
    """Cut in trial 1 after two epochs: that trial is begun again, and the rest is what it would have been."""
    _, trials, epochs, _ = finished
    with StudyDirectory(tmp_path) as study:
        study.trials.append(*trials[:1])
        study.epochs.append(*[row for row in epochs if row.trial < 1 or (row.trial == 1 and row.epoch <= 2)])
    resumed, rows = run(tmp_path)
    assert [row.hyperparameters for row in resumed] == [row.hyperparameters for row in trials]
    assert [row.objective for row in resumed] == pytest.approx([row.objective for row in trials], abs=0.02)
    assert [(row.trial, row.epoch) for row in rows] == [(n, e) for n in range(3) for e in range(1, 4)]
    assert resumed[-1].elapsed_s > trials[0].elapsed_s


def test_a_trial_whose_own_row_was_cut_off_is_not_run_again(finished, tmp_path):
    _, trials, epochs, _ = finished
    with StudyDirectory(tmp_path) as study:
        study.trials.append(*trials[:2])
        study.epochs.append(*epochs)
    resumed, rows = run(tmp_path)
    assert rows == epochs
    assert resumed[:2] == trials[:2]
    assert dataclasses.replace(resumed[2], elapsed_s=0.0) == dataclasses.replace(trials[2], elapsed_s=0.0)


def test_a_diverged_trial_is_failed_with_its_reason_and_the_search_goes_on(tmp_path):
    config = quick_config(
        search__method=STOCK,
        search__num_samples=4,
        search__max_epochs=1,
        search__start_from=[],
        space__learning_rate={"choices": [1e25]},
        baseline__learning_rate=1e25,
    )
    trials, _ = run(tmp_path, config)
    assert [row.status for row in trials] == 4 * ["failed"]
    assert trials[0].reason in ("the loss became nan in epoch 1", "the loss became inf in epoch 1")
    assert trials[0].objective is None


def roomless(hyperparameters, input_shape, classes):
    raise ValueError("no room for\n  " + str(hyperparameters["dense_units"]))


def test_what_a_network_of_ones_own_raises_is_its_trials_reason(tmp_path):
    config = quick_config(search__method=STOCK, search__num_samples=1, model__builder="test_stock:roomless")
    trials, _ = run(tmp_path, config)
    reason = "test_stock:roomless raised ValueError: no room for 16"
    assert [(row.status, row.epochs, row.reason) for row in trials] == [("failed", 0, reason)]


def test_every_kind_of_range_and_the_batch_size_also_after_a_resume(tmp_path):
    config = configuration.load(
        "examples/separable.yaml",
        overrides={"search.method": STOCK, "search.num_samples": 2, "search.max_epochs": 1, "search.grace_epochs": 1},
    )
    first, _ = run(tmp_path, config)
    more = dataclasses.replace(config, search=dataclasses.replace(config.search, num_samples=3))
    trials, epochs = run(tmp_path, more)
    assert [(row.trial, row.status, row.epochs) for row in trials] == [(n, "completed", 1) for n in range(3)]
    assert trials[:2] == first
    assert repr(trials[0].hyperparameters) == repr(dict(config.baseline))
    for row in (*trials, *epochs):
        assert repr(require_inside(row.hyperparameters, config.space)) == repr(HyperParameters.of(row.hyperparameters))
        assert type(row.hyperparameters["normalise"]) is bool
        assert type(row.hyperparameters["width"]) is int


def test_a_space_that_is_exhausted_fails_and_says_how_to_end(tmp_path):
    """Keras Tuner stops where its random draws give nothing new, and says nothing."""
    choices = {
        "learning_rate": [0.001],
        "dropout_rate": [0.5],
        "conv_filters": [2, 4],
        "conv_kernel": [3],
        "dense_units": [8],
    }
    config = quick_config(
        **{
            "space": {name: {"choices": values} for name, values in choices.items()},
            "baseline": {name: values[-1] for name, values in choices.items()},
            "search.method": STOCK,
            "search.num_samples": 4,
            "search.max_epochs": 1,
            "search.grace_epochs": 1,
        }
    )
    with pytest.raises(RunFailed, match=r"after 2 of 4 trials, for the space is exhausted; .*--resume --num-samples 2"):
        run(tmp_path, config)
    assert len(StudyDirectory(tmp_path).trials.read()) == 2


COMMAND = [sys.executable, "-m", "catdog_ray.baseline", "--num-samples", "2", "--no-retrain", "--name", "peer"]


def test_the_command_interrupted_and_resumed(tmp_path):
    settings = {"data.image_size": 16, "data.drawn_train": 60, "data.drawn_test": 20, "search.max_epochs": 12}
    flags = ["--output", str(tmp_path)] + [f"--set={key}={value}" for key, value in settings.items()]
    process = subprocess.Popen([*COMMAND, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    study = StudyDirectory(tmp_path / "peer")
    while len(study.epochs.read()) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "search: Keras Tuner starts, and the first trial builds its network\n" in output
    assert "interrupted: finishing up, which takes some seconds; the rows are in " in output
    assert "python -m catdog_ray.baseline --resume --name peer" in errors
    assert len(errors.strip().splitlines()) == 1
    assert study.read_study()["state"] == "interrupted"
    resume = [sys.executable, "-m", "catdog_ray.baseline", "--resume", "--name", "peer", "--output", str(tmp_path)]
    done = subprocess.run(resume, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [row.status for row in study.trials.read()] == ["completed", "completed"]
    facts = study.read_study()
    assert (facts["method"], facts["state"], facts["sessions"]) == (STOCK, "finished", 2)
    assert facts["nodes"][0]["cores"] >= 1


def test_a_time_budget_ends_the_search(tmp_path):
    """Here before anything was trained; what runs when it ends is the recorder's business."""
    config = quick_config(search__method=STOCK, search__time_budget_s=0.5)
    started = time.monotonic()
    assert run(tmp_path, config) == ([], [])
    assert time.monotonic() - started < 20
    assert not (tmp_path / "keras-tuner").exists()
