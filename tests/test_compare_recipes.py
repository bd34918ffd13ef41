"""The second part of the published study: its commands, and the table of recipes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import compare_recipes
import numpy as np
import pytest
import scipy.stats
import study as published
from make_studies import write_invented

from catdog_ray import audit, config, recipe_figure, recipe_tables, recipes, sides, statistics
from catdog_ray.errors import UserError

ROOT = Path(__file__).parents[1]
COSINE = {"train__learning_rate_schedule": "cosine"}


def write(
    results: Path,
    recipe: str,
    seed: int,
    *,
    skill: float = 0.0,
    max_epochs: int = 9,
    retrained: bool = False,
    overrides: dict[str, object] | None = None,
) -> Path:
    """One whole run of the guide's configuration."""
    return write_invented(
        results / f"recipe48-{recipe}-seed{seed}",
        seed=seed,
        trials=1,
        max_epochs=max_epochs,
        stopping=False,
        milestones=(6,) if retrained else (),
        retrain_seeds=3,
        skill=skill,
        overrides=overrides,
    )


def accuracies(folder: Path) -> list[float]:
    return [json.loads(line)["selection_accuracy"] for line in (folder / "epochs.jsonl").read_text().splitlines()]


def test_the_last_epochs_count_not_the_best(tmp_path: Path) -> None:
    folder = write(tmp_path, "plain", 0)
    last = accuracies(folder)[-3:]
    assert max(accuracies(folder)) > sum(last) / 3
    assert recipes.score(audit.read(folder)) == pytest.approx(sum(last) / 3)


def test_differences_are_paired_by_seed(tmp_path: Path) -> None:
    plain = [write(tmp_path, "plain", seed) for seed in (0, 1, 2, 3)]
    cosine = [write(tmp_path, "cosine", seed, skill=0.05, overrides=COSINE) for seed in (2, 0, 1)]
    found = recipes.read([*cosine, *plain])
    rows = recipes.scored(found)
    assert [(row.recipe, row.accuracy.n) for row in rows] == [("plain", 4), ("cosine", 3)]
    assert rows[1].changes == {"train.learning_rate_schedule": "cosine"}
    by_seed = [
        np.mean(accuracies(tmp_path / f"recipe48-cosine-seed{seed}")[-3:])
        - np.mean(accuracies(tmp_path / f"recipe48-plain-seed{seed}")[-3:])
        for seed in range(3)
    ]
    expected = scipy.stats.ttest_1samp(by_seed, 0).confidence_interval(0.95)
    difference = rows[1].difference
    assert difference is not None
    assert (difference.n, difference.mean) == (3, pytest.approx(np.mean(by_seed)))
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high))


def test_what_is_no_recipe_is_refused(tmp_path: Path) -> None:
    plain = write(tmp_path, "plain", 0)
    other = tmp_path / "cosine"
    plain.rename(other)
    with pytest.raises(UserError, match=r"must be named like recipe48-cosine-seed0"):
        recipes.read([other])
    other.rename(tmp_path / "recipe48-plain-seed1")
    with pytest.raises(UserError, match=r"recipe48-plain-seed1: its seed is 0, not 1"):
        recipes.read([tmp_path / "recipe48-plain-seed1"])
    (tmp_path / "recipe48-plain-seed1").rename(plain)
    alone = write(tmp_path, "flip", 0, overrides={"train__test_time_flip": True})
    with pytest.raises(UserError, match=r"no study called recipe48-plain-seedN"):
        recipes.read([alone])
    two = tmp_path / "recipe150-plain-seed0"
    write_invented(two, trials=1, stopping=False, milestones=())
    with pytest.raises(UserError, match=r"recipe48-plain-seed0: a second study of plain, seed 0"):
        recipes.read([plain, two])
    with pytest.raises(UserError, match=r"flip and plain have no seed in common"):
        recipes.read([plain, write(tmp_path, "flip", 1)])
    split = write(tmp_path, "other", 0, overrides={"data__split_seed": 5})
    with pytest.raises(UserError, match=r"cannot be compared: data\.split_seed is 0 and 5"):
        recipes.read([plain, split])
    mixed = [write(tmp_path, "mixed", 0, overrides=COSINE), write(tmp_path, "mixed", 1)]
    with pytest.raises(UserError, match=r"the studies of mixed differ in more than their seed"):
        recipes.read([plain, *mixed])


