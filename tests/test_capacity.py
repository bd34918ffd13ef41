"""How many trials fit: on one node, and on a cluster at the size that its autoscaler may give it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import LOCAL

from catdog_ray import capacity
from catdog_ray.capacity import Limits, NodeType

HALF = dataclasses.replace(LOCAL, address="auto", cpus_per_trial=2, gpus_per_trial=0.5, max_concurrent=None)
HEAD = {"CPU": 0.0}
WORKER = {"CPU": 4.0, "GPU": 1.0}


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "fits"),
    [
        ({"CPU": 4.0, "GPU": 1.0}, 2, 0.5, 2),
        ({"CPU": 3.0, "GPU": 1.0}, 2, 0.5, 1),
        ({"CPU": 8.0, "GPU": 1.0}, 2, 0.3, 3),
        ({"CPU": 8.0}, 2, 0.5, 0),
        ({"CPU": 8.0}, 2, 0, 4),
        ({"CPU": 1.0}, 0.1, 0, 10),
        ({}, 1, 0, 0),
    ],
)
def test_room_on_a_node(resources: dict[str, float], cpus: float, gpus: float, fits: int) -> None:
    settings = dataclasses.replace(LOCAL, cpus_per_trial=cpus, gpus_per_trial=gpus)
    assert capacity.room(resources, settings) == fits


@pytest.mark.parametrize(
    ("nodes", "limits", "most"),
    [
        ([HEAD, WORKER], None, 2),
        ([HEAD], Limits((NodeType({}, 0), NodeType(WORKER, 4)), 4), 8),
        # Two types under one limit: the larger nodes count first.
        ([HEAD], Limits((NodeType(WORKER, 4), NodeType({"CPU": 8, "GPU": 4}, 1)), 3), 4 + 2 * 2),
        # Spot and on demand, four of each and four in all.
        ([HEAD], Limits((NodeType(WORKER, 4), NodeType(WORKER, 4)), 4), 8),
        # Own machines, whose size is not known before they join: like the largest that has, or one trial each.
        ([HEAD, WORKER], Limits((NodeType({}, 3),), 3), 6),
        ([HEAD], Limits((NodeType({}, 3),), 3), 3),
        # More is there than the file allows: nodes that joined by hand.
        ([HEAD, WORKER, WORKER], Limits((NodeType(WORKER, 1),), 1), 4),
    ],
)
def test_room_on_the_cluster_at_its_largest(nodes: list[dict[str, float]], limits: Limits | None, most: int) -> None:
    assert capacity.room_at_most(nodes, limits, HALF) == most


def test_the_limits_are_read_from_the_file_of_the_autoscaler_that_serves_this_ray(tmp_path: Path) -> None:
    file = tmp_path / "ray_bootstrap_config.yaml"
    file.write_text(
        json.dumps(
            {
                "max_workers": 5,
                "head_node_type": "head",
                "available_node_types": {
                    "head": {"resources": {"CPU": 0}, "max_workers": 0},
                    "worker": {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 3},
                    "other": {"resources": {"CPU": 2}},
                },
            }
        )
    )
    flags = ["--gcs-address=10.9.8.7:6379", f"--autoscaling-config={file}"]
    monitor = subprocess.Popen([sys.executable, "-c", "input()", *flags], stdin=subprocess.PIPE)
    try:
        found = capacity.limits_of("10.9.8.7:6379")
        assert found == Limits((NodeType({"CPU": 0}, 0), NodeType(WORKER, 3), NodeType({"CPU": 2}, 5)), 5)
        assert capacity.limits_of("10.9.8.7:6380") is None
        file.write_text("max_workers: many")
        assert capacity.limits_of("10.9.8.7:6379") is None
    finally:
        monitor.communicate(b"\n", timeout=30)


def test_the_local_provider_as_ray_prepares_it(tmp_path: Path) -> None:
    from ray.autoscaler._private.util import prepare_config

    config = {"cluster_name": "a", "provider": {"type": "local", "head_ip": "h", "worker_ips": ["a", "b"]}}
    file = tmp_path / "prepared.json"
    file.write_text(json.dumps(prepare_config(config)))
    assert capacity._read(file) == Limits((NodeType({}, 2),), 2)
