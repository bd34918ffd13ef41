"""Differences in test accuracy between retrained models: of two methods, of two milestones, over seeds or images."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from catdog_ray.retrained import BASELINE, IMAGES, SEARCHES, SEEDS, Run, Runs, by_search, mean_accuracy
from catdog_ray.statistics import Difference, paired_bootstrap, paired_difference, unpaired_difference


@dataclass(frozen=True)
class Compared:
    """First minus second: at a milestone of retraining, of searches after so many epochs (None: at their ends).

    `unpaired` is Welch's interval of the same values, where they are paired by a seed that they have in common only.
    """

    quantity: str
    milestone: int | None
    first: str
    second: str
    unit: str
    difference: Difference
    unpaired: Difference | None = None


def of_accuracies(runs: Runs) -> list[Compared]:
    """Test accuracies of every two methods, paired over search seeds (or over retraining seeds of one search each)."""
    found = []
    for first, second, milestone in _pairs(runs):
        a, b = runs[first][milestone], runs[second][milestone]
        unit, pairs = _paired_values(a, b, against_baseline=second == BASELINE)
        if not pairs:
            continue
        if second == BASELINE and unit == SEARCHES and _share_runs(a):
            # Pairs with a run in common are not independent of each other.
            own = [mean_accuracy(each) for each in by_search(a).values()]
            differences = [unpaired_difference(own, [run.row.test_accuracy for run in b])]
        else:
            sides = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            differences = [paired_difference(*sides), unpaired_difference(*sides)]
        found.append(Compared("test accuracy", milestone, first, second, unit, *differences))
    return found


def of_milestones(runs: Runs) -> list[Compared]:
    """What training on gives: test accuracies at the last milestone minus each earlier one of the same runs."""
    found = []
    for name, by_milestone in runs.items():
        *earlier, last = sorted(by_milestone)
        for milestone in earlier:
            unit, pairs = _paired_runs(name, by_milestone[last], by_milestone[milestone])
            if pairs:
                difference = paired_difference([pair[0] for pair in pairs], [pair[1] for pair in pairs])
                longer, shorter = f"{name}, {last} epochs", f"{name}, {milestone} epochs"
                found.append(Compared("test accuracy", None, longer, shorter, unit, difference))
    return found


def of_images(runs: Runs) -> list[Compared]:
    """The trained models of every two methods on the test images, paired by image.

    Per image the share of a method's models that are right, then the bootstrap over images.
    """
    found = []
    for first, second, milestone in _pairs(runs):
        a, b = _shares_right(runs[first][milestone]), _shares_right(runs[second][milestone])
        if a is not None and b is not None and a[0] == b[0]:
            found.append(Compared("test accuracy", milestone, first, second, IMAGES, paired_bootstrap(a[1] - b[1])))
    return found


def _pairs(runs: Runs) -> list[tuple[str, str, int]]:
    names = list(runs)
    return [
        (first, second, milestone)
        for i, first in enumerate(names)
        for second in names[i + 1 :]
        for milestone in sorted(set(runs[first]) & set(runs[second]))
    ]


def _paired_values(
    a: Sequence[Run], b: Sequence[Run], *, against_baseline: bool
) -> tuple[str, list[tuple[float, float]]]:
    """(unit, pairs): by search; where both sides have one search only, by retraining seed.

    The guide's configuration belongs to no search: each search of `a` is paired with its runs of the same retraining
    seeds.
    """
    first, second = by_search(a), by_search(b)
    if len(first) == 1 and (against_baseline or len(second) == 1):
        seeds_a, seeds_b = _by_retraining_seed(a), _by_retraining_seed(b)
        return SEEDS, [(seeds_a[seed], seeds_b[seed]) for seed in sorted(seeds_a) if seed in seeds_b]
    pairs = []
    for seed, runs in first.items():
        others = list(b) if against_baseline else second.get(seed, [])
        if against_baseline:
            runs, others = _on_both_sides(runs, others, lambda run: run.row.seed)
        if others:
            pairs.append((mean_accuracy(runs), mean_accuracy(others)))
    return SEARCHES, pairs


def _share_runs(runs: Sequence[Run]) -> bool:
    """Whether two searches were retrained with a seed in common, and so stand against the same run of the guide's."""
    seeds = [run.row.seed for run in runs]
    return len(set(seeds)) < len(seeds)


def _paired_runs(name: str, a: Sequence[Run], b: Sequence[Run]) -> tuple[str, list[tuple[float, float]]]:
    """(unit, pairs) of the same runs at two milestones; the guide's configuration has no searches, only seeds."""
    if name != BASELINE:
        return _paired_values(*_on_both_sides(a, b, lambda run: (run.study.seed, run.row.seed)), against_baseline=False)
    first, second = _by_retraining_seed(a), _by_retraining_seed(b)
    return SEEDS, [(first[seed], second[seed]) for seed in sorted(first) if seed in second]


def _on_both_sides(a: Sequence[Run], b: Sequence[Run], key: Callable[[Run], Hashable]) -> tuple[list[Run], list[Run]]:
    """The runs of each side that the other has too, by `key`."""
    shared = {key(run) for run in a} & {key(run) for run in b}
    return [run for run in a if key(run) in shared], [run for run in b if key(run) in shared]


def _by_retraining_seed(runs: Sequence[Run]) -> dict[int, float]:
    return {run.row.seed: run.row.test_accuracy for run in runs}


def _shares_right(runs: Sequence[Run]) -> tuple[tuple[str, ...], np.ndarray] | None:
    """(files, share of the models that are right (n,)); None where predictions are missing or of other images."""
    kept = [run.predictions for run in runs if run.predictions is not None]
    if not kept or len(kept) < len(runs) or any(item.files != kept[0].files for item in kept):
        return None
    return kept[0].files, np.mean([item.probabilities.argmax(axis=1) == item.true for item in kept], axis=0)
