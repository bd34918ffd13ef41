"""Files and archives: how a picture is decoded, what is refused, and which layout a data set must have."""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from make_pictures import QUARTERS, encoded, noise, pets, quarters, write_folder, write_zip
from PIL import Image, features

from catdog_ray import sources
from catdog_ray.decoding import Unreadable, decode
from catdog_ray.errors import DataError, UserError
from catdog_ray.layout import find_layout
from catdog_ray.sources import FolderReader, ZipReader

LAYOUT = "expected train/<class>/<images> and validation/<class>/<images> with two classes or more"


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """The colour in the middle of each quarter, row by row."""
    quarter = len(pixels) // 4
    return [tuple(pixels[y, x].tolist()) for y in (quarter, 3 * quarter) for x in (quarter, 3 * quarter)]


# ---- one picture --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(12, 10), (10, 31), (8, 8), (1, 1), (300, 2)])
def test_any_picture_becomes_a_small_square(width: int, height: int) -> None:
    pixels = decode(encoded(noise(0, width=width, height=height)), 8)
    assert pixels.shape == (8, 8, 3)
    assert pixels.dtype == np.uint8


def test_a_picture_of_the_wanted_size_keeps_its_pixels() -> None:
    image = noise(1, width=8, height=8)
    np.testing.assert_array_equal(decode(encoded(image), 8), np.asarray(image))


def test_a_larger_picture_is_averaged() -> None:
    """A checkerboard of single pixels is grey when it is reduced, not black or white."""
    board = Image.fromarray((np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8))
    pixels = decode(encoded(board), 8)
    assert 120 <= pixels[2:6, 2:6].min() <= pixels[2:6, 2:6].max() <= 135


TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera stores an upright scene under each EXIF orientation (6: turned by a quarter, to be turned back)."""


@pytest.mark.parametrize("orientation", TURNS)
def test_pictures_are_turned_upright(orientation: int) -> None:
    turn = TURNS[orientation]
    stored = quarters() if turn is None else quarters().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert corners(decode(encoded(stored, exif=exif), 16)) == list(QUARTERS)
    from_jpeg = np.array(corners(decode(encoded(stored, "JPEG", quality=95, subsampling=0, exif=exif), 16)))
    assert np.abs(from_jpeg - QUARTERS).max() <= 12


def test_a_large_photograph_is_upright_too() -> None:
    """JPEGs much larger than wanted are decoded at a fraction of their size."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = quarters(256).transpose(Image.Transpose.ROTATE_90)
    found = np.array(corners(decode(encoded(stored, "JPEG", quality=95, exif=exif), 16)))
    assert np.abs(found - QUARTERS).max() <= 12


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1"])
def test_every_mode_becomes_red_green_and_blue(mode: str) -> None:
    image = quarters().convert(mode)
    found = decode(encoded(image), 16)
    assert found.shape == (16, 16, 3)
    assert corners(found) == corners(np.asarray(image.convert("RGB")))
    if mode in ("RGB", "RGBA"):
        assert corners(found) == list(QUARTERS)


def test_a_grey_picture_has_three_equal_channels() -> None:
    pixels = decode(encoded(Image.new("L", (8, 8), 100)), 8)
    np.testing.assert_array_equal(pixels, np.full((8, 8, 3), 100))


def test_a_printers_jpeg_has_its_colours() -> None:
    image = quarters().convert("CMYK")
    found = np.array(corners(decode(encoded(image, "JPEG", quality=95, subsampling=0), 16)))
    assert np.abs(found - np.array(corners(np.asarray(image.convert("RGB"))))).max() <= 12


def test_sixteen_bits_of_grey_keep_their_brightness() -> None:
    """Pillow cuts 16-bit values at 255 when it converts them, which would make nearly every picture white."""
    image = Image.fromarray(np.full((8, 8), 0x4000, np.uint16))
    pixels = decode(encoded(image), 8)
    assert 63 <= pixels.min() <= pixels.max() <= 65


