"""The tables of what the searches found, what it took them, and what their trials say."""

from __future__ import annotations

from catdog_ray.cells import accuracy_cells, share_cell, suggestion_cells, value_cell, with_sd
from catdog_ray.comparison import Comparison
from catdog_ray.records import best_trial
from catdog_ray.retrained import BASELINE
from catdog_ray.searched import TRAINING_FACTOR
from catdog_ray.table import SEARCHES, SPACE, TRIALS, Table
from catdog_ray.words import NOT_KNOWN, count, duration, percent, points


def searches(found: Comparison) -> Table:
    """What each method found, and what its suggestions took."""
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


def configurations(found: Comparison) -> Table:
    """The best configuration of each search, the guide's below; no rows where no search found one."""
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


def spending(found: Comparison) -> Table:
    """Epochs, computation and hours of a search."""
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


def times(found: Comparison) -> Table:
    """What it took to reach the target; no rows where there is none."""
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


def early_stopping(found: Comparison) -> Table:
    """Full curves replayed with early stopping; no rows where no study has them."""
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


def importance(found: Comparison) -> Table:
    """The share of each hyperparameter, by method."""
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