def test_a_run_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    folder = write_invented(tmp_path / "recipe48-plain-seed0", trials=1, milestones=())
    (ended,) = audit.read(folder).trials
    assert (ended.status, ended.epochs) == ("stopped", 3)
    with pytest.raises(UserError, match=r"recipe48-plain-seed0: is not one whole run of 9 epochs; finish it first"):
        recipes.read([folder])


def test_a_longer_recipe(tmp_path: Path) -> None:
    found = recipes.read([write(tmp_path, "longer", 0, max_epochs=18), write(tmp_path, "plain", 0)])
    assert recipes.scored(found)[1].changes == {"search.max_epochs": "18"}
    assert ET.fromstring(recipe_figure.draw(found)).tag.endswith("svg")


def test_the_retrained_recipe_against_the_plain_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [
        write(tmp_path, "plain", 0),
        write(tmp_path, "cosine", 0, skill=0.1, retrained=True, overrides=COSINE),
        write(tmp_path, "plain", 1),
        write(tmp_path, "cosine", 1, skill=0.1, overrides=COSINE),
    ]
    study = write_invented(tmp_path / "cpu48-tpe-seed0", trials=12, retrain_seeds=3)
    output = tmp_path / "out"
    compare_recipes.main([*map(str, folders), "--plain", str(study), "--output", str(output)])

    def last(folder: Path) -> dict[int, float]:
        rows = map(json.loads, (folder / "retrain.jsonl").read_text().splitlines())
        return {r["seed"]: r["test_accuracy"] for r in rows if (r["configuration"], r["milestone"]) == ("baseline", 6)}

    cosine, plain = last(folders[1]), last(study)
    assert set(cosine) == set(plain) == {0, 1, 2}
    found = json.loads((output / "recipes.json").read_text())
    assert [(row["recipe"], row["study"], row["epochs"]) for row in found["test"]] == [
        ("cosine", "recipe48-cosine-seed0", 6),
        ("plain", "cpu48-tpe-seed0", 6),
    ]
    assert found["test"][0]["accuracies"] == {str(seed): value for seed, value in cosine.items()}
    over_seeds, over_images = found["test_differences"]
    expected = statistics.paired_difference([cosine[s] for s in range(3)], [plain[s] for s in range(3)])
    assert (over_seeds["unit"], over_seeds["mean"]) == ("retraining seeds", pytest.approx(expected.mean))
    assert (over_images["unit"], over_images["mean"]) == ("test images", pytest.approx(expected.mean))
    page = (output / "recipes.md").read_text()
    assert page.count("\n## ") == 3
    assert "| cosine minus plain | 3 retraining seeds |" in page
    assert "| cosine | train.learning\\_rate\\_schedule cosine | 2 runs |" in page
    shown = capsys.readouterr().out
    assert "Test accuracy, paired" in shown
    assert "written to" in shown
    again = tmp_path / "again"
    compare_recipes.main([*map(str, folders[::-1]), "--plain", str(study), "--output", str(again)])
    assert all((again / name).read_bytes() == (output / name).read_bytes() for name in ("recipes.md", "selection.svg"))


def test_without_retraining_there_is_no_table_of_it(tmp_path: Path) -> None:
    folders = [write(tmp_path, "plain", 0), write(tmp_path, "cosine", 0, overrides=COSINE)]
    assert not any(table.rows for table in recipe_tables.retrained(sides.Sides({}, [])))
    with pytest.raises(UserError, match=r"--plain: .* has not retrained the guide's configuration"):
        sides.of_recipes(recipes.read(folders), folders[0])


def retrained_in(folder: Path, configuration: str) -> dict[int, float]:
    """Test accuracy at the last milestone by seed."""
    rows = map(json.loads, (folder / "retrain.jsonl").read_text().splitlines())
    return {r["seed"]: r["test_accuracy"] for r in rows if (r["configuration"], r["milestone"]) == (configuration, 6)}


def best_of(folder: Path) -> tuple[str, dict[str, object]]:
    """What its search found: its name in retraining, and overrides by which another study begins with it."""
    rows = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    best = max((row for row in rows if row["status"] != "failed"), key=lambda row: (row["objective"], -row["trial"]))
    return f"trial-{best['trial']:04d}", {f"baseline__{key}": value for key, value in best["hyperparameters"].items()}


