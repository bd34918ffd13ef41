"""Files that are written whole or not at all, and JSON as this project writes it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catdog_ray.records import RecordError, finite_or_none


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON with null for what is not finite (NaN is no JSON)."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return finite_or_none(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def replace_file(path: Path, content: str | bytes, *, mode: int = 0o666) -> None:
    """Write a file so that a reader sees the old content or the new, never a part; `mode` before the umask."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    data = content.encode() if isinstance(content, str) else content
    try:
        with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def require_writable(file: Path) -> None:
    """Make the folder of a file that is to be written after long work; RecordError where it cannot be."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise RecordError(f"{file}: cannot be written ({error.strerror})") from None
