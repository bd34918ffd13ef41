"""A YAML file and overrides from the command line become one frozen, fully checked `Config`."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from catdog_ray.rules import check
from catdog_ray.settings import (
    Archive,
    Choice,
    Config,
    ConfigError,
    FloatRange,
    IntRange,
    Range,
    Value,
    in_kind,
    is_number,
    nearest,
)

_LARGEST_YAML = 2**18
"""Characters; PyYAML needs seconds for that many, and the shipped files have a few thousand."""

_LARGEST_WHOLE = 2**53
"""Optuna and Keras Tuner reckon with floats, which are exact so far."""

_NO_YAML = (yaml.YAMLError, ValueError, RecursionError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What PyYAML raises on text that is none, its own slips on odd tags and numbers among them."""


class _Loader(yaml.SafeLoader):
    """Plain YAML: no aliases, with which a few lines stand for billions, and no whole numbers that cannot be shown."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read here; write the value out")
        return super().compose_node(parent, index)

    def construct_yaml_int(self, node: Any) -> int:
        number = super().construct_yaml_int(node)
        if abs(number) >= 2**64:
            raise yaml.YAMLError("a whole number of more than 64 bits")
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def load(
    path: str | Path | None = None, *, overrides: Mapping[str, Any] | None = None, base: Config | None = None
) -> Config:
    """Read `path` (or take `base`), apply dotted `overrides` such as `{"search.num_samples": 4}`, check.

    Raises ConfigError naming the setting, what was expected and what came.
    """
    own_network = (overrides or {}).get("model.builder") is not None
    tree = base.as_dict() if base is not None else _read_yaml(_find(path or "quickstart.yaml"), own_network=own_network)
    for key, value in (overrides or {}).items():
        _assign(tree, key, value)
    return from_dict(tree)


def from_dict(tree: Mapping[str, Any]) -> Config:
    """Check a nested mapping and freeze it. The baseline's whole numbers are floats where its range is continuous."""
    config = _section(Config, tree, "")
    check(config)
    baseline = {name: in_kind(config.space[name], value) for name, value in config.baseline.items()}
    return dataclasses.replace(config, baseline=types.MappingProxyType(baseline))


_LATER: dict[str, dict[str, Any]] = {
    "data": {"published": {}, "test_share": 0.2},
    "model": {"builder": None},
    "train": {"learning_rate_schedule": "constant", "ema_momentum": 0.0, "test_time_flip": False},
}
"""Settings that came after the first studies, with what held before there was a choice."""


def completed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a study.json, which may be older than a setting, with what held then."""
    return {
        name: {**_LATER[name], **section} if name in _LATER and isinstance(section, Mapping) else section
        for name, section in tree.items()
    }


def from_saved(tree: Mapping[str, Any]) -> Config:
    """The checked config of a study.json."""
    return from_dict(completed(tree))


def parse_assignment(text: str) -> tuple[str, Any]:
    """`key=value` with the value read as YAML: `search.max_epochs=9`, `retrain.milestones=[5,8]`."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set takes key=value (for example search.max_epochs=9), got {text!r}")
    try:
        return key.strip(), _parse(value)
    except _NO_YAML as error:
        raise ConfigError(f"--set {key.strip()}: the value {value!r} is no YAML: {_one_line(error)}") from None


