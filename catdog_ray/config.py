"""A YAML file and overrides from the command line become one frozen, fully checked `Config`."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from catdog_ray.conversion import read_config
from catdog_ray.errors import ConfigError, nearest
from catdog_ray.ranges import in_kind
from catdog_ray.rules import check
from catdog_ray.settings import Config

_LARGEST_YAML = 2**18
"""Characters; PyYAML needs seconds for that many, and the shipped files have a few thousand."""

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
    tree = base.as_dict() if base is not None else _read_named(path or "quickstart.yaml", own_network=own_network)
    for key, value in (overrides or {}).items():
        _assign(tree, key, value)
    return from_dict(tree)


def from_dict(tree: Mapping[str, Any]) -> Config:
    """Check a nested mapping and freeze it. The baseline's whole numbers are floats where its range is continuous."""
    config = read_config(tree)
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


def _find(name: str | Path, beside: Path) -> Path | None:
    """A file by its name, relative to the folder `beside`; else the shipped one, of which `configs/` may be said."""
    given = Path(name)
    folders = _SHIPPED if given.parent in (Path(), Path("configs")) else ()
    for candidate in (beside / given, *(folder / given.name for folder in folders)):
        try:
            if candidate.is_file():
                return candidate
        except OSError:
            continue
    return None


_SHIPPED = (Path(__file__).parent / "configs", Path(__file__).parents[1] / "configs")
"""In an installed package, and in a checkout."""


def _shipped_names() -> str:
    names = sorted({file.name for folder in _SHIPPED if folder.is_dir() for file in folder.glob("*.yaml")})
    return ", ".join(names) or "none"


def _read_named(path: str | Path, *, own_network: bool) -> dict[str, Any]:
    file = _find(path, Path())
    if file is None:
        raise ConfigError(f"--config: no file {str(path)!r}; shipped are {_shipped_names()}")
    return _read_yaml(file, own_network=own_network)


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
    base = _find(parent, path.parent)
    if base is None:
        raise ConfigError(
            f"{path}: extends {parent!r}, but there is no such file beside it; shipped are {_shipped_names()}"
        )
    if base.resolve() in (*seen, path.resolve()):
        raise ConfigError(f"{path}: extends {parent!r}, which leads back to this file")
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
