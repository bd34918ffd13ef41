"""A machine whose `nvidia-smi` lists GPUs that are not there, for tests of a Ray that was told of them."""

from __future__ import annotations

import os
from pathlib import Path


def install(folder: Path, count: int) -> str:
    """Write the program to `folder` and return a PATH on which it comes first."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "nvidia-smi"
    listed = "\n".join(f"GPU {number}: fake" for number in range(count))
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{listed}\nEND\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
