"""Join or start Ray, describe its nodes, and run trials on it. What a trial does is in `trial`."""

from __future__ import annotations

import functools
import logging
import re
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catdog_ray import capacity, environment, inspection, processes
from catdog_ray.errors import UserError
from catdog_ray.ledger import StudyDirectory
from catdog_ray.provenance import keras_backend
from catdog_ray.settings import ClusterSettings

_TRIALS = "trials"
"""What Ray calls the folder of a study's trials."""

_log = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 2 * 2**30

ANSWER_S = 60.0
"""How long a node may take to answer a question; one that answers takes a few seconds."""


class ClusterError(UserError):
    """Ray cannot be started, joined, or has no room for a trial."""


@dataclass(frozen=True)
class Cluster:
    """A joined or started Ray, and one dictionary of facts per node."""

    settings: ClusterSettings
    nodes: tuple[dict[str, Any], ...]
    dashboard_url: str | None

    def grown(self) -> tuple[dict[str, Any], ...]:
        """The nodes of now if they have more cores, else `nodes`.

        An autoscaled cluster is described when its head stands alone. At the end of a search its workers are there, but
        for those that were idle for long.
        """
        if self.settings.address == "local":
            return self.nodes
        try:
            now = _describe_nodes()
        except ClusterError:
            # What is only told must not fail a search that is done.
            return self.nodes
        return max(self.nodes, now, key=lambda nodes: sum(node.get("ray_cpus") or 0 for node in nodes))

    def share(self, *, runs: int) -> capacity.Share:
        """What each of `runs` trials gets, on the cluster at its largest. Raises ClusterError where not even one fits.

        Tune fixes how many run at once at the start. Counted on today's nodes alone, the autoscaler would never be
        asked for more.
        """
        import ray

        # A trial lies on one node, so what is left over on several does not add up.
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        limits = None if self.settings.address == "local" else capacity.limits_of(ray.get_runtime_context().gcs_address)
        found = capacity.share(self.settings, nodes, limits, runs=runs)
        if found.at_once < 1:
            resources = ray.cluster_resources()
            raise ClusterError(
                f"no room for a trial: it asks for {found.cpus:g} CPU and {found.gpus:g} GPU, "
                f"Ray has {resources.get('CPU', 0):g} CPU and {resources.get('GPU', 0):g} GPU; "
                "no node is large enough; set cluster.cpus_per_trial and cluster.gpus_per_trial"
            )
        return found


@contextmanager
def connect(settings: ClusterSettings) -> Iterator[Cluster]:
    """Start a private Ray on this machine (`address: local`) or join one; leave nothing behind."""
    environment.prepare(settings)
    import ray

    local = settings.address == "local"
    # Failed trials are rows with a reason; Tune's own words on them would tear the live view.
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    with processes.none_left() if local else nullcontext(), ThreadPoolExecutor(1) as thread:
        try:
            context = processes.uninterrupted(lambda: _join(settings), on=thread)
            found = Cluster(settings, _describe_nodes(), context.dashboard_url or None)
            found.share(runs=1)
            yield found
        finally:
            # A second Ctrl-C must not leave Ray half shut down.
            with processes.handling((signal.SIGINT, signal.SIGTERM), signal.SIG_IGN):
                ray.shutdown()


def _join(settings: ClusterSettings) -> Any:
    import ray

    common: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        # The driver's backend, which is on record, whatever a node's own Keras is set to.
        "runtime_env": {"env_vars": {**environment.WORKER, "KERAS_BACKEND": keras_backend()}},
    }
    try:
        if settings.address != "local":
            _require_reachable(settings.address)
            return ray.init(address=settings.address, **common)
        return ray.init(
            address="local",
            include_dashboard=settings.dashboard,
            dashboard_host="127.0.0.1",
            object_store_memory=_OBJECT_STORE_BYTES,
            **common,
        )
    except Exception as error:  # Ray raises that very one where its processes or its dashboard take too long to start
        local = settings.address == "local"
        cure = "" if local else "; is Ray running there, and is its token in RAY_AUTH_TOKEN or ~/.ray/auth_token?"
        raise ClusterError(f"cluster.address {settings.address!r}: {_first_line(error)}{cure}") from error


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
            raise ClusterError(f"cluster.storage_path: {storage_path} cannot be written ({error.strerror})") from None

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
            name=_TRIALS,
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


