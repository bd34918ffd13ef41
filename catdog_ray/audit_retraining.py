"""What a study says of its retraining, checked before it may stand in a comparison.

Every run must be of the configuration that it names, and its rows, epochs and predictions must agree: a run that does
not would silently fall out of an estimate.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catdog_ray.ranges import Value
from catdog_ray.records import PredictionRow, RecordError, RetrainEpochRow, RetrainRow, TrialRow, trial_name

Run = tuple[str, int, int]
"""Configuration, seed and milestone."""

_IMAGES_APART = 2.5
"""Predicting and evaluating may round a tie differently, on an image or two."""


@dataclass(frozen=True)
class Predictions:
    """One retrained model on the test images, ordered by file: true classes (n,), probabilities (n, classes)."""

    files: tuple[str, ...]
    true: np.ndarray
    probabilities: np.ndarray


def whole_runs(
    retrain: Iterable[RetrainRow], epochs: Iterable[RetrainEpochRow], predictions: Iterable[PredictionRow]
) -> tuple[tuple[RetrainRow, ...], Iterable[PredictionRow]]:
    """What a cut session left whole: the predictions of a milestone are written first, then its row, then its epoch."""
    length: defaultdict[tuple[str, int], int] = defaultdict(int)
    for epoch in epochs:
        length[epoch.configuration, epoch.seed] = max(epoch.epoch, length[epoch.configuration, epoch.seed])
    kept = tuple(row for row in retrain if row.milestone <= length[row.configuration, row.seed])
    runs = {(row.configuration, row.seed, row.milestone) for row in kept}
    return kept, (row for row in predictions if (row.configuration, row.seed, row.milestone) in runs)


def check_runs(
    folder: Path,
    retrain: Sequence[RetrainRow],
    epochs: Sequence[RetrainEpochRow],
    *,
    trials: Sequence[TrialRow],
    baseline: Mapping[str, Value],
) -> None:
    """RecordError for a run that is there twice, lacks epochs, or is of another configuration than it says."""
    path = folder / "retrain.jsonl"
    by_number = {row.trial: row for row in trials}
    seen: dict[Run, RetrainRow] = {}
    for row in retrain:
        run = (row.configuration, row.seed, row.milestone)
        if run in seen:
            raise RecordError(f"{path}: {_words(run)} is there twice")
        seen[run] = row
        if row.test_images < 1:
            raise RecordError(f"{path}: {_words(run)}: test_images must be at least 1, got {row.test_images!r}")
        _check_configuration(f"{path}: {_words(run)}", row, by_number, baseline)
    _check_epochs(folder / "retrain-epochs.jsonl", seen, epochs)


def _check_configuration(
    where: str, row: RetrainRow, trials: Mapping[int, TrialRow], baseline: Mapping[str, Value]
) -> None:
    """A run is of the guide's configuration, of a trial, or of a trial that found the guide's configuration."""
    trial = None if row.trial is None else trials.get(row.trial)
    if row.trial is not None and trial is None:
        raise RecordError(f"{where}: is of trial {row.trial}, which is not in trials.jsonl")
    if row.configuration != "baseline" and (trial is None or row.configuration != trial_name(trial.trial)):
        raise RecordError(f"{where}: must be of the trial it names, got trial {row.trial!r}")
    if row.hyperparameters != (baseline if trial is None else trial.hyperparameters):
        raise RecordError(f"{where}: has other hyperparameters than {_source(row)}: {row.hyperparameters!r}")
    if row.configuration == "baseline" and row.hyperparameters != baseline:
        raise RecordError(f"{where}: has other hyperparameters than config.baseline: {row.hyperparameters!r}")
    if row.selection_objective != (None if trial is None else trial.objective):
        raise RecordError(
            f"{where}: selection_objective must be that of {_source(row)} "
            f"({None if trial is None else trial.objective!r}), got {row.selection_objective!r}"
        )


def _source(row: RetrainRow) -> str:
    return "config.baseline" if row.trial is None else f"trial {row.trial}"


def _check_epochs(path: Path, runs: Mapping[Run, RetrainRow], epochs: Sequence[RetrainEpochRow]) -> None:
    found: defaultdict[tuple[str, int], list[RetrainEpochRow]] = defaultdict(list)
    for epoch in sorted(epochs, key=lambda epoch: (epoch.configuration, epoch.seed, epoch.epoch)):
        mine = found[epoch.configuration, epoch.seed]
        mine.append(epoch)
        if epoch.epoch != len(mine):
            raise RecordError(
                f"{path}: {epoch.configuration}, seed {epoch.seed} has epoch {epoch.epoch} where {len(mine)} was due"
            )
    for run, row in sorted(runs.items()):
        mine = found[run[:2]]
        if len(mine) < row.milestone:
            raise RecordError(f"{path}: {_words(run)} has {len(mine)} epochs")


def check_accuracies(folder: Path, retrain: Sequence[RetrainRow], epochs: Sequence[RetrainEpochRow]) -> None:
    """RecordError where a run's test accuracy is not that of its epoch, as far as images are told apart."""
    measured = {(row.configuration, row.seed, row.epoch): row.test_accuracy for row in epochs}
    for row in retrain:
        run = (row.configuration, row.seed, row.milestone)
        if abs(measured[run] - row.test_accuracy) > _IMAGES_APART / row.test_images:
            raise RecordError(
                f"{folder / 'retrain.jsonl'}: {_words(run)}: test_accuracy is {row.test_accuracy!r}, "
                f"retrain-epochs.jsonl has {measured[run]!r}"
            )


