"""Retraining on a real local Ray: milestones, predictions, the model file, resuming."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from make_rows import retrain_epoch_row, retrain_row
from small import POINT, images, quick_config

from catdog_ray import retraining
from catdog_ray.data import Splits
from catdog_ray.errors import UserError
from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import Progress, RetrainFailure, TrialRow
from catdog_ray.space import HyperParameters

CONFIG = quick_config(retrain__seeds=2, seed=3, retrain__milestones=[2, 3])
SPLITS = Splits("made", "0" * 64, images(30), images(18, seed=1), images(24, seed=2), ())
TUNED = HyperParameters.of({**CONFIG.baseline, "dropout_rate": 0.1, "conv_filters": 2})


def ended(trial: int, point: HyperParameters, objective: float, status: str = "completed") -> TrialRow:
    return TrialRow(trial, status, None, dict(point), 4, objective, 10, 10, None, 1.0, 1.0)


BASELINE = HyperParameters.of(CONFIG.baseline)


def test_candidates_are_the_best_and_the_baseline():
    trials = [ended(0, BASELINE, 0.6), ended(1, TUNED, 0.8), ended(2, POINT, 0.9, "failed")]
    found = retraining.candidates(CONFIG, trials)
    assert [(c.configuration, c.trial, c.selection_objective) for c in found] == [
        ("trial-0001", 1, 0.8),
        ("baseline", None, None),
    ]
    assert found[0].hyperparameters == TUNED


def test_the_baseline_is_not_trained_twice_when_it_is_the_best():
    found = retraining.candidates(CONFIG, [ended(0, BASELINE, 0.9), ended(1, TUNED, 0.8)])
    assert [(c.configuration, c.trial) for c in found] == [("baseline", 0)]


def test_top_k_in_order_of_the_objective():
    other = HyperParameters.of({**TUNED, "dense_units": 8})
    trials = [ended(0, BASELINE, 0.6), ended(1, TUNED, 0.8), ended(2, other, 0.9)]
    found = retraining.candidates(CONFIG, trials, top=2)
    assert [c.configuration for c in found] == ["trial-0002", "trial-0001", "baseline"]
    # In a space of choices a point comes again.
    again = retraining.candidates(CONFIG, [*trials, ended(3, other, 0.85)], top=2)
    assert [(c.configuration, c.selection_objective) for c in again[:2]] == [("trial-0002", 0.9), ("trial-0001", 0.8)]


def test_candidates_are_those_that_are_named():
    trials = [ended(1, TUNED, 0.8)]
    for named, expected in (
        (("best",), ["trial-0001"]),
        (("baseline",), ["baseline"]),
        (("baseline", "best"), ["trial-0001", "baseline"]),
    ):
        config = dataclasses.replace(CONFIG, retrain=dataclasses.replace(CONFIG.retrain, configurations=named))
        assert [c.configuration for c in retraining.candidates(config, trials)] == expected
    # Fewer trials than asked for, and none with a score.
    assert [c.configuration for c in retraining.candidates(CONFIG, trials, top=5)] == ["trial-0001", "baseline"]
    assert [c.configuration for c in retraining.candidates(CONFIG, [ended(2, POINT, 0.9, "failed")])] == ["baseline"]


def test_runs_that_did_not_end_at_a_milestone_are_unfinished(tmp_path: Path):
    """Their checkpoints are still to be gone on from."""
    with StudyDirectory(tmp_path) as study:
        assert retraining.unfinished(study) == set()
        for seed, epochs in ((0, 3), (1, 4), (2, 3)):
            study.retrain_epochs.append(*(retrain_epoch_row("baseline", seed, e) for e in range(1, epochs + 1)))
        for seed in (0, 1):  # one went on behind its milestone
            study.retrain.append(retrain_row("baseline", seed, 3))
        study.retrain_failures.append(RetrainFailure("baseline", 3, 0, "lost before its first epoch", 1.0))
        assert retraining.unfinished(study) == {("baseline", 1), ("baseline", 2), ("baseline", 3)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, ray_cluster):
    folder = tmp_path_factory.mktemp("study")
    chosen = retraining.candidates(CONFIG, [ended(1, TUNED, 0.8)])
    shown = []
    with StudyDirectory(folder) as study:
        retraining.run(study, CONFIG, SPLITS, chosen, running_on=ray_cluster, on_progress=shown.append)
    return folder, chosen, shown


@pytest.mark.slow
def test_every_configuration_seed_and_milestone_has_a_row(finished):
    folder, _, shown = finished
    rows = StudyDirectory(folder).retrain.read()
    expected = {(c, s, m) for c in ("trial-0001", "baseline") for s in (3, 4) for m in (2, 3)}
    assert {(row.configuration, row.seed, row.milestone) for row in rows} == expected
    assert len(rows) == 8
    epochs = StudyDirectory(folder).retrain_epochs.read()
    assert len(epochs) == 12
    for row in rows:
        at = next(
            e for e in epochs if (e.configuration, e.seed, e.epoch) == (row.configuration, row.seed, row.milestone)
        )
        assert (row.train_accuracy, row.test_accuracy, row.test_loss) == (
            at.train_accuracy,
            at.test_accuracy,
            at.test_loss,
        )
        assert row.test_images == 24
        assert (row.trial, row.selection_objective) == ((1, 0.8) if row.configuration == "trial-0001" else (None, None))
    assert (shown[-1].completed, shown[-1].running, shown[-1].epochs) == (4, 0, 12)


@pytest.mark.slow
def test_predictions_give_the_recorded_accuracy(finished):
    folder, _, _ = finished
    study = StudyDirectory(folder)
    predictions = study.predictions.read()
    assert len(predictions) == 8 * 24
    for row in study.retrain.read():
        mine = [
            p
            for p in predictions
            if (p.configuration, p.seed, p.milestone) == (row.configuration, row.seed, row.milestone)
        ]
        assert [p.file for p in mine] == list(SPLITS.test.files)
        right = [("cats", "dogs")[int(np.argmax(p.probabilities))] == p.true_class for p in mine]
        assert np.mean(right) == pytest.approx(row.test_accuracy, abs=1e-6)
        assert [sum(p.probabilities) for p in mine] == pytest.approx([1.0] * 24, abs=1e-4)


@pytest.mark.slow
def test_model_keras_is_the_tuned_configuration_first_seed_last_milestone(finished):
    import keras

    from catdog_ray import evaluation

    folder, _, _ = finished
    network = keras.models.load_model(folder / "model.keras")
    assert network.layers[0].filters == 2  # the tuned one
    found = evaluation.predict(network, SPLITS.test)
    recorded = [
        p.probabilities
        for p in StudyDirectory(folder).predictions.read()
        if (p.configuration, p.seed, p.milestone) == ("trial-0001", 3, 3)
    ]
    np.testing.assert_allclose(found, recorded, atol=1e-4)


@pytest.mark.slow
def test_a_model_lost_between_its_row_and_its_copy_is_made_again(finished, tmp_path: Path, ray_cluster):
    folder, chosen, _ = finished
    shutil.copytree(folder, tmp_path / "study")
    shutil.rmtree(tmp_path / "study" / "ray")
    before = (tmp_path / "study" / "retrain.jsonl").read_bytes()
    for name in ("model.keras", "model.json"):
        (tmp_path / "study" / name).unlink()
    with StudyDirectory(tmp_path / "study") as study:
        retraining.run(study, CONFIG, SPLITS, chosen, running_on=ray_cluster)
        # Asked for fewer epochs, the longer model stays.
        shorter = dataclasses.replace(CONFIG, retrain=dataclasses.replace(CONFIG.retrain, milestones=(2,)))
        retraining.run(study, shorter, SPLITS, chosen, running_on=ray_cluster)
    assert json.loads((tmp_path / "study" / "model.json").read_text()) == {
        "configuration": "trial-0001",
        "seed": 3,
        "epochs": 3,
        "class_names": ["cats", "dogs"],
        "image_size": 16,
        "pixels": "upright RGB, stretched bilinearly (by Pillow) to 16 x 16, divided by 255",
    }
    assert (tmp_path / "study" / "model.keras").stat().st_size > 1000
    # The guide's own configuration alone leaves it where it is, and is kept where there is none.
    for name, configuration in (("model.json", "trial-0001"), ("none.json", "baseline")):
        (tmp_path / "study" / "model.json").rename(tmp_path / "study" / name)
        with StudyDirectory(tmp_path / "study") as study:
            retraining.run(study, CONFIG, SPLITS, chosen[1:], running_on=ray_cluster)
        assert json.loads((tmp_path / "study" / "model.json").read_text())["configuration"] == configuration
    assert (tmp_path / "study" / "retrain.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_cut_retraining_is_completed_and_nothing_is_there_twice(finished, tmp_path: Path, ray_cluster):
    """As after a crash between predictions and their row: they are dropped, the milestone is made again."""
    folder, chosen, _ = finished
    with StudyDirectory(folder) as whole, StudyDirectory(tmp_path) as cut:
        cut.retrain_epochs.append(*whole.retrain_epochs.read()[:7])
        rows = whole.retrain.read()
        cut.retrain.append(*rows[:2])
        kept = {(row.configuration, row.seed, row.milestone) for row in rows[:3]}
        predictions = [p for p in whole.predictions.read() if (p.configuration, p.seed, p.milestone) in kept]
        cut.predictions.append(*predictions[: 2 * 24 + 5])
    shutil.copytree(folder / "ray", tmp_path / "ray")
    with StudyDirectory(tmp_path) as study:
        retraining.run(study, CONFIG, SPLITS, chosen, running_on=ray_cluster)
        keys = [(row.configuration, row.seed, row.milestone) for row in study.retrain.read()]
        assert len(keys) == len(set(keys)) == 8
        epochs = [(row.configuration, row.seed, row.epoch) for row in study.retrain_epochs.read()]
        assert len(epochs) == len(set(epochs)) == 12
        files = [(p.configuration, p.seed, p.milestone, p.file) for p in study.predictions.read()]
        assert len(files) == len(set(files)) == 8 * 24
        again = {(r.configuration, r.seed, r.milestone): r.test_loss for r in study.retrain.read()}
    for row in StudyDirectory(folder).retrain.read():
        # The same seeds: what was trained again gives what was recorded, on CPU to 1e-4.
        assert again[row.configuration, row.seed, row.milestone] == pytest.approx(row.test_loss, abs=1e-4)


@pytest.mark.slow
def test_later_milestones_go_on_from_the_rows(finished, tmp_path: Path, ray_cluster):
    folder, chosen, _ = finished
    shutil.copytree(folder, tmp_path / "study")
    later = dataclasses.replace(CONFIG, retrain=dataclasses.replace(CONFIG.retrain, milestones=(2, 3, 4), seeds=1))
    with StudyDirectory(tmp_path / "study") as study:
        shown: list[Progress] = []
        assert retraining.missing(study, later, chosen) == [("trial-0001", 3), ("baseline", 3)]
        rows = retraining.run(study, later, SPLITS, chosen, running_on=ray_cluster, on_progress=shown.append)
        assert retraining.missing(study, later, chosen) == []
    assert sorted(r.milestone for r in rows if (r.configuration, r.seed) == ("baseline", 3)) == [2, 3, 4]
    # Epochs of the other seed, which is on record too, are not taken for epochs of these.
    assert {progress.epochs for progress in shown} == {6, 7, 8}
    assert all(progress.left_s is None or progress.left_s >= 0 for progress in shown)
    assert shown[-1].left_s == 0


def test_a_milestone_that_runs_have_passed_is_refused(finished, tmp_path: Path, ray_cluster):
    """Trained again to there, a run need not pass it as its epochs on record say; and rows are never edited."""
    folder, chosen, _ = finished
    shutil.copytree(folder, tmp_path / "study")
    earlier = dataclasses.replace(CONFIG, retrain=dataclasses.replace(CONFIG.retrain, milestones=(1, 2)))
    before = (tmp_path / "study" / "retrain.jsonl").read_bytes()
    with StudyDirectory(tmp_path / "study") as study:
        for refused in (
            lambda: retraining.is_due(study, earlier, chosen),
            lambda: retraining.run(study, earlier, SPLITS, chosen, running_on=ray_cluster),
        ):
            with pytest.raises(
                UserError,
                match=r"has trial-0001, seed 3, at 3 epochs, so a milestone at 1 comes too late; retrain it in another",
            ):
                refused()
        assert not retraining.is_due(study, CONFIG, chosen)
    assert (tmp_path / "study" / "retrain.jsonl").read_bytes() == before


def test_a_schedule_is_not_retrained_to_another_length(finished, tmp_path: Path, ray_cluster):
    folder, chosen, _ = finished
    shutil.copytree(folder, tmp_path / "study")
    cosine = dataclasses.replace(
        CONFIG,
        train=dataclasses.replace(CONFIG.train, learning_rate_schedule="cosine"),
        retrain=dataclasses.replace(CONFIG.retrain, milestones=(4,)),
    )
    with (
        StudyDirectory(tmp_path / "study") as study,
        pytest.raises(UserError, match=r"has runs of 2 epochs, and train\.learning_rate_schedule cosine makes"),
    ):
        retraining.run(study, cosine, SPLITS, chosen, running_on=ray_cluster)
    # Cut before its milestone: no row tells how long it was to be, study.json does.
    with StudyDirectory(tmp_path / "cut") as study:
        shutil.copy(folder / "retrain-epochs.jsonl", study.path)
        retraining.require_same_length(study, cosine, 4)
        retraining.require_same_length(study, CONFIG, 9)
        with pytest.raises(
            UserError, match=r"cut has runs of 9 epochs, and train\.learning_rate_schedule cosine makes"
        ):
            retraining.require_same_length(study, cosine, 9)


@pytest.mark.slow
def test_a_diverged_retraining_is_recorded_and_the_others_go_on(tmp_path: Path, ray_cluster):
    wild = quick_config(
        retrain__milestones=[2],
        **{"space.learning_rate": {"choices": [1e-3, 1e25]}, "baseline.learning_rate": 1e25},
    )
    good = HyperParameters.of({**wild.baseline, "learning_rate": 1e-3})
    chosen = retraining.candidates(wild, [ended(1, good, 0.8)])
    with StudyDirectory(tmp_path) as study:
        rows = retraining.run(study, wild, SPLITS, chosen, running_on=ray_cluster)
        failures = study.retrain_failures.read()
    assert [row.configuration for row in rows] == ["trial-0001"]
    assert [(row.configuration, row.seed) for row in failures] == [("baseline", 0)]
    assert failures[0].reason.startswith("the loss became ")
