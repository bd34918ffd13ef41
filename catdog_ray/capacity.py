"""How many trials fit on a node, and on a cluster at the largest size that its autoscaler may give it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from catdog_ray.settings import ClusterSettings


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


def room(resources: Mapping[str, float], settings: ClusterSettings) -> int:
    """How many trials fit on one node; fractions are counted in the thousandths that Ray keeps."""
    fits = round(1000 * resources.get("CPU", 0.0)) // round(1000 * settings.cpus_per_trial)
    if settings.gpus_per_trial:
        fits = min(fits, round(1000 * resources.get("GPU", 0.0)) // round(1000 * settings.gpus_per_trial))
    return fits


def room_at_most(nodes: Sequence[Mapping[str, float]], limits: Limits | None, settings: ClusterSettings) -> int:
    """How many trials run at once when the cluster is as large as it may become; `nodes` are there already.

    A worker of unknown size counts as the largest node that is there, or as room for one trial.
    """
    now = sum(room(node, settings) for node in nodes)
    if limits is None:
        return now
    unknown = max([1, *(room(node, settings) for node in nodes)])
    each = [
        (room(node_type.resources, settings) if node_type.resources else unknown, node_type.most)
        for node_type in limits.types
    ]
    total, left = 0, limits.most
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
