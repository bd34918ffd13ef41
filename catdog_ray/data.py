"""An archive, a folder or the drawn set become `Images`: uint8 arrays in training, selection and test splits."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from catdog_ray import drawn
from catdog_ray.settings import DataSettings
from catdog_ray.sources import SPLITS, DataError, FolderReader, Reader, Unreadable, ZipReader, decode, find_layout

Progress = Callable[[int, int], None]
"""Called with (files decoded, files in all)."""

DRAWN = "drawn"
_CACHE_FORMAT = 1


@dataclass(frozen=True)
class Images:
    """One split: pixels (n, size, size, 3) uint8, labels (n,) int32 into `class_names`, one name per image."""

    pixels: np.ndarray
    labels: np.ndarray
    files: tuple[str, ...]
    class_names: tuple[str, ...]

    def take(self, indices: np.ndarray) -> Images:
        """The images at `indices`, in that order."""
        files = tuple(self.files[index] for index in indices)
        return Images(self.pixels[indices], self.labels[indices], files, self.class_names)

    def joined(self, other: Images) -> Images:
        """These images, then the others."""
        pixels = np.concatenate([self.pixels, other.pixels])
        labels = np.concatenate([self.labels, other.labels])
        return Images(pixels, labels, self.files + other.files, self.class_names)


@dataclass(frozen=True)
class Splits:
    """A data set. The search sees `train` and `selection`; `test` is the archive's `validation/`."""

    name: str
    fingerprint: str
    train: Images
    selection: Images
    test: Images
    skipped: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """What `study.json` says of the data."""
        return {
            "name": self.name,
            "drawn": self.name == DRAWN,
            "fingerprint": self.fingerprint,
            "class_names": list(self.train.class_names),
            "train_images": len(self.train.labels),
            "selection_images": len(self.selection.labels),
            "test_images": len(self.test.labels),
            "skipped_files": list(self.skipped),
        }


def load(settings: DataSettings, *, on_progress: Progress | None = None) -> Splits:
    """Read, decode and split the data set that `settings` names; a second call finds it in the cache.

    Raises DataError with what is wrong, where, and what to do.
    """
    source = open_source(settings)
    try:
        cache = Path(settings.cache_dir).expanduser()
    except RuntimeError as error:
        raise DataError(f"data.cache_dir: {settings.cache_dir} cannot be written ({error}); set another") from None
    folder = cache / source.identity(settings.image_size)
    if not (folder / "facts.json").is_file():
        _fill_cache(folder, source, settings.image_size, on_progress)
    train, test, skipped = _read_cache(folder, settings.image_size)
    total = len(train.labels) + len(test.labels) + len(skipped)
    if len(skipped) > settings.max_bad_share * total:
        raise DataError(
            f"{source.name}: {len(skipped)} of {total} files are no readable image "
            f"(data.max_bad_share allows {settings.max_bad_share:g}): {', '.join(skipped[:5])}"
            f"{', ...' if len(skipped) > 5 else ''}"
        )
    _require_every_class(source.name, train, test)
    training, selection = _stratified(train, settings.selection_share, settings.split_seed, source.name)
    fingerprint = _fingerprint(training, selection, test)
    return Splits(source.name, fingerprint, training, selection, test, tuple(skipped))


class Source(Protocol):
    """Where images come from, before they are decoded."""

    name: str

    def identity(self, image_size: int) -> str:
        """A key that changes with the content and the size."""
        ...

    def decode(self, image_size: int, on_progress: Progress | None) -> tuple[Images, Images, list[str]]:
        """Training images, test images, names of files that are no readable image."""
        ...


def open_source(settings: DataSettings) -> Source:
    """The source that `data.source` names. Raises DataError where there is none or its layout is wrong."""
    if settings.source == DRAWN:
        return _Drawn(settings.drawn_train, settings.drawn_test, settings.drawn_seed)
    try:
        path = Path(settings.source).expanduser()
        is_dir, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError):
        is_dir = is_file = False
    if is_dir:
        return _Files(path.name or str(path), FolderReader(path))
    if not is_file:
        raise DataError(
            f"--data: there is no file or folder {settings.source!r}; give a zip archive or a folder that holds "
            f"train/<class>/ and validation/<class>/, or 'drawn' for the built-in data"
        )
    return _Files(path.name, ZipReader(path))


class _Drawn:
    name = DRAWN

    def __init__(self, train: int, test: int, seed: int) -> None:
        self._train, self._test, self._seed = train, test, seed

    def identity(self, image_size: int) -> str:
        # The code that draws is part of the content.
        code = inspect.getsource(drawn)
        return _key(DRAWN, self._train, self._test, self._seed, image_size, code)

    def decode(self, image_size: int, on_progress: Progress | None) -> tuple[Images, Images, list[str]]:
        count = self._train + self._test
        pixels, labels = drawn.draw(count, size=image_size, seed=self._seed)
        if on_progress is not None:
            on_progress(count, count)
        parts = []
        for split, part in (("train", slice(0, self._train)), ("validation", slice(self._train, count))):
            files = tuple(f"{split}/{drawn.CLASS_NAMES[label]}/{i:06d}" for i, label in enumerate(labels[part]))
            parts.append(Images(pixels[part], labels[part].astype(np.int32), files, tuple(drawn.CLASS_NAMES)))
        return parts[0], parts[1], []


