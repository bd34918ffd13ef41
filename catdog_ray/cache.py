"""Decoded splits on the disk: written picture by picture, complete or not there, read without copying."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catdog_ray.errors import DataError

_FORMAT = 2
"""Changes with what decoding makes of a file, so that pixels of an older release are not taken for today's."""


@dataclass(frozen=True)
class Part:
    """One split: pixels (n, size, size, 3) uint8, mapped from the disk; labels (n,) int32; one name per picture."""

    pixels: np.ndarray
    labels: np.ndarray
    files: tuple[str, ...]


@dataclass(frozen=True)
class Cached:
    """A data set as it lies in the cache."""

    train: Part
    test: Part
    class_names: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Decoded:
    """One split as a source hands it over: `pixels` holds all pictures, of which those at `kept` are readable.

    `files` names these, `skipped` the others.
    """

    pixels: np.ndarray
    kept: Sequence[int]
    labels: np.ndarray
    files: tuple[str, ...]
    skipped: tuple[str, ...] = ()


Allocate = Callable[[str, int], np.ndarray]
"""(name of the part, number of pictures) to a writable array (n, size, size, 3) uint8 on the disk."""


def key(*parts: object) -> str:
    """The name of the folder for this content, as this release of Pillow decodes and draws it."""
    pillow = importlib.metadata.version("pillow")
    return hashlib.sha256(repr((_FORMAT, pillow, parts)).encode()).hexdigest()[:32]


def folder_of(cache_dir: str, name: str) -> Path:
    """`cache_dir`/`name`, with `~` resolved. Raises DataError where it cannot be."""
    try:
        return Path(cache_dir).expanduser() / name
    except RuntimeError as error:
        raise DataError(f"data.cache_dir: {cache_dir} cannot be written ({error}); set another") from None


def make_folder(folder: Path) -> None:
    """Make a folder of the cache. Raises DataError where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"data.cache_dir: {folder} cannot be written ({error.strerror}); set another") from None


def fill(
    folder: Path,
    image_size: int,
    decode: Callable[[Allocate], tuple[Decoded, Decoded]],
    *,
    class_names: Sequence[str],
) -> None:
    """Let `decode` write its pictures and put the whole in place in one step; nothing is left where it fails."""
    make_folder(folder.parent)
    try:
        partial = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    except OSError as error:
        raise DataError(f"data.cache_dir: {folder.parent} cannot be written ({error.strerror}); set another") from None

    def allocate(name: str, count: int) -> np.ndarray:
        return _map(partial / f"{name}-pixels.npy", count, image_size)

    try:
        train, test = decode(allocate)
        for name, part in (("train", train), ("test", test)):
            _keep_readable(partial / f"{name}-pixels.npy", part, image_size)
            np.save(partial / f"{name}-labels.npy", part.labels)
        facts = {
            "class_names": class_names,
            "train_files": train.files,
            "test_files": test.files,
            "skipped": train.skipped + test.skipped,
        }
        (partial / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / "facts.json").is_file():  # else: another process was faster
                raise DataError(f"{folder}: the cached data is damaged (no facts.json); delete that folder") from None
    except OSError as error:
        raise DataError(f"data.cache_dir: {folder.parent} cannot be written ({error.strerror}); set another") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read(folder: Path, size: int) -> Cached:
    """What `fill` wrote. Raises DataError where it is damaged."""
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        train, test = (
            Part(
                # A plain array over the mapped file, which is pickled and shared like any other.
                np.load(folder / f"{name}-pixels.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray),
                _array(folder / f"{name}-labels.npy"),
                tuple(facts[f"{name}_files"]),
            )
            for name in ("train", "test")
        )
        for part in (train, test):
            if part.pixels.shape != (len(part.files), size, size, 3) or part.labels.shape != (len(part.files),):
                raise ValueError("lengths or sizes differ")
            if part.pixels.dtype != np.uint8 or part.labels.dtype != np.int32:
                raise ValueError("kinds of numbers differ")
        return Cached(train, test, tuple(facts["class_names"]), tuple(facts["skipped"]))
    except (OSError, ValueError, KeyError, EOFError, TypeError, RecursionError, zipfile.BadZipFile) as error:
        raise DataError(f"{folder}: the cached data is damaged ({error}); delete that folder") from None


def _map(path: Path, count: int, image_size: int) -> np.ndarray:
    shape = (count, image_size, image_size, 3)
    if not count:
        # A file without pictures cannot be mapped.
        np.save(path, np.empty(shape, np.uint8))
        return np.empty(shape, np.uint8)
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("r+b") as file:
        # On a full disk this is an error; writing to pages without blocks behind them would end the process.
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return mapped


def _keep_readable(path: Path, part: Decoded, image_size: int) -> None:
    """Leave the readable pictures alone in the file."""
    if len(part.kept) == len(part.pixels):
        if isinstance(part.pixels, np.memmap):
            part.pixels.flush()
        return
    whole = path.with_suffix(".whole")
    path.rename(whole)
    kept = _map(path, len(part.kept), image_size)
    for to, index in enumerate(part.kept):
        kept[to] = part.pixels[index]
    whole.unlink()


def _array(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return np.load(file, allow_pickle=False)
