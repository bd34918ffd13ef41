"""A folder, an archive or the drawn set become three splits: which images, which errors, and what the cache keeps."""

from __future__ import annotations

import dataclasses
import errno
import inspect
import os
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from make_pictures import CLASSES, encoded, noise, pets, write_folder, write_zip
from make_rows import quickstart
from PIL import Image
from small import quick_config

from catdog_ray import animals, data, drawn, origins
from catdog_ray.decoding import decode
from catdog_ray.errors import DataError
from catdog_ray.settings import DataSettings

FILES = pets()
"""Three classes, 10 images of each in train/ and 4 in validation/."""


def settings(tmp_path: Path, source: Path | str, **changes: Any) -> DataSettings:
    """Pictures of 8 pixels from `source`, cached below `tmp_path`."""
    base = dataclasses.replace(quickstart().data, source=str(source), image_size=8, cache_dir=str(tmp_path / "cache"))
    return dataclasses.replace(base, **changes)


def refusal(found: DataSettings) -> str:
    """What loading is refused with; always one line."""
    with pytest.raises(DataError) as caught:
        data.load(found)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cached(tmp_path: Path) -> Path:
    """The one folder in the cache."""
    (folder,) = (tmp_path / "cache").iterdir()
    return folder


def tree(root: Path) -> dict[str, bytes]:
    """All files below a folder and what is in them; folders with a slash."""
    return {
        path.relative_to(root).as_posix() + ("/" if path.is_dir() else ""): b"" if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
    }


def as_folder(tmp_path: Path, files: dict[str, bytes]) -> Path:
    return write_folder(tmp_path / "pets", files)


def as_zip(tmp_path: Path, files: dict[str, bytes]) -> Path:
    return write_zip(tmp_path / "pets.zip", files)


def as_nested_zip(tmp_path: Path, files: dict[str, bytes]) -> Path:
    return write_zip(tmp_path / "nested.zip", files, top="pets_filtered/")


def as_nested_folder(tmp_path: Path, files: dict[str, bytes]) -> Path:
    return write_folder(tmp_path / "outer" / "pets_filtered", files).parent


FORMS = [as_folder, as_zip, as_nested_zip, as_nested_folder]
Form = Callable[[Path, dict[str, bytes]], Path]


# ---- splits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_three_splits(form: Form, tmp_path: Path) -> None:
    source = form(tmp_path, FILES)
    splits = data.load(settings(tmp_path, source))
    assert splits.name == source.name
    assert splits.skipped == ()
    for images, per_class in ((splits.train, 8), (splits.selection, 2), (splits.test, 4)):
        assert images.class_names == CLASSES == ("bears", "cats", "dogs")
        assert images.pixels.shape == (3 * per_class, 8, 8, 3)
        assert images.pixels.dtype == np.uint8
        assert images.labels.dtype == np.int32
        assert np.bincount(images.labels).tolist() == [per_class] * 3
        for pixels, label, file in zip(images.pixels, images.labels, images.files, strict=True):
            assert file.split("/")[1] == CLASSES[label]
            np.testing.assert_array_equal(pixels, decode(FILES[file], 8))
    assert not set(splits.train.files) & set(splits.selection.files)
    assert {*splits.train.files, *splits.selection.files} == {name for name in FILES if name.startswith("train/")}
    assert set(splits.test.files) == {name for name in FILES if name.startswith("validation/")}


def test_the_form_makes_no_difference(tmp_path: Path) -> None:
    found = [data.load(settings(tmp_path, form(tmp_path, FILES))) for form in FORMS]
    for other in found[1:]:
        for split in ("train", "selection", "test"):
            one, two = getattr(found[0], split), getattr(other, split)
            np.testing.assert_array_equal(one.pixels, two.pixels)
            np.testing.assert_array_equal(one.labels, two.labels)
            assert one.files == two.files
    assert len({splits.fingerprint for splits in found}) == 1


