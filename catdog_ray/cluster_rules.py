"""What is wrong with a file for `ray up`: Ray's own checks, then the rules that Ray lacks, each with its line.

A rule is a function from a file to findings; its text says what to write instead.
"""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import json
import logging
import platform
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from catdog_ray import cloud_keys, cluster_commands
from catdog_ray.cluster_file import ClusterFile, Finding, Place
from catdog_ray.errors import nearest

RESOURCES = ("CPU", "GPU", "TPU", "memory", "object_store_memory")
SHARED = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
"""Places that all nodes can write, as pyarrow names them."""

PLACEHOLDER = re.compile(r"[\w./:-]*(?:REPLACE-ME|YOUR-[A-Z]+)[\w./:-]*")

Rule = Callable[[ClusterFile], Iterator[Finding]]


def check(file: ClusterFile) -> list[Finding]:
    """Everything to change before `ray up`, in the order of the lines; Ray's own complaints for lines without any."""
    found: dict[tuple[int, str, str], Finding] = {}
    for finding in itertools.chain(file.repeated, *(rule(file) for rule in RULES)):
        # What an anchor shares stands at several places, but on one line and under one name.
        place, _, text = finding.text.partition(": ")
        found.setdefault((finding.line, place.rpartition(".")[2], text), finding)
    lines = {finding.line for finding in found.values()}
    return sorted([*found.values(), *(finding for finding in _rays_own(file) if finding.line not in lines)])


def placeholders(file: ClusterFile) -> list[Finding]:
    """What the shipped files leave to be filled in."""
    found = []
    for number, line in enumerate(file.path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.partition("#")[0]
        found += [Finding(number, match.group()) for match in PLACEHOLDER.finditer(text)]
    return found


def _schema_errors(file: ClusterFile) -> list[Any]:
    """Before Ray fills in its defaults, which fails somewhere else where a list stands for a mapping."""
    import jsonschema
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text(encoding="utf-8"))
    return list(jsonschema.validators.validator_for(schema)(schema).iter_errors(file.values))


def _check_schema(file: ClusterFile) -> Iterator[Finding]:
    """What Ray's schema says, with the key that was meant."""
    for error in _schema_errors(file):
        yield from _schema_findings(file, error)


def _schema_findings(file: ClusterFile, error: Any) -> Iterator[Finding]:
    place = tuple(error.absolute_path)
    name = ".".join(map(str, place)) or "the file"
    known = list(error.schema.get("properties", {}))
    if error.validator == "additionalProperties":
        for key in error.instance:
            if key not in known:
                where = f"{name}.{key}" if place else key
                yield Finding(file.at(*place, key), f"{where}: unknown to Ray{nearest(key, known)}")
    else:
        yield Finding(file.at(*place), f"{name}: {error.message[:300]}")


def _rays_own(file: ClusterFile) -> Iterator[Finding]:
    """`prepare_config` and `validate_config`, as `ray up` calls them; Ray stops at its first complaint."""
    import click
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    if not file.provider or _schema_errors(file):
        return
    said = io.StringIO()
    log = logging.getLogger("ray.autoscaler")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of fields that Ray itself has put in
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            validate_config(prepare_config(copy.deepcopy(file.values)))
    except jsonschema.ValidationError as error:
        yield from _schema_findings(file, error)
    except click.ClickException:
        # Time, PANIC, file, line, and colours.
        text = re.sub(r"\x1b\[[\d;]*m", "", said.getvalue()).rpartition(" -- ")[2]
        yield Finding(_line_of(file, text), "Ray: " + " ".join(text.split()))
    except (ValueError, LookupError, AttributeError, TypeError, RuntimeError, AssertionError) as error:
        yield Finding(_line_of(file, str(error)), f"Ray: {type(error).__name__}: {error}")
    finally:
        log.setLevel(level)


def _line_of(file: ClusterFile, text: str) -> int:
    """The line of the first key that Ray names in its complaint; `provider` where it names none."""
    named = (word for word in re.findall(r"\w+", text) if word in file.values)
    return file.at(next(named, "provider"))


def _check_counts(file: ClusterFile) -> Iterator[Finding]:
    types = file.mapping("available_node_types")
    lowest = {name: file.get("available_node_types", name, "min_workers", default=0) for name in types}
    total = file.get("max_workers", default=2)
    if not all(isinstance(number, int) for number in (*lowest.values(), total)):
        return
    if sum(lowest.values()) > total:
        text = f"{total} is below the sum of min_workers ({sum(lowest.values())}); raise it to that"
        yield file.finding(("max_workers",), text)
    for name in types:
        most = file.get("available_node_types", name, "max_workers", default=total)
        if isinstance(most, int) and lowest[name] > most:
            place = ("available_node_types", name, "min_workers")
            yield file.finding(place, f"{lowest[name]} is above its max_workers ({most})")


def _check_resources(file: ClusterFile) -> Iterator[Finding]:
    for name in file.mapping("available_node_types"):
        for key in file.mapping("available_node_types", name, "resources"):
            like = nearest(str(key).upper().removesuffix("S"), RESOURCES[:3]) or nearest(str(key), RESOURCES)
            if key not in RESOURCES and like:
                place = ("available_node_types", name, "resources", key)
                yield file.finding(place, f"no trial asks for a resource of that name{like}")


def _check_image(file: ClusterFile) -> Iterator[Finding]:
    docker = file.mapping("docker")
    places: list[Place] = [("docker", key) for key in ("image", "head_image", "worker_image")]
    places += [("available_node_types", n, "docker", "worker_image") for n in file.mapping("available_node_types")]
    for place in places:
        image = file.get(*place)
        if isinstance(image, str):
            for text in _image_faults(image):
                yield file.finding(place, f"{image!r} {text}")
    if docker and "image" not in docker:
        text = "docker.image is missing; without it Ray's autoscaler fails at every worker (KeyError); name it"
        yield Finding(file.at("docker"), text)


