"""The second part of the published study: its commands, and the table of recipes."""

from __future__ import annotations

import json
from pathlib import Path

import compare_recipes
import pytest
import scipy.stats
import study as published
from make_rows import quickstart, trial_epoch_row, write_study

from catdog_ray import config
from catdog_ray.ledger import StudyDirectory
from catdog_ray.settings import UserError

ROOT = Path(__file__).parents[1]


def write(results: Path, name: str, accuracies: list[float], *, length: int = 5, state: str = "finished") -> Path:
    folder = write_study(results / name, quickstart(search__max_epochs=length), state=state)
    rows = [trial_epoch_row(0, epoch, selection_accuracy=value) for epoch, value in enumerate(accuracies, 1)]
    with StudyDirectory(folder) as study:
        study.epochs.append(*rows)
    return folder


def test_the_last_epochs_count_not_the_best(tmp_path: Path) -> None:
    folder = write(tmp_path, "recipe48-plain-seed0", [0.5, 0.99, 0.6, 0.7, 0.8])
    assert compare_recipes.scores([folder]) == {"plain": {0: pytest.approx(0.7)}}


def test_differences_are_paired_by_seed() -> None:
    found = {
        "batch-64": {1: 0.74, 0: 0.70, 2: 0.78},
        "plain": {0: 0.69, 1: 0.72, 2: 0.77, 3: 0.1},
        "flip": {0: 0.9, 1: 0.5, 2: 0.8},
    }
    rows = compare_recipes.table(found)
    assert [row["recipe"] for row in rows] == ["plain", "batch-64", "flip"]
    expected = scipy.stats.ttest_1samp([0.01, 0.02, 0.01], 0).confidence_interval(0.95)
    difference = rows[1]["difference"]
    assert (difference["n"], difference["mean"]) == (3, pytest.approx(0.04 / 3))
    assert (difference["low"], difference["high"]) == pytest.approx((expected.low, expected.high))
    assert difference["is_shown"] is bool(expected.low > 0)
    assert rows[2]["difference"]["is_shown"] is False


def test_a_run_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    short = write(tmp_path, "recipe48-cosine-seed1", [0.5, 0.6])
    with pytest.raises(UserError, match=r"recipe48-cosine-seed1: is not one whole run of 5 epochs; finish it first"):
        compare_recipes.scores([short])
    with pytest.raises(UserError, match=r"must be named like recipe48-cosine-seed0"):
        compare_recipes.scores([tmp_path / "cosine"])
    with pytest.raises(UserError, match=r"no study called recipe48-plain-seedN"):
        compare_recipes.table({"flip": {0: 0.5}})
    two = [write(tmp_path, f"recipe{size}-flip-seed0", [0.5] * 5) for size in (48, 150)]
    with pytest.raises(UserError, match=r"recipe150-flip-seed0: a second study of flip, seed 0"):
        compare_recipes.scores(two)


def test_the_table_and_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        write(tmp_path, f"recipe48-plain-seed{seed}", [0.5, 0.5, 0.7, 0.7, 0.7 + seed / 100])
        write(tmp_path, f"recipe48-all-seed{seed}", [0.5, 0.5, 0.8, 0.8, 0.8])
    folders = [str(folder) for folder in sorted(tmp_path.iterdir())]
    compare_recipes.main([*folders, "--output", str(tmp_path / "recipes.json")])
    assert "+9.8 points (+7.7 to +12.0)" in " ".join(capsys.readouterr().out.split())
    rows = json.loads((tmp_path / "recipes.json").read_text())
    assert [row["recipe"] for row in rows] == ["plain", "all"]


@pytest.mark.parametrize("pixels", published.SCALES)
@pytest.mark.parametrize("part", [published.runs, published.recipes])
def test_every_command_is_one_that_the_program_accepts(part, pixels: int, tmp_path: Path) -> None:
    """Its settings, checked as the program does; a run has a name of its own."""
    scale = published.SCALES[pixels]
    runs = part(scale)
    assert len({(run.name, run.module) for run in runs}) == len(runs)
    for run in runs:
        assert published.state_of(run, tmp_path) == "not begun"
        sets = [run.flags[i + 1] for i, flag in enumerate(run.flags) if flag == "--set"]
        overrides = dict(map(config.parse_assignment, sets))
        if run.is_search:
            found = config.load(ROOT / scale.config, overrides={**overrides, "retrain.enabled": False})
            assert found.data.image_size == pixels


def test_a_search_whose_best_is_being_retrained_is_over(tmp_path: Path) -> None:
    search, retraining = published.runs()[:2]
    folder = write(tmp_path, search.name, [0.5] * 5, state="running")
    assert published.state_of(search, tmp_path) == "begun"
    (folder / "retrain-epochs.jsonl").touch()
    assert published.state_of(search, tmp_path) == "finished"
    assert (retraining.module, published.state_of(retraining, tmp_path)) == ("retrain", "not begun")


def test_recipes_change_what_they_say() -> None:
    flags = {run.name: run.flags for run in published.recipes() if run.name.endswith("seed0")}
    assert set(flags) == {f"recipe48-{name}-seed0" for name in published.RECIPES}
    assert "search.max_epochs=400" in flags["recipe48-longer-seed0"]
    assert "search.max_epochs=200" in flags["recipe48-plain-seed0"]
    assert not any(part.startswith("train.") for part in flags["recipe48-plain-seed0"])
    assert "train.ema_momentum=0.999" in flags["recipe48-all-seed0"]
