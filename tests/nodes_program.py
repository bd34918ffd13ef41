"""Unequal nodes of one Ray on one machine, with fake GPUs: a search over them, and nodes that preflight refuses.

    python nodes_program.py WORK_FOLDER

A program of its own because a process has one Ray. Writes WORK_FOLDER/report.json for test_scale.py.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fake_gpus
from make_pictures import pets, write_folder
from small import quick_config

STORE_BYTES = 10**8


def settings(work: Path, **more: Any) -> Any:
    """Trials of one CPU and half a GPU; five at once, though only four fit before the late node comes."""
    return quick_config(
        **{
            "data.source": str(work / "pictures"),
            "data.cache_dir": str(work / "cache"),
            "data.image_size": 96,
            "cluster.address": "auto",
            "cluster.gpus_per_trial": 0.5,
            "cluster.max_concurrent": 5,
            "cluster.storage_path": str(work / "share"),
            "search.num_samples": 8,
            "search.max_epochs": 20,
            "search.grace_epochs": 20,
            **more,
        }
    )


def created_bytes() -> dict[str, int]:
    """By node: the bytes that its object store has ever taken in."""
    import ray
    from ray._private.internal_api import node_stats

    found = {}
    for node in ray.nodes():
        if node["Alive"]:
            said = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], False)
            found[node["NodeID"]] = said.store_stats.cumulative_created_bytes
    return found


@contextmanager
def watched() -> Iterator[dict[str, int]]:
    """By node: the most trials that ran there at once."""
    from ray._private.state import actors

    most: dict[str, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            now: dict[str, int] = {}
            for actor in actors().values():
                if actor["State"] == "ALIVE" and actor["ActorClassName"].endswith(TRIAL_ACTOR):
                    node = actor["Address"]["NodeID"]
                    now[node] = now.get(node, 0) + 1
            for node, count in now.items():
                most[node] = max(most.get(node, 0), count)
            time.sleep(0.2)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


TRIAL_ACTOR = "Trial"


def search_with_a_late_node(nodes: Any, work: Path, report: dict[str, Any]) -> None:
    """The search; the last node joins while it runs, and the pictures are gone before it begins."""
    from catdog_ray import cluster, data, search
    from catdog_ray.ledger import StudyDirectory

    config = settings(work)
    splits = data.load(config.data)
    shutil.rmtree(work / "pictures")
    shutil.rmtree(work / "cache")
    report["image_bytes"] = splits.train.pixels.nbytes + splits.selection.pixels.nbytes
    late: list[str] = []

    def add_late(progress: Any) -> None:
        if progress.epochs >= 2 and not late:
            late.append(nodes.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE_BYTES).node_id)

    with cluster.connect(config.cluster) as running_on:
        report["slots"] = running_on.share(runs=100).at_once
        before = created_bytes()
        with watched() as most, StudyDirectory(work / "study") as study:
            rows = search.run(
                study, config, splits.train, splits.selection, running_on=running_on, on_progress=add_late
            )
        after = created_bytes()
        report["trials"] = [[row.trial, row.status, row.epochs] for row in rows]
        report["most_at_once"] = dict(most)
        report["new_bytes"] = {node: after[node] - before.get(node, 0) for node in after}
        report["late"] = late


def refusals(nodes: Any, work: Path, report: dict[str, Any]) -> None:
    """What preflight says of nodes on which a trial would fail."""
    from catdog_ray import cluster, preflight

    wrong = work / "wrong" / "keras-9.9.9.dist-info"
    wrong.mkdir(parents=True)
    (wrong / "METADATA").write_text("Metadata-Version: 2.1\nName: keras\nVersion: 9.9.9\n")
    path = os.environ["PATH"]
    report["refused"] = {}
    with cluster.connect(settings(work).cluster):
        preflight.check(settings(work).cluster, str(work / "share" / "study"))
        try:
            preflight.check(settings(work, **{"cluster.storage_path": None}).cluster, str(work / "study" / "ray"))
        except cluster.ClusterError as error:
            report["refused"]["no storage"] = str(error)
        for name, environment in {
            "no driver": {"PATH": path.partition(os.pathsep)[2]},
            "other keras": {"PYTHONPATH": f"{work / 'wrong'}{os.pathsep}{os.environ['PYTHONPATH']}"},
        }.items():
            bad = nodes.add_node(num_cpus=0, num_gpus=1, object_store_memory=STORE_BYTES, env_vars=environment)
            started = time.monotonic()
            try:
                preflight.check(settings(work).cluster, str(work / "share" / "study"))
            except cluster.ClusterError as error:
                report["refused"][name] = str(error)
            report["refused"][f"{name}, seconds"] = time.monotonic() - started
            nodes.remove_node(bad)
    report["left_in_storage"] = [file.name for file in (work / "share" / "study").iterdir() if file.name != "trials"]


def main(work: Path) -> None:
    """Three nodes that differ, one that comes late, then the refusals."""
    os.environ["PATH"] = fake_gpus.install(work / "bin", 1)
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = "0" * 64
    from catdog_ray import environment

    environment.prepare(settings(work).cluster)
    from ray.cluster_utils import Cluster

    write_folder(work / "pictures", pets(train=20, validation=4, classes=("cats", "dogs")))
    report: dict[str, Any] = {}
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1, "object_store_memory": STORE_BYTES}
    )
    try:
        second = nodes.add_node(num_cpus=2, num_gpus=1, object_store_memory=STORE_BYTES)
        third = nodes.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE_BYTES)
        os.environ["RAY_ADDRESS"] = nodes.address
        report["nodes"] = {"head": nodes.head_node.node_id, "second": second.node_id, "third": third.node_id}
        search_with_a_late_node(nodes, work, report)
        refusals(nodes, work, report)
    finally:
        (work / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
        nodes.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
