"""Optuna TPE and random search behind Ray's searcher interface."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend
from ray.tune.search import Searcher

from catdog_ray import distributions
from catdog_ray.ranges import Range
from catdog_ray.records import TrialRow
from catdog_ray.space import HyperParameters, Suggestion, require_inside


@dataclass(frozen=True)
class Planned:
    """A trial whose configuration is settled: a starting point, or one that an interrupted session left.

    `accuracies` and `objectives` are what is on record of it, epoch by epoch; `resume_from` its checkpoints. A
    checkpoint of epoch `resume_before` or later is too new: what was reported with it did not reach the rows.
    """

    number: int
    hyperparameters: HyperParameters
    resume_from: tuple[str, ...] = ()
    resume_before: int = 1
    accuracies: tuple[float, ...] = ()
    objectives: tuple[float, ...] = ()
    suggestion_seconds: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self) -> dict[str, Any]:
        """What the trial gets as its config."""
        return {
            "number": self.number,
            "hyperparameters": dict(self.hyperparameters),
            "resume_from": list(self.resume_from),
            "resume_before": self.resume_before,
            "accuracies": list(self.accuracies),
            "suggestion_seconds": self.suggestion_seconds,
            **self.extra,
        }


class Suggester(Protocol):
    """Proposes configurations and learns how they did. Every method of search is one."""

    def suggest(self, number: int) -> Suggestion | None:
        """The configuration of trial `number`, which now runs; None while it is still being found."""
        ...

    def begin(self, number: int, hyperparameters: HyperParameters, objectives: Sequence[float] = ()) -> None:
        """Trial `number` runs with a configuration that was not suggested here, after the epochs on record."""
        ...

    def report(self, number: int, epoch: int, objective: float) -> None:
        """A running trial's score after an epoch."""
        ...

    def finish(self, number: int, status: str, epoch: int, objective: float | None) -> None:
        """The trial ended as `completed`, `stopped` or `failed`."""
        ...

    def replay(self, row: TrialRow, objectives: Sequence[float]) -> None:
        """A trial that ended in an earlier session, with its objective after each epoch."""
        ...

    def close(self, cut: Sequence[TrialRow]) -> None:
        """The search is over: what ran until now ended with its row in `cut`, or before its first epoch."""
        ...


class OptunaSuggester:
    """TPE or random search by Optuna; the study may also be kept as a Journal file.

    The sampler is seeded anew for every suggestion from (seed, trial number), so that a resumed search goes on as
    an uninterrupted one would, given the same rows. A trial stopped early counts with its objective at that time.
    """

    def __init__(
        self,
        space: Mapping[str, Range],
        *,
        sampler: str,
        seed: int,
        startup_trials: int,
        name: str = "study",
        journal: Path | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._sampler, self._seed, self._startup = space, sampler, seed, startup_trials
        self._distributions = distributions.of_space(space)
        self._study = optuna.create_study(
            study_name=name, direction="maximize", storage=_journal_storage(journal) if journal else None
        )
        self._running: dict[int, optuna.Trial] = {}
        self._reported: dict[int, int] = {}

    def suggest(self, number: int) -> Suggestion:
        """See `Suggester`."""
        started = time.perf_counter()
        derived = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        if self._sampler == "tpe":
            self._study.sampler = optuna.samplers.TPESampler(n_startup_trials=self._startup, seed=derived)
        else:
            self._study.sampler = optuna.samplers.RandomSampler(seed=derived)
        trial = self._study.ask(self._distributions)
        self._running[number] = trial
        trial.set_user_attr("number", number)
        return Suggestion(require_inside(trial.params, self._space), time.perf_counter() - started)

    def begin(self, number: int, hyperparameters: HyperParameters, objectives: Sequence[float] = ()) -> None:
        """See `Suggester`."""
        self._study.enqueue_trial(dict(hyperparameters), user_attrs={"number": number})
        self._running[number] = self._study.ask(self._distributions)
        for epoch, objective in enumerate(objectives, start=1):
            self.report(number, epoch, objective)

    def report(self, number: int, epoch: int, objective: float) -> None:
        """See `Suggester`."""
        # An epoch repeated from a checkpoint is on record already, and Optuna warns of a second report.
        if epoch > self._reported.get(number, 0):
            self._running[number].report(objective, epoch)
            self._reported[number] = epoch

    def finish(self, number: int, status: str, epoch: int, objective: float | None) -> None:
        """See `Suggester`."""
        trial = self._running.pop(number)
        trial.set_user_attr("status", status)
        if status == "failed" or objective is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            if epoch > self._reported.get(number, 0):
                trial.report(objective, epoch)
            self._study.tell(trial, objective)

    def replay(self, row: TrialRow, objectives: Sequence[float]) -> None:
        """See `Suggester`."""
        failed = row.status == "failed" or row.objective is None
        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE,
                value=None if failed else row.objective,
                params=dict(row.hyperparameters),
                distributions=self._distributions,
                user_attrs={"number": row.trial, "status": row.status},
                intermediate_values=dict(enumerate(objectives, start=1)),
            )
        )

    def close(self, cut: Sequence[TrialRow]) -> None:
        """See `Suggester`. A trial left running would look so in optuna-dashboard for ever."""
        rows = {row.trial: row for row in cut}
        for number in list(self._running):
            row = rows.get(number)
            self.finish(number, *(("failed", 0, None) if row is None else (row.status, row.epochs, row.objective)))


