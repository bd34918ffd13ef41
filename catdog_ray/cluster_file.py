"""A file for `ray up`, read so that every value still knows its line; what is wrong with it says `cluster_rules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from catdog_ray.settings import UserError

Place = tuple[str | int, ...]
"""The way to a value: `("available_node_types", "head", "resources", "CPU")`."""


OWN_PROVIDERS = {"catdog_ray.spot.SpotThenOnDemand": "aws"}
"""What `provider.module` may name, and which of Ray's providers it is made from."""


class ClusterFileError(UserError):
    """The file cannot be read as a mapping in YAML."""


@dataclass(frozen=True, order=True)
class Finding:
    """One thing to change, with the line it stands on."""

    line: int
    text: str


@dataclass(frozen=True)
class ClusterFile:
    """The values of a cluster file, the line of each key and value, and keys that are written twice."""

    path: Path
    values: dict[str, Any]
    lines: Mapping[Place, int]
    repeated: tuple[Finding, ...] = field(default=())

    @property
    def provider(self) -> str:
        """`aws`, `gcp`, `local`, ...; empty where the file does not say. Our own counts as the one it extends."""
        named = str(self.get("provider", "type", default=""))
        return OWN_PROVIDERS.get(str(self.get("provider", "module")), named) if named == "external" else named

    def get(self, *place: str | int, default: Any = None) -> Any:
        """The value at a place, or `default` where there is none."""
        value: Any = self.values
        for step in place:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return default
        return default if value is None else value

    def mapping(self, *place: str | int) -> dict[str, Any]:
        """The mapping at a place; {} where there is none."""
        value = self.get(*place, default={})
        return value if isinstance(value, dict) else {}

    def commands(self, *place: str | int) -> list[tuple[Place, str]]:
        """The shell commands listed at a place."""
        value = self.get(*place, default=[])
        items = value if isinstance(value, list) else []
        return [((*place, number), item) for number, item in enumerate(items) if isinstance(item, str)]

    def at(self, *place: str | int) -> int:
        """The line of a place, or of the nearest place above it that is written down."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.lines:
                return self.lines[place[:length]]
        return 1

    def line_in(self, place: Place, text: str) -> int:
        """The line where `text` stands in the value at `place`, which may go over several lines."""
        first = self.at(*place)
        source = self.path.read_text(encoding="utf-8").splitlines()
        later = [line for known, line in self.lines.items() if line > first and known[: len(place)] != place]
        last = min(later, default=len(source) + 1)
        for number in range(first, last):
            if text in source[number - 1].partition(" #")[0]:
                return number
        return first


def read(path: Path) -> ClusterFile:
    """Raises ClusterFileError where the file is missing, no YAML, or no mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterFileError(f"{path}: cannot be read ({error})") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise ClusterFileError(f"{path}:{line}: is no YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(node, yaml.MappingNode) or not isinstance(values, dict):
        raise ClusterFileError(f"{path}:1: must be a mapping such as `cluster_name: NAME`")
    lines: dict[Place, int] = {}
    repeated: list[Finding] = []
    for place, line, is_merged in _walk(node, (), is_merged=False):
        if place not in lines:
            lines[place] = line
        elif not is_merged:
            name = ".".join(map(str, place))
            repeated.append(Finding(line, f"{name}: written twice, first on line {lines[place]}; keep one"))
    return ClusterFile(path, values, lines, tuple(repeated))


def _walk(node: yaml.Node, place: Place, *, is_merged: bool) -> Iterator[tuple[Place, int, bool]]:
    """Every place below `place` with its line; those merged in (`<<: *anchor`) after those written there."""
    if isinstance(node, yaml.MappingNode):
        merged = [value for key, value in node.value if key.tag == "tag:yaml.org,2002:merge"]
        for key, value in node.value:
            if value not in merged:
                here = (*place, key.value)
                yield here, key.start_mark.line + 1, is_merged
                yield from _walk(value, here, is_merged=is_merged)
        for value in merged:
            yield from _walk(value, place, is_merged=True)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            here = (*place, number)
            yield here, item.start_mark.line + 1, is_merged
            yield from _walk(item, here, is_merged=is_merged)
