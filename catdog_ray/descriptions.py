"""What each figure of a comparison shows, in a sentence for those who cannot see it: from the numbers of the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from catdog_ray.cells import interval_cell, largest_share, value_cell, verdict
from catdog_ray.comparison import Comparison
from catdog_ray.differences import Compared
from catdog_ray.groups import Group
from catdog_ray.ranges import Choice, IntRange, Range
from catdog_ray.records import TrialRow
from catdog_ray.retrained import BASELINE, SEARCHES
from catdog_ray.searched import Method, best_objective
from catdog_ray.statistics import Estimate
from catdog_ray.words import count, counted, duration, interval, percent, points


def of_best_so_far(found: Comparison, axis: str) -> str:
    """Where each method's line ends."""
    told = [
        f"{item.name} {_accuracy(item.best)} after {_spent(item, axis)}"
        for item in found.methods
        if item.best is not None and found.bands[axis][item.name] is not None
    ]
    return f"Best objective at the end, mean of the searches: {'; '.join(told)}."


def of_target(found: Comparison) -> str:
    """How many searches of each method reached it."""
    told = [
        f"{each['epochs'].reached} of {counted(each['epochs'].n, 'searches')} by {name}"
        for name, each in found.times.items()
    ]
    return f"Reached by the end in {', '.join(told)}."


def of_differences(found: Comparison, items: Sequence[Compared]) -> str:
    """Those whose interval leaves out zero, each with what may be said of it."""
    told = []
    for item in items:
        if item.difference.is_shown:
            end = ", at the end" if item.unit == SEARCHES else ""
            epochs = end if item.milestone is None else f", {item.milestone} epochs"
            span = interval(item.difference.low, item.difference.high, signed=True)
            mean = points(item.difference.mean, signed=True)
            told.append(f"{item.first} minus {item.second}{epochs}: {mean} ({span}), {verdict(found, item)}")
    some = f"leaving out zero: {'; '.join(told)}" if told else "leaving out zero"
    return f"{counted(len(items), 'differences')}, {len(told) or 'no'} interval{'s' * (len(told) > 1)} {some}."


def of_accuracies(found: Comparison) -> str:
    """Every configuration at every milestone."""
    told = [f"{item.name}, {item.milestone} epochs, {_accuracy(item.test)}" for item in found.accuracies]
    return f"{'; '.join(told)}."


def of_confusion(found: Comparison) -> str:
    """The classes that are known worst and best."""
    classes = [str(name) for name in found.groups[0].studies[0].facts["data"]["class_names"]]
    told = []
    for item in found.classified:
        right = item.confusion.diagonal() / np.maximum(item.confusion.sum(axis=1), 1)
        ends = [f"{classes[k]} ({percent(float(right[k]))})" for k in (right.argmin(), right.argmax())]
        told.append(f"{item.name} is right least often among {ends[0]}, most often among {ends[1]}")
    return f"{'; '.join(told)}."


def of_calibration(found: Comparison) -> str:
    """By how much, and in how many bins, models are surer than right."""
    told = []
    for item in found.classified:
        bins = [
            confidence > right
            for confidence, right in zip(item.calibration.confidences, item.calibration.accuracies, strict=True)
            if confidence is not None and right is not None
        ]
        told.append(
            f"{item.name}: calibration error {points(item.calibration.error)}, surer than right in {sum(bins)} of "
            f"{counted(len(bins), 'bins')}"
        )
    return f"{'; '.join(told)}."


def of_survival(found: Comparison) -> str:
    """How many trials ran to the end."""
    told = [f"{item.completed:,} of {counted(item.trials, 'trials')} of {item.name}" for item in found.methods]
    return f"To the end ran {', '.join(told)}."


def of_learning(found: Comparison, group: Group) -> str:
    """How trials of one method ended, and the best of each search."""
    item = next(each for each in found.methods if each.name == group.name)
    cut = f", {item.cut:,} cut by the time budget" if item.cut else ""
    scores = [percent(best_objective(study)) for study in group.studies]
    return (
        f"Of {counted(item.trials, 'trials')} {item.completed:,} were completed, {item.stopped:,} stopped{cut}, "
        f"{item.failed:,} failed; best objective of each search: {', '.join(scores)}."
    )


def of_retraining(found: Comparison, name: str) -> str:
    """Training and test accuracy of one method and of the configuration that it started from, where the lines end."""
    last = {item.name: item for item in found.accuracies if item.name in (name, BASELINE)}
    told = [
        f"{item.name} at epoch {item.milestone}: training {percent(item.train.mean)}, validation {_accuracy(item.test)}"
        for item in last.values()
    ]
    return f"{'; '.join(told)}."


def of_importance(found: Comparison) -> str:
    """Each method's largest share, and whether it is shown to be the largest."""
    told = []
    for name, shares in found.importance.items():
        if shares is None:
            continue
        first, share, is_shown = largest_share(shares, found.importance_intervals[name])
        told.append(f"{name}: {_spaced(first)} {share}, {'' if is_shown else 'not '}shown to be first")
    return f"The largest share by the trials of {'; '.join(told)}."


def of_best_tenth(rows: Sequence[TrialRow], space: Mapping[str, Range]) -> str:
    """Where the tenth with the best objectives lies: the middle half of ranges, the choice that is most frequent."""
    best = sorted(rows, key=lambda row: -(row.objective or 0.0))[: max(1, round(len(rows) / 10))] if rows else []
    if not best:
        return "There is no trial with a score."
    told = []
    for name, wanted in space.items():
        values = [row.hyperparameters[name] for row in best]
        if isinstance(wanted, Choice):
            value, often = Counter(values).most_common(1)[0]
            told.append(f"{_spaced(name)} {value_cell(value)} ({often:,} of {len(best):,})")
        else:
            low, high = np.quantile(np.array(values, np.float64), [0.25, 0.75])
            digits = ",.0f" if isinstance(wanted, IntRange) else ".2g"
            told.append(f"{_spaced(name)} {low:{digits}} to {high:{digits}}")
    return (
        f"Of the best tenth ({counted(len(best), 'trials')}) the middle half, or most frequent choice: "
        f"{', '.join(told)}."
    )


def _accuracy(item: Estimate) -> str:
    span = "no interval" if item.low is None and not item.is_alike else interval_cell(item)
    return f"{percent(item.mean)} ({span})"


def _spent(item: Method, axis: str) -> str:
    if axis == "seconds":
        return duration(item.seconds.mean)
    if axis == "trials":
        return f"{count(item.trials / len(item.studies))} trials"
    return (
        f"{count(item.epochs.mean)} epochs" if axis == "epochs" else f"{count(item.multiply_adds.mean)} multiply-adds"
    )


def _spaced(name: str) -> str:
    return name.replace("_", " ")
