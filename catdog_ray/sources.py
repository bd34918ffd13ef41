"""Where pictures are read from: a folder or a zip archive, its layout, and one picture's decoding.

An archive is read in memory and never unpacked, so nothing in it can name a place on the disk.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps

from catdog_ray.settings import UserError

SPLITS = ("train", "validation")
_DEEPEST_FOLDER = 8
_LARGEST_FILE_BYTES = 64 * 2**20
_LARGEST_IMAGE_PIXELS = 64_000_000


class DataError(UserError):
    """The data set is missing, unreadable or of the wrong layout."""


class Unreadable(Exception):
    """One file cannot be read or is no image."""


def decode(content: bytes, image_size: int) -> np.ndarray:
    """One picture file as upright RGB (image_size, image_size, 3) uint8, both sides scaled to fit.

    Raises an error of this module if it is no readable image or larger than 64 megapixels.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > _LARGEST_IMAGE_PIXELS:
                raise Unreadable("too many pixels")
            # For a JPEG: decode at the smallest scale that is still at least twice as large as wanted.
            image.draft("RGB", (2 * image_size, 2 * image_size))
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            upright = upright.convert("RGB")
            return np.asarray(upright.resize((image_size, image_size), Image.Resampling.BILINEAR))
    except Unreadable:
        raise
    except Exception as error:  # Pillow's plugins raise nearly everything on damaged files
        raise Unreadable(str(error)) from error


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
        # A linked class folder is the user's own; the bound on the depth ends a loop of links.
        for folder, subfolders, files in os.walk(self._root, followlinks=True):
            depth = len(Path(folder).relative_to(self._root).parts)
            subfolders[:] = [] if depth >= _DEEPEST_FOLDER else sorted(s for s in subfolders if not s.startswith("."))
            for subfolder in subfolders:
                yield (Path(folder) / subfolder).relative_to(self._root).as_posix() + "/"
            for file in files:
                yield (Path(folder) / file).relative_to(self._root).as_posix()

    def read(self, name: str) -> bytes:
        try:
            with (self._root / name).open("rb") as file:
                content = file.read(_LARGEST_FILE_BYTES + 1)
        except OSError as error:
            raise Unreadable(str(error)) from error
        return _bounded(content)

    def identity(self, names: Iterable[str]) -> Iterator[object]:
        def digest(name: str) -> str:
            try:
                return hashlib.sha256(self.read(name)).hexdigest()
            except Unreadable as error:
                return str(error)

        with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
            yield from zip(names, threads.map(digest, names), strict=True)


class ZipReader:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise DataError(f"{path}: is no readable zip archive ({error}); download or pack it again") from None
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for entry in self._archive.infolist():
            parts = PurePosixPath(entry.filename).parts
            if ".." in parts or entry.filename.startswith("/") or "\\" in entry.filename:
                raise DataError(f"{path}: refused, its entry {entry.filename!r} points outside the archive")
            self._entries[entry.filename] = entry

    def names(self) -> Iterable[str]:
        return self._entries

    def read(self, name: str) -> bytes:
        entry = self._entries[name]
        if entry.flag_bits & 1 or entry.file_size > _LARGEST_FILE_BYTES:
            raise Unreadable("encrypted or too large")
        try:
            with self._archive.open(entry) as file:
                return _bounded(file.read(_LARGEST_FILE_BYTES + 1))
        # zipfile and the decompressors under it raise all of these on damaged entries.
        except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
            raise Unreadable(str(error)) from error
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
            raise Unreadable(str(error)) from error

    def identity(self, names: Iterable[str]) -> Iterator[object]:
        with self._path.open("rb") as file:
            yield hashlib.file_digest(file, "sha256").hexdigest()


def _bounded(content: bytes) -> bytes:
    if len(content) > _LARGEST_FILE_BYTES:
        raise Unreadable("too large")
    return content


Entry = tuple[str, str, int]
"""(name in the reader, split/class/file, label)"""


def find_layout(source: str, names: list[str]) -> tuple[dict[str, list[Entry]], tuple[str, ...]]:
    """Group file names by split and class; the root is the folder that holds train/ and validation/."""
    by_root: dict[tuple[str, ...], dict[str, dict[str, list[str]]]] = {}
    for name in names:
        parts = PurePosixPath(name).parts
        if "__MACOSX" in parts or any(part.startswith(".") for part in parts):
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
    if len(roots) != 1:
        found = "several folders with train/ and validation/" if roots else "no folder with both"
        raise DataError(f"{source}: wrong layout, {found}; {expected}")
    depth, splits = roots[0]
    classes_of = tuple(sorted(splits["train"]))
    if len(classes_of) < 2:
        raise DataError(f"{source}: train/ holds one class only ({', '.join(classes_of)}); {expected}")
    for name in sorted({*splits["train"], *splits["validation"]}):
        for split in SPLITS:
            if not splits[split].get(name):
                state = "is empty" if name in splits[split] else "is missing"
                raise DataError(f"{source}: class {name!r} {state} in {split}/; {expected}")
    entries = {
        split: [
            (file, "/".join(PurePosixPath(file).parts[depth:]), label)
            for label, name in enumerate(classes_of)
            for file in splits[split][name]
        ]
        for split in SPLITS
    }
    return entries, classes_of
