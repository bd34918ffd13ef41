"""What a hyperparameter may be: its value, its range, and which values lie in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

Value = bool | int | float | str
"""What a hyperparameter may be. True is no number here, though Python takes it for 1."""


@dataclass(frozen=True)
class FloatRange:
    """A continuous hyperparameter in [low, high], searched on a linear or a logarithmic scale."""

    low: float
    high: float
    scale: str


@dataclass(frozen=True)
class IntRange:
    """A whole number from low to high in steps, searched on a linear or a logarithmic scale (there in steps of 1)."""

    low: int
    high: int
    step: int
    scale: str


@dataclass(frozen=True)
class Choice:
    """A hyperparameter that takes one of several values."""

    choices: tuple[Value, ...]


Range = FloatRange | IntRange | Choice


def contains(found: Range, value: Value) -> bool:
    """Whether `value` lies in the range (as a choice: is one of them, of the same type)."""
    if isinstance(found, Choice):
        return any(value == choice and type(value) is type(choice) for choice in found.choices)
    if isinstance(found, IntRange):
        return type(value) is int and found.low <= value <= found.high and (value - found.low) % found.step == 0
    return is_number(value) and found.low <= value <= found.high


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def in_kind(found: Range, value: Value) -> Value:
    """The value in the range's own kind: a whole number of a continuous range as a float."""
    return float(value) if isinstance(found, FloatRange) and is_number(value) else value


def ends(found: Range) -> tuple[Value, ...]:
    """Values that bound the range: low and high, or all choices."""
    return found.choices if isinstance(found, Choice) else (found.low, found.high)


def in_words(value: object) -> str:
    """A value for messages, tables and figures, as YAML writes it: `true`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def describe(found: Range) -> str:
    """The range in words, for messages and tables."""
    if isinstance(found, Choice):
        return ", ".join(map(in_words, found.choices))
    if isinstance(found, IntRange):
        return f"{found.low} to {found.high} in steps of {found.step}, {found.scale}"
    return f"{found.low:g} to {found.high:g}, {found.scale}"
