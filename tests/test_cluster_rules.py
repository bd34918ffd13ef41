"""Every rule of check_cluster.py finds the mistake it is for, on the line where it was planted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import ray

from catdog_ray import cluster_file, cluster_rules
from catdog_ray.errors import UserError

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
    (AWS, HEAD_START, HEAD_START.replace("--num-cpus=0", "--num-cpus=0 --num-cpus=8"), "write --num-cpus=0"),
    (AWS, HEAD_START, HEAD_START.replace("ray start", "ray  start").replace("=0 ", " '2' "), "write --num-cpus=0"),
    (AWS, HEAD_START, HEAD_START.replace("--num-gpus", "--num_gpus"), "--num_gpus is no flag of `ray start`; did you"),
    (AWS, "--dashboard-host=127.0.0.1", "--dashboard-host '::'", "write --dashboard-host=127.0.0.1"),
    (AWS, "export RAY_AUTH_MODE=token; ray start", "export RAY_AUTH_MODE=disabled; ray start", "without a token"),
    (
        AWS,
        "export RAY_AUTH_MODE=token; ray start --address=$RAY_HEAD_IP:6379",
        "ray start --address=$RAY_HEAD_IP:6379; export RAY_AUTH_MODE=token",
        "without a token",
    ),
    (
        AWS,
        "  cache_stopped_nodes: false",
        "  security_group:\n    IpPermissions:\n      - {FromPort: 0, ToPort: 22, IpRanges: [{CidrIp: 0.0.0.0/0}]}\n"
        "  cache_stopped_nodes: false",
        "opens more than SSH to the world",
    ),
    (
        AWS,
        "  cache_stopped_nodes: false",
        "  security_group: {IpPermissions: [{IpRanges: [0.0.0.0/0]}]}\n  cache_stopped_nodes: false",
        "must be of type structure, got '0.0.0.0/0'",
    ),
    (AWS, "  region: us-west-2", "  use_internal_ips: true", "provider.region: not given"),
    (AWS, "  image: rayproject/ray:2.60.0-py311-gpu", "  image: docker.io/rayproject/ray:2.9.0-gpu", "is not Ray"),
    (AWS, "'ray[default,tune]==2.60.0' boto3", "'ray[default, tune] == 2.59.0'", "Ray 2.59.0 is not Ray"),
    (
        AWS,
        "    min_workers: 0\n",
        "    worker_setup_commands: [pip install -U ray]\n    min_workers: 0\n",
        "gpu_worker.worker_setup_commands: Ray's version is left open",
    ),
    (AWS, "    resources: {CPU: 4, GPU: 1} # two", "    resource: {CPU: 4, GPU: 1} # two", "did you mean 'resources'"),
    (AWS, "resources: {CPU: 0, GPU: 0}", "resources: [CPU, GPU]", "is not of type 'object'"),
    (AWS, "docker:\n", "docker: yes\nextra:\n", "docker: True is not of type 'object'"),
    (AWS, "head_setup_commands:\n  - cd", "head_setup_commands: >\n    cd", "is not of type 'array'"),
    (AWS, "  gpu_worker:\n", "  gpu_worker:\n  more:\n", "gpu_worker: None is not of type 'object'"),
    (
        AWS,
        "    node_config:\n      InstanceType: m5",
        "    node_config:\n      # m5",
        "node_config: has no InstanceType",
    ),
    (GCP, "machineType: g2-standard-4  #", "# ", "node_config: has no machineType"),
    (GCP, "gs://YOUR-BUCKET/catdog", "gss://YOUR-BUCKET/catdog", "did you mean 'gs'"),
    (LOCAL, "  storage_path: /mnt/YOUR-SHARE/catdog", "  storage_path: /var/tmp", "is one node's own disk"),
    (LOCAL, "  storage_path: /mnt/YOUR-SHARE/catdog", "  storage_path: file:///tmp/a", "is one node's own disk"),
    (LOCAL, "  head_ip: YOUR-HEAD\n", "", "Ray: Please supply a `head_ip` and list of"),
    (LOCAL, "[YOUR-FIRST-WORKER, ", "[YOUR-SECOND-WORKER, ", "'YOUR-SECOND-WORKER' is a worker already"),
    (LOCAL, "[YOUR-FIRST-WORKER, ", "[YOUR-HEAD, ", "'YOUR-HEAD' is the head; name each host once"),
    (LOCAL, "  worker_ips:", "  workers_ips:", "did you mean 'worker_ips'"),
    (LOCAL, "  storage_path: /mnt/YOUR-SHARE/catdog", "  storage_path: /tmp/catdog", "is one node's own disk"),
    (LOCAL, "--dashboard-host=127.0.0.1", "--dashboard-host 0.0.0.0", "write --dashboard-host=127.0.0.1"),
    (LOCAL, "==2.60.0'", "==2.59.0'", "Ray 2.59.0 is not Ray"),
]


# Each list has the one before nine times: three billion values.
BOMB = "a: &n0 [1]\n" + "".join(f"x{n}: &n{n + 1} [{', '.join([f'*n{n}'] * 9)}]\n" for n in range(10))

STANDS_ON = {
    "KeyError": "docker:",
    "installs a nightly wheel; write `setup_commands: []`": "provider:",
    "opens more than SSH to the world": "      - {FromPort:",
    "is below the sum of min_workers (5)": "max_workers: 4",
    "the token does not reach the nodes": "file_mounts:",
    "would be refused": "  run_options:",
    "no worker would ever start": "    ray start --head",
    "provider.region: not given": "provider:",
    "Ray: Please supply a `head_ip` and list of": "provider:",
    "gpu_worker.worker_setup_commands: Ray's version is left open": "    worker_setup_commands:",
    "node_config: has no InstanceType": "    node_config:",
    "node_config: has no machineType": "    node_config:",
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
        ("a: 1\nb:\n\td: e\n", ":3: is no YAML: found character"),
        ("a: 1\nb: *c\n", ":2: is no YAML: found undefined alias 'c'"),
        ("a: 1\nb: \x07\n", ":2: is no YAML: it may not have the character U[+]0007"),
        ("a: 1\nb: 2026-13-45\n", ":2: '2026-13-45' is no value: month must be in 1..12"),
        ("a: 1\n5: 6\n", ":2: the key 5 must be text; write it in quotes"),
        ("a: &a [*a]\n", "nested too deeply, or by an anchor in itself"),
        ("[" * 3000, "nested too deeply"),
        (BOMB, ":1: has more than 20,000 values"),
        ("a: 1\n" + "# x\n" * 300_000, "has more than 1,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_cluster_file(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "file.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        cluster_file.read(path)


def test_a_file_in_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(UserError, match=r"file\.yaml:2: is not UTF-8"):
        cluster_file.read(path)
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        cluster_file.read(tmp_path)


def test_several_mistakes_on_one_line_are_all_named_and_shared_ones_once(tmp_path: Path) -> None:
    path, line = plant(tmp_path, AWS, HEAD_START, "ray start --head --dashboard-host=0.0.0.0")
    found = cluster_rules.check(cluster_file.read(path))
    assert [finding.line for finding in found] == [line] * 3
    assert [text in found[n].text for n, text in enumerate(("listen on", "--num-cpus=0", "--num-gpus=0"))] == [True] * 3
    path, line = plant(tmp_path, LOCAL, "auth:\n", "auth: {ssh_user: u, qqq: 1, zzz: 2}\nmore:\n")
    texts = [finding.text for finding in cluster_rules.check(cluster_file.read(path)) if finding.line == line]
    assert [name in text for name, text in zip(("qqq", "zzz"), texts, strict=True)] == [True] * 2
    # Both node types have this disk, by an anchor.
    path, line = plant(tmp_path, AWS, "VolumeType: gp3", "VolumeTyp: gp3")
    assert [finding.line for finding in cluster_rules.check(cluster_file.read(path))] == [line]


@pytest.mark.parametrize("text", ["cluster_name: a\n", "provider: {type: aws}\n", "provider: 3\ncluster_name: a\n"])
def test_a_file_with_next_to_nothing_is_no_crash(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    assert cluster_rules.check(cluster_file.read(path))
