"""Which hyperparameters decide whether a configuration is among the good ones: PED-ANOVA, by Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import optuna

from catdog_ray import distributions
from catdog_ray.records import TrialRow
from catdog_ray.settings import Range
from catdog_ray.statistics import LEVEL, SEED

MINIMUM_TRIALS = 10
"""With fewer, the tenth that PED-ANOVA calls good is not even one whole trial."""

MOST_TRIALS = 4000
"""Of more, so many are taken at even distances: Optuna copies every trial several times."""

RESAMPLES, FEWEST_RESAMPLES, RESAMPLED_TRIALS = 100, 40, 40_000
"""Fewer resamples, so that no more trials are copied in all; below the second number there are no intervals."""


def importance(trials: Sequence[TrialRow], space: Mapping[str, Range]) -> dict[str, float] | None:
    """Shares that add up to 1, by hyperparameter; None where there are too few scored trials or they score alike.

    Trials stopped early count with their objective at that time, as they do for the search; failed ones do not count.
    Watanabe, Bansal, Hutter 2023, "PED-ANOVA: efficiently quantifying hyperparameter importance".
    """
    return _shares(_scored(trials, space), space)


def intervals(trials: Sequence[TrialRow], space: Mapping[str, Range]) -> dict[str, tuple[float, float]] | None:
    """95 % of the shares when the trials are drawn again, with replacement; None where that would take too long."""
    scored = _scored(trials, space)
    resamples = min(RESAMPLES, RESAMPLED_TRIALS // max(1, len(scored)))
    if resamples < FEWEST_RESAMPLES or len(scored) < MINIMUM_TRIALS:
        return None
    rng = np.random.default_rng(SEED)
    drawn = ([scored[i] for i in rng.integers(0, len(scored), len(scored))] for _ in range(resamples))
    found = [shares for shares in (_shares(sample, space) for sample in drawn) if shares is not None]
    if len(found) < FEWEST_RESAMPLES:
        return None
    tails = 0.5 - LEVEL / 2, 0.5 + LEVEL / 2
    low, high = np.quantile([[shares[name] for name in space] for shares in found], tails, axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(space)}


def _scored(trials: Sequence[TrialRow], space: Mapping[str, Range]) -> list[optuna.trial.FrozenTrial]:
    scored = [row for row in trials if row.status != "failed" and row.objective is not None]
    known = distributions.of_space(space)
    return [
        optuna.trial.create_trial(params=dict(row.hyperparameters), distributions=known, value=row.objective)
        for row in scored[:: max(1, -(-len(scored) // MOST_TRIALS))]
    ]


def _shares(scored: Sequence[optuna.trial.FrozenTrial], space: Mapping[str, Range]) -> dict[str, float] | None:
    if len(scored) < MINIMUM_TRIALS or len({trial.value for trial in scored}) < 2:
        return None
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Where the best tenth scores as all others do, Optuna warns, and calls everything equally important.
            warnings.filterwarnings("error", "Target and region quantiles", UserWarning)
            study = optuna.create_study(direction="maximize")
            study.add_trials(scored)
            found = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
    except UserWarning:
        return None
    finally:
        optuna.logging.set_verbosity(verbosity)
    return {name: float(found.get(name, 0.0)) for name in space}
