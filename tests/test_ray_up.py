"""A real `ray up` of configs/cluster/local.yaml on three hosts made of namespaces, a search over them, and `ray down`.

The story is told by cluster_world.py; here stands what must be true of it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import namespaces
import pytest

from catdog_ray import mirror
from catdog_ray.ledger import StudyDirectory

pytestmark = [pytest.mark.slow, pytest.mark.world, namespaces.skip_without("sshd", "ssh", "rsync", "ss", "nsenter")]

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 420
REFUSED_HTTP = r"HTTP/1\.\d 4\d\d|$|Connection"
REFUSED = {"UNAUTHENTICATED", "UNIMPLEMENTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hosts")


@pytest.fixture(scope="module")
def report(work: Path) -> dict[str, Any]:
    started = time.monotonic()
    program = [sys.executable, str(ROOT / "tests" / "cluster_world.py"), str(work), str(ROOT)]
    try:
        done = namespaces.run_in_world(
            program, kept=[work], timeout=LIMIT_S, environment={"HOME": "/root", "PYTHONPATH": str(ROOT)}
        )
        said = done.stdout[-2000:] + done.stderr[-4000:]
    except subprocess.TimeoutExpired as error:
        said = f"still running after {LIMIT_S} s: {error.stdout!r}"
    found: dict[str, Any] = json.loads((work / "report.json").read_text())
    found["said"], found["all_s"] = said, time.monotonic() - started
    return found


def test_the_story_was_told_to_its_end(report: dict[str, Any]) -> None:
    assert "ray down" in report["seconds"], report["said"]


def test_the_filled_in_file_passes_the_check(report: dict[str, Any]) -> None:
    assert report["check"].rstrip().endswith("filled.yaml: passes")


def test_the_search_is_whole_and_ran_on_both_workers(report: dict[str, Any], work: Path) -> None:
    assert report["search"]["code"] == 0, report["search"]["said"]
    assert "2 trial(s) at once" in report["search"]["said"]
    assert report["trials_on"] == ["first", "second"]  # and not on the head
    study = StudyDirectory(work / "results" / "hosts")
    facts = study.read_study()
    assert facts["state"] == "finished"
    assert sorted(node["ray_cpus"] for node in facts["nodes"]) == [0, 1, 1]
    rows = study.trials.read()
    assert sorted(row.trial for row in rows) == [0, 1, 2, 3]
    assert all(row.status == "completed" for row in rows)
    keys = [(row.trial, row.epoch) for row in study.epochs.read()]
    assert sorted(keys) == [(trial, epoch) for trial in range(4) for epoch in range(1, 21)]


def test_the_shared_folder_has_the_rows_and_no_checkpoint_that_nobody_needs(work: Path) -> None:
    study = StudyDirectory(work / "results" / "hosts")
    place = work / "share" / "catdog" / study.shared_name
    assert sorted(path.name for path in place.iterdir()) == ["rows"]
    fetched = StudyDirectory(mirror.fetch(str(place), work / "fetched"))
    assert fetched.epochs.read() == study.epochs.read()
    assert fetched.read_study() == study.read_study()


def test_storage_on_one_host_is_refused_with_node_and_cure(report: dict[str, Any]) -> None:
    assert report["local_storage"]["code"] != 0
    said = report["local_storage"]["said"]
    assert re.search(r"error: node 10\.77\.0\.1\d: cannot use cluster\.storage_path /tmp/one-host-only/alone", said)
    assert "give a place that all nodes can write" in said


def test_no_port_answers_without_the_token(report: dict[str, Any]) -> None:
    ports = report["ports"]
    assert {port["host"] for port in ports} == {"head", "first", "second"}
    for port in ports:
        if "reached" in port:
            assert port["reached"] is False, port
            continue
        assert set(port["grpc"].values()) <= REFUSED, port
        answers = {path: answer for path, answer in port["http"].items() if not re.match(REFUSED_HTTP, answer)}
        # Ray serves these to anybody: "is this node alive", and Prometheus' metrics, at whatever path.
        if answers.get("/api/local_raylet_healthz", "").endswith(": success"):
            del answers["/api/local_raylet_healthz"]
        assert set(answers.values()) <= {"HTTP/1.0 200 OK: metrics"}, port
    # The probe does speak Ray's language: the head's control service and each raylet say what they miss.
    refusing = [port for port in ports if "UNAUTHENTICATED" in port.get("grpc", {}).values()]
    assert {port["host"] for port in refusing} == {"head", "first", "second"}
    assert any(port["port"] == 6379 for port in refusing)
    # The dashboard is on loopback.
    assert [port["bound"] for port in ports if port["port"] == 8265] == ["127.0.0.1"]


def test_ray_down_leaves_nothing(report: dict[str, Any]) -> None:
    assert set(report["before_down"]) == {"head", "first", "second"}
    assert report["left"] == {}
    assert report["left_ports"] == []


def test_nothing_of_the_world_is_left_outside(report: dict[str, Any], work: Path) -> None:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(work) not in listed
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True).stdout
    assert "to-head" not in links
    assert not [mount for mount in Path("/proc/mounts").read_text().splitlines() if str(work) in mount]
    assert not os.path.ismount("/mnt/before")


def test_it_fits_into_the_time_of_ci(report: dict[str, Any]) -> None:
    assert report["all_s"] < LIMIT_S
