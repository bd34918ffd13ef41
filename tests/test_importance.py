"""PED-ANOVA on trials whose score hangs on one hyperparameter, and where there is nothing to say."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import optuna
import pytest
from make_rows import quickstart, trial_row

from catdog_ray import distributions
from catdog_ray.importance import RESAMPLES, importance, intervals
from catdog_ray.records import TrialRow
from catdog_ray.statistics import SEED

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


def test_ten_trials_are_enough() -> None:
    found = importance(rows(10), SPACE)
    assert found is not None
    assert sum(found.values()) == pytest.approx(1)


def test_optuna_speaks_as_it_did_before() -> None:
    before = optuna.logging.get_verbosity()
    try:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        importance(rows(10), SPACE)
        assert optuna.logging.get_verbosity() == optuna.logging.ERROR
    finally:
        optuna.logging.set_verbosity(before)


def test_intervals_hold_the_share_and_are_narrow_where_one_thing_decides() -> None:
    shares, found = importance(rows(200), SPACE), intervals(rows(200), SPACE)
    assert shares is not None
    assert found is not None
    assert list(found) == list(SPACE)
    low, high = found["learning_rate"]
    assert 0.7 < low <= shares["learning_rate"] <= high <= 1
    assert all(0 <= low <= high < 0.3 for name, (low, high) in found.items() if name != "learning_rate")
    assert intervals(rows(200), SPACE) == found


def test_intervals_are_quantiles_over_trials_drawn_with_replacement() -> None:
    rng, given = np.random.default_rng(SEED), rows(20)
    samples = ([given[i] for i in rng.integers(0, 20, 20)] for _ in range(RESAMPLES))
    shares = [found["learning_rate"] for sample in samples if (found := importance(sample, SPACE)) is not None]
    found = intervals(given, SPACE)
    assert found is not None
    assert found["learning_rate"] == pytest.approx((np.quantile(shares, 0.025), np.quantile(shares, 0.975)))


def scored(objectives: list[float]) -> list[TrialRow]:
    """Random points with these objectives, which hang on nothing."""
    return [
        dataclasses.replace(row, objective=value) for row, value in zip(rows(len(objectives)), objectives, strict=True)
    ]


def test_of_few_trials_nothing_is_certain() -> None:
    """Of twelve the tenth that is good is one trial."""
    found = intervals(scored(np.random.default_rng(1).random(12).tolist()), SPACE)
    assert found is not None
    assert max(high - low for low, high in found.values()) > 0.5


def test_there_are_no_intervals_of_too_few_trials() -> None:
    assert intervals(rows(9), SPACE) is None


def test_there_are_intervals_of_thousands() -> None:
    found = intervals(rows(1500), SPACE)
    assert found is not None
    assert 0.9 < found["learning_rate"][0] < found["learning_rate"][1] < 1


def test_trials_that_are_drawn_twice_count_twice_as_in_a_study_that_copies_them() -> None:
    given = scored(np.random.default_rng(2).random(40).tolist())
    drawn = [given[n] for n in np.random.default_rng(3).integers(0, 40, 40)]
    assert len({row.trial for row in drawn}) < 40
    study = optuna.create_study(direction="maximize")
    known = distributions.of_space(SPACE)
    for row in drawn:
        study.add_trial(optuna.trial.create_trial(params=row.hyperparameters, distributions=known, value=row.objective))
    expected = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    assert importance(drawn, SPACE) == expected


def test_a_best_tenth_that_scores_as_all_others_says_nothing() -> None:
    """Optuna calls everything equally important then."""
    assert importance(scored([0.6, *[0.5] * 39]), SPACE) is None
    assert importance(scored([0.4, *[0.5] * 39]), SPACE) is not None
