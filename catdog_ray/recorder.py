"""What a search writes down and shows while it runs, whoever runs its trials: Ray Tune or the stock tuner."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import (
    STATUSES,
    EpochRow,
    Progress,
    TrialEpochRow,
    TrialRow,
    best_trial,
    ended_row,
    objective,
    trial_name,
)
from catdog_ray.settings import SearchSettings

OnProgress = Callable[[Progress], None]

REPEAT_TOLERANCE = 0.02
"""How far an epoch repeated after an interruption may lie from its first record before it is worth a warning."""

_log = logging.getLogger(__name__)


class SearchRecorder:
    """Rows of epochs and trials as they arrive, and the progress of the whole.

    `epochs` and `finished` are what earlier sessions left; `elapsed_s` is their time. Parameters of a trial are those
    of `searchers.Planned`.
    """

    def __init__(
        self,
        study: StudyDirectory,
        settings: SearchSettings,
        *,
        epochs: Mapping[int, Sequence[TrialEpochRow]],
        finished: Sequence[TrialRow],
        elapsed_s: float,
        on_progress: OnProgress | None,
    ) -> None:
        self._study, self._settings, self._on_progress = study, settings, on_progress
        self._epochs = {number: list(rows) for number, rows in epochs.items()}
        self._trials = list(finished)
        self._running: set[int] = set()
        self._before_s, self._started = elapsed_s, time.monotonic()
        self._new_epochs = 0

    def start(self, number: int) -> None:
        """A trial runs."""
        self._running.add(number)
        self._show(f"{trial_name(number)} started")

    def epoch(self, parameters: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """An epoch ended: `result` holds the fields of an EpochRow and the model's size.

        One that is on record already is compared with the record and dropped.
        """
        rows = self._epochs.setdefault(parameters["number"], [])
        row = self._epoch_row(parameters, result, rows)
        if row.epoch <= len(rows):
            _compare_repeated(rows[row.epoch - 1], row)
            return
        rows.append(row)
        self._study.epochs.append(row)
        self._new_epochs += 1
        self._show(
            f"{trial_name(row.trial)} epoch {row.epoch}: selection accuracy {row.selection_accuracy:.3f}",
            is_event=False,
        )

    def end(self, parameters: Mapping[str, Any], failure: str | None) -> None:
        """A trial ended; `failure` says why if it failed."""
        number = parameters["number"]
        self._running.discard(number)
        rows = self._epochs.get(number, [])
        if rows:
            row = ended_row(rows, self._settings.max_epochs, failure, self._elapsed_s())
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
        self._show(f"{trial_name(number)} {row.status}" + (f": {row.reason}" if row.reason else ""))

    def end_begun(self) -> list[TrialRow]:
        """What the time budget cut, in this session or before it began again; one without any epoch leaves no row."""
        before = len(self._trials)
        ended = {row.trial for row in self._trials}
        for number in sorted(self._epochs):
            if number not in ended and self._epochs[number]:
                self.end({"number": number}, None)
        return self._trials[before:]

    def _epoch_row(
        self, parameters: Mapping[str, Any], result: Mapping[str, Any], earlier: Sequence[TrialEpochRow]
    ) -> TrialEpochRow:
        epoch = EpochRow.of(result)
        # Of what is on record: a worker that repeated epochs, after a loss, scores with what it saw the second time.
        accuracies = [row.selection_accuracy for row in earlier[: epoch.epoch - 1]] + [epoch.selection_accuracy]
        return TrialEpochRow(
            trial=parameters["number"],
            epoch=epoch.epoch,
            train_loss=epoch.train_loss,
            train_accuracy=epoch.train_accuracy,
            selection_loss=epoch.selection_loss,
            selection_accuracy=epoch.selection_accuracy,
            objective=objective(accuracies, window=self._settings.scoring_window),
            seconds=epoch.seconds,
            elapsed_s=self._elapsed_s(),
            hyperparameters=dict(parameters["hyperparameters"]),
            parameters=result["parameters"],
            # As before it was resumed, should another release count otherwise.
            multiply_adds=earlier[0].multiply_adds if earlier else result["multiply_adds"],
            suggestion_seconds=parameters["suggestion_seconds"],
        )

    def _elapsed_s(self) -> float:
        return self._before_s + time.monotonic() - self._started

    def _show(self, latest: str, *, is_event: bool = True) -> None:
        if self._on_progress is None:
            return
        counts = {status: sum(row.status == status for row in self._trials) for status in STATUSES}
        self._on_progress(
            Progress(
                stage="search",
                asked=self._settings.num_samples,
                running=len(self._running),
                **counts,
                epochs=sum(map(len, self._epochs.values())),
                elapsed_s=self._elapsed_s(),
                left_s=self._left_s(),
                best=self._best(),
                latest=latest,
                is_event=is_event,
                underway=tuple((trial_name(n), len(self._epochs.get(n, []))) for n in sorted(self._running)),
            )
        )

    def _best(self) -> str:
        best = best_trial(self._trials)
        running = [
            (rows[-1].objective, number) for number, rows in self._epochs.items() if number in self._running and rows
        ]
        ahead = max(running, default=None)
        if ahead and (best is None or ahead[0] > (best.objective or 0)):
            return f"{ahead[0]:.3f} (trial {ahead[1]}, running)"
        return f"{best.objective:.3f} (trial {best.trial})" if best is not None else "-"

    def _left_s(self) -> float | None:
        """From the epochs that ended trials took on average, at this session's rate of epochs."""
        ended = [row.epochs for row in self._trials if row.epochs]
        if not ended or not self._new_epochs:
            return None
        typical = sum(ended) / len(ended)
        underway = sum(max(0.0, typical - len(self._epochs.get(number, []))) for number in self._running)
        waiting = max(0, self._settings.num_samples - len(self._trials) - len(self._running))
        rate = self._new_epochs / (time.monotonic() - self._started)
        return (waiting * typical + underway) / rate


def _compare_repeated(first: TrialEpochRow, again: TrialEpochRow) -> None:
    difference = abs(first.selection_accuracy - again.selection_accuracy)
    if difference > REPEAT_TOLERANCE:
        _log.warning(
            "trial %d, epoch %d was repeated after an interruption and differs by %.3f in selection accuracy; "
            "the first record stays",
            first.trial,
            first.epoch,
            difference,
        )
