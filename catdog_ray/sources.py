"""Where pictures are read from: a folder or a zip archive.

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

from catdog_ray.decoding import LARGEST_FILE_BYTES, Unreadable
from catdog_ray.errors import DataError, printable

MOST_FILES = 1_000_000
"""Names that a folder or an archive may hold; Python needs about 1 KB for each."""

_DEEPEST_FOLDER = 8
_LARGEST_TOTAL = 2**30
_LARGEST_RATIO = 100


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
