"""One study by the stock `keras_tuner.BayesianOptimization`: one trial after the other in one process, all full length.

That process is a child, so that Keras stays out of the driver as it does for Ray; the driver alone writes the rows.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catdog_ray import config as configuration
from catdog_ray import oracle, processes
from catdog_ray.builder import BuilderError
from catdog_ray.data import Images
from catdog_ray.errors import RunFailed
from catdog_ray.ledger import StudyDirectory
from catdog_ray.recorder import OnProgress, SearchRecorder
from catdog_ray.records import EpochRow, TrialEpochRow, TrialRow, ended_row, objective
from catdog_ray.settings import Config
from catdog_ray.space import HyperParameters, starting_points

if TYPE_CHECKING:
    import keras

_LOG = "stderr.txt"

_PATIENCE_S = 3600.0
"""Of one wait for the child: the system takes no more than some weeks."""

Send = Callable[[tuple[Any, ...]], None]


@dataclass(frozen=True)
class _Work:
    """What the child needs: the config as a dictionary, what earlier sessions left, where Keras Tuner may write."""

    config: dict[str, Any]
    train: Images
    selection: Images
    ended: list[TrialRow]
    begun: HyperParameters | None
    project: Path


def run(
    study: StudyDirectory,
    config: Config,
    train: Images,
    selection: Images,
    *,
    on_progress: OnProgress | None = None,
) -> list[TrialRow]:
    """Search until `config.search.num_samples` trials have ended, going on from the study's rows; returns all trials.

    A trial that was cut is begun again from its first epoch. Raises KeyboardInterrupt if interrupted, RunFailed
    where the tuner's process ended early or found no new configuration.
    """
    epochs: dict[int, list[TrialEpochRow]] = {}
    for row in study.epochs.read():
        epochs.setdefault(row.trial, []).append(row)
    ended = study.trials.read()
    known = {row.trial for row in ended}
    for number, rows in epochs.items():
        if number not in known and rows[-1].epoch >= config.search.max_epochs:
            # Its last epoch was written, its own row was cut off.
            ended.append(ended_row(rows, config.search.max_epochs, None, rows[-1].elapsed_s))
            study.trials.append(ended[-1])
    known = {row.trial for row in ended}
    cut = next((rows[0].hyperparameters for number, rows in epochs.items() if number not in known), None)
    elapsed = [row.elapsed_s for rows in epochs.values() for row in rows] + [row.elapsed_s for row in ended]
    recorder = SearchRecorder(
        study,
        config.search,
        epochs=epochs,
        finished=ended,
        elapsed_s=max(elapsed, default=0.0),
        on_progress=on_progress,
    )
    budget_s = config.search.time_budget_s
    left_s = None if budget_s is None else budget_s - max(elapsed, default=0.0)
    has_finished = False
    if len(ended) < config.search.num_samples and (left_s is None or left_s > 0):
        begun = None if cut is None else HyperParameters.in_space(cut, config.space)
        ended.sort(key=lambda row: row.trial)
        project = study.path / "keras-tuner"
        try:
            has_finished = _watch(
                _Work(config.as_dict(), train, selection, ended, begun, project), recorder, left_s=left_s
            )
        finally:
            shutil.rmtree(project, ignore_errors=True)
    if left_s is not None:
        recorder.end_begun()
    trials = sorted(study.trials.read(), key=lambda row: row.trial)
    if len(trials) < config.search.num_samples and has_finished:
        # Its oracle stops where random draws give nothing new; another oracle of ours repeats a point.
        raise RunFailed(
            f"Keras Tuner found no new configuration after {len(trials)} of {config.search.num_samples} trials, "
            f"for the space is exhausted; end the study with --resume --num-samples {len(trials)}"
        )
    return trials


def _watch(work: _Work, recorder: SearchRecorder, *, left_s: float | None) -> bool:
    """Run the child and record what it sends, until it has finished (True) or `left_s` seconds have passed."""
    end = math.inf if left_s is None else time.monotonic() + left_s
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_search, args=(work, sender), name="keras-tuner", daemon=True)
    # Ctrl-C goes to both; the child ends when this process ends it, or is gone.
    with processes.handling((signal.SIGINT,), signal.SIG_IGN):
        child.start()
    sender.close()
    try:
        while True:
            if not receiver.poll(min(_PATIENCE_S, max(0.0, end - time.monotonic()))):
                if time.monotonic() < end:
                    continue
                return False
            try:
                kind, *content = receiver.recv()
            except EOFError:
                child.join()
                last = _last_line(work.project / _LOG)
                raise RunFailed(
                    f"Keras Tuner's process ended early (exit code {child.exitcode}, last words {last!r}); "
                    "--resume goes on from the rows"
                ) from None
            if kind == "finished":
                return True
            if kind == "failed":
                raise RunFailed(f"Keras Tuner: {content[0]}; --resume goes on from the rows")
            getattr(recorder, kind)(*content)
    finally:
        child.terminate()
        child.join()
        receiver.close()


def _search(work: _Work, sender: Connection) -> None:
    """In the child: the real tuner, as the guide ran it."""
    work.project.mkdir(parents=True, exist_ok=True)
    # TensorFlow greets on standard error whatever it is told, which would tear the live view.
    with (work.project / _LOG).open("w") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())
    try:
        _tuner(work, sender.send).search()
    except BrokenPipeError:
        # The driver is gone; its rows are on the disk.
        return
    except Exception as error:
        sender.send(("failed", (str(error).strip().splitlines() or [type(error).__name__])[-1]))
    else:
        sender.send(("finished",))


def _last_line(log: Path) -> str | None:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else None


def _tuner(work: _Work, send: Send) -> Any:
    """`keras_tuner.BayesianOptimization` with its own defaults; what is recorded hangs on its hooks."""
    from catdog_ray import backend

    backend.prepare(threads=os.cpu_count() or 1)
    import keras
    import keras_tuner

    from catdog_ray import model
    from catdog_ray.train import Diverged, fit

    config = configuration.from_dict(work.config)
    space = config.space

    class Network(keras_tuner.HyperModel):  # type: ignore[misc]
        """The network of every method, over the same space and with the same `fit`."""

        def build(self, hp: Any) -> keras.Model:
            return model.build(
                oracle.from_keras_tuner(hp.values, space),
                config.model,
                image_size=work.train.pixels.shape[1],
                classes=len(work.train.class_names),
            )

        def fit(self, hp: Any, network: keras.Model, *_: Any, callbacks: list[Any], **__: Any) -> dict[str, float]:
            backend.forget_models()
            # `fit` builds the network again: seeded, as every method's.
            score = _Score(callbacks[0].tuner.parameters, config.search.scoring_window, send)
            fit(
                oracle.from_keras_tuner(hp.values, space),
                work.train,
                work.selection,
                settings=config.fit,
                epochs=config.search.max_epochs,
                seed=config.seed,
                on_epoch=score.on_epoch,
                callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=score.into_logs), *callbacks],
            )
            return {oracle.OBJECTIVE: score.objective}

    class Recorded(keras_tuner.BayesianOptimization):  # type: ignore[misc]
        """Says what it does, and first runs what is planned."""

        planned = _planned(work, config)
        parameters: dict[str, Any]

        def _populate_initial_space(self) -> None:
            """Nothing: the space is given whole. The stock one builds networks to see what they ask for, and would fail
            with the first of the user's own that raises, where only that trial should."""

        def pre_create_trial(self) -> None:
            number = len(self.oracle.trials)
            oracle.reseed(self.oracle, config.seed, number)
            self.is_planned = bool(self.planned) and number < config.search.num_samples
            if self.is_planned:
                # As Keras Tuner itself does with trials that a reload left.
                self.oracle._retry_queue.append(oracle.add_trial(self.oracle, self.planned.pop(0)).trial_id)
            self.asked = time.perf_counter()

        def on_trial_begin(self, trial: Any) -> None:
            number = list(self.oracle.trials).index(trial.trial_id)
            self.parameters = {
                "number": number,
                "hyperparameters": dict(oracle.from_keras_tuner(trial.hyperparameters.values, space)),
                "suggestion_seconds": None if self.is_planned else time.perf_counter() - self.asked,
            }
            send(("start", number))

        def on_trial_end(self, trial: Any) -> None:
            failure = None if trial.status == "COMPLETED" else trial.message.strip().splitlines()[-1]
            for error in (Diverged, BuilderError):
                failure = failure and failure.removeprefix(f"{error.__module__}.{error.__name__}: ")
            send(("end", self.parameters, failure))
            super().on_trial_end(trial)

    tuner = Recorded(
        Network(),
        objective=keras_tuner.Objective(oracle.OBJECTIVE, "max"),
        max_trials=config.search.num_samples,
        seed=oracle.keras_tuner_seed(config.seed),
        hyperparameters=oracle.to_keras_tuner(space),
        max_consecutive_failed_trials=config.search.num_samples + 1,
        directory=str(work.project),
        project_name="search",
        overwrite=True,
    )
    tuner.oracle.verbose = 0
    for row in work.ended:
        point = HyperParameters.in_space(row.hyperparameters, space)
        score = None if row.status == "failed" else row.objective
        oracle.end_trial(tuner.oracle, oracle.add_trial(tuner.oracle, point), score, epoch=row.epochs)
    return tuner


