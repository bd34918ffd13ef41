"""Run trials, and single functions, on the workers of the Ray that is connected. What a trial does is in `trial`."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from catdog_ray import capacity, processes
from catdog_ray.checkpoints import TRIALS
from catdog_ray.errors import UserError
from catdog_ray.settings import ClusterSettings

_NAMES_AN_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)\b")
_LONGEST_REASON = 500


def run_trials(
    function: Callable[..., None],
    *,
    arguments: Mapping[str, Any],
    searcher: Any,
    count: int,
    scheduler: Any,
    callback: Any,
    settings: ClusterSettings,
    share: capacity.Share,
    storage_path: str,
    name_of: Callable[[Mapping[str, Any]], str],
    stop: Any = None,
) -> None:
    """Run `count` trials of `function(parameters, **arguments)`, each with its `share`; returns when all ended.

    `arguments` go to the object store, one copy per node. Checkpoints are kept under `storage_path`/trials/.
    `stop` is a Tune stopper that may end trials early, or None. Raises KeyboardInterrupt if interrupted, and what
    `searcher` or `callback` raises.
    """
    from ray import tune
    from ray.tune.trainable.function_trainable import wrap_function

    if "://" not in storage_path:
        try:
            Path(storage_path).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cluster.storage_path: {storage_path} cannot be written ({error.strerror})") from None

    def named(tune_trial: Any) -> str:
        return name_of(tune_trial.config)

    trainable = tune.with_resources(
        wrap_function(tune.with_parameters(function, **arguments)),
        {"cpu": share.cpus, "gpu": share.gpus},
    )
    # What Ray's dashboard and the list of processes show: `Trial`, `Retraining`; otherwise all are `ImplicitFunc`.
    trainable.__name__ = trainable.__qualname__ = function.__name__.removeprefix("run_").capitalize()
    for told in (searcher, callback):
        told.on_trial_complete = _not_caught(told.on_trial_complete)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=count,
            max_concurrent_trials=share.at_once,
            reuse_actors=True,
            trial_name_creator=named,
            trial_dirname_creator=named,
        ),
        run_config=tune.RunConfig(
            name=TRIALS,
            storage_path=storage_path,
            callbacks=[callback],
            stop=stop,
            failure_config=tune.FailureConfig(max_failures=settings.max_failures),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except _Broken as broken:
        raise broken.error from None


class _Broken(BaseException):
    """An error that Ray Tune must not catch, for it would take it for a failure of the trial and run that again."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _not_caught(method: Callable[..., None]) -> Callable[..., None]:
    """The method that Ray Tune calls at the end of a trial, with errors that end the run."""

    @functools.wraps(method)
    def call_it(*arguments: Any, **named: Any) -> None:
        try:
            method(*arguments, **named)
        except Exception as error:
            raise _Broken(error) from error

    return call_it


def call(function: Callable[..., Any], *arguments: Any, settings: ClusterSettings) -> Any:
    """Run one function on a worker with a trial's GPUs and cores, one where those are `auto`; return what it returns.

    One core, because all that a single trial would get may be those of a machine that is yet to be started. Raises
    processes.Lost where the worker ends early.
    """
    import ray

    cpus = 1 if isinstance(settings.cpus_per_trial, str) else settings.cpus_per_trial
    remote = ray.remote(num_cpus=cpus, num_gpus=settings.gpus_per_trial, max_retries=0)(function)
    try:
        return ray.get(remote.remote(*arguments))
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError) as error:
        raise processes.Lost(type(error).__name__) from error


def failure_reason(tune_trial: Any) -> str:
    """The error at the end of a failed trial's traceback, which Tune writes on the driver's own disk.

    From the line that names it, for the messages of Keras go over several; cut where they are long.
    """
    file = tune_trial.error_file
    text = Path(file).read_text(encoding="utf-8", errors="replace") if file and Path(file).is_file() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return "the worker was lost"
    named = [number for number, line in enumerate(lines) if _NAMES_AN_ERROR.match(line)]
    said = " ".join(line.strip() for line in lines[named[-1] if named else -1 :])
    return said if len(said) <= _LONGEST_REASON else f"{said[:_LONGEST_REASON]} ..."
