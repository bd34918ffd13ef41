"""The tables of what was retrained: accuracies, their differences, and what the models get wrong."""

from __future__ import annotations

from catdog_ray.cells import (
    accuracy_cells,
    difference_cell,
    interval_cell,
    loss_cell,
    quantity_cell,
    signed_cell,
    verdict,
)
from catdog_ray.compare import guides_figures
from catdog_ray.comparison import Comparison
from catdog_ray.retrained import BASELINE
from catdog_ray.retrained import SEARCHES as SEARCHES_UNIT
from catdog_ray.table import DIFFERENCES, MODELS, RETRAINING, Table
from catdog_ray.words import NOT_KNOWN, counted, percent, points


def retrained(found: Comparison) -> Table:
    """Accuracy by configuration and milestone; no rows where nothing was retrained."""
    rows = [
        (
            item.name if item.unit == SEARCHES_UNIT or item.name == BASELINE else f"{item.name}, one search",
            str(item.milestone),
            counted(item.test.n, item.unit),
            percent(item.train.mean),
            *accuracy_cells(item.test),
            signed_cell(item.optimism),
        )
        for item in found.accuracies
    ]
    constant = found.constant if rows else None
    if constant is not None:
        unknown = NOT_KNOWN, NOT_KNOWN, NOT_KNOWN
        rows.append((constant.title, *unknown, percent(constant.accuracy), NOT_KNOWN, "none", NOT_KNOWN))
    reported = guides_figures(found.groups[0].studies[0].facts) if rows else ()
    rows += [
        (name, epochs.split()[0], "1 run", percent(train), percent(validation), NOT_KNOWN, "none", NOT_KNOWN)
        for what, train, validation in reported
        for name, epochs in [what.rsplit(", ", 1)]
    ]
    return Table(
        RETRAINING,
        "Accuracy after retraining",
        ("configuration", "epochs", "n", "training", "test, mean", "sd (points)", "95 % interval", "optimism"),
        tuple(rows),
        "Test images decide nothing. Over several searches, n counts searches (each the mean of its retraining seeds); "
        "over one, retraining seeds. Optimism: selection objective minus test accuracy; the first after the search's "
        "budget on part of the images, the second after retraining on all. That of the baseline, where "
        "its trial ran to full length, is of one that nobody chose: what the choice itself adds is the difference to "
        "it."
        + ("" if constant is None else f" The classes are uneven: {constant.title} is a constant answer's accuracy.")
        + (" The guide's figures are one run each, on its own data." if reported else ""),
    )


def differences(found: Comparison) -> Table:
    """All differences with their intervals, paired and not."""
    rows = tuple(
        (
            f"{item.first} minus {item.second}",
            quantity_cell(found, item),
            counted(item.difference.n, item.unit),
            points(item.difference.mean, signed=True),
            interval_cell(item.difference, signed=True),
            "" if item.unpaired is None else interval_cell(item.unpaired, signed=True),
            verdict(found, item),
        )
        for item in (
            *found.searches_compared,
            *found.accuracies_compared,
            *found.milestones_compared,
            *found.images_compared,
        )
    )
    return Table(
        DIFFERENCES,
        "Differences, paired",
        ("difference", "quantity", "pairs", "mean", "95 % interval", "unpaired", "verdict"),
        rows,
        "Searches and retraining runs are paired by seed (Student's t). Beside it stands the interval without pairs "
        "(Welch), for a seed means the same images in the same order, but not the same weights; what is shown by pairs "
        "alone is marked so. Several searches that share runs of the baseline are "
        "not paired with it (Welch's interval, of both spreads). Paired by test image (percentile bootstrap), the "
        "interval is about these trained models on images like these and knows nothing of other seeds. Each interval "
        f"stands alone: of {len(rows)}, about {0.05 * len(rows):.1f} would leave out zero by chance.",
    )


def last_epochs(found: Comparison) -> Table:
    """What is left of a difference when it does not hang on one epoch."""
    windows = tuple(found.last_epochs)
    by_key = [
        {(item.first, item.second, item.milestone): item for item in found.last_epochs[window]} for window in windows
    ]
    rows = tuple(
        (
            f"{first} minus {second}",
            NOT_KNOWN if epoch is None else str(epoch),
            counted(item.difference.n, item.unit),
            *(difference_cell(each[key].difference if key in each else None) for each in by_key),
        )
        for key, item in (by_key[0].items() if by_key else ())
        for first, second, epoch in [key]
    )
    jitter = "" if found.jitter is None else f" (by an sd of {points(found.jitter)} over the last {max(windows)})"
    return Table(
        DIFFERENCES,
        "Differences in test accuracy, averaged over more epochs",
        (
            "difference",
            "at epoch",
            "pairs",
            *("that epoch alone" if window == 1 else f"mean of the last {window}" for window in windows),
        ),
        rows,
        f"The accuracy of a run jumps from epoch to epoch{jitter}, so that a difference at one epoch is partly chance. "
        "Paired as above, with 95 % intervals. Where a retraining was cut short, the last epoch that all runs reached "
        "is here too.",
    )


def classified(found: Comparison) -> Table:
    """Accuracy by class, calibration and loss; no rows without probabilities."""
    classes = [str(name) for name in found.groups[0].studies[0].facts["data"]["class_names"]]
    rows = tuple(
        (
            item.name,
            str(item.milestone),
            str(item.runs),
            *(
                percent(float(item.confusion[k, k] / item.confusion[k].sum())) if item.confusion[k].sum() else NOT_KNOWN
                for k in range(len(classes))
            ),
            points(item.calibration.error),
            loss_cell(item.loss),
            percent(item.together),
        )
        for item in found.classified
    )
    return Table(
        MODELS,
        "Classes and calibration",
        (
            "models",
            "epochs",
            "runs",
            *(f"right among {name}" for name in classes),
            "calibration error",
            "test loss",
            "all together",
        ),
        rows,
        "Test images, all models of a method pooled, at the last milestone that all methods have. Expected calibration "
        "error: the mean gap between confidence and accuracy in ten equal bins of confidence. Test loss: crossentropy, "
        "mean over runs with Student's t interval. All together: accuracy of the mean of their probabilities.",
    )


def mistakes(found: Comparison) -> Table:
    """The images that the models get wrong with most confidence; no rows without probabilities."""
    rows = tuple(
        (item.name, item.file, item.true_class, item.predicted_class, percent(item.probability))
        for item in found.mistakes
    )
    return Table(
        MODELS,
        "Most confident mistakes",
        ("models", "test image", "is", "taken for", "mean probability"),
        rows,
        "Probabilities are means over the models of a method at its last milestone.",
    )
