"""Which code and which libraries made a result: versions and commit. Imports nothing of them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

from catdog_ray import inspection

_VERSIONS = (
    *("catdog_ray", "ray", "optuna", "keras", "tensorflow", "jax", "torch", "keras-tuner", "numpy", "scipy"),
    "pillow",  # whose decoder decides on the last grey level, and so on the data's fingerprint
)


def versions() -> dict[str, str]:
    """Installed versions of what results depend on; importing nothing."""
    installed = {name: inspection.version(name) for name in _VERSIONS}
    return {"python": platform.python_version()} | {name: found for name, found in installed.items() if found}


def keras_backend() -> str:
    """What Keras computes with here, found as Keras finds it; importing nothing."""
    file = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")) / "keras.json"  # noqa: PTH111 - no error
    try:
        configured = json.loads(file.read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        configured = None
    return os.environ.get("KERAS_BACKEND") or configured or "tensorflow"


def commit() -> str | None:
    """The commit of this checkout, with `+changes` where files differ from it.

    In what `git archive` made, the commit that it was made of, whatever was changed since; else None.
    """
    root = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        result = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return result.stdout.strip()

    try:
        if not (root / ".git").exists():
            archived = (Path(__file__).parent / "archived_commit.txt").read_text(encoding="utf-8").strip()
            return None if archived.startswith("$") else archived
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "catdog_ray", "configs", "scripts")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