def _planned(work: _Work, config: Config) -> list[HyperParameters]:
    """The trial that was cut, then the starting points that never began."""
    starts = starting_points(config.search.start_from, config.space, baseline=config.baseline)
    begun = [] if work.begun is None else [work.begun]
    return begun + starts[len(work.ended) + len(begun) :]


class _Score:
    """The objective of one trial, epoch by epoch, by the one rule of all methods."""

    def __init__(self, parameters: dict[str, Any], window: int, send: Send) -> None:
        self._parameters, self._window, self._send = parameters, window, send
        self._accuracies: list[float] = []

    @property
    def objective(self) -> float:
        return objective(self._accuracies, window=self._window)

    def on_epoch(self, row: EpochRow, network: keras.Model) -> None:
        """Record the epoch."""
        from catdog_ray.model import multiply_adds

        self._accuracies.append(row.selection_accuracy)
        sizes = {"parameters": int(network.count_params()), "multiply_adds": multiply_adds(network)}
        self._send(("epoch", self._parameters, {**row.__dict__, **sizes}))

    def into_logs(self, epoch: int, logs: dict[str, Any]) -> None:
        """Where Keras Tuner's own callback looks for it, which keeps the weights of the best epoch."""
        logs[oracle.OBJECTIVE] = self.objective