def differences(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """The dotted settings in which two configs differ, with both values."""
    left, right = _flatten(before.as_dict()), _flatten(after.as_dict())
    missing = object()
    return {
        key: (left.get(key), right.get(key))
        for key in sorted({*left, *right})
        # By their texts, for 1 is true, and 1.0, to Python.
        if repr(left.get(key, missing)) != repr(right.get(key, missing))
    }


def setting(config: Config, name: str) -> Any:
    """One setting by its dotted name."""
    return _flatten(config.as_dict())[name]


def _find(path: str | Path) -> Path:
    given = Path(path)
    candidates = [given, *(folder / given.name for folder in _SHIPPED)]
    if given.parent not in (Path(), Path("configs")):
        candidates = [given]
    for candidate in candidates:
        try:
            if candidate.is_file():
                return candidate
        except OSError:
            continue
    raise ConfigError(f"--config: no file {str(path)!r}; shipped are {_shipped_names()}")


_SHIPPED = (Path(__file__).parent / "configs", Path(__file__).parents[1] / "configs")
"""In an installed package, and in a checkout."""


def _shipped_names() -> str:
    names = sorted({file.name for folder in _SHIPPED if folder.is_dir() for file in folder.glob("*.yaml")})
    return ", ".join(names) or "none"


def _read_yaml(path: Path, seen: tuple[Path, ...] = (), *, own_network: bool = False) -> dict[str, Any]:
    """One file, laid over the file named by its `extends` (relative to it, or a shipped one), if any.

    Of a network of the user's own, `space` and `baseline` replace those below instead of adding to them.
    """
    try:
        with path.open(encoding="utf-8") as file:
            tree = _parse(file.read(_LARGEST_YAML + 1))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {_one_line(error)}") from None
    except _NO_YAML as error:
        raise ConfigError(f"{path}: is no YAML: {_one_line(error)}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected settings (key: value), got {type(tree).__name__}")
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise ConfigError(f"{path}: extends must name a file, got {parent!r}")
    beside = [path.parent / parent, *(folder / parent for folder in _SHIPPED if Path(parent).name == parent)]
    base = next((file for file in beside if file.is_file()), beside[0])
    if base.resolve() in (*seen, path.resolve()):
        raise ConfigError(f"{path}: extends {parent!r}, which leads back to this file")
    if not base.is_file():
        raise ConfigError(
            f"{path}: extends {parent!r}, but there is no such file beside it; shipped are {_shipped_names()}"
        )
    model = tree.get("model")
    own_network = own_network or (isinstance(model, dict) and model.get("builder") is not None)
    merged = _overlay(_read_yaml(base, (*seen, path.resolve()), own_network=own_network), tree)
    if own_network:
        merged |= {name: tree[name] for name in ("space", "baseline") if name in tree}
    return merged


def _parse(text: str) -> Any:
    """YAML as plain values. Raises one of `_NO_YAML`."""
    if len(text) > _LARGEST_YAML:
        raise ValueError(f"more than {_LARGEST_YAML:,} characters")
    return yaml.load(text, Loader=_Loader)


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        # A range is replaced whole: {choices: ...} over {low: ...} must not leave both.
        is_range = isinstance(value, dict) and not {"choices", "low"}.isdisjoint(value)
        if isinstance(old, dict) and isinstance(value, dict) and not is_range:
            merged[key] = _overlay(old, value)
        else:
            merged[key] = value
    return merged


def _assign(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    node: Any = tree
    for depth, part in enumerate(parents):
        node = node.get(part)
        if not isinstance(node, dict):
            where = ".".join(parents[: depth + 1])
            raise ConfigError(f"{key}: there is no section {where!r}{nearest(part, tree)}")
    known = last in node or ".".join(parents) in ("space", "baseline")
    if not known:
        raise ConfigError(f"{key}: unknown setting{nearest(last, node)}")
    node[last] = value


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
    if isinstance(value, str) and _is_number(value):
        return f" (YAML reads it as text: write it with a point, such as {_with_point(value)})"
    return ""


def _value(value: Any, where: str) -> Value:
    if not isinstance(value, (bool, int, float, str)):
        raise ConfigError(f"{where} must be a number, text, true or false, got {value!r}")
    if hint := _hint(value):
        raise ConfigError(f"{where} must be a number, got {value!r}{hint}")
    return _number(value, where) if isinstance(value, float) else value


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


def _whole_number(value: Any, where: str) -> int:
    if type(value) is not int:
        raise ConfigError(f"{where} must be a whole number, as a range with step is of these, got {value!r}")
    if abs(value) > _LARGEST_WHOLE:
        raise ConfigError(f"{where} must be at most {_LARGEST_WHOLE} from zero, got {value!r}")
    return value


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where} must be a section (name: value), got {value!r}")
    return value


def _is_number(text: str) -> bool:
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
