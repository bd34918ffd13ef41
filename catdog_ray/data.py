"""An archive, a folder or the drawn set become `Images`: uint8 arrays in training, selection and test splits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from catdog_ray import cache
from catdog_ray.errors import DataError
from catdog_ray.layout import SPLITS
from catdog_ray.origins import DRAWN, Progress, open_source
from catdog_ray.settings import DataSettings


@dataclass(frozen=True)
class Images:
    """One split: pixels (n, size, size, 3) uint8, labels (n,) int32 into `class_names`, one name per image."""

    pixels: np.ndarray
    labels: np.ndarray
    files: tuple[str, ...]
    class_names: tuple[str, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Images of each class, in the order of `class_names`."""
        return tuple(np.bincount(self.labels, minlength=len(self.class_names)).tolist())

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
            "test_counts": list(self.test.counts),
            "skipped_files": list(self.skipped),
        }


def load(settings: DataSettings, *, on_progress: Progress | None = None, on_download: Progress | None = None) -> Splits:
    """Read, decode and split the data set that `settings` names; a second call finds it in the cache.

    Raises DataError with what is wrong, where, and what to do.
    """
    source = open_source(settings, on_download=on_download)
    folder = cache.folder_of(settings.cache_dir, source.identity())
    if not (folder / "facts.json").is_file():
        source.fill(folder, on_progress)
    cached = cache.read(folder, settings.image_size)
    train, test = (
        Images(part.pixels, part.labels, part.files, cached.class_names) for part in (cached.train, cached.test)
    )
    skipped = cached.skipped
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
    return Splits(source.name, fingerprint, training, selection, test, skipped)


def _require_every_class(source: str, train: Images, test: Images) -> None:
    for split, images in zip(SPLITS, (train, test), strict=True):
        for label, name in enumerate(images.class_names):
            if not np.any(images.labels == label):
                raise DataError(
                    f"{source}: class {name!r} has no readable image in {split}/; add some, or remove the class"
                )


def _stratified(images: Images, share: float, seed: int, source: str) -> tuple[Images, Images]:
    """(training, selection): `share` of every class, drawn with `seed`, goes to selection."""
    chosen = np.zeros(len(images.labels), bool)
    for label, name in enumerate(images.class_names):
        members = np.flatnonzero(images.labels == label)
        count = max(1, round(share * len(members)))
        if count >= len(members):
            raise DataError(
                f"{source}: class {name!r} has {len(members)} image(s) in train/, too few to split into "
                "training and selection (data.selection_share); add more"
            )
        chosen[np.random.default_rng([seed, label]).permutation(members)[:count]] = True
    return images.take(np.flatnonzero(~chosen)), images.take(np.flatnonzero(chosen))


def _fingerprint(*splits: Images) -> str:
    digest = hashlib.sha256()
    for images in splits:
        digest.update(repr((images.pixels.shape, images.class_names)).encode())
        digest.update(np.ascontiguousarray(images.labels, dtype="<i4").data)
        digest.update(np.ascontiguousarray(images.pixels).data)
    return digest.hexdigest()
