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
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from catdog_ray import cloud_keys
from catdog_ray.cluster_file import ClusterFile, Finding, Place
from catdog_ray.settings import nearest

RESOURCES = ("CPU", "GPU", "TPU", "memory", "object_store_memory")
PLACEHOLDER = re.compile(r"[\w./:-]*(?:REPLACE-ME|YOUR-[A-Z]+)[\w./:-]*")
HEAD, WORKER = "head_start_ray_commands", "worker_start_ray_commands"
SETUP = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Rule = Callable[[ClusterFile], Iterator[Finding]]


def check(file: ClusterFile) -> list[Finding]:
    """Everything to change before `ray up`, in the order of the lines; a line that several rules name is kept once."""
    found: dict[int, Finding] = {}
    for finding in itertools.chain(file.repeated, *(rule(file) for rule in RULES), _rays_own(file)):
        found.setdefault(finding.line, finding)
    return sorted(found.values())


def placeholders(file: ClusterFile) -> list[Finding]:
    """What the shipped files leave to be filled in."""
    found = []
    for number, line in enumerate(file.path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.partition("#")[0]
        found += [Finding(number, match.group()) for match in PLACEHOLDER.finditer(text)]
    return found


def _rays_own(file: ClusterFile) -> Iterator[Finding]:
    """`prepare_config` and `validate_config`, as `ray up` calls them; Ray stops at its first complaint."""
    import click
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    if not file.provider or "cluster_name" not in file.values:
        yield Finding(1, "cluster_name and provider.type must be given")
        return
    said = io.StringIO()
    log = logging.getLogger("ray.autoscaler")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of fields that Ray itself has put in
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            validate_config(prepare_config(copy.deepcopy(file.values)))
    except jsonschema.ValidationError as error:
        yield _schema_finding(file, error)
    except click.ClickException:
        yield Finding(file.at("provider"), "Ray: " + " ".join(said.getvalue().split()))
    except (ValueError, LookupError, AttributeError, TypeError, RuntimeError, AssertionError) as error:
        text = f"Ray: {type(error).__name__}: {error}"
        place = next((name for name in ("head_node_type", "max_workers", "docker") if name in str(error)), "provider")
        yield Finding(file.at(place), text)
    finally:
        log.setLevel(level)


def _check_keys(file: ClusterFile) -> Iterator[Finding]:
    """A misspelled key of the whole file; Ray complains of what is missing then, not of what is there."""
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text(encoding="utf-8"))
    for key in file.values:
        if key not in schema["properties"]:
            yield Finding(file.at(key), f"{key}: unknown to Ray{nearest(key, schema['properties'])}")


def _schema_finding(file: ClusterFile, error: object) -> Finding:
    place = tuple(getattr(error, "absolute_path", ()))
    name = ".".join(map(str, place)) or "the file"
    if getattr(error, "validator", "") == "additionalProperties":
        known = list(getattr(error, "schema", {}).get("properties", {}))
        written = file.get(*place) if place else file.values
        for key in written if isinstance(written, dict) else {}:
            if key not in known:
                where = f"{name}.{key}" if place else key
                return Finding(file.at(*place, key), f"{where}: unknown to Ray{nearest(key, known)}")
    return Finding(file.at(*place), f"{name}: {getattr(error, 'message', error)}")


def _workers(file: ClusterFile) -> list[str]:
    return [name for name in file.mapping("available_node_types") if name != file.get("head_node_type")]


def _check_counts(file: ClusterFile) -> Iterator[Finding]:
    types = file.mapping("available_node_types")
    lowest = {name: file.get("available_node_types", name, "min_workers", default=0) for name in types}
    total = file.get("max_workers", default=2)
    if not all(isinstance(number, int) for number in (*lowest.values(), total)):
        return
    if sum(lowest.values()) > total:
        text = f"max_workers: {total} is below the sum of min_workers ({sum(lowest.values())}); raise it to that"
        yield Finding(file.at("max_workers"), text)
    for name in types:
        most = file.get("available_node_types", name, "max_workers", default=total)
        if isinstance(most, int) and lowest[name] > most:
            where = ("available_node_types", name, "min_workers")
            yield Finding(file.at(*where), f"{'.'.join(where)}: {lowest[name]} is above its max_workers ({most})")


def _check_resources(file: ClusterFile) -> Iterator[Finding]:
    for name in file.mapping("available_node_types"):
        for key in file.mapping("available_node_types", name, "resources"):
            like = nearest(str(key).upper().removesuffix("S"), RESOURCES[:3]) or nearest(str(key), RESOURCES)
            if key not in RESOURCES and like:
                where = f"available_node_types.{name}.resources.{key}"
                text = f"{where}: no trial asks for a resource of that name{like}"
                yield Finding(file.at("available_node_types", name, "resources", key), text)


