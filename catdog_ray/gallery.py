"""A figure of a data set: a grid of samples, and one picture under each augmentation and all of them together."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from catdog_ray.data import Images
from catdog_ray.errors import UserError
from catdog_ray.files import replace_file
from catdog_ray.settings import AugmentSettings


class FigureError(UserError):
    """A figure cannot be written where it was asked for."""


def require_writable(path: Path) -> None:
    """FigureError where the name's ending is no picture's, or its folder is not there."""
    endings = ("jpg", "pdf", "png", "svg", "webp")
    if path.suffix.lower().removeprefix(".") not in endings:
        raise FigureError(f"--save-figure: {path} must end with one of {', '.join('.' + e for e in endings)}")
    if not path.parent.is_dir():
        raise FigureError(f"--save-figure: there is no folder {path.parent}")
    if path.is_dir():
        raise FigureError(f"--save-figure: {path} is a folder; name a file")


def augmentations(settings: AugmentSettings) -> dict[str, AugmentSettings]:
    """Each augmentation of the policy alone, then all together, by the words that stand beside it."""
    none = replace(settings, horizontal_flip=False, rotation_range=0.0, zoom_range=0.0)
    found = {
        "horizontal flip": replace(none, horizontal_flip=settings.horizontal_flip),
        f"rotation {settings.rotation_range:g}": replace(none, rotation_range=settings.rotation_range),
        f"zoom {settings.zoom_range:g}": replace(none, zoom_range=settings.zoom_range),
    }
    return {words: alone for words, alone in found.items() if alone != none} | {"all together": settings}


def augmented(picture: np.ndarray, settings: AugmentSettings, *, count: int, seed: int) -> np.ndarray:
    """`count` draws of one picture (size, size, 3) uint8, as training sees it: (count, size, size, 3) in [0, 1]."""
    from catdog_ray import augment

    repeated = Images(np.repeat(picture[None], count, axis=0), np.zeros(count, np.int32), ("",) * count, ("",))
    batch, _ = next(augment.training_batches(repeated, settings, batch_size=count, seed=seed, first_epoch=0))
    return np.asarray(batch).clip(0, 1)


def save(
    path: Path, samples: Mapping[str, Sequence[np.ndarray]], settings: AugmentSettings, *, title: str, seed: int
) -> None:
    """Write the figure; `samples` are pictures by class, the first of them is shown augmented."""
    columns = max(2, *(len(pictures) for pictures in samples.values()))
    rows: list[tuple[str, Sequence[np.ndarray]]] = list(samples.items())
    first = next((pictures[0] for pictures in samples.values() if len(pictures)), None)
    if first is not None:
        for words, alone in augmentations(settings).items():
            rows.append((words, [first, *augmented(first, alone, count=columns - 1, seed=seed)]))
    figure = Figure(figsize=(1.5 * columns + 1, 1.6 * len(rows) + 0.5), layout="constrained")
    figure.suptitle(title, parse_math=False)
    for axes_row, (words, pictures) in zip(figure.subplots(len(rows), columns, squeeze=False), rows, strict=True):
        for axes in axes_row:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        axes_row[0].set_ylabel(words, fontsize=9, parse_math=False)
        for axes, picture in zip(axes_row, pictures, strict=False):
            axes.imshow(picture)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class name's letters that the font lacks are drawn as boxes
        figure.savefig(content, dpi=110, format=path.suffix.lower().removeprefix("."))
    try:
        replace_file(path, content.getvalue())
    except OSError as error:
        raise FigureError(f"--save-figure: {path} cannot be written ({error.strerror})") from None
