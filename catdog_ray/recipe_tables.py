"""The tables of recipes: on the selection split, and on the test split after retraining; and the same as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from catdog_ray.cells import MODELS_DIFFER, accuracy_cell, accuracy_cells, difference_cell, interval_cell
from catdog_ray.differences import Compared
from catdog_ray.recipes import LAST_EPOCHS, REFERENCE, Recipes, scored
from catdog_ray.retrained import IMAGES
from catdog_ray.sides import STEADY_EPOCHS, TUNED, Sides
from catdog_ray.statistics import Difference, estimate
from catdog_ray.table import DIFFERENCES, RETRAINING, TRIALS, Table
from catdog_ray.words import NO_DIFFERENCE, counted, percent, points


def selection(recipes: Recipes) -> Table:
    """What the recipes give on the selection split."""
    rows = tuple(
        (
            item.recipe,
            ", ".join(f"{key} {value}" for key, value in item.changes.items()) or "nothing",
            counted(item.accuracy.n, "runs"),
            *accuracy_cells(item.accuracy),
            *(("", "", "") if item.difference is None else _difference_cells(item.difference)),
        )
        for item in scored(recipes)
    )
    images = next(iter(recipes[REFERENCE].values())).facts["data"]
    return Table(
        TRIALS,
        "On the selection split",
        (
            "recipe",
            "changes",
            "n",
            "accuracy, mean",
            "sd (points)",
            "95 % interval",
            "minus plain",
            "95 % interval of the difference",
            "verdict",
        ),
        rows,
        f"The guide's configuration, trained on {images['train_images']:,} images; accuracy on "
        f"{images['selection_images']:,} selection images, mean of the last {LAST_EPOCHS} epochs. Student's t over "
        f"seeds, differences paired by seed. Each interval stands alone: of {len(rows) - 1}, about "
        f"{0.05 * (len(rows) - 1):.1f} would leave out zero by chance.",
    )


def retrained(found: Sides) -> list[Table]:
    """What was retrained, on the test split."""
    return [_accuracies(found), _differences(found)]


def _accuracies(found: Sides) -> Table:
    rows = tuple(
        (
            name,
            str(own[0].row.milestone),
            counted(len(own), "runs"),
            percent(estimate([run.row.train_accuracy for run in own]).mean),
            *accuracy_cells(estimate([run.row.test_accuracy for run in own])),
            accuracy_cell(found.averaged(name)),
        )
        for name, own in found.runs.items()
    )
    images = {run.row.test_images for own in found.runs.values() for run in own}
    tuned = [name for name in found.runs if name.startswith(f"{TUNED}, ")]
    whose = "The guide's configuration" if len(tuned) < len(found.runs) else ""
    if tuned:
        whose += f" ({TUNED}: what the search of the plain study found)" if whose else "What the search found"
    return Table(
        RETRAINING,
        "Retrained on all training images, on the test split",
        (
            "recipe",
            "epochs",
            "n",
            "training",
            "test, mean",
            "sd (points)",
            "95 % interval",
            f"mean of the last {STEADY_EPOCHS} epochs",
        ),
        rows,
        f"{whose}, {' and '.join(map(str, sorted(images)))} test images, which decided nothing.",
    )


def _differences(found: Sides) -> Table:
    compared = found.differences
    shown = {(item.first, item.second) for item, _ in compared if item.unit != IMAGES and item.difference.is_shown}
    rows = []
    for item, averaged in compared:
        mean, ends, verdict = _difference_cells(item.difference, is_claim=(item.first, item.second) in shown)
        unpaired = ("" if item.unpaired is None else interval_cell(item.unpaired, signed=True),)
        rows.append(
            (
                f"{item.first} minus {item.second}",
                _counted(found, item),
                mean,
                ends,
                *(unpaired if found.is_paired else ()),
                "" if averaged is None else difference_cell(averaged),
                verdict,
            )
        )
    return Table(
        DIFFERENCES,
        "Test accuracy, paired" if found.is_paired else "Test accuracy, not paired",
        (
            "difference",
            "pairs" if found.is_paired else "n",
            "mean",
            "95 % interval",
            *(("unpaired",) if found.is_paired else ()),
            f"mean of the last {STEADY_EPOCHS} epochs",
            "verdict",
        ),
        tuple(rows),
        _note(found),
    )


def _note(found: Sides) -> str:
    """How to read the differences."""
    if found.is_paired:
        seeds = "By retraining seed: Student's t; beside it without pairs (Welch), and of accuracies"
        images = "By test image (percentile bootstrap)"
    else:
        why = ", and ".join(found.unlike)
        # Simulated with the other side's five runs and up to eight times the spread: 90 to 94 %.
        few = " (with two runs on a side it covers about 90 %)" if 2 in map(len, found.runs.values()) else ""
        seeds = (
            f"A seed is no pair: {why}; that too is part of the difference. By retraining seed: Welch's interval{few}; "
            "beside it of accuracies"
        )
        images = "By test image (paired, percentile bootstrap)"
    note = (
        f"{seeds} averaged over the last epochs, because one epoch's jumps. {images}, the interval is about these "
        "trained models and knows nothing of other seeds."
    )
    if found.settings:
        told = "; ".join(f"{key}: {own} and {before}" for key, (own, before) in found.settings.items())
        note += f" The two sides differ in their settings, {told}."
    return note


def as_json(known: Recipes, found: Sides) -> dict[str, Any]:
    """What recipes.json holds: accuracies are fractions."""
    return {
        "schema_version": 1,
        "selection": [
            {
                "recipe": item.recipe,
                "changes": dict(item.changes),
                "accuracy": asdict(item.accuracy),
                "difference": item.difference and asdict(item.difference),
                "scores": dict(item.scores),
            }
            for item in (scored(known) if known else ())
        ],
        "test": [
            {
                "recipe": name,
                "study": own[0].study.name,
                "epochs": own[0].row.milestone,
                "accuracies": {run.row.seed: run.row.test_accuracy for run in own},
                f"last_{STEADY_EPOCHS}_epochs": (averaged := found.averaged(name)) and asdict(averaged),
            }
            for name, own in found.runs.items()
        ],
        "test_differences": [
            {
                "recipe": item.first,
                "against": item.second,
                "unit": item.unit,
                **asdict(item.difference),
                "unpaired": item.unpaired and asdict(item.unpaired),
                f"last_{STEADY_EPOCHS}_epochs": averaged and asdict(averaged),
            }
            for item, averaged in found.differences
        ],
    }


def _counted(found: Sides, item: Compared) -> str:
    if found.is_paired or item.unit == IMAGES:
        return counted(item.difference.n, item.unit)
    return f"{len(found.runs[item.first])} and {counted(len(found.runs[item.second]), item.unit)}"


def _difference_cells(item: Difference, *, is_claim: bool = True) -> tuple[str, str, str]:
    """Mean, interval, and what may be said; images alone never speak for a recipe (`is_claim` false)."""
    verdict = NO_DIFFERENCE if not item.is_shown else "better" if item.mean > 0 else "worse"
    if item.is_shown and not is_claim:
        verdict = MODELS_DIFFER
    return points(item.mean, signed=True), interval_cell(item, signed=True), verdict