def test_a_palette_with_transparency() -> None:
    image = quarters().convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    assert corners(decode(encoded(image, "PNG", transparency=0), 16)) == list(QUARTERS)
    assert corners(decode(encoded(image, "GIF"), 16)) == list(QUARTERS)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"this is a text and no picture",
        b"\xff\xd8\xff",
        encoded(noise(2), "JPEG")[:-60],
        encoded(noise(2))[:100],
        b"GIF89a" + bytes(20),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
    ids=["empty", "text", "three bytes", "torn JPEG", "torn PNG", "GIF header", "SVG"],
)
def test_what_is_no_picture(content: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(content, 8)


def large_png(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels."""
    content = bytearray(encoded(Image.new("1", (8, 8))))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize(("width", "height"), [(8001, 8000), (10_000, 9_500), (20_000, 20_000), (1_000_000, 1_000_000)])
def test_pictures_too_large_to_decode(width: int, height: int) -> None:
    """Refused by the header alone, in less than the time and memory that their pixels would take."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Unreadable, match=r"too many pixels|exceeds limit"):
            decode(large_png(width, height), 8)


def damaged(content: bytes, *, stride: int) -> Iterator[bytes]:
    """The content with single bytes changed, at the front most densely, where headers and EXIF stand."""
    for index in [*range(0, min(220, len(content)), stride), *range(220, len(content), 23 * stride)]:
        for value in (0, 1, 2, 4, 7, 10, 255, content[index] ^ 0x10):
            yield content[:index] + bytes([value]) + content[index + 1 :]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "DDS", "ICO", "PPM", "TGA"])
def test_a_damaged_file_is_unreadable_and_nothing_worse(kind: str) -> None:
    """One bad file among thousands must be counted, not end the run with a traceback."""
    if kind in ("WEBP", "AVIF") and not features.check(kind.lower()):
        pytest.skip(f"this Pillow has no {kind}")
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    options = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "AVIF") else {}
    content = encoded(noise(3), kind, **options)
    worse = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for changed in damaged(content, stride=3 if kind == "AVIF" else 1):
            try:
                decode(changed, 8)
            except Unreadable:
                pass
            except Exception as error:
                worse.add(f"{type(error).__name__}: {error}")
    assert worse == set()


def test_decoding_in_threads_leaves_the_warning_filters_alone() -> None:
    """`warnings.catch_warnings` is not for threads: two that overlap can leave warnings off for good."""
    content = encoded(noise(4))
    interval = sys.getswitchinterval()
    with warnings.catch_warnings():
        before = list(warnings.filters)
        sys.setswitchinterval(1e-6)
        try:
            for _ in range(20):
                start = threading.Barrier(4)

                def work(start: threading.Barrier = start) -> None:
                    start.wait()
                    for _ in range(10):
                        decode(content, 8)

                with ThreadPoolExecutor(4) as threads:
                    for job in [threads.submit(work) for _ in range(4)]:
                        job.result()
                assert warnings.filters == before
        finally:
            sys.setswitchinterval(interval)


# ---- readers ------------------------------------------------------------------------------------------------------


def test_a_folder_and_its_archive_hold_the_same(tmp_path: Path) -> None:
    files = {**pets(train=2, validation=1), "empty/": b"", "notes.txt": b"hello"}
    folder = FolderReader(write_folder(tmp_path / "pets", files))
    archive = ZipReader(write_zip(tmp_path / "pets.zip", files))
    assert set(archive.names()) == set(files)
    assert {name for name in folder.names() if not name.endswith("/")} == {n for n in files if not n.endswith("/")}
    assert {"empty/", "train/", "train/cats/", "validation/dogs/"} <= set(folder.names())
    for name, content in files.items():
        if not name.endswith("/"):
            assert folder.read(name) == archive.read(name) == content


