"""Growing and shrinking: unequal nodes, a late one, fractions of GPUs, images once a node, none to most and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import namespaces
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.world]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What nodes_program.py saw on four nodes."""
    work = tmp_path_factory.mktemp("nodes")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "nodes_program.py"), str(work)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads((work / "report.json").read_text())
    return found


def test_trials_run_on_every_node_and_the_late_one_without_the_data_folder(nodes: dict[str, Any]) -> None:
    assert [row[1:] for row in nodes["trials"]] == [["completed", 20]] * 8
    assert nodes["slots"] == 5
    assert len(nodes["late"]) == 1
    assert set(nodes["most_at_once"]) == {*nodes["nodes"].values(), *nodes["late"]}


def test_no_node_has_more_trials_than_room(nodes: dict[str, Any]) -> None:
    """Half a GPU each: two on the node with two CPUs, one where there is one CPU."""
    room = {"head": 1, "second": 2, "third": 1}
    assert {name: nodes["most_at_once"][node] for name, node in nodes["nodes"].items()} == room
    assert nodes["most_at_once"][nodes["late"][0]] == 1


def test_images_travel_once_to_each_node(nodes: dict[str, Any]) -> None:
    size = nodes["image_bytes"]
    for node, new in nodes["new_bytes"].items():
        assert size <= new < 1.8 * size, (node, new, size)


def test_preflight_names_node_and_cure_within_seconds(nodes: dict[str, Any]) -> None:
    refused = nodes["refused"]
    assert refused["no storage"].startswith("cluster.storage_path: null keeps checkpoints on this machine")
    assert "has 0 GPU(s) by nvidia-smi, and Ray believes in 1" in refused["no driver"]
    assert "has keras 9.9.9, the driver 3." in refused["other keras"]
    for name in ("no driver", "other keras"):
        assert refused[name].startswith("node 1")
        assert refused[f"{name}, seconds"] < 20
    assert nodes["left_in_storage"] == []


@namespaces.skip_without()
def test_the_autoscaler_is_asked_for_all_at_once_and_gives_all_back(tmp_path: Path) -> None:
    done = namespaces.run_in_world(
        [sys.executable, str(ROOT / "tests" / "scale_world.py"), str(tmp_path)],
        kept=[tmp_path],
        timeout=240,
        environment={"HOME": "/root", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["nodes_at_first"] == 1  # the head, on which nothing fits
    assert report["nodes_at_the_end"] == 3  # who trained
    assert report["slots"] == 4  # two workers of one GPU, two trials a GPU
    assert [row[1] for row in report["trials"]] == ["completed"] * 4
    sizes = report["sizes"]
    assert (sizes[0], max(sizes), sizes[-1]) == (0, 2, 0)
    # Up in one go, and no worker is started anew on the way down.
    assert sizes.index(2) <= 2
    assert sizes[sizes.index(2) :] == sorted(sizes[sizes.index(2) :], reverse=True)
