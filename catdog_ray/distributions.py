"""The space in Optuna's terms, for a search and for what is computed of it afterwards without Ray."""

from __future__ import annotations

from collections.abc import Mapping

import optuna

from catdog_ray.ranges import Choice, IntRange, Range


def of_space(space: Mapping[str, Range]) -> dict[str, optuna.distributions.BaseDistribution]:
    """One distribution for each hyperparameter."""
    return {name: _distribution(found) for name, found in space.items()}


def _distribution(found: Range) -> optuna.distributions.BaseDistribution:
    if isinstance(found, Choice):
        return optuna.distributions.CategoricalDistribution(found.choices)
    if isinstance(found, IntRange):
        return optuna.distributions.IntDistribution(found.low, found.high, log=found.scale == "log", step=found.step)
    return optuna.distributions.FloatDistribution(found.low, found.high, log=found.scale == "log")
