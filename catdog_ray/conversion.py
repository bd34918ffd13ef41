"""Plain values, as YAML and JSON give them, become the typed and frozen settings that they stand for, one by one.

What several settings must keep together is `rules`' business.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from catdog_ray.errors import ConfigError, nearest
from catdog_ray.ranges import Choice, FloatRange, IntRange, Range, Value, is_number
from catdog_ray.settings import Archive, Config

_LARGEST_WHOLE = 2**53
"""Optuna and Keras Tuner reckon with floats, which are exact so far."""


def read_config(tree: Any) -> Config:
    """A nested mapping as settings of the right types. Raises ConfigError naming the setting and what came."""
    return typing.cast(Config, _section(Config, tree, ""))


def read_range(value: Any, where: str) -> Range:
    """A range of the space as it stands in YAML or in study.json; one with `step` is of whole numbers.

    Raises ConfigError naming `where` and what is wrong with it.
    """
    tree = _mapping(value, where)
    if set(tree) == {"choices"}:
        choices = tree["choices"]
        if not isinstance(choices, (list, tuple)) or not choices:
            raise ConfigError(f"{where}.choices must be a list with at least one value, got {choices!r}")
        values = tuple(_value(item, f"{where}.choices[{i}]") for i, item in enumerate(choices))
        if len(set(values)) != len(values):
            raise ConfigError(f"{where}.choices must differ from each other, got {list(values)!r}")
        return Choice(values)
    if set(tree) not in ({"low", "high", "scale"}, {"low", "high", "step", "scale"}):
        raise ConfigError(
            f"{where} must be {{low, high, scale}}, {{low, high, step, scale}} or {{choices}}, got {dict(tree)!r}"
        )
    read = _whole_number if "step" in tree else _number
    low, high, scale = read(tree["low"], f"{where}.low"), read(tree["high"], f"{where}.high"), tree["scale"]
    if scale not in ("linear", "log"):
        raise ConfigError(f"{where}.scale must be linear or log, got {scale!r}")
    if not low < high:
        raise ConfigError(f"{where}.low must be below {where}.high ({high}), got {low}")
    if scale == "log" and low <= 0:
        raise ConfigError(f"{where}.low must be above 0 on a log scale, got {low}")
    if "step" not in tree:
        return FloatRange(low, high, scale)
    step = _whole_number(tree["step"], f"{where}.step")
    if step < 1:
        raise ConfigError(f"{where}.step must be at least 1, got {step}")
    if scale == "log" and step != 1:
        raise ConfigError(f"{where}.step must be 1 on a log scale, got {step}; or name the values under choices")
    if (high - low) % step:
        last = high - (high - low) % step
        raise ConfigError(
            f"{where}.high must be reached from {where}.low ({low}) in steps of {step}: {last} or {last + step}, "
            f"got {high}"
        )
    return IntRange(int(low), int(high), step, scale)


def _section(kind: type[Any], tree: Any, where: str) -> Any:
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{where or 'the config'} must be a section (key: value), got {tree!r}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    prefix = f"{where}." if where else ""
    for key in tree:
        if key not in fields:
            raise ConfigError(f"{prefix}{key}: unknown setting{nearest(str(key), fields)}")
    for name in fields:
        if name not in tree:
            raise ConfigError(f"{prefix}{name}: missing; every setting of an experiment stands in its YAML file")
    return kind(**{name: _convert(tree[name], hints[name], f"{prefix}{name}") for name in fields})


def _convert(value: Any, kind: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _section(typing.cast("type[Any]", kind), value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind == Mapping[str, Range]:
        return types.MappingProxyType({k: read_range(v, f"{where}.{k}") for k, v in _mapping(value, where).items()})
    if kind == Mapping[str, Value]:
        return types.MappingProxyType({k: _value(v, f"{where}.{k}") for k, v in _mapping(value, where).items()})
    if kind == Mapping[str, Archive]:
        found = _mapping(value, where).items()
        return types.MappingProxyType({k: _section(Archive, v, f"{where}.{k}") for k, v in found})
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} must be a list, got {value!r}")
        return tuple(_convert(item, arguments[0], f"{where}[{i}]") for i, item in enumerate(value))
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        chosen = str if str in arguments and isinstance(value, str) and not _hint(value) else arguments[0]
        return _convert(value, chosen, where)
    if kind is float:
        return _number(value, where)
    if type(value) is not kind:
        words = {int: "a whole number", bool: "true or false", str: "text"}
        raise ConfigError(f"{where} must be {words[kind]}, got {value!r}")
    return value


def _number(value: Any, where: str) -> float:
    if not is_number(value):
        raise ConfigError(f"{where} must be a number, got {value!r}{_hint(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ConfigError(f"{where} must be a finite number, got {number!r}")
    return number


def _hint(value: Any) -> str:
    if isinstance(value, str) and _reads_as_number(value):
        return f" (YAML reads it as text: write it with a point, such as {_with_point(value)})"
    return ""


def _value(value: Any, where: str) -> Value:
    if not isinstance(value, (bool, int, float, str)):
        raise ConfigError(f"{where} must be a number, text, true or false, got {value!r}")
    if hint := _hint(value):
        raise ConfigError(f"{where} must be a number, got {value!r}{hint}")
    return _number(value, where) if isinstance(value, float) else value


def _whole_number(value: Any, where: str) -> int:
    if type(value) is not int:
        raise ConfigError(f"{where} must be a whole number (a range with step holds no others), got {value!r}")
    if abs(value) > _LARGEST_WHOLE:
        raise ConfigError(f"{where} must be at most {_LARGEST_WHOLE} from zero, got {value!r}")
    return value


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where} must be a section (name: value), got {value!r}")
    return value


def _reads_as_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _with_point(text: str) -> str:
    """As YAML 1.1 reads it: a point in the mantissa, a sign in the exponent."""
    mantissa, mark, exponent = text.lower().partition("e")
    if mark and exponent[0] not in "+-":
        exponent = f"+{exponent}"
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}{mark}{exponent}"
