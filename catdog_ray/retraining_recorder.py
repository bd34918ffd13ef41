"""What a retraining writes down and shows while it runs: rows, predictions, the model of the best configuration."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune import Callback

from catdog_ray import running
from catdog_ray.data import Images
from catdog_ray.files import replace_file, to_json
from catdog_ray.ledger import StudyDirectory
from catdog_ray.recorder import OnProgress
from catdog_ray.records import (
    EpochRow,
    PredictionRow,
    Progress,
    RetrainEpochRow,
    RetrainFailure,
    RetrainRow,
    finite_or_none,
)
from catdog_ray.settings import RetrainSettings


@dataclass(frozen=True)
class ModelFile:
    """`model.keras`: the best configuration of the search, first seed, last milestone.

    `model.json` says which, and what else a program needs that loads it without this package.
    """

    folder: Path
    configuration: str
    seed: int
    epochs: int

    def is_there(self) -> bool:
        """Whether the file is this model, or the same trained for longer."""
        configuration, seed, epochs = self._known()
        return (configuration, seed) == (self.configuration, self.seed) and epochs >= self.epochs

    def is_taken(self) -> bool:
        """Whether the file is a model of another configuration."""
        return self._known()[0] not in (None, self.configuration)

    def _known(self) -> tuple[str | None, int, int]:
        """Configuration, seed and epochs of the file that is there; (None, 0, 0) without one."""
        try:
            known = json.loads((self.folder / "model.json").read_text(encoding="utf-8"))
            found = str(known["configuration"]), int(known["seed"]), int(known["epochs"])
        except (OSError, ValueError, KeyError, TypeError):
            return None, 0, 0
        return found if (self.folder / "model.keras").is_file() else (None, 0, 0)

    def take(self, source: Path, images: Images) -> None:
        """Put `source` in place, unless what is there is as good; `images` are such as it classifies."""
        if self.is_there() or not source.is_file():
            return
        replace_file(self.folder / "model.keras", source.read_bytes())
        size = images.pixels.shape[1]
        facts = {
            "configuration": self.configuration,
            "seed": self.seed,
            "epochs": self.epochs,
            "class_names": list(images.class_names),
            "image_size": size,
            "pixels": f"upright RGB, stretched bilinearly (by Pillow) to {size} x {size}, divided by 255",
        }
        replace_file(self.folder / "model.json", to_json(facts) + "\n")


class RetrainingRecorder(Callback):
    """Writes the rows as results arrive, and tells the view on the terminal.

    `runs` are all (configuration, seed) of the study; `planned` of them are still to be trained.
    """

    def __init__(
        self,
        study: StudyDirectory,
        settings: RetrainSettings,
        test: Images,
        *,
        runs: Sequence[tuple[str, int]],
        planned: int,
        keeper: ModelFile | None,
        on_progress: OnProgress | None,
    ) -> None:
        self._keeper = keeper
        self._study, self._settings, self._test, self._on_progress = study, settings, test, on_progress
        rows = study.retrain_epochs.read()
        self._epochs = {(row.configuration, row.seed, row.epoch): row for row in rows}
        self._newest = dict.fromkeys(runs, 0)
        for row in rows:
            self._note_epoch(row)
        self._milestones = {(row.configuration, row.seed, row.milestone): row for row in study.retrain.read()}
        self._before_s = max([row.elapsed_s for row in rows], default=0.0)
        self._started, self._new_epochs = time.monotonic(), 0
        self._runs = list(runs)
        self._running: set[str] = set()
        self._done, self._failed = len(self._runs) - planned, 0
        self._lost: set[tuple[str, int]] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles what it is given for a restore of its own, which is never used."""
        return {}

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._running.add(run_name(trial.config))
        self._show(f"{run_name(trial.config)} started")

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if result.get("failure"):
            return
        # The probabilities of every test image are not kept in Ray's memory of the last result.
        probabilities = result.pop("probabilities", None)
        parameters = trial.config
        key = (parameters["configuration"], parameters["seed"], result["epoch"])
        if probabilities is not None and key not in self._milestones:
            self._study.predictions.append(*self._predictions(key, probabilities))
            row = self._milestone_row(parameters, result)
            self._study.retrain.append(row)
            self._milestones[key] = row
        if key in self._epochs:
            return
        epoch = self._epoch_row(parameters, result)
        self._study.retrain_epochs.append(epoch)
        self._epochs[key] = epoch
        self._note_epoch(epoch)
        self._new_epochs += 1
        self._show(
            f"{run_name(parameters)} epoch {epoch.epoch}: test accuracy {epoch.test_accuracy:.3f}", is_event=False
        )

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        failure = trial.last_result.get("failure")
        if failure:
            self._fail(trial.config, failure)
            return
        if self._keeper is not None and trial.config["keep_model"] and trial.checkpoint is not None:
            with trial.checkpoint.as_directory() as folder:
                self._keeper.take(Path(folder) / "model.keras", self._test)
        self._done += 1
        self._running.discard(run_name(trial.config))
        self._show(f"{run_name(trial.config)} finished")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._fail(trial.config, running.failure_reason(trial))

    def _fail(self, parameters: Mapping[str, Any], reason: str) -> None:
        configuration, seed = parameters["configuration"], parameters["seed"]
        epochs = sum(key[:2] == (configuration, seed) for key in self._epochs)
        self._study.retrain_failures.append(
            RetrainFailure(configuration, seed, epochs, reason, elapsed_s=self._elapsed_s())
        )
        self._failed += 1
        self._lost.add((configuration, seed))
        self._running.discard(run_name(parameters))
        self._show(f"{run_name(parameters)} failed: {reason}")

    def _predictions(self, key: tuple[str, int, int], probabilities: Sequence[Sequence[float]]) -> list[PredictionRow]:
        names = self._test.class_names
        return [
            PredictionRow(*key, file=file, true_class=names[label], probabilities=[round(p, 6) for p in row])
            for file, label, row in zip(self._test.files, self._test.labels, probabilities, strict=True)
        ]

    def _milestone_row(self, parameters: Mapping[str, Any], result: Mapping[str, Any]) -> RetrainRow:
        configuration, seed = parameters["configuration"], parameters["seed"]
        mine = [(key[2], row.seconds) for key, row in self._epochs.items() if key[:2] == (configuration, seed)]
        before = [seconds for epoch, seconds in mine if epoch < result["epoch"]]
        return RetrainRow(
            configuration=configuration,
            seed=seed,
            milestone=result["epoch"],
            hyperparameters=dict(parameters["hyperparameters"]),
            trial=parameters["trial"],
            selection_objective=parameters["selection_objective"],
            train_loss=result["train_loss"],
            train_accuracy=result["train_accuracy"],
            clean_train_loss=finite_or_none(result["clean_train_loss"]),
            clean_train_accuracy=result["clean_train_accuracy"],
            test_loss=result["selection_loss"],
            test_accuracy=result["selection_accuracy"],
            test_images=len(self._test.labels),
            training_seconds=sum(before) + result["seconds"],
            elapsed_s=self._elapsed_s(),
        )

    def _epoch_row(self, parameters: Mapping[str, Any], result: Mapping[str, Any]) -> RetrainEpochRow:
        row = EpochRow.of(result)
        return RetrainEpochRow(
            configuration=parameters["configuration"],
            seed=parameters["seed"],
            epoch=row.epoch,
            train_loss=row.train_loss,
            train_accuracy=row.train_accuracy,
            test_loss=row.selection_loss,
            test_accuracy=row.selection_accuracy,
            seconds=row.seconds,
            elapsed_s=self._elapsed_s(),
        )

    def _note_epoch(self, row: RetrainEpochRow) -> None:
        run = row.configuration, row.seed
        if run in self._newest:
            self._newest[run] = max(self._newest[run], row.epoch)

    def _elapsed_s(self) -> float:
        return self._before_s + time.monotonic() - self._started

    def _show(self, latest: str, *, is_event: bool = True) -> None:
        if self._on_progress is None:
            return
        last = self._settings.milestones[-1]
        left_epochs = sum(max(0, last - epoch) for run, epoch in self._newest.items() if run not in self._lost)
        rate = self._new_epochs / (time.monotonic() - self._started)
        newest = {run_name({"configuration": run[0], "seed": run[1]}): epoch for run, epoch in self._newest.items()}
        self._on_progress(
            Progress(
                stage="retraining",
                asked=len(self._runs),
                running=len(self._running),
                completed=self._done,
                stopped=0,
                failed=self._failed,
                epochs=sum(self._newest.values()),
                elapsed_s=self._elapsed_s(),
                left_s=left_epochs / rate if rate else None,
                best="-",
                latest=latest,
                is_event=is_event,
                underway=tuple((name, epoch) for name, epoch in newest.items() if name in self._running),
            )
        )


def run_name(parameters: Mapping[str, Any]) -> str:
    """`trial-0007-seed-0`: in Ray's dashboard, on the disk and in messages."""
    return f"{parameters['configuration']}-seed-{parameters['seed']}"
