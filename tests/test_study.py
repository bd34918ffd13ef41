"""The facts of a study: written at the start and at the end, whatever happens in between."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from small import quick_config

from catdog_ray import cluster, study
from catdog_ray.ledger import RecordError, StudyDirectory


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
