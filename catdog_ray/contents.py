"""What is in a data set: counts, sizes and kinds of pictures, what cannot be read, what stands in it twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from catdog_ray import duplicates
from catdog_ray.decoding import Unreadable, decode, decoders, measure
from catdog_ray.origins import Item, Progress, open_source
from catdog_ray.settings import DataSettings


@dataclass(frozen=True)
class Group:
    """Pictures that are equal (`same_bytes`) or nearly so, by their names and classes."""

    files: tuple[str, ...]
    same_bytes: bool
    across_splits: bool
    across_classes: bool


@dataclass(frozen=True)
class Inspection:
    """A data set's facts. `counts` by (split, class) of readable pictures; `skipped` by (file, reason)."""

    name: str
    class_names: tuple[str, ...]
    counts: dict[tuple[str, str], int]
    skipped: tuple[tuple[str, str], ...]
    formats: dict[str, int]
    modes: dict[str, int]
    widths: tuple[int, ...]
    heights: tuple[int, ...]
    groups: tuple[Group, ...]
    near_duplicates_searched: bool

    @property
    def leaks(self) -> tuple[Group, ...]:
        """Pictures that are in training and in validation."""
        return tuple(group for group in self.groups if group.across_splits)


@dataclass(frozen=True)
class _Seen:
    item: Item
    kind: tuple[str, str, int, int]
    digest: str
    pixels: np.ndarray


def inspect(
    settings: DataSettings, *, on_progress: Progress | None = None, on_download: Progress | None = None
) -> Inspection:
    """Read every file of the data set once. Raises DataError as `data.load` does for a wrong place or layout."""
    source = open_source(settings, on_download=on_download)
    items = source.items()
    seen: list[_Seen] = []
    skipped: list[tuple[str, str]] = []
    with decoders() as threads:
        for done, (item, found) in enumerate(zip(items, threads.map(_look, items), strict=True), start=1):
            if isinstance(found, _Seen):
                seen.append(found)
            else:
                skipped.append((item.file, found))
            if on_progress is not None:
                on_progress(done, len(items))
    pixels = np.stack([one.pixels for one in seen]) if seen else np.empty((0, *[duplicates.SIDE] * 2, 3), np.uint8)
    found_groups = duplicates.groups(pixels, [one.digest for one in seen])
    return Inspection(
        name=source.name,
        class_names=source.class_names,
        counts=dict(Counter((one.item.split, one.item.class_name) for one in seen)),
        skipped=tuple(skipped),
        formats=dict(Counter(one.kind[0] for one in seen).most_common()),
        modes=dict(Counter(one.kind[1] for one in seen).most_common()),
        widths=tuple(one.kind[2] for one in seen),
        heights=tuple(one.kind[3] for one in seen),
        groups=tuple(_group([seen[index] for index in indices], same) for indices, same in found_groups),
        near_duplicates_searched=len(seen) <= duplicates.MOST_COMPARED,
    )


def samples(settings: DataSettings, *, per_class: int, image_size: int, seed: int) -> dict[str, list[np.ndarray]]:
    """Up to `per_class` readable training pictures of every class (size, size, 3) uint8, drawn with `seed`."""
    source = open_source(settings)
    items = source.items()
    found: dict[str, list[np.ndarray]] = {}
    with decoders():
        for label, name in enumerate(source.class_names):
            members = [item for item in items if (item.split, item.class_name) == ("train", name)]
            order = np.random.default_rng([seed, label]).permutation(len(members))
            found[name] = list(islice(_readable([members[index] for index in order], image_size), per_class))
    return found


def _readable(items: Sequence[Item], image_size: int) -> Iterator[np.ndarray]:
    for item in items:
        try:
            yield decode(item.read(), image_size)
        except Unreadable:
            continue


def _look(item: Item) -> _Seen | str:
    try:
        content = item.read()
        pixels = decode(content, duplicates.SIDE)
        return _Seen(item, measure(content), hashlib.sha256(content).hexdigest(), pixels)
    except Unreadable as error:
        return str(error)


def _group(seen: Sequence[_Seen], same_bytes: bool) -> Group:
    return Group(
        files=tuple(one.item.file for one in seen),
        same_bytes=same_bytes,
        across_splits=len({one.item.split for one in seen}) > 1,
        across_classes=len({one.item.class_name for one in seen}) > 1,
    )