@pytest.mark.parametrize(
    ("share", "expected"), [(0.2, [2, 5, 1]), (0.5, [5, 12, 2]), (0.01, [1, 1, 1]), (0.75, [8, 19, 3])]
)
def test_the_selection_is_a_share_of_every_class(share: float, expected: list[int], tmp_path: Path) -> None:
    counts = {"bears": 10, "cats": 25, "dogs": 4}
    files = {name: content for name, content in pets(train=25).items() if int(name[-6:-4]) < counts[name.split("/")[1]]}
    splits = data.load(settings(tmp_path, as_zip(tmp_path, files), selection_share=share))
    assert np.bincount(splits.selection.labels).tolist() == expected
    assert np.bincount(splits.train.labels).tolist() == [10 - expected[0], 25 - expected[1], 4 - expected[2]]


def test_the_split_follows_its_seed_and_nothing_else(tmp_path: Path) -> None:
    source = as_zip(tmp_path, FILES)
    first = data.load(settings(tmp_path, source))
    again = data.load(settings(tmp_path, source))
    other = data.load(settings(tmp_path, source, split_seed=1))
    assert again.selection.files == first.selection.files
    assert other.selection.files != first.selection.files
    assert sorted([*other.train.files, *other.selection.files]) == sorted([*first.train.files, *first.selection.files])
    assert other.test.files == first.test.files
    assert other.fingerprint != first.fingerprint
    # The classes are not split alike: each draws its own numbers.
    chosen = [{file[-6:] for file in first.selection.files if name in file} for name in CLASSES]
    assert len({frozenset(found) for found in chosen}) > 1


def test_a_class_of_one_image_cannot_be_split(tmp_path: Path) -> None:
    files = {name: content for name, content in FILES.items() if not name.startswith("train/dogs") or "00" in name}
    found = refusal(settings(tmp_path, as_zip(tmp_path, files)))
    assert found == (
        "pets.zip: class 'dogs' has 1 image(s) in train/, too few to split into "
        "training and selection (data.selection_share); add more"
    )


def test_images_by_index_and_joined(tmp_path: Path) -> None:
    splits = data.load(settings(tmp_path, as_zip(tmp_path, FILES)))
    three = splits.test.take(np.array([5, 0, 11]))
    assert three.files == tuple(splits.test.files[i] for i in (5, 0, 11))
    assert three.labels.tolist() == [1, 0, 2]
    np.testing.assert_array_equal(three.pixels[1], splits.test.pixels[0])
    both = splits.train.joined(splits.selection)
    assert both.files == splits.train.files + splits.selection.files
    assert both.pixels.shape == (30, 8, 8, 3)
    np.testing.assert_array_equal(both.pixels[24:], splits.selection.pixels)
    np.testing.assert_array_equal(both.labels[24:], splits.selection.labels)
    assert both.class_names == CLASSES


def test_the_same_class_names_have_the_same_labels_in_every_split(tmp_path: Path) -> None:
    """Validation lists its classes in another order in the archive."""
    backwards = dict(sorted(FILES.items(), reverse=True))
    splits = data.load(settings(tmp_path, as_zip(tmp_path, backwards)))
    assert [splits.test.files[i].split("/")[1] for i in (0, 4, 8)] == ["bears", "cats", "dogs"]
    assert splits.test.labels[[0, 4, 8]].tolist() == [0, 1, 2]


# ---- the drawn set ------------------------------------------------------------------------------------------------


def test_the_drawn_set(tmp_path: Path) -> None:
    found = settings(tmp_path, "drawn", drawn_train=40, drawn_test=20)
    splits = data.load(found)
    assert splits.name == "drawn"
    assert splits.train.class_names == ("cats", "dogs")
    for images, per_class in ((splits.train, 16), (splits.selection, 4), (splits.test, 10)):
        assert np.bincount(images.labels).tolist() == [per_class] * 2
    pixels, labels = drawn.draw(60, size=8, seed=0)
    np.testing.assert_array_equal(splits.test.pixels, pixels[40:])
    assert splits.test.labels.tolist() == labels[40:].tolist()
    number = [int(file.rsplit("/", 1)[1]) for file in splits.train.files]
    np.testing.assert_array_equal(splits.train.pixels, pixels[number])
    assert splits.test.files[0] == f"validation/{('cats', 'dogs')[labels[40]]}/000000"
    assert len({*splits.train.files, *splits.selection.files}) == 40
    assert data.load(found).fingerprint == splits.fingerprint
    other = data.load(dataclasses.replace(found, drawn_seed=1))
    assert other.fingerprint != splits.fingerprint