def _image_faults(image: str) -> Iterator[str]:
    import ray

    repository, _, tag = image.removeprefix("docker.io/").partition(":")
    python = "py" + "".join(platform.python_version_tuple()[:2])
    wanted = f"rayproject/ray:{ray.__version__}-{python}-{'cpu' if 'cpu' in tag else 'gpu'}"
    if repository == "rayproject/ray-ml":
        yield f"is no longer built; write {wanted}"
    elif repository == "rayproject/ray":
        version, _, rest = tag.partition("-")
        if version != ray.__version__:
            yield f"is not Ray {ray.__version__}, which is installed here; write {wanted}"
        # A tag without Python's version is Ray's default, which changes.
        elif python not in rest.split("-"):
            yield f"is not for this Python; write {wanted}"


def _check_head(file: ClusterFile) -> Iterator[Finding]:
    head = str(file.get("head_node_type"))
    where = ("available_node_types", head)
    resources = file.get(*where, "resources", default={})
    is_given = head in file.mapping("available_node_types") and isinstance(resources, dict)
    for name in ("CPU", "GPU") if is_given else ():
        if resources.get(name) != 0:
            text = f"{'.'.join(where)}.resources: the head would take trials; write {name}: 0"
            yield Finding(file.at(*where, "resources", name), text)
    market = file.get(*where, "node_config", "InstanceMarketOptions", "MarketType")
    model = file.get(*where, "node_config", "scheduling", "provisioningModel")
    if "spot" in (str(market).lower(), str(model).lower()):
        key = "InstanceMarketOptions" if market else "scheduling"
        text = "a spot head can be taken away with the whole search; leave it out"
        yield file.finding((*where, "node_config", key), text)


def _check_exposure(file: ClusterFile) -> Iterator[Finding]:
    """Ports that the security group opens to the world; Ray's own group opens 22."""
    place = ("provider", "security_group", "IpPermissions")
    rules = file.get(*place, default=[])
    for number, rule in enumerate(rules if isinstance(rules, list) else []):
        given = rule if isinstance(rule, dict) else {}
        ranges = [item for key in ("IpRanges", "Ipv6Ranges") for item in given.get(key) or [] if isinstance(item, dict)]
        open_to = {str(value) for item in ranges for value in (item.get("CidrIp"), item.get("CidrIpv6"))}
        is_ssh = given.get("FromPort") == given.get("ToPort") == 22
        if not is_ssh and any(address.endswith("/0") for address in open_to):
            text = (
                "provider.security_group: opens more than SSH to the world; leave the rule out and use `ray dashboard`"
            )
            yield Finding(file.at(*place, number), text)


def _check_token(file: ClusterFile) -> Iterator[Finding]:
    if not any(str(target).rstrip("/").endswith((".ray", ".ray/auth_token")) for target in file.mapping("file_mounts")):
        text = "the token does not reach the nodes; write `~/.ray: ~/.ray` (`ray get-auth-token --generate`)"
        yield file.finding(("file_mounts",), text)
    if file.mapping("docker") and "RAY_AUTH_MODE=token" not in str(file.get("docker", "run_options")):
        text = "`ray exec` and the driver would be refused; write `- -e RAY_AUTH_MODE=token`"
        yield file.finding(("docker", "run_options"), text)


def _check_storage(file: ClusterFile) -> Iterator[Finding]:
    """`metadata.storage_path` is this project's: where trials keep checkpoints. Ray hands metadata on unread."""
    given = file.get("metadata", "storage_path")
    cure = "write a place that all nodes can write, such as s3://YOUR-BUCKET/catdog or gs://YOUR-BUCKET/catdog"
    if file.provider == "local":
        cure = "write a folder that every host has mounted at the same place, or s3://YOUR-BUCKET/catdog"
    if not given:
        yield file.finding(("metadata", "storage_path"), f"not given; {cure}")
        return
    scheme, colon, path = str(given).rpartition("://")
    if colon and scheme not in ("file", "local"):
        if scheme not in SHARED:
            text = f"{scheme}:// is none of {', '.join(SHARED)}{nearest(scheme, SHARED)}"
            yield file.finding(("metadata", "storage_path"), text)
    elif file.provider != "local" or _is_own_disk(path):
        text = f"{given!r} is one node's own disk, and there are several nodes; {cure}"
        yield file.finding(("metadata", "storage_path"), text)


def _is_own_disk(path: str) -> bool:
    """Whether no host shares this folder for sure; one under /mnt, /home and the like may be mounted by all."""
    inside = posixpath.normpath(path) + "/"
    return not path.startswith("/") or inside.startswith(("/tmp/", "/var/tmp/", "/dev/", "/run/", "/proc/"))


def _check_cost(file: ClusterFile) -> Iterator[Finding]:
    if file.provider == "aws" and file.get("provider", "cache_stopped_nodes", default=True) is not False:
        text = "a stopped node's disk goes on costing after `ray down`; write false"
        yield file.finding(("provider", "cache_stopped_nodes"), text)


RULES: tuple[Rule, ...] = (
    _check_schema,
    cloud_keys.check_provider,
    cloud_keys.check_node_configs,
    _check_counts,
    _check_resources,
    _check_image,
    cluster_commands.check_installs,
    cluster_commands.check_flags,
    cluster_commands.check_head,
    cluster_commands.check_token,
    _check_head,
    _check_exposure,
    _check_token,
    _check_storage,
    _check_cost,
)
