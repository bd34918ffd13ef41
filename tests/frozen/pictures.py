"""The pictures of the frozen studies: noisy discs and rings, the same files for everyone. `pictures.py FILE.zip`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from make_pictures import encoded, write_zip
from PIL import Image

CLASSES = ("discs", "rings")
TRAIN, VALIDATION, SIDE = 160, 20, 24


def picture(seed: int, name: str) -> Image.Image:
    """A disc, or a ring with a hole, somewhere in the picture, in any grey on any grey, under noise."""
    rng = np.random.default_rng([seed, CLASSES.index(name)])
    y, x = np.mgrid[:SIDE, :SIDE]
    centre = rng.uniform(8, SIDE - 8, 2)
    distance = np.hypot(y - centre[0], x - centre[1])
    radius = rng.uniform(5, 7.5)
    inside = distance < radius
    if name == "rings":
        inside &= distance > 0.5 * radius
    dark, bright = rng.uniform(60, 110), rng.uniform(140, 190)
    grey = np.where(inside, bright, dark)[..., None] + rng.normal(0, 45, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def files() -> dict[str, bytes]:
    """All pictures by name."""
    found = {}
    for split, count, offset in (("train", TRAIN, 0), ("validation", VALIDATION, TRAIN)):
        for name in CLASSES:
            for index in range(count):
                found[f"{split}/{name}/{index:03d}.png"] = encoded(picture(offset + index, name))
    return found


if __name__ == "__main__":
    write_zip(Path(sys.argv[1]), files())
