"""Drawn cats and dogs: shapes in frames of reference, poses, heads, coats. What differs between the classes is here.

Ears, muzzle and tail are a class's own; pose, build and coat are shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, ...]
Points = Sequence[Sequence[float]] | np.ndarray

EDGE = 0.62
"""Brightness of a part's edge relative to the part."""

_COATS = (  # fur and markings
    ((44, 42, 46), (206, 200, 192)),
    ((92, 92, 100), (222, 220, 216)),
    ((150, 148, 150), (240, 238, 236)),
    ((196, 120, 54), (246, 226, 196)),
    ((128, 82, 48), (220, 190, 150)),
    ((84, 54, 36), (196, 156, 112)),
    ((222, 190, 142), (250, 240, 220)),
    ((236, 230, 220), (170, 150, 130)),
)
_EYES = ((186, 150, 40), (96, 140, 60), (104, 66, 30), (80, 130, 170), (70, 50, 36))
_NOSES = ((28, 24, 26), (70, 44, 38), (176, 104, 102))
_PUPIL, _GLINT, _SKIN, _TONGUE, _WHISKER = (
    (14, 12, 14),
    (250, 250, 250),
    (214, 150, 146),
    (222, 104, 112),
    (236, 232, 226),
)


# ---- shapes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """A frame of reference: local coordinates (x right, y down) and where they lie on the canvas, in pixels."""

    matrix: np.ndarray  # (2, 2)
    origin: np.ndarray  # (2,)

    def placed(self, at: Sequence[float] | np.ndarray, scale: float, turn: float = 0.0, stretch: float = 1.0) -> Frame:
        """A frame inside this one: origin at `at`, turned by `turn` radians, `stretch` times as wide (-1 mirrors)."""
        cosine, sine = np.cos(turn), np.sin(turn)
        inner = scale * np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([stretch, 1.0])
        return Frame(self.matrix @ inner, self.origin + self.matrix @ np.asarray(at, dtype=float))

    def pixels(self, points: Points) -> list[float]:
        """Local points (n, 2) as a flat list of canvas coordinates."""
        coordinates: list[float] = (np.asarray(points) @ self.matrix.T + self.origin).ravel().tolist()
        return coordinates

    def width(self, length: float) -> int:
        """A local length in whole canvas pixels, at least 1."""
        return max(1, round(length * float(np.hypot(*self.matrix[:, 0]))))


def _curve(points: Points, *, closed: bool = True, steps: int = 5) -> np.ndarray:
    """A Catmull-Rom spline through control points (n, 2), as a polyline with `steps` pieces between neighbours."""
    knots = np.asarray(points, dtype=float)
    padded = np.concatenate([knots[-1:], knots, knots[:2]] if closed else [knots[:1], knots, knots[-1:]])
    t = np.arange(steps)[:, None] / steps
    weights = 0.5 * np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2])
    line = np.concatenate([weights @ padded[start : start + 4] for start in range(len(padded) - 3)])
    return line if closed else np.concatenate([line, knots[-1:]])


def _symmetric(right: Points) -> np.ndarray:
    """The closed curve whose right half, from top to bottom, is given; its left half is the mirror image."""
    half = np.asarray(right, dtype=float)
    return _curve(np.concatenate([half, half[-2:0:-1] * (-1, 1)]))


def oval(x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
    """An ellipse about (x, y), (20, 2)."""
    angles = np.arange(20) * (2 * np.pi / 20)
    return np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)


def limb(points: Points, start_width: float, end_width: float) -> np.ndarray:
    """The outline of a tapered limb with a round end, along the curve through `points`."""
    line = _curve(points, closed=False)
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    half = np.linspace(start_width, end_width, len(line))[:, None] / 2
    angles = np.linspace(0, np.pi, 6)[:, None]
    end = line[-1] + half[-1] * (np.cos(angles) * across[-1] + np.sin(angles) * along[-1])
    return np.concatenate([line + half * across, end, (line - half * across)[::-1]])