class _Files:
    """A tree of files, in an archive or a folder, with train/ and validation/ somewhere near its root."""

    def __init__(self, name: str, reader: Reader) -> None:
        self.name, self._reader = name, reader
        self._entries, self._classes = find_layout(name, sorted(reader.names()))

    def identity(self, image_size: int) -> str:
        names = [entry for split in SPLITS for entry, _, _ in self._entries[split]]
        return _key(self.name, image_size, *self._reader.identity(names))

    def decode(self, image_size: int, on_progress: Progress | None) -> tuple[Images, Images, list[str]]:
        skipped: list[str] = []
        total = sum(len(entries) for entries in self._entries.values())
        parts, done = [], 0
        with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count() or 1) as threads:
            warnings.simplefilter("ignore")
            for split in SPLITS:
                entries = self._entries[split]
                pixels = np.empty((len(entries), image_size, image_size, 3), np.uint8)
                jobs = threads.map(lambda entry: self._decode_one(entry[0], image_size), entries)
                kept: list[int] = []
                for index, image in enumerate(jobs):
                    if image is None:
                        skipped.append(entries[index][1])
                    else:
                        pixels[len(kept)] = image
                        kept.append(index)
                    done += 1
                    if on_progress is not None:
                        on_progress(done, total)
                labels = np.array([entries[index][2] for index in kept], np.int32)
                files = tuple(entries[index][1] for index in kept)
                parts.append(Images(pixels[: len(kept)], labels, files, self._classes))
        return parts[0], parts[1], skipped

    def _decode_one(self, name: str, image_size: int) -> np.ndarray | None:
        try:
            return decode(self._reader.read(name), image_size)
        except Unreadable:
            return None


def _require_every_class(source: str, train: Images, test: Images) -> None:
    for split, images in zip(SPLITS, (train, test), strict=True):
        for label, name in enumerate(images.class_names):
            if not np.any(images.labels == label):
                raise DataError(f"{source}: class {name!r} has no readable image in {split}/")


def _stratified(images: Images, share: float, seed: int, source: str) -> tuple[Images, Images]:
    """(training, selection): `share` of every class, drawn with `seed`, goes to selection."""
    chosen = np.zeros(len(images.labels), bool)
    for label, name in enumerate(images.class_names):
        members = np.flatnonzero(images.labels == label)
        count = max(1, round(share * len(members)))
        if count >= len(members):
            raise DataError(f"{source}: class {name!r} has {len(members)} image(s) in train/, too few to split")
        chosen[np.random.default_rng([seed, label]).permutation(members)[:count]] = True
    return images.take(np.flatnonzero(~chosen)), images.take(np.flatnonzero(chosen))


def _key(*parts: object) -> str:
    return hashlib.sha256(repr((_CACHE_FORMAT, parts)).encode()).hexdigest()[:32]


def _fingerprint(*splits: Images) -> str:
    digest = hashlib.sha256()
    for images in splits:
        digest.update(repr((images.pixels.shape, images.class_names)).encode())
        digest.update(np.ascontiguousarray(images.labels, dtype="<i4").data)
        digest.update(np.ascontiguousarray(images.pixels).data)
    return digest.hexdigest()


def _fill_cache(folder: Path, source: Source, image_size: int, on_progress: Progress | None) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    except OSError as error:
        raise DataError(f"data.cache_dir: {folder.parent} cannot be written ({error.strerror}); set another") from None
    try:
        train, test, skipped = source.decode(image_size, on_progress)
        facts = {"skipped": skipped, "class_names": list(train.class_names)}
        for name, images in (("train", train), ("test", test)):
            np.save(partial / f"{name}-pixels.npy", images.pixels)
            np.save(partial / f"{name}-labels.npy", images.labels)
            facts[f"{name}_files"] = list(images.files)
        (partial / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / "facts.json").is_file():  # else: another process was faster
                raise DataError(f"{folder}: the cached data is damaged (no facts.json); delete that folder") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _read_cache(folder: Path, size: int) -> tuple[Images, Images, list[str]]:
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        parts = [
            Images(
                _array(folder / f"{name}-pixels.npy"),
                _array(folder / f"{name}-labels.npy"),
                tuple(facts[f"{name}_files"]),
                tuple(facts["class_names"]),
            )
            for name in ("train", "test")
        ]
        for part in parts:
            if part.pixels.shape != (len(part.files), size, size, 3) or part.labels.shape != (len(part.files),):
                raise ValueError("lengths or sizes differ")
        return parts[0], parts[1], facts["skipped"]
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{folder}: the cached data is damaged ({error}); delete that folder") from None


def _array(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return np.load(file, allow_pickle=False)
