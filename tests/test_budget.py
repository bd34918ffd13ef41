"""A time budget ends the search in time, keeps what the trials have, and retraining follows."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from small import quick_config

from catdog_ray import command, search
from catdog_ray import data as images
from catdog_ray.budget import TimeBudget
from catdog_ray.capacity import Share
from catdog_ray.errors import ConfigError, RunFailed
from catdog_ray.ledger import StudyDirectory


def test_a_trial_ends_before_an_epoch_that_would_be_too_long() -> None:
    budget = TimeBudget(10.0)
    assert not budget("a", {"seconds": 5.0})
    assert budget("a", {"seconds": 11.0})
    assert not budget("a", {})
    assert not budget.stop_all()
    over = TimeBudget(-1.0)
    assert over("a", {"seconds": 0.0})
    assert over.stop_all()


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("45m", 2700), ("1.5h", 5400), (" 8h ", 28800)])
def test_times(text: str, seconds: float) -> None:
    assert command.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["90", "1d", "h", "-3m", "1h30m", "٣h", ""])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--time-budget must be a number with s, m or h"):
        command.seconds_of(text)


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"search\.time_budget_s must be above 0 or null, got 0"):
        quick_config(search__time_budget_s=0)


@pytest.mark.parametrize(("budget_s", "is_told"), [(None, True), (3600, True), (0.2, False)])
def test_trials_that_ray_lost_fail_a_search_that_had_time(
    budget_s: float | None, is_told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray drops a trial without a word where a worker cannot be made ready for it."""
    config = quick_config(
        search__time_budget_s=budget_s, search__num_samples=3, data__cache_dir=str(tmp_path / "cache")
    )
    splits = images.load(config.data)
    monkeypatch.setattr(search.running, "run_trials", lambda *_, **__: time.sleep(0.3))
    running_on = SimpleNamespace(share=lambda *, runs: Share(1, 0, 2))
    with StudyDirectory(tmp_path / "study") as study:
        going: Any = contextlib.nullcontext()
        if is_told:
            going = pytest.raises(RunFailed, match=r"^Ray ended without trial-0000, trial-0001, trial-0002; --resume")
        with going:
            search.run(study, config, splits.train, splits.selection, running_on=running_on)


@pytest.mark.slow
def test_the_search_ends_in_time_with_what_it_has(ray_cluster, tmp_path: Path) -> None:
    config = quick_config(
        search__time_budget_s=30,  # on a busy machine workers take 20 to come up
        search__num_samples=50,
        search__max_epochs=2000,
        search__grace_epochs=2000,
        data__cache_dir=str(tmp_path / "cache"),
    )
    splits = images.load(config.data)
    with StudyDirectory(tmp_path / "study") as study:
        started = time.monotonic()
        rows = search.run(study, config, splits.train, splits.selection, running_on=ray_cluster)
        assert 25 < time.monotonic() - started < 45
        assert rows
        assert {row.status for row in rows} == {"stopped"}
        backend = optuna.storages.journal.JournalFileBackend(str(study.path / "optuna-journal.log"))
        journal = optuna.load_study(study_name=config.name, storage=optuna.storages.JournalStorage(backend)).trials
        # One that was cut before its first epoch has no row.
        assert {trial.number: trial.value for trial in journal if trial.state.name == "COMPLETE"} == {
            row.trial: row.objective for row in rows
        }
        assert {trial.state.name for trial in journal} <= {"COMPLETE", "FAIL"}
        assert all(row.objective is not None and row.epochs > 0 for row in rows)
        counted = len(study.epochs.read())
        assert counted == sum(row.epochs for row in rows)
        assert max(row.elapsed_s for row in study.epochs.read()) <= 30.5
        # The budget is of all sessions together: nothing is left of it.
        assert search.run(study, config, splits.train, splits.selection, running_on=ray_cluster) == rows
        assert len(study.epochs.read()) == counted
        # Killed before the ends were written: nothing is left of the time, and the trials end with what they have.
        lines = (study.path / "trials.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (study.path / "trials.jsonl").write_text("".join(lines[1:]), encoding="utf-8")
        again = search.run(study, config, splits.train, splits.selection, running_on=ray_cluster)
        assert [(row.trial, row.status, row.epochs, row.objective) for row in again] == [
            (row.trial, row.status, row.epochs, row.objective) for row in rows
        ]
