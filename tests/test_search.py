"""Searches on a real local Ray: rows, early stopping, failures, lost workers, resuming."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import optuna
import psutil
import pytest
from small import images, quick_config

from catdog_ray import search
from catdog_ray.ledger import StudyDirectory
from catdog_ray.oracle import Oracle
from catdog_ray.ranges import contains
from catdog_ray.records import Progress, TrialEpochRow, TrialRow, objective
from catdog_ray.searchers import OptunaSuggester

pytestmark = pytest.mark.slow

TRAIN, SELECTION = images(48), images(24, seed=1)


def run(folder: Path, running_on: object, config, **options) -> tuple[list[TrialRow], list[TrialEpochRow]]:
    with StudyDirectory(folder) as study:
        trials = search.run(study, config, TRAIN, SELECTION, running_on=running_on, **options)
        return trials, study.epochs.read()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, ray_cluster):
    """One search of six trials, with what it showed."""
    folder, shown = tmp_path_factory.mktemp("study"), []
    workers: set[int] = set()
    config = quick_config(search__num_samples=6)

    def watch(progress: Progress) -> None:
        shown.append(progress)
        workers.update(process.pid for process in _trial_workers())

    trials, epochs = run(folder, ray_cluster, config, on_progress=watch)
    # Worker processes are used again, so that each imports TensorFlow once: not one per trial.
    assert 1 <= len(workers) <= 3
    return folder, config, trials, epochs, shown


def test_every_trial_has_its_rows(finished):
    _, config, trials, epochs, _ = finished
    assert [row.trial for row in trials] == list(range(6))
    for row in trials:
        mine = [epoch for epoch in epochs if epoch.trial == row.trial]
        assert [epoch.epoch for epoch in mine] == list(range(1, row.epochs + 1))
        accuracies = [epoch.selection_accuracy for epoch in mine]
        assert row.objective == pytest.approx(objective(accuracies, window=3), abs=1e-12)
        assert [epoch.objective for epoch in mine] == pytest.approx(
            [objective(accuracies[: i + 1], window=3) for i in range(len(mine))]
        )
        assert row.status == ("completed" if row.epochs == 4 else "stopped")
        assert row.parameters > 100
        assert row.multiply_adds > 1000
        assert row.training_seconds == pytest.approx(sum(epoch.seconds for epoch in mine))
        assert all(contains(config.space[name], value) for name, value in row.hyperparameters.items())


def test_the_baseline_is_the_first_trial(finished):
    _, config, trials, _, _ = finished
    assert trials[0].hyperparameters == dict(config.baseline)
    assert trials[0].suggestion_seconds is None
    assert all(row.suggestion_seconds > 0 for row in trials[1:])


def test_elapsed_time_rises_and_progress_ends_complete(finished):
    _, _, _, epochs, shown = finished
    times = [row.elapsed_s for row in epochs]
    assert times == sorted(times)
    last: Progress = shown[-1]
    assert (last.running, last.completed + last.stopped, last.failed) == (0, 6, 0)
    assert last.epochs == len(epochs)
    assert max(progress.running for progress in shown) == 2
    assert any(progress.left_s is not None and progress.left_s > 0 for progress in shown)


def test_the_journal_shows_the_same_study(finished):
    folder, _, trials, _, _ = finished
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "optuna-journal.log"))
    study = optuna.load_study(study_name="quickstart", storage=optuna.storages.JournalStorage(backend))
    told = {trial.user_attrs["number"]: (trial.value, dict(trial.params)) for trial in study.trials}
    assert told == {row.trial: (row.objective, row.hyperparameters) for row in trials}


def test_a_finished_search_has_nothing_more_to_do(finished, ray_cluster):
    folder, config, trials, _, _ = finished
    before = (folder / "epochs.jsonl").read_bytes()
    again, _ = run(folder, ray_cluster, config)
    assert again == trials
    assert (folder / "epochs.jsonl").read_bytes() == before


def test_a_cut_search_goes_on_from_its_rows_and_checkpoints(finished, tmp_path, ray_cluster):
    """Cut after trial 0 ended and trial 1 had an epoch: trials are completed, nothing is there twice."""
    _, config, trials, epochs, _ = finished
    with StudyDirectory(tmp_path) as study:
        study.trials.append(trials[0])
        study.epochs.append(*[row for row in epochs if row.trial == 0 or (row.trial == 1 and row.epoch == 1)])
    with (tmp_path / "epochs.jsonl").open("a") as file:
        file.write('{"trial": 4, "epo')  # torn by the crash
    resumed, rows = run(tmp_path, ray_cluster, config)
    assert [row.trial for row in resumed] == list(range(6))
    assert resumed[0] == trials[0]
    assert resumed[1].hyperparameters == trials[1].hyperparameters
    keys = [(row.trial, row.epoch) for row in rows]
    assert len(keys) == len(set(keys)) == sum(row.epochs for row in resumed)


def test_random_search_by_name(tmp_path, ray_cluster):
    """As the sampler gives them on its own: the first trial is the baseline, the others depend on seed and number."""
    config = quick_config(search__num_samples=3, search__method="random")
    trials, _ = run(tmp_path, ray_cluster, config)
    alone = OptunaSuggester(config.space, sampler="random", seed=config.seed, startup_trials=1)
    suggested = [alone.suggest(number).hyperparameters for number in (1, 2)]
    assert [row.hyperparameters for row in trials[1:]] == [dict(point) for point in suggested]


def test_keras_tuners_oracle_drives_the_same_trials_and_is_rebuilt_from_the_rows(tmp_path, ray_cluster):
    config = quick_config(search__num_samples=6, search__method="keras-tuner", search__startup_trials=3)
    trials, _ = run(tmp_path, ray_cluster, config)
    assert [row.trial for row in trials] == list(range(6))
    assert trials[0].hyperparameters == dict(config.baseline)
    assert all(contains(config.space[name], row.hyperparameters[name]) for row in trials for name in config.space)
    assert {row.status for row in trials} <= {"completed", "stopped"}
    # A point by the Gaussian process takes its time, one at random does not.
    assert min(row.suggestion_seconds for row in trials[1:]) < 0.05 < max(row.suggestion_seconds for row in trials[1:])
    more = quick_config(search__num_samples=7, search__method="keras-tuner", search__startup_trials=3)
    resumed, rows = run(tmp_path, ray_cluster, more)
    assert resumed[:6] == trials
    assert resumed[6].suggestion_seconds > 0.05
    alone = Oracle(config.space, seed=config.seed, startup_trials=3)
    for row in trials:
        alone.replay(row)
    assert resumed[6].hyperparameters == dict(alone.suggest(6).hyperparameters)
    assert len({(row.trial, row.epoch) for row in rows}) == len(rows) == sum(row.epochs for row in resumed)


def test_a_diverged_trial_fails_once_with_its_reason_and_the_search_goes_on(tmp_path, ray_cluster):
    wild = {"space.learning_rate": {"choices": [1e-3, 1e25]}, "baseline.learning_rate": 1e25}
    config = quick_config(search__num_samples=3, search__startup_trials=1, **wild)
    trials, epochs = run(tmp_path, ray_cluster, config)
    assert len(trials) == 3
    assert trials[0].status == "failed"
    assert trials[0].reason.startswith("the loss became ")
    assert trials[0].epochs == len([row for row in epochs if row.trial == 0]) < 4
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "optuna-journal.log"))
    study = optuna.load_study(study_name="quickstart", storage=optuna.storages.JournalStorage(backend))
    states = {trial.user_attrs["number"]: trial.state.name for trial in study.trials}
    assert states[0] == "FAIL"
    assert "RUNNING" not in states.values()


def test_a_killed_worker_is_replaced_and_its_trial_goes_on(tmp_path, ray_cluster):
    """The worker of trial 0 dies after its second epoch; Ray retries from the checkpoint."""
    killed: list[int] = []

    def kill_once(progress: Progress) -> None:
        if not killed and progress.latest.startswith("trial-0000 epoch 2"):
            killed.append(_kill_a_trial_worker())

    config = quick_config(search__num_samples=1, search__max_epochs=12, cluster__max_failures=1)
    trials, epochs = run(tmp_path, ray_cluster, config, on_progress=kill_once)
    assert killed
    assert [(row.status, row.epochs) for row in trials] == [("completed", 12)]
    assert [row.epoch for row in epochs] == list(range(1, 13))


def test_a_worker_lost_too_often_is_a_failed_trial(tmp_path, ray_cluster):
    def kill(progress: Progress) -> None:
        if progress.latest.startswith("trial-0000 epoch 2"):
            _kill_a_trial_worker()

    config = quick_config(search__num_samples=1, search__max_epochs=40, cluster__max_failures=0)
    trials, _ = run(tmp_path, ray_cluster, config, on_progress=kill)
    assert [row.status for row in trials] == ["failed"]
    assert trials[0].reason
    assert trials[0].epochs >= 2


def test_what_a_trial_raises_is_its_reason(tmp_path, ray_cluster):
    """No kernel of 3 fits into what is left of 16 pixels after `valid` pools; the config would refuse it first."""
    config = quick_config(search__num_samples=1, cluster__max_failures=0)
    impossible = dataclasses.replace(config, model=dataclasses.replace(config.model, padding="valid"))
    trials, _ = run(tmp_path, ray_cluster, impossible)
    assert [(row.status, row.epochs, row.objective) for row in trials] == [("failed", 0, None)]
    assert "ValueError" in trials[0].reason


def _kill_a_trial_worker() -> int:
    workers = _trial_workers()
    assert workers
    os.kill(workers[0].pid, signal.SIGKILL)
    return workers[0].pid


def _trial_workers() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith("ray::Trial"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_asking_for_more_samples_extends_the_study(finished, tmp_path, ray_cluster):
    _, config, trials, epochs, _ = finished
    with StudyDirectory(tmp_path) as study:
        study.trials.append(*trials)
        study.epochs.append(*epochs)
    more = dataclasses.replace(config, search=dataclasses.replace(config.search, num_samples=7))
    extended, _ = run(tmp_path, ray_cluster, more)
    assert extended[:6] == trials
    assert [row.trial for row in extended] == list(range(7))
