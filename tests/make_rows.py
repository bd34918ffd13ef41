"""Rows of every kind with plain values, and whole studies of them on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catdog_ray import config as configuration
from catdog_ray.ledger import StudyDirectory, portable
from catdog_ray.ranges import Value
from catdog_ray.records import (
    PredictionRow,
    Progress,
    RetrainEpochRow,
    RetrainFailure,
    RetrainRow,
    TrialEpochRow,
    TrialRow,
)
from catdog_ray.schema import SCHEMA_VERSION
from catdog_ray.settings import Config

BASELINE: dict[str, Value] = {
    "learning_rate": 0.001,
    "dropout_rate": 0.5,
    "conv_filters": 32,
    "conv_kernel": 3,
    "dense_units": 512,
}
TUNED: dict[str, Value] = {**BASELINE, "learning_rate": 0.0025, "conv_filters": 24}


def trial_row(trial: int = 0, **changes: Any) -> TrialRow:
    """A completed trial of nine epochs with the guide's configuration."""
    values: dict[str, Any] = {
        "trial": trial,
        "status": "completed",
        "reason": None,
        "hyperparameters": BASELINE,
        "epochs": 9,
        "objective": 0.75,
        "parameters": 1234,
        "multiply_adds": 56789,
        "suggestion_seconds": 0.01,
        "training_seconds": 12.5,
        "elapsed_s": 20.0,
    }
    return TrialRow(**(values | changes))


def trial_epoch_row(trial: int = 0, epoch: int = 1, **changes: Any) -> TrialEpochRow:
    """One epoch of a trial."""
    values: dict[str, Any] = {
        "trial": trial,
        "epoch": epoch,
        "train_loss": 0.7,
        "train_accuracy": 0.5,
        "selection_loss": 0.6,
        "selection_accuracy": 0.625,
        "objective": 0.625,
        "seconds": 1.5,
        "elapsed_s": 2.0,
        "hyperparameters": BASELINE,
        "parameters": 1234,
        "multiply_adds": 56789,
        "suggestion_seconds": None,
    }
    return TrialEpochRow(**(values | changes))


def retrain_epoch_row(configuration: str = "baseline", seed: int = 0, epoch: int = 1, **changes: Any) -> Any:
    """One epoch of a retraining run."""
    values: dict[str, Any] = {
        "configuration": configuration,
        "seed": seed,
        "epoch": epoch,
        "train_loss": 1 / epoch,
        "train_accuracy": 1 - 0.5 / epoch,
        "test_loss": 1.1 / epoch,
        "test_accuracy": 1 - 0.6 / epoch,
        "seconds": 1.0,
        "elapsed_s": float(epoch),
    }
    return RetrainEpochRow(**(values | changes))


def retrain_row(configuration: str = "baseline", seed: int = 0, milestone: int = 125, **changes: Any) -> RetrainRow:
    """One configuration and seed at one milestone."""
    values: dict[str, Any] = {
        "configuration": configuration,
        "seed": seed,
        "milestone": milestone,
        "hyperparameters": BASELINE if configuration == "baseline" else TUNED,
        "trial": None if configuration == "baseline" else int(configuration.removeprefix("trial-")),
        "selection_objective": None if configuration == "baseline" else 0.8,
        "train_loss": 0.2,
        "train_accuracy": 0.9,
        "clean_train_loss": 0.1,
        "clean_train_accuracy": 0.95,
        "test_loss": 0.3,
        "test_accuracy": 0.85,
        "test_images": 200,
        "training_seconds": 100.0,
        "elapsed_s": 200.0,
    }
    return RetrainRow(**(values | changes))


def retrain_failure() -> RetrainFailure:
    """A retraining run that was lost."""
    return RetrainFailure("trial-0007", 1, 12, "the worker was lost", 30.0)


def prediction_row(**changes: Any) -> PredictionRow:
    """One classified test image."""
    values: dict[str, Any] = {
        "configuration": "trial-0007",
        "seed": 0,
        "milestone": 200,
        "file": "validation/cats/00.png",
        "true_class": "cats",
        "probabilities": [0.75, 0.25],
    }
    return PredictionRow(**(values | changes))


def progress(**changes: Any) -> Progress:
    """A search under way."""
    values: dict[str, Any] = {
        "stage": "search",
        "asked": 8,
        "running": 2,
        "completed": 1,
        "stopped": 2,
        "failed": 1,
        "epochs": 1234,
        "elapsed_s": 65.4,
        "left_s": 3725.0,
        "best": "0.812 (trial 3)",
        "latest": "trial-0004 started",
        "is_event": True,
    }
    return Progress(**(values | changes))


def quickstart(**overrides: Any) -> Config:
    """The shipped quickstart at the guide's sizes, with overrides by dotted name (`search__max_epochs=3`)."""
    sizes: dict[str, Any] = {
        "space.conv_filters": {"choices": [16, 24, 32]},
        "baseline.conv_filters": 32,
        "search.max_epochs": 9,
        "search.grace_epochs": 1,
    }
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return configuration.load("configs/quickstart.yaml", overrides={**sizes, **dotted})


def write_study(
    folder: Path,
    config: Config,
    *,
    state: str = "finished",
    started_utc: str = "2026-11-01T12:00:00+00:00",
    drawn: bool = True,
    trials: Sequence[TrialRow] = (),
    retrain: Sequence[RetrainRow] = (),
    **facts: Any,
) -> Path:
    """A study as `study.run` leaves it, as far as the readers care."""
    study = StudyDirectory(folder)
    folder.mkdir(parents=True)
    study.write_study(
        {
            "schema_version": SCHEMA_VERSION,
            "name": config.name,
            "label": config.label,
            "method": config.search.method,
            "state": state,
            "started_utc": started_utc,
            "data": {
                "name": "drawn" if drawn else "pets.zip",
                "drawn": drawn,
                "fingerprint": "0",
                "class_names": ["cats", "dogs"],
            },
            "config": portable(config.as_dict()),
            **facts,
        }
    )
    study.trials.append(*trials)
    study.retrain.append(*retrain)
    return folder