def test_the_tuned_configuration_by_a_recipe(tmp_path: Path) -> None:
    study = write_invented(tmp_path / "cpu48-tpe-seed0", trials=12, retrain_seeds=3)
    name, best = best_of(study)
    assert name != "trial-0000"
    folders = [
        write(tmp_path, "plain", 0),
        write(tmp_path, "cosine", 0, skill=0.1, retrained=True, overrides=COSINE),
        write(tmp_path, "flip", 0, overrides={"train__test_time_flip": True}),
    ]
    tuned = write(tmp_path / "tuned", "cosine", 0, skill=0.2, retrained=True, overrides={**COSINE, **best})
    output = tmp_path / "out"
    common = [*map(str, folders), "--plain", str(study), "--output", str(output)]
    compare_recipes.main([*common, "--tuned", str(tuned)])
    found = json.loads((output / "recipes.json").read_text())
    both = {
        "cosine": retrained_in(folders[1], "baseline"),
        "plain": retrained_in(study, "baseline"),
        "tuned, cosine": retrained_in(tuned, "baseline"),
        "tuned, plain": retrained_in(study, name),
    }
    assert {row["recipe"]: row["accuracies"] for row in found["test"]} == {
        side: {str(seed): value for seed, value in values.items()} for side, values in both.items()
    }
    expected = {
        (first, second): statistics.paired_difference(*([both[side][s] for s in range(3)] for side in (first, second)))
        for first, second in (("cosine", "plain"), ("tuned, cosine", "tuned, plain"), ("tuned, cosine", "cosine"))
    }
    by_seed = [row for row in found["test_differences"] if row["unit"] == "retraining seeds"]
    assert {(row["recipe"], row["against"]): row["mean"] for row in by_seed} == {
        pair: pytest.approx(difference.mean) for pair, difference in expected.items()
    }
    assert "| tuned, cosine minus tuned, plain | 3 retraining seeds |" in (output / "recipes.md").read_text()
    with pytest.raises(UserError, match="--tuned: needs --plain, the study whose configuration it is"):
        compare_recipes.main([str(folders[0]), "--tuned", str(tuned)])


@pytest.mark.parametrize("libraries", ["the same", "others"])
def test_the_tuned_configuration_without_recipes(libraries: str, tmp_path: Path) -> None:
    """The fourth part of the study: paired by seed only where the same libraries trained both sides."""
    plain = write_invented(tmp_path / "gpu150-tpe-seed0", trials=12, retrain_seeds=3)
    name, best = best_of(plain)
    folder = tmp_path / "tuned150-average-seed0"
    averaged = {"train__ema_momentum": 0.9}
    changed = {**averaged, **best}
    write_invented(folder, trials=1, stopping=False, milestones=(4, 6), retrain_seeds=3, skill=0.2, overrides=changed)
    facts = json.loads((folder / "study.json").read_text())
    if libraries == "others":
        facts["data"]["fingerprint"] = "0" * 64
        (folder / "study.json").write_text(json.dumps(facts))
    output = tmp_path / "out"
    compare_recipes.main(["--plain", str(plain), "--tuned", str(folder), "--output", str(output)])
    assert sorted(path.name for path in output.iterdir()) == ["recipes.json", "recipes.md"]
    both = [list(retrained_in(*side).values()) for side in ((folder, "baseline"), (plain, name))]
    paired, welch = statistics.paired_difference(*both), statistics.unpaired_difference(*both)
    found = json.loads((output / "recipes.json").read_text())
    assert found["selection"] == []
    assert [row["recipe"] for row in found["test"]] == ["tuned, average", "tuned, plain"]
    over_seeds, over_images = found["test_differences"]
    ends = over_seeds["low"], over_seeds["high"]
    page = (output / "recipes.md").read_text()
    if libraries == "others":
        assert ends == pytest.approx((welch.low, welch.high))
        assert over_seeds["unpaired"] is None
        assert "| tuned, average minus tuned, plain | 3 and 3 retraining seeds |" in page
        assert (
            "A seed is no pair: the pictures were decoded to other pixels; that too is part of the difference" in page
        )
        assert "The two sides differ in their settings, train.ema\\_momentum: 0.9 and 0.0." in page
    else:
        assert ends == pytest.approx((paired.low, paired.high))
        assert over_seeds["unpaired"]["low"] == pytest.approx(welch.low)
        assert "| tuned, average minus tuned, plain | 3 retraining seeds |" in page
    assert over_seeds["last_10_epochs"]["n"] == 3
    assert over_images["unit"] == "test images"
    assert "What the search found, 40 test images" in page
    for file in ("retrain.jsonl", "predictions.jsonl"):
        rows = (folder / file).read_text().splitlines(keepends=True)
        (folder / file).write_text("".join(row for row in rows if json.loads(row)["milestone"] < 6))
    cut = sides.of_recipe(plain, folder)
    assert {run.row.milestone for own in cut.runs.values() for run in own} == {4}


