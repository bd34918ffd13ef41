"""The facts of a study: written at the start and at the end, whatever happens in between."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from make_rows import trial_epoch_row, trial_row
from small import quick_config

from catdog_ray import cluster, study
from catdog_ray.ledger import RecordError, StudyDirectory
from catdog_ray.settings import ConfigError


def test_a_study_that_cannot_start_ray_says_so_in_its_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = quick_config(**{"data.cache_dir": str(tmp_path / "cache"), "cluster.address": "127.0.0.1:1"})
    with pytest.raises(cluster.ClusterError, match=r"cluster\.address '127\.0\.0\.1:1'"):
        study.run(tmp_path / "study", config)
    facts = StudyDirectory(tmp_path / "study").read_study()
    assert facts["state"] == "failed"
    assert facts["wall_s"] > 0
    assert facts["sessions"] == 1
    assert facts["data"]["train_images"] == 48
    assert facts["config"]["cluster"]["address"] == "local"  # an address is true of one network only
    assert facts["objective"].startswith("the best value so far of the selection accuracy averaged over the last 3")


def test_other_data_is_refused(tmp_path: Path):
    config = quick_config(**{"data.cache_dir": str(tmp_path / "cache"), "cluster.address": "127.0.0.1:1"})
    with pytest.raises(cluster.ClusterError):
        study.run(tmp_path / "study", config)
    before = (tmp_path / "study" / "study.json").read_bytes()
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, drawn_seed=1))
    with pytest.raises(RecordError, match=r"was begun with other data"):
        study.run(tmp_path / "study", other)
    assert (tmp_path / "study" / "study.json").read_bytes() == before


def test_another_backend_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = quick_config(**{"data.cache_dir": str(tmp_path / "cache"), "cluster.address": "127.0.0.1:1"})
    with pytest.raises(cluster.ClusterError):
        study.run(tmp_path / "study", config)
    before = (tmp_path / "study" / "study.json").read_bytes()
    assert StudyDirectory(tmp_path / "study").read_study()["backend"] == "tensorflow"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(RecordError, match=r"begun with Keras on tensorflow, this is jax; set KERAS_BACKEND=tensorflow"):
        study.run(tmp_path / "study", config)
    assert (tmp_path / "study" / "study.json").read_bytes() == before


def test_nothing_left_to_do_starts_no_ray(tmp_path: Path):
    """The address is of no Ray, so whatever is left to do fails, and says that the search is not over."""
    place = {"data.cache_dir": str(tmp_path / "cache"), "cluster.address": "127.0.0.1:1", "retrain.enabled": False}
    config = quick_config(**{**place, "search.num_samples": 2})
    folder = tmp_path / "study"
    with pytest.raises(cluster.ClusterError):
        study.run(folder, config)
    rows = StudyDirectory(folder)
    rows.trials.append(trial_row(0))
    rows.epochs.append(trial_epoch_row(0))
    with pytest.raises(cluster.ClusterError):
        study.run(folder, config)
    assert (rows.read_study()["searched"], rows.read_study()["state"]) == (False, "failed")
    rows.trials.append(trial_row(1))
    study.run(folder, config)
    assert (rows.read_study()["searched"], rows.read_study()["state"]) == (True, "finished")
    more = dataclasses.replace(config, search=dataclasses.replace(config.search, num_samples=4))
    with pytest.raises(cluster.ClusterError):
        study.run(folder, more)
    assert rows.read_study()["searched"] is False


def test_a_search_that_used_its_time_is_over_until_it_gets_more(tmp_path: Path):
    place = {"data.cache_dir": str(tmp_path / "cache"), "cluster.address": "127.0.0.1:1", "retrain.enabled": False}
    config = quick_config(**{**place, "search.num_samples": 9, "search.time_budget_s": 60})
    folder = tmp_path / "study"
    with pytest.raises(cluster.ClusterError):
        study.run(folder, config)
    rows = StudyDirectory(folder)
    rows.trials.append(trial_row(0))
    rows.epochs.append(trial_epoch_row(0))
    with pytest.raises(cluster.ClusterError):
        study.run(folder, config)
    rows.write_study({**rows.read_study(), "searched": True})
    study.run(folder, config)
    assert (rows.read_study()["searched"], rows.read_study()["state"]) == (True, "finished")
    longer = dataclasses.replace(config, search=dataclasses.replace(config.search, time_budget_s=120))
    with pytest.raises(cluster.ClusterError):
        study.run(folder, longer)
    assert rows.read_study()["searched"] is False


def test_fewer_trials_than_there_are_is_refused(tmp_path: Path):
    config = quick_config(**{"data.cache_dir": str(tmp_path / "cache"), "search.num_samples": 2})
    rows = StudyDirectory(tmp_path / "study")
    rows.path.mkdir()
    rows.trials.append(trial_row(0))
    rows.epochs.append(trial_epoch_row(2))
    with pytest.raises(ConfigError, match=r"study has begun 3 trials, so it must be at least that many, got 2"):
        study.run(rows.path, config)
    assert not (rows.path / "study.json").exists()
