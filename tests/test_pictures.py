"""Which pictures files, folders, archives and patterns name, and which class their folders claim."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from make_pictures import encoded, noise, pets, write_folder, write_zip

from catdog_ray.decoding import Unreadable
from catdog_ray.pictures import find

CLASSES = ("cats", "dogs")


def found(*places: Path | str) -> list[tuple[str, str | None]]:
    return [(picture.file, picture.true_class) for picture in find([str(place) for place in places], CLASSES)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {"cats/a.png": b"1", "dogs/b.png": b"2", "dogs/more/c.png": b"3", "d.png": b"4", ".hidden/e.png": b"5"}
    return write_folder(tmp_path / "mine", files)


def test_a_folder_is_searched_and_its_folders_are_labels(root: Path) -> None:
    assert found(root) == [
        (f"{root}/cats/a.png", "cats"),
        (f"{root}/d.png", None),
        (f"{root}/dogs/b.png", "dogs"),
        (f"{root}/dogs/more/c.png", "dogs"),
    ]
    assert found(f"{root}/dogs/") == [(f"{root}/dogs/b.png", "dogs"), (f"{root}/dogs/more/c.png", "dogs")]


def test_folders_above_what_was_named_are_no_labels(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cats" / "holiday", {"a.png": b"1"})
    assert found(root) == [(f"{root}/a.png", None)]


def test_single_files_and_patterns(root: Path) -> None:
    assert found(root / "cats" / "a.png", root / "d.png") == [
        (f"{root}/cats/a.png", "cats"),
        (f"{root}/d.png", None),
    ]
    assert found(f"{root}/*/*.png") == [(f"{root}/cats/a.png", "cats"), (f"{root}/dogs/b.png", "dogs")]
    assert [name for name, _ in found(f"{root}/**/c.png")] == [f"{root}/dogs/more/c.png"]


def test_a_pattern_counts_every_picture_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its interval is of pictures that are all different ones."""
    everything = sorted(name for name, _ in found(root))
    assert everything
    for pattern in ("**", "**/", "*", "**/*", "**/**", "**/*.png"):
        names = [name for name, _ in found(f"{root}/{pattern}")]
        assert sorted(names) == [name for name in everything if name.endswith(".png") or pattern != "**/*.png"], pattern
    monkeypatch.chdir(root)
    assert [name for name, _ in found("**/c.png")] == ["dogs/more/c.png"]
    assert [name for name, _ in found("./**/c.png")] == ["dogs/more/c.png"]
    assert [name for name, _ in found("**/more/**/c.png")] == ["dogs/more/c.png"]
    assert [name for name, _ in found("../*/**/c.png")] == [f"../{root.name}/dogs/more/c.png"]


def test_links_to_folders_above_do_not_keep_a_pattern_busy(root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    for name in ("cats/one", "cats/two", "dogs/one", "dogs/two"):
        (copy / name).symlink_to("..")
    (copy / "linked").symlink_to("dogs")
    (copy / "dogs" / "away").symlink_to(root / "dogs")
    assert [name for name, _ in found(f"{copy}/**/away/**/b.png")] == [f"{copy}/dogs/away/b.png"]
    (copy / "dogs" / "away").unlink()
    assert [name for name, _ in found(f"{copy}/**/c.png")] == [f"{copy}/dogs/more/c.png"]
    assert len({name for name, _ in found(f"{copy}/**/*")}) == len(found(f"{copy}/**/*"))


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    path = tmp_path / "a[1].png"
    path.write_bytes(b"x")
    assert found(path) == [(str(path), None)]


def test_an_archive(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "pets.zip", pets(train=1, validation=1, classes=CLASSES))
    assert [label for _, label in found(path)] == ["cats", "dogs", "cats", "dogs"]
    (picture, *_) = find([str(path)], CLASSES)
    assert picture.read() == encoded(noise(0))


@pytest.mark.parametrize("place", ["nowhere.png", "no/*.png", "a\0b.png", "x" * 5000, ""])
def test_what_is_not_there_is_one_unreadable_picture(place: str) -> None:
    (picture,) = find([place], CLASSES)
    with pytest.raises(Unreadable):
        picture.read()
    assert picture.file.isprintable()


def test_a_damaged_archive_is_one_unreadable_picture(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    (picture,) = find([str(tmp_path / "bad.zip")], CLASSES)
    with pytest.raises(Unreadable, match="is no readable zip archive"):
        picture.read()