def _check_image(file: ClusterFile) -> Iterator[Finding]:
    docker = file.mapping("docker")
    places: list[Place] = [("docker", key) for key in ("image", "head_image", "worker_image")]
    places += [("available_node_types", n, "docker", "worker_image") for n in file.mapping("available_node_types")]
    for place in places:
        image = file.get(*place)
        if isinstance(image, str):
            for text in _image_faults(image):
                yield Finding(file.at(*place), f"{'.'.join(map(str, place))}: {image!r} {text}")
    if docker and "image" not in docker:
        text = "docker.image is missing; without it Ray's autoscaler fails at every worker (KeyError); name it"
        yield Finding(file.at("docker"), text)


def _image_faults(image: str) -> Iterator[str]:
    import ray

    repository, _, tag = image.partition(":")
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


def _check_installs(file: ClusterFile) -> Iterator[Finding]:
    for key in SETUP:
        for place, command in file.commands(key):
            text = _install_fault(command)
            if text:
                yield Finding(file.line_in(place, "ray"), f"{key}: {text}")
    missing = [key for key in ("setup_commands", "head_setup_commands", "worker_setup_commands") if key in SETUP]
    if file.provider in ("aws", "gcp") and (gone := [key for key in missing if key not in file.values]):
        text = f"{', '.join(gone)}: not given, so Ray's default installs a nightly wheel; write `{gone[0]}: []`"
        yield Finding(file.at("provider"), text)


def _install_fault(command: str) -> str:
    import ray

    wanted = f"'ray[default,tune]=={ray.__version__}'"
    wheel = re.search(r"ray-([\w.+]+?)-cp(\d+)\S*\.whl", command)
    if wheel and "dev" in wheel[1]:
        return f"{wheel[0][:40]} is a nightly wheel; write {wanted}"
    if wheel and (wheel[1] != ray.__version__ or wheel[2] != "".join(platform.python_version_tuple()[:2])):
        return f"the wheel is not Ray {ray.__version__} for this Python; write {wanted}"
    pin = re.search(r"\bray(?:\[[\w,]*\])?==([\w.]+)", command)
    if pin and pin[1] != ray.__version__:
        return f"Ray {pin[1]} is not Ray {ray.__version__}, which is installed here; write {wanted}"
    if (
        "pip install" in command
        and not pin
        and re.search(r"""(?:^|[\s'"])ray(?:\[[\w,]*\])?(?:$|[\s'"<>~])""", command)
    ):
        return f"Ray's version is left open; write {wanted}"
    return ""


def _starts(file: ClusterFile, key: str) -> list[tuple[Place, str]]:
    return [(place, command) for place, command in file.commands(key) if "ray start" in command]


def _check_head(file: ClusterFile) -> Iterator[Finding]:
    for place, command in _starts(file, HEAD):
        for flag in ("--num-cpus", "--num-gpus")[: 1 if file.provider == "local" else 2]:
            if not re.search(rf"{flag}[= ]0(?:\s|$)", command):
                line = file.line_in(place, flag if flag in command else "ray start")
                yield Finding(line, f"{HEAD}: the head would take trials; write {flag}=0 after `ray start --head`")
        if "--autoscaling-config" not in command:
            text = f"{HEAD}: no worker would ever start; write --autoscaling-config=~/ray_bootstrap_config.yaml"
            yield Finding(file.line_in(place, "ray start"), text)
    if not _starts(file, HEAD):
        text = (
            f"{HEAD}: not given or without `ray start`, so Ray's default would let the head take trials; write it out"
        )
        yield Finding(file.at(HEAD), text)
    head = str(file.get("head_node_type"))
    where = ("available_node_types", head)
    for name in ("CPU", "GPU"):
        if head in file.mapping("available_node_types") and file.mapping(*where, "resources").get(name) != 0:
            text = f"{'.'.join(where)}.resources: the head would take trials; write {name}: 0"
            yield Finding(file.at(*where, "resources", name), text)
    market = file.get(*where, "node_config", "InstanceMarketOptions", "MarketType")
    model = file.get(*where, "node_config", "scheduling", "provisioningModel")
    if "spot" in (str(market).lower(), str(model).lower()):
        key = "InstanceMarketOptions" if market else "scheduling"
        text = f"{'.'.join(where)}.node_config.{key}: a spot head can be taken away with the whole search; leave it out"
        yield Finding(file.at(*where, "node_config", key), text)


