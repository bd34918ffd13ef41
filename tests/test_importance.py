"""PED-ANOVA on trials whose score hangs on one hyperparameter, and where there is nothing to say."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from make_rows import quickstart, trial_row

from catdog_ray.importance import importance
from catdog_ray.records import TrialRow

SPACE = quickstart().space


def rows(count: int, **changes: Any) -> list[TrialRow]:
    """Random points whose objective falls with the distance of the learning rate from 1e-3."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        exponent = rng.uniform(-4, -2)
        point = {
            "learning_rate": float(10**exponent),
            "dropout_rate": float(rng.uniform(0, 0.6)),
            "conv_filters": int(rng.choice([16, 24, 32])),
            "conv_kernel": int(rng.choice([3, 5])),
            "dense_units": int(rng.choice([128, 256, 512])),
        }
        values = {"objective": float(0.9 - 0.2 * abs(exponent + 3)), "hyperparameters": point, **changes}
        found.append(trial_row(number, **values))
    return found


def test_what_decides_the_score_is_important() -> None:
    found = importance(rows(200), SPACE)
    assert found is not None
    assert list(found) == list(SPACE)
    assert sum(found.values()) == pytest.approx(1)
    assert found["learning_rate"] > 0.9


def test_it_is_optunas_own_figure() -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
    for row in rows(60):
        study.enqueue_trial(row.hyperparameters)

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
        trial.suggest_float("dropout_rate", 0.0, 0.6)
        trial.suggest_categorical("conv_filters", [16, 24, 32])
        trial.suggest_categorical("conv_kernel", [3, 5])
        trial.suggest_categorical("dense_units", [128, 256, 512])
        return float(0.9 - 0.2 * abs(np.log10(rate) + 3))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study.optimize(objective, n_trials=60)
    expected = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    assert importance(rows(60), SPACE) == pytest.approx(expected)


def test_failed_trials_do_not_count() -> None:
    failed = [trial_row(900 + n, status="failed", objective=0.99, reason="diverged") for n in range(50)]
    assert importance([*rows(60), *failed], SPACE) == importance(rows(60), SPACE)


@pytest.mark.parametrize("given", [rows(9), rows(50, objective=0.5), rows(50, objective=None, status="failed"), []])
def test_nothing_is_said_of_too_few_or_equal_trials(given: list[TrialRow]) -> None:
    assert importance(given, SPACE) is None
