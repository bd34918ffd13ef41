"""Which hyperparameters decide whether a configuration is among the good ones: PED-ANOVA, by Optuna."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna

from catdog_ray import distributions
from catdog_ray.records import TrialRow
from catdog_ray.settings import Range

MINIMUM_TRIALS = 10
"""With fewer, the tenth that PED-ANOVA calls good is not even one whole trial."""

MOST_TRIALS = 4000
"""Of more, so many are taken at even distances: Optuna copies every trial several times."""


def importance(trials: Sequence[TrialRow], space: Mapping[str, Range]) -> dict[str, float] | None:
    """Shares that add up to 1, by hyperparameter; None where there are too few scored trials or they score alike.

    Trials stopped early count with their objective at that time, as they do for the search; failed ones do not count.
    Watanabe, Bansal, Hutter 2023, "PED-ANOVA: efficiently quantifying hyperparameter importance".
    """
    scored = [row for row in trials if row.status != "failed" and row.objective is not None]
    if len(scored) < MINIMUM_TRIALS or len({row.objective for row in scored}) < 2:
        return None
    scored = scored[:: -(-len(scored) // MOST_TRIALS)]
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize")
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params=dict(row.hyperparameters), distributions=distributions.of_space(space), value=row.objective
                )
                for row in scored
            ]
        )
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
    return {name: float(found.get(name, 0.0)) for name in space}