def _check_exposure(file: ClusterFile) -> Iterator[Finding]:
    for place, command in _starts(file, HEAD):
        host = re.search(r"--dashboard-host[= ]\s*(\S+)", command)
        if host and host[1] not in LOOPBACK:
            text = f"{HEAD}: the dashboard would listen on {host[1]}; write --dashboard-host=127.0.0.1 and open it with"
            yield Finding(file.line_in(place, "--dashboard-host"), f"{text} `ray dashboard FILE`")
    rules = file.get("provider", "security_group", "IpPermissions", default=[])
    for number, rule in enumerate(rules if isinstance(rules, list) else []):
        open_to = [
            item.get("CidrIp", item.get("CidrIpv6")) for key in ("IpRanges", "Ipv6Ranges") for item in rule.get(key, [])
        ]
        if rule.get("ToPort") != 22 and {"0.0.0.0/0", "::/0"} & set(open_to):
            text = (
                "provider.security_group: opens more than SSH to the world; leave the rule out and use `ray dashboard`"
            )
            yield Finding(file.at("provider", "security_group", "IpPermissions", number), text)


def _check_token(file: ClusterFile) -> Iterator[Finding]:
    for key in (HEAD, WORKER):
        for place, command in _starts(file, key):
            if "RAY_AUTH_MODE=token" not in command:
                text = (
                    f"{key}: without a token anyone who reaches a port runs code; write `export RAY_AUTH_MODE=token;`"
                )
                yield Finding(file.line_in(place, "ray start"), f"{text} before `ray start`")
    if not any(str(target).rstrip("/").endswith((".ray", ".ray/auth_token")) for target in file.mapping("file_mounts")):
        text = (
            "file_mounts: the token does not reach the nodes; write `~/.ray: ~/.ray` (`ray get-auth-token --generate`)"
        )
        yield Finding(file.at("file_mounts"), text)
    if not _starts(file, WORKER):
        text = (
            f"{WORKER}: not given or without `ray start`, so Ray's default starts workers without a token; write it out"
        )
        yield Finding(file.at(WORKER), text)
    if file.mapping("docker") and "RAY_AUTH_MODE=token" not in str(file.get("docker", "run_options")):
        text = "docker.run_options: `ray exec` and the driver would be refused; write `- -e RAY_AUTH_MODE=token`"
        yield Finding(file.at("docker", "run_options"), text)


def _check_storage(file: ClusterFile) -> Iterator[Finding]:
    """`metadata.storage_path` is this project's: where trials keep checkpoints. Ray hands metadata on unread."""
    path = file.get("metadata", "storage_path")
    if file.provider == "local":
        yield from _check_shared_folder(file, str(path or ""))
        return
    cure = "write a place that all nodes can write, such as s3://YOUR-BUCKET/catdog or gs://YOUR-BUCKET/catdog"
    if not path:
        yield Finding(file.at("metadata"), f"metadata.storage_path: not given; {cure}")
    elif "://" not in str(path) or str(path).startswith(("file:", "local:")):
        text = f"metadata.storage_path: {path!r} is one node's own disk, and there are several nodes; {cure}"
        yield Finding(file.at("metadata", "storage_path"), text)


def _check_shared_folder(file: ClusterFile, path: str) -> Iterator[Finding]:
    cure = "write a folder that every host has mounted at the same place, or s3://YOUR-BUCKET/catdog"
    if not path:
        yield Finding(file.at("metadata"), f"metadata.storage_path: not given; {cure}")
    elif "://" not in path and (not path.startswith("/") or path.startswith(("/tmp/", "/var/tmp/", "/dev/shm/"))):
        text = f"metadata.storage_path: {path!r} is one host's own disk, and there are several hosts; {cure}"
        yield Finding(file.at("metadata", "storage_path"), text)


def _check_cost(file: ClusterFile) -> Iterator[Finding]:
    if file.provider == "aws" and file.get("provider", "cache_stopped_nodes", default=True) is not False:
        text = "provider.cache_stopped_nodes: a stopped node's disk goes on costing after `ray down`; write false"
        yield Finding(file.at("provider", "cache_stopped_nodes"), text)


RULES: tuple[Rule, ...] = (
    _check_keys,
    cloud_keys.check_provider,
    cloud_keys.check_node_configs,
    _check_counts,
    _check_resources,
    _check_image,
    _check_installs,
    _check_head,
    _check_exposure,
    _check_token,
    _check_storage,
    _check_cost,
)
