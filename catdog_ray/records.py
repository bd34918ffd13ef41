"""What is written down: the rows of a study, one JSON object a line, and its `study.json`.

Rows are appended and fsynced, never edited. A line torn by a crash is cut off when the file is opened again.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import math
import os
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from catdog_ray.settings import UserError, Value

SCHEMA_VERSION = 1

OBJECTIVE = (
    "the best value so far of the selection accuracy averaged over the last {window} epochs "
    "(over the epochs there are, before epoch {window})"
)

STATUSES = ("completed", "stopped", "failed")
"""A trial ran to the full budget, was stopped early by ASHA, or failed (diverged, crashed)."""


class RecordError(UserError):
    """A results file is missing, damaged or of another schema."""


@dataclass(frozen=True)
class EpochRow:
    """One epoch of one fit. `train_*` are running means over the augmented epoch, as Keras reports them."""

    epoch: int
    train_loss: float | None
    train_accuracy: float
    selection_loss: float | None
    selection_accuracy: float
    seconds: float


@dataclass(frozen=True)
class TrialEpochRow:
    """One epoch of one trial of a search; `elapsed_s` is the study's time on the driver when it arrived.

    What is the same for all epochs of a trial is repeated, so that a trial cut off by a crash is known from its rows.
    `multiply_adds` are those of one image's forward pass, `parameters` the model's weights.
    """

    trial: int
    epoch: int
    train_loss: float | None
    train_accuracy: float
    selection_loss: float | None
    selection_accuracy: float
    objective: float
    seconds: float
    elapsed_s: float
    hyperparameters: dict[str, Value]
    parameters: int
    multiply_adds: int
    suggestion_seconds: float | None


@dataclass(frozen=True)
class TrialRow:
    """One finished trial. `objective` is null where no epoch was finished; `epochs` counts finished ones."""

    trial: int
    status: str
    reason: str | None
    hyperparameters: dict[str, Value]
    epochs: int
    objective: float | None
    parameters: int | None
    multiply_adds: int | None
    suggestion_seconds: float | None
    training_seconds: float
    elapsed_s: float


@dataclass(frozen=True)
class RetrainEpochRow:
    """One epoch of one retraining run: `configuration` is `best` or `baseline`."""

    configuration: str
    seed: int
    epoch: int
    train_loss: float | None
    train_accuracy: float
    test_loss: float | None
    test_accuracy: float
    seconds: float
    elapsed_s: float


@dataclass(frozen=True)
class RetrainRow:
    """One configuration and seed at one milestone.

    `train_*` are the running means of that epoch (augmented, with dropout), `clean_train_*` an evaluation without both.
    """

    configuration: str
    seed: int
    milestone: int
    hyperparameters: dict[str, Value]
    trial: int | None
    selection_objective: float | None
    train_loss: float | None
    train_accuracy: float
    clean_train_loss: float | None
    clean_train_accuracy: float
    test_loss: float | None
    test_accuracy: float
    test_images: int
    training_seconds: float
    elapsed_s: float


@dataclass(frozen=True)
class Progress:
    """Where a search or a retraining stands, for the view on the terminal."""

    stage: str
    asked: int
    running: int
    completed: int
    stopped: int
    failed: int
    epochs: int
    elapsed_s: float
    left_s: float | None
    best: str
    latest: str


@dataclass(frozen=True)
class RetrainFailure:
    """A retraining run that ended without its milestones."""

    configuration: str
    seed: int
    epochs: int
    reason: str
    elapsed_s: float


@dataclass(frozen=True)
class PredictionRow:
    """One test image at one milestone; `probabilities` in the order of the study's class names."""

    configuration: str
    seed: int
    milestone: int
    file: str
    true_class: str
    probabilities: list[float]


Row = TypeVar("Row")


def objective(accuracies: Sequence[float], *, window: int) -> float:
    """The one score of every method: the best mean of `window` consecutive selection accuracies so far.

    Before epoch `window` the mean is over the epochs there are. Raises ValueError for no epochs.
    """
    if not accuracies:
        raise ValueError("the objective needs at least one epoch")
    means = []
    for end in range(1, len(accuracies) + 1):
        last = accuracies[max(0, end - window) : end]
        means.append(math.fsum(last) / len(last))
    return max(means)