def read_predictions(
    folder: Path, names: Sequence[str], retrain: Sequence[RetrainRow], rows: Iterable[PredictionRow]
) -> dict[Run, Predictions]:
    """By run; {} where the study keeps none. Where it keeps some, every run must have all its images."""
    path = folder / "predictions.jsonl"
    groups: defaultdict[Run, list[PredictionRow]] = defaultdict(list)
    for row in rows:
        values = row.probabilities
        if len(values) != len(names) or not all(type(v) in (int, float) and 0 <= v <= 1 for v in values):
            raise RecordError(f"{path}: {row.file} must have {len(names)} probabilities in 0 to 1, got {values!r}")
        if abs(math.fsum(values) - 1) > 1e-3:
            raise RecordError(f"{path}: the probabilities of {row.file} must add up to 1, got {values!r}")
        if not row.file.isprintable():
            raise RecordError(f"{path}: holds a name that cannot be printed, {row.file!r}")
        if row.true_class not in names:
            raise RecordError(f"{path}: {row.file}: true_class must be one of {list(names)}, got {row.true_class!r}")
        groups[row.configuration, row.seed, row.milestone].append(row)
    expected = {(row.configuration, row.seed, row.milestone): row for row in retrain}
    if groups and set(groups) != set(expected):
        odd = sorted(set(groups) ^ set(expected))[0]
        raise RecordError(f"{path}: {_words(odd)} stands in only one of retrain.jsonl and predictions.jsonl")
    found = {run: _one_run(path, names, group, expected[run]) for run, group in sorted(groups.items())}
    first = next(iter(found.values()), None)
    for run, item in found.items():
        if first is not None and (item.files != first.files or not np.array_equal(item.true, first.true)):
            raise RecordError(f"{path}: {_words(run)} is about other test images than {_words(next(iter(found)))}")
    return found


def _one_run(path: Path, names: Sequence[str], group: list[PredictionRow], run: RetrainRow) -> Predictions:
    group = sorted(group, key=lambda row: row.file)
    files = tuple(row.file for row in group)
    where = f"{path}: {_words((run.configuration, run.seed, run.milestone))}"
    if len(set(files)) != run.test_images or len(files) != run.test_images:
        raise RecordError(f"{where} must have {run.test_images} images once each, got {len(files)} rows")
    true = np.array([names.index(row.true_class) for row in group])
    probabilities = np.array([row.probabilities for row in group], np.float64)
    accuracy = float(np.mean(probabilities.argmax(axis=1) == true))
    if abs(accuracy - run.test_accuracy) > _IMAGES_APART / len(files):
        raise RecordError(f"{where}: predictions are right for {accuracy:.4f}, test_accuracy is {run.test_accuracy}")
    return Predictions(files, true, probabilities)


def _words(run: Run) -> str:
    return f"{run[0]}, seed {run[1]}, epoch {run[2]}"
