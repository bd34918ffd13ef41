"""What runs on a worker: where a trial goes on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from small import POINT, images, quick_config

from catdog_ray import backend, evaluation, model, train, trial
from catdog_ray.records import EpochRow


def left_by_sessions(folder: Path) -> list[str]:
    """Checkpoints by folder: the first session came to epoch 20, the second went on to 38; Ray numbers each from 0."""
    network = model.build(POINT, quick_config().model, image_size=16, classes=2)
    for number, epoch in ((18, 19), (19, 20), (16, 37), (17, 38), (20, 39)):
        place = folder / f"checkpoint_{number:06d}"
        place.mkdir(parents=True)
        train.save_checkpoint(place / "checkpoint.npz", network, epoch=epoch)
        (place / "accuracies.json").write_text(json.dumps([epoch / 100] * epoch))
    torn = folder / "checkpoint_000020" / "checkpoint.npz"
    torn.write_bytes(torn.read_bytes()[:-200])
    return sorted((str(place) for place in folder.iterdir()), reverse=True)


@pytest.mark.parametrize(("before", "expected"), [(60, 38), (38, 37), (20, 19), (19, None)])
def test_it_goes_on_from_the_furthest_epoch_whatever_the_folders_number(
    before: int, expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial.tune, "get_checkpoint", lambda: None)
    parameters = {"resume_from": left_by_sessions(tmp_path / "left"), "resume_before": before, "accuracies": []}
    course = trial._Course(parameters, quick_config().fit, scoring_window=3)
    found = course._fetch_checkpoint(tmp_path / "fetched")
    assert (None if found is None else train.checkpoint_epoch(found)) == expected
    assert course._accuracies == [(expected or 0) / 100] * (expected or 0)


def test_a_lost_worker_goes_on_from_rays_own_checkpoint_however_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stood on record when the session began bounds the checkpoints of sessions before, not those of this one."""
    left = left_by_sessions(tmp_path / "left")
    own = next(place for place in left if place.endswith("17"))
    monkeypatch.setattr(trial.tune, "get_checkpoint", lambda: trial.tune.Checkpoint(own))
    parameters = {"resume_from": left, "resume_before": 21, "accuracies": [0.5] * 20}
    course = trial._Course(parameters, quick_config().fit, scoring_window=3)
    assert train.checkpoint_epoch(course._fetch_checkpoint(tmp_path / "fetched")) == 38
    assert course._accuracies == [0.5] * 20 + [0.38] * 18


def test_a_checkpoint_whose_accuracies_are_of_another_epoch_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial.tune, "get_checkpoint", lambda: None)
    left = left_by_sessions(tmp_path / "left")
    (tmp_path / "left" / "checkpoint_000017" / "accuracies.json").write_text(json.dumps([0.5] * 37))
    parameters = {"resume_from": left, "resume_before": math.inf, "accuracies": []}
    course = trial._Course(parameters, quick_config().fit, scoring_window=3)
    assert train.checkpoint_epoch(course._fetch_checkpoint(tmp_path / "fetched")) == 37


@pytest.fixture
def reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict, Path | None]]:
    """What a trial reports, with a copy of the checkpoint's folder."""
    found: list[tuple[dict, Path | None]] = []

    def report(result: dict, *, checkpoint: trial.tune.Checkpoint | None = None) -> None:
        kept = checkpoint and Path(checkpoint.to_directory(str(tmp_path / f"reported-{len(found)}")))
        found.append((result, kept))

    monkeypatch.setattr(trial.tune, "report", report)
    monkeypatch.setattr(trial.tune, "get_checkpoint", lambda: None)
    monkeypatch.setattr(trial.tune, "get_context", lambda: SimpleNamespace(get_trial_name=lambda: "trial-0000"))
    monkeypatch.setattr(trial.metrics, "publish", lambda *_, **__: None)
    return found


