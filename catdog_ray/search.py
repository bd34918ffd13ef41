"""One study on the cluster: searcher + ASHA + trials + rows; resumed from the rows alone."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune import Callback

from catdog_ray import cluster, trial
from catdog_ray.budget import TimeBudget
from catdog_ray.data import Images
from catdog_ray.ledger import StudyDirectory
from catdog_ray.past import Past, trial_row
from catdog_ray.records import (
    STATUSES,
    EpochRow,
    Progress,
    TrialEpochRow,
    TrialRow,
    best_trial,
)
from catdog_ray.searchers import OptunaSuggester, Planned, StudySearcher, Suggester
from catdog_ray.settings import Config
from catdog_ray.space import HyperParameters

OnProgress = Callable[[Progress], None]


REPEAT_TOLERANCE = 0.02
"""How far an epoch repeated from a checkpoint may lie from its first record before it is worth a warning."""


_log = logging.getLogger(__name__)


def run(
    study: StudyDirectory,
    config: Config,
    train: Images,
    selection: Images,
    *,
    running_on: cluster.Cluster,
    on_progress: OnProgress | None = None,
) -> list[TrialRow]:
    """Search until `config.search.num_samples` trials have ended, going on from the study's rows; returns all trials.

    With `config.search.time_budget_s` it may end before; what runs then counts as stopped, with what it has.
    There is no argument for the test split. Raises KeyboardInterrupt if interrupted; the rows are then on the disk.
    """
    settings = config.search
    past = Past.read(study, settings)
    study.trials.append(*past.settled)
    finished = [*past.finished, *past.settled]
    suggester = _suggester(study, config)
    for row in sorted(finished, key=lambda row: row.trial):
        suggester.replay(row, [epoch.objective for epoch in past.epochs[row.trial]])
    planned = _planned(past, config, finished, cluster.storage(config.cluster, study.path))
    taken = {row.trial for row in finished} | {item.number for item in planned}
    open_numbers = [number for number in range(settings.num_samples) if number not in taken]
    recorder = _Recorder(study, config, past, finished, on_progress)
    remaining = len(planned) + len(open_numbers)
    left_s = math.inf if settings.time_budget_s is None else settings.time_budget_s - past.elapsed_s
    if remaining and left_s > 0:
        cluster.run_trials(
            trial.run_trial,
            arguments={
                "train": train,
                "selection": selection,
                "model_settings": config.model,
                "augment_settings": config.augment,
                "train_settings": config.train,
                "epochs": settings.max_epochs,
                "scoring_window": settings.scoring_window,
                "seed": config.seed,
                "threads": max(1, int(config.cluster.cpus_per_trial)),
            },
            searcher=StudySearcher(
                suggester, planned=planned, open_numbers=open_numbers, max_epochs=settings.max_epochs
            ),
            count=remaining,
            scheduler=past.asha,
            callback=recorder,
            settings=config.cluster,
            concurrent=min(running_on.slots, remaining),
            storage_path=cluster.storage(config.cluster, study.path),
            name_of=trial_name,
            stop=TimeBudget(left_s) if math.isfinite(left_s) else None,
        )
        recorder.end_running()
    return sorted(study.trials.read(), key=lambda row: row.trial)


def trial_name(parameters: Mapping[str, Any]) -> str:
    """`trial-0007`: in Ray's dashboard, on the disk and in messages."""
    return f"trial-{parameters['number']:04d}"


def starting_points(config: Config) -> list[HyperParameters]:
    """The configurations that every method tries first."""
    baseline = HyperParameters.of({name: config.baseline[name] for name in config.space})
    return [{"baseline": baseline}[name] for name in config.search.start_from]