@pytest.mark.parametrize("module", [animals, drawn])
def test_other_code_draws_anew(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(tmp_path, "drawn", drawn_train=40, drawn_test=20)
    data.load(found)
    before = set((tmp_path / "cache").iterdir())
    source = inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda which: source(which) + "# changed\n" * (which is module))
    data.load(found)
    assert len(set((tmp_path / "cache").iterdir()) - before) == 1


def test_facts(tmp_path: Path) -> None:
    splits = data.load(settings(tmp_path, "drawn", drawn_train=40, drawn_test=20))
    assert splits.facts() == {
        "name": "drawn",
        "drawn": True,
        "fingerprint": splits.fingerprint,
        "class_names": ["cats", "dogs"],
        "train_images": 32,
        "selection_images": 8,
        "test_images": 20,
        "test_counts": [10, 10],
        "skipped_files": [],
    }
    one_more = FILES[next(name for name in FILES if name.startswith("validation/cats/"))]
    files = {**FILES, "train/cats/text.jpg": b"no picture", "validation/cats/more.png": one_more}
    facts = data.load(settings(tmp_path, as_zip(tmp_path, files), max_bad_share=0.1)).facts()
    assert (facts["name"], facts["drawn"], facts["class_names"]) == ("pets.zip", False, ["bears", "cats", "dogs"])
    assert (facts["train_images"], facts["selection_images"], facts["test_images"]) == (24, 6, 13)
    assert facts["test_counts"] == [4, 5, 4]
    assert facts["skipped_files"] == ["train/cats/text.jpg"]
    assert len(facts["fingerprint"]) == 64


# ---- fingerprints -------------------------------------------------------------------------------------------------


def test_one_changed_pixel_is_another_fingerprint(tmp_path: Path) -> None:
    before = data.load(settings(tmp_path, as_folder(tmp_path, FILES))).fingerprint
    assert len(before) == 64
    for name in ("train/dogs/03.png", "validation/cats/02.png"):
        pixels = np.asarray(noise(list(FILES).index(name))).copy()
        pixels[4:7, 4:7] ^= 0x40
        changed = {**FILES, name: encoded(Image.fromarray(pixels))}
        source = write_folder(tmp_path / name.replace("/", "-"), changed)
        assert data.load(settings(tmp_path, source)).fingerprint != before


def test_a_picture_of_another_class_is_another_fingerprint(tmp_path: Path) -> None:
    before = data.load(settings(tmp_path, as_zip(tmp_path, FILES))).fingerprint
    renamed = {name.replace("/dogs/", "/wolves/"): content for name, content in FILES.items()}
    assert data.load(settings(tmp_path, write_zip(tmp_path / "b.zip", renamed))).fingerprint != before
    swapped = dict(FILES)
    one, two = "validation/dogs/00.png", "validation/cats/00.png"
    swapped[one], swapped[two] = swapped[two], swapped[one]
    assert data.load(settings(tmp_path, write_zip(tmp_path / "c.zip", swapped))).fingerprint != before


def test_the_same_pixels_in_another_file_format_are_the_same_data(tmp_path: Path) -> None:
    before = data.load(settings(tmp_path, as_zip(tmp_path, FILES))).fingerprint
    bitmaps = {name: encoded(noise(number), "BMP") for number, name in enumerate(FILES)}
    assert data.load(settings(tmp_path, write_zip(tmp_path / "bitmaps.zip", bitmaps))).fingerprint == before


# ---- bad files ----------------------------------------------------------------------------------------------------

BAD = {
    "train/cats/text.jpg": b"hello, I am no picture",
    "train/dogs/torn.jpg": encoded(noise(99, width=60, height=60), "JPEG")[:-300],
    "validation/dogs/empty.png": b"",
}


