"""The answers of a comparison in a few sentences, each with its interval, made of its numbers alone."""

from __future__ import annotations

from collections.abc import Iterator

from catdog_ray.cells import difference_cell, interval_cell, largest_share, verdict
from catdog_ray.comparison import Comparison
from catdog_ray.retrained import BASELINE, SEARCHES
from catdog_ray.words import NO_DIFFERENCE, counted, percent


def sentences(found: Comparison) -> list[str]:
    """What a reader wants to know first, in this order: data, accuracies, differences, searches, hyperparameters."""
    return [*_data(found), *_accuracies(found), *_differences(found), *_searches(found), *_importance(found)]


def _data(found: Comparison) -> Iterator[str]:
    facts = found.groups[0].studies[0].facts["data"]
    counts = [f"{facts[f'{split}_images']:,}" for split in ("train", "selection", "test")]
    yield (
        f"{facts['name']}: {counts[0]} images to train on, {counts[1]} to select on, {counts[2]} to test on; "
        f"{', '.join(map(str, facts['class_names']))}."
    )


def _accuracies(found: Comparison) -> Iterator[str]:
    last: dict[str, str] = {}
    for item in found.accuracies:
        one = " (one search)" if item.unit != SEARCHES and item.name != BASELINE else ""
        last[item.name] = (
            f"{item.name}{one} {percent(item.test.mean)} after {item.milestone} epochs "
            f"({interval_cell(item.test)}, n={counted(item.test.n, item.unit)})"
        )
    if last:
        constant = found.constant
        if constant is not None:
            last[""] = f"{constant.title}, a constant answer, {percent(constant.accuracy)}"
        yield f"Test accuracy after retraining: {'; '.join(last.values())}."


def _differences(found: Comparison) -> Iterator[str]:
    longest = max(found.last_epochs, default=1)
    averaged = {(item.first, item.second, item.milestone): item for item in found.last_epochs.get(longest, ())}
    against = [item for item in found.accuracies_compared if item.second == BASELINE]
    final = {item.first: item for item in against}
    for item in (*final.values(), *found.milestones_compared):
        at = "" if item.milestone is None else f", {item.milestone} epochs"
        steady = averaged.get((item.first, item.second, item.milestone))
        more = (
            "" if steady is None else f", averaged over the last {longest} epochs {difference_cell(steady.difference)}"
        )
        said, n = verdict(found, item), counted(item.difference.n, item.unit)
        what = f"{item.first} minus {item.second}{at}"
        yield f"{what}: {difference_cell(item.difference)}{more} (n={n}). {said[0].upper()}{said[1:]}."


def _searches(found: Comparison) -> Iterator[str]:
    means = [item.best_at.mean for item in found.methods if item.best_at is not None]
    equal = [item for item in found.searches_compared if item.milestone is not None] or found.searches_compared
    if len(means) < 2 or not equal:
        return
    shown = [said for item in equal for said in [verdict(found, item)] if said != NO_DIFFERENCE]
    yield (
        f"After {found.common_epochs:,} epochs of each search the best objective was {percent(min(means))} to "
        f"{percent(max(means))} (means of the methods); {'; '.join(shown) if shown else 'none of the'}"
        + (f" {len(equal)} differences between methods is shown." if not shown else ".")
    )


def _importance(found: Comparison) -> Iterator[str]:
    told = [item for item in found.methods if found.importance[item.name]]
    if not told:
        return
    # Random search samples the space evenly; of the others the one with most trials.
    item = max(told, key=lambda item: (item.method == "random", item.sampled))
    shares = found.importance[item.name] or {}
    first, share, is_shown = largest_share(shares, found.importance_intervals[item.name])
    certain = "matters most" if is_shown else "has the largest share, which is not shown to be the largest"
    yield f"By {item.sampled:,} trials of {item.name} {first} {certain}: {share}."
