"""Which pictures a person means by files, folders, archives and patterns, and the class that a folder's name gives."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from catdog_ray.decoding import Unreadable
from catdog_ray.errors import DataError, printable
from catdog_ray.layout import is_hidden
from catdog_ray.sources import (
    FolderReader,
    Reader,
    ZipReader,
    read_file,
)


@dataclass(frozen=True)
class Picture:
    """One file: its name as tables show it, how its content is read, and the class its folder claims, if any."""

    file: str
    read: Callable[[], bytes]
    true_class: str | None


def find(places: Sequence[str], class_names: Collection[str]) -> Iterator[Picture]:
    """The pictures under `places`, place by place, each in the order of names.

    A folder or a zip archive is searched whole and its pictures' nearest enclosing folder that is called like a class
    labels them; of a single file only the folder it stands in counts. A place that is not there is one picture whose
    reading raises Unreadable.
    """
    for place in places:
        for found in _expanded(place):
            yield from _at(found, frozenset(class_names))


def _expanded(place: str) -> list[str]:
    if glob.has_magic(place) and not _exists(place):
        return _each_once(sorted(_matches(place))) or [place]
    return [place]


def _matches(pattern: str) -> Iterator[str]:
    """What `glob.glob` finds, but `**` stands for the folders that `FolderReader` knows.

    It follows a link to a folder above no second time; two such links would keep `glob` busy for ever.
    """
    parts = pattern.split("/")
    if "**" not in parts:
        yield from glob.glob(pattern)  # noqa: PTH207 - Path.glob takes no absolute pattern
        return
    at = parts.index("**")
    rest = "/".join(itertools.dropwhile("**".__eq__, parts[at:]))
    # An absolute pattern begins with an empty part, one below the working folder with none.
    above = "/".join(parts[:at]) or ("/" if at else ".")
    for top in filter(os.path.isdir, glob.glob(above)):  # noqa: PTH207
        if not rest:
            yield top  # a folder is searched whole
            continue
        below = (name for name in FolderReader(Path(top)).names() if name.endswith("/"))
        for folder in itertools.chain([""], below):
            start = glob.escape(os.path.join(top, folder)).removeprefix("./")  # noqa: PTH118 - Path drops a slash
            yield from _matches(start + ("" if not start or start.endswith("/") else "/") + rest)


def _each_once(places: Sequence[str]) -> list[str]:
    """Without what lies in a folder that is named too, or is the same by another name: it would count twice."""
    real = [os.path.realpath(place) for place in places]
    folders = {path for path in real if os.path.isdir(path)}  # noqa: PTH112 - of any name
    found = {
        path: place
        for path, place in zip(reversed(real), reversed(places), strict=True)
        if folders.isdisjoint(map(str, PurePosixPath(path).parents))
    }
    return sorted(found.values())


def _exists(place: str) -> bool:
    try:
        return Path(place).exists()
    except (OSError, ValueError):
        return False


def _at(place: str, class_names: frozenset[str]) -> Iterator[Picture]:
    if not place:
        yield _unreadable(place, "an empty name")
        return
    try:
        path = Path(place)
        if path.is_dir():
            yield from _inside(place, FolderReader(path), path.resolve().name, class_names)
        elif path.suffix.lower() == ".zip" and path.is_file():
            yield from _inside(place, ZipReader(path), "", class_names)
        else:
            label = path.parent.name if path.parent.name in class_names else None
            yield Picture(printable(place), lambda: read_file(path), label)
    except (OSError, ValueError, DataError) as error:
        yield _unreadable(place, str(error))


def _inside(place: str, reader: Reader, own_name: str, class_names: frozenset[str]) -> Iterator[Picture]:
    for name in sorted(reader.names()):
        if name.endswith("/") or is_hidden(name):
            continue
        enclosing = [own_name, *PurePosixPath(name).parts[:-1]]
        label = next((part for part in reversed(enclosing) if part in class_names), None)
        yield Picture(printable(f"{place.rstrip('/')}/{name}"), _reading(reader, name), label)


def _reading(reader: Reader, name: str) -> Callable[[], bytes]:
    return lambda: reader.read(name)


def _unreadable(place: str, reason: str) -> Picture:
    def read() -> bytes:
        raise Unreadable(reason)

    return Picture(printable(place), read, None)
