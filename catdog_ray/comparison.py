"""Studies side by side: every number that the tables, figures and the page show, made from rows alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from catdog_ray import audit, curves, early_stopping, evenness, groups, last_epochs, retrained
from catdog_ray.audit import Evidence
from catdog_ray.curves import AXES, Band, EpochCosts, StepCurve, TimeToTarget
from catdog_ray.early_stopping import EarlyStopping
from catdog_ray.evenness import Constant
from catdog_ray.groups import ComparisonError, Group
from catdog_ray.importance import importance, intervals
from catdog_ray.records import STATUSES, RecordError, TrialRow, best_trial
from catdog_ray.retrained import IMAGES, SEARCHES, Accuracy, Classified, Compared, Mistake, Run
from catdog_ray.statistics import ENOUGH_SEEDS, Estimate, estimate, paired_difference, unpaired_difference

TRAINING_FACTOR = 3
"""Multiply-adds of training on an image over those of its forward pass: the backward pass counts as two."""


@dataclass(frozen=True)
class LeftOut:
    """A study that was not compared, and why."""

    folder: str
    reason: str


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


@dataclass(frozen=True)
class Comparison:
    """All of it. `curves` holds one step curve per axis and search of each method, `bands` what they have in common.

    `common_epochs` is how many epochs every search ran: the shortest one's. `last_epochs` are differences in test
    accuracy by how many epochs it is averaged over, `jitter` is its standard deviation from epoch to epoch.
    `constant` is what always naming the largest class has on the test split, where the classes are uneven.
    """

    groups: tuple[Group, ...]
    left_out: tuple[LeftOut, ...]
    is_drawn: bool
    title: str
    methods: tuple[Method, ...]
    common_epochs: int
    curves: Mapping[str, tuple[Mapping[str, StepCurve], ...]]
    bands: Mapping[str, Mapping[str, Band | None]]
    reference: float | None
    target: float | None
    target_words: str
    times: Mapping[str, Mapping[str, TimeToTarget]]
    runs: Mapping[str, Mapping[int, Sequence[Run]]]
    accuracies: tuple[Accuracy, ...]
    constant: Constant | None
    searches_compared: tuple[Compared, ...]
    accuracies_compared: tuple[Compared, ...]
    milestones_compared: tuple[Compared, ...]
    images_compared: tuple[Compared, ...]
    last_epochs: Mapping[int, tuple[Compared, ...]]
    jitter: float | None
    importance: Mapping[str, Mapping[str, float] | None]
    importance_intervals: Mapping[str, Mapping[str, tuple[float, float]] | None]
    early_stopping: tuple[EarlyStopping, ...]
    classified: tuple[Classified, ...]
    mistakes: tuple[Mistake, ...]
    warnings: tuple[str, ...]


def read(folders: Sequence[Path], *, skip_bad: bool) -> tuple[list[Evidence], list[LeftOut]]:
    """The studies, and with `skip_bad` what was left out instead of raising RecordError."""
    found, left_out = [], []
    for folder in sorted({folder.resolve(): folder for folder in folders}.values(), key=str):
        try:
            found.append(audit.read(folder))
        except RecordError as error:
            if not skip_bad:
                raise RecordError(f"{error} (--skip-bad leaves such a study out)") from None
            left_out.append(LeftOut(folder.name, str(error).replace(f"{folder}/", "").replace(str(folder), "study")))
    if not found:
        raise ComparisonError(f"there is no study to compare; {len(left_out)} left out as damaged or half-written")
    return found, left_out


def compare(
    studies: Sequence[Evidence], left_out: Sequence[LeftOut] = (), *, target: float | None = None
) -> Comparison:
    """Everything. ComparisonError where the studies do not belong together.

    `target` is an objective; without one, the median of what the searches found, so that about half reach it.
    """
    found = groups.group(studies)
    paths = {item.name: tuple(_curves(study) for study in item.studies) for item in found}
    scores = [score for study in studies for score in [best_objective(study)] if score is not None]
    reference = max(scores, default=None)
    # Of one search the median is its own best, which says nothing.
    goal = target if target is not None else median(scores) if scores and len(studies) > 1 else None
    runs = retrained.runs_by_milestone(found)
    sampled = {item.name: _sampled(item) for item in found}
    lengths = [int(each["epochs"].end) for by_search in paths.values() for each in by_search if each["epochs"].at.size]
    common = min(lengths, default=0)
    first = found[0].studies[0]
    drawn = bool(first.facts["data"]["drawn"])
    return Comparison(
        groups=tuple(found),
        left_out=tuple(left_out),
        is_drawn=drawn,
        title=_title(found, drawn=drawn),
        methods=tuple(
            _method(item, reference, at=_best_at(item, paths[item.name], common), sampled=len(sampled[item.name]))
            for item in found
        ),
        common_epochs=common,
        curves=paths,
        bands={
            axis: {name: curves.band([each[axis] for each in by_search]) for name, by_search in paths.items()}
            for axis in AXES
        },
        reference=reference,
        target=goal,
        target_words="as asked" if target is not None else "the median of the best objectives found here",
        times={} if goal is None else {name: _times(each, goal) for name, each in paths.items()},
        runs=runs,
        accuracies=tuple(retrained.accuracies(runs)),
        constant=next(filter(None, (evenness.recorded(each.facts) for item in found for each in item.studies)), None),
        searches_compared=tuple(_compare_searches(found, paths, common)),
        accuracies_compared=tuple(retrained.compare_accuracies(runs)),
        milestones_compared=tuple(retrained.compare_milestones(runs)),
        images_compared=tuple(retrained.compare_images(runs)),
        last_epochs=last_epochs.differences(runs),
        jitter=last_epochs.jitter(runs),
        importance={name: importance(rows, first.space) for name, rows in sampled.items()},
        importance_intervals={name: intervals(rows, first.space) for name, rows in sampled.items()},
        early_stopping=tuple(early_stopping.replayed(found)),
        classified=tuple(retrained.classified(runs)),
        mistakes=tuple(retrained.mistakes(runs)),
        warnings=tuple(_warnings(found, runs, left_out)),
    )


def is_shown(comparison: Comparison, item: Compared) -> bool:
    """Whether a difference between the methods is shown.

    Two trained models may well differ on the test images because their seeds do. So a difference over images counts
    for the methods only where the one over seeds leaves out zero as well.
    """
    if item.unit != IMAGES:
        return item.difference.is_shown
    key = (item.first, item.second, item.milestone)
    over_seeds = [each for each in comparison.accuracies_compared if (each.first, each.second, each.milestone) == key]
    return item.difference.is_shown and any(each.difference.is_shown for each in over_seeds)


def is_impression(item: Compared) -> bool:
    """Whether a difference is of too few searches to claim anything of methods."""
    return item.unit == SEARCHES and item.difference.n < ENOUGH_SEEDS


def training_cost(study: Evidence, multiply_adds: int) -> float:
    """Multiply-adds of one epoch: training on the training images, and the selection images once forward."""
    images = study.facts["data"]
    return float(multiply_adds) * (TRAINING_FACTOR * images["train_images"] + images["selection_images"])


def _curves(study: Evidence) -> Mapping[str, StepCurve]:
    return curves.best_so_far(study.trials, _costs(study))


def _costs(study: Evidence) -> EpochCosts:
    seconds = [study.courses[row.trial].elapsed_s for row in study.trials]
    costs = [np.full(row.epochs, training_cost(study, row.multiply_adds or 0)) for row in study.trials]
    return EpochCosts(np.concatenate([*seconds, np.empty(0)]), np.concatenate([*costs, np.empty(0)]))


def best_objective(study: Evidence) -> float | None:
    """Of the search; None where no trial has a score."""
    best = best_trial(study.trials)
    return None if best is None else best.objective


def _best_at(found: Group, paths: Sequence[Mapping[str, StepCurve]], epochs: int) -> dict[int, float]:
    """The best objective of each search (by seed) when it had run so many epochs; without those that had none."""
    values = [float(each["epochs"].on(np.array([float(epochs)]))[0]) for each in paths]
    return {seed: value for seed, value in zip(found.seeds, values, strict=True) if np.isfinite(value)}


def _sampled(found: Group) -> list[TrialRow]:
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


def _method(found: Group, reference: float | None, *, at: Mapping[int, float], sampled: int) -> Method:
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


def _hours(found: Group, seconds: Sequence[float], fact: str) -> Estimate | None:
    """None where a study does not say what its nodes had, or knows of its head alone, on which nothing ran."""
    hours = []
    for study, held in zip(found.studies, seconds, strict=True):
        nodes = study.facts["nodes"]
        if any(node.get(fact) is None for node in nodes) or not sum(node.get("ray_cpus") or 0 for node in nodes):
            return None
        hours.append(held / 3600 * sum(node[fact] for node in nodes))
    return estimate(hours, cut=False)


def _times(paths: Sequence[Mapping[str, StepCurve]], goal: float) -> dict[str, TimeToTarget]:
    return {axis: curves.time_to_target([each[axis] for each in paths], goal) for axis in AXES}


def _compare_searches(
    found: Sequence[Group], paths: Mapping[str, Sequence[Mapping[str, StepCurve]]], common: int
) -> list[Compared]:
    """The best objectives of every two methods, paired by seed: at equal epochs, then at the ends of the searches."""
    ends = {
        item.name: {s.seed: score for s in item.studies for score in [best_objective(s)] if score is not None}
        for item in found
    }
    equal = {item.name: _best_at(item, paths[item.name], common) for item in found}
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


def _title(found: Sequence[Group], *, drawn: bool) -> str:
    facts = found[0].studies[0].facts
    labels = sorted({str(study.facts["label"]) for item in found for study in item.studies})
    data = "drawn data" if drawn else str(facts["data"]["name"])
    return f"{'; '.join(item.name for item in found)}: {data}, {' / '.join(labels)}"


def _warnings(
    found: Sequence[Group], runs: Mapping[str, Mapping[int, Sequence[Run]]], left_out: Sequence[LeftOut]
) -> list[str]:
    texts = []
    for count in sorted({len(item.studies) for item in found if len(item.studies) < ENOUGH_SEEDS}):
        names = [item.name for item in found if len(item.studies) == count]
        texts.append(
            f"{'; '.join(names)}: {count} of the {ENOUGH_SEEDS} seeds that a claim about searches needs; what is "
            f"said of {'them' if len(names) > 1 else 'it'} here is an impression"
        )
    for item in found:
        silent = [study.name for study in item.studies if best_objective(study) is None]
        if silent:
            texts.append(f"{item.name}: no trial has a score in {', '.join(silent)}; left out of all estimates")
        cut = [study.name for study in item.studies if audit.retraining_was_interrupted(study.folder, study.facts)]
        if cut:
            texts.append(
                f"{item.name}: the retraining of {', '.join(cut)} is not finished; n says how many runs there are"
            )
        lost = {
            (study.name, row.configuration, row.seed) for study in item.studies for row in study.retrain_failures
        } - {(study.name, row.configuration, row.seed) for study in item.studies for row in study.retrain}
        if lost:
            texts.append(f"{item.name}: {len(lost)} retraining runs were lost and are in no estimate")
        if any(run.predictions is None for each in runs.get(item.name, {}).values() for run in each):
            texts.append(f"{item.name}: predictions are missing; nothing is said of single test images")
    apart = [
        f"{first.name} and {second.name}"
        for first, second in itertools.combinations(found, 2)
        if not set(first.seeds) & set(second.seeds)
    ]
    if apart:
        texts.append(f"no seed in common, so nothing is paired by it: {'; '.join(apart)}")
    machines = {_machine(study) for item in found for study in item.studies}
    if len(machines) > 1:
        texts.append(f"wall-clock and hours are of {len(machines)} kinds of machine: {'; '.join(sorted(machines))}")
    backends = {str(study.facts["backend"]) for item in found for study in item.studies if study.facts.get("backend")}
    if len(backends) > 1:
        texts.append(f"Keras ran on {len(backends)} backends, whose seeds are no pairs: {', '.join(sorted(backends))}")
    commits = {str(study.facts.get("commit")) for item in found for study in item.studies}
    if len(commits) > 1:
        texts.append(f"the studies were made by {len(commits)} states of the code")
    if left_out:
        texts.append(f"{len(left_out)} studies were left out as damaged or half-written (named below)")
    return texts


def _machine(study: Evidence) -> str:
    def count(value: float | None) -> str:
        # Ray counts in floats, the stock tuner's one process in integers.
        return "?" if value is None else f"{value:g}"

    nodes = [
        f"{count(node.get('ray_cpus'))} CPUs, {count(node.get('ray_gpus'))} GPUs of {node.get('cpu_model', '?')}"
        for node in study.facts["nodes"]
    ]
    return " + ".join(sorted(nodes)) or "unknown"
