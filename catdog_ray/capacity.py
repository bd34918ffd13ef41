"""What each trial gets, and how many fit: on a node, and on a cluster at the size that its autoscaler may give it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from catdog_ray.settings import ClusterSettings

_HEAD = "node:__internal_head__"
"""The resource by which Ray marks the head."""


@dataclass(frozen=True)
class NodeType:
    """Nodes that the autoscaler may start: resources of one (empty: unknown until it joins) and the most of them."""

    resources: Mapping[str, float]
    most: int


@dataclass(frozen=True)
class Limits:
    """What the file of `ray up` allows: types of workers, and the most workers of all types together."""

    types: tuple[NodeType, ...]
    most: int


@dataclass(frozen=True)
class Share:
    """What one trial gets of its node, and how many trials run at once."""

    cpus: float
    gpus: float
    at_once: int

    @property
    def threads(self) -> int:
        """How many of them a trial's libraries compute with."""
        return max(1, int(self.cpus))


def share(
    settings: ClusterSettings, nodes: Sequence[Mapping[str, float]], limits: Limits | None = None, *, runs: int
) -> Share:
    """The share of each of `runs` trials on the cluster at its largest; `at_once` is 0 where none fits.

    With `cpus_per_trial: auto` a trial gets more than one core only where cores would be idle otherwise: as many as
    let all `runs` go at once. Two trials on a core each train faster than two in turn on both
    (`scripts/benchmark.py --only 'packing-.*'`). A trial with a GPU gets its part of the node's cores.
    """
    gpus = settings.gpus_per_trial
    cpus = (
        _cores(settings, nodes, limits, runs) if isinstance(settings.cpus_per_trial, str) else settings.cpus_per_trial
    )
    if settings.address != "local" and settings.max_concurrent is not None:
        # The cluster may still be scaling up; Ray queues what does not fit yet.
        return Share(cpus, gpus, min(runs, settings.max_concurrent))
    fits = room_at_most(nodes, limits, cpus, gpus)
    return Share(cpus, gpus, min(runs, fits, settings.max_concurrent or fits))


def _cores(settings: ClusterSettings, nodes: Sequence[Mapping[str, float]], limits: Limits | None, runs: int) -> int:
    gpus = settings.gpus_per_trial
    known = [*nodes, *(node_type.resources for node_type in (limits.types if limits else ()) if node_type.most)]
    if gpus:
        parts = [node.get("CPU", 0.0) * gpus / node["GPU"] for node in known if node.get("GPU", 0.0) >= gpus]
        return max(1, int(min(parts, default=1)))
    wanted = min(runs, settings.max_concurrent or runs, room_at_most(nodes, limits, 1, gpus))
    most = int(max([1.0, *(node.get("CPU", 0.0) for node in known)]))
    return next((c for c in range(most, 1, -1) if room_at_most(nodes, limits, c, gpus) >= wanted), 1)


def room(resources: Mapping[str, float], cpus: float, gpus: float) -> int:
    """How many trials of such a share fit on one node; fractions are counted in the ten-thousandths that Ray keeps."""
    fits = round(10_000 * resources.get("CPU", 0.0)) // round(10_000 * cpus)
    if gpus:
        fits = min(fits, round(10_000 * resources.get("GPU", 0.0)) // round(10_000 * gpus))
    return fits


def room_at_most(nodes: Sequence[Mapping[str, float]], limits: Limits | None, cpus: float, gpus: float) -> int:
    """How many trials fit when the cluster is as large as it may become; `nodes` are there already.

    A worker of unknown size counts as the largest node that is there, or as room for one trial.
    """
    now = sum(room(node, cpus, gpus) for node in nodes)
    if limits is None:
        return now
    unknown = max([1, *(room(node, cpus, gpus) for node in nodes)])
    each = [
        (room(node_type.resources, cpus, gpus) if node_type.resources else unknown, node_type.most)
        for node_type in limits.types
    ]
    # Workers come beside the head, which may have room of its own.
    total, left = sum(room(node, cpus, gpus) for node in nodes if _HEAD in node), limits.most
    for fits, most in sorted(each, reverse=True):
        total += fits * min(most, left)
        left -= min(most, left)
    return max(now, total)


def limits_of(gcs_address: str) -> Limits | None:
    """What the autoscaler beside us may do; None where none runs on this machine for that Ray.

    Ray tells a driver how large the cluster is, not how large it may become. That stands in the file that the
    autoscaler was started with, which is named on its command line.
    """
    for process in psutil.process_iter():
        try:
            arguments = process.cmdline()
        except psutil.Error:
            continue
        given = dict(argument.split("=", 1) for argument in arguments if argument.startswith("--") and "=" in argument)
        path = given.get("--autoscaling-config")
        if path and given.get("--gcs-address") == gcs_address:
            return _read(Path(path).expanduser())
    return None


def _read(path: Path) -> Limits | None:
    try:
        config: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        head = config["head_node_type"]
        most = int(config["max_workers"])
        # The head's own type may also be that of workers, as it is with the local provider.
        types = tuple(
            NodeType(given.get("resources") or {}, int(given.get("max_workers", 0 if name == head else most)))
            for name, given in config["available_node_types"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return None
    return Limits(types, most)