class StudySearcher(Searcher):
    """Hands Ray the trials of a study: first what is planned, then suggestions for the `open_numbers`."""

    def __init__(
        self,
        suggester: Suggester | None,
        *,
        planned: Sequence[Planned],
        open_numbers: Sequence[int] = (),
        max_epochs: int,
    ) -> None:
        super().__init__(metric="objective" if suggester is not None else None, mode="max")
        self._suggester, self._max_epochs = suggester, max_epochs
        self._planned, self._open_numbers = list(planned), list(open_numbers)
        self._numbers: dict[str, int] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, config: Any, **_: Any) -> bool:
        """Ray offers metric and mode; they are fixed here."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The next trial's parameters, None to be asked again soon, or FINISHED."""
        if self._planned:
            planned = self._planned.pop(0)
            if self._suggester is not None:
                self._suggester.begin(planned.number, planned.hyperparameters, planned.objectives)
        elif self._suggester is not None and self._open_numbers:
            suggestion = self._suggester.suggest(self._open_numbers[0])
            if suggestion is None:
                return None
            number = self._open_numbers.pop(0)
            planned = Planned(number, suggestion.hyperparameters, suggestion_seconds=suggestion.seconds)
        else:
            return Searcher.FINISHED
        self._numbers[trial_id] = planned.number
        return planned.parameters()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A trial that goes on."""
        if self._suggester is not None:
            self._suggester.report(self._numbers[trial_id], result["epoch"], result["objective"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial that ended; Ray passes the result that stopped it here and not to `on_trial_result`."""
        if self._suggester is None:
            return
        number = self._numbers.pop(trial_id)
        if error or result is None or result.get("failure"):
            self._suggester.finish(number, "failed", 0, None)
        else:
            status = "completed" if result["epoch"] >= self._max_epochs else "stopped"
            self._suggester.finish(number, status, result["epoch"], result["objective"])

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles what it is given for a restore of its own, which is never used."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the searcher is rebuilt from the rows."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the searcher is rebuilt from the rows."""


def _journal_storage(path: Path) -> optuna.storages.JournalStorage:
    """An empty journal in place of an old one."""
    for old in (path, path.with_name(path.name + ".lock")):
        old.unlink(missing_ok=True)
    backend = JournalFileBackend(str(path))
    return optuna.storages.JournalStorage(backend)
