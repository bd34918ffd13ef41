"""The facts of a study: written at the start and at the end, whatever happens in between."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NoReturn

import pytest
from make_rows import retrain_row, trial_epoch_row, trial_row
from small import quick_config

from catdog_ray import cluster, processes, study
from catdog_ray.errors import ConfigError, RunFailed
from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import RecordError
from catdog_ray.settings import STOCK, Config


def unreachable(tmp_path: Path, **changes: Any) -> Config:
    """A small study whose address is of no Ray: whatever needs one fails."""
    place = {"data.cache_dir": str(tmp_path / "cache"), "cluster.address": "127.0.0.1:1"}
    return quick_config(**{**place, **changes})


def begun(folder: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> StudyDirectory:
    """A study whose first session broke down when Ray was to start."""

    def break_down(_: object) -> NoReturn:
        raise RunFailed("Ray broke down")

    with monkeypatch.context() as changed:
        changed.setattr(cluster, "connect", break_down)
        with pytest.raises(RunFailed):
            study.run(folder, config)
    return StudyDirectory(folder)


def test_a_study_that_broke_down_says_so_in_its_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = unreachable(tmp_path)
    facts = begun(tmp_path / "study", config, monkeypatch).read_study()
    assert facts["state"] == "failed"
    assert facts["wall_s"] > 0
    assert facts["sessions"] == 1
    assert facts["data"]["train_images"] == 48
    assert facts["config"]["cluster"]["address"] == "local"  # an address is true of one network only
    assert facts["objective"].startswith("the best value so far of the selection accuracy averaged over the last 3")


def test_what_must_be_changed_first_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The corrected command is then not told that there is a study already."""
    config = unreachable(tmp_path)
    with pytest.raises(cluster.ClusterError, match=r"cluster\.address '127\.0\.0\.1:1'"):
        study.run(tmp_path / "study", config)
    assert not (tmp_path / "study").exists()
    # A folder that was there stays, and so does what a study that was there says of itself.
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine.txt").write_text("mine")
    with pytest.raises(cluster.ClusterError):
        study.run(tmp_path / "study", config)
    assert [file.name for file in (tmp_path / "study").iterdir()] == ["mine.txt"]
    rows = begun(tmp_path / "study", config, monkeypatch)
    rows.trials.append(trial_row(0))
    before = rows.snapshot()
    assert before.keys() == {"study.json", ".machine.json", "trials.jsonl"}
    with pytest.raises(cluster.ClusterError):
        study.run(tmp_path / "study", config)
    assert rows.snapshot() == before
    assert (rows.path / ".machine.json").stat().st_mode & 0o077 == 0


def test_what_a_search_made_before_it_could_begin_is_removed_too(tmp_path: Path):
    with StudyDirectory(tmp_path / "study") as rows:
        before = rows.snapshot()
        rows.write_study({"schema_version": 1})
        (rows.path / "optuna-journal.log").touch()
        (rows.path / "ray" / "trials").mkdir(parents=True)
        rows.put_back(before)
    assert not rows.path.exists()


def test_a_network_is_built_over_its_space_only_before_the_first_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Later an end of the space that fails would keep a study from going on, whose space may not change."""
    asked = []

    def call_apart(function: Any, *arguments: Any) -> NoReturn:
        asked.append(dict(arguments[3]))
        raise processes.Lost("BrokenProcessPool")

    monkeypatch.setattr(processes, "call_apart", call_apart)
    config = unreachable(tmp_path, search__method=STOCK, model__builder="test_study:unreachable")
    said = r"^--model test_study:unreachable: the process that built it before the search was lost \(BrokenPr"
    for _ in range(2):
        with pytest.raises(ConfigError, match=said):
            study.run(tmp_path / "study", config)
        with StudyDirectory(tmp_path / "study") as begun_one:
            begun_one.epochs.append(trial_epoch_row(0, 1))
    assert asked == [dict(config.space), {}]


def test_a_milestone_that_comes_too_late_is_told_before_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = unreachable(tmp_path, **{"retrain.milestones": [2, 3]})
    rows = begun(tmp_path / "study", config, monkeypatch)
    point = {name: config.baseline[name] for name in config.space}
    rows.trials.append(trial_row(0, hyperparameters=point))
    rows.retrain.append(retrain_row("baseline", config.seed, 9, hyperparameters=point))
    with pytest.raises(ConfigError, match=r"has baseline, seed 0, at 9 epochs, so a milestone at 2 comes too late"):
        study.run(tmp_path / "study", config)


def test_a_session_that_came_to_a_row_is_not_undone(tmp_path: Path):
    with StudyDirectory(tmp_path / "study") as rows:
        before = rows.snapshot()
        rows.write_study({"schema_version": 1})
        rows.trials.append(trial_row(0))
        rows.put_back(before)
        assert rows.read_study() == {"schema_version": 1}


def test_a_study_that_another_command_has_begun_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A name that was free when this command looked need not be when the data is there."""
    config = unreachable(tmp_path)
    rows = begun(tmp_path / "study", config, monkeypatch)
    before = rows.snapshot()
    with pytest.raises(ConfigError, match=r"^seed was 0 when .*study began and is 7 now; leave it as it was, or start"):
        study.run(tmp_path / "study", dataclasses.replace(config, seed=7))
    assert rows.snapshot() == before