def best_trial(trials: Iterable[TrialRow]) -> TrialRow | None:
    """The trial with the highest objective; failed ones do not count, ties go to the earlier trial."""
    scored = [row for row in trials if row.status != "failed" and row.objective is not None]
    return min(scored, key=lambda row: (-typing.cast(float, row.objective), row.trial), default=None)


class RowFile(typing.Generic[Row]):
    """An append-only file of rows of one dataclass."""

    def __init__(self, path: Path, kind: type[Row]) -> None:
        self.path, self.kind = path, kind

    def read(self) -> list[Row]:
        """All whole rows; [] where there is no file. Raises RecordError naming file and line."""
        if not self.path.exists():
            return []
        *lines, _torn = self.path.read_bytes().split(b"\n")
        return [self._parse(line, number) for number, line in enumerate(lines, start=1)]

    def repair(self) -> int:
        """Cut off a last line without an end (a crash while writing); returns the bytes removed."""
        if not self.path.exists():
            return 0
        content = self.path.read_bytes()
        torn = len(content) - (content.rfind(b"\n") + 1)
        if torn:
            os.truncate(self.path, len(content) - torn)
        return torn

    def append(self, *rows: Row) -> None:
        """Write rows to the disk; they are there when this returns."""
        text = "".join(to_json(dataclasses.asdict(typing.cast(Any, row))) + "\n" for row in rows)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def _parse(self, line: bytes, number: int) -> Row:
        where = f"{self.path}, line {number}"
        try:
            values = json.loads(line)
        except ValueError:
            raise RecordError(f"{where}: is no JSON: {line[:60]!r}") from None
        names = {field.name for field in dataclasses.fields(typing.cast(Any, self.kind))}
        if not isinstance(values, dict) or set(values) != names:
            odd = sorted(set(values) ^ names) if isinstance(values, dict) else [type(values).__name__]
            raise RecordError(f"{where}: is no {self.kind.__name__}; differing: {', '.join(odd)}")
        return self.kind(**values)


class StudyDirectory:
    """`<output>/<name>/`: the row files and `study.json` of one study, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trials = RowFile(path / "trials.jsonl", TrialRow)
        self.epochs = RowFile(path / "epochs.jsonl", TrialEpochRow)
        self.retrain_epochs = RowFile(path / "retrain-epochs.jsonl", RetrainEpochRow)
        self.retrain = RowFile(path / "retrain.jsonl", RetrainRow)
        self.retrain_failures = RowFile(path / "retrain-failures.jsonl", RetrainFailure)
        self.predictions = RowFile(path / "predictions.jsonl", PredictionRow)
        self._lock: typing.IO[str] | None = None

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = (self.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RecordError(f"{self.path}: another process is working on this study; wait or use --name") from None
        for file in (self.trials, self.epochs, self.retrain_epochs, self.retrain, self.retrain_failures):
            file.repair()
        self.predictions.repair()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def read_study(self) -> dict[str, Any]:
        """`study.json`; RecordError where it is missing, damaged or of another schema version."""
        path = self.path / "study.json"
        if not path.is_file():
            raise RecordError(f"{self.path}: no study here (study.json is missing)")
        try:
            study = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RecordError(f"{path}: is no JSON ({error})") from None
        version = study.get("schema_version") if isinstance(study, dict) else None
        if version != SCHEMA_VERSION:
            raise RecordError(f"{path}: schema_version must be {SCHEMA_VERSION}, got {version!r}")
        return typing.cast("dict[str, Any]", study)

    def write_study(self, study: Mapping[str, Any]) -> None:
        """Replace `study.json` in one step."""
        replace_file(self.path / "study.json", to_json(study, indent=2) + "\n")


def failure_reason(error: object) -> str:
    """The last line of a worker's traceback."""
    lines = [line.strip() for line in str(error or "").splitlines() if line.strip()]
    return lines[-1] if lines else "the worker was lost"


def finite_or_none(value: float) -> float | None:
    """What a row holds: null for NaN and the infinities."""
    return value if math.isfinite(value) else None


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON with null for what is not finite (NaN is no JSON)."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    data = content.encode() if isinstance(content, str) else content
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return finite_or_none(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
