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

from catdog_ray.audit_retraining import (
    Predictions,
    Run,
    check_accuracies,
    check_runs,
    read_predictions,
    whole_runs,
)
from catdog_ray.config import completed
from catdog_ray.conversion import read_range
from catdog_ray.errors import ConfigError
from catdog_ray.ledger import RowFile, StudyDirectory
from catdog_ray.ranges import Range, contains, describe
from catdog_ray.records import (
    OBJECTIVE,
    STATUSES,
    PredictionRow,
    RecordError,
    RetrainEpochRow,
    RetrainFailure,
    RetrainRow,
    TrialEpochRow,
    TrialRow,
    objective,
)

_RULE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Course:
    """One trial's epochs: selection accuracy (n,), and when each arrived, in seconds since the search began (n,)."""

    accuracies: np.ndarray
    elapsed_s: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """A study whose search is finished and whose rows agree with each other and its facts. `trials` go by number."""

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
    if isinstance(facts.get("config"), Mapping):
        facts["config"] = completed(facts["config"])
    _check_facts(folder, facts)
    _check_nodes(folder, facts["nodes"])
    space = _space(folder, facts["config"]["space"])
    trials = tuple(sorted(_rows(study.trials), key=lambda row: row.trial))
    wanted = facts["config"]["search"]["num_samples"]
    numbers = [row.trial for row in trials]
    # A time budget may end a search before all have begun.
    is_cut = facts["config"]["search"].get("time_budget_s") is not None
    if numbers != list(range(wanted)) and not (
        is_cut and numbers and len(set(numbers)) == len(numbers) and 0 <= numbers[0] <= numbers[-1] < wanted
    ):
        raise RecordError(
            f"{folder / 'trials.jsonl'}: must hold trials 0 to {wanted - 1} once each (search.num_samples), "
            f"got {len(trials)} rows of {len({row.trial for row in trials})} trials"
        )
    courses = _courses(folder, trials, _rows(study.epochs))
    _check_trials(folder, facts, space, trials, courses)
    retrain = tuple(_rows(study.retrain))
    retrain_epochs = tuple(_rows(study.retrain_epochs))
    predicted: Iterable[PredictionRow] = _rows(study.predictions)
    if facts["state"] != "finished":
        retrain, predicted = whole_runs(retrain, retrain_epochs, predicted)
    baseline = {name: facts["config"]["baseline"].get(name) for name in space}
    check_runs(folder, retrain, retrain_epochs, trials=trials, baseline=baseline)
    predictions = read_predictions(folder, facts["data"]["class_names"], retrain, predicted)
    check_accuracies(folder, retrain, retrain_epochs)
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
    "config.search.grace_epochs": (int,),
    "config.search.reduction_factor": (int,),
    "config.search.startup_trials": (int,),
}
"""What a comparison needs of study.json."""

_MOST = 1e7
"""Of a number in study.json: more is damage."""

_LIMITS: Mapping[str, tuple[float, float]] = {
    "config.seed": (0, 2**63 - 1),
    "data.train_images": (1, _MOST),
    "data.selection_images": (1, _MOST),
    "data.test_images": (1, _MOST),
    "config.search.num_samples": (1, _MOST),
    "config.search.max_epochs": (1, _MOST),
    "config.search.scoring_window": (1, _MOST),
    "config.search.grace_epochs": (1, _MOST),
    "config.search.reduction_factor": (2, _MOST),
}


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
        low, high = _LIMITS.get(name, (-math.inf, math.inf))
        if name in _LIMITS and not low <= value <= high:
            raise RecordError(f"{path}: {name} must be at least {low:g} and at most {high:g}, got {value!r}")
    limit = facts["config"]["search"].get("time_budget_s")
    if limit is not None and (type(limit) not in (int, float) or not 0 < limit <= _MOST):
        raise RecordError(f"{path}: config.search.time_budget_s must be seconds or null, got {limit!r}")
    share = facts.get("share", {"at_once": 1})
    at_once = share.get("at_once") if isinstance(share, Mapping) else None
    if type(at_once) is not int or not 1 <= at_once <= _MOST:
        raise RecordError(f"{path}: share must tell how many trials ran at once (at_once), got {share!r}")
    for name, kind, items in (("nodes", dict, facts["nodes"]), ("data.class_names", str, facts["data"]["class_names"])):
        if not all(type(item) is kind for item in items):
            raise RecordError(f"{path}: {name} must hold {kind.__name__} only, got {items!r}")
    words = [facts[name] for name in ("name", "label", "method")] + [
        facts["data"]["name"],
        *facts["data"]["class_names"],
    ]
    for text in words:
        if not text.isprintable():
            raise RecordError(f"{path}: holds a name that cannot be printed, {text!r}")
    if StudyDirectory(folder).is_held():
        raise RecordError(f"{folder}: a command is working on it; wait for its end")
    if facts["state"] != "finished" and not retraining_was_interrupted(folder, facts):
        raise RecordError(f"{folder}: is half-written (state {facts['state']!r}); go on with it by --resume")
    rule = OBJECTIVE.format(window=facts["config"]["search"]["scoring_window"])
    if facts["objective"] != rule:
        raise RecordError(f"{path}: objective must be the one rule ({rule!r}), got {facts['objective']!r}")


def retraining_was_interrupted(folder: Path, facts: Mapping[str, Any]) -> bool:
    """Whether the search was over and what followed was not: runs of retraining with a row are whole.

    A search that was gone on with after a retraining lacks trials, or ends of trials, and is refused for that.
    """
    if facts["state"] == "finished":
        return False
    if "searched" in facts:
        return facts["searched"] is True
    epochs = folder / "retrain-epochs.jsonl"
    return facts["state"] == "interrupted" and epochs.exists() and epochs.stat().st_size > 0


def _check_nodes(folder: Path, nodes: Sequence[Mapping[str, Any]]) -> None:
    """RecordError for a share of a machine that is no number; one that is not known may be null or missing."""
    for node in nodes:
        for name in ("ray_cpus", "ray_gpus"):
            value = node.get(name)
            if value is not None and (type(value) not in (int, float) or not 0 <= value <= _MOST):
                raise RecordError(
                    f"{folder / 'study.json'}: nodes: {name} must be a number of processors, got {value!r}"
                )


def _space(folder: Path, raw: Mapping[str, Any]) -> dict[str, Range]:
    found: dict[str, Range] = {}
    for name, item in raw.items():
        try:
            found[name] = read_range(item, f"config.space.{name}")
        except ConfigError:
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
        if known[row.trial].multiply_adds not in (None, row.multiply_adds):
            raise RecordError(f"{path}: trial {row.trial} has other multiply_adds than in trials.jsonl")
        if not (moments[row.trial] or [0.0])[-1] <= row.elapsed_s <= known[row.trial].elapsed_s:
            raise RecordError(
                f"{path}: epoch {row.epoch} of trial {row.trial} came at {row.elapsed_s!r} s, "
                "before the one before it or after the trial's end"
            )
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
        if row.elapsed_s < 0 or (row.suggestion_seconds or 0) < 0:
            raise RecordError(
                f"{where}: elapsed_s and suggestion_seconds must not be negative, "
                f"got {row.elapsed_s!r} and {row.suggestion_seconds!r}"
            )
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
