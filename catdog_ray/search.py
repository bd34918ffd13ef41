"""One study on the cluster: searcher + ASHA + trials + rows; resumed from the rows alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ray.tune import Callback

from catdog_ray import checkpoints, cluster, running, trial
from catdog_ray.budget import TimeBudget
from catdog_ray.data import Images
from catdog_ray.errors import RunFailed
from catdog_ray.ledger import StudyDirectory
from catdog_ray.oracle import OracleSuggester
from catdog_ray.past import Past
from catdog_ray.recorder import OnProgress, SearchRecorder
from catdog_ray.records import TrialRow, trial_name
from catdog_ray.searchers import OptunaSuggester, Planned, StudySearcher, Suggester
from catdog_ray.settings import Config
from catdog_ray.space import HyperParameters, starting_points


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
    There is no argument for the test split. Raises KeyboardInterrupt if interrupted and RunFailed where Ray lost
    trials; the rows are then on the disk.
    """
    settings = config.search
    past = Past.read(study, settings)
    study.trials.append(*past.settled)
    finished = [*past.finished, *past.settled]
    planned = _planned(past, config, finished, checkpoints.place(config.cluster, study))
    taken = {row.trial for row in finished} | {item.number for item in planned}
    open_numbers = [number for number in range(settings.num_samples) if number not in taken]
    recorder = SearchRecorder(
        study,
        settings,
        epochs=past.epochs,
        finished=finished,
        elapsed_s=past.elapsed_s,
        on_progress=on_progress,
    )
    remaining = len(planned) + len(open_numbers)
    suggester: Suggester | None = None
    budget: TimeBudget | None = None
    left_s = math.inf if settings.time_budget_s is None else settings.time_budget_s - past.elapsed_s
    if remaining and left_s > 0:
        suggester = _suggester(study, config)
        budget = TimeBudget(left_s) if math.isfinite(left_s) else None
        for row in sorted(finished, key=lambda row: row.trial):
            suggester.replay(row, [epoch.objective for epoch in past.epochs[row.trial]])
        # Of all trials, not of what is left: a search that is gone on with computes with as many threads as before.
        share = running_on.share(runs=settings.num_samples)
        running.run_trials(
            trial.run_trial,
            arguments={
                "train": train,
                "selection": selection,
                "settings": config.fit,
                "epochs": settings.max_epochs,
                "scoring_window": settings.scoring_window,
                "seed": config.seed,
                "threads": share.threads,
            },
            searcher=StudySearcher(
                suggester, planned=planned, open_numbers=open_numbers, max_epochs=settings.max_epochs
            ),
            count=remaining,
            scheduler=past.asha,
            callback=_Recorder(recorder),
            settings=config.cluster,
            share=share,
            storage_path=checkpoints.place(config.cluster, study),
            name_of=lambda parameters: trial_name(parameters["number"]),
            stop=budget,
        )
    has_time = left_s > 0 and (budget is None or budget.has_time)
    cut = recorder.end_begun() if math.isfinite(left_s) else []
    if suggester is not None:
        suggester.close(cut)
    rows = sorted(study.trials.read(), key=lambda row: row.trial)
    lost = set(range(settings.num_samples)) - {row.trial for row in rows}
    if lost and has_time:
        # Ray drops a trial without a word where a worker cannot be made ready for it.
        names = ", ".join(map(trial_name, sorted(lost)))
        raise RunFailed(f"Ray ended without {names}; --resume goes on from the rows")
    return rows


class _Recorder(Callback):
    """Ray Tune's callbacks into the search's recorder."""

    def __init__(self, recorder: SearchRecorder) -> None:
        self._recorder = recorder

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles what it is given for a restore of its own, which is never used."""
        return {}

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._recorder.start(trial.config["number"])

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if not result.get("failure"):
            self._recorder.epoch(trial.config, result)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._recorder.end(trial.config, trial.last_result.get("failure"))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._recorder.end(trial.config, running.failure_reason(trial))


def _suggester(study: StudyDirectory, config: Config) -> Suggester:
    if config.search.method == "keras-tuner":
        return OracleSuggester(config.space, seed=config.seed, startup_trials=config.search.startup_trials)
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
            HyperParameters.in_space(rows[0].hyperparameters, config.space),
            resume_from=tuple(checkpoints.of_trial(storage_path, trial_name(number))),
            resume_before=len(rows) + 1,
            accuracies=tuple(row.selection_accuracy for row in rows),
            objectives=tuple(row.objective for row in rows),
            suggestion_seconds=rows[0].suggestion_seconds,
        )
        for number, rows in sorted(past.epochs.items())
        if number not in ended
    ]
    known = ended | {item.number for item in left}
    starts = [
        Planned(number, point)
        for number, point in enumerate(
            starting_points(config.search.start_from, config.space, baseline=config.baseline)
        )
        if number not in known and number < config.search.num_samples
    ]
    return left + starts
