"""Every rule of check_cluster.py finds the mistake it is for, on the line where it was planted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import ray

from catdog_ray import cluster_file, cluster_rules
from catdog_ray.settings import UserError

ROOT = Path(__file__).resolve().parents[1]
AWS, GCP, LOCAL = "cluster.yaml", "configs/cluster/gcp.yaml", "configs/cluster/local.yaml"
SHIPPED = (AWS, GCP, LOCAL)

HEAD_START = "ray start --head --port=6379 --num-cpus=0 --num-gpus=0 --dashboard-host=127.0.0.1"
PYTHON = f"py{sys.version_info.major}{sys.version_info.minor}"

MISTAKES = [
    # file, what stands there, what is written instead, part of the message
    (AWS, "InstanceType: g5.xlarge   #", "InstanceTyp: g5.xlarge   #", "did you mean 'InstanceType'"),
    (AWS, "InstanceType: g5.xlarge   #", "InstanceType: g5.xlrage   #", "did you mean 'g5.xlarge'"),
    (AWS, "Ebs: {VolumeSize: 150", "Ebs: {VolumeSiz: 150", "did you mean 'VolumeSize'"),
    (AWS, "Ebs: {VolumeSize: 150", "Ebs: {VolumeSize: 150 GB", "must be of type integer, got '150 GB'"),
    (AWS, "{MarketType: spot}", "{MarketType: spott}", "did you mean 'spot'"),
    (AWS, "  region: us-west-2", "  regoin: us-west-2", "did you mean 'region'"),
    (AWS, "  type: external", "  type: awz", "did you mean 'aws'"),
    (AWS, "SpotThenOnDemand\n", "SpotThenDemand\n", "did you mean 'catdog_ray.spot.SpotThenOnDemand'"),
    (AWS, "resources: {CPU: 4, GPU: 1} # two", "resources: {CPU: 4, GPUs: 1} # two", "did you mean 'GPU'"),
    (AWS, "resources: {CPU: 4, GPU: 1} # two", "resources: {cpu: 4, GPU: 1} # two", "did you mean 'CPU'"),
    (AWS, "ray:2.60.0-py311-gpu", "ray:2.9.0-py311-gpu", f"write rayproject/ray:{ray.__version__}-{PYTHON}-gpu"),
    (AWS, "ray:2.60.0-py311-cpu", "ray:2.60.0-py39-cpu", f"write rayproject/ray:{ray.__version__}-{PYTHON}-cpu"),
    (AWS, "rayproject/ray:2.60.0-py311-gpu", "rayproject/ray:latest-gpu", "is not Ray"),
    (AWS, "rayproject/ray:2.60.0-py311-gpu", "rayproject/ray-ml:2.9.0-gpu", "is no longer built"),
    (AWS, "  image: rayproject/ray:2.60.0-py311-gpu", "  worker_image: rayproject/ray:2.60.0-py311-gpu", "KeyError"),
    (AWS, "'ray[default,tune]==2.60.0' boto3", "'ray[default,tune]==2.9.3' boto3", "Ray 2.9.3 is not Ray"),
    (AWS, "'ray[default,tune]==2.60.0' boto3", "-U 'ray[default]' boto3", "version is left open"),
    (
        AWS,
        "'ray[default,tune]==2.60.0' boto3",
        "https://s3.example.com/latest/ray-3.0.0.dev0-cp311-cp311-manylinux2014_x86_64.whl",
        "is a nightly wheel",
    ),
    (
        AWS,
        "'ray[default,tune]==2.60.0' boto3",
        "https://example.com/ray-2.60.0-cp39-cp39-manylinux2014_x86_64.whl",
        "is not Ray 2.60.0 for this Python",
    ),
    (GCP, "setup_commands: []\nhead_setup", "head_setup", "installs a nightly wheel; write `setup_commands: []`"),
    (AWS, HEAD_START, HEAD_START.replace(" --num-cpus=0", ""), "write --num-cpus=0"),
    (AWS, HEAD_START, HEAD_START.replace("--num-cpus=0", "--num-cpus=2"), "write --num-cpus=0"),
    (AWS, "resources: {CPU: 0, GPU: 0}", "resources: {CPU: 2, GPU: 0}", "the head would take trials; write CPU: 0"),
    (AWS, "InstanceType: m5.large ", "InstanceMarketOptions: {MarketType: spot}  # ", "a spot head can be taken"),
    (AWS, "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "write --dashboard-host=127.0.0.1"),
    (
        AWS,
        "  cache_stopped_nodes: false",
        "  security_group:\n    IpPermissions:\n      - {FromPort: 8265, ToPort: 8265, IpProtocol: tcp,"
        " IpRanges: [{CidrIp: 0.0.0.0/0}]}\n  cache_stopped_nodes: false",
        "opens more than SSH to the world",
    ),
    (AWS, "export RAY_AUTH_MODE=token; ray start --address", "ray start --address", "without a token"),
    (AWS, "    export RAY_AUTH_MODE=token;\n", "", "without a token"),
    (AWS, "  ~/.ray: ~/.ray ", "  ~/other: ~/.ray ", "the token does not reach the nodes"),
    (AWS, "    - -e RAY_AUTH_MODE=token", "    - --ipc host", "would be refused"),
    (AWS, "s3://YOUR-BUCKET/catdog", "/home/ray/checkpoints", "is one node's own disk"),
    (AWS, "s3://YOUR-BUCKET/catdog", "file:///mnt/checkpoints", "is one node's own disk"),
    (AWS, "cache_stopped_nodes: false", "cache_stopped_nodes: true", "disk goes on costing"),
    (
        AWS,
        "min_workers: 0\n    max_workers: 4",
        "min_workers: 5\n    max_workers: 6",
        "is below the sum of min_workers (5)",
    ),
    (
        AWS,
        "min_workers: 0\n    max_workers: 4",
        "min_workers: 3\n    max_workers: 2",
        "is above its max_workers (2)",
    ),
    (AWS, "idle_timeout_minutes", "idle_timeout_minute", "did you mean 'idle_timeout_minutes'"),
    (AWS, "max_workers: 4\nupscaling", "max_worker: 4\nupscaling", "did you mean 'max_workers'"),
    (AWS, "head_node_type: head", "head_node_type: heat", "`head_node_type` must be one of"),
    (AWS, "    min_workers: 0", "    min_worker: 0", "did you mean 'min_workers'"),
    (AWS, "upscaling_speed: 4.0", "upscaling_speed: fast", "'fast' is not of type 'number'"),
    (AWS, "upscaling_speed: 4.0", "max_workers: 9", "max_workers: written twice, first on line"),
    (AWS, "--autoscaling-config=~/ray_bootstrap_config.yaml", "--block", "no worker would ever start"),
    (AWS, "worker_start_ray_commands:\n", "worker_start_ray_commands: []\nhead_commands:\n", "workers without a token"),
    (GCP, "machineType: g2-standard-4  #", "machinetype: g2-standard-4  #", "did you mean 'machineType'"),
    (GCP, "diskSizeGb: 150", "diskSizeGB: 150", "did you mean 'diskSizeGb'"),
    (GCP, "provisioningModel: SPOT", "provisioningMode: SPOT", "did you mean 'provisioningModel'"),
    (GCP, "gs://YOUR-BUCKET/catdog", "~/checkpoints", "is one node's own disk"),
    (LOCAL, "  worker_ips:", "  workers_ips:", "did you mean 'worker_ips'"),
    (LOCAL, "  storage_path: /mnt/YOUR-SHARE/catdog", "  storage_path: /tmp/catdog", "is one host's own disk"),
    (LOCAL, "--dashboard-host=127.0.0.1", "--dashboard-host 0.0.0.0", "write --dashboard-host=127.0.0.1"),
    (LOCAL, "==2.60.0'", "==2.59.0'", "Ray 2.59.0 is not Ray"),
]


STANDS_ON = {
    "KeyError": "docker:",
    "installs a nightly wheel; write `setup_commands: []`": "provider:",
    "opens more than SSH to the world": "      - {FromPort: 8265",
    "is below the sum of min_workers (5)": "max_workers: 4",
    "the token does not reach the nodes": "file_mounts:",
    "would be refused": "  run_options:",
    "no worker would ever start": "    ray start --head",
}
"""What is left out has no line: where the message points to instead."""


def plant(folder: Path, shipped: str, before: str, after: str) -> tuple[Path, int]:
    """A shipped file with one mistake, and the line on which it stands."""
    text = (ROOT / shipped).read_text(encoding="utf-8")
    assert text.count(before) >= 1, before
    path = folder / "planted.yaml"
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    return path, text[: text.index(before)].count("\n") + 1


@pytest.mark.parametrize("shipped", SHIPPED)
def test_a_shipped_file_passes(shipped: str) -> None:
    assert cluster_rules.check(cluster_file.read(ROOT / shipped)) == []


@pytest.mark.parametrize("shipped", SHIPPED)
def test_what_a_shipped_file_leaves_open_is_said(shipped: str) -> None:
    found = cluster_rules.placeholders(cluster_file.read(ROOT / shipped))
    lines = (ROOT / shipped).read_text(encoding="utf-8").splitlines()
    assert len(found) >= 2
    assert all(finding.text in lines[finding.line - 1] for finding in found)


@pytest.mark.parametrize(("shipped", "before", "after", "message"), MISTAKES)
def test_a_mistake_is_found_on_its_line(tmp_path: Path, shipped: str, before: str, after: str, message: str) -> None:
    path, line = plant(tmp_path, shipped, before, after)
    found = cluster_rules.check(cluster_file.read(path))
    matching = [finding for finding in found if message in finding.text]
    assert matching, found
    lines = path.read_text(encoding="utf-8").splitlines()
    if message in STANDS_ON:
        assert [lines[finding.line - 1].startswith(STANDS_ON[message]) for finding in matching] == [True]
    else:
        assert [finding.line for finding in matching] == [line]


def test_the_command_names_file_and_line(tmp_path: Path) -> None:
    path, line = plant(tmp_path, AWS, "InstanceType: g5.xlarge   #", "InstanceTyp: g5.xlarge   #")
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/check_cluster.py"), str(path), str(ROOT / LOCAL)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == "error: 1 mistake(s) to correct before `ray up`\n"
    first, *rest = done.stdout.splitlines()
    assert first.startswith(f"{path}:{line}: available_node_types.gpu_worker.node_config.InstanceTyp: unknown to AWS")
    assert f"{ROOT / LOCAL}: passes" in rest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,\nb: 2\n", ":3: is no YAML"),
        ("- a\n- b\n", ":1: must be a mapping"),
        ("", ":1: must be a mapping"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_cluster_file(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "file.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        cluster_file.read(path)


@pytest.mark.parametrize("text", ["cluster_name: a\n", "provider: {type: aws}\n", "provider: 3\ncluster_name: a\n"])
def test_a_file_with_next_to_nothing_is_no_crash(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    assert cluster_rules.check(cluster_file.read(path))
