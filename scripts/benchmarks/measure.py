"""Side by side: what a row is, how two ways are timed in turn, and what is reported of it. No heavy import."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Timed = Callable[[], float]
"""Does the work once and returns its figure, such as seconds or images per second."""


@dataclass(frozen=True)
class Measurement:
    """What one row found. `theirs` is empty where a figure stands alone; else value i of both was taken in turn."""

    ours: Sequence[float]
    theirs: Sequence[float] = ()
    details: dict[str, Any] = field(default_factory=dict)

    def ratios(self) -> list[float]:
        """Ours over theirs, pair by pair; alone, our own values."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)] if self.theirs else list(self.ours)


@dataclass(frozen=True)
class Row:
    """One comparison. `bound` holds for the median of `Measurement.ratios`: at least it, or at most it.

    `needs`: `cpu` (Keras), `ray`, or `gpu`. `measure(quick)` runs in a process of its own, `environment` set. Where it
    takes an hour, `kept` names a file of what it has so far, for `measure(quick, kept)` to go on with; rows that name
    one file share it.
    """

    name: str
    item: int
    words: str
    unit: str
    bound: float | None
    at_least: bool
    needs: str
    measure: Callable[..., Measurement]
    environment: dict[str, str] = field(default_factory=dict)
    kept: str | None = None


def in_turn(ours: Timed, theirs: Timed, *, repetitions: int, warm_up: int = 1) -> Measurement:
    """A B, B A, A B, ...: both meet the same moments of a shared machine, and neither is always first."""
    for _ in range(warm_up):
        ours()
        theirs()
    first: list[float] = []
    second: list[float] = []
    for repetition in range(repetitions):
        for timed, found in ((ours, first), (theirs, second))[:: 1 if repetition % 2 == 0 else -1]:
            found.append(timed())
    return Measurement(first, second)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """n, median, smallest and largest, and the values themselves."""
    return {
        "n": len(values),
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "values": [round(value, 6) for value in values],
    }


def report(row: Row, found: Measurement) -> dict[str, Any]:
    """The row as the JSON file holds it."""
    ratio = spread(found.ratios())
    return {
        **described(row),
        "state": "measured",
        "ours": spread(found.ours),
        "theirs": spread(found.theirs) if found.theirs else None,
        "ratio": ratio if found.theirs else None,
        "holds": None if row.bound is None else _holds(row, ratio["median"]),
        "details": found.details,
    }


def described(row: Row) -> dict[str, Any]:
    """What is known of a row before it is measured."""
    must = None if row.bound is None else f"{'at least' if row.at_least else 'at most'} {row.bound:g}"
    return {"name": row.name, "item": row.item, "words": row.words, "unit": row.unit, "must_be": must}


def _holds(row: Row, value: float) -> bool:
    return row.bound is not None and (value >= row.bound if row.at_least else value <= row.bound)