def test_other_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = unreachable(tmp_path)
    before = begun(tmp_path / "study", config, monkeypatch).snapshot()
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, drawn_seed=1))
    with pytest.raises(RecordError, match=r"was begun with other data"):
        study.run(tmp_path / "study", other)
    assert StudyDirectory(tmp_path / "study").snapshot() == before


def test_another_backend_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = unreachable(tmp_path)
    before = begun(tmp_path / "study", config, monkeypatch).snapshot()
    assert StudyDirectory(tmp_path / "study").read_study()["backend"] == "tensorflow"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(RecordError, match=r"begun with Keras on tensorflow, this is jax; set KERAS_BACKEND=tensorflow"):
        study.run(tmp_path / "study", config)
    assert StudyDirectory(tmp_path / "study").snapshot() == before


def test_nothing_left_to_do_starts_no_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The address is of no Ray, so whatever is left to do fails, and says that the search is not over."""
    config = unreachable(tmp_path, **{"retrain.enabled": False, "search.num_samples": 2})
    folder = tmp_path / "study"
    rows = begun(folder, config, monkeypatch)
    rows.trials.append(trial_row(0))
    rows.epochs.append(trial_epoch_row(0))
    with pytest.raises(cluster.ClusterError):
        study.run(folder, config)
    rows.trials.append(trial_row(1))
    study.run(folder, config)
    assert (rows.read_study()["searched"], rows.read_study()["state"]) == (True, "finished")
    more = dataclasses.replace(config, search=dataclasses.replace(config.search, num_samples=4))
    begun(folder, more, monkeypatch)
    assert (rows.read_study()["searched"], rows.read_study()["state"]) == (False, "failed")


def test_a_search_that_used_its_time_is_over_until_it_gets_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = unreachable(tmp_path, **{"retrain.enabled": False, "search.num_samples": 9, "search.time_budget_s": 60})
    folder = tmp_path / "study"
    rows = begun(folder, config, monkeypatch)
    rows.trials.append(trial_row(0))
    rows.epochs.append(trial_epoch_row(0))
    with pytest.raises(cluster.ClusterError):
        study.run(folder, config)
    rows.write_study({**rows.read_study(), "searched": True})
    study.run(folder, config)
    assert (rows.read_study()["searched"], rows.read_study()["state"]) == (True, "finished")
    for more in ({"time_budget_s": 120}, {"num_samples": 12}, {"time_budget_s": None}):
        with pytest.raises(cluster.ClusterError):
            study.run(folder, dataclasses.replace(config, search=dataclasses.replace(config.search, **more)))
    longer = dataclasses.replace(config, search=dataclasses.replace(config.search, time_budget_s=120))
    begun(folder, longer, monkeypatch)
    assert rows.read_study()["searched"] is False


def test_fewer_trials_than_there_are_is_refused(tmp_path: Path):
    config = unreachable(tmp_path, **{"search.num_samples": 2})
    rows = StudyDirectory(tmp_path / "study")
    rows.path.mkdir()
    rows.trials.append(trial_row(0))
    rows.epochs.append(trial_epoch_row(2))
    with pytest.raises(ConfigError, match=r"study has begun 3 trials, so it must be at least that many, got 2"):
        study.run(rows.path, config)
    assert not (rows.path / "study.json").exists()
