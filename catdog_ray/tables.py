"""The tables of a comparison as text: one form for Markdown, for the page and for whoever reads along."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from catdog_ray.cells import (
    accuracy_cells,
    difference_cell,
    interval_cell,
    loss_cell,
    quantity_cell,
    share_cell,
    signed_cell,
    suggestion_cells,
    value_cell,
    verdict,
    with_sd,
)
from catdog_ray.compare import guides_figures
from catdog_ray.comparison import Comparison
from catdog_ray.records import best_trial
from catdog_ray.retrained import BASELINE
from catdog_ray.retrained import SEARCHES as SEARCHES_UNIT
from catdog_ray.searched import TRAINING_FACTOR
from catdog_ray.words import NOT_KNOWN, count, counted, duration, percent, points

SEARCHES, DIFFERENCES, RETRAINING = "The searches", "Differences", "Retraining"
TRIALS, SPACE, MODELS, STUDIES = "The trials", "The hyperparameters", "The retrained models", "The studies"
SECTIONS = (SEARCHES, DIFFERENCES, RETRAINING, TRIALS, SPACE, MODELS, STUDIES)
"""Of the page, in its order."""

DRAWN = "Drawn data: these figures show that the pipeline works; they say nothing about photographs."


@dataclass(frozen=True)
class Table:
    """A title, columns, rows of as many cells, and what must be known to read it; under a `section` of the page."""

    section: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def tables(found: Comparison) -> list[Table]:
    """All tables that have a row, in the order of the page."""
    made = [
        _searches(found),
        _configurations(found),
        _spending(found),
        _times(found),
        _retrained(found),
        _differences(found),
        _last_epochs(found),
        _early_stopping(found),
        _importance(found),
        _classified(found),
        _mistakes(found),
        _studies(found),
        _left_out(found),
    ]
    mark = " (drawn data)" if found.is_drawn else ""
    return [dataclasses.replace(item, title=item.title + mark) for item in made if item.rows]


def _searches(found: Comparison) -> Table:
    rows = tuple(
        (
            item.name,
            str(len(item.studies)),
            f"{item.trials:,} ({item.completed:,} / {item.stopped:,} / {item.failed:,}"
            + (f"; {item.cut:,} cut by the time budget)" if item.cut else ")"),
            *accuracy_cells(item.best),
            NOT_KNOWN if item.regret is None else points(item.regret.mean),
            percent(None if item.best_at is None else item.best_at.mean),
            *suggestion_cells(item),
        )
        for item in found.methods
    )
    return Table(
        SEARCHES,
        "What the searches found",
        (
            "method",
            "searches",
            "trials (completed / stopped / failed)",
            "best objective, mean",
            "sd (points)",
            "95 % interval",
            "simple regret, mean",
            f"best objective after {count(found.common_epochs)} epochs, mean",
            "seconds a suggestion",
            "share of the wall-clock",
        ),
        rows,
        f"Objective: {found.groups[0].studies[0].facts['objective']}. After {count(found.common_epochs)} epochs, all "
        "trials together, the shortest search here ended. Simple regret is the distance to the best "
        f"objective of all studies here ({percent(found.reference)}); the true optimum is not known. Intervals: "
        "Student's t over searches.",
    )


def _configurations(found: Comparison) -> Table:
    first = found.groups[0].studies[0]
    names, given = tuple(first.space), first.facts["config"]["baseline"]
    rows = [
        (
            item.name,
            str(study.seed),
            percent(best.objective),
            f"{best.trial + 1} of {len(study.trials)}",
            *(value_cell(best.hyperparameters[name]) for name in names),
        )
        for item in found.groups
        for study in item.studies
        for best in [best_trial(study.trials)]
        if best is not None
    ]
    rows += [(BASELINE, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, *(value_cell(given[name]) for name in names))] if rows else []
    return Table(
        SEARCHES,
        "The best configuration of each search",
        ("method", "seed", "objective", "best trial", *names),
        tuple(rows),
        "Trials are counted in the order of their suggestion, the starting point first.",
    )


def _spending(found: Comparison) -> Table:
    rows = tuple(
        (
            item.name,
            with_sd(item.epochs, count),
            with_sd(item.multiply_adds, count),
            with_sd(item.seconds, duration),
            NOT_KNOWN if item.cpu_hours is None else f"{item.cpu_hours.mean:.2f}",
            NOT_KNOWN if item.gpu_hours is None else f"{item.gpu_hours.mean:.2f}",
        )
        for item in found.methods
    )
    return Table(
        SEARCHES,
        "What a search spent, mean (sd) over searches",
        ("method", "epochs", "multiply-adds", "wall-clock", "CPU hours", "GPU hours"),
        rows,
        f"Multiply-adds: {TRAINING_FACTOR} times the forward pass for every training image and epoch (backward "
        "counts as two), once for every selection image. Hours: the search's wall-clock times the CPUs (GPUs) of the "
        "nodes as recorded, held whether busy or not. Failed and stopped trials are in.",
    )


def _times(found: Comparison) -> Table:
    rows = []
    for name, by_axis in found.times.items():
        any_axis = by_axis["epochs"]
        within = [each["epochs"].reaches(found.target or 0.0) for each in found.curves[name]]
        soon = sum(epochs is not None and epochs <= found.common_epochs for epochs in within)
        cells = [name, f"{soon} of {any_axis.n}", f"{any_axis.reached} of {any_axis.n}"]
        for axis, words in (("trials", count), ("epochs", count), ("multiply_adds", count), ("seconds", duration)):
            middle = by_axis[axis].median
            cells.append("not reached by half" if middle is None else words(middle))
        rows.append(tuple(cells))
    return Table(
        SEARCHES,
        f"Spending until the objective reached {100 * (found.target or 0):.2f} %, median",
        (
            "method",
            f"reached within {count(found.common_epochs)} epochs",
            "reached by the end",
            "trials",
            "epochs",
            "multiply-adds",
            "wall-clock",
        ),
        tuple(rows),
        f"The target is {found.target_words}. Searches that go on for longer have more chances to reach it. "
        "Kaplan-Meier medians: a search that ended without reaching it counts as "
        "censored at its end, not as reached and not as missing.",
    )


def _retrained(found: Comparison) -> Table:
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


def _differences(found: Comparison) -> Table:
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


def _last_epochs(found: Comparison) -> Table:
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


def _early_stopping(found: Comparison) -> Table:
    rows = tuple(
        (
            item.name,
            f"{item.share_of_epochs.n} x {item.orders}",
            percent(1 - item.share_of_epochs.mean),
            percent(item.kept_best.mean),
            points(item.regret.mean),
            points(item.regret_p95.mean),
        )
        for item in found.early_stopping
    )
    concurrent = " or ".join(map(str, sorted({item.concurrent for item in found.early_stopping})))
    return Table(
        TRIALS,
        "Trials of full length, replayed with early stopping",
        (
            "trials of",
            "searches x orders",
            "epochs saved",
            "best trial kept",
            "objective lost",
            "in the worst twentieth at least",
        ),
        rows,
        f"Each search's own curves in random orders, {concurrent} at once, through the same ASHA: what it would have "
        "saved, how often the best trial would have run to the end, and how far the best objective would lie below.",
    )


def _importance(found: Comparison) -> Table:
    names = tuple(found.groups[0].studies[0].space)
    rows = tuple(
        (
            item.name,
            f"{item.sampled:,}",
            *(
                NOT_KNOWN if shares is None else share_cell(shares[key], None if spans is None else spans[key])
                for key in names
            ),
        )
        for item in found.methods
        for shares, spans in [(found.importance[item.name], found.importance_intervals[item.name])]
    )
    fewest = min((item.sampled for item in found.methods if found.importance[item.name]), default=0)
    return Table(
        SPACE,
        "Importance of the hyperparameters",
        ("method", "trials", *names),
        rows,
        "PED-ANOVA (Optuna): the share of what separates the best tenth of the trials from the rest; of "
        f"{fewest} trials that is what {max(1, round(fewest / 10))} happen to have in common. In brackets 95 % of the "
        "shares when the trials are drawn again: where these overlap, the order is not shown. Trials stopped early "
        "count with their objective at that time; starting points, which no method chose, and trials that the time "
        "budget cut do not count. A hyphen: too few trials.",
    )


def _classified(found: Comparison) -> Table:
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


def _mistakes(found: Comparison) -> Table:
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


def _studies(found: Comparison) -> Table:
    rows = tuple(
        (
            item.name,
            str(study.seed),
            study.name,
            str(study.facts.get("commit") or NOT_KNOWN)[:12],
        )
        for item in found.groups
        for study in item.studies
    )
    return Table(STUDIES, "Studies compared", ("method", "seed", "study", "commit"), rows, "")


def _left_out(found: Comparison) -> Table:
    rows = tuple((item.folder, item.reason) for item in found.left_out)
    return Table(STUDIES, "Studies left out", ("study", "reason"), rows, f"{len(rows)} left out by --skip-bad.")