def shaded(colour: Colour, brightness: float) -> Colour:
    """A colour darker or brighter, at most white."""
    return tuple(int(min(255, channel * brightness)) for channel in colour)


# ---- animals --------------------------------------------------------------------------------------------------------


class Animal:
    """A transparent layer on which one animal is painted, part over part, and the animal's colours."""

    def __init__(self, canvas_size: int, rng: np.random.Generator) -> None:
        self.fur, self.markings = _COATS[int(rng.integers(len(_COATS)))]
        self.eye = _EYES[int(rng.integers(len(_EYES)))]
        self.nose = _NOSES[int(rng.integers(len(_NOSES)))]
        self.pattern = ("plain", "stripes", "patches")[int(rng.integers(3))]
        self.is_marked = bool(rng.random() < 0.6)  # light muzzle, chest and paws
        self.muzzle = self.markings if self.is_marked else shaded(self.fur, 1.15)
        self.dark, self.mouth = shaded(self.fur, rng.uniform(0.55, 0.75)), shaded(self.fur, 0.4)
        self.layer = Image.new("RGBA", (canvas_size, canvas_size))
        self.pen = ImageDraw.Draw(self.layer)

    def part(self, frame: Frame, outline: Points, *, brightness: float = 1.0, colour: Colour | None = None) -> None:
        """Paint a part of the body (closed outline, local coordinates) with a darker edge."""
        fill = shaded(colour or self.fur, brightness)
        path = frame.pixels(outline)
        self.pen.polygon(path, fill=fill)
        self.pen.line(path + path[:4], fill=shaded(fill, EDGE), width=frame.width(0.035), joint="curve")

    def detail(self, frame: Frame, outline: Points, colour: Colour) -> None:
        """Paint a small thing without an edge, such as an eye."""
        self.pen.polygon(frame.pixels(outline), fill=colour)

    def line(self, frame: Frame, path: Points, colour: Colour, *, width: float = 0.04) -> None:
        """Draw a thin line, such as a whisker."""
        self.pen.line(frame.pixels(path), fill=colour, width=frame.width(width), joint="curve")

    def mark(self, frame: Frame, outlines: Sequence[np.ndarray], colour: Colour) -> None:
        """Colour the fur painted so far inside the outlines; what would fall beside the animal is cut off."""
        silhouette = self.layer.getchannel("A")
        for outline in outlines:
            self.detail(frame, outline, colour)
        self.layer.putalpha(silhouette)

    def paste_on(self, canvas: Image.Image, rng: np.random.Generator) -> None:
        """Put the animal and its shadow on the canvas, darker towards its edge and on the side away from the light."""
        silhouette = self.layer.getchannel("A")
        reach = canvas.width // 22
        blurred = np.asarray(silhouette.filter(ImageFilter.BoxBlur(reach)))
        shift = rng.integers(-reach, reach + 1, (2, 1))
        rows, columns = np.clip(np.arange(canvas.width) + shift, 0, canvas.width - 1)
        depth = Image.fromarray(blurred[np.ix_(rows, columns)])
        light = depth.point([140 + 115 * value // 255 for value in range(256)])
        canvas.paste(0, (0, 0), depth.point([value // 3 for value in range(256)]))
        canvas.paste(
            ImageChops.multiply(self.layer.convert("RGB"), Image.merge("RGB", [light] * 3)), (0, 0), silhouette
        )


def portrait(animal: Animal, frame: Frame, is_dog: bool, rng: np.random.Generator) -> None:
    """Head and shoulders."""
    shoulders = _symmetric([(0, 0.2), (0.42, 0.4), (0.62, 0.85), (0.7, 1.9), (0, 2.0)])
    animal.part(frame, shoulders, brightness=0.9)
    _coat_pattern(animal, frame.placed((0, 1.0), 0.6), oval(0, 0.1, 0.5, 1.0), rng)
    _head(animal, frame.placed((0, 0.05), 0.62, rng.uniform(-0.25, 0.25)), is_dog, rng)


def sitting(animal: Animal, frame: Frame, is_dog: bool, rng: np.random.Generator) -> None:
    """Sitting, seen from the front."""
    frame = frame.placed((0, 0.06), 0.92)
    plump = rng.uniform(0.85, 1.2)
    _tail(animal, frame.placed((0.3 * plump, 0.72), 1.0, 0.5), is_dog, rng)
    hips = [(0.24 * plump, -0.15), (0.3 * plump, 0.25), (0.44 * plump, 0.7), (0.3, 0.9)]
    animal.part(frame, _symmetric([(0, -0.3), *hips, (0, 0.92)]))
    _coat_pattern(animal, frame.placed((0, 0.3), 0.5), oval(0, -0.36, 0.34 * plump, 0.64), rng)
    paw = animal.markings if animal.is_marked else None
    for side in (-1, 1):
        animal.part(frame, oval(side * 0.37 * plump, 0.88, 0.15, 0.08), brightness=0.92)
        animal.part(frame, limb([(side * 0.13, 0.2), (side * 0.14, 0.5), (side * 0.13, 0.88)], 0.2, 0.15))
        animal.part(frame, oval(side * 0.14, 0.9, 0.11, 0.075), colour=paw)
    _head(animal, frame.placed((0, -0.45), rng.uniform(0.4, 0.5), rng.uniform(-0.25, 0.25)), is_dog, rng)


def standing(animal: Animal, frame: Frame, is_dog: bool, rng: np.random.Generator) -> None:
    """Standing, walking or crouching, seen from the side, facing right."""
    frame = frame.placed((-0.14, 0.06), 0.9)
    height, plump, stride = rng.uniform(0.2, 0.55), rng.uniform(0.85, 1.25), rng.uniform(-0.12, 0.12)
    _tail(animal, frame.placed((-0.52, -0.02), 1.0), is_dog, rng)
    paw = animal.markings if animal.is_marked else None
    for hip, swing, shade in ((-0.4, -stride, 0.72), (0.34, stride, 0.72), (-0.46, stride, 1.0), (0.28, -stride, 1.0)):
        foot = (hip + swing, 0.2 + height)
        knee = ((hip + foot[0]) / 2 - (0.05 if hip < 0 else -0.02), 0.12 + height / 2)
        animal.part(frame, oval(foot[0] + 0.05, foot[1], 0.1, 0.05), brightness=shade, colour=paw)
        animal.part(frame, limb([(hip, 0.05), knee, foot], 0.2, 0.11), brightness=shade)
    animal.part(frame, limb([(0.25, 0.0), (0.45, -0.2), (0.58, -0.42)], 0.38, 0.26))
    back = [(-0.6, 0.0), (-0.45, -0.2), (0.0, -0.18), (0.35, -0.2), (0.52, 0.0)]
    animal.part(frame, _curve([*back, (0.4, 0.2), (0.0, 0.2 * plump), (-0.4, 0.18)]))
    _coat_pattern(animal, frame, oval(0.48, -0.02, 0.12, 0.2), rng)
    head = frame.placed((0.62, -0.5), rng.uniform(0.34, 0.42), rng.uniform(-0.2, 0.3))
    (_head if rng.random() < 0.4 else _head_in_profile)(animal, head, is_dog, rng)


def _tail(animal: Animal, frame: Frame, is_dog: bool, rng: np.random.Generator) -> None:
    """A cat's tail is long, thin and even, a dog's short and tapered. It points left from the frame's origin."""
    tail = frame.placed((0, 0), rng.uniform(0.85, 1.15), rng.uniform(-0.5, 0.3))
    bend = rng.uniform(-0.25, 0.25)
    if is_dog:
        animal.part(tail, limb([(0.1, 0.05), (-0.2, -0.12), (-0.38 - bend / 2, -0.4)], 0.17, 0.05))
    else:
        animal.part(tail, limb([(0.1, 0.05), (-0.25, -0.1), (-0.35, -0.5), (-0.35 - bend, -0.85)], 0.1, 0.08))


def _coat_pattern(animal: Animal, frame: Frame, chest: np.ndarray, rng: np.random.Generator) -> None:
    """Stripes or patches on the body painted so far, within about one unit of the frame's origin; a light chest."""
    places, spread = rng.uniform(-1, 1, (6, 2)) * (0.6, 0.2), rng.uniform(0.6, 1.2, 6)
    if animal.pattern == "patches":
        blobs = [oval(x, y, 0.2 * wide, 0.16 / wide) for (x, y), wide in zip(places, spread, strict=True)]
        animal.mark(frame, blobs[:4], animal.markings if spread[0] < 0.9 else animal.dark)
    elif animal.pattern == "stripes":
        lines = np.linspace(-0.5, 0.45, 6) + places[:, 0] * 0.06
        animal.mark(frame, [limb([(x, -0.35), (x - 0.03, 0.1)], 0.07, 0.03) for x in lines], animal.dark)
    if animal.is_marked:
        animal.mark(frame, [chest], animal.markings)


def _head(animal: Animal, frame: Frame, is_dog: bool, rng: np.random.Generator) -> None:
    """A head seen from the front, about one unit in radius, its face perhaps turned a little."""
    face = frame.placed((rng.uniform(-0.16, 0.16), 0), 1.0)
    splay, length = 0.3 * rng.random(), rng.uniform(0.85, 1.15)
    if is_dog:
        animal.part(frame, _symmetric([(0, -0.86), (0.5, -0.76), (0.8, -0.3), (0.68, 0.3), (0.46, 0.82), (0, 0.98)]))
    else:
        for side in (-1, 1):
            ear = np.array([(0.9, -0.25), (0.7 + splay, -1.32 * length), (0.15, -0.7)]) * (side, 1)
            _pointed_ear(animal, frame, ear)
        animal.part(frame, _symmetric([(0, -0.78), (0.55, -0.7), (0.94, -0.15), (0.9, 0.3), (0.5, 0.72), (0, 0.8)]))
    _forehead(animal, frame, rng)
    if is_dog:
        flap = [(1.0 + splay, -0.1), (0.9 + splay, 0.5 * length), (0.72, 0.4 * length)]
        for side in (-1, 1):
            ear = np.array([(0.42, -0.8), (0.8, -0.78), *flap, (0.66, -0.2)]) * (side, 1)
            animal.part(frame, _curve(ear), brightness=0.6)
    for side in (-1, 1):
        _eye(animal, face.placed((side * (0.34 if is_dog else 0.42), -0.16), 1.0), is_dog)
    (_dog_muzzle if is_dog else _cat_muzzle)(animal, face, rng)


def _head_in_profile(animal: Animal, frame: Frame, is_dog: bool, rng: np.random.Generator) -> None:
    """A head seen from the side, facing right: a long snout and a flap, or a flat face and two points."""
    splay, length = 0.2 * rng.random(), rng.uniform(0.85, 1.15)
    if is_dog:
        tip = [(1.2 * length, 0.0), (1.42 * length, 0.14), (1.3 * length, 0.42)]
        animal.part(frame, oval(-0.1, -0.05, 0.75, 0.72))
        animal.part(frame, _curve([(0.1, -0.3), (0.6, -0.22), *tip, (0.6, 0.55), (0.0, 0.6)]), colour=animal.muzzle)
        animal.detail(frame, oval(1.4 * length, 0.08, 0.15, 0.13), animal.nose)
        animal.line(frame, _curve([(1.3 * length, 0.34), (0.9, 0.36), (0.6, 0.32)], closed=False), animal.mouth)
    else:
        _pointed_ear(animal, frame, np.array([(0.55, -0.55), (0.45 + splay, -1.25 * length), (0.0, -0.6)]))
        animal.part(frame, oval(0, 0, 0.84, 0.76))
        _pointed_ear(animal, frame, np.array([(0.12, -0.5), (-0.3 - splay, -1.35 * length), (-0.65, -0.4)]))
        animal.detail(frame, oval(0.62, 0.3, 0.3, 0.26), animal.muzzle)
        animal.detail(frame, oval(0.88, 0.16, 0.1, 0.08), animal.nose)
    _forehead(animal, frame.placed((0.1, 0.05), 0.8), rng)
    if is_dog:
        flap = [(0.0, 0.1), (-0.25, 0.7 * length), (-0.6 - splay, 0.5 * length)]
        animal.part(frame, _curve([(-0.35, -0.55), (0.1, -0.5), *flap, (-0.55, -0.1)]), brightness=0.6)
    _eye(animal, frame.placed((0.36, -0.18), 1.0), is_dog)


def _pointed_ear(animal: Animal, frame: Frame, corners: np.ndarray) -> None:
    """A triangular ear (3, 2): outer corner, tip, inner corner; its inside shows skin."""
    middle = corners.mean(axis=0)
    animal.part(frame, corners)
    animal.detail(frame, middle + 0.55 * (corners - middle), _SKIN)


def _forehead(animal: Animal, frame: Frame, rng: np.random.Generator) -> None:
    """Three stripes, a patch over one eye or a blaze, after the coat's pattern."""
    side = rng.choice((-1, 1))
    if animal.pattern == "stripes":
        stripes = [limb([(x, -0.85), (0.8 * x, -0.45)], 0.12, 0.05) for x in (-0.26, 0.0, 0.26)]
        animal.mark(frame, stripes, animal.dark)
    elif animal.pattern == "patches":
        animal.mark(frame, [oval(side * 0.42, -0.25, 0.34, 0.36)], animal.dark)
    elif animal.is_marked:
        animal.mark(frame, [limb([(0, -0.8), (0, 0.2)], 0.12, 0.3)], animal.markings)


def _eye(animal: Animal, frame: Frame, is_dog: bool) -> None:
    radius, pupil = (0.13, (0.08, 0.09)) if is_dog else (0.24, (0.08, 0.18))
    animal.detail(frame, oval(0, 0, radius + 0.04, radius + 0.02), _PUPIL)
    animal.detail(frame, oval(0, 0, radius, radius * 0.9), animal.eye)
    animal.detail(frame, oval(0, 0, *pupil), _PUPIL)
    animal.detail(frame, oval(0.06, -0.07, 0.045, 0.045), _GLINT)


def _cat_muzzle(animal: Animal, frame: Frame, _rng: np.random.Generator) -> None:
    """Two small cheeks, a small triangular nose, whiskers."""
    for side in (-1, 1):
        animal.detail(frame, oval(side * 0.17, 0.38, 0.24, 0.2), animal.muzzle)
    lips = [(-0.3, 0.46), (-0.14, 0.52), (0, 0.4), (0.14, 0.52), (0.3, 0.46)]
    animal.line(frame, _curve(lips, closed=False), animal.mouth)
    animal.detail(frame, [(-0.14, 0.19), (0.14, 0.19), (0.0, 0.36)], animal.nose)
    for side in (-1, 1):
        for rise in (-0.14, 0.02, 0.16):
            whisker = [(side * 0.3, 0.36 + rise / 3), (side * 1.15, 0.34 + rise * 1.6)]
            animal.line(frame, whisker, _WHISKER, width=0.035)


def _dog_muzzle(animal: Animal, frame: Frame, rng: np.random.Generator) -> None:
    """A long, broad muzzle with a large nose; sometimes the tongue hangs out."""
    if rng.random() < 0.35:
        animal.part(frame, limb([(0.04, 0.75), (0.06, 1.15)], 0.26, 0.24), colour=_TONGUE)
    snout = _symmetric([(0, 0.02), (0.3, 0.12), (0.44, 0.5), (0.34, 0.82), (0, 0.9)])
    animal.part(frame, snout, colour=animal.muzzle)
    lips = [(-0.32, 0.66), (-0.14, 0.74), (0, 0.6), (0.14, 0.74), (0.32, 0.66)]
    animal.line(frame, _curve(lips, closed=False), animal.mouth)
    animal.line(frame, [(0, 0.35), (0, 0.62)], animal.mouth)
    animal.detail(frame, oval(0, 0.28, 0.26, 0.19), animal.nose)
    animal.detail(frame, oval(-0.07, 0.21, 0.07, 0.035), shaded(animal.nose, 1.6))