def test_other_pictures_are_not_compared(tmp_path: Path) -> None:
    plain = write_invented(tmp_path / "gpu150-tpe-seed0", trials=12, retrain_seeds=3)
    folder = write(tmp_path, "average", 0, retrained=True, overrides={**best_of(plain)[1], "data__split_seed": 5})
    with pytest.raises(UserError, match=r"cannot be compared: data\.split_seed is 0 and 5"):
        sides.of_recipe(plain, folder)


@pytest.mark.parametrize("libraries", ["the same", "others"])
def test_what_two_searches_found(libraries: str, tmp_path: Path) -> None:
    """The fifth part of the study."""
    plain = write_invented(tmp_path / "gpu150-tpe-seed0", trials=12, milestones=(4, 6), retrain_seeds=3)
    deep = tmp_path / "deep150-tpe-seed0"
    write_invented(
        deep,
        trials=12,
        milestones=(4, 6, 9),
        retrain_seeds=2,
        skill=0.2,
        facts={"label": "wider", "backend": "jax" if libraries == "others" else None},
        overrides={"space.dropout_rate": {"low": 0.0, "high": 0.7, "scale": "linear"}},
    )
    output = tmp_path / "out"
    compare_recipes.main(["--plain", str(plain), "--other", str(deep), "--output", str(output)])
    found = json.loads((output / "recipes.json").read_text())
    both = [list(retrained_in(folder, best_of(folder)[0]).values()) for folder in (deep, plain)]
    assert [(row["recipe"], row["epochs"], list(row["accuracies"].values())) for row in found["test"]] == [
        ("tuned, wider", 6, both[0]),
        ("tuned, invented", 6, both[1]),
    ]
    over_seeds, _ = found["test_differences"]
    expected = (
        statistics.unpaired_difference(*both)
        if libraries == "others"
        else statistics.paired_difference(both[0], both[1][:2])
    )
    assert (over_seeds["low"], over_seeds["high"]) == pytest.approx((expected.low, expected.high))
    page = (output / "recipes.md").read_text()
    assert ("A seed is no pair: Keras ran on jax and on an unknown backend; that too is" in page) == (
        libraries != "the same"
    )
    assert ("Welch's interval (with two runs on a side it covers about 90 %)" in page) == (libraries != "the same")
    rows = map(json.loads, (deep / "retrain-epochs.jsonl").read_text().splitlines())
    whole = [r["test_accuracy"] for r in rows if r["configuration"] == best_of(deep)[0] and r["epoch"] <= 6]
    assert found["test"][0]["last_10_epochs"]["mean"] == pytest.approx(sum(whole) / len(whole))
    with pytest.raises(UserError, match=r"are both called 'gpu150-tpe-seed0'; rename the folder of one"):
        sides.of_searches(plain, plain)
    with pytest.raises(UserError, match=r"--other: needs --plain, the study with which it is compared"):
        compare_recipes.main(["--other", str(deep)])
    (deep / "retrain.jsonl").unlink()
    (deep / "predictions.jsonl").unlink()
    with pytest.raises(UserError, match=rf"--other: .* has not retrained {best_of(deep)[0]}"):
        sides.of_searches(plain, deep)


def test_a_search_that_found_nothing_better_than_its_beginning(tmp_path: Path) -> None:
    """Its best configuration was retrained as the baseline."""
    plain = write_invented(tmp_path / "gpu150-tpe-seed0", trials=12, retrain_seeds=3)
    other = write_invented(tmp_path / "other-tpe-seed0", trials=1, retrain_seeds=3, facts={"label": "wider"})
    found = sides.of_searches(plain, other)
    assert [run.row.configuration for run in found.runs["tuned, wider"]] == ["baseline"] * 3
    assert [run.row.configuration for run in found.runs["tuned, invented"]] == [best_of(plain)[0]] * 3