@pytest.mark.parametrize("form", [as_folder, as_zip])
def test_unreadable_files_are_counted_named_and_left_out(form: Form, tmp_path: Path) -> None:
    # 3 of 45 files: 6.7 %.
    splits = data.load(settings(tmp_path, form(tmp_path, {**FILES, **BAD}), max_bad_share=0.07))
    assert sorted(splits.skipped) == sorted(BAD)
    clean = data.load(settings(tmp_path, write_folder(tmp_path / "clean", FILES)))
    assert splits.fingerprint == clean.fingerprint
    assert splits.train.files == clean.train.files
    assert splits.test.files == clean.test.files


def test_the_largest_share_of_unreadable_files_is_allowed(tmp_path: Path) -> None:
    # 3 of 45 is a fifteenth.
    source = as_folder(tmp_path, {**FILES, **BAD})
    assert len(data.load(settings(tmp_path, source, max_bad_share=3 / 45)).skipped) == 3
    expected = (
        "pets: 3 of 45 files are no readable image (data.max_bad_share allows 0.066): "
        "train/cats/text.jpg, train/dogs/torn.jpg, validation/dogs/empty.png"
    )
    # From the pictures and from the cache alike.
    assert refusal(settings(tmp_path, source, max_bad_share=0.066)) == expected
    assert refusal(settings(tmp_path / "other", source, max_bad_share=0.066)) == expected
    assert refusal(settings(tmp_path / "other", source, max_bad_share=0.066)) == expected


def test_no_more_than_five_unreadable_files_are_named(tmp_path: Path) -> None:
    bad = {f"train/cats/bad{number}.jpg": b"" for number in range(6)}
    text = refusal(settings(tmp_path, as_folder(tmp_path, {**FILES, **bad}), max_bad_share=0.0))
    assert text == (
        "pets: 6 of 48 files are no readable image (data.max_bad_share allows 0): " + ", ".join(list(bad)[:5]) + ", ..."
    )


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_class_of_unreadable_files_only(split: str, tmp_path: Path) -> None:
    files = {name: b"?" if name.startswith(f"{split}/cats/") else content for name, content in FILES.items()}
    text = refusal(settings(tmp_path, as_folder(tmp_path, files), max_bad_share=1.0))
    assert text == f"pets: class 'cats' has no readable image in {split}/; add some, or remove the class"


def test_a_picture_of_too_many_pixels_is_one_bad_file(tmp_path: Path) -> None:
    """Pillow warns from 89 million pixels on; nothing of that reaches the terminal (a warning is an error here)."""
    content = bytearray(encoded(Image.new("1", (8, 8))))
    content[16:24] = struct.pack(">II", 10_000, 9_500)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    # The first name in order, so that it is decoded first.
    source = as_folder(tmp_path, {**FILES, "train/bears/!large.png": bytes(content)})
    assert data.load(settings(tmp_path, source, max_bad_share=0.1)).skipped == ("train/bears/!large.png",)


def test_hidden_files_and_what_macos_packs_are_no_data(tmp_path: Path) -> None:
    clutter = {
        "__MACOSX/train/cats/._00.png": b"\0\5\x16\7",
        "train/.DS_Store": b"x",
        "train/cats/.DS_Store": b"x",
        "train/.ipynb_checkpoints/00.png": b"x",
        ".git/config": b"x",
        "README.md": b"x",
    }
    clean = data.load(settings(tmp_path, as_zip(tmp_path, FILES)))
    for number, form in enumerate((as_folder, as_zip, as_nested_zip)):
        splits = data.load(settings(tmp_path, form(tmp_path / str(number), {**FILES, **clutter})))
        assert splits.skipped == ()
        assert splits.fingerprint == clean.fingerprint


