"""What an interrupted study left: its rows, replayed into Ray's ASHA, so that a search goes on where it was cut."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import ASHAScheduler

from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import TrialEpochRow, TrialRow, ended_row
from catdog_ray.settings import SearchSettings


class ResumableASHA(ASHAScheduler):
    """Ray's ASHA with the trial's number as its identity, so that recorded rows can be replayed into its rungs.

    Ray names trials anew in every session; a trial that goes on from a checkpoint must not enter a rung twice. One
    that is stopped stays so: Ray forgets that where the worker is lost while its last checkpoint is being registered.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._stopped: dict[int, int] = {}

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None: Tune starts what is pending by itself.

        A trial that is named here gets the worker of one that just ended, and the worker that was being started for it
        is thrown away; where trials end faster than workers start, a search never has all of them. Left to itself, Tune
        gives the free worker to the newest trial, for which nothing was started yet.
        """

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, _Numbered.of(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        numbered = _Numbered.of(trial)
        decision: str = super().on_trial_result(tune_controller, numbered, result)
        if decision == ASHAScheduler.STOP:
            self._stopped.setdefault(numbered.trial_id, result["epoch"])
        return ASHAScheduler.STOP if result["epoch"] >= self._stopped.get(numbered.trial_id, math.inf) else decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        super().on_trial_complete(tune_controller, _Numbered.of(trial), result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_remove(tune_controller, _Numbered.of(trial))


@dataclass(frozen=True)
class _Numbered:
    """The one attribute of a trial that ASHA's bookkeeping uses."""

    trial_id: int

    @classmethod
    def of(cls, trial: Any) -> Any:
        return cls(trial.config["number"])


@dataclass
class Replayed:
    """A trial as ASHA sees it: its number."""

    config: dict[str, Any]


@dataclass(frozen=True)
class Past:
    """What the rows say of earlier sessions."""

    finished: list[TrialRow]
    settled: list[TrialRow]
    epochs: Mapping[int, list[TrialEpochRow]]
    elapsed_s: float
    asha: ResumableASHA

    @classmethod
    def read(cls, study: StudyDirectory, settings: SearchSettings) -> Past:
        """Replay all epochs, in the order in which they arrived, into a fresh ASHA.

        `settled` are trials whose last epoch ended them (full budget, or stopped by ASHA) but whose own row was cut
        off by a crash.
        """
        finished = study.trials.read()
        ended = {row.trial for row in finished}
        asha = asha_scheduler(settings)
        epochs: defaultdict[int, list[TrialEpochRow]] = defaultdict(list)
        settled = []
        rows = study.epochs.read()
        for row in rows:
            tune_trial = Replayed({"number": row.trial})
            if row.trial not in epochs:
                asha.on_trial_add(None, tune_trial)
            epochs[row.trial].append(row)
            decision = asha.on_trial_result(None, tune_trial, {"epoch": row.epoch, "objective": row.objective})
            if decision == ASHAScheduler.STOP and row.trial not in ended:
                ended.add(row.trial)
                settled.append(ended_row(epochs[row.trial], settings.max_epochs, None, row.elapsed_s))
        elapsed = max([*(row.elapsed_s for row in rows), *(row.elapsed_s for row in finished)], default=0.0)
        return cls(finished, settled, epochs, elapsed, asha)


def asha_scheduler(settings: SearchSettings) -> ResumableASHA:
    """A fresh ASHA over the objective and the epoch."""
    return ResumableASHA(
        metric="objective",
        mode="max",
        time_attr="epoch",
        max_t=settings.max_epochs,
        # A first rung beyond the end: no trial is stopped early.
        grace_period=min(settings.grace_epochs, settings.max_epochs),
        reduction_factor=settings.reduction_factor,
    )
