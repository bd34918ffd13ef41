"""Keras Tuner's Bayesian oracle behind the searchers' interface, in an actor of its own: importing it loads TensorFlow.

The oracle is driven in its own process through its own life cycle (create, update, end); its chief and worker mode
is not used. What is replayed or planned enters as a trial like those it created itself.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from catdog_ray.errors import RunFailed
from catdog_ray.ranges import Choice, IntRange, Range, Value
from catdog_ray.records import TrialRow
from catdog_ray.space import HyperParameters, Suggestion, require_inside

if TYPE_CHECKING:
    import keras_tuner

OBJECTIVE = "objective"

_NEVER = 10**9


class OracleSuggester:
    """A `searchers.Suggester` whose oracle lives in a Ray actor on the driver's node.

    The actor asks for no CPU, as Optuna's suggestions ask for none: both are computed beside the trials.
    """

    def __init__(self, space: Mapping[str, Range], *, seed: int, startup_trials: int) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        actor: Any = ray.remote(num_cpus=0)(Oracle)
        self._oracle = actor.options(scheduling_strategy=here).remote(
            dict(space), seed=seed, startup_trials=startup_trials
        )
        self._asked: dict[int, Any] = {}
        self._told: list[Any] = []

    def suggest(self, number: int) -> Suggestion | None:
        """See `Suggester`. Raises RunFailed where the oracle has died or refused something."""
        if number not in self._asked:
            self._asked[number] = self._oracle.suggest.remote(number)
        try:
            done, self._told = ray.wait(self._told, num_returns=len(self._told), timeout=0) if self._told else ([], [])
            ray.get(done)
            ready, _ = ray.wait([self._asked[number]], timeout=0)
            if not ready:
                return None
            found: Suggestion = ray.get(self._asked.pop(number))
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            raise RunFailed(f"Keras Tuner's oracle failed: {lines[-1]}; --resume goes on from the rows") from error
        return found

    def begin(self, number: int, hyperparameters: HyperParameters, objectives: Sequence[float] = ()) -> None:
        """See `Suggester`."""
        self._told.append(self._oracle.begin.remote(number, hyperparameters))

    def report(self, number: int, epoch: int, objective: float) -> None:
        """See `Suggester`. Nothing: the oracle learns from a trial's score at its end."""

    def finish(self, number: int, status: str, epoch: int, objective: float | None) -> None:
        """See `Suggester`."""
        self._told.append(self._oracle.finish.remote(number, status, epoch, objective))

    def replay(self, row: TrialRow, objectives: Sequence[float]) -> None:
        """See `Suggester`."""
        self._told.append(self._oracle.replay.remote(row))

    def close(self, cut: Sequence[TrialRow]) -> None:
        """See `Suggester`. Nothing: the oracle ends with the search, and keeps no file."""


class Oracle:
    """`keras_tuner.oracles.BayesianOptimizationOracle` by trial number."""

    def __init__(self, space: Mapping[str, Range], *, seed: int, startup_trials: int) -> None:
        self._space, self._seed = space, seed
        self._oracle = bayesian_oracle(space, seed=seed, startup_trials=startup_trials)

    def suggest(self, number: int) -> Suggestion:
        """The point of trial `number`, which now runs."""
        started = time.perf_counter()
        reseed(self._oracle, self._seed, number)
        trial = self._oracle.create_trial(_tuner_id(number))
        if trial.status != "RUNNING":
            # So many random points were tried before that the space seems exhausted; a repetition is better than none.
            self._oracle._tried_so_far.clear()
            trial = self._oracle.create_trial(_tuner_id(number))
        point = from_keras_tuner(trial.hyperparameters.values, self._space)
        # What was cut to the range is told to it after a resume too.
        trial.hyperparameters.values = _its_values(self._oracle, point)
        return Suggestion(point, time.perf_counter() - started)

    def begin(self, number: int, hyperparameters: HyperParameters) -> None:
        """Trial `number` runs with a point that was not suggested here."""
        trial = add_trial(self._oracle, hyperparameters)
        self._oracle.ongoing_trials[_tuner_id(number)] = trial

    def finish(self, number: int, status: str, epoch: int, objective: float | None) -> None:
        """The trial ended. A stopped one counts with its objective at that time, as for every method."""
        trial = self._oracle.ongoing_trials[_tuner_id(number)]
        end_trial(self._oracle, trial, None if status == "failed" else objective, epoch=epoch)

    def replay(self, row: TrialRow) -> None:
        """A trial that ended in an earlier session."""
        self.begin(row.trial, HyperParameters.in_space(row.hyperparameters, self._space))
        self.finish(row.trial, row.status, row.epochs, row.objective)