def test_two_searches_without_a_milestone_in_common(tmp_path: Path) -> None:
    plain = write_invented(tmp_path / "plain-tpe-seed0", trials=12, milestones=(4, 6), retrain_seeds=3)
    other = write_invented(tmp_path / "other-tpe-seed0", trials=12, milestones=(9,), retrain_seeds=3)
    with pytest.raises(UserError, match=r"have no milestone in common: 9 and 4, 6 epochs"):
        sides.of_searches(plain, other)


def test_two_searches_by_other_training_are_not_compared(tmp_path: Path) -> None:
    """What they may differ in is said."""
    plain = write_invented(tmp_path / "plain-tpe-seed0", trials=12, retrain_seeds=3)
    averaged = {"train__ema_momentum": 0.9}
    other = write_invented(tmp_path / "other-tpe-seed0", trials=12, retrain_seeds=3, overrides=averaged)
    with pytest.raises(UserError, match=r"cannot be compared: train\.ema_momentum is "):
        sides.of_searches(plain, other)
    half = {"train__precision": "mixed_bfloat16"}
    wider = write_invented(tmp_path / "wider-tpe-seed0", trials=12, retrain_seeds=3, overrides=half)
    found = sides.of_searches(plain, wider)
    assert list(found.runs) == ["tuned, wider-tpe-seed0", "tuned, plain-tpe-seed0"]
    assert found.settings == {"train.precision": ("mixed_bfloat16", "float32")}
    assert (
        "differ in their settings, train.precision: mixed_bfloat16 and float32."
        in recipe_tables.retrained(found)[1].note
    )


def test_nothing_to_compare_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="STUDY: name the recipes to compare, or --plain with --tuned or --other"):
        compare_recipes.main([])


def test_what_is_not_tuned_by_a_recipe_is_refused(tmp_path: Path) -> None:
    study = write_invented(tmp_path / "cpu48-tpe-seed0", trials=12, retrain_seeds=3)
    _, best = best_of(study)
    found = recipes.read([write(tmp_path, "plain", 0), write(tmp_path, "cosine", 0, overrides=COSINE)])

    def refused(**overrides: object) -> str:
        folder = write(tmp_path / str(len(list(tmp_path.iterdir()))), "x", 0, retrained=True, overrides=overrides)
        with pytest.raises(UserError) as caught:
            sides.of_recipes(found, study, folder)
        return str(caught.value)

    assert "did not train what" in refused(**COSINE)
    assert "was trained by none of the recipes: {'train.batch_size': '64'}" in refused(**best, train__batch_size=64)
    assert "data.split_seed is 0 and 5" in refused(**best, **COSINE, data__split_seed=5)


@pytest.mark.parametrize("pixels", published.TUNED)
def test_the_tuned_configuration_is_the_one_that_was_found(pixels: int) -> None:
    scale, (file, _) = published.SCALES[pixels], published.TUNED[pixels]
    _, best = best_of(ROOT / scale.folder / scale.retrained)
    found = config.load(ROOT / file)
    assert {f"baseline__{key}": value for key, value in found.baseline.items()} == best
    assert found.data.image_size == pixels
    search, retraining = published.tuned(scale)
    assert search.name == retraining.name == f"tuned{pixels}-average-seed0"


def test_the_tuned_configuration_is_trained_by_the_recipe_that_was_chosen() -> None:
    recipe = {run.name: run for run in published.recipes()}["recipe48-average-seed0"]
    search, _ = published.tuned()
    assert [flag for flag in search.flags if flag not in recipe.flags] == [published.TUNED[48][0]]
    shorter, _ = published.tuned(published.SCALES[150])
    lengths = ["search.max_epochs=3", "search.grace_epochs=3"]
    assert [flag for flag in shorter.flags if flag not in recipe.flags] == [published.TUNED[150][0], *lengths]


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
    folder = write_invented(tmp_path / search.name, trials=1, milestones=(), facts={"state": "running"})
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


def test_a_torn_line_is_no_run_and_damage_is_named(tmp_path: Path) -> None:
    """A crash while writing leaves the one; the other is not taken for a run that never began."""
    search, retraining = published.runs()[:2]
    (tmp_path / search.name).mkdir()
    (tmp_path / search.name / "retrain.jsonl").write_text('{"configuration": "ba')
    assert published.state_of(retraining, tmp_path) == "not begun"
    (tmp_path / search.name / "study.json").write_text("{")
    with pytest.raises(UserError, match=r"study\.json"):
        published.state_of(search, tmp_path)
