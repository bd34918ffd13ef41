"""cluster.yaml against AWS as moto plays it: what `ray up` sets up and launches, also where there is no spot capacity.

Ray's own code runs; there is no machine behind the instances, so what would go over SSH is left out.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.exceptions
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private import commands
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.node_launch_exception import NodeLaunchException

from catdog_ray import spot

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
REGION = "us-west-2"
WORKER_TAGS = {"ray-node-type": "worker", "ray-node-name": "worker", "ray-node-status": "uninitialized"}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, Any]]]:
    """An account as the README prepares it, and the file as `ray up` has filled it in after setting things up there."""
    from ray.autoscaler._private.aws import config

    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir()
    (home / ".ray").mkdir()
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name, value in {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
            "HOME": str(home),
        }.items():
            patch.setenv(name, value)
        # Ray waits 15 s for each new role to be known in all of AWS.
        patch.setattr(config, "time", SimpleNamespace(sleep=lambda seconds: None, time=time.time))
        patch.chdir(ROOT)
        _forget_clients()
        iam = boto3.client("iam")
        iam.create_role(RoleName="catdog-ray-worker", AssumeRolePolicyDocument=json.dumps({"Statement": []}))
        iam.create_instance_profile(InstanceProfileName="catdog-ray-worker")
        iam.add_role_to_instance_profile(InstanceProfileName="catdog-ray-worker", RoleName="catdog-ray-worker")
        ec2 = boto3.client("ec2", region_name=REGION)
        yield ec2, commands._bootstrap_config(prepared(ec2), no_config_cache=True)
    _forget_clients()


@pytest.fixture
def aws(account: tuple[Any, dict[str, Any]]) -> Iterator[Any]:
    """The client of that account; instances end with the test."""
    ec2, _ = account
    yield ec2
    if left := [instance["InstanceId"] for instance in instances(ec2)]:
        ec2.terminate_instances(InstanceIds=left)


@pytest.fixture
def bootstrapped(account: tuple[Any, dict[str, Any]]) -> dict[str, Any]:
    return copy.deepcopy(account[1])


def _forget_clients() -> None:
    """Ray keeps clients for the life of the process."""
    from ray.autoscaler._private.aws import config, node_provider, utils

    for module in (config, node_provider, utils):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def prepared(ec2: Any) -> dict[str, Any]:
    """The file with an image that exists, as `ray up` reads it."""
    image = ec2.describe_images()["Images"][0]["ImageId"]
    text = (ROOT / "cluster.yaml").read_text(encoding="utf-8").replace("ami-REPLACE-ME", image)
    config: dict[str, Any] = prepare_config(yaml.safe_load(text))
    validate_config(config)
    return config


def launch_head(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """`ray up`, without what goes over SSH."""

    class NoSSH:
        def __init__(self, *, node_id: str, provider: Any, **_: Any) -> None:
            self.node_id, self.provider, self.exitcode = node_id, provider, 0

        def start(self) -> None:
            self.provider.set_node_tags(self.node_id, {"ray-node-status": "up-to-date"})

        def join(self) -> None:
            pass

    monkeypatch.setattr(commands, "NodeUpdaterThread", NoSSH)
    commands.get_or_create_head_node(
        config,
        printable_config_file="cluster.yaml",
        no_restart=False,
        restart_only=False,
        yes=True,
        override_cluster_name=None,
    )


def instances(ec2: Any) -> list[dict[str, Any]]:
    """Those that cost."""
    found = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    return [instance for instance in found if instance["State"]["Name"] != "terminated"]


def tags(instance: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


# `ray up` leaves a temporary file to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO name='.*ray-bootstrap:Warning")
def test_the_head_is_launched_as_the_file_says(aws: Any, bootstrapped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    launch_head(bootstrapped, monkeypatch)
    (head,) = instances(aws)
    assert head["InstanceType"] == "m5.large"
    assert "InstanceLifecycle" not in head  # on demand
    found = tags(head)
    assert found["ray-cluster-name"] == "catdog-ray"
    assert found["ray-node-type"] == "head"
    assert found["ray-user-node-type"] == "head"
    assert found["Name"] == "ray-catdog-ray-head"
    assert head["IamInstanceProfile"]["Arn"].endswith("/ray-autoscaler-v1")
    (attached,) = head["BlockDeviceMappings"]
    (disk,) = aws.describe_volumes(VolumeIds=[attached["Ebs"]["VolumeId"]])["Volumes"]
    assert (disk["Size"], disk["VolumeType"]) == (150, "gp3")
    # A second `ray up` finds it.
    launch_head(bootstrapped, monkeypatch)
    assert len(instances(aws)) == 1


def test_the_security_group_is_closed_to_the_world_but_for_ssh(aws: Any, bootstrapped: Any) -> None:
    types = bootstrapped["available_node_types"]
    used = {group for node in types.values() for group in node["node_config"]["SecurityGroupIds"]}
    (group,) = aws.describe_security_groups(GroupIds=sorted(used))["SecurityGroups"]
    world = [
        (rule["IpProtocol"], rule.get("FromPort"), rule.get("ToPort"))
        for rule in group["IpPermissions"]
        if any(item["CidrIp"] == "0.0.0.0/0" for item in rule["IpRanges"]) or rule.get("Ipv6Ranges")
    ]
    assert world == [("tcp", 22, 22)]
    among_nodes = [rule for rule in group["IpPermissions"] if rule["UserIdGroupPairs"]]
    assert [pair["GroupId"] for rule in among_nodes for pair in rule["UserIdGroupPairs"]] == [group["GroupId"]]


def test_subnets_of_every_zone_and_a_key_of_our_own(aws: Any, bootstrapped: Any) -> None:
    zones = {zone["ZoneName"] for zone in aws.describe_availability_zones()["AvailabilityZones"]}
    for node in bootstrapped["available_node_types"].values():
        subnets = aws.describe_subnets(SubnetIds=node["node_config"]["SubnetIds"])["Subnets"]
        assert {subnet["AvailabilityZone"] for subnet in subnets} == zones
    key = Path(bootstrapped["auth"]["ssh_private_key"])
    assert key.stat().st_mode & 0o077 == 0
    assert key.is_relative_to(os.environ["HOME"])


def provider(config: dict[str, Any]) -> spot.SpotThenOnDemand:
    """The provider that Ray loads for this file, by its name."""
    from ray.autoscaler._private.providers import _get_node_provider

    found = _get_node_provider(config["provider"], config["cluster_name"], use_cache=False)
    assert type(found) is spot.SpotThenOnDemand
    return found


def launch_workers(config: dict[str, Any], count: int) -> None:
    """One by one: of MinCount=1, MaxCount=n moto starts one, AWS up to n."""
    for _ in range(count):
        node_config = config["available_node_types"]["gpu_worker"]["node_config"]
        provider(config).create_node(node_config, {**WORKER_TAGS, "ray-user-node-type": "gpu_worker"}, 1)


def test_workers_are_spot_instances_with_the_bucket_s_profile(aws: Any, bootstrapped: Any) -> None:
    launch_workers(bootstrapped, 3)
    found = instances(aws)
    assert [(worker["InstanceType"], worker["InstanceLifecycle"]) for worker in found] == [("g5.xlarge", "spot")] * 3
    assert {worker["IamInstanceProfile"]["Arn"].rpartition("/")[2] for worker in found} == {"catdog-ray-worker"}
    assert {worker["MetadataOptions"]["HttpTokens"] for worker in found} == {"required"}
    assert all("catdog-ray-market" not in tags(worker) for worker in found)


def refuse(monkeypatch: pytest.MonkeyPatch, code: str, *, on_demand_too: bool = False) -> list[bool]:
    """AWS answers requests for spot instances with `code`; whether each request was for spot."""

    asked: list[bool] = []
    make = spot.AWSNodeProvider.__init__

    def with_refusals(self: Any, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        resource = self.ec2_fail_fast

        def create_instances(**request: Any) -> Any:
            is_spot = "InstanceMarketOptions" in request
            asked.append(is_spot)
            if is_spot or on_demand_too:
                error = {"Error": {"Code": code, "Message": "no"}}
                raise botocore.exceptions.ClientError(error, "RunInstances")
            return resource.create_instances(**request)

        self.ec2_fail_fast = SimpleNamespace(create_instances=create_instances)

    monkeypatch.setattr(spot.AWSNodeProvider, "__init__", with_refusals)
    return asked


@pytest.mark.parametrize("code", ["InsufficientInstanceCapacity", "MaxSpotInstanceCountExceeded"])
def test_without_spot_capacity_workers_come_on_demand(
    aws: Any, bootstrapped: Any, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    asked = refuse(monkeypatch, code)
    launch_workers(bootstrapped, 2)
    found = instances(aws)
    assert [(worker["InstanceType"], worker.get("InstanceLifecycle")) for worker in found] == [("g5.xlarge", None)] * 2
    assert [tags(worker)["catdog-ray-market"] for worker in found] == ["on-demand"] * 2
    assert {tags(worker)["ray-user-node-type"] for worker in found} == {"gpu_worker"}
    # Every zone was asked for a spot instance first.
    zones = len(aws.describe_availability_zones()["AvailabilityZones"])
    assert asked.count(True) >= zones
    assert asked[-1] is False


@pytest.mark.parametrize(
    ("code", "on_demand_too"), [("UnauthorizedOperation", False), ("InsufficientInstanceCapacity", True)]
)
def test_other_refusals_are_passed_on(
    aws: Any, bootstrapped: Any, monkeypatch: pytest.MonkeyPatch, code: str, on_demand_too: bool
) -> None:
    asked = refuse(monkeypatch, code, on_demand_too=on_demand_too)
    with pytest.raises(NodeLaunchException) as refused:
        launch_workers(bootstrapped, 1)
    assert refused.value.category == code
    assert instances(aws) == []
    assert (False in asked) is on_demand_too


def test_rays_autoscaler_still_does_not_heed_refused_instances() -> None:
    """What `spot` is for; where this fails, Ray has learnt it and a second node type would do."""
    from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import CloudResourceMonitor
    from ray.core.generated.instance_manager_pb2 import Instance, InstanceUpdateEvent

    found = {}
    for status in (Instance.ALLOCATION_FAILED, Instance.ALLOCATION_TIMEOUT):
        monitor = CloudResourceMonitor()
        monitor.notify([InstanceUpdateEvent(new_instance_status=status, instance_type="gpu_worker")])
        found[status] = monitor.get_recoverable_resource_availabilities()
    assert found == {Instance.ALLOCATION_FAILED: {}, Instance.ALLOCATION_TIMEOUT: {"gpu_worker": 0.0}}


def test_ray_down_terminates(aws: Any, bootstrapped: Any) -> None:
    launch_workers(bootstrapped, 1)
    found = provider(bootstrapped)
    assert found.cache_stopped_nodes is False
    found.terminate_nodes([worker["InstanceId"] for worker in instances(aws)])
    assert instances(aws) == []
