"""A file for `ray up`, read so that every value still knows its line; what is wrong with it says `cluster_rules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from catdog_ray.errors import UserError

Place = tuple[str | int, ...]
"""The way to a value: `("available_node_types", "head", "resources", "CPU")`."""


LARGEST_BYTES, MOST_VALUES = 1_000_000, 20_000
"""What a file may be; the shipped ones have 5 kB and 100 values. Anchors can make many values of few bytes."""

OWN_PROVIDERS = {"catdog_ray.spot.SpotThenOnDemand": "aws"}
"""What `provider.module` may name, and which of Ray's providers it is made from."""


_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


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
    lines: Mapping[tuple[str, ...], int]
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
        steps = tuple(map(str, place))
        for length in range(len(steps), 0, -1):
            if steps[:length] in self.lines:
                return self.lines[steps[:length]]
        return 1

    def finding(self, place: Place, text: str) -> Finding:
        """What is wrong at a place, under its name."""
        return Finding(self.at(*place), f"{'.'.join(map(str, place))}: {text}")

    def line_in(self, place: Place, text: str) -> int:
        """The line where `text` stands in the value at `place`, which may go over several lines."""
        first, steps = self.at(*place), tuple(map(str, place))
        source = self.path.read_text(encoding="utf-8").splitlines()
        later = [line for known, line in self.lines.items() if line > first and known[: len(steps)] != steps]
        last = min(later, default=len(source) + 1)
        for number in range(first, last):
            if text in source[number - 1].partition(" #")[0]:
                return number
        return first


def read(path: Path) -> ClusterFile:
    """Raises ClusterFileError where the file is missing, no YAML, or no mapping."""
    text = _text(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise ClusterFileError(f"{path}:1: must be a mapping such as `cluster_name: NAME`")
        lines, repeated = _lines(path, node)
        values = yaml.safe_load(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ClusterFileError(
            f"{path}:{line}: is no YAML: it may not have the character U+{error.character:04X}"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise ClusterFileError(f"{path}:{line}: is no YAML: {getattr(error, 'problem', error)}") from None
    except RecursionError:
        raise ClusterFileError(f"{path}: is nested too deeply, or by an anchor in itself") from None
    return ClusterFile(path, values, lines, repeated)


def _text(path: Path) -> str:
    content = b""
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise ClusterFileError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ClusterFileError(f"{path}:{line}: is not UTF-8 ({error.reason}); save it as UTF-8") from None
    if len(content) > LARGEST_BYTES:
        raise ClusterFileError(f"{path}: has more than {LARGEST_BYTES:,} bytes; it is no file for `ray up`")
    return text.replace("\r\n", "\n")


def _lines(path: Path, node: yaml.Node) -> tuple[dict[tuple[str, ...], int], tuple[Finding, ...]]:
    """The line of every place, and the keys that are written twice."""
    lines: dict[tuple[str, ...], int] = {}
    repeated: list[Finding] = []
    for number, (place, line, is_merged) in enumerate(_walk(path, node, (), is_merged=False)):
        if number > MOST_VALUES:
            raise ClusterFileError(
                f"{path}:{line}: has more than {MOST_VALUES:,} values, anchors counted as often as used"
            )
        if place not in lines:
            lines[place] = line
        elif not is_merged:
            repeated.append(Finding(line, f"{'.'.join(place)}: written twice, first on line {lines[place]}; keep one"))
    return lines, tuple(repeated)


def _walk(
    path: Path, node: yaml.Node, place: tuple[str, ...], *, is_merged: bool
) -> Iterator[tuple[tuple[str, ...], int, bool]]:
    """Every place below `place` with its line; those merged in (`<<: *anchor`) after those written there."""
    if isinstance(node, yaml.MappingNode):
        merged = [value for key, value in node.value if key.tag == _MERGE]
        for key, value in node.value:
            if key.tag == _MERGE:
                continue
            line = key.start_mark.line + 1
            if key.tag != _TEXT:
                shown = f" {key.value}" if isinstance(key, yaml.ScalarNode) else ""
                raise ClusterFileError(f"{path}:{line}: the key{shown} must be text; write it in quotes")
            here = (*place, key.value)
            yield here, line, is_merged
            yield from _walk(path, value, here, is_merged=is_merged)
        for value in merged:
            yield from _walk(path, value, place, is_merged=True)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            here = (*place, str(number))
            yield here, item.start_mark.line + 1, is_merged
            yield from _walk(path, item, here, is_merged=is_merged)
    else:
        _require_value(path, node)


def _require_value(path: Path, node: yaml.Node) -> None:
    """Dates such as 2026-13-45 are the ValueErrors of Python, without a line."""
    try:
        yaml.constructor.SafeConstructor().construct_object(node)
    except ValueError as error:
        raise ClusterFileError(f"{path}:{node.start_mark.line + 1}: {node.value!r} is no value: {error}") from None
