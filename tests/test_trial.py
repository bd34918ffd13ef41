"""What runs on a worker: where a trial goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from small import POINT, quick_config

from catdog_ray import model, train, trial
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
