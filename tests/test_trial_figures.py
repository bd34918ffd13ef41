"""Figures of single trials: few as lines, thousands as densities, stopped ones marked, gaps where losses end."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from make_studies import write_invented

from catdog_ray import audit, comparison, space_figures, trial_figures
from catdog_ray.comparison import Comparison
from catdog_ray.drawings import Drawing
from catdog_ray.importance import importance
from catdog_ray.ranges import Choice, IntRange
from catdog_ray.tables import tables


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    root = tmp_path_factory.mktemp("trial-figures")
    folders = [write_invented(root / f"{method}-0", method=method) for method in ("tpe", "random")]
    return comparison.compare([audit.read(folder) for folder in folders])


@pytest.fixture(scope="module")
def drawings(found: Comparison) -> dict[str, Drawing]:
    return {drawing.name: drawing for drawing in (*trial_figures.draw_trials(found), *space_figures.draw_space(found))}


def texts(drawing: Drawing) -> set[str]:
    return {part.text or "" for part in ElementTree.fromstring(drawing.svg).iter("{http://www.w3.org/2000/svg}text")}


def test_all_figures_are_there(drawings: dict[str, Drawing]) -> None:
    assert list(drawings) == [
        "survival",
        "learning-tpe",
        "learning-random",
        "retraining-tpe",
        "retraining-random",
        "importance",
        "slices",
        "parallel-tpe",
        "parallel-random",
    ]


def test_rungs_are_marked_where_trials_could_be_stopped(found: Comparison, drawings: dict[str, Drawing]) -> None:
    search = found.groups[0].studies[0].facts["config"]["search"]
    rungs = [rung for rung in (search["grace_epochs"] * search["reduction_factor"] ** k for k in range(9))]
    rungs = [rung for rung in rungs if rung < search["max_epochs"]]
    assert rungs
    assert f"after epochs {', '.join(map(str, rungs))}." in drawings["survival"].caption


def test_trials_that_the_time_budget_cut_are_not_called_stopped(found: Comparison) -> None:
    """As if the time had ended those that early stopping did: none of them stands at a rung of a longer search."""
    group = found.groups[0]
    study = group.studies[0]
    config = study.facts["config"]
    search = {**config["search"], "time_budget_s": 60.0, "grace_epochs": 4, "max_epochs": 9}
    cut = replace(study, facts={**study.facts, "config": {**config, "search": search}})
    made = trial_figures.draw_trials(replace(found, groups=(replace(group, studies=(cut,)), *found.groups[1:])))
    said = texts(next(drawing for drawing in made if drawing.name == "learning-tpe"))
    assert f"cut by the time budget ({found.methods[0].stopped})" in said
    assert not any(text.startswith("stopped") for text in said)


def test_every_trial_is_drawn_and_its_end_marked(found: Comparison, drawings: dict[str, Drawing]) -> None:
    for group, method in zip(found.groups, found.methods, strict=True):
        said = texts(drawings[f"learning-{group.method}"])
        assert {f"stopped ({method.stopped})", f"completed ({method.completed})", f"failed ({method.failed})"} <= said
        lines = re.findall(r'<g id="LineCollection_\d+">(.*?)</g>', drawings[f"learning-{group.method}"].svg, re.S)
        assert sum(part.count("<path") for part in lines) == method.trials


def test_crosses_are_explained_where_there_are_any(tmp_path: Path, drawings: dict[str, Drawing]) -> None:
    assert drawings["learning-tpe"].caption.endswith("; crosses were stopped.")
    whole = audit.read(write_invented(tmp_path / "stock-0", method="keras-tuner-stock", stopping=False))
    by_name = {item.name: item for item in trial_figures.draw_trials(comparison.compare([whole]))}
    assert by_name["learning-keras-tuner-stock"].caption.endswith("epoch by epoch.")


def test_parallel_coordinates_have_every_scored_trial(found: Comparison, drawings: dict[str, Drawing]) -> None:
    method = found.methods[0]
    lines = re.findall(r'<g id="LineCollection_\d+">(.*?)</g>', drawings["parallel-tpe"].svg, re.S)
    assert sum(part.count("<path") for part in lines) == method.trials - method.failed
    assert {"0.0001", "0.01", "512", "objective"} <= texts(drawings["parallel-tpe"])


def test_importance_has_its_intervals(found: Comparison, drawings: dict[str, Drawing]) -> None:
    lines = re.findall(r'<g id="LineCollection_\d+">(.*?)</g>', drawings["importance"].svg, re.S)
    assert [part.count("<path") for part in lines] == [len(found.groups[0].studies[0].space)] * 2
    assert drawings["importance"].caption.endswith("Lines: 95 % of the shares when the trials are drawn again.")
    without = replace(found, importance_intervals=dict.fromkeys(found.importance_intervals))
    plain = next(item for item in space_figures.draw_space(without) if item.name == "importance")
    assert "LineCollection" not in plain.svg
    assert plain.caption.endswith("ranges searched.")


def test_slices_name_every_hyperparameter(found: Comparison, drawings: dict[str, Drawing]) -> None:
    assert {name.replace("_", " ") for name in found.groups[0].studies[0].space} <= texts(drawings["slices"])


def test_ranges_of_whole_numbers_and_truth_are_read_told_and_drawn(tmp_path: Path) -> None:
    overrides = {
        "model.builder": "mine:build",
        "space.width": {"low": 8, "high": 64, "step": 8, "scale": "linear"},
        "space.units": {"low": 1, "high": 1024, "step": 1, "scale": "log"},
        "space.skip": {"choices": [True, False]},
        "space.batch_size": {"choices": [16, 32]},
        "baseline.width": 8,
        "baseline.units": 1024,
        "baseline.skip": False,
        "baseline.batch_size": 32,
    }
    result = comparison.compare([audit.read(write_invented(tmp_path / "kinds", trials=20, overrides=overrides))])
    study = result.groups[0].studies[0]
    assert (study.space["width"], study.space["skip"]) == (IntRange(8, 64, 8, "linear"), Choice((True, False)))
    assert repr({row.hyperparameters["skip"] for row in study.trials}) in ("{False, True}", "{True, False}")
    shares = importance(study.trials, study.space)
    assert shares is not None
    assert list(shares) == list(study.space)
    assert sum(shares.values()) == pytest.approx(1)
    table = next(item for item in tables(result) if item.title == "The best configuration of each search (drawn data)")
    assert [row[-3:] for row in table.rows][-1] == ("1024", "false", "32")
    drawn = {item.name: item for item in space_figures.draw_space(result)}
    assert {"8", "64", "1", "1024", "true", "false"} <= texts(drawn["parallel-tpe"])
    assert {"true", "false"} <= texts(drawn["slices"])


def test_retraining_shows_training_and_validation(drawings: dict[str, Drawing]) -> None:
    said = texts(drawings["retraining-tpe"])
    assert {"loss", "accuracy", "TPE, training (n=2)", "TPE, validation (n=2)"} <= said


def test_thousands_of_trials_are_a_density_of_bounded_size(tmp_path: Path) -> None:
    folder = write_invented(tmp_path / "many", trials=400, milestones=())
    result = comparison.compare([audit.read(folder)])
    drawn = {
        drawing.name: drawing for drawing in (*trial_figures.draw_trials(result), *space_figures.draw_space(result))
    }
    for name in ("learning-tpe", "parallel-tpe", "slices"):
        assert "data:image/png;base64" in drawn[name].svg
        assert len(drawn[name].svg) < 300_000
    assert f"stopped ({result.methods[0].stopped:,})" in texts(drawn["learning-tpe"])


def test_a_loss_that_was_not_finite_is_a_gap(tmp_path: Path) -> None:
    folder = write_invented(tmp_path / "gap")
    rows = [json.loads(line) for line in (folder / "retrain-epochs.jsonl").read_text().splitlines()]
    rows[3] = {**rows[3], "train_loss": None, "test_loss": None}
    (folder / "retrain-epochs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = comparison.compare([audit.read(folder)])
    names = [drawing.name for drawing in trial_figures.draw_trials(result)]
    assert "retraining-tpe" in names
