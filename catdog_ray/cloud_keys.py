"""What the clouds accept under `provider` and `node_config`, which Ray passes on unchecked.

AWS is checked with botocore's own description of RunInstances, values of closed lists too. For Google the names stand
here: those of Instance, AttachedDisk, Scheduling and so on in the reference of Compute Engine's interface, version 1.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from catdog_ray.cluster_file import OWN_PROVIDERS, ClusterFile, Finding, Place
from catdog_ray.errors import UserError, nearest

PROVIDER = {
    "aws": """type module region availability_zone cache_stopped_nodes use_internal_ips key_pair security_group
        aws_credentials cloudwatch disable_node_updaters""",
    "gcp": """type region availability_zone project_id cache_stopped_nodes use_internal_ips gcp_credentials
        disable_node_updaters""",
    "local": "type head_ip worker_ips external_head_ip coordinator_address use_internal_ips disable_node_updaters",
}
"""Keys that Ray's own node providers read."""

REQUIRED = {"aws": "region", "gcp": "region availability_zone project_id"}
"""Keys under `provider` without which `ray up` ends in a KeyError. What a local one needs, Ray says itself."""

RAYS_OWN = {"SubnetIds"}
"""Keys of an AWS node_config that Ray takes out again before it asks for instances."""

_INSTANCE = """advancedMachineFeatures canIpForward confidentialInstanceConfig deletionProtection description
    disks displayDevice guestAccelerators hostname instanceEncryptionKey keyRevocationActionType labels machineType
    metadata minCpuPlatform name networkInterfaces networkPerformanceConfig params privateIpv6GoogleAccess
    reservationAffinity resourcePolicies scheduling serviceAccounts shieldedInstanceConfig
    shieldedInstanceIntegrityPolicy sourceMachineImage sourceMachineImageEncryptionKey tags"""

GOOGLE: Mapping[str, str] = {
    "": _INSTANCE,
    "disks": """architecture autoDelete boot deviceName diskEncryptionKey diskSizeGb forceAttach guestOsFeatures
        index initializeParams interface licenses mode source type""",
    "disks.initializeParams": """architecture description diskName diskSizeGb diskType enableConfidentialCompute
        labels licenses onUpdateAction provisionedIops provisionedThroughput replicaZones resourceManagerTags
        resourcePolicies sourceImage sourceImageEncryptionKey sourceSnapshot sourceSnapshotEncryptionKey storagePool""",
    "scheduling": """automaticRestart availabilityDomain gracefulShutdown hostErrorTimeoutSeconds
        instanceTerminationAction localSsdRecoveryTimeout locationHint maxRunDuration minNodeCpus nodeAffinities
        onHostMaintenance onInstanceStopAction preemptible provisioningModel skipGuestOsShutdown terminationTime""",
    "guestAccelerators": "acceleratorCount acceleratorType",
    "serviceAccounts": "email scopes",
    "metadata": "items fingerprint",
    "networkInterfaces": """accessConfigs aliasIpRanges internalIpv6PrefixLength ipv6AccessConfigs ipv6AccessType
        ipv6Address name network networkAttachment networkIP nicType queueCount stackType subnetwork vlan""",
}

_TYPES = {"string": str, "integer": int, "boolean": bool, "list": list, "structure": dict}


def check_provider(file: ClusterFile) -> Iterator[Finding]:
    """Unknown and missing keys under `provider`; Ray accepts any."""
    known = PROVIDER.get(file.provider, "").split()
    if not known:
        if file.provider == "external":
            module = str(file.get("provider", "module", default=""))
            text = f"{module!r} is none of {', '.join(OWN_PROVIDERS)}{nearest(module, OWN_PROVIDERS)}"
            yield file.finding(("provider", "module"), text)
            return
        text = f"{file.provider!r} is none of {', '.join(PROVIDER)}{nearest(file.provider, PROVIDER)}"
        yield file.finding(("provider", "type"), text)
        return
    for key in file.mapping("provider"):
        if key not in known:
            yield file.finding(("provider", key), f"unknown to Ray's {file.provider} provider{nearest(key, known)}")
    for key in REQUIRED.get(file.provider, "").split():
        if not file.get("provider", key) and not nearest(key, file.mapping("provider")):
            yield file.finding(("provider", key), "not given; write where the nodes are to be")
    if file.provider == "local":
        yield from _hosts(file)
    if file.provider == "aws":
        shape = _shape("AuthorizeSecurityGroupIngress").members["IpPermissions"]
        yield from _amazon(file, shape, ("provider", "security_group", "IpPermissions"))


