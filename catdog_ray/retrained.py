"""What retraining says: test accuracy per method and milestone, and the trained models on the test images."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catdog_ray.audit import Evidence
from catdog_ray.audit_retraining import Predictions
from catdog_ray.groups import Group
from catdog_ray.records import RetrainEpochRow, RetrainRow, best_trial
from catdog_ray.statistics import (
    Calibration,
    Difference,
    Estimate,
    calibration,
    confusion_matrix,
    estimate,
    paired_bootstrap,
    paired_difference,
    unpaired_difference,
)

BASELINE = "baseline"
SEARCHES, SEEDS, IMAGES = "searches", "retraining seeds", "test images"


@dataclass(frozen=True)
class Run:
    """One retrained model: the study it comes from, and its row."""

    study: Evidence
    row: RetrainRow

    @property
    def predictions(self) -> Predictions | None:
        """Its probabilities on the test images, where the study keeps them."""
        return self.study.predictions.get((self.row.configuration, self.row.seed, self.row.milestone))


@dataclass(frozen=True)
class Accuracy:
    """The best configuration of one method (or the guide's) at one milestone.

    `n` of the estimates counts `unit`: searches, each by the mean over its retraining seeds, or where there is one
    search only (and for the guide's configuration) retraining seeds.
    """

    name: str
    milestone: int
    unit: str
    runs: int
    train: Estimate
    clean_train: Estimate
    test: Estimate
    optimism: Estimate | None
    test_images: int


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


@dataclass(frozen=True)
class Classified:
    """The models of one method at a milestone, pooled: `runs` models on the same test images.

    `together` is the accuracy of the mean of their probabilities, `loss` the test loss over runs.
    """

    name: str
    milestone: int
    runs: int
    confusion: np.ndarray
    calibration: Calibration
    together: float | None
    loss: Estimate | None


@dataclass(frozen=True)
class Mistake:
    """A test image that the models of one method get wrong, by their mean probability for the wrong class."""

    name: str
    file: str
    true_class: str
    predicted_class: str
    probability: float


def runs_by_milestone(groups: Sequence[Group]) -> dict[str, dict[int, list[Run]]]:
    """The runs of each method's best configuration, and of the guide's (each retraining seed once), by milestone."""
    found: dict[str, dict[int, list[Run]]] = {}
    baseline: dict[int, dict[int, Run]] = defaultdict(dict)
    for group in groups:
        tuned: dict[int, list[Run]] = defaultdict(list)
        for study in group.studies:
            best = best_trial(study.trials)
            for row in sorted(study.retrain, key=lambda row: (row.milestone, row.seed)):
                if best is not None and row.hyperparameters == best.hyperparameters:
                    tuned[row.milestone].append(Run(study, row))
                if row.hyperparameters == _baseline(study):
                    # Two searches retrain the same baseline with the same seed: that is one run, not two.
                    baseline[row.milestone].setdefault(row.seed, Run(study, row))
        found[group.name] = dict(sorted(tuned.items()))
    found[BASELINE] = {
        milestone: [by_seed[s] for s in sorted(by_seed)] for milestone, by_seed in sorted(baseline.items())
    }
    return {name: milestones for name, milestones in found.items() if milestones}


def accuracies(runs: Mapping[str, Mapping[int, Sequence[Run]]]) -> list[Accuracy]:
    """One entry per method and milestone, the guide's configuration last."""
    return [
        _accuracy(name, milestone, chosen)
        for name, milestones in runs.items()
        for milestone, chosen in milestones.items()
    ]


def compare_accuracies(runs: Mapping[str, Mapping[int, Sequence[Run]]]) -> list[Compared]:
    """Test accuracies of every two methods, paired over search seeds (or over retraining seeds of one search each)."""
    found = []
    for first, second, milestone in _pairs(runs):
        a, b = runs[first][milestone], runs[second][milestone]
        unit, pairs = _paired_values(a, b, against_baseline=second == BASELINE)
        if not pairs:
            continue
        if second == BASELINE and unit == SEARCHES and _share_runs(a):
            # Pairs with a run in common are not independent of each other.
            own = [_mean_accuracy(each) for each in _by_search(a).values()]
            differences = [unpaired_difference(own, [run.row.test_accuracy for run in b])]
        else:
            sides = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            differences = [paired_difference(*sides), unpaired_difference(*sides)]
        found.append(Compared("test accuracy", milestone, first, second, unit, *differences))
    return found


def compare_milestones(runs: Mapping[str, Mapping[int, Sequence[Run]]]) -> list[Compared]:
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


def compare_images(runs: Mapping[str, Mapping[int, Sequence[Run]]]) -> list[Compared]:
    """The trained models of every two methods on the test images, paired by image.

    Per image the share of a method's models that are right, then the bootstrap over images.
    """
    found = []
    for first, second, milestone in _pairs(runs):
        a, b = _shares_right(runs[first][milestone]), _shares_right(runs[second][milestone])
        if a is not None and b is not None and a[0] == b[0]:
            found.append(Compared("test accuracy", milestone, first, second, IMAGES, paired_bootstrap(a[1] - b[1])))
    return found


def classified(runs: Mapping[str, Mapping[int, Sequence[Run]]]) -> list[Classified]:
    """Confusion matrix and calibration of each method's models, at the last milestone that all have (or their own)."""
    found = []
    common = set.intersection(*(set(milestones) for milestones in runs.values())) if runs else set()
    for name, milestones in runs.items():
        last = max(common or milestones)
        kept = [run.predictions for run in milestones[last] if run.predictions is not None]
        if not kept:
            continue
        true = np.concatenate([item.true for item in kept])
        probabilities = np.concatenate([item.probabilities for item in kept])
        matrix = confusion_matrix(true, probabilities.argmax(axis=1), classes=probabilities.shape[1])
        together = None
        if all(item.files == kept[0].files for item in kept):
            mean = np.mean([item.probabilities for item in kept], axis=0)
            together = float(np.mean(mean.argmax(axis=1) == kept[0].true))
        losses = [run.row.test_loss for run in milestones[last] if run.row.test_loss is not None]
        loss = estimate(losses, cut=False) if losses else None
        found.append(Classified(name, last, len(kept), matrix, calibration(probabilities, true), together, loss))
    return found


def mistakes(runs: Mapping[str, Mapping[int, Sequence[Run]]], *, most: int = 8) -> list[Mistake]:
    """Per method the images whose mean probability over its models is highest for a wrong class, at most `most`."""
    found = []
    for name, milestones in runs.items():
        kept = [run for run in milestones[max(milestones)] if run.predictions is not None]
        predictions = [run.predictions for run in kept if run.predictions is not None]
        if not predictions or any(item.files != predictions[0].files for item in predictions):
            continue
        classes = kept[0].study.facts["data"]["class_names"]
        mean = np.mean([item.probabilities for item in predictions], axis=0)
        true, guessed, surest = predictions[0].true, mean.argmax(axis=1), mean.max(axis=1)
        wrong = sorted(np.flatnonzero(guessed != true), key=lambda i: (-surest[i], predictions[0].files[i]))
        found += [
            Mistake(name, predictions[0].files[i], classes[true[i]], classes[guessed[i]], float(surest[i]))
            for i in wrong[:most]
        ]
    return found


def epochs_of(runs: Sequence[Run]) -> list[list[RetrainEpochRow]]:
    """The epochs of each run, rising."""
    by_run: dict[tuple[Path, str, int], list[RetrainEpochRow]] = defaultdict(list)
    for study in {run.study.folder: run.study for run in runs}.values():
        for row in study.retrain_epochs:
            by_run[study.folder, row.configuration, row.seed].append(row)
    chosen = [by_run[run.study.folder, run.row.configuration, run.row.seed] for run in runs]
    return [sorted(rows, key=lambda row: row.epoch) for rows in chosen]


def _baseline(study: Evidence) -> dict[str, object]:
    values = study.facts["config"]["baseline"]
    return {name: values.get(name) for name in study.space}


def _baseline_objective(study: Evidence) -> float | None:
    """Of the guide's configuration in a search, where it ran to full length: chosen by nobody, so without a bias."""
    full = study.facts["config"]["search"]["max_epochs"]
    own = _baseline(study)
    found = [row.objective for row in study.trials if row.hyperparameters == own and row.epochs == full]
    return found[0] if found else None


def _accuracy(name: str, milestone: int, chosen: Sequence[Run]) -> Accuracy:
    by_search = _by_search(chosen)
    unit = SEARCHES if len(by_search) > 1 and name != BASELINE else SEEDS
    units = list(by_search.values()) if unit == SEARCHES else [[run] for run in chosen]

    def over_units(field: str) -> Estimate:
        return estimate([_mean([getattr(run.row, field) for run in runs]) for runs in units])

    gaps = [
        objective - _mean([run.row.test_accuracy for run in runs])
        for runs in by_search.values()
        for objective in [_baseline_objective(runs[0].study) if name == BASELINE else runs[0].row.selection_objective]
        if objective is not None
    ]
    return Accuracy(
        name,
        milestone,
        unit,
        len(chosen),
        over_units("train_accuracy"),
        over_units("clean_train_accuracy"),
        over_units("test_accuracy"),
        estimate(gaps, cut=False) if gaps else None,
        chosen[0].row.test_images,
    )


def _by_search(chosen: Sequence[Run]) -> dict[int, list[Run]]:
    found: dict[int, list[Run]] = {}
    for run in sorted(chosen, key=lambda run: (run.study.seed, run.row.seed)):
        found.setdefault(run.study.seed, []).append(run)
    return found


def _pairs(runs: Mapping[str, Mapping[int, Sequence[Run]]]) -> list[tuple[str, str, int]]:
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
    first, second = _by_search(a), _by_search(b)
    if len(first) == 1 and (against_baseline or len(second) == 1):
        seeds_a, seeds_b = _by_retraining_seed(a), _by_retraining_seed(b)
        return SEEDS, [(seeds_a[seed], seeds_b[seed]) for seed in sorted(seeds_a) if seed in seeds_b]
    pairs = []
    for seed, runs in first.items():
        others = list(b) if against_baseline else second.get(seed, [])
        if against_baseline:
            runs, others = _on_both_sides(runs, others, lambda run: run.row.seed)
        if others:
            pairs.append((_mean_accuracy(runs), _mean_accuracy(others)))
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


def _mean_accuracy(runs: Sequence[Run]) -> float:
    return _mean([run.row.test_accuracy for run in runs])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
