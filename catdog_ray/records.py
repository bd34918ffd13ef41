"""What is written down: the rows of a study, and the one rule by which trials are scored and compared."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from catdog_ray.errors import UserError
from catdog_ray.ranges import Value

OBJECTIVE = (
    "the best value so far of the selection accuracy averaged over the last {window} epochs "
    "(before epoch {window}: averaged over the epochs there are)"
)


class RecordError(UserError):
    """A results file is missing, damaged or of another schema."""


STATUSES = ("completed", "stopped", "failed")
"""A trial ran to the full budget, was stopped early by ASHA, or failed (diverged, crashed)."""


@dataclass(frozen=True)
class EpochRow:
    """One epoch of one fit. `train_*` are running means over the augmented epoch, as Keras reports them."""

    epoch: int
    train_loss: float | None
    train_accuracy: float
    selection_loss: float | None
    selection_accuracy: float
    seconds: float

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Self:
        """The row in what a trial reported, which holds more."""
        return cls(**{name: result[name] for name in cls.__dataclass_fields__})


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

    @property
    def is_scored(self) -> bool:
        """Whether it has an objective that counts."""
        return self.status != "failed" and self.objective is not None


@dataclass(frozen=True)
class RetrainEpochRow:
    """One epoch of one retraining run: `configuration` is `baseline`, or a trial of the search such as `trial-0007`."""

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
    """Where a search or a retraining stands, for the view on the terminal.

    `latest` is what happened last; `is_event` tells an end or a start from one more epoch. `underway` are the names of
    what runs, each with its epochs so far.
    """

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
    is_event: bool
    underway: tuple[tuple[str, int], ...] = ()


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


def objective(accuracies: Sequence[float], *, window: int) -> float:
    """The one score of every method: the best mean of `window` consecutive selection accuracies so far.

    Before epoch `window` it is the mean over the epochs there are, which no longer counts once a window is full: one
    lucky early epoch is what the rule is to keep out. Raises ValueError for no epochs.
    """
    if not accuracies:
        raise ValueError("the objective needs at least one epoch")
    if len(accuracies) < window:
        return math.fsum(accuracies) / len(accuracies)
    return max(math.fsum(accuracies[end - window : end]) / window for end in range(window, len(accuracies) + 1))


def trial_name(number: int) -> str:
    """`trial-0007`: in Ray's dashboard, on the disk, in rows and in messages."""
    return f"trial-{number:04d}"


def best_trial(trials: Iterable[TrialRow]) -> TrialRow | None:
    """The trial with the highest objective; failed ones do not count, ties go to the earlier trial."""
    scored = [row for row in trials if row.is_scored]
    return min(scored, key=lambda row: (-typing.cast(float, row.objective), row.trial), default=None)


def ended_row(rows: Sequence[TrialEpochRow], max_epochs: int, failure: str | None, elapsed_s: float) -> TrialRow:
    """The row of a trial that ended after `rows`, its epochs so far; `failure` is the reason if it failed."""
    last = rows[-1]
    status = "failed" if failure else "completed" if last.epoch >= max_epochs else "stopped"
    return TrialRow(
        trial=last.trial,
        status=status,
        reason=failure,
        hyperparameters=last.hyperparameters,
        epochs=last.epoch,
        objective=finite_or_none(last.objective),
        parameters=last.parameters,
        multiply_adds=last.multiply_adds,
        suggestion_seconds=last.suggestion_seconds,
        training_seconds=sum(row.seconds for row in rows),
        elapsed_s=elapsed_s,
    )


def finite_or_none(value: float) -> float | None:
    """What a row holds: null for NaN and the infinities."""
    return value if math.isfinite(value) else None
