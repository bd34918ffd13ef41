"""What searches say: what each method spent and found, and how far the best objectives lie apart."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from catdog_ray import curves, early_stopping
from catdog_ray.audit import Evidence
from catdog_ray.curves import AXES, EpochCosts, StepCurve, TimeToTarget
from catdog_ray.differences import Compared
from catdog_ray.groups import Group
from catdog_ray.records import STATUSES, TrialRow, best_trial
from catdog_ray.retrained import SEARCHES
from catdog_ray.statistics import Estimate, estimate, paired_difference, unpaired_difference

TRAINING_FACTOR = 3
"""Multiply-adds of training on an image over those of its forward pass: the backward pass counts as two."""


@dataclass(frozen=True)
class Method:
    """What the searches of one method spent and found; estimates are over searches, hours too.

    `stopped` counts trials that early stopping ended, `cut` those that the time budget ended, `sampled` those whose
    importance is worked out. `best_at` is the best objective after `Comparison.common_epochs`.
    `cpu_hours` are the search's wall-clock times the CPUs of its nodes: what was held, busy or not.
    """

    name: str
    method: str
    studies: tuple[str, ...]
    seeds: tuple[int, ...]
    trials: int
    completed: int
    stopped: int
    cut: int
    failed: int
    sampled: int
    epochs: Estimate
    multiply_adds: Estimate
    seconds: Estimate
    cpu_hours: Estimate | None
    gpu_hours: Estimate | None
    best: Estimate | None
    best_at: Estimate | None
    without_score: int
    regret: Estimate | None
    suggestions: int
    suggestion_seconds: float | None
    suggestion_share: float


def best_objective(study: Evidence) -> float | None:
    """Of the search; None where no trial has a score."""
    best = best_trial(study.trials)
    return None if best is None else best.objective


def training_cost(study: Evidence, multiply_adds: int) -> float:
    """Multiply-adds of one epoch: training on the training images, and the selection images once forward."""
    images = study.facts["data"]
    return float(multiply_adds) * (TRAINING_FACTOR * images["train_images"] + images["selection_images"])


def step_curves(study: Evidence) -> Mapping[str, StepCurve]:
    """The best objective so far over each axis of spending."""
    return curves.best_so_far(study.trials, _costs(study))


def best_at(found: Group, paths: Sequence[Mapping[str, StepCurve]], epochs: int) -> dict[int, float]:
    """The best objective of each search (by seed) when it had run so many epochs; without those that had none."""
    values = [float(each["epochs"].on(np.array([float(epochs)]))[0]) for each in paths]
    return {seed: value for seed, value in zip(found.seeds, values, strict=True) if np.isfinite(value)}


def sampled(found: Group) -> list[TrialRow]:
    """Trials that tell of the space: chosen by the method, and ended by themselves or by early stopping."""
    return [
        row
        for study in found.studies
        for cut in [early_stopping.cut_by_time(study)]
        for given in [study.facts["config"]["baseline"]]
        for row in study.trials
        # A trial that was begun again after a crash has no time of its suggestion either, but it was suggested.
        if row.hyperparameters != given and row.trial not in cut and row.status != "failed"
    ]


def method(found: Group, reference: float | None, *, at: Mapping[int, float], sampled: int) -> Method:
    """All of it; `at` are best objectives by seed, `reference` is the best one of all methods."""
    rows = [row for study in found.studies for row in study.trials]
    scores = [score for study in found.studies for score in [best_objective(study)] if score is not None]
    seconds = [max(row.elapsed_s for row in study.trials) for study in found.studies]
    suggested = [row.suggestion_seconds for row in rows if row.suggestion_seconds is not None]
    counts = {status: sum(row.status == status for row in rows) for status in STATUSES}
    cut = sum(len(early_stopping.cut_by_time(study)) for study in found.studies)
    return Method(
        name=found.name,
        method=found.method,
        studies=tuple(study.name for study in found.studies),
        seeds=found.seeds,
        trials=len(rows),
        **(counts | {"stopped": counts["stopped"] - cut}),
        cut=cut,
        sampled=sampled,
        epochs=estimate([float(sum(row.epochs for row in study.trials)) for study in found.studies], cut=False),
        multiply_adds=estimate([float(_costs(study).multiply_adds.sum()) for study in found.studies], cut=False),
        seconds=estimate(seconds, cut=False),
        cpu_hours=_hours(found, seconds, "ray_cpus"),
        gpu_hours=_hours(found, seconds, "ray_gpus"),
        best=estimate(scores) if scores else None,
        best_at=estimate(list(at.values())) if at else None,
        without_score=len(found.studies) - len(scores),
        regret=None if reference is None or not scores else estimate([reference - score for score in scores]),
        suggestions=len(suggested),
        suggestion_seconds=sum(suggested) / len(suggested) if suggested else None,
        suggestion_share=sum(suggested) / sum(seconds) if sum(seconds) else 0.0,
    )


def times(paths: Sequence[Mapping[str, StepCurve]], goal: float) -> dict[str, TimeToTarget]:
    """By axis, what the searches of one method spent until they held the objective `goal`."""
    return {axis: curves.time_to_target([each[axis] for each in paths], goal) for axis in AXES}


def compare(
    found: Sequence[Group], paths: Mapping[str, Sequence[Mapping[str, StepCurve]]], common: int
) -> list[Compared]:
    """The best objectives of every two methods, paired by seed: at equal epochs, then at the ends of the searches."""
    ends = {
        item.name: {s.seed: score for s in item.studies for score in [best_objective(s)] if score is not None}
        for item in found
    }
    equal = {item.name: best_at(item, paths[item.name], common) for item in found}
    is_equal = all(each["epochs"].end == common for by_search in paths.values() for each in by_search)
    result = []
    for epochs, scores in ((None, ends),) if is_equal else ((common, equal), (None, ends)):
        for first, second in itertools.combinations(scores, 2):
            seeds = [seed for seed in scores[first] if seed in scores[second]]
            if seeds:
                a, b = ([scores[name][seed] for seed in seeds] for name in (first, second))
                differences = paired_difference(a, b), unpaired_difference(a, b)
                result.append(Compared("best objective", epochs, first, second, SEARCHES, *differences))
    return result


def _costs(study: Evidence) -> EpochCosts:
    seconds = [study.courses[row.trial].elapsed_s for row in study.trials]
    costs = [np.full(row.epochs, training_cost(study, row.multiply_adds or 0)) for row in study.trials]
    return EpochCosts(np.concatenate([*seconds, np.empty(0)]), np.concatenate([*costs, np.empty(0)]))


def _hours(found: Group, seconds: Sequence[float], fact: str) -> Estimate | None:
    """None where a study does not say what its nodes had, or knows of its head alone, on which nothing ran."""
    hours = []
    for study, held in zip(found.studies, seconds, strict=True):
        nodes = study.facts["nodes"]
        if any(node.get(fact) is None for node in nodes) or not sum(node.get("ray_cpus") or 0 for node in nodes):
            return None
        hours.append(held / 3600 * sum(node[fact] for node in nodes))
    return estimate(hours, cut=False)
