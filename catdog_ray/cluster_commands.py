"""What is wrong with the shell commands of a file for `ray up`: what they install, and how they start Ray."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator

from catdog_ray.cluster_file import ClusterFile, Finding, Place
from catdog_ray.errors import nearest

HEAD, WORKER = "head_start_ray_commands", "worker_start_ray_commands"
SETUP = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_START = re.compile(r"\bray\s+start\b((?:\\\n|[^;&|\n])*)")
_RAY = r"(?<![\w./-])ray(?:\[[^\]]*\])?\s*"
_PIN = re.compile(_RAY + r"={2,3}\s*([\w.*+]+)")
_OPEN = re.compile(_RAY + r"(?:$|[\s'\"<>~!])")
_INSTALL = re.compile(r"\b(?:pip3?|conda|mamba)\s+install\b([^;&|\n]*)")


def check_installs(file: ClusterFile) -> Iterator[Finding]:
    """Another Ray than the one installed here, one of any version, or a nightly one."""
    places: list[Place] = [(key,) for key in SETUP]
    places += [("available_node_types", name, key) for name in file.mapping("available_node_types") for key in SETUP]
    for whole in places:
        for place, command in file.commands(*whole):
            text = _install_fault(command)
            if text:
                yield Finding(file.line_in(place, "ray"), f"{'.'.join(map(str, whole))}: {text}")
    gone = [key for key in SETUP[1:] if key not in file.values]
    if file.provider in ("aws", "gcp") and gone:
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
    pins = _PIN.findall(command)
    for pin in pins:
        if pin != ray.__version__:
            return f"Ray {pin} is not Ray {ray.__version__}, which is installed here; write {wanted}"
    if not pins and any(_OPEN.search(installed) for installed in _INSTALL.findall(command)):
        return f"Ray's version is left open; write {wanted}"
    return ""


def _starts(file: ClusterFile, key: str) -> list[tuple[Place, str]]:
    return [(place, command) for place, command in file.commands(key) if _START.search(command)]


def _values(command: str, flag: str) -> list[str]:
    """Every value that a flag of `ray start` is given, without its quotes."""
    return [value.strip("'\"") for value in re.findall(rf"{flag}(?:=|\s+)(\S*)", _flags(command))]


def _flags(command: str) -> str:
    found = _START.search(command)
    return found[1] if found else ""


def check_flags(file: ClusterFile) -> Iterator[Finding]:
    """A flag that `ray start` does not have: Ray would not start, after the machine has."""
    from ray.scripts.scripts import start

    known = sorted({name for option in start.params for name in (*option.opts, *option.secondary_opts)} | {"--help"})
    for key in (HEAD, WORKER):
        for place, command in _starts(file, key):
            for flag in re.findall(r"(?:^|\s)(--[\w-]+)", _flags(command)):
                if flag not in known:
                    text = f"{key}: {flag} is no flag of `ray start`{nearest(flag.replace('_', '-'), known)}"
                    yield Finding(file.line_in(place, flag), text)


def check_head(file: ClusterFile) -> Iterator[Finding]:
    """A head that takes trials, starts no workers, or listens to the world."""
    for place, command in _starts(file, HEAD):
        for flag in ("--num-cpus", "--num-gpus")[: 1 if file.provider == "local" else 2]:
            if set(_values(command, flag)) != {"0"}:
                line = file.line_in(place, flag if flag in command else "ray start")
                yield Finding(line, f"{HEAD}: the head would take trials; write {flag}=0 after `ray start --head`")
        if "--autoscaling-config" not in command:
            text = f"{HEAD}: no worker would ever start; write --autoscaling-config=~/ray_bootstrap_config.yaml"
            yield Finding(file.line_in(place, "ray start"), text)
        hosts = [host for host in _values(command, "--dashboard-host") if host not in LOOPBACK]
        if hosts:
            text = (
                f"{HEAD}: the dashboard would listen on {hosts[0]!r}; write --dashboard-host=127.0.0.1 and open it with"
            )
            yield Finding(file.line_in(place, "--dashboard-host"), f"{text} `ray dashboard FILE`")
    yield from _not_started(file, HEAD, "would let the head take trials")


def check_token(file: ClusterFile) -> Iterator[Finding]:
    """A Ray that starts without asking for the token."""
    for key in (HEAD, WORKER):
        for place, command in _starts(file, key):
            before = command[: _START.search(command).start()]  # type: ignore[union-attr]
            modes = re.findall(r"RAY_AUTH_MODE=['\"]?(\w*)", before)
            if modes[-1:] != ["token"]:
                text = (
                    f"{key}: without a token anyone who reaches a port runs code; write `export RAY_AUTH_MODE=token;`"
                )
                yield Finding(file.line_in(place, "ray start"), f"{text} before `ray start`")
    yield from _not_started(file, WORKER, "starts workers without a token")


def _not_started(file: ClusterFile, key: str, outcome: str) -> Iterator[Finding]:
    if not _starts(file, key):
        text = f"{key}: not given or without `ray start`, so Ray's default {outcome}; write it out"
        yield Finding(file.at(key), text)
