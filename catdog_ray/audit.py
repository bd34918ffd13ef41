"""One study read whole and checked before it may stand in a comparison.

Whatever a later figure leans on is checked here, so that a damaged, half-written or differently scored study is named
instead of shown. What is left is held in arrays: thousands of trials fit in memory.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from catdog_ray.ledger import RecordError, RowFile, StudyDirectory
from catdog_ray.records import (
    OBJECTIVE,
    STATUSES,
    PredictionRow,
    RetrainEpochRow,
    RetrainFailure,
    RetrainRow,
    TrialEpochRow,
    TrialRow,
    objective,
)
from catdog_ray.settings import Choice, FloatRange, Range, contains, describe

Run = tuple[str, int, int]
"""Configuration, seed and milestone."""

_RULE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Course:
    """One trial's epochs: selection accuracy (n,), and when each arrived, in seconds since the search began (n,)."""

    accuracies: np.ndarray
    elapsed_s: np.ndarray


@dataclass(frozen=True)
class Predictions:
    """One retrained model on the test images, ordered by file: true classes (n,), probabilities (n, classes)."""

    files: tuple[str, ...]
    true: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """A finished study whose rows agree with each other and with its facts. `trials` are ordered by number."""

    folder: Path
    facts: Mapping[str, Any]
    space: Mapping[str, Range]
    trials: tuple[TrialRow, ...]
    courses: Mapping[int, Course]
    retrain: tuple[RetrainRow, ...]
    retrain_epochs: tuple[RetrainEpochRow, ...]
    retrain_failures: tuple[RetrainFailure, ...]
    predictions: Mapping[Run, Predictions]

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self.facts["name"])

    @property
    def method(self) -> str:
        """How configurations were proposed."""
        return str(self.facts["method"])

    @property
    def seed(self) -> int:
        """The seed of search and training."""
        return int(self.facts["config"]["seed"])


def read(folder: Path) -> Evidence:
    """The study in `folder`. RecordError names the first thing that is missing, damaged or contradicts another."""
    try:
        return _read(folder)
    except OSError as error:
        raise RecordError(f"{error.filename or folder}: cannot be read ({error.strerror})") from None


def _read(folder: Path) -> Evidence:
    study = StudyDirectory(folder)
    facts = study.read_study()
    _check_facts(folder, facts)
    space = _space(folder, facts["config"]["space"])
    trials = tuple(sorted(_rows(study.trials), key=lambda row: row.trial))
    wanted = facts["config"]["search"]["num_samples"]
    numbers = [row.trial for row in trials]
    # A time budget may end a search before all have begun.
    is_cut = facts["config"]["search"].get("time_budget_s") is not None
    if numbers != list(range(wanted)) and not (
        is_cut and len(set(numbers)) == len(numbers) and numbers[-1:] < [wanted]
    ):
        raise RecordError(
            f"{folder / 'trials.jsonl'}: must hold trials 0 to {wanted - 1} once each (search.num_samples), "
            f"got {len(trials)} rows of {len({row.trial for row in trials})} trials"
        )
    courses = _courses(folder, trials, _rows(study.epochs))
    _check_trials(folder, facts, space, trials, courses)
    retrain = tuple(_rows(study.retrain))
    retrain_epochs = tuple(_rows(study.retrain_epochs))
    _check_retraining(folder, retrain, retrain_epochs)
    predictions = _predictions(folder, facts, retrain, _rows(study.predictions))
    failures = tuple(_rows(study.retrain_failures))
    return Evidence(folder, facts, space, trials, courses, retrain, retrain_epochs, failures, predictions)


_FACTS: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "label": (str,),
    "method": (str,),
    "objective": (str,),
    "state": (str,),
    "nodes": (list,),
    "data.name": (str,),
    "data.drawn": (bool,),
    "data.fingerprint": (str,),
    "data.class_names": (list,),
    "data.train_images": (int,),
    "data.selection_images": (int,),
    "data.test_images": (int,),
    "config.seed": (int,),
    "config.space": (dict,),
    "config.baseline": (dict,),
    "config.data": (dict,),
    "config.search.num_samples": (int,),
    "config.search.max_epochs": (int,),
    "config.search.scoring_window": (int,),
}
"""What a comparison needs of study.json."""


