"""Every mode that Pillow reads becomes upright RGB; what starts programs or fills the memory is not opened at all."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from make_pictures import QUARTERS, encoded, noise, quarters
from PIL import Image, features
from test_sources import corners

from catdog_ray.decoding import Unreadable, decode, decoders, measure


def grey(values: list[float], kind: type, *, file: str = "TIFF") -> np.ndarray:
    """The four quarters' grey levels of a decoded picture with these values."""
    image = Image.fromarray(np.array(values, kind).reshape(2, 2).repeat(8, axis=0).repeat(8, axis=1))
    found = np.array(corners(decode(encoded(image, file), 16)))
    assert (found[:, 0] == found[:, 1]).all()
    assert (found[:, 0] == found[:, 2]).all()
    return found[:, 0]


@pytest.mark.parametrize("file", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_by_its_full_range(file: str) -> None:
    assert grey([0, 0x40FF, 0x8000, 0xFFFF], np.uint16, file=file).tolist() == [0, 0x40, 0x80, 0xFF]
    # A dark picture stays dark.
    assert grey([0, 255, 512, 1024], np.uint16, file=file).tolist() == [0, 0, 2, 4]


def test_sixteen_bit_portable_greymaps() -> None:
    """Pillow reads them into 32 bits."""
    content = b"P5 2 2 65535\n" + struct.pack(">4H", 0, 0x4000, 0x8000, 0xFFFF)
    assert decode(content, 2)[:, :, 0].ravel().tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([0, 64, 128, 255], np.int32, [0, 64, 128, 255]),
        ([0, 0x4000, 0x8000, 0xFFFF], np.int32, [0, 64, 128, 255]),
        ([0, 250_000, 500_000, 1_000_000], np.int32, [0, 64, 128, 255]),
        ([-5, 64, 128, 255], np.int32, [0, 64, 128, 255]),
        ([0, 0.25, 0.5, 1], np.float32, [0, 64, 128, 255]),
        ([0, 64, 128, 255], np.float32, [0, 64, 128, 255]),
        ([np.nan, -np.inf, 0.5, 1], np.float32, [0, 0, 128, 255]),
        ([0, 0, 0, 0], np.float32, [0, 0, 0, 0]),
    ],
)
def test_wide_grey_is_scaled_not_cut(values: list[float], kind: type, expected: list[int]) -> None:
    assert np.abs(grey(values, kind).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("file", ["JPEG", "TIFF"])
def test_cmyk(file: str) -> None:
    found = np.array(corners(decode(encoded(quarters().convert("CMYK"), file), 16)))
    assert np.abs(found - np.array(QUARTERS)).max() <= 24


def test_lab() -> None:
    image = Image.merge("LAB", [Image.new("L", (8, 8), v) for v in (138, 208, 195)])  # red, in Pillow's offsets
    red, green, blue = corners(decode(encoded(image, "TIFF"), 16))[0]
    assert red > 150 > 80 > max(green, blue)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr", "CMYK"])
def test_every_mode_that_tiff_holds(mode: str) -> None:
    image = quarters().convert("LA").convert("PA") if mode == "PA" else quarters().convert(mode)
    try:
        content = encoded(image, "TIFF")
    except (OSError, KeyError):
        pytest.skip(f"TIFF holds no {mode}")
    assert decode(content, 16).shape == (16, 16, 3)
    assert measure(content)[2:] == (16, 16)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_keep_their_stored_colour(mode: str) -> None:
    image = quarters().convert(mode)
    image.putalpha(0)
    assert corners(decode(encoded(image), 16)) == corners(np.asarray(quarters().convert(mode[:-1]).convert("RGB")))


@pytest.mark.parametrize("file", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_counts(file: str) -> None:
    if file == "WEBP" and not features.check("webp"):
        pytest.skip("this Pillow has no WEBP")
    first, second = Image.new("RGB", (16, 16), (200, 30, 40)), Image.new("RGB", (16, 16), (10, 20, 220))
    content = encoded(first, file, save_all=True, append_images=[second])
    with Image.open(io.BytesIO(content)) as image:
        assert image.n_frames == 2
    assert np.abs(np.array(corners(decode(content, 16))) - (200, 30, 40)).max() <= 6


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"this is a text called .jpg", "no picture, or of no known format"),
        (b"", "no picture, or of no known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture, or of no known format"),
        (encoded(noise(1, width=60, height=60), "JPEG")[:-300], "image file is truncated"),
    ],
)
def test_the_reason_is_told(content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=f"^{reason}"):
        decode(content, 8)


def test_postscript_starts_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would hand it to Ghostscript."""
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("a program was started"))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    content = encoded(quarters(), "EPS")
    with pytest.raises(Unreadable):
        decode(content, 8)
    with pytest.raises(Unreadable):
        measure(content)


def large_png(side: int) -> bytes:
    """A whole PNG of `side` x `side` equal RGBA pixels in a few kilobytes."""
    packer, rows = zlib.compressobj(1), b"\0" + bytes(4 * side)
    data = b"".join(packer.compress(rows) for _ in range(side)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.slow
def test_the_largest_pictures_stay_within_the_stated_memory(tmp_path: Path) -> None:
    """Four at once of the largest that are decoded at all, in a process that may take 1.25 GiB beyond its start."""
    (tmp_path / "large.png").write_bytes(large_png(7999))
    program = f"""
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from catdog_ray.decoding import decode
content = Path({str(tmp_path / "large.png")!r}).read_bytes()
decode(b"P5 1 1 255\\n ", 8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(4) as threads:
    shapes = list(threads.map(lambda _: decode(content, 32).shape, range(4)))
assert shapes == [(32, 32, 3)] * 4
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1.25 * 2**30


def test_an_error_ends_the_decoding_of_what_waits() -> None:
    started, go = [], threading.Event()

    def work(number: int) -> None:
        started.append(number)
        go.wait(5)

    with pytest.raises(KeyboardInterrupt), decoders() as threads:
        for number in range(500):
            threads.submit(work, number)
        go.set()
        raise KeyboardInterrupt
    assert len(started) < 500


def test_warnings_are_as_before_after_decoding() -> None:
    with warnings.catch_warnings():
        before = list(warnings.filters)
        with decoders():
            pass
        assert warnings.filters == before
