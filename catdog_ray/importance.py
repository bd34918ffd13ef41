"""Which hyperparameters decide whether a configuration is among the good ones: PED-ANOVA, by Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping, Sequence

import numpy as np
import optuna

from catdog_ray import distributions
from catdog_ray.ranges import Range
from catdog_ray.records import TrialRow
from catdog_ray.statistics import LEVEL, SEED

MINIMUM_TRIALS = 10
"""With fewer, the tenth that PED-ANOVA calls good is not even one whole trial."""

RESAMPLES, FEWEST_RESAMPLES = 100, 40
"""How often trials are drawn again, and how many of the draws must have shares."""

MOST_DRAWN = 1000
"""Trials in a draw. With more the intervals are as wide as with so many: drawing all would take too long."""


class _Ended(optuna.Study):
    """Trials as a study that can be asked and holds no copies: `add_trials` copies deeply, 95 % of all the time."""

    def __init__(self, trials: Sequence[optuna.trial.FrozenTrial]) -> None:
        storage = optuna.storages.InMemoryStorage()
        number = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE])
        super().__init__(storage.get_study_name_from_id(number), storage)
        self._ended = [_numbered(trial, number) for number, trial in enumerate(trials)]

    def get_trials(
        self, deepcopy: bool = True, states: Container[optuna.trial.TrialState] | None = None
    ) -> list[optuna.trial.FrozenTrial]:
        """All of them: what Optuna measures importance by, it reads here, and asks for no others."""
        return list(self._ended)


def importance(trials: Sequence[TrialRow], space: Mapping[str, Range]) -> dict[str, float] | None:
    """Shares that add up to 1, by hyperparameter; None where there are too few scored trials or they score alike.

    Trials stopped early count with their objective at that time, as they do for the search; failed ones do not count.
    Watanabe, Bansal, Hutter 2023, "PED-ANOVA: efficiently quantifying hyperparameter importance".
    """
    return _shares(_scored(trials, space), space)


def intervals(trials: Sequence[TrialRow], space: Mapping[str, Range]) -> dict[str, tuple[float, float]] | None:
    """95 % of the shares when the trials are drawn again, with replacement; None where there are no shares."""
    scored = _scored(trials, space)
    if len(scored) < MINIMUM_TRIALS:
        return None
    rng = np.random.default_rng(SEED)
    size = min(len(scored), MOST_DRAWN)
    drawn = ([scored[i] for i in rng.integers(0, len(scored), size)] for _ in range(RESAMPLES))
    found = [shares for shares in (_shares(sample, space) for sample in drawn) if shares is not None]
    if len(found) < FEWEST_RESAMPLES:
        return None
    tails = 0.5 - LEVEL / 2, 0.5 + LEVEL / 2
    low, high = np.quantile([[shares[name] for name in space] for shares in found], tails, axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(space)}


def _scored(trials: Sequence[TrialRow], space: Mapping[str, Range]) -> list[optuna.trial.FrozenTrial]:
    known = distributions.of_space(space)
    # That a point lies in the space is known of rows; `create_trial` looks once more, in ten times the time.
    return [
        optuna.trial.FrozenTrial(
            number=-1,
            trial_id=-1,
            state=optuna.trial.TrialState.COMPLETE,
            value=row.objective,
            datetime_start=None,
            datetime_complete=None,
            params=dict(row.hyperparameters),
            distributions=known,
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )
        for row in trials
        if row.is_scored
    ]


def _numbered(trial: optuna.trial.FrozenTrial, number: int) -> optuna.trial.FrozenTrial:
    """The trial under a number of its own: one that is drawn twice is two trials."""
    found = object.__new__(optuna.trial.FrozenTrial)  # three times as fast as `copy.copy`
    vars(found).update(vars(trial))
    found.number, found._trial_id = number, number
    return found


def _shares(scored: Sequence[optuna.trial.FrozenTrial], space: Mapping[str, Range]) -> dict[str, float] | None:
    if len(scored) < MINIMUM_TRIALS or len({trial.value for trial in scored}) < 2:
        return None
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Where the best tenth scores as all others do, Optuna warns, and calls everything equally important.
            warnings.filterwarnings("error", "Target and region quantiles", UserWarning)
            found = optuna.importance.get_param_importances(
                _Ended(scored), evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
    except UserWarning:
        return None
    finally:
        optuna.logging.set_verbosity(verbosity)
    return {name: float(found.get(name, 0.0)) for name in space}
