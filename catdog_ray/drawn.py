"""The built-in data: procedurally drawn cats and dogs, so that everything runs without a download.

Not photographs, and no substitute for them: a seeded stand-in with a real signal (the shape of ears, muzzle and tail)
under nuisance that both classes share (pose, size, position, coat, light, background, clutter, noise).
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from catdog_ray.animals import EDGE, Animal, Colour, Frame, Points, limb, oval, portrait, shaded, sitting, standing

CLASS_NAMES = ("cats", "dogs")

# How hard the pictures are. Calibrated at 32 pixels by scripts/measure_drawn.py: change them together with its figures.
_STATURE = (0.56, 1.15)  # size of the animal; 1 fills the picture
_TURN = 32.0  # standard deviation in degrees
_STRETCH = 0.2  # log of width over height, at most
_POSES = (0.42, 0.36, 0.22)  # shares of portraits, sitting and standing animals
_HIDDEN = (0.5, 0.35, 0.15)  # shares of pictures with 0, 1 and 2 things before the animal
_CONTRAST = (0.75, 1.1)
_NOISE = (3.0, 11.0)  # standard deviation in grey levels, of 255

_SMALLEST_CANVAS = 128  # pixels; pictures are drawn at least this large and at least twice their size, then reduced


def draw(count: int, *, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` square pictures of `size` pixels, cats (0) and dogs (1) in equal parts.

    Returns pixels (count, size, size, 3) uint8 and labels (count,) int64. Picture i depends on (seed, i) and the size
    alone, so a shorter call with the same seed yields the first pictures of a longer one. The bytes are the same on
    every run; another version of NumPy or Pillow may draw slightly different ones.
    Raises ValueError if count or seed is negative or size is below 8 pixels.
    """
    for name, value, lowest in (("count", count, 0), ("size", size, 8), ("seed", seed, 0)):
        if value < lowest:
            raise ValueError(f"draw: {name} must be at least {lowest}, got {value!r}")
    labels = np.array([_label(seed, index) for index in range(count)], dtype=np.int64)
    pixels = np.empty((count, size, size, 3), dtype=np.uint8)
    for index, label in enumerate(labels):
        pixels[index] = _picture(bool(label), size, np.random.default_rng((seed, index, 0)))
    return pixels, labels


def _label(seed: int, index: int) -> int:
    """Class of one picture: of two neighbours (2k, 2k + 1) one is a cat and one a dog, in random order."""
    first = int(np.random.default_rng((seed, index // 2, 1)).integers(2))
    return first ^ (index % 2)


def _picture(is_dog: bool, size: int, rng: np.random.Generator) -> np.ndarray:
    """One picture (size, size, 3) uint8: background, clutter, animal, what hides it, then light, blur and noise."""
    canvas_size = size * max(2, -(-_SMALLEST_CANVAS // size))
    canvas = _background(canvas_size, rng)
    whole = Frame(np.eye(2) * canvas_size / 2, np.full(2, canvas_size / 2))
    _clutter(canvas, whole, int(rng.integers(1, 6)), 0.42, rng)
    animal = Animal(canvas_size, rng)
    pose = (portrait, sitting, standing)[int(rng.choice(3, p=_POSES))]
    frame = _animal_frame(whole, rng)
    pose(animal, frame, is_dog, rng)
    animal.paste_on(canvas, rng)
    _clutter(canvas, frame.placed((0, -0.1), 0.8), int(rng.choice(3, p=_HIDDEN)), 0.6, rng)
    return _develop(canvas, size, rng)


def _animal_frame(whole: Frame, rng: np.random.Generator) -> Frame:
    stature = float(np.exp(rng.uniform(*np.log(_STATURE))))
    slack = 0.05 + 0.3 * (_STATURE[1] - stature)  # a small animal may stand further from the middle
    turn = float(np.deg2rad(rng.normal(0, _TURN)))
    stretch = float(np.exp(rng.uniform(-_STRETCH, _STRETCH)) * rng.choice((-1, 1)))
    return whole.placed(rng.uniform(-slack, slack, 2), stature, turn, stretch)


def _random_colour(rng: np.random.Generator) -> Colour:
    """A colour of any lightness and moderate saturation."""
    return tuple(np.clip(rng.uniform(60, 215) + rng.normal(0, 22, 3), 0, 255).astype(int).tolist())


def _gradient(size: int, rng: np.random.Generator) -> Image.Image:
    """A smooth blend of one colour, lighter and darker towards the corners."""
    corners = np.array(_random_colour(rng)) + rng.normal(0, 18, (2, 2, 1)) + rng.normal(0, 9, (2, 2, 3))
    return Image.fromarray(np.clip(corners, 0, 255).astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)


def _background(size: int, rng: np.random.Generator) -> Image.Image:
    """A wall and a floor, or a sky and a meadow: two gradients with a horizon between them."""
    canvas, ground = _gradient(size, rng), _gradient(size, rng)
    left, right = size * (rng.uniform(0.35, 1.1) + rng.normal(0, 0.06, 2))
    area = Image.new("L", (size, size))
    ImageDraw.Draw(area).polygon([0, left, size, right, size, 2 * size, 0, 2 * size], fill=255)
    canvas.paste(ground, (0, 0), area)
    return canvas


def _clutter(canvas: Image.Image, whole: Frame, count: int, largest: float, rng: np.random.Generator) -> None:
    """Balls, boxes, cones and ropes, `count` of them, up to `largest` in radius (half the picture's width is 1)."""
    pen = ImageDraw.Draw(canvas)
    for _ in range(count):
        frame = whole.placed(rng.uniform(-1, 1, 2), rng.uniform(0.1, largest), rng.uniform(0, 2 * np.pi))
        colour, kind, aspect = _random_colour(rng), int(rng.integers(4)), rng.uniform(0.4, 1.0)
        outline: Points = (
            oval(0, 0, 1, aspect),
            [(-1, -aspect), (1, -aspect), (1, aspect), (-1, aspect)],
            [(-aspect, 0.8), (0, -1), (aspect, 0.8)],
            limb([(-1.5, 0), (-0.6, -aspect / 2), (0.6, aspect / 2), (1.5, 0)], 0.35, 0.15),
        )[kind]
        path = frame.pixels(outline)
        pen.polygon(path, fill=colour)
        pen.line(path + path[:4], fill=shaded(colour, EDGE), width=whole.width(0.02), joint="curve")


def _develop(canvas: Image.Image, size: int, rng: np.random.Generator) -> np.ndarray:
    """Blur a little, reduce to (size, size, 3), vary light and contrast, add mottle and noise; uint8."""
    softened = canvas.filter(ImageFilter.BoxBlur(rng.uniform(0, 0.012) * canvas.width))
    pixels: np.ndarray = np.asarray(softened.reduce(canvas.width // size), dtype=np.float32)
    pixels = (pixels - 128) * rng.uniform(*_CONTRAST) + 128 + rng.normal(0, 16) + rng.normal(0, 6, 3)
    mottle = Image.fromarray(rng.normal(0, 5, (24, 24)).astype(np.float32))
    pixels = pixels + np.asarray(mottle.resize((size, size), Image.Resampling.BICUBIC))[:, :, None]
    pixels = pixels + rng.normal(0, rng.uniform(*_NOISE), pixels.shape)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
