"""cluster.yaml: Ray's own checks accept it, and it says what it should. No cloud is asked."""

from __future__ import annotations

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig

from catdog_ray import capacity, config

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("initialization_commands", "head_setup_commands", "worker_setup_commands")
STARTS = ("head_start_ray_commands", "worker_start_ray_commands")


def written() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    return loaded


def checked(config: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` makes of the file, Ray's defaults filled in, after its own checks."""
    prepared: dict[str, Any] = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return checked(written())


def ray_start(cluster: dict[str, Any], key: str) -> str:
    """The one `ray start` line among the commands under `key`."""
    (line,) = [command for command in cluster[key] if "ray start" in command]
    return line


def test_head_takes_no_trials(cluster: dict[str, Any]) -> None:
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert (head["min_workers"], head["max_workers"]) == (0, 0)
    assert {"--head", "--num-cpus=0", "--num-gpus=0"} <= set(ray_start(cluster, STARTS[0]).split())


def test_workers_are_spot_gpus_within_the_limit(cluster: dict[str, Any]) -> None:
    types = cluster["available_node_types"]
    workers = [types[name] for name in types if name != cluster["head_node_type"]]
    assert [worker["resources"] for worker in workers] == [{"CPU": 4, "GPU": 1}]
    assert [worker["node_config"]["InstanceMarketOptions"] for worker in workers] == [{"MarketType": "spot"}]
    assert sum(node["min_workers"] for node in types.values()) <= cluster["max_workers"] == 4
    assert cluster["idle_timeout_minutes"] == 10


def test_a_worker_has_room_for_the_trials_of_gpu_yaml(cluster: dict[str, Any]) -> None:
    wanted = config.load(ROOT / "configs/gpu.yaml").cluster
    room = cluster["available_node_types"]["gpu_worker"]["resources"]
    assert capacity.share(wanted, [room], runs=64) == capacity.Share(cpus=2, gpus=0.125, at_once=2)


def test_one_ray_version_everywhere(cluster: dict[str, Any]) -> None:
    # Asked of the autoscaler: it raises KeyError on a file that Ray's checks accept, if `docker` has no `image`.
    autoscaler = AutoscalingConfig(cluster, skip_content_hash=True)
    images = [autoscaler.get_docker_config(node_type)["image"] for node_type in ("head", "gpu_worker")]
    found = [re.fullmatch(r"rayproject/ray:([\d.]+)-py311-(cpu|gpu)", image) for image in images]
    assert [match and match[2] for match in found] == ["cpu", "gpu"]
    pins = {match[1] for match in found if match}
    for key in COMMANDS[1:]:
        installs = [command for command in cluster[key] if "pip install" in command]
        (installed,) = re.findall(r"'ray\[[\w,]+\]==([\d.]+)'", " ".join(installs))
        pins.add(installed)
    (pin,) = pins
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (requirement,) = [r for r in map(Requirement, project["dependencies"]) if r.name == "ray"]
    assert pin in requirement.specifier
    # `validate_config` of an older Ray would say nothing about this one.
    assert Version(pin) <= Version(ray.__version__)


def test_the_package_comes_from_the_checkout_on_every_node(cluster: dict[str, Any]) -> None:
    assert cluster["file_mounts"]["~/catdog_ray"] == "."
    assert {"/.git", "/.venv", "/results", "__pycache__"} <= set(cluster["rsync_exclude"])
    assert cluster["head_setup_commands"][0].startswith("cd ~/catdog_ray && pip install --no-cache-dir -e . ")
    assert cluster["worker_setup_commands"][0].startswith("cd ~/catdog_ray && pip install --no-cache-dir -e '.[gpu]' ")


def test_token_authentication_on_every_node(cluster: dict[str, Any]) -> None:
    assert cluster["file_mounts"]["~/.ray"] == "~/.ray"
    assert "-e RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    for key in STARTS:
        assert ray_start(cluster, key).startswith("export RAY_AUTH_MODE=token;")


def test_dashboard_stays_on_loopback(cluster: dict[str, Any]) -> None:
    assert re.findall(r"--dashboard-host=(\S+)", ray_start(cluster, STARTS[0])) == ["127.0.0.1"]
    assert "0.0.0.0" not in str(cluster)


def test_none_of_rays_unpinned_defaults_remain(cluster: dict[str, Any]) -> None:
    commands = [command for key in (*COMMANDS, *STARTS) for command in cluster[key]]
    for word in ("nightly", "latest", ".whl", "-U", "anaconda3"):
        assert not [command for command in commands if word in command]
    assert all(node["node_config"]["ImageId"] for node in cluster["available_node_types"].values())


def test_ray_rejects_a_misspelled_key() -> None:
    broken = written()
    broken["upscaling_sped"] = broken.pop("upscaling_speed")
    with pytest.raises(jsonschema.ValidationError, match="'upscaling_sped' was unexpected"):
        checked(broken)


def test_ray_rejects_a_head_of_unknown_type() -> None:
    with pytest.raises(ValueError, match="`head_node_type` must be one of `available_node_types`"):
        checked({**written(), "head_node_type": "heat"})


def test_ray_rejects_more_workers_at_least_than_at_most() -> None:
    broken = written()
    broken["available_node_types"]["gpu_worker"]["min_workers"] = 5
    with pytest.raises(ValueError, match="smaller than the sum of `min_workers`"):
        checked(broken)
