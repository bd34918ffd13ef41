"""The functions that run on a worker: prepare the process, fit, report to Ray Tune, checkpoint.

Keras is imported inside the functions only, so that the driver can import this module without it. Temporary files lie
in the working directory, which is Ray's folder for the trial: a worker that is killed leaves nothing elsewhere.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from catdog_ray import metrics
from catdog_ray.builder import BuilderError
from catdog_ray.data import Images
from catdog_ray.records import EpochRow, objective
from catdog_ray.settings import FitSettings
from catdog_ray.space import HyperParameters

if TYPE_CHECKING:
    import keras

Report = dict[str, Any]


def run_trial(
    parameters: Mapping[str, Any],
    *,
    train: Images,
    selection: Images,
    settings: FitSettings,
    epochs: int,
    scoring_window: int,
    seed: int,
    threads: int,
) -> None:
    """One trial of a search. `parameters` are those of `searchers.Planned`.

    Reports after every epoch; a diverged loss, and an error of the user's own function, end the trial with `failure`
    set instead of raising, because Ray retries what raises.
    """
    course = _Course(parameters, settings, scoring_window=scoring_window)
    course.fit(train, selection, epochs=epochs, seed=seed, threads=threads)


def run_retraining(
    parameters: Mapping[str, Any],
    *,
    train: Images,
    test: Images,
    settings: FitSettings,
    milestones: tuple[int, ...],
    threads: int,
) -> None:
    """One configuration and seed to the last milestone.

    `parameters` also holds `seed` and `keep_model`.

    At each milestone the report carries the clean training scores and the test probabilities (n, classes).
    """
    from catdog_ray.evaluation import evaluate, predict

    flip = settings.train.test_time_flip

    def at_milestone(row: EpochRow, network: keras.Model) -> Report:
        if row.epoch not in milestones:
            return {}
        loss, accuracy = evaluate(network, train, flip=flip)
        return {
            "clean_train_loss": loss,
            "clean_train_accuracy": accuracy,
            "probabilities": predict(network, test, flip=flip).tolist(),
        }

    course = _Course(
        parameters,
        settings,
        scoring_window=None,
        extra=at_milestone,
        always_save=milestones,
        keep_model=bool(parameters["keep_model"]),
    )
    course.fit(train, test, epochs=milestones[-1], seed=parameters["seed"], threads=threads)


class _Course:
    """The way of one trial through its epochs: where it starts, what it reports, when it saves."""

    def __init__(
        self,
        parameters: Mapping[str, Any],
        settings: FitSettings,
        *,
        scoring_window: int | None,
        extra: Callable[[EpochRow, keras.Model], Report] | None = None,
        always_save: tuple[int, ...] = (),
        keep_model: bool = False,
    ) -> None:
        self._parameters, self._settings = parameters, settings
        self._window, self._extra, self._always_save = scoring_window, extra, always_save
        self._keep_model = keep_model
        self._accuracies: list[float] = []
        self._last: Report = {}
        self._images = 0

    def fit(self, train: Images, held_out: Images, *, epochs: int, seed: int, threads: int) -> None:
        from catdog_ray import backend

        backend.prepare(threads=threads)
        backend.forget_models()
        from catdog_ray.train import Diverged, fit

        hyperparameters = HyperParameters.of(self._parameters["hyperparameters"])
        self._images = len(train.labels)
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            resume_from = self._fetch_checkpoint(Path(folder))
            try:
                fit(
                    hyperparameters,
                    train,
                    held_out,
                    settings=self._settings,
                    epochs=epochs,
                    seed=seed,
                    on_epoch=self._on_epoch,
                    resume_from=resume_from,
                )
            except Diverged as diverged:
                self._fail(str(diverged), epochs=diverged.epochs)
            except BuilderError as error:
                self._fail(str(error), epochs=len(self._accuracies))

    def _fail(self, failure: str, *, epochs: int) -> None:
        # Ray's scheduler needs a finite score from every result; a trial without an epoch has none: 0.
        ended = {"failure": failure, "epoch": epochs, "done": True}
        tune.report({"objective": 0.0, **self._last, **self._score(), **ended})

    def _on_epoch(self, row: EpochRow, network: keras.Model) -> None:
        from catdog_ray.model import multiply_adds

        # One that is repeated after an interruption counts as it stands on record.
        recorded = self._parameters["accuracies"]
        self._accuracies.append(recorded[row.epoch - 1] if row.epoch <= len(recorded) else row.selection_accuracy)
        report: Report = {
            **row.__dict__,
            **self._score(),
            "parameters": int(network.count_params()),
            "multiply_adds": multiply_adds(network),
            "failure": None,
        }
        self._last = report
        metrics.publish(
            tune.get_context().get_trial_name(),
            epoch=row.epoch,
            objective=report.get("objective", row.selection_accuracy),
            images_per_second=self._images / max(row.seconds, 1e-9),
        )
        report = {**report, **(self._extra(row, network) if self._extra else {})}
        if row.epoch % self._settings.train.checkpoint_epochs and row.epoch not in self._always_save:
            tune.report(report)
            return
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            self._save(Path(folder), network, row.epoch)
            tune.report(report, checkpoint=tune.Checkpoint.from_directory(folder))

    def _score(self) -> Report:
        if self._window is None or not self._accuracies:
            return {}
        return {"objective": objective(self._accuracies, window=self._window)}

    def _save(self, folder: Path, network: keras.Model, epoch: int) -> None:
        from catdog_ray.evaluation import averaged
        from catdog_ray.train import save_checkpoint

        save_checkpoint(folder / "checkpoint.npz", network, epoch=epoch)
        (folder / "accuracies.json").write_text(json.dumps(self._accuracies), encoding="utf-8")
        if self._keep_model and epoch == max(self._always_save):
            with averaged(network):
                network.save(folder / "model.keras")

    def _fetch_checkpoint(self, folder: Path) -> Path | None:
        """The furthest whole checkpoint: Ray's own after a lost worker, or one that an interrupted session left."""
        from catdog_ray.train import CheckpointError, checkpoint_epoch

        own = tune.get_checkpoint()
        # Ray's own is of this session, in which every report was received before the next epoch began.
        found = [(own, math.inf)] if own else []
        found += [(tune.Checkpoint(uri), self._parameters["resume_before"]) for uri in self._parameters["resume_from"]]
        furthest: tuple[int, Path | None] = 0, None
        for number, (checkpoint, before) in enumerate(found):
            try:
                local = Path(checkpoint.to_directory(str(folder / str(number))))
                epoch = checkpoint_epoch(local / "checkpoint.npz")
                accuracies = json.loads((local / "accuracies.json").read_text(encoding="utf-8"))
            except (OSError, ValueError, CheckpointError):
                # Torn by the crash that made it needed; the one before it will do.
                continue
            if len(accuracies) == epoch < before and epoch > furthest[0]:
                furthest = epoch, local / "checkpoint.npz"
                recorded = self._parameters["accuracies"]
                self._accuracies = [*recorded[:epoch], *accuracies[len(recorded[:epoch]) :]]
        return furthest[1]
