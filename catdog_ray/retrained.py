"""What retraining says: test accuracy per method and milestone, and the trained models on the test images."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catdog_ray.audit import Evidence
from catdog_ray.audit_retraining import Predictions
from catdog_ray.groups import Group
from catdog_ray.records import RetrainEpochRow, RetrainRow, best_trial
from catdog_ray.statistics import (
    Calibration,
    Estimate,
    calibration,
    confusion_matrix,
    estimate,
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


Runs = Mapping[str, Mapping[int, Sequence[Run]]]
"""Retrained models by configuration and milestone."""


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


def accuracies(runs: Runs) -> list[Accuracy]:
    """One entry per method and milestone, the guide's configuration last."""
    return [
        _accuracy(name, milestone, chosen)
        for name, milestones in runs.items()
        for milestone, chosen in milestones.items()
    ]


def classified(runs: Runs) -> list[Classified]:
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


def mistakes(runs: Runs, *, most: int = 8) -> list[Mistake]:
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
    searches = by_search(chosen)
    unit = SEARCHES if len(searches) > 1 and name != BASELINE else SEEDS
    units = list(searches.values()) if unit == SEARCHES else [[run] for run in chosen]

    def over_units(field: str) -> Estimate:
        return estimate([_mean([getattr(run.row, field) for run in runs]) for runs in units])

    gaps = [
        objective - mean_accuracy(runs)
        for runs in searches.values()
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


def by_search(chosen: Sequence[Run]) -> dict[int, list[Run]]:
    """Runs by the seed of their search, the retraining seeds rising."""
    found: dict[int, list[Run]] = {}
    for run in sorted(chosen, key=lambda run: (run.study.seed, run.row.seed)):
        found.setdefault(run.study.seed, []).append(run)
    return found


def mean_accuracy(runs: Sequence[Run]) -> float:
    """The mean test accuracy of runs."""
    return _mean([run.row.test_accuracy for run in runs])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
