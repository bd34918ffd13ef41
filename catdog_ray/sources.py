"""Where pictures are read from: a folder or a zip archive, and the layout of either.

An archive is read in memory and never unpacked, so nothing in it can name a place on the disk.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from catdog_ray.decoding import LARGEST_FILE_BYTES, Unreadable
from catdog_ray.settings import DataError, printable

SPLITS = ("train", "validation")
MOST_FILES = 1_000_000
"""Names that a folder or an archive may hold; Python needs about 1 KB for each."""

_DEEPEST_FOLDER = 8
_LARGEST_TOTAL = 2**30
_LARGEST_RATIO = 100
_SMALLEST_CLASS = 5
_OTHER_SPLITS = {"train", "training", "training_set", "validation", "valid", "val", "test", "testing", "test_set"}


class Reader(Protocol):
    def names(self) -> Iterable[str]:
        """Files, and folders with a slash at the end."""
        ...

    def read(self, name: str) -> bytes: ...

    def identity(self, names: Iterable[str]) -> Iterator[object]: ...


class FolderReader:
    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> Iterable[str]:
        # A linked class folder is the user's own; a link to a folder above it is not followed again.
        count = 0
        above: dict[str, frozenset[tuple[int, int]]] = {}
        for folder, subfolders, files in os.walk(self._root, followlinks=True):
            depth = len(Path(folder).relative_to(self._root).parts)
            known = above.pop(folder, frozenset()) | _folder_identity(folder)
            kept = [] if depth >= _DEEPEST_FOLDER else sorted(s for s in subfolders if not s.startswith("."))
            subfolders[:] = [name for name in kept if not _folder_identity(f"{folder}/{name}") & known]
            count += len(subfolders) + len(files)
            if count > MOST_FILES:
                raise DataError(f"{printable(str(self._root))}: refused, it holds more than {MOST_FILES:,} files")
            for subfolder in subfolders:
                above[os.path.join(folder, subfolder)] = known  # noqa: PTH118 - as os.walk spells it
                yield (Path(folder) / subfolder).relative_to(self._root).as_posix() + "/"
            for file in files:
                yield (Path(folder) / file).relative_to(self._root).as_posix()

    def read(self, name: str) -> bytes:
        return read_file(self._root / name)

    def identity(self, names: Iterable[str]) -> Iterator[object]:
        def digest(name: str) -> str:
            try:
                return hashlib.sha256(self.read(name)).hexdigest()
            except Unreadable as error:
                return str(error)

        with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
            yield from zip(names, threads.map(digest, names), strict=True)


def _folder_identity(path: str) -> frozenset[tuple[int, int]]:
    try:
        found = os.stat(path)  # noqa: PTH116 - a name of os.walk
    except OSError:
        return frozenset()
    return frozenset({(found.st_dev, found.st_ino)})


def read_file(path: Path) -> bytes:
    """A whole file of at most 64 MiB; Unreadable for anything else, such as a pipe, which would never end."""
    try:
        # Opening a pipe waits for its other end unless told not to.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unreadable("no regular file")
            return _bounded(file.read(LARGEST_FILE_BYTES + 1))
    except (OSError, ValueError) as error:
        raise Unreadable(getattr(error, "strerror", None) or str(error)) from error


class ZipReader:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
            size = path.stat().st_size
        # zipfile raises all of these on damaged directories.
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error, EOFError) as error:
            raise DataError(f"{path}: is no readable zip archive ({error}); download or pack it again") from None
        self._entries: dict[str, zipfile.ZipInfo] = {}
        seen: set[str] = set()
        for entry in self._archive.infolist():
            parts = PurePosixPath(entry.filename).parts
            if ".." in parts or entry.filename.startswith("/") or "\\" in entry.filename:
                raise DataError(f"{path}: refused, its entry {entry.filename!r} points outside the archive")
            normal = "/".join(parts)
            if normal in seen:
                raise DataError(f"{path}: refused, its entry {entry.filename!r} stands in it twice")
            seen.add(normal)
            self._entries[entry.filename] = entry
        self._require_bounded(size)

    def _require_bounded(self, size: int) -> None:
        if len(self._entries) > MOST_FILES:
            raise DataError(f"{self._path}: refused, it holds more than {MOST_FILES:,} entries")
        # Entries beyond the largest file are never unpacked; the others together bound the work.
        total = sum(e.file_size for e in self._entries.values() if e.file_size <= LARGEST_FILE_BYTES)
        if total > max(_LARGEST_TOTAL, _LARGEST_RATIO * size):
            raise DataError(
                f"{self._path}: refused, its {size:,} bytes unpack to {total:,}, "
                f"more than {_LARGEST_RATIO} times as many; pictures do not pack like that"
            )

    def names(self) -> Iterable[str]:
        return self._entries

    def read(self, name: str) -> bytes:
        entry = self._entries[name]
        if entry.flag_bits & 1 or entry.file_size > LARGEST_FILE_BYTES:
            raise Unreadable("encrypted or too large")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Unreadable("a symbolic link, which is not followed")
        try:
            with self._archive.open(entry) as file:
                return _bounded(file.read(LARGEST_FILE_BYTES + 1))
        # zipfile and the decompressors under it raise all of these on damaged entries.
        except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, struct.error) as error:
            raise Unreadable(str(error)) from error
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
            raise Unreadable(str(error)) from error

    def identity(self, names: Iterable[str]) -> Iterator[object]:
        with self._path.open("rb") as file:
            yield hashlib.file_digest(file, "sha256").hexdigest()


def _bounded(content: bytes) -> bytes:
    if len(content) > LARGEST_FILE_BYTES:
        raise Unreadable("too large")
    return content


Entry = tuple[str, str, int]
"""(name in the reader, split/class/file, label)"""


def is_hidden(name: str) -> bool:
    """Whether a file is none of the data: hidden, in a hidden folder, or packed beside the data by macOS."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or any(part.startswith(".") for part in parts)