def _check_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    path = folder / "study.json"
    for name, kinds in _FACTS.items():
        value: Any = facts
        for part in name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise RecordError(f"{path}: {name} is missing")
            value = value[part]
        if type(value) not in kinds:
            raise RecordError(f"{path}: {name} must be {kinds[0].__name__}, got {value!r}")
    for name, kind, items in (("nodes", dict, facts["nodes"]), ("data.class_names", str, facts["data"]["class_names"])):
        if not all(type(item) is kind for item in items):
            raise RecordError(f"{path}: {name} must hold {kind.__name__} only, got {items!r}")
    if facts["state"] != "finished":
        raise RecordError(f"{folder}: is half-written (state {facts['state']!r}); go on with it by --resume")
    rule = OBJECTIVE.format(window=facts["config"]["search"]["scoring_window"])
    if facts["objective"] != rule:
        raise RecordError(f"{path}: objective must be the one rule ({rule!r}), got {facts['objective']!r}")


def _space(folder: Path, raw: Mapping[str, Any]) -> dict[str, Range]:
    found: dict[str, Range] = {}
    for name, item in raw.items():
        try:
            if "choices" in item:
                found[name] = Choice(tuple(item["choices"]))
            else:
                found[name] = FloatRange(float(item["low"]), float(item["high"]), str(item["scale"]))
        except (KeyError, TypeError, ValueError):
            raise RecordError(f"{folder / 'study.json'}: config.space.{name} is no range: {item!r}") from None
    return found


def _rows(file: RowFile[Any]) -> list[Any]:
    """All rows. RecordError for a torn last line too, which a study that goes on would cut off."""
    if not _ends_whole(file.path):
        raise RecordError(f"{file.path}: is half-written (its last line has no end)")
    return file.read()


def _ends_whole(path: Path) -> bool:
    """Whether the last line has its end."""
    if not path.exists() or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() == b"\n"


def _courses(folder: Path, trials: Sequence[TrialRow], rows: Iterable[TrialEpochRow]) -> dict[int, Course]:
    path = folder / "epochs.jsonl"
    known = {row.trial: row for row in trials}
    accuracies: defaultdict[int, list[float]] = defaultdict(list)
    moments: defaultdict[int, list[float]] = defaultdict(list)
    for row in rows:
        found = accuracies[row.trial]
        if row.epoch != len(found) + 1:
            raise RecordError(f"{path}: trial {row.trial} has epoch {row.epoch} where {len(found) + 1} was due")
        if row.trial not in known:
            raise RecordError(f"{path}: trial {row.trial} has epochs and no end in trials.jsonl")
        if row.hyperparameters != known[row.trial].hyperparameters:
            raise RecordError(f"{path}: trial {row.trial} has other hyperparameters than in trials.jsonl")
        found.append(row.selection_accuracy)
        moments[row.trial].append(row.elapsed_s)
    return {number: Course(np.array(accuracies.get(number, [])), np.array(moments.get(number, []))) for number in known}


def _check_trials(
    folder: Path,
    facts: Mapping[str, Any],
    space: Mapping[str, Range],
    trials: Sequence[TrialRow],
    courses: Mapping[int, Course],
) -> None:
    path, search = folder / "trials.jsonl", facts["config"]["search"]
    for row in trials:
        where = f"{path}: trial {row.trial}"
        _check_point(where, row, space)
        done = courses[row.trial].accuracies.tolist()
        if row.status not in STATUSES:
            raise RecordError(f"{where}: status must be one of {', '.join(STATUSES)}, got {row.status!r}")
        if row.epochs != len(done):
            raise RecordError(f"{where}: epochs is {row.epochs}, epochs.jsonl has {len(done)}")
        if (row.status == "completed") != (row.epochs == search["max_epochs"]) and row.status != "failed":
            raise RecordError(f"{where}: is {row.status} after {row.epochs} of {search['max_epochs']} epochs")
        if done and (row.multiply_adds is None or row.multiply_adds < 1):
            raise RecordError(f"{where}: multiply_adds must be above 0, got {row.multiply_adds!r}")
        rule = objective(done, window=search["scoring_window"]) if done else None
        if row.status == "failed" and row.objective is None:
            continue
        if rule is None or row.objective is None or abs(row.objective - rule) > _RULE_TOLERANCE:
            raise RecordError(
                f"{where}: objective is {row.objective!r}, its epochs give {rule!r} by the rule all methods share"
            )


