"""Join or start Ray, and describe its nodes."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from catdog_ray import capacity, environment, inspection, processes
from catdog_ray.errors import UserError, first_line
from catdog_ray.provenance import keras_backend
from catdog_ray.settings import ClusterSettings

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
        said = first_line(error)
        if local and settings.dashboard and "dashboard" in said:  # Ray's text names its log and no way out
            said, cure = "Ray's dashboard did not start", "; try again, or do without: --set cluster.dashboard=false"
        raise ClusterError(f"cluster.address {settings.address!r}: {said}{cure}") from error


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
