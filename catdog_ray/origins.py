"""Where the pictures of a data set come from: an archive, a folder, an address or the drawn set."""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from catdog_ray import animals, cache, download, drawn
from catdog_ray.decoding import Unreadable, decode, decoders, encode
from catdog_ray.errors import DataError, nearest, printable
from catdog_ray.layout import SPLITS, find_layout
from catdog_ray.settings import Archive, DataSettings, without_secrets
from catdog_ray.sources import FolderReader, Reader, ZipReader

Progress = Callable[[int, int], None]
"""Called with (files decoded, files in all)."""

DRAWN = "drawn"


@dataclass(frozen=True)
class Item:
    """One file of a data set before it is decoded: its name as shown, where it belongs, how it is read."""

    file: str
    split: str
    class_name: str
    read: Callable[[], bytes]


class Source(Protocol):
    """Where images come from, before they are decoded."""

    name: str

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels."""
        ...

    def identity(self) -> str:
        """A key that changes with the content and the size."""
        ...

    def items(self) -> list[Item]:
        """Every file, readable or not."""
        ...

    def fill(self, folder: Path, on_progress: Progress | None) -> None:
        """Decode everything into a folder of the cache."""
        ...


def open_source(settings: DataSettings, *, on_download: Progress | None = None) -> Source:
    """The source that `data.source` names, downloaded if need be. Raises DataError where there is none."""
    if settings.source == DRAWN:
        return _Drawn(settings)
    if download.is_url(settings.source):
        return _archive(settings, Archive(settings.source, None, None), on_download)
    try:
        path = Path(settings.source).expanduser()
        is_dir, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError, ValueError):
        is_dir = is_file = False
    if is_dir:
        return _Files(path.name or str(path), FolderReader(path), settings)
    if is_file:
        return _Files(path.name, ZipReader(path), settings)
    if settings.source in settings.published:
        return _archive(settings, settings.published[settings.source], on_download)
    similar = nearest(settings.source, settings.published)
    raise DataError(
        f"--data: there is no file or folder {settings.source!r}; give a zip archive or a folder that holds "
        f"train/<class>/ and validation/<class>/, or 'drawn' for the built-in data{similar}"
    )


def is_place(settings: DataSettings) -> bool:
    """Whether `data.source` is a file or folder, not the drawn set, an address or the name of a published archive."""
    source = settings.source
    is_name = source == DRAWN or download.is_url(source) or source in settings.published
    return not is_name or (source != DRAWN and Path(source).exists())


def with_key(settings: DataSettings) -> str:
    """`data.source`; of a published set whose address holds a key, which study.json leaves out, the whole address."""
    archive = settings.published.get(settings.source)
    if archive is None or archive.url == without_secrets(archive.url):
        return settings.source
    plain = archive.url.partition("#")[0]
    return archive.url if archive.sha256 is None else f"{plain}#sha256={archive.sha256}"


def _archive(settings: DataSettings, archive: Archive, on_download: Progress | None) -> Source:
    """An archive by URL, from the cache where it was downloaded before."""
    folder = cache.folder_of(settings.cache_dir, "downloads")
    path = download.fetch(archive, folder, on_progress=on_download)
    try:
        reader = ZipReader(path)
    except DataError as error:
        # A page that asks to log in, or half an archive of unknown length: kept, it would be found here for ever.
        path.unlink(missing_ok=True)
        what = str(error).removeprefix(f"{path}: ")
        raise DataError(f"--data: what came from {without_secrets(archive.url)} is not kept: {what}") from None
    return _Files(download.file_name(archive.url), reader, settings)


class _Drawn:
    name = DRAWN
    class_names = tuple(drawn.CLASS_NAMES)

    def __init__(self, settings: DataSettings) -> None:
        self._train, self._test, self._seed = settings.drawn_train, settings.drawn_test, settings.drawn_seed
        self._size = settings.image_size

    def identity(self) -> str:
        # The code that draws is part of the content.
        code = [inspect.getsource(module) for module in (animals, drawn)]
        return cache.key(DRAWN, self._train, self._test, self._seed, self._size, *code)

    def items(self) -> list[Item]:
        pixels, labels = drawn.draw(self._train + self._test, size=self._size, seed=self._seed)
        return [
            Item(file, file.partition("/")[0], self.class_names[label], functools.partial(encode, pixels[index]))
            for index, (label, file) in enumerate(zip(labels, self._files(labels), strict=True))
        ]

    def fill(self, folder: Path, on_progress: Progress | None) -> None:
        def decode_into(allocate: cache.Allocate) -> tuple[cache.Decoded, cache.Decoded]:
            count = self._train + self._test
            pixels, labels = drawn.draw(count, size=self._size, seed=self._seed)
            if on_progress is not None:
                on_progress(count, count)
            files = self._files(labels)
            parts = (("train", slice(0, self._train)), ("test", slice(self._train, count)))
            return tuple(_written(allocate, name, pixels[s], labels[s], files[s]) for name, s in parts)  # type: ignore[return-value]

        cache.fill(folder, self._size, decode_into, class_names=self.class_names)

    def _files(self, labels: np.ndarray) -> tuple[str, ...]:
        """`train/cats/000000`; both splits count from 0."""
        return tuple(
            f"{'train' if i < self._train else 'validation'}/{self.class_names[label]}/"
            f"{i if i < self._train else i - self._train:06d}"
            for i, label in enumerate(labels)
        )


def _written(
    allocate: cache.Allocate, name: str, pixels: np.ndarray, labels: np.ndarray, files: tuple[str, ...]
) -> cache.Decoded:
    place = allocate(name, len(pixels))
    place[:] = pixels
    return cache.Decoded(place, range(len(pixels)), labels.astype(np.int32), files)


class _Files:
    """A tree of files, in an archive or a folder, with train/ and validation/ (or classes) somewhere near its root."""

    def __init__(self, name: str, reader: Reader, settings: DataSettings) -> None:
        self.name, self._reader, self._size = printable(name), reader, settings.image_size
        self._entries, self.class_names = find_layout(
            self.name, sorted(reader.names()), test_share=settings.test_share, seed=settings.split_seed
        )

    def identity(self) -> str:
        names = [entry for split in SPLITS for entry, _, _ in self._entries[split]]
        shown = [entry[1:] for split in SPLITS for entry in self._entries[split]]
        digest = hashlib.sha256(repr(shown).encode()).hexdigest()
        return cache.key(self.name, self._size, digest, *self._reader.identity(names))

    def items(self) -> list[Item]:
        return [
            Item(shown, split, self.class_names[label], functools.partial(self._reader.read, name))
            for split in SPLITS
            for name, shown, label in self._entries[split]
        ]

    def fill(self, folder: Path, on_progress: Progress | None) -> None:
        def decode_into(allocate: cache.Allocate) -> tuple[cache.Decoded, cache.Decoded]:
            total = sum(len(entries) for entries in self._entries.values())
            done = itertools.count(1)

            def tell() -> None:
                if on_progress is not None:
                    on_progress(next(done), total)

            with decoders() as threads:
                train, test = (
                    self._decode_split(threads, allocate(name, len(self._entries[split])), split, tell)
                    for name, split in zip(("train", "test"), SPLITS, strict=True)
                )
            return train, test

        cache.fill(folder, self._size, decode_into, class_names=self.class_names)

    def _decode_split(
        self,
        threads: ThreadPoolExecutor,
        pixels: np.ndarray,
        split: str,
        tell: Callable[[], None],
    ) -> cache.Decoded:
        """Every thread writes its picture in its place, so that none waits in memory for the one before it."""
        entries = self._entries[split]

        def decode_one(index: int) -> bool:
            try:
                pixels[index] = decode(self._reader.read(entries[index][0]), pixels.shape[1])
            except Unreadable:
                return False
            return True

        kept: list[int] = []
        skipped: list[str] = []
        for index, is_readable in enumerate(threads.map(decode_one, range(len(entries)))):
            if is_readable:
                kept.append(index)
            else:
                skipped.append(entries[index][1])
            tell()
        labels = np.array([entries[index][2] for index in kept], np.int32)
        return cache.Decoded(pixels, kept, labels, tuple(entries[index][1] for index in kept), tuple(skipped))
