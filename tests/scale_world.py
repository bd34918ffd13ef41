"""Runs inside a world (`namespaces`): a Ray that scales by itself, from no worker to the most and back, under a search.

    python scale_world.py WORK_FOLDER

`AutoscalingCluster.start` calls `ray stop --force`, so it may never run beside another Ray. Writes report.json.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import fake_gpus

WORKERS = 2


def scaling_cluster() -> Any:
    """Ray's own test cluster; its wheel lacks the file that the class would read its other settings from."""
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
    from ray.cluster_utils import AutoscalingCluster

    class Scaling(AutoscalingCluster):
        def _generate_config(
            self, head_resources: dict[str, Any], worker_node_types: dict[str, Any], **_: Any
        ) -> dict[str, Any]:
            empty = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
            empty += ("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude")
            head = {"resources": dict(head_resources), "node_config": {}, "max_workers": 0}
            return {
                "cluster_name": "scaling",
                "max_workers": WORKERS,
                "provider": {
                    "type": "external",  # `fake_multinode` has defaults in that missing file
                    "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
                    "use_node_id_as_ip": True,
                    "disable_node_updaters": True,
                    "disable_launch_config_check": True,
                    "launch_multiple": True,
                    "head_node_id": FAKE_HEAD_NODE_ID,
                },
                "head_node_type": "ray.head.default",
                "available_node_types": {"ray.head.default": head, **worker_node_types},
                "upscaling_speed": WORKERS,
                # Longer than two short trials: who trained first is still there when the last one ends, and is counted.
                "idle_timeout_minutes": 0.5,
                "auth": {},
                "docker": {},
                "file_mounts": {},
                "file_mounts_sync_continuously": False,
                "rsync_filter": [],
                **{name: [] for name in empty},
            }

    worker = {"CPU": 2, "GPU": 1, "object_store_memory": 10**8}
    types = {"worker": {"resources": worker, "node_config": {}, "min_workers": 0, "max_workers": WORKERS}}
    return Scaling({"CPU": 0}, types, autoscaler_v2=True)


def main(work: Path) -> None:
    """A head without room, workers with room for two trials each, and a search that needs them all."""
    # Ray reads these when it is first imported.
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = "0" * 64
    os.environ["PATH"] = fake_gpus.install(work / "bin", 1)
    from small import quick_config

    from catdog_ray import cluster, environment, preflight, search
    from catdog_ray import data as images
    from catdog_ray.ledger import StudyDirectory

    config = quick_config(
        **{
            "cluster.address": "auto",
            "cluster.cpus_per_trial": 1,
            "cluster.gpus_per_trial": 0.5,
            "cluster.storage_path": str(work / "share"),
            "search.num_samples": 2 * WORKERS,
            "search.max_epochs": 3,
            "search.grace_epochs": 3,
            "data.cache_dir": str(work / "cache"),
        }
    )
    environment.prepare(config.cluster)
    import ray

    scaling = scaling_cluster()
    scaling.start()
    report: dict[str, Any] = {"sizes": []}
    try:
        splits = images.load(config.data)
        with cluster.connect(config.cluster) as running_on:
            report["slots"] = running_on.share(runs=100).at_once
            report["nodes_at_first"] = len(running_on.nodes)
            preflight.check(config.cluster, str(work / "share" / "study"))
            ended = threading.Event()

            def watch() -> None:
                while not ended.is_set():
                    size = sum(node["Alive"] and node["Resources"].get("GPU", 0) > 0 for node in ray.nodes())
                    if not report["sizes"] or report["sizes"][-1] != size:
                        report["sizes"].append(size)
                    time.sleep(0.1)

            thread = threading.Thread(target=watch)
            thread.start()
            try:
                with StudyDirectory(work / "study") as study:
                    rows = search.run(study, config, splits.train, splits.selection, running_on=running_on)
                report["nodes_at_the_end"] = len(running_on.grown())
                report["trials"] = [[row.trial, row.status, row.epochs] for row in rows]
                deadline = time.monotonic() + 90
                while report["sizes"][-1] and time.monotonic() < deadline:
                    time.sleep(0.5)
            finally:
                ended.set()
                thread.join()
    finally:
        (work / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
        scaling.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
