"""Keras Tuner's oracle by trial number, in this process and in its actor."""

from __future__ import annotations

import time

import pytest
from small import ANY_POINT, EVERY_KIND, quick_config

from catdog_ray.errors import RunFailed
from catdog_ray.oracle import Oracle, OracleSuggester, from_keras_tuner, keras_tuner_seed, to_keras_tuner
from catdog_ray.ranges import Choice, FloatRange, IntRange, contains
from catdog_ray.records import TrialRow
from catdog_ray.space import HyperParameters, Suggestion, require_inside

CONFIG = quick_config()
BASELINE = HyperParameters.of(CONFIG.baseline)
SMALL = {"dropout_rate": FloatRange(0.0, 1.0, "linear"), "conv_kernel": Choice((3, 5))}


def score(point: HyperParameters) -> float:
    """A smooth bowl around dropout 0.2."""
    return 1 - (point.number("dropout_rate") - 0.2) ** 2


def ended(number: int, point: HyperParameters, status: str = "completed") -> TrialRow:
    value = None if status == "failed" else score(point)
    return TrialRow(number, status, None, dict(point), 2, value, 10, 10, 0.0, 1.0, 1.0)


def play(oracle: Oracle, numbers: range) -> list[HyperParameters]:
    points = []
    for number in numbers:
        point = oracle.suggest(number).hyperparameters
        oracle.finish(number, "completed", 2, score(point))
        points.append(point)
    return points


def test_suggestions_lie_in_the_space_and_follow_the_seed():
    """Seed 0 too, which Keras Tuner takes for none."""
    points = play(Oracle(CONFIG.space, seed=0, startup_trials=10), range(8))
    assert points == play(Oracle(CONFIG.space, seed=0, startup_trials=10), range(8))
    assert points != play(Oracle(CONFIG.space, seed=1, startup_trials=10), range(8))
    for point in points:
        assert tuple(point) == tuple(CONFIG.space)
        assert all(contains(CONFIG.space[name], value) for name, value in point.items())
    assert len(set(points)) == 8


def test_it_learns_from_scores():
    points = play(Oracle(SMALL, seed=0, startup_trials=4), range(10))
    misses = [abs(point.number("dropout_rate") - 0.2) for point in points]
    assert sum(misses[6:]) / 4 < 0.1 < sum(misses[:4]) / 4


def test_an_oracle_rebuilt_from_rows_goes_on_as_the_first_would():
    """Also while another trial runs, whose score the oracle has to imagine."""
    first = Oracle(SMALL, seed=3, startup_trials=3)
    points = play(first, range(5))
    running = first.suggest(5).hyperparameters
    after = first.suggest(6).hyperparameters
    rebuilt = Oracle(SMALL, seed=3, startup_trials=3)
    for number, point in enumerate(points):
        rebuilt.replay(ended(number, point))
    rebuilt.begin(5, running)
    assert rebuilt.suggest(6).hyperparameters == after


def test_ends_reach_the_oracle_as_what_they_are():
    oracle = Oracle(SMALL, seed=0, startup_trials=20)
    oracle.begin(0, HyperParameters.of({"dropout_rate": 0.5, "conv_kernel": 3}))
    oracle.finish(0, "stopped", 3, 0.61)
    for number in range(1, 6):  # Keras Tuner itself gives up after three failures in a row
        oracle.suggest(number)
        oracle.finish(number, "failed", 0, None)
    oracle.suggest(6)
    trials = list(oracle._oracle.trials.values())
    assert [trial.status for trial in trials] == ["COMPLETED"] + 5 * ["FAILED"] + ["RUNNING"]
    assert [trial.score for trial in trials] == [0.61, None, None, None, None, None, None]
    assert trials[0].best_step == 3
    assert trials[0].hyperparameters.values == {"dropout_rate": 0.5, "conv_kernel": 3}


def test_an_exhausted_space_repeats_points():
    space = {"conv_kernel": Choice((3, 5)), "dense_units": Choice((8, 16))}
    oracle = Oracle(space, seed=0, startup_trials=20)
    points = []
    for number in range(9):
        points.append(oracle.suggest(number).hyperparameters)
        oracle.finish(number, "completed", 1, 0.5)
    assert len(set(points)) == 4


def test_the_space_in_keras_tuners_terms_and_back():
    space = {
        "learning_rate": FloatRange(1e-4, 1e-2, "log"),
        "dropout_rate": FloatRange(0.0, 0.6, "linear"),
        "width": Choice((1, 1.5, 2)),
        "activation": Choice(("relu", "tanh")),
    }
    found = to_keras_tuner(space)
    assert [hp.name for hp in found.space] == list(space)
    assert (found.space[0].sampling, found.space[1].sampling) == ("log", "linear")
    assert found.space[2].values == [1.0, 1.5, 2.0]
    values = {"learning_rate": 0.010000000000000002, "dropout_rate": 0.3, "width": 2.0, "activation": "tanh"}
    point = from_keras_tuner(values, space)
    assert dict(point) == {"learning_rate": 1e-2, "dropout_rate": 0.3, "width": 2, "activation": "tanh"}
    assert isinstance(point["width"], int)