def test_identity_follows_the_content(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets", {"a.png": b"one", "b.png": b"two"})
    names = ["a.png", "b.png"]
    before = list(FolderReader(root).identity(names))
    assert list(FolderReader(root).identity(names)) == before
    (root / "b.png").write_bytes(b"2wo")
    after = list(FolderReader(root).identity(names))
    assert after[0] == before[0]
    assert after[1] != before[1]
    one = write_zip(tmp_path / "one.zip", {"a.png": b"one"})
    (tmp_path / "same.zip").write_bytes(one.read_bytes())
    other = write_zip(tmp_path / "other.zip", {"a.png": b"two"})
    first, same, another = (list(ZipReader(p).identity(["a.png"])) for p in (one, tmp_path / "same.zip", other))
    assert len(first) == 1
    assert first == same != another


def test_a_file_that_went_away(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        FolderReader(tmp_path).read("gone.png")


def test_files_beyond_64_mib_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    with pytest.raises(Unreadable, match="too large"):
        FolderReader(tmp_path).read("large.jpg")
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(tmp_path / "large.jpg", "large.jpg")
    with pytest.raises(Unreadable, match="too large"):
        ZipReader(path).read("large.jpg")
    # An archive that lies about the size is not believed.
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 100)
    path.write_bytes(content)
    with pytest.raises(Unreadable):
        decode(ZipReader(path).read("large.jpg"), 8)


def test_encrypted_and_damaged_entries(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "pets.zip", {"secret.png": encoded(noise(5)), "good.png": encoded(noise(6))})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(Unreadable, match="encrypted"):
        ZipReader(path).read("secret.png")
    assert ZipReader(path).read("good.png") == encoded(noise(6))
    content = bytearray(write_zip(path, {"bad.png": encoded(noise(5))}).read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(Unreadable, match="CRC-32"):
        ZipReader(path).read("bad.png")


@pytest.mark.parametrize("content", [b"", b"not a zip archive at all", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_archive(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pets.zip"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        ZipReader(path)
    assert str(caught.value) == (
        f"{path}: is no readable zip archive (File is not a zip file); download or pack it again"
    )


def test_an_archive_whose_end_is_missing(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "pets.zip", pets(train=2, validation=1))
    for share in (0.5, 0.9, 0.999):
        torn = tmp_path / "torn.zip"
        torn.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(
            DataError, match=r"torn\.zip: is no readable zip archive \(.*\); download or pack it again$"
        ):
            ZipReader(torn)


@pytest.mark.parametrize("name", ["../evil.jpg", "train/../../evil.jpg", "/evil.jpg", "train\\cats\\evil.jpg", ".."])
def test_names_that_point_outside_an_archive(name: str, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "pets.zip", {"train/cats/0.png": b"", name: b""})
    with pytest.raises(DataError) as caught:
        ZipReader(path)
    assert str(caught.value) == f"{path}: refused, its entry {name!r} points outside the archive"


def test_names_with_dots_are_no_danger(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "pets.zip", {"train/cats/a..b.png": b"x", "...": b"y"})
    assert list(ZipReader(path).names()) == ["train/cats/a..b.png", "..."]


def zip_with(path: Path, *entries: tuple[str, bytes, int]) -> Path:
    """An archive of (name, content, mode of the file)."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # a name that stands in it twice
        for name, content, mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return path


def test_a_name_that_stands_in_an_archive_twice(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "twice.zip", ("train/cats/a.png", b"1", 0), ("train/cats/a.png", b"2", 0))
    with pytest.raises(DataError, match=r"twice\.zip: refused, its entry 'train/cats/a\.png' stands in it twice$"):
        ZipReader(path)
    path = zip_with(path, ("train/cats/a.png", b"1", 0), ("train/cats/./a.png", b"2", 0))
    with pytest.raises(DataError, match=r"its entry 'train/cats/\./a\.png' stands in it twice$"):
        ZipReader(path)


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "link.zip", ("train/cats/a.png", b"/etc/passwd", 0o120777))
    with pytest.raises(Unreadable, match="a symbolic link, which is not followed"):
        ZipReader(path).read("train/cats/a.png")


def test_an_archive_that_unpacks_to_far_more_than_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each entry alone would be read."""
    monkeypatch.setattr(sources, "_LARGEST_TOTAL", 2**20)
    content = bytes(2**20)
    path = zip_with(tmp_path / "bomb.zip", *((f"train/cats/{i}.bmp", content, 0) for i in range(20)))
    with pytest.raises(DataError, match=r"bomb\.zip: refused, its [\d,]+ bytes unpack to 20,971,520, more than 100"):
        ZipReader(path)
    assert path.stat().st_size < 2**15


@pytest.mark.slow
def test_a_hundred_thousand_entries(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "many.zip", {f"train/cats/{i:06d}.png": b"" for i in range(100_000)})
    started = time.monotonic()
    assert len(list(ZipReader(path).names())) == 100_000
    assert time.monotonic() - started < 20


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_FILES", 10)
    files = {f"{i}.png": b"" for i in range(11)}
    with pytest.raises(DataError, match="refused, it holds more than 10 entries"):
        ZipReader(write_zip(tmp_path / "many.zip", files))
    with pytest.raises(DataError, match="refused, it holds more than 10 files"):
        list(FolderReader(write_folder(tmp_path / "many", files)).names())


def test_folders_linked_into_each_other_end(tmp_path: Path) -> None:
    """Eight links to the folder itself, followed eight deep, would be 16 million folders."""
    for number in range(8):
        (tmp_path / f"again{number}").symlink_to(tmp_path)
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "a.png").write_bytes(b"x")
    (tmp_path / "dogs").symlink_to(tmp_path / "cats")
    assert set(FolderReader(tmp_path).names()) == {"cats/", "cats/a.png", "dogs/", "dogs/a.png"}


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zeros.jpg").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "zeros.jpg"):
        with pytest.raises(Unreadable, match="no regular file"):
            FolderReader(tmp_path).read(name)


def test_names_that_are_no_text_and_names_that_a_terminal_obeys(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets", pets(train=2, validation=1, classes=("cats", "dogs")))
    (root / "train" / "cats" / "\x1b[2J.png").write_bytes(encoded(noise(1)))
    (Path(os.fsdecode(os.fsencode(root / "train" / "dogs") + b"/\xff.png"))).write_bytes(encoded(noise(2)))
    reader = FolderReader(root)
    entries, _ = find_layout("pets", sorted(reader.names()))
    shown = [shown for _, shown, _ in entries["train"]]
    assert r"train/cats/\x1b[2J.png" in shown
    assert r"train/dogs/\udcff.png" in shown
    assert all(reader.read(name) for name, _, _ in entries["train"])


# ---- the layout ---------------------------------------------------------------------------------------------------

PLAIN = ["train/cats/a.jpg", "train/dogs/b.jpg", "validation/cats/c.jpg", "validation/dogs/d.jpg"]


@pytest.mark.parametrize("top", ["", "cats_and_dogs_filtered/", "./", "Übung 1/"])
def test_the_layout_is_found_at_the_top_or_one_folder_below(top: str) -> None:
    entries, classes = find_layout("pets", [top + name for name in PLAIN])
    assert classes == ("cats", "dogs")
    assert entries == {
        "train": [(f"{top}train/cats/a.jpg", "train/cats/a.jpg", 0), (f"{top}train/dogs/b.jpg", "train/dogs/b.jpg", 1)],
        "validation": [
            (f"{top}validation/cats/c.jpg", "validation/cats/c.jpg", 0),
            (f"{top}validation/dogs/d.jpg", "validation/dogs/d.jpg", 1),
        ],
    }


def test_classes_are_sorted_and_need_not_be_cats_and_dogs() -> None:
    names = [f"{split}/{name}/1.jpg" for split in ("validation", "train") for name in ("zebras", "ants", "Moths", "10")]
    entries, classes = find_layout("zoo", names)
    assert classes == ("10", "Moths", "ants", "zebras")
    assert [(shown, label) for _, shown, label in entries["train"]] == [
        ("train/10/1.jpg", 0),
        ("train/Moths/1.jpg", 1),
        ("train/ants/1.jpg", 2),
        ("train/zebras/1.jpg", 3),
    ]


@pytest.mark.parametrize(
    "extra",
    [
        ".DS_Store",
        "train/.DS_Store",
        "train/cats/.DS_Store",
        "train/cats/._a.jpg",
        "train/.hidden/e.jpg",
        ".cache/train/cats/e.jpg",
        "__MACOSX/train/cats/._a.jpg",
        "__MACOSX/validation/cats/e.jpg",
        "README.md",
        "train/README.md",
        "vectorize.py",
        "docs/",
        "train/",
        "train/cats/",
    ],
)
def test_what_does_not_belong_to_the_data_is_ignored(extra: str) -> None:
    assert find_layout("pets", [*PLAIN, extra]) == find_layout("pets", PLAIN)


def test_what_macos_packs_beside_the_data_is_no_second_data_set() -> None:
    mirror = [f"__MACOSX/{name}" for name in PLAIN] + ["__MACOSX/train/cats/", "__MACOSX/validation/dogs/"]
    assert find_layout("pets", [*PLAIN, *mirror]) == find_layout("pets", PLAIN)


def test_a_class_may_be_called_like_a_split() -> None:
    names = [f"{split}/{name}/1.jpg" for split in ("train", "validation") for name in ("train", "validation")]
    entries, classes = find_layout("odd", names)
    assert classes == ("train", "validation")
    assert [shown for _, shown, _ in entries["validation"]] == ["validation/train/1.jpg", "validation/validation/1.jpg"]


ALONE = "or give the class folders in train/ alone, of which data.test_share becomes validation"
ONE_FOLDER = "give one of them alone"
ONE_CLASS = "train/ holds one class only (cats); put a folder of each other class beside it"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "wrong layout: found no files"),
        (
            ["a.jpg", "b.jpg"],
            "wrong layout: found files such as a.jpg and no folders; "
            "move the pictures of each class into a folder of its own",
        ),
        (
            ["a.jpg", "cats/b.jpg"],
            "wrong layout: found cats/; this is one class only: put a folder of each other class beside it",
        ),
        (
            ["train/cats/a.jpg", "train/dogs/b.jpg"],
            f"wrong layout: found train/; add validation/<class>/, {ALONE}",
        ),
        (
            ["validation/cats/a.jpg", "validation/dogs/b.jpg"],
            f"wrong layout: found validation/; add train/<class>/, {ALONE.replace('train/', 'validation/')}",
        ),
        (
            ["train/a.jpg", "validation/b.jpg"],
            "wrong layout: found train/ and validation/; train/ and validation/ have no class folders: "
            "move the pictures of each class into train/<class>/ and validation/<class>/",
        ),
        (
            ["train/a.jpg", "validation/cats/b.jpg"],
            "wrong layout: found train/ and validation/; train/ has no class folders: "
            "move the pictures of each class into train/<class>/",
        ),
        (
            [*PLAIN[:2], "test/c.jpg"],
            "wrong layout: found train/ and test/; test/ has no class folders: "
            f"sort its pictures into validation/<class>/, {ALONE}",
        ),
        (
            [
                name.replace("train/", "training_set/training_set/").replace("validation/", "test_set/test_set/")
                for name in PLAIN
            ],
            "wrong layout: found training_set/ and test_set/; move what is in training_set/training_set/ to train/",
        ),
        (
            [name.replace("validation/", "val/") for name in PLAIN],
            "wrong layout: found train/ and val/; rename val/ to validation/",
        ),
        (
            [name.replace("validation/", "pets/test_set/").replace("train/", "pets/train/") for name in PLAIN],
            "wrong layout: found train/ and test_set/ in pets/; rename test_set/ to validation/",
        ),
        (
            ["Train/cats/a.jpg", "Train/dogs/b.jpg", "Valid/cats/c.jpg", "Valid/dogs/d.jpg", "test/e.jpg"],
            "wrong layout: found Train/, Valid/ and test/; rename Train/ to train/ and Valid/ to validation/",
        ),
        (
            [f"two/folders/{name}" for name in PLAIN],
            "wrong layout: found train/ and validation/ in two/folders/; give (or pack) the folder folders/ itself",
        ),
        (
            ["one/train/cats/a.jpg", "other/validation/cats/b.jpg"],
            "wrong layout: found one/ and other/; "
            "put train/ and validation/ beside each other, and the classes into both: train/<class>/",
        ),
        (
            [f"{top}/{name}" for top in ("one", "other") for name in PLAIN],
            f"wrong layout: found several folders with train/ and validation/, one/ and other/; {ONE_FOLDER}",
        ),
        (
            [*PLAIN, *(f"copy/{name}" for name in PLAIN)],
            f"wrong layout: found several folders with train/ and validation/, the top and copy/; {ONE_FOLDER}",
        ),
        (["train/cats/a.jpg", "validation/cats/b.jpg"], ONE_CLASS),
        (["train/cats/a.jpg", "validation/cats/b.jpg", "validation/dogs/c.jpg"], ONE_CLASS),
        (
            [*PLAIN[:3]],
            "class 'dogs' is missing in validation/; put pictures into validation/dogs/, or remove train/dogs/",
        ),
        (
            [*PLAIN, "validation/birds/e.jpg"],
            "class 'birds' is missing in train/; put pictures into train/birds/, or remove validation/birds/",
        ),
        (
            [*PLAIN, "train/birds/e.jpg"],
            "class 'birds' is missing in validation/; put pictures into validation/birds/, or remove train/birds/",
        ),
        (
            [*PLAIN, "train/birds/", "validation/birds/e.jpg"],
            "class 'birds' is empty in train/; put pictures into train/birds/, or remove validation/birds/",
        ),
        (
            [*PLAIN[:3], "validation/dogs/"],
            "class 'dogs' is empty in validation/; put pictures into validation/dogs/, or remove train/dogs/",
        ),
        (
            [*PLAIN[:3], "validation/dogs/.DS_Store", "validation/dogs/"],
            "class 'dogs' is empty in validation/; put pictures into validation/dogs/, or remove train/dogs/",
        ),
        (
            [*PLAIN[:2], "validation/Cat/c.jpg", "validation/dog/d.jpg"],
            "train/ alone has cats/ and dogs/, validation/ alone has Cat/ and dog/; "
            "rename validation/Cat/ to cats/ and validation/dog/ to dogs/",
        ),
        (
            [*PLAIN[:2], "validation/cats/c.jpg", "validation/hounds/d.jpg"],
            "train/ alone has dogs/, validation/ alone has hounds/; give each class one name in both",
        ),
    ],
)
def test_wrong_layouts_are_told_apart(names: list[str], expected: str) -> None:
    with pytest.raises(DataError) as caught:
        find_layout("pets.zip", names)
    assert str(caught.value) == f"pets.zip: {expected}; {LAYOUT}"


def test_errors_of_the_data_are_the_users_to_cure() -> None:
    assert issubclass(DataError, UserError)
    assert not issubclass(Unreadable, UserError)


# ---- classes alone ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "shapes/"])
def test_classes_alone_are_split(top: str) -> None:
    names = [f"{top}{name}/{i}.png" for name in ("circle", "square", "star") for i in range(10)] + ["README.md"]
    entries, classes = find_layout("shapes", names, test_share=0.2, seed=3)
    assert classes == ("circle", "square", "star")
    for label, name in enumerate(classes):
        for split, count in (("train", 8), ("validation", 2)):
            mine = [entry for entry in entries[split] if entry[2] == label]
            assert len(mine) == count
            assert all(shown.startswith(f"{split}/{name}/") for _, shown, _ in mine)
    assert sorted(name for split in entries.values() for name, _, _ in split) == sorted(names[:-1])
    assert find_layout("shapes", names, test_share=0.2, seed=3)[0] == entries
    assert find_layout("shapes", names, test_share=0.2, seed=4)[0] != entries


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            [f"cats/{i}.png" for i in range(10)],
            "found cats/; this is one class only: put a folder of each other class beside it",
        ),
        (
            [f"{name}/{i}.png" for name in ("cats", "dogs") for i in range(4)],
            "found cats/ and dogs/; cats/ holds 4 file(s), fewer than 5: add pictures, or remove it if it is no class",
        ),
        (
            [f"{name}/{i}.png" for name in ("training_set", "test_set") for i in range(10)],
            "found training_set/ and test_set/; training_set/ and test_set/ have no class folders: "
            "move the pictures of each class into train/<class>/ and validation/<class>/",
        ),
        (
            [f"train/{name}/{i}.png" for name in ("cats", "dogs") for i in range(10)],
            f"found train/; add validation/<class>/, {ALONE}",
        ),
        (
            [f"{top}/{name}/{i}.png" for top in ("a", "b") for name in ("cats", "dogs") for i in range(2)],
            "found a/ and b/; a/ holds 4 file(s), fewer than 5: add pictures, or remove it if it is no class",
        ),
        (
            [f"{name}/{part}/{i}.png" for name in ("cats", "dogs") for part in ("train", "val") for i in range(9)],
            "found cats/ and dogs/; "
            "put train/ and validation/ beside each other, and the classes into both: train/<class>/",
        ),
        (
            [f"{name}/{i}.png" for name in ("car", "plane", "train") for i in range(9)],
            "found train/, car/ and plane/; a class called train/ would be taken for a split: rename it",
        ),
        (
            [f"a/b/{name}/{i}.png" for name in ("cats", "dogs") for i in range(9)],
            "found cats/ and dogs/ in a/b/; give (or pack) the folder b/ itself",
        ),
        (
            [f"{name}/{i}.png" for name in "abcdef" for i in range(3)],
            "found a/, b/, c/ and 3 more; a/ holds 3 file(s), fewer than 5: add pictures, or remove it if it is no "
            "class",
        ),
        (
            [f"{i}.png" for i in range(30)],
            "found files such as 0.png and no folders; move the pictures of each class into a folder of its own",
        ),
    ],
    ids=[
        "one class",
        "too few",
        "other splits",
        "no validation",
        "too few below",
        "splits in classes",
        "a class called train",
        "too deep",
        "many",
        "no folders",
    ],
)
def test_what_is_not_classes_alone(names: list[str], expected: str) -> None:
    with pytest.raises(DataError) as caught:
        find_layout("shapes", names, test_share=0.2)
    tail = f"{LAYOUT}, or <class>/<images> alone with 5 images a class or more"
    assert str(caught.value) == f"shapes: wrong layout: {expected}; {tail}"
