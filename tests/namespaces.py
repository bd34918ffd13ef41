"""Machines made of Linux namespaces: a world of its own, which ends as one with its first process.

`ray stop` kills every Ray process it can see, and Ray's state lies in /tmp, /dev/shm and the home folder: a test that
calls it (as `ray up` does) runs in a world, never beside other people's Rays.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FIRST_PROCESS = r"""
set -euo pipefail
# An empty folder of this world only, with what must be seen of the old one.
private() {
  local folder=$1 kept; shift
  mkdir -p "$folder" /mnt/before; mount --rbind "$folder" /mnt/before; mount -t tmpfs -o mode=1777 tmpfs "$folder"
  for kept in "$@"; do
    case $kept/ in "$folder"/*) mkdir -p "$kept"; mount --rbind "/mnt/before${kept#"$folder"}" "$kept";; esac
  done
  umount -R -l /mnt/before
}
mount -t tmpfs tmpfs /mnt
for folder in /tmp /dev/shm /root /run; do private $folder %(kept)s; done
mkdir -p /run/sshd
ip link set lo up
"$@" &
status=0; wait $! || status=$?
exit $status
"""


def missing(*programs: str) -> str | None:
    """Why there can be no world here, for a skip; None where there can."""
    if os.geteuid() != 0:
        return "needs root for network, mount and PID namespaces"
    search = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"
    absent = [program for program in ("unshare", "ip", *programs) if shutil.which(program, path=search) is None]
    if absent:
        return f"needs {', '.join(absent)} (Debian: apt-get install iproute2 openssh-server rsync)"
    probe = subprocess.run(["unshare", "-n", "-m", "-u", "-p", "--fork", "--mount-proc", "true"], capture_output=True)
    return None if probe.returncode == 0 else "may not make namespaces here (in a container: privileged only)"


def skip_without(*programs: str) -> pytest.MarkDecorator:
    """Skips a test with the reason."""
    reason = missing(*programs)
    return pytest.mark.skipif(reason is not None, reason=reason or "")


def world_command(command: Sequence[str], *, kept: Sequence[Path] = ()) -> list[str]:
    """The command line that runs `command` as the only one in a new world; all its processes end with it.

    `kept` are folders to be seen in the world, besides this checkout and the Python that runs the tests.
    """
    folders = [ROOT, Path(sys.prefix), Path(sys.base_prefix), *kept]
    outermost = sorted({str(f) for f in folders if not any(f != other and other in f.parents for other in folders)})
    first = FIRST_PROCESS % {"kept": shlex.join(outermost)}
    unshare = ["unshare", "-n", "-m", "-u", "-i", "-p", "--fork", "--kill-child", "--mount-proc"]
    return [*unshare, "bash", "-c", first, "first", *command]


def run_in_world(
    command: Sequence[str], *, kept: Sequence[Path], timeout: float, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to the end, or kill the whole world after `timeout` seconds."""
    path = os.environ.get("PATH", "")
    # A world has its own token; the one of the tests' own Ray would be taken instead.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
    return subprocess.run(
        world_command(command, kept=kept),
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**inherited, "PATH": f"{Path(sys.executable).parent}:{path}:/usr/sbin:/sbin", **(environment or {})},
    )
