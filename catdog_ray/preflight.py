"""Before the first trial on a cluster we joined: would a trial run on every node? A failure names node and cure."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from catdog_ray import capacity, cluster, inspection
from catdog_ray.errors import first_line
from catdog_ray.settings import ClusterSettings


def check(settings: ClusterSettings, storage_path: str) -> None:
    """Raise ClusterError for the first node on which a trial would fail; nothing is asked of a Ray of our own.

    `storage_path` is where the study keeps checkpoints.
    """
    if settings.address == "local":
        return
    import ray

    _require_shared_storage(settings, sum(node["Alive"] for node in ray.nodes()))
    with _probe(storage_path) as folder:
        said = cluster.ask_nodes(
            inspection.inspect,
            name="preflight",
            timeout_s=cluster.ANSWER_S,
            arguments=lambda node: (folder, node["NodeID"]),
        )
        for node, answer in said:
            fault = _fault(node, cluster.require_answer(node, answer), storage_path)
            if fault:
                raise cluster.ClusterError(f"node {node['NodeManagerAddress']}: {fault}")


def _require_shared_storage(settings: ClusterSettings, nodes: int) -> None:
    import ray

    limits = capacity.limits_of(ray.get_runtime_context().gcs_address)
    most = max(nodes, 1 + limits.most if limits else 0)
    if settings.storage_path is None and most > 1:
        raise cluster.ClusterError(
            f"cluster.storage_path: null keeps checkpoints on this machine, and the cluster has up to {most} nodes; "
            "set it to a place that all of them can write: --set cluster.storage_path=s3://BUCKET/FOLDER, or a folder "
            "that all have mounted"
        )


@contextmanager
def _probe(storage_path: str) -> Iterator[str]:
    """A folder in the storage with a file `driver`, taken away again."""
    import pyarrow.fs

    uri = f"{storage_path}/.preflight-{secrets.token_hex(4)}"
    try:
        filesystem, folder = pyarrow.fs.FileSystem.from_uri(uri)
        filesystem.create_dir(folder, recursive=True)
        with filesystem.open_output_stream(f"{folder}/driver") as stream:
            stream.write(b"written")
    except (OSError, ValueError) as error:
        raise cluster.ClusterError(
            f"cluster.storage_path: {storage_path} cannot be written from here ({first_line(error)})"
        ) from None
    try:
        yield uri
    except BaseException:
        with suppress(OSError):
            filesystem.delete_dir(folder)
        raise
    try:
        filesystem.delete_dir(folder)
    except OSError as error:
        raise cluster.ClusterError(
            f"cluster.storage_path: nothing can be deleted from {storage_path} ({first_line(error)}), and old "
            "checkpoints must be; give the right to it, or another place"
        ) from None


def _fault(node: Mapping[str, Any], said: Mapping[str, Any], storage_path: str) -> str | None:
    """What is wrong with a node, and the cure."""
    for library, wanted in inspection.compared().items():
        if said[library] != wanted:
            cure = f"pip install {library}=={wanted}" if library != "python" else f"run it with Python {wanted}"
            return f"has {library} {said[library] or 'not at all'}, the driver {wanted}; there: {cure}"
    ship = "install this checkout there (pip install -e .), or ship it: ray job submit --working-dir . -- python -m ..."
    if said["package"] is None:
        return f"has no catdog_ray; {ship}"
    if said["package"] != inspection.package_digest():
        return f"has another state of catdog_ray than the driver; {ship}"
    gpus = node["Resources"].get("GPU", 0)
    if said["gpus"] < gpus:
        return (
            f"has {said['gpus']} GPU(s) by nvidia-smi, and Ray believes in {gpus:g}; install NVIDIA's driver there, or "
            "give `ray start` the right --num-gpus"
        )
    if said["storage"]:
        return (
            f"cannot use cluster.storage_path {storage_path} ({said['storage']}); give a place that all nodes can "
            "write, such as s3://BUCKET/FOLDER or a mounted folder, and the node the right to it"
        )
    return None
