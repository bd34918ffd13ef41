"""What runs on a worker: where a trial goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small import POINT, quick_config

from catdog_ray import model, train, trial


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
    parameters = {"resume_from": left_by_sessions(tmp_path / "left"), "resume_before": before}
    course = trial._Course(parameters, 1, scoring_window=3)
    found = course._fetch_checkpoint(tmp_path / "fetched")
    assert (None if found is None else train.checkpoint_epoch(found)) == expected
    assert course._accuracies == [(expected or 0) / 100] * (expected or 0)