class _Recorder(Callback):
    """Writes the rows as results arrive, and tells the view on the terminal."""

    def __init__(
        self,
        study: StudyDirectory,
        config: Config,
        past: Past,
        finished: Sequence[TrialRow],
        on_progress: OnProgress | None,
    ) -> None:
        self._study, self._config, self._on_progress = study, config, on_progress
        self._epochs = {number: list(rows) for number, rows in past.epochs.items()}
        self._trials = list(finished)
        self._running: set[int] = set()
        self._before_s, self._started = past.elapsed_s, time.monotonic()
        self._new_epochs = 0

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles what it is given for a restore of its own, which is never used."""
        return {}

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._running.add(trial.config["number"])
        self._show(f"{trial_name(trial.config)} started")

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if result.get("failure"):
            return
        row = self._epoch_row(trial.config, result)
        rows = self._epochs.setdefault(row.trial, [])
        if row.epoch <= len(rows):
            _compare_repeated(rows[row.epoch - 1], row)
            return
        rows.append(row)
        self._study.epochs.append(row)
        self._new_epochs += 1
        self._show(
            f"{trial_name(trial.config)} epoch {row.epoch}: selection accuracy {row.selection_accuracy:.3f}",
            is_event=False,
        )

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._end(trial.config, trial.last_result.get("failure"))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._end(trial.config, cluster.failure_reason(trial))

    def end_running(self) -> None:
        """What the time budget cut in the middle of an epoch; a trial without any epoch leaves no row."""
        for number in sorted(self._running):
            if self._epochs.get(number):
                self._end({"number": number}, None)

    def _end(self, parameters: Mapping[str, Any], failure: str | None) -> None:
        number = parameters["number"]
        self._running.discard(number)
        rows = self._epochs.get(number, [])
        if rows:
            row = trial_row(rows, self._config.search.max_epochs, failure, self._elapsed_s())
        else:
            row = TrialRow(
                trial=number,
                status="failed",
                reason=failure or "ended before its first epoch",
                hyperparameters=dict(parameters["hyperparameters"]),
                epochs=0,
                objective=None,
                parameters=None,
                multiply_adds=None,
                suggestion_seconds=parameters["suggestion_seconds"],
                training_seconds=0.0,
                elapsed_s=self._elapsed_s(),
            )
        self._trials.append(row)
        self._study.trials.append(row)
        self._show(f"{trial_name(parameters)} {row.status}" + (f": {row.reason}" if row.reason else ""))

    def _epoch_row(self, parameters: Mapping[str, Any], result: Mapping[str, Any]) -> TrialEpochRow:
        epoch = EpochRow(**{name: result[name] for name in EpochRow.__dataclass_fields__})
        return TrialEpochRow(
            trial=parameters["number"],
            epoch=epoch.epoch,
            train_loss=epoch.train_loss,
            train_accuracy=epoch.train_accuracy,
            selection_loss=epoch.selection_loss,
            selection_accuracy=epoch.selection_accuracy,
            objective=result["objective"],
            seconds=epoch.seconds,
            elapsed_s=self._elapsed_s(),
            hyperparameters=dict(parameters["hyperparameters"]),
            parameters=result["parameters"],
            multiply_adds=result["multiply_adds"],
            suggestion_seconds=parameters["suggestion_seconds"],
        )

    def _elapsed_s(self) -> float:
        return self._before_s + time.monotonic() - self._started

    def _show(self, latest: str, *, is_event: bool = True) -> None:
        if self._on_progress is None:
            return
        counts = {status: sum(row.status == status for row in self._trials) for status in STATUSES}
        best = best_trial(self._trials)
        asked = self._config.search.num_samples
        running_best = max(
            ((rows[-1].objective, number) for number, rows in self._epochs.items() if number in self._running and rows),
            default=None,
        )
        words = f"{best.objective:.3f} (trial {best.trial})" if best is not None else "-"
        if running_best and (best is None or running_best[0] > (best.objective or 0)):
            words = f"{running_best[0]:.3f} (trial {running_best[1]}, running)"
        self._on_progress(
            Progress(
                stage="search",
                asked=asked,
                running=len(self._running),
                **counts,
                epochs=sum(map(len, self._epochs.values())),
                elapsed_s=self._elapsed_s(),
                left_s=self._left_s(asked),
                best=words,
                latest=latest,
                is_event=is_event,
            )
        )

    def _left_s(self, asked: int) -> float | None:
        """From the epochs that ended trials took on average, at this session's rate of epochs."""
        ended = [row.epochs for row in self._trials if row.epochs]
        if not ended or not self._new_epochs:
            return None
        typical = sum(ended) / len(ended)
        underway = sum(max(0.0, typical - len(self._epochs.get(number, []))) for number in self._running)
        waiting = max(0, asked - len(self._trials) - len(self._running))
        rate = self._new_epochs / (time.monotonic() - self._started)
        return (waiting * typical + underway) / rate


def _suggester(study: StudyDirectory, config: Config) -> Suggester:
    return OptunaSuggester(
        config.space,
        sampler=config.search.method,
        seed=config.seed,
        startup_trials=config.search.startup_trials,
        name=config.name,
        journal=study.path / "optuna-journal.log",
    )


def _planned(past: Past, config: Config, finished: Sequence[TrialRow], storage_path: str) -> list[Planned]:
    """Trials that a crash left, then the starting points that never began."""
    ended = {row.trial for row in finished}
    left = [
        Planned(
            number,
            HyperParameters.of({name: rows[0].hyperparameters[name] for name in config.space}),
            resume_from=tuple(cluster.checkpoints(storage_path, trial_name({"number": number}))),
            resume_before=len(rows) + 1,
            objectives=tuple(row.objective for row in rows),
            suggestion_seconds=rows[0].suggestion_seconds,
        )
        for number, rows in sorted(past.epochs.items())
        if number not in ended
    ]
    known = ended | {item.number for item in left}
    starts = [
        Planned(number, point)
        for number, point in enumerate(starting_points(config)[: config.search.num_samples])
        if number not in known
    ]
    return left + starts


def _compare_repeated(first: TrialEpochRow, again: TrialEpochRow) -> None:
    difference = abs(first.selection_accuracy - again.selection_accuracy)
    if difference > REPEAT_TOLERANCE:
        _log.warning(
            "trial %d, epoch %d was repeated from a checkpoint and differs by %.3f in selection accuracy; "
            "the first record stays",
            first.trial,
            first.epoch,
            difference,
        )
