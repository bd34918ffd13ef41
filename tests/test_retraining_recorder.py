"""What a retraining writes down, driven by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from make_rows import retrain_epoch_row
from small import POINT, images, quick_config

from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import Progress
from catdog_ray.retraining_recorder import ModelFile, RetrainingRecorder

SETTINGS = quick_config(retrain__milestones=[2, 3]).retrain
TEST = images(3)
RUNS = [("trial-0001", 5), ("baseline", 5)]
PROBABILITIES = [[0.25, 0.75], [1 / 3, 2 / 3], [1.0, 0.0]]


def tune_trial(configuration: str = "trial-0001", **changes: Any) -> Any:
    """What Ray hands over of a run."""
    config = {
        "number": 0,
        "configuration": configuration,
        "seed": 5,
        "trial": 1 if configuration == "trial-0001" else None,
        "selection_objective": 0.8 if configuration == "trial-0001" else None,
        "hyperparameters": dict(POINT),
        "keep_model": True,
    }
    return SimpleNamespace(config=config, **{"last_result": {}, "checkpoint": None, **changes})


def result(epoch: int, **more: Any) -> dict[str, Any]:
    scores = {"train_loss": 0.7, "train_accuracy": 0.5, "selection_loss": 0.6, "selection_accuracy": epoch / 10}
    return {"epoch": epoch, "seconds": 2.0**epoch, "failure": None, **scores, **more}


def milestone(epoch: int, clean_train_loss: float = 0.3) -> dict[str, Any]:
    clean = {"clean_train_loss": clean_train_loss, "clean_train_accuracy": 0.9}
    return result(epoch, probabilities=PROBABILITIES, **clean)


@contextmanager
def recording(
    folder: Path, *, planned: int = 2, keeper: ModelFile | None = None
) -> Iterator[tuple[StudyDirectory, RetrainingRecorder, list[Progress]]]:
    shown: list[Progress] = []
    with StudyDirectory(folder) as study:
        options = {"runs": RUNS, "planned": planned, "keeper": keeper, "on_progress": shown.append}
        yield study, RetrainingRecorder(study, SETTINGS, TEST, **options), shown


def hand_over(recorder: RetrainingRecorder, trial: Any, *results: dict[str, Any]) -> None:
    for found in results:
        recorder.on_trial_result(0, [], trial, found)


def test_a_milestones_row_holds_its_scores_and_the_time_of_its_own_epochs(tmp_path: Path) -> None:
    with recording(tmp_path) as (study, recorder, _):
        hand_over(recorder, tune_trial("baseline"), result(1))
        last = milestone(3, clean_train_loss=float("inf"))
        hand_over(recorder, tune_trial(), result(1), milestone(2), last)
        first, second = study.retrain.read()
        predictions = study.predictions.read()
        epochs = [(row.configuration, row.epoch, row.test_accuracy) for row in study.retrain_epochs.read()]
    assert (first.configuration, first.seed, first.milestone, first.trial) == ("trial-0001", 5, 2, 1)
    assert (first.selection_objective, first.hyperparameters) == (0.8, dict(POINT))
    assert (first.train_loss, first.train_accuracy, first.test_loss, first.test_accuracy) == (0.7, 0.5, 0.6, 0.2)
    assert (first.clean_train_loss, first.clean_train_accuracy, first.test_images) == (0.3, 0.9, 3)
    assert second.clean_train_loss is None
    assert [row.training_seconds for row in (first, second)] == [2 + 4, 2 + 4 + 8]
    assert [(row.file, row.true_class) for row in predictions[:3]] == [
        ("0.png", "cats"),
        ("1.png", "dogs"),
        ("2.png", "cats"),
    ]
    assert predictions[1].probabilities == [0.333333, 0.666667]
    assert [row.milestone for row in predictions] == [2, 2, 2, 3, 3, 3]
    assert epochs == [("baseline", 1, 0.1), *(("trial-0001", epoch, epoch / 10) for epoch in (1, 2, 3))]
    assert "probabilities" not in last  # Ray keeps the last result of every run


def test_what_is_on_record_is_not_written_again(tmp_path: Path) -> None:
    """A lost worker repeats epochs, and milestones among them; nor does their time count twice."""
    with recording(tmp_path) as (_, recorder, _):
        hand_over(recorder, tune_trial(), result(1), milestone(2))
    with recording(tmp_path) as (study, recorder, shown):
        hand_over(recorder, tune_trial(), result(1), milestone(2))
        assert shown == []
        hand_over(recorder, tune_trial(), milestone(3))
        assert [row.milestone for row in study.retrain.read()] == [2, 3]
        assert study.retrain.read()[1].training_seconds == 2 + 4 + 8
        assert [row.epoch for row in study.retrain_epochs.read()] == [1, 2, 3]
        assert len(study.predictions.read()) == 2 * 3


def test_a_milestone_cut_off_between_its_epoch_and_its_row_counts_its_seconds_once(tmp_path: Path) -> None:
    with recording(tmp_path) as (_, recorder, _):
        hand_over(recorder, tune_trial(), result(1), result(2))
    with recording(tmp_path) as (study, recorder, _):
        hand_over(recorder, tune_trial(), milestone(2))
        assert [row.training_seconds for row in study.retrain.read()] == [2 + 4]


def test_a_failed_run_has_a_row_and_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with recording(tmp_path) as (study, recorder, shown):
        monkeypatch.setattr("catdog_ray.retraining_recorder.time.monotonic", lambda: recorder._started + 10.0)
        lost, other = tune_trial(last_result={"failure": "the loss became nan"}), tune_trial("baseline")
        for trial in (lost, other):
            recorder.on_trial_start(0, [], trial)
        assert (shown[-1].running, shown[-1].left_s) == (2, None)
        hand_over(recorder, lost, result(1))
        assert (shown[-1].left_s, shown[-1].is_event) == (pytest.approx((2 + 3) * 10.0), False)
        assert shown[-1].underway == (("trial-0001-seed-5", 1), ("baseline-seed-5", 0))
        # Ray is told of a failure by a result that is none.
        hand_over(recorder, lost, {"failure": "the loss became nan", "epoch": 1, "objective": 0.0})
        hand_over(recorder, other, {"failure": "the loss became nan", "epoch": 0, "objective": 0.0})
        recorder.on_trial_complete(0, [], lost)
        [row] = study.retrain_failures.read()
        assert (row.configuration, row.seed, row.epochs, row.reason) == ("trial-0001", 5, 1, "the loss became nan")
        assert (shown[-1].running, shown[-1].failed, shown[-1].completed) == (1, 1, 0)
        assert shown[-1].left_s == pytest.approx(3 * 10.0)
        assert shown[-1].latest == "trial-0001-seed-5 failed: the loss became nan"
        assert len(study.retrain_epochs.read()) == 1


def test_time_and_counts_go_on_from_what_earlier_sessions_left(tmp_path: Path) -> None:
    """And a run of another configuration, which is on record too, is none of these."""
    with StudyDirectory(tmp_path) as study:
        study.retrain_epochs.append(
            retrain_epoch_row("baseline", 5, 3, elapsed_s=70.0),
            retrain_epoch_row("trial-0001", 5, 1, elapsed_s=50.0),
            retrain_epoch_row("trial-0009", 5, 3, elapsed_s=20.0),
        )
    with recording(tmp_path, planned=1) as (_, recorder, shown):
        recorder.on_trial_start(0, [], tune_trial())
    assert (shown[0].asked, shown[0].completed, shown[0].epochs) == (2, 1, 3 + 1)
    assert 70.0 < shown[0].elapsed_s < 90.0


def model_files(folder: Path, epochs: int) -> tuple[ModelFile, Path]:
    source = folder / f"{epochs}.keras"
    source.write_text(f"weights of {epochs} epochs")
    return ModelFile(folder, "trial-0001", 5, epochs), source


def test_the_model_of_a_run_is_kept_with_what_a_program_must_know(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "model.keras").write_text("weights")
    kept = SimpleNamespace(as_directory=lambda: _as_it_is(tmp_path / "left"))
    with recording(tmp_path, keeper=ModelFile(tmp_path, "trial-0001", 5, 3)) as (_, recorder, shown):
        other = tune_trial("baseline", checkpoint=kept)
        other.config["keep_model"] = False
        recorder.on_trial_complete(0, [], other)
        assert not (tmp_path / "model.keras").exists()
        recorder.on_trial_complete(0, [], tune_trial(checkpoint=kept))
    assert (tmp_path / "model.keras").read_text() == "weights"
    facts = json.loads((tmp_path / "model.json").read_text())
    assert (facts["configuration"], facts["seed"], facts["epochs"], facts["image_size"]) == ("trial-0001", 5, 3, 16)
    assert facts["class_names"] == ["cats", "dogs"]
    assert (shown[-1].completed, shown[-1].latest) == (2, "trial-0001-seed-5 finished")


@contextmanager
def _as_it_is(folder: Path) -> Iterator[str]:
    yield str(folder)


def test_a_kept_model_gives_way_to_a_longer_run_alone(tmp_path: Path) -> None:
    for epochs, expected in ((4, 4), (3, 4), (6, 6)):
        keeper, source = model_files(tmp_path, epochs)
        keeper.take(source, TEST)
        assert (tmp_path / "model.keras").read_text() == f"weights of {expected} epochs"
    assert keeper.is_there()
    assert not keeper.is_taken()
    for other in (replace(keeper, seed=6), replace(keeper, epochs=7), replace(keeper, configuration="baseline")):
        assert not other.is_there()
    assert replace(keeper, configuration="baseline").is_taken()
    # A model.json alone tells of a model that is gone.
    (tmp_path / "model.keras").unlink()
    assert not keeper.is_there()
    assert not replace(keeper, configuration="baseline").is_taken()