def test_every_kind_of_range_is_kept_in_value_and_type():
    """By random draws, and by the model, which likes the ends."""
    random = Oracle(EVERY_KIND, seed=0, startup_trials=10**6)
    points = [random.suggest(number).hyperparameters for number in range(200)]
    modelled = Oracle(EVERY_KIND, seed=0, startup_trials=3)
    for number in range(6):
        points.append(modelled.suggest(number).hyperparameters)
        modelled.finish(number, "completed", 1, points[-1].number("width") + points[-1].number("units"))
    for point in points:
        assert require_inside(point, EVERY_KIND) == point
        kinds = [type(value) for name, value in point.items() if name != "scale"]
        assert kinds == [float, float, int, int, bool, int, str]
    assert {point["units"] for point in points} == {1, 2, 3, 4}
    assert {point["width"] for point in points} == set(range(8, 65, 8))
    assert {repr(point["skip"]) for point in points} == {"True", "False"}
    assert {repr(point["scale"]) for point in points} == {"1", "1.5"}


def test_whole_numbers_and_truth_in_keras_tuners_terms_and_back():
    space = {"units": IntRange(1, 1024, 1, "log"), "width": IntRange(8, 64, 8, "linear"), "skip": Choice((True, False))}
    units, width, skip = to_keras_tuner(space).space
    assert units.prob_to_value(1.0) == 1025  # one above its end; the day it is none, the cut may go
    assert (width.prob_to_value(1.0), skip.prob_to_value(0.0)) == (64, 1)
    values = {"units": units.prob_to_value(1.0), "width": 64, "skip": 1}
    assert repr(dict(from_keras_tuner(values, space))) == "{'units': 1024, 'width': 64, 'skip': True}"


def test_a_planned_point_is_known_again_as_the_oracles_own():
    """It tells by the texts of values what was tried, and proposes 1 and 1.0 where the space says true and 1."""
    space = {"skip": Choice((True,)), "scale": Choice((1, 1.5))}
    oracle = Oracle(space, seed=0, startup_trials=20)
    oracle.begin(0, HyperParameters.of({"skip": True, "scale": 1}))
    assert repr(oracle._oracle.trials["0000000000"].hyperparameters.values) == "{'skip': 1, 'scale': 1.0}"
    oracle.finish(0, "completed", 1, 0.5)
    assert repr(dict(oracle.suggest(1).hyperparameters)) == "{'skip': True, 'scale': 1.5}"


def test_what_is_cut_is_told_to_the_oracle(monkeypatch: pytest.MonkeyPatch):
    """So that one that is rebuilt from rows has heard the same."""
    oracle = Oracle({"units": IntRange(1, 1024, 1, "log")}, seed=0, startup_trials=20)
    beyond = {"status": "RUNNING", "values": {"units": 1025}}
    monkeypatch.setattr(oracle._oracle, "populate_space", lambda trial_id: beyond)
    assert dict(oracle.suggest(0).hyperparameters) == {"units": 1024}
    assert next(iter(oracle._oracle.trials.values())).hyperparameters.values == {"units": 1024}


def test_every_kind_is_the_same_after_a_resume():
    first = Oracle(EVERY_KIND, seed=3, startup_trials=3)
    first.begin(0, ANY_POINT)
    first.finish(0, "completed", 2, 0.5)
    points = [ANY_POINT]
    for number in range(1, 4):
        points.append(first.suggest(number).hyperparameters)
        first.finish(number, "completed", 2, 0.5 + number / 100)
    rebuilt = Oracle(EVERY_KIND, seed=3, startup_trials=3)
    for number, point in enumerate(points):
        rebuilt.replay(TrialRow(number, "completed", None, dict(point), 2, 0.5 + number / 100, 1, 1, 0.0, 1.0, 1.0))
    assert repr(rebuilt.suggest(4).hyperparameters) == repr(first.suggest(4).hyperparameters)


def test_seeds_are_never_what_keras_tuner_takes_for_none():
    seeds = [keras_tuner_seed(seed) for seed in range(1000)]
    assert min(seeds) > 0
    assert len(set(seeds)) == 1000


@pytest.mark.slow
def test_the_actor_answers_later_and_as_the_oracle_alone(ray_cluster):
    suggester = OracleSuggester(SMALL, seed=0, startup_trials=3)
    alone = Oracle(SMALL, seed=0, startup_trials=3)
    point = HyperParameters.of({"dropout_rate": 0.5, "conv_kernel": 3})
    suggester.begin(0, point)
    alone.begin(0, point)
    assert suggester.suggest(1) is None  # Keras Tuner is still being imported; the driver does not wait
    assert wait_for(suggester, 1).hyperparameters == alone.suggest(1).hyperparameters
    for each in (suggester, alone):
        each.finish(0, "completed", 2, 0.75)
        each.finish(1, "stopped", 1, 0.5)
    found = wait_for(suggester, 2)
    assert found.hyperparameters == alone.suggest(2).hyperparameters
    assert found.seconds > 0


@pytest.mark.slow
def test_what_the_oracle_refuses_ends_the_search_with_its_reason(ray_cluster):
    suggester = OracleSuggester(SMALL, seed=0, startup_trials=3)
    suggester.finish(7, "completed", 1, 0.5)
    with pytest.raises(RunFailed, match=r"Keras Tuner's oracle failed: KeyError: 'trial-7'; --resume goes on"):
        wait_for(suggester, 8)


def wait_for(suggester: OracleSuggester, number: int) -> Suggestion:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        found = suggester.suggest(number)
        if found is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("no suggestion in 90 s")