# ---- the cache ----------------------------------------------------------------------------------------------------


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, decoding is an error."""

    def forbid() -> None:
        def decode(content: bytes, image_size: int) -> np.ndarray:
            raise AssertionError("decoded again")

        monkeypatch.setattr(origins, "decode", decode)

    return forbid


@pytest.mark.parametrize("form", [as_folder, as_zip])
def test_what_was_decoded_once_is_not_decoded_again(
    form: Form, tmp_path: Path, no_decoding: Callable[[], None]
) -> None:
    found = settings(tmp_path, form(tmp_path, FILES))
    calls: list[tuple[int, int]] = []
    first = data.load(found, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 42) for done in range(1, 43)]
    no_decoding()
    again = data.load(found, on_progress=lambda done, total: pytest.fail("decoded again"))
    assert again.fingerprint == first.fingerprint
    assert again.train.files == first.train.files
    assert again.facts() == first.facts()
    # Another split of the same pictures needs no decoding either.
    assert data.load(dataclasses.replace(found, split_seed=5)).test.files == first.test.files


@pytest.mark.parametrize("form", [as_folder, as_zip])
def test_changed_content_is_decoded_anew(form: Form, tmp_path: Path, no_decoding: Callable[[], None]) -> None:
    changed = {**FILES, "train/cats/05.png": encoded(noise(1000))}
    found = settings(tmp_path, form(tmp_path, FILES))
    before = data.load(found)
    form(tmp_path, changed)
    after = data.load(found)
    assert after.fingerprint != before.fingerprint
    both = after.train.joined(after.selection)
    index = both.files.index("train/cats/05.png")
    np.testing.assert_array_equal(both.pixels[index], decode(changed["train/cats/05.png"], 8))
    form(tmp_path, FILES)
    if form is as_folder:
        no_decoding()  # the first content is still in the cache
    assert data.load(found).fingerprint == before.fingerprint


def test_a_new_a_renamed_and_a_removed_file_are_noticed(tmp_path: Path) -> None:
    source = as_folder(tmp_path, FILES)
    found = settings(tmp_path, source)
    assert len(data.load(found).test.files) == 12
    (source / "validation" / "cats" / "99.png").write_bytes(encoded(noise(99)))
    assert "validation/cats/99.png" in data.load(found).test.files
    (source / "validation" / "cats" / "99.png").rename(source / "validation" / "dogs" / "99.png")
    assert "validation/dogs/99.png" in data.load(found).test.files
    (source / "validation" / "dogs" / "99.png").unlink()
    assert len(data.load(found).test.files) == 12


def test_another_size_is_decoded_anew(tmp_path: Path) -> None:
    source = as_zip(tmp_path, FILES)
    assert data.load(settings(tmp_path, source)).train.pixels.shape[1:] == (8, 8, 3)
    assert data.load(settings(tmp_path, source, image_size=9)).train.pixels.shape[1:] == (9, 9, 3)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_the_cache_is_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    as_folder(tmp_path, FILES)
    splits = data.load(settings(tmp_path, "~/pets", cache_dir="~/below/the home"))
    assert splits.name == "pets"
    assert len(list((tmp_path / "below" / "the home").iterdir())) == 1


def test_a_folder_in_the_cache_appears_whole(tmp_path: Path) -> None:
    data.load(settings(tmp_path, as_zip(tmp_path, FILES)))
    names = {"facts.json", "train-pixels.npy", "train-labels.npy", "test-pixels.npy", "test-labels.npy"}
    assert {path.name for path in cached(tmp_path).iterdir()} == names


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "torn pixels": lambda folder: truncate(folder / "train-pixels.npy"),
    "empty pixels": lambda folder: (folder / "train-pixels.npy").write_bytes(b""),
    "no labels": lambda folder: (folder / "test-labels.npy").unlink(),
    "labels that are none": lambda folder: (folder / "test-labels.npy").write_bytes(b"PK\x03\x04" + bytes(50)),
    "too few labels": lambda folder: np.save(folder / "train-labels.npy", np.array([0, 1, 2], np.int32)),
    "pictures of another size": lambda folder: np.save(folder / "test-pixels.npy", np.zeros((12, 4, 4, 3), np.uint8)),
    "facts that are no JSON": lambda folder: (folder / "facts.json").write_text("nonsense"),
    "empty facts": lambda folder: (folder / "facts.json").write_text(""),
    "facts that are a list": lambda folder: (folder / "facts.json").write_text("[]"),
    "facts without files": lambda folder: (folder / "facts.json").write_text('{"skipped": [], "class_names": []}'),
    "facts of null": lambda folder: (folder / "facts.json").write_text(
        '{"skipped": [], "class_names": ["a"], "train_files": null, "test_files": []}'
    ),
    "no facts": lambda folder: (folder / "facts.json").unlink(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_folder_in_the_cache(kind: str, tmp_path: Path) -> None:
    """It says which folder to delete, or is made anew; never a traceback, and never other data."""
    found = settings(tmp_path, as_zip(tmp_path, FILES))
    before = data.load(found).fingerprint
    folder = cached(tmp_path)
    DAMAGE[kind](folder)
    try:
        assert data.load(found).fingerprint == before
    except DataError as error:
        assert str(error).startswith(f"{folder}: the cached data is damaged (")
        assert str(error).endswith("); delete that folder")
        shutil.rmtree(folder)
        assert data.load(found).fingerprint == before


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_cache_that_cannot_be_written(below: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    place = tmp_path / "notes.txt" / below
    text = refusal(settings(tmp_path, as_zip(tmp_path, FILES), cache_dir=str(place)))
    assert text.startswith(f"data.cache_dir: {place} cannot be written (")
    assert text.endswith("); set another")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    text = refusal(settings(tmp_path, as_zip(tmp_path, FILES)))
    assert text == f"data.cache_dir: {tmp_path / 'cache'} cannot be written (No space left on device); set another"
    assert list((tmp_path / "cache").iterdir()) == []


def test_decoded_pictures_are_mapped_not_held(tmp_path: Path) -> None:
    """The test split is the file itself; it cannot be written to by accident."""
    test = data.load(settings(tmp_path, as_zip(tmp_path, FILES))).test
    assert isinstance(test.pixels.base, np.memmap)
    assert type(test.pixels) is np.ndarray
    with pytest.raises(ValueError, match="read-only"):
        test.pixels[0] = 0
    assert pickle.loads(pickle.dumps(test)).pixels.sum() == test.pixels.sum()


def test_nothing_is_written_outside_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "work"))
    evil = write_zip(tmp_path / "evil.zip", {**FILES, "../evil.jpg": encoded(noise(1))})
    places = [as_zip(tmp_path, FILES), as_nested_zip(tmp_path, FILES), as_folder(tmp_path, FILES), evil, "drawn"]
    before = tree(tmp_path)
    for place in places:
        found = settings(tmp_path, place, drawn_train=20, drawn_test=10)
        if place == evil:
            assert refusal(found) == f"{evil}: refused, its entry '../evil.jpg' points outside the archive"
        else:
            data.load(found)
            data.load(found)
    shutil.rmtree(tmp_path / "cache")
    assert tree(tmp_path) == before


# ---- what --data may name -----------------------------------------------------------------------------------------


def test_a_place_where_nothing_is(tmp_path: Path) -> None:
    place = str(tmp_path / "nowhere.zip")
    assert refusal(settings(tmp_path, place)) == (
        f"--data: there is no file or folder {place!r}; give a zip archive or a folder that holds "
        "train/<class>/ and validation/<class>/, or 'drawn' for the built-in data"
    )
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("place", ["~nobody-of-this-name/pets.zip", "x" * 300])
def test_a_place_that_cannot_be(place: str, tmp_path: Path) -> None:
    assert refusal(settings(tmp_path, place)).startswith(f"--data: there is no file or folder {place!r}")


def test_a_cache_in_a_home_that_is_not_there(tmp_path: Path) -> None:
    """`~` cannot be resolved in a container whose user has no entry and no HOME."""
    found = settings(tmp_path, as_zip(tmp_path, FILES), cache_dir="~nobody-of-this-name/cache")
    assert refusal(found).startswith("data.cache_dir: ~nobody-of-this-name/cache cannot be written (")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"train/cats/0.png": b"", "train/dogs/0.png": b""},
            "wrong layout: found train/; add validation/<class>/, or give the class folders in train/ alone, of which "
            "data.test_share becomes validation; expected train/<class>/<images> and",
        ),
        (
            {"cats/0.png": b"", "dogs/0.png": b""},
            "wrong layout: found cats/ and dogs/; cats/ holds 1 file(s), fewer than 5: add pictures, or remove it if "
            "it is no class; expected train/<class>/<images>",
        ),
        (
            {f"{top}/{name}": b"" for top in ("a", "b") for name in FILES},
            "wrong layout: found several folders with train/",
        ),
        ({name: b"" for name in FILES if "/cats/" in name}, "train/ holds one class only (cats); put a folder"),
        (
            {n: b"" for n in FILES if n[:15] != "validation/dogs"},
            "class 'dogs' is missing in validation/; put pictures",
        ),
        (
            {**{n: b"" for n in FILES if n[:15] != "validation/dogs"}, "validation/dogs/": b""},
            "class 'dogs' is empty in validation/; put pictures into validation/dogs/, or remove train/dogs/; expected",
        ),
        (
            {**{n: b"" for n in FILES if n[:10] != "train/dogs"}, "train/dogs/": b""},
            "class 'dogs' is empty in train/; put pictures into train/dogs/, or remove validation/dogs/; expected",
        ),
    ],
    ids=["no validation", "no split", "two roots", "one class", "class missing", "class empty", "class empty in train"],
)
@pytest.mark.parametrize("form", [as_folder, as_zip])
def test_wrong_layouts(form: Form, files: dict[str, bytes], expected: str, tmp_path: Path) -> None:
    source = form(tmp_path, files)
    assert refusal(settings(tmp_path, source)).startswith(f"{source.name}: {expected}")
    assert not (tmp_path / "cache").exists()


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    assert refusal(settings(tmp_path, tmp_path / "pets")).startswith(
        "pets: wrong layout: found no files; expected train/"
    )


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_torn_archive(share: float, tmp_path: Path) -> None:
    path = as_zip(tmp_path, FILES)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    text = refusal(settings(tmp_path, path))
    assert text.startswith(f"{path}: is no readable zip archive (")
    assert text.endswith("); download or pack it again")


def test_a_picture_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(noise(1), "JPEG"))
    assert refusal(settings(tmp_path, path)).startswith(f"{path}: is no readable zip archive (")


def test_pictures_in_subfolders_of_a_class_and_linked_folders_count(tmp_path: Path) -> None:
    root = tmp_path / "mytrain" / "photos"
    for split in ("train", "validation"):
        for index, name in enumerate(("cats", "dogs")):
            folder = root / split / name / "more" / "deep"
            folder.mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (9, 9), (index * 200, number * 50, 0)).save(folder / f"{number}.png")
    elsewhere = tmp_path / "elsewhere"
    (root / "train" / "dogs").rename(elsewhere)
    (root / "train" / "dogs").symlink_to(elsewhere)
    config = quick_config(**{"data.source": str(root), "data.cache_dir": str(tmp_path / "cache")})
    splits = data.load(config.data)
    assert len(splits.train.labels) + len(splits.selection.labels) == 8
    assert "train/dogs/more/deep/3.png" in splits.train.files + splits.selection.files


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("drawn", False),
        ("https://host/pets.zip", False),
        ("cats_and_dogs_filtered", False),
        ("pets.zip", True),
        ("~/pets", True),
        ("/data/pets", True),
    ],
)
def test_what_is_a_place_on_this_machine(
    source: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a place is kept as an absolute path, so that a study goes on from any working folder."""
    monkeypatch.chdir(tmp_path)
    assert origins.is_place(settings(tmp_path, source)) is expected
    (tmp_path / "cats_and_dogs_filtered").mkdir()
    if source == "cats_and_dogs_filtered":
        assert origins.is_place(settings(tmp_path, source))


def test_classes_alone_are_split_by_data_alone(tmp_path: Path) -> None:
    files = {f"{name}/{i}.png": encoded(noise(10 * i + n)) for n, name in enumerate(CLASSES) for i in range(10)}
    splits = data.load(settings(tmp_path, write_folder(tmp_path / "pets", files)))
    assert [len(images.labels) for images in (splits.train, splits.selection, splits.test)] == [18, 6, 6]
    assert splits.train.class_names == CLASSES
    # Another share or seed is another split, not the cached one.
    again = data.load(settings(tmp_path, tmp_path / "pets", test_share=0.4))
    assert len(again.test.labels) == 12
    assert data.load(settings(tmp_path, tmp_path / "pets", split_seed=9)).test.files != splits.test.files
