"""What a row and `study.json` may hold: all of it is checked when it is read, for anybody may have edited a file."""

from __future__ import annotations

import math
import operator
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from catdog_ray.records import RecordError

SCHEMA_VERSION = 1

_SHARES = ("accuracy", "objective")
"""Endings of the names of fractions."""

_LARGEST_NUMBER = 1e100
"""Squares of what is below are finite; losses are float32 and end at 3.4e38."""

_LIMITS: Mapping[type, tuple[float, float]] = {
    float: (-_LARGEST_NUMBER, _LARGEST_NUMBER),
    # SQLite, NumPy and tables end at 64 bits.
    int: (-(2**63) + 1, 2**63 - 1),
}


class RowSchema:
    """Names, types and ranges of the values of one kind of row."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._hints = typing.get_type_hints(kind)

    def require(self, values: Any) -> None:
        """RecordError for other names than the row's, a value of another type, or a number outside its range."""
        if not isinstance(values, dict) or values.keys() != self._hints.keys():
            odd = sorted(set(values) ^ self._hints.keys()) if isinstance(values, dict) else [type(values).__name__]
            raise RecordError(f"is no {self._kind.__name__}; differing: {', '.join(odd)}")
        for name, value in values.items():
            is_share = name.endswith(_SHARES) and value is not None
            if not _has_type(value, self._hints[name]) or (is_share and not 0 <= value <= 1):
                raise RecordError(f"{name} cannot be {str(value)[:60]!r}")

    def admits(self, rows: Sequence[Any]) -> bool:
        """True where `require` raises for none of these; False where it must look at each.

        Half a million rows are read, and column by column takes a tenth of the time.
        """
        names = self._hints.keys()
        return all(type(row) is dict and row.keys() == names for row in rows) and all(
            _admits(list(map(operator.itemgetter(name), rows)), hint, is_share=name.endswith(_SHARES))
            for name, hint in self._hints.items()
        )


def _admits(column: Sequence[Any], hint: Any, *, is_share: bool = False) -> bool:
    kinds = set(map(type, column))
    container = typing.get_origin(hint)
    if container in (dict, list):
        parts = map(dict.values, column) if container is dict else column
        return kinds <= {container} and _admits(list(chain.from_iterable(parts)), typing.get_args(hint)[-1] | None)
    for kind in kinds:
        values = column if len(kinds) == 1 else [value for value in column if type(value) is kind]
        if not _has_type(kind(0) if kind in _LIMITS else values[0], hint):
            return False
        if kind in _LIMITS:
            low, high = (0, 1) if is_share else _LIMITS[kind]
            # Beside a NaN, the least and the largest say nothing.
            if not (low <= min(values) and max(values) <= high and (kind is int or all(map(math.isfinite, values)))):
                return False
    return True


_STUDY: Mapping[str, Any] = {
    "name": str,
    "label": str,
    "method": str,
    "state": str,
    "started_utc": str,
    "wall_s": float,
    "sessions": int,
    "nodes": list,
    "versions": dict,
    "data": dict,
    "config": dict,
}
_DATA: Mapping[str, Any] = {
    "name": str,
    "drawn": bool,
    "fingerprint": str,
    "class_names": list[str],
    "test_counts": list[int],
    "skipped_files": list[str],
}
_TABLED: Mapping[str, type] = {
    "name": str,
    "label": str,
    "method": str,
    "data.name": str,
    "data.drawn": bool,
    "config.search.num_samples": int,
    "config.search.startup_trials": int,
}
"""What tables cannot do without, by dotted name."""


def require_study(path: Path, study: Any) -> None:
    """RecordError where `study.json` is of another schema version, or a value of another kind than is written there."""
    version = study.get("schema_version") if isinstance(study, dict) else None
    if version != SCHEMA_VERSION:
        raise RecordError(f"{path}: schema_version must be {SCHEMA_VERSION}, got {version!r}")
    data = study.get("data")
    for prefix, values, kinds in (("", study, _STUDY), ("data.", data if isinstance(data, dict) else {}, _DATA)):
        for name, kind in kinds.items():
            if name in values and not _has_type(values[name], kind):
                raise RecordError(f"{path}: {prefix}{name} cannot be {str(values[name])[:60]!r}")
    if isinstance(data, dict) and "test_counts" in data:
        _require_counts(path, data)


def _require_counts(path: Path, data: Mapping[str, Any]) -> None:
    """RecordError where the images of the test split by class do not fit the classes and the images in all."""
    counts, names = data["test_counts"], data.get("class_names", ())
    is_each = len(counts) == len(names) > 0 and all(count is not None and count >= 0 for count in counts)
    if not is_each or sum(counts) != data.get("test_images", sum(counts)):
        raise RecordError(
            f"{path}: data.test_counts must be the test images (data.test_images) of each of data.class_names, "
            f"got {str(counts)[:60]}"
        )


def require_facts(path: Path, study: Mapping[str, Any]) -> None:
    """RecordError where study.json lacks what tables are made of."""
    for dotted, kind in _TABLED.items():
        found: Any = study
        for part in dotted.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if not _has_type(found, kind):
            raise RecordError(f"{path}: {dotted} is missing or cannot be {str(found)[:60]!r}")


def _has_type(value: Any, kind: Any) -> bool:
    """Whether a JSON value fits an annotation of a row."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (types.UnionType, typing.Union):
        return any(_has_type(value, argument) for argument in arguments)
    if origin is list:
        return isinstance(value, list) and _are_null_or(value, arguments[0])
    if origin is dict:
        return isinstance(value, dict) and _are_null_or(value.values(), arguments[1])
    if kind is float:
        return type(value) in (int, float) and -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER
    if kind is int:
        return type(value) is int and _LIMITS[int][0] <= value <= _LIMITS[int][1]
    return value is None if kind is type(None) else isinstance(value, kind)


def _are_null_or(values: Iterable[Any], kind: Any) -> bool:
    """Numbers that were not finite are null in lists and mappings too."""
    return all(value is None or _has_type(value, kind) for value in values)