def bayesian_oracle(space: Mapping[str, Range], *, seed: int, startup_trials: int) -> Any:
    """Keras Tuner's oracle over `space`; it never gives up after failures, and it writes no files."""
    import keras_tuner

    class Silent(keras_tuner.oracles.BayesianOptimizationOracle):  # type: ignore[misc]
        """Without files: the rows are the truth, and what they rebuild needs no second copy."""

        trials: dict[str, Any]

        def save(self, *_: Any) -> None:
            return

        def _save_trial(self, trial: Any) -> None:
            return

        def populate_space(self, trial_id: str) -> Any:
            if self.ongoing_trials:
                # Running trials get what the process predicts for them; it is to know all ended ones by then, where
                # the stock oracle has the fit of its last suggestion, and after a resume none.
                every = self.trials
                self.trials = {name: trial for name, trial in every.items() if trial.status != "RUNNING"}
                if any(trial.status == "COMPLETED" for trial in self.trials.values()):
                    self.gpr.fit(*self._vectorize_trials())
                self.trials = every
            return super().populate_space(trial_id)

        def score_trial(self, trial: Any) -> None:
            # The objective reported last; the stock oracle takes the best over the steps, but ours is one already.
            trial.score = trial.metrics.get_last_value(OBJECTIVE)
            trial.best_step = trial.metrics.get_history(OBJECTIVE)[-1].step

    oracle = Silent(
        objective=keras_tuner.Objective(OBJECTIVE, "max"),
        max_trials=_NEVER,
        num_initial_points=startup_trials,
        seed=keras_tuner_seed(seed),
        hyperparameters=to_keras_tuner(space),
        max_consecutive_failed_trials=_NEVER,
    )
    oracle.verbose = 0
    return oracle


def to_keras_tuner(space: Mapping[str, Range]) -> keras_tuner.HyperParameters:
    """The space in Keras Tuner's terms."""
    import keras_tuner

    found = keras_tuner.HyperParameters()
    for name, values in space.items():
        if isinstance(values, Choice):
            found.Choice(name, _of_one_type(values.choices))
        elif isinstance(values, IntRange):
            # On a log scale its steps are factors, so that none is given; the one that is ours to have there is 1.
            step = None if values.scale == "log" else values.step
            found.Int(name, values.low, values.high, step=step, sampling=values.scale)
        else:
            found.Float(name, values.low, values.high, sampling=values.scale)
    return found


def from_keras_tuner(values: Mapping[str, Any], space: Mapping[str, Range]) -> HyperParameters:
    """A point of the space, with the choices as they were given (Keras Tuner makes 1 of true).

    What its logarithms give beyond the range is cut: a rounding error of a float, a whole number one above the end.
    """
    point: dict[str, Value] = {}
    for name, found in space.items():
        if isinstance(found, Choice):
            point[name] = next(choice for choice in found.choices if choice == values[name])
        else:
            kind = int if isinstance(found, IntRange) else float
            point[name] = min(max(kind(values[name]), found.low), found.high)
    return require_inside(point, space)


def add_trial(oracle: Any, hyperparameters: HyperParameters) -> Any:
    """Enter a trial with a given point, as `create_trial` enters one of its own."""
    from keras_tuner.engine.trial import Trial

    values = oracle.get_space()
    values.values = _its_values(oracle, hyperparameters)
    trial = Trial(values, trial_id=f"{len(oracle.trials):0{len(str(oracle.max_trials))}d}", status="RUNNING")
    oracle._record_values(trial)
    oracle.trials[trial.trial_id] = trial
    oracle.start_order.append(trial.trial_id)
    return trial


def end_trial(oracle: Any, trial: Any, objective: float | None, *, epoch: int) -> None:
    """End a trial with its objective, or without one as failed."""
    if objective is None:
        trial.status = "FAILED"
    else:
        oracle.update_trial(trial.trial_id, {OBJECTIVE: objective}, step=epoch)
        trial.status = "COMPLETED"
    oracle.end_trial(trial)


def reseed(oracle: Any, seed: int, number: int) -> None:
    """Seed the next suggestion from (seed, trial number), so that a resume does not change it."""
    derived = np.random.SeedSequence([seed, number]).generate_state(2)
    oracle._seed_state = int(derived[0])
    oracle._random_state = np.random.RandomState(int(derived[1]))


def keras_tuner_seed(seed: int) -> int:
    """A seed that Keras Tuner keeps: it takes 0 for none and draws one at random."""
    return 1 + int(np.random.SeedSequence([seed]).generate_state(1)[0] % 2**31)


def _its_values(oracle: Any, point: HyperParameters) -> dict[str, Value]:
    """A point as the oracle itself would propose it; it tells by the texts of values what it has tried."""
    from keras_tuner.engine import hyperparameters

    found = dict(point)
    for hp in oracle.hyperparameters.space:
        if isinstance(hp, hyperparameters.Choice):
            found[hp.name] = next(value for value in hp.values if value == point[hp.name])
    return found


def _of_one_type(choices: Sequence[Value]) -> list[Value]:
    """Keras Tuner refuses int beside float."""
    kinds = {type(choice) for choice in choices}
    return [float(choice) for choice in choices] if kinds == {int, float} else list(choices)


def _tuner_id(number: int) -> str:
    return f"trial-{number}"