_NAMES_AN_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)\b")
_LONGEST_REASON = 500


def storage(settings: ClusterSettings, study: StudyDirectory) -> str:
    """Where Ray keeps checkpoints: `cluster.storage_path`/<study>-<its id>, or inside the study.

    A shared place may hold studies of the same name, of other people or of another day.
    """
    if settings.storage_path is None:
        return str((study.path / "ray").resolve())
    if "://" not in settings.storage_path:
        return str((Path(settings.storage_path).expanduser() / study.shared_name).resolve())
    return f"{settings.storage_path.rstrip('/')}/{study.shared_name}"


def remove_checkpoints(storage_path: str) -> None:
    """Delete what `run_trials` left at a study's place. What cannot be deleted stays, with a warning."""
    import pyarrow.fs

    try:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(f"{storage_path}/{_TRIALS}")
        filesystem.delete_dir(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        _log.warning("the checkpoints at %s are not needed any more and cannot be deleted (%s)", storage_path, error)


def checkpoints(storage_path: str, trial_name: str) -> list[str]:
    """The checkpoints of one trial that earlier sessions left. Their numbers do not tell which is the newest.

    Ray counts from zero in each session; how far one had come stands inside.
    """
    import pyarrow.fs

    uri = f"{storage_path}/{_TRIALS}/{trial_name}"
    try:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(uri)
        selector = pyarrow.fs.FileSelector(path, allow_not_found=True)
        found = [info.base_name for info in filesystem.get_file_info(selector)]
    except (OSError, ValueError) as error:
        raise ClusterError(f"cluster.storage_path: {uri} cannot be listed ({_first_line(error)})") from error
    return [f"{uri}/{name}" for name in sorted(found, reverse=True) if name.startswith("checkpoint_")]


def ask_nodes(
    function: Callable[..., Any], *, name: str, timeout_s: float, arguments: Callable[[dict[str, Any]], tuple[Any, ...]]
) -> list[tuple[dict[str, Any], Any]]:
    """Call `function(*arguments(node))` on every node; each node with its answer, or with the error that came instead.

    The function is one of `inspection`, whose module is sent whole: a node may lack this package.
    """
    import ray
    from ray import cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cloudpickle.register_pickle_by_value(inspection)
    try:
        task = ray.remote(num_cpus=0, max_retries=0)(function)
        pending = [
            (
                node,
                task.options(
                    name=f"{name} {node['NodeManagerAddress']}",
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
                ).remote(*arguments(node)),
            )
            for node in ray.nodes()
            if node["Alive"]
        ]
    finally:
        cloudpickle.unregister_pickle_by_value(inspection)
    references = [reference for _, reference in pending]
    done, _ = ray.wait(references, num_returns=len(references), timeout=timeout_s)
    return [(node, _answer(reference, reference in done, timeout_s)) for node, reference in pending]


def _answer(reference: Any, is_there: bool, timeout_s: float) -> Any:
    import ray

    try:
        return ray.get(reference) if is_there else TimeoutError(f"no answer within {timeout_s:g} s")
    except ray.exceptions.RayError as error:
        return error


def require_answer(node: Mapping[str, Any], answer: Any) -> Any:
    """The answer of a node; ClusterError where an error came instead."""
    if isinstance(answer, BaseException):
        lines = [line.strip() for line in str(answer).splitlines() if line.strip()]
        raise ClusterError(
            f"node {node['NodeManagerAddress']}: cannot run a task ({(lines or [type(answer).__name__])[-1]}); "
            "see Ray's logs there"
        )
    return answer


def _describe_nodes() -> tuple[dict[str, Any], ...]:
    def resources(node: dict[str, Any]) -> tuple[float, float]:
        return node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0)

    found = ask_nodes(inspection.node_facts, name="describe", timeout_s=ANSWER_S, arguments=resources)
    return tuple(require_answer(node, answer) for node, answer in found)


def _require_reachable(address: str) -> None:
    """OSError where nothing listens at host:port; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