def _check_point(where: str, row: TrialRow, space: Mapping[str, Range]) -> None:
    if set(row.hyperparameters) != set(space):
        raise RecordError(f"{where}: hyperparameters must be {', '.join(space)}, got {', '.join(row.hyperparameters)}")
    for name, found in space.items():
        if not contains(found, row.hyperparameters[name]):
            raise RecordError(f"{where}: {name} must lie in {describe(found)}, got {row.hyperparameters[name]!r}")


def _check_retraining(folder: Path, retrain: Sequence[RetrainRow], epochs: Sequence[RetrainEpochRow]) -> None:
    seen: set[Run] = set()
    for row in retrain:
        run = (row.configuration, row.seed, row.milestone)
        if run in seen:
            raise RecordError(f"{folder / 'retrain.jsonl'}: {_words(run)} is there twice")
        seen.add(run)
    done: defaultdict[tuple[str, int], int] = defaultdict(int)
    for epoch in sorted(epochs, key=lambda epoch: (epoch.configuration, epoch.seed, epoch.epoch)):
        run_of = (epoch.configuration, epoch.seed)
        done[run_of] += 1
        if epoch.epoch != done[run_of]:
            raise RecordError(
                f"{folder / 'retrain-epochs.jsonl'}: {epoch.configuration}, seed {epoch.seed} "
                f"has epoch {epoch.epoch} where {done[run_of]} was due"
            )
    for configuration, seed, milestone in sorted(seen):
        if done and done[configuration, seed] < milestone:
            raise RecordError(
                f"{folder / 'retrain-epochs.jsonl'}: {_words((configuration, seed, milestone))} "
                f"has {done[configuration, seed]} epochs"
            )


def _predictions(
    folder: Path, facts: Mapping[str, Any], retrain: Sequence[RetrainRow], rows: Iterable[PredictionRow]
) -> dict[Run, Predictions]:
    """By run; {} where the study keeps none. Where it keeps some, every run must have all its images."""
    path, names = folder / "predictions.jsonl", list(facts["data"]["class_names"])
    groups: defaultdict[Run, list[PredictionRow]] = defaultdict(list)
    for row in rows:
        values = row.probabilities
        if len(values) != len(names) or not all(type(v) in (int, float) and 0 <= v <= 1 for v in values):
            raise RecordError(f"{path}: {row.file} must have {len(names)} probabilities in 0 to 1, got {values!r}")
        if abs(math.fsum(values) - 1) > 1e-3:
            raise RecordError(f"{path}: the probabilities of {row.file} must add up to 1, got {values!r}")
        if row.true_class not in names:
            raise RecordError(f"{path}: {row.file}: true_class must be one of {names}, got {row.true_class!r}")
        groups[row.configuration, row.seed, row.milestone].append(row)
    expected = {(row.configuration, row.seed, row.milestone): row for row in retrain}
    if groups and set(groups) != set(expected):
        odd = sorted(set(groups) ^ set(expected))[0]
        raise RecordError(f"{path}: {_words(odd)} stands in only one of retrain.jsonl and predictions.jsonl")
    return {run: _one_run(path, names, group, expected[run]) for run, group in groups.items()}


def _one_run(path: Path, names: list[str], group: list[PredictionRow], run: RetrainRow) -> Predictions:
    group = sorted(group, key=lambda row: row.file)
    files = tuple(row.file for row in group)
    where = f"{path}: {_words((run.configuration, run.seed, run.milestone))}"
    if len(set(files)) != run.test_images or len(files) != run.test_images:
        raise RecordError(f"{where} must have {run.test_images} images once each, got {len(files)} rows")
    true = np.array([names.index(row.true_class) for row in group])
    probabilities = np.array([row.probabilities for row in group], np.float64)
    accuracy = float(np.mean(probabilities.argmax(axis=1) == true))
    # Predicting and evaluating may round a tie differently, on an image or two.
    if abs(accuracy - run.test_accuracy) > 2.5 / len(files):
        raise RecordError(f"{where}: predictions are right for {accuracy:.4f}, test_accuracy is {run.test_accuracy}")
    return Predictions(files, true, probabilities)


def _words(run: Run) -> str:
    return f"{run[0]}, seed {run[1]}, epoch {run[2]}"