def test_milestones_are_saved_between_checkpoints_and_the_last_leaves_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reported: list[tuple[dict, Path | None]]
) -> None:
    settings = quick_config(train__checkpoint_epochs=4).fit
    network = model.build(POINT, quick_config().model, image_size=16, classes=2)
    monkeypatch.chdir(tmp_path)
    parameters = {"accuracies": []}
    course = trial._Course(parameters, settings, scoring_window=None, always_save=(3, 6), keep_model=True)
    for epoch in range(1, 7):
        course._on_epoch(EpochRow(epoch, 0.7, 0.5, 0.7, epoch / 10, 1.0), network)
    saved = {result["epoch"]: sorted(file.name for file in kept.iterdir()) for result, kept in reported if kept}
    usual = ["accuracies.json", "checkpoint.npz"]
    assert saved == {3: usual, 4: usual, 6: [*usual, "model.keras"]}
    assert [result["epoch"] for result, _ in reported] == [1, 2, 3, 4, 5, 6]
    assert json.loads((reported[3][1] / "accuracies.json").read_text()) == [0.1, 0.2, 0.3, 0.4]
    assert train.checkpoint_epoch(reported[3][1] / "checkpoint.npz") == 4


def test_a_trial_that_fails_ends_with_the_score_that_it_had(reported: list[tuple[dict, Path | None]]) -> None:
    """Ray's scheduler takes no result without one."""
    settings = quick_config().fit
    settings = replace(settings, train=replace(settings.train, checkpoint_epochs=50))
    network = model.build(POINT, quick_config().model, image_size=16, classes=2)
    course = trial._Course({"accuracies": []}, settings, scoring_window=3)
    course._fail("the loss became nan", epochs=0)
    for epoch in (1, 2):
        course._on_epoch(EpochRow(epoch, 0.7, 0.5, 0.7, epoch / 10, 1.0), network)
    course._fail("the loss became inf", epochs=2)
    first, last = reported[0][0], reported[-1][0]
    assert first == {"objective": 0.0, "failure": "the loss became nan", "epoch": 0, "done": True}
    assert (last["failure"], last["epoch"], last["done"]) == ("the loss became inf", 2, True)
    assert last["objective"] == pytest.approx(0.15)
    assert last["parameters"] == network.count_params()


def test_a_milestone_scores_training_images_as_they_are_and_mirrored_views_of_both_where_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reported: list[tuple[dict, Path | None]]
) -> None:
    settings = quick_config(train__test_time_flip=True).fit
    monkeypatch.setattr(backend, "prepare", lambda *, threads: "")
    monkeypatch.chdir(tmp_path)
    parameters = {"hyperparameters": dict(POINT), "resume_from": [], "resume_before": 1, "accuracies": []}
    seen, test = images(48), images(24, seed=1)
    trial.run_retraining(
        {**parameters, "seed": 5, "keep_model": True},
        train=seen,
        test=test,
        settings=settings,
        milestones=(1,),
        threads=1,
    )
    [(result, kept)] = reported
    network = keras.models.load_model(kept / "model.keras")
    np.testing.assert_allclose(result["probabilities"], evaluation.predict(network, test, flip=True), atol=1e-5)
    clean = evaluation.evaluate(network, seen, flip=True)
    assert (result["clean_train_loss"], result["clean_train_accuracy"]) == pytest.approx(clean, abs=1e-5)
    assert abs(clean[0] - evaluation.evaluate(network, seen)[0]) > 1e-4
    assert "objective" not in result


def test_what_is_on_record_counts_for_what_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun again on other cores, an epoch need not score as it did; ASHA and Optuna go on from the record."""
    monkeypatch.setattr(trial.tune, "get_checkpoint", lambda: None)
    recorded = [0.5 + epoch / 100 for epoch in range(22)]
    left = left_by_sessions(tmp_path / "left")
    settings = quick_config().fit
    settings = replace(settings, train=replace(settings.train, checkpoint_epochs=50))
    parameters = {"resume_from": left, "resume_before": 23, "accuracies": recorded}
    course = trial._Course(parameters, settings, scoring_window=3)
    assert train.checkpoint_epoch(course._fetch_checkpoint(tmp_path / "fetched")) == 20
    reported = []
    monkeypatch.setattr(trial.tune, "report", reported.append)
    monkeypatch.setattr(trial.metrics, "publish", lambda *_, **__: None)
    monkeypatch.setattr(trial.tune, "get_context", lambda: SimpleNamespace(get_trial_name=lambda: "trial-0000"))
    network = model.build(POINT, quick_config().model, image_size=16, classes=2)
    for epoch in (21, 22, 23):
        course._on_epoch(EpochRow(epoch, 0.7, 0.5, 0.7, 0.9, 1.0), network)
    assert course._accuracies == [*recorded, 0.9]
    assert reported[-1]["objective"] == pytest.approx((recorded[20] + recorded[21] + 0.9) / 3)
    assert [report["selection_accuracy"] for report in reported] == [0.9, 0.9, 0.9]
