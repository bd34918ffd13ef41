"""What a machine says about itself, for `study`, `cluster` and `preflight`.

It is sent whole, so that it runs where this package is missing: only the standard library is imported at the top,
and nothing of this package anywhere.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from pathlib import Path
from typing import Any


def inspect(storage_path: str, name: str) -> dict[str, Any]:
    """Versions, digest of the package, GPUs, and whether `storage_path` can be read and written.

    Reads `driver` there, which the driver has written, and writes `name` beside it.
    """
    return {
        **compared(),
        "package": package_digest(),
        "gpus": len(gpus()),
        "storage": storage_fault(storage_path, name),
    }


def compared() -> dict[str, str | None]:
    """Versions that must be the driver's on every node."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{library: version(library) for library in ("ray", "keras")}}


def version(library: str) -> str | None:
    """The installed version, importing nothing; None where it is missing."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def package_digest() -> str | None:
    """Twelve digits that tell one state of catdog_ray's modules from another; None where it cannot be imported."""
    found = importlib.util.find_spec("catdog_ray")
    if found is None or found.origin is None:
        return None
    digest = hashlib.sha256()
    for file in sorted(Path(found.origin).parent.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def gpus() -> list[str]:
    """The models of NVIDIA GPUs that this machine has."""
    try:
        found = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return found.stdout.split("\n")[:-1] if found.returncode == 0 else []


def storage_fault(storage_path: str, name: str) -> str | None:
    """Why the folder cannot be used from here; None where it can."""
    try:
        import pyarrow.fs

        filesystem, folder = pyarrow.fs.FileSystem.from_uri(storage_path)
        with filesystem.open_input_stream(f"{folder}/driver") as stream:
            stream.read()
        with filesystem.open_output_stream(f"{folder}/{name}") as stream:
            stream.write(b"written")
    except FileNotFoundError:
        return "what the driver wrote there is not to be seen"
    except (ImportError, OSError, ValueError) as error:
        lines = str(error).strip().splitlines()
        return lines[0] if lines else type(error).__name__
    return None


def machine() -> dict[str, Any]:
    """What kind of machine this is, without its name."""
    processor, memory = platform.machine(), 0
    cpuinfo, meminfo = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = models[0].partition(":")[2].strip() if models else processor
    if meminfo.exists():
        memory = int(meminfo.read_text().split("MemTotal:")[1].split()[0]) * 1024
    return {
        "cpu_model": processor,
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "gpus": gpus(),
        "python": platform.python_version(),
    }


def node_facts(cpus: float, gpus: float) -> dict[str, Any]:
    """What kind of machine a node is, and what Ray has of it."""
    return {**machine(), "ray_cpus": cpus, "ray_gpus": gpus}
