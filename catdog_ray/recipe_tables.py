"""The tables of recipes: on the selection split, and on the test split after retraining."""

from __future__ import annotations

from catdog_ray.cells import MODELS_DIFFER, accuracy_cells, difference_cell, interval_cell
from catdog_ray.recipes import LAST_EPOCHS, REFERENCE, STEADY_EPOCHS, TUNED, Recipes, Retrained, scored
from catdog_ray.retrained import IMAGES, Compared
from catdog_ray.statistics import Difference, estimate
from catdog_ray.tables import DIFFERENCES, RETRAINING, TRIALS, Table
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


def retrained(found: Retrained) -> list[Table]:
    """What was retrained, on the test split."""
    return [_accuracies(found), _differences(found)]


def _accuracies(found: Retrained) -> Table:
    rows = tuple(
        (
            name,
            str(own[0].row.milestone),
            counted(len(own), "runs"),
            percent(estimate([run.row.train_accuracy for run in own]).mean),
            *accuracy_cells(estimate([run.row.test_accuracy for run in own])),
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
        ("recipe", "epochs", "n", "training", "test, mean", "sd (points)", "95 % interval"),
        rows,
        f"{whose}, {' and '.join(map(str, sorted(images)))} test images, which decided nothing.",
    )


def _differences(found: Retrained) -> Table:
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
        (
            "By retraining seed: Student's t; beside it without pairs (Welch), and of accuracies averaged over the "
            "last epochs, because one epoch's jumps. By test image (percentile bootstrap), the interval is about these "
            "trained models and knows nothing of other seeds."
            if found.is_paired
            else "By retraining seed: Welch's interval, for a seed means nothing on both sides, which other libraries "
            "trained on pixels that others decoded: that is part of the difference. Beside it of accuracies averaged "
            "over the last epochs, because one epoch's jumps. By test image (paired, percentile bootstrap), the "
            "interval is about these trained models and knows nothing of other seeds."
        ),
    )


def _counted(found: Retrained, item: Compared) -> str:
    if found.is_paired or item.unit == IMAGES:
        return counted(item.difference.n, item.unit)
    return f"{len(found.runs[item.first])} and {counted(len(found.runs[item.second]), item.unit)}"


def _difference_cells(item: Difference, *, is_claim: bool = True) -> tuple[str, str, str]:
    """Mean, interval, and what may be said; images alone never speak for a recipe (`is_claim` false)."""
    verdict = NO_DIFFERENCE if not item.is_shown else "better" if item.mean > 0 else "worse"
    if item.is_shown and not is_claim:
        verdict = MODELS_DIFFER
    return points(item.mean, signed=True), interval_cell(item, signed=True), verdict
