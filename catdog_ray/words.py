"""Numbers in words: shares, differences, intervals, counts and durations as tables and figures write them."""

from __future__ import annotations

NOT_KNOWN = "-"
NO_DIFFERENCE = "no difference shown"
ALIKE = "all alike"
"""In the place of an interval, where seeds have no spread to make one from."""


def percent(value: float | None, *, signed: bool = False) -> str:
    """`82.7 %`; a hyphen for what is not known."""
    return NOT_KNOWN if value is None else f"{_tenths(value):{'+' if signed else ''}.1f} %"


def points(value: float, *, signed: bool = False) -> str:
    """A difference of shares: `9.8 points`."""
    return f"{_tenths(value):{'+' if signed else ''}.1f} points"


def interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """`81.0 to 83.2 %`, or `+7.7 to +12.0` of a difference; `none` where there is none."""
    if low is None or high is None:
        return "none"
    sign = "+" if signed else ""
    return f"{_tenths(low):{sign}.1f} to {_tenths(high):{sign}.1f}" + ("" if signed else " %")


def count(value: float) -> str:
    """`1,234`, or `5.62 T` from a million on."""
    for size, sign in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.3g} {sign}"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def counted(number: int, unit: str) -> str:
    """`1 search`, `5 retraining seeds`; the unit is given as a plural."""
    if number == 1:
        unit = unit.removesuffix("es") if unit.endswith("ches") else unit.removesuffix("s")
    return f"{number} {unit}"


def duration(seconds: float) -> str:
    """`42 s`, `12.3 min` or `4.1 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _tenths(value: float) -> float:
    """In percent, rounded to tenths; no minus before a zero."""
    return round(100 * value, 1) + 0.0
