"""Small picture files, and data sets of them as folders and zip archives."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("bears", "cats", "dogs")

QUARTERS = ((220, 30, 40), (30, 200, 60), (40, 50, 210), (230, 220, 60))
"""Colours of `quarters`, row by row: every flip and turn of the picture is another picture."""


def noise(seed: int, *, width: int = 12, height: int = 10) -> Image.Image:
    """A picture that differs from that of every other seed."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def quarters(side: int = 16) -> Image.Image:
    """Four squares in the colours of `QUARTERS`."""
    return Image.fromarray(np.array(QUARTERS, np.uint8).reshape(2, 2, 3)).resize((side, side), Image.Resampling.NEAREST)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The picture as the content of a file."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def pets(*, train: int = 10, validation: int = 4, classes: Sequence[str] = CLASSES) -> dict[str, bytes]:
    """A whole data set by file name, such as `train/cats/03.png`; no two pictures are equal."""
    files: dict[str, bytes] = {}
    for split, count in (("train", train), ("validation", validation)):
        for name in classes:
            for index in range(count):
                files[f"{split}/{name}/{index:02d}.png"] = encoded(noise(len(files)))
    return files


def write_folder(root: Path, files: Mapping[str, bytes]) -> Path:
    """Files below `root`; a name that ends with a slash is an empty folder."""
    for name, content in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root


def write_zip(path: Path, files: Mapping[str, bytes], *, top: str = "") -> Path:
    """The same as an archive, every name behind `top`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{top}{name}", content)
    return path
