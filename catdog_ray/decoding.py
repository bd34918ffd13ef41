"""The content of one picture file becomes upright RGB pixels of the wanted size, or `Unreadable` with the reason."""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import numpy as np
from PIL import Image, ImageCms, ImageOps

LARGEST_FILE_BYTES = 64 * 2**20
LARGEST_IMAGE_PIXELS = 64_000_000

FORMATS = (
    *("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "JPEG2000"),
    *("PPM", "TGA", "PCX", "ICO", "DDS", "SGI"),
)
"""Pillow reads more, but some of those start programs (EPS) or load code; a data set of pictures needs none of them."""

_LARGE_PIXELS = 2**24
# Only so many pictures beyond `_LARGE_PIXELS` are decoded at once, so that memory does not grow with the cores.
_LARGE_AT_ONCE = threading.BoundedSemaphore(2)


class Unreadable(Exception):
    """One file cannot be read or is no image."""


def decode(content: bytes, image_size: int) -> np.ndarray:
    """One picture file as upright RGB (image_size, image_size, 3) uint8, both sides scaled to fit.

    Of an animation the first frame counts. Transparency is dropped: a pixel keeps the colour that is stored for it.
    Raises Unreadable if it is no image of `FORMATS`, damaged, or larger than 64 megapixels.
    """
    try:
        with _LARGE_AT_ONCE if _pixels(content, image_size) > _LARGE_PIXELS else nullcontext():
            return _decode(content, image_size)
    except Unreadable:
        raise
    except Exception as error:  # Pillow's plugins raise nearly everything on damaged files
        raise Unreadable(reason(error)) from error


def _pixels(content: bytes, image_size: int) -> int:
    """How many pixels `_decode` will hold, by the header alone. Raises Unreadable where they are too many."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > LARGEST_IMAGE_PIXELS:
            raise Unreadable("too many pixels")
        image.draft("RGB", (2 * image_size, 2 * image_size))
        return image.width * image.height


def _decode(content: bytes, image_size: int) -> np.ndarray:
    """All that is large is gone when this returns."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        # For a JPEG: decode at the smallest scale that is still at least twice as large as wanted.
        image.draft("RGB", (2 * image_size, 2 * image_size))
        ImageOps.exif_transpose(image, in_place=True)
        return np.asarray(_to_rgb(image).resize((image_size, image_size), Image.Resampling.BILINEAR))


def encode(pixels: np.ndarray) -> bytes:
    """Pixels (height, width, 3) uint8 as a PNG file's content."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def measure(content: bytes) -> tuple[str, str, int, int]:
    """(format, Pillow's mode, width, height) as the file's header says. Raises Unreadable."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return str(image.format), image.mode, image.width, image.height
    except Exception as error:  # as in `decode`
        raise Unreadable(reason(error)) from error


@contextmanager
def decoders() -> Iterator[ThreadPoolExecutor]:
    """Threads to decode in, one per core that this process may use (Pillow works outside Python's lock).

    Pillow's warnings are off in the block: what is odd about a picture is told by name, not on stderr. Where the block
    is left by an error, pictures that wait are not decoded any more.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        try:
            yield threads
        finally:
            threads.shutdown(cancel_futures=True)


def reason(error: BaseException) -> str:
    """The first line of an error's text, or its name."""
    lines = str(error).strip().splitlines()
    # Pillow says this of every file that it does not know, with the address of our buffer.
    if lines and lines[0].startswith("cannot identify image file"):
        return "no picture, or of no known format"
    # As Python spells it: what a terminal would obey is escaped.
    return repr(lines[0][:200])[1:-1] if lines else type(error).__name__


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":
        return ImageCms.profileToProfile(  # type: ignore[return-value]
            image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    if image.mode in ("La", "RGBa"):
        # Premultiplied by alpha: Pillow converts these by way of LA and RGBA only.
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    return image.convert("RGB")


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey of 16 or 32 bits, or of floats, as uint8: from the full scale that the values fit in, never cut at 255.

    Full scale is 65,535 for 16-bit kinds; for wider ones it is the smallest of 1 (floats only), 255, 65,535 and the
    largest value that holds them all. What is negative or no number is black.
    """
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    grey = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(grey.max(initial=0.0))
    scales = [1.0] if values.dtype.kind == "f" else []
    full = next((scale for scale in (*scales, 255.0, 65535.0) if largest <= scale), largest)
    return (grey.clip(0, full) * (255 / full)).round().astype(np.uint8)
