"""Which code and which libraries made a result: versions and commit. Imports nothing of them."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

_VERSIONS = ("catdog_ray", "ray", "optuna", "keras", "tensorflow", "jax", "torch", "keras-tuner", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Installed versions of what results depend on; importing nothing."""
    found = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of this checkout, with `+changes` where files differ from it; None outside a checkout."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        result = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return result.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "catdog_ray", "configs", "scripts")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
