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
from catdog_ray.capacity import Limits, NodeType, Share

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
        ({"CPU": 20.0, "GPU": 1.0}, 1, 0.1, 10),
        ({}, 1, 0, 0),
    ],
)
def test_room_on_a_node(resources: dict[str, float], cpus: float, gpus: float, fits: int) -> None:
    assert capacity.room(resources, cpus, gpus) == fits


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
        # A head with room of its own, as large as one worker.
        ([{**WORKER, "node:__internal_head__": 1.0}], Limits((NodeType(WORKER, 2),), 2), 6),
        # More is there than the file allows: nodes that joined by hand.
        ([HEAD, WORKER, WORKER], Limits((NodeType(WORKER, 1),), 1), 4),
    ],
)
def test_room_on_the_cluster_at_its_largest(nodes: list[dict[str, float]], limits: Limits | None, most: int) -> None:
    assert capacity.room_at_most(nodes, limits, 2, 0.5) == most
    assert capacity.share(HALF, nodes, limits, runs=100) == Share(2, 0.5, most)
    assert capacity.share(HALF, nodes, limits, runs=1) == Share(2, 0.5, 1)


AUTO = dataclasses.replace(LOCAL, cpus_per_trial="auto", max_concurrent=None)


@pytest.mark.parametrize(
    ("nodes", "runs", "cpus", "at_once"),
    [
        ([2], 8, 1, 2),  # a search on two cores: two trials at once
        ([2], 1, 2, 1),  # one retraining run: the second core is its
        ([16], 5, 3, 5),
        ([16], 16, 1, 16),
        ([16], 9, 1, 9),  # two cores each would let eight go at once
        ([4, 2], 3, 2, 3),
        ([4, 2], 2, 2, 2),  # three cores fit on one node only
        ([0, 4, 4], 2, 4, 2),
        ([3], 1, 3, 1),
        ([0], 1, 1, 0),
    ],
)
def test_cores_that_would_be_idle_go_to_the_trials(nodes: list[int], runs: int, cpus: int, at_once: int) -> None:
    found = capacity.share(AUTO, [{"CPU": float(cores)} for cores in nodes], runs=runs)
    assert found == Share(cpus, 0, at_once)
    assert found.threads == cpus


def test_automatic_cores_with_few_at_once_with_gpus_and_with_an_autoscaler() -> None:
    few = dataclasses.replace(AUTO, max_concurrent=2)
    assert capacity.share(few, [{"CPU": 8.0}], runs=10) == Share(4, 0, 2)
    half = dataclasses.replace(AUTO, address="auto", gpus_per_trial=0.5)
    limits = Limits((NodeType({"CPU": 4, "GPU": 1}, 4), NodeType({"CPU": 64, "GPU": 4}, 1)), 4)
    # The head has no GPU; the smaller part counts, so that a trial fits on both.
    assert capacity.share(half, [HEAD], limits, runs=100) == Share(2, 0.5, 2 * 3 + 8)
    # A type of which there may be none has no say.
    without = dataclasses.replace(limits, types=(*limits.types, NodeType({"CPU": 2, "GPU": 4}, 0)))
    assert capacity.share(half, [HEAD], without, runs=100).cpus == 2
    assert capacity.share(half, [{"CPU": 1.0, "GPU": 1.0}], runs=100).cpus == 1
    assert capacity.share(half, [{"CPU": 8.0}], runs=100).at_once == 0
    # A cluster that scales may still be small.
    named = dataclasses.replace(AUTO, address="auto", max_concurrent=9)
    assert capacity.share(named, [HEAD], runs=100) == Share(1, 0, 9)
    scaling = Limits((NodeType({"CPU": 4}, 2),), 2)
    assert capacity.share(dataclasses.replace(AUTO, address="auto"), [HEAD], scaling, runs=2) == Share(4, 0, 2)
    assert capacity.share(dataclasses.replace(AUTO, address="auto"), [HEAD], scaling, runs=8) == Share(1, 0, 8)


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