def find_layout(
    source: str, names: list[str], *, test_share: float | None = None, seed: int = 0
) -> tuple[dict[str, list[Entry]], tuple[str, ...]]:
    """Group file names by split and class; the root is the folder that holds train/ and validation/.

    With a `test_share` also <class>/<images> without splits is a layout: that share of every class, drawn with `seed`,
    is validation.
    """
    by_root: dict[tuple[str, ...], dict[str, dict[str, list[str]]]] = {}
    for name in names:
        parts = PurePosixPath(name).parts
        if is_hidden(name):
            continue
        is_file = not name.endswith("/")
        for depth, part in enumerate(parts[: -2 if is_file else -1]):
            if part in SPLITS and depth <= 1:
                classes = by_root.setdefault(parts[:depth], {}).setdefault(part, {})
                files = classes.setdefault(parts[depth + 1], [])
                if is_file:
                    files.append(name)
                break
    roots = [(len(root), splits) for root, splits in by_root.items() if set(splits) == set(SPLITS)]
    expected = "expected train/<class>/<images> and validation/<class>/<images> with two classes or more"
    if not by_root and test_share is not None:
        if (halves := _split_classes(names, test_share, seed)) is not None:
            return halves
        expected += f", or <class>/<images> alone with {_SMALLEST_CLASS} images a class or more"
    if len(roots) != 1:
        found = "several folders with train/ and validation/" if roots else "no folder with both"
        raise DataError(f"{source}: wrong layout, {found}; {expected}")
    depth, splits = roots[0]
    classes_of = tuple(sorted(splits["train"]))
    if len(classes_of) < 2:
        raise DataError(f"{source}: train/ holds one class only ({printable(', '.join(classes_of))}); {expected}")
    for name in sorted({*splits["train"], *splits["validation"]}):
        for split in SPLITS:
            if not splits[split].get(name):
                state = "is empty" if name in splits[split] else "is missing"
                raise DataError(f"{source}: class {name!r} {state} in {split}/; {expected}")
    entries = {
        split: [
            (file, printable("/".join(PurePosixPath(file).parts[depth:])), label)
            for label, name in enumerate(classes_of)
            for file in splits[split][name]
        ]
        for split in SPLITS
    }
    return entries, tuple(printable(name) for name in classes_of)


def _split_classes(
    names: list[str], test_share: float, seed: int
) -> tuple[dict[str, list[Entry]], tuple[str, ...]] | None:
    """The layout <class>/<images>, at the top or one folder below, split; None where it is none."""
    files = [name for name in names if not is_hidden(name) and not name.endswith("/")]
    for depth in (0, 1):
        below = [name for name in files if len(PurePosixPath(name).parts) > depth + 1]
        tops = {PurePosixPath(name).parts[:depth] for name in below}
        classes: dict[str, list[str]] = {}
        for name in below:
            classes.setdefault(PurePosixPath(name).parts[depth], []).append(name)
        enough = all(len(members) >= _SMALLEST_CLASS for members in classes.values())
        if len(tops) == 1 and len(classes) >= 2 and enough and not _OTHER_SPLITS & {name.lower() for name in classes}:
            return _drawn_split(classes, depth, test_share, seed)
    return None


def _drawn_split(
    classes: dict[str, list[str]], depth: int, test_share: float, seed: int
) -> tuple[dict[str, list[Entry]], tuple[str, ...]]:
    entries: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    class_names = sorted(classes)
    for label, class_name in enumerate(class_names):
        members = sorted(classes[class_name])
        count = min(len(members) - 2, max(1, round(test_share * len(members))))
        order = np.random.default_rng([seed, label, len(SPLITS)]).permutation(len(members))
        chosen = set(order[:count].tolist())
        for index, name in enumerate(members):
            split = SPLITS[index in chosen]
            shown = printable("/".join((split, *PurePosixPath(name).parts[depth:])))
            entries[split].append((name, shown, label))
    return entries, tuple(printable(name) for name in class_names)