def _hosts(file: ClusterFile) -> Iterator[Finding]:
    """Ray counts the addresses, and ends in an AssertionError where one stands twice."""
    workers = file.get("provider", "worker_ips", default=[])
    hosts = [file.get("provider", "head_ip")]
    for number, address in enumerate(workers if isinstance(workers, list) else []):
        if address in hosts:
            role = "the head" if address == hosts[0] else "a worker already"
            text = f"provider.worker_ips: {address!r} is {role}; name each host once"
            yield Finding(file.at("provider", "worker_ips", number), text)
        hosts.append(address)


def check_node_configs(file: ClusterFile) -> Iterator[Finding]:
    """Unknown keys and impossible values in every node_config of an AWS or Google file."""
    types: list[Place] = [
        ("available_node_types", name, "node_config")
        for name in file.mapping("available_node_types")
        if isinstance(file.get("available_node_types", name, "node_config"), dict)
    ]
    if file.provider == "aws":
        shape = _shape("RunInstances")
        for place in types:
            yield from _amazon(file, shape, place)
            yield from _machine(file, place, ("InstanceType", "LaunchTemplate"), shape.members)
    elif file.provider == "gcp":
        for place in types:
            yield from _google(file, place, "")
            yield from _machine(file, place, ("machineType", "sourceMachineImage"), GOOGLE[""].split())


def _machine(file: ClusterFile, place: Place, keys: tuple[str, ...], known: Collection[str]) -> Iterator[Finding]:
    """A node without a kind of machine; a misspelled key has been found already."""
    given = file.mapping(*place)
    if not set(keys) & set(given) and not nearest(keys[0], set(given) - set(known)):
        yield file.finding(place, f"has no {keys[0]}; write which machine it is to be")


@functools.cache
def _shape(operation: str) -> Any:
    try:
        import botocore.session
    except ImportError:
        raise UserError("boto3 is needed to check a file for AWS, and by `ray up`: pip install boto3") from None
    model = botocore.session.get_session().get_service_model("ec2")
    return model.operation_model(operation).input_shape


def _amazon(file: ClusterFile, shape: Any, place: Place) -> Iterator[Finding]:
    """The value at `place` against botocore's shape of it."""
    value = file.get(*place)
    if value is None:
        return
    wanted = _TYPES.get(shape.type_name)
    if wanted is not None and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
        yield file.finding(place, f"must be of type {shape.type_name}, got {value!r}")
    elif shape.type_name == "structure":
        for key in value:
            if key in shape.members:
                yield from _amazon(file, shape.members[key], (*place, key))
            elif key not in RAYS_OWN:
                yield file.finding((*place, key), f"unknown to AWS{nearest(key, shape.members)}")
    elif shape.type_name == "list":
        for number in range(len(value)):
            yield from _amazon(file, shape.member, (*place, number))
    elif getattr(shape, "enum", None) and value not in shape.enum:
        hint = nearest(value, shape.enum) or f"; AWS knows {', '.join(shape.enum[:5])}, ..."
        yield file.finding(place, f"{value!r} is unknown to AWS{hint}")


def _google(file: ClusterFile, place: Place, part: str) -> Iterator[Finding]:
    known = GOOGLE[part].split()
    for key in file.mapping(*place):
        inner = f"{part}.{key}".lstrip(".")
        if key not in known:
            yield file.finding((*place, key), f"unknown to Google{nearest(key, known)}")
        elif inner in GOOGLE:
            value = file.get(*place, key)
            places: list[Place] = [(*place, key)]
            if isinstance(value, list):
                places = [(*place, key, number) for number in range(len(value))]
            for item in places:
                yield from _google(file, item, inner)
