"""`python -m catdog_ray.explore`: counts, skipped files, duplicates and leaks, and the figure."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_pictures import encoded, noise, write_folder, write_zip
from make_rows import quickstart
from PIL import Image, ImageEnhance, ImageOps

from catdog_ray import config, contents, drawn, duplicates, exploration, explore, gallery
from catdog_ray.decoding import decode
from catdog_ray.errors import UserError
from catdog_ray.settings import AugmentSettings, DataSettings

ROOT = Path(__file__).parents[1]
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "cats_and_dogs_filtered.zip"


def scene(seed: int, size: int = 96) -> Image.Image:
    """A drawn picture; those of different seeds have nothing in common."""
    return Image.fromarray(drawn.draw(1, size=size, seed=seed)[0][0])


def settings(source: Path | str, **changes: Any) -> DataSettings:
    overrides = {"data.source": str(source), **{f"data.{key}": value for key, value in changes.items()}}
    return config.load(base=quickstart(), overrides=overrides).data


FILES = {
    **{f"train/cats/{i}.png": encoded(scene(i)) for i in range(4)},
    **{f"train/dogs/{i}.png": encoded(scene(10 + i)) for i in range(4)},
    **{f"validation/cats/{i}.png": encoded(scene(20 + i)) for i in range(2)},
    **{f"validation/dogs/{i}.png": encoded(scene(30 + i)) for i in range(2)},
}


# ---- duplicates ---------------------------------------------------------------------------------------------------


def near(image: Image.Image, other: Image.Image) -> bool:
    pixels = np.stack([decode(encoded(found), duplicates.SIDE) for found in (image, other)])
    return duplicates.groups(pixels, ["a", "b"]) == [([0, 1], False)]


CHANGES = {
    "smaller": lambda image: image.resize((60, 60)),
    "larger": lambda image: image.resize((200, 150)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "grey": lambda image: image.convert("L"),
    "mirrored": ImageOps.mirror,
    "mirrored and smaller": lambda image: ImageOps.mirror(image).resize((64, 64)),
    "a bad JPEG": lambda image: Image.open(io.BytesIO(encoded(image, "JPEG", quality=20))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_near(change: str) -> None:
    assert [near(scene(seed), CHANGES[change](scene(seed))) for seed in range(8)] == [True] * 8


def test_different_pictures_are_not_near() -> None:
    """No pair among 400 different pictures, and none among noise."""
    pixels, _ = drawn.draw(400, size=duplicates.SIDE, seed=5)
    assert duplicates.groups(pixels, [str(i) for i in range(400)]) == []
    pixels = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), dtype=np.uint8)
    assert duplicates.groups(pixels, [str(i) for i in range(200)]) == []


def test_groups_of_more_than_two() -> None:
    pixels = np.stack([decode(encoded(scene(seed)), 32) for seed in (1, 2, 1, 3, 1, 2)])
    digests = ["a", "b", "a", "c", "other bytes", "b"]
    assert duplicates.groups(pixels, digests) == [([0, 2, 4], False), ([1, 5], True)]
    assert duplicates.groups(pixels[:0], []) == []


def test_thousands_of_one_picture_are_one_group() -> None:
    """Each with bytes of its own: four million pairs, none of which is kept."""
    pixels = np.stack([decode(encoded(scene(seed)), 32) for seed in (1, 2)])[np.arange(3000) % 2]
    found = duplicates.groups(pixels, [str(index) for index in range(3000)])
    assert [(len(group), same) for group, same in found] == [(1500, False), (1500, False)]


def test_beyond_the_bound_only_equal_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MOST_COMPARED", 2)
    pixels = np.stack([decode(encoded(scene(1)), 32)] * 3)
    assert duplicates.groups(pixels, ["a", "b", "a"]) == [([0, 2], True)]


@pytest.mark.skipif(not PHOTOGRAPHS.is_file(), reason="the photographs are not beside this checkout")
def test_the_photographs_have_no_leak() -> None:
    found = contents.inspect(settings(PHOTOGRAPHS))
    assert sum(found.counts.values()) == 3000
    assert found.skipped == ()
    assert (min(found.widths), max(found.widths), min(found.heights), max(found.heights)) == (59, 1050, 41, 768)
    assert found.leaks == ()
    assert len(found.groups) <= 2


# ---- contents ---------------------------------------------------------------------------------------------------


def test_what_is_found(tmp_path: Path) -> None:
    files = {
        **FILES,
        "validation/dogs/copy.png": FILES["train/cats/0.png"],
        "validation/cats/mirrored.jpg": encoded(ImageOps.mirror(scene(11)), "JPEG", quality=90),
        "train/cats/again.png": FILES["train/cats/3.png"],
        "train/dogs/text.jpg": b"hello",
        "train/dogs/wide.png": encoded(noise(1, width=300, height=40)),
    }
    found = contents.inspect(settings(write_zip(tmp_path / "pets.zip", files)))
    assert found.counts == {
        ("train", "cats"): 5,
        ("train", "dogs"): 5,
        ("validation", "cats"): 3,
        ("validation", "dogs"): 3,
    }
    assert found.skipped == (("train/dogs/text.jpg", "no picture, or of no known format"),)
    assert found.formats == {"PNG": 15, "JPEG": 1}
    assert (max(found.widths), min(found.heights)) == (300, 40)
    told = {group.files: (group.same_bytes, group.across_splits, group.across_classes) for group in found.groups}
    assert told == {
        ("train/cats/0.png", "validation/dogs/copy.png"): (True, True, True),
        ("train/cats/3.png", "train/cats/again.png"): (True, False, False),
        ("train/dogs/1.png", "validation/cats/mirrored.jpg"): (False, True, True),
    }
    assert len(found.leaks) == 2


def test_the_drawn_data() -> None:
    found = contents.inspect(settings("drawn", drawn_train=40, drawn_test=20))
    assert found.counts == {
        (split, name): n for split, n in (("train", 20), ("validation", 10)) for name in drawn.CLASS_NAMES
    }
    assert (found.modes, set(found.widths), found.groups) == ({"RGB": 60}, {32}, ())


# ---- the figure ---------------------------------------------------------------------------------------------------

POLICY = AugmentSettings(True, 45.0, 0.5, "imagedatagenerator")


def test_each_augmentation_alone_and_all_together() -> None:
    found = gallery.augmentations(POLICY)
    assert found == {
        "horizontal flip": AugmentSettings(True, 0.0, 0.0, "imagedatagenerator"),
        "rotation 45": AugmentSettings(False, 45.0, 0.0, "imagedatagenerator"),
        "zoom 0.5": AugmentSettings(False, 0.0, 0.5, "imagedatagenerator"),
        "all together": POLICY,
    }


def test_a_flip_alone_is_the_picture_or_its_mirror_image() -> None:
    picture = np.asarray(scene(1, 32))
    found = gallery.augmented(picture, gallery.augmentations(POLICY)["horizontal flip"], count=12, seed=0)
    kinds = {tuple(np.allclose(one, each / 255, atol=1e-3) for each in (picture, picture[:, ::-1])) for one in found}
    assert kinds == {(True, False), (False, True)}


def test_a_figure_is_written_whole(tmp_path: Path) -> None:
    samples = {"cats": [np.asarray(scene(i, 32)) for i in range(3)], "$dogs_{": [np.asarray(scene(9, 32))]}
    for name in ("figure.png", "figure.pdf", "figure.jpg"):
        gallery.save(tmp_path / name, samples, POLICY, title="pets", seed=0)
    assert {path.name for path in tmp_path.iterdir()} == {"figure.png", "figure.pdf", "figure.jpg"}
    with Image.open(tmp_path / "figure.png") as image:
        # Two rows of samples and four of augmentations.
        assert image.height > 4 * image.width / 3


# ---- the command --------------------------------------------------------------------------------------------------


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "catdog_ray.explore", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets", {**FILES, "validation/dogs/copy.png": FILES["train/cats/0.png"]})
    done = run(root, "--save-figure", tmp_path / "figure.png")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "width: 96 to 96 pixels, median 96, mean 96" in done.stdout
    assert "formats: PNG 13; modes: RGB 13" in done.stdout
    assert "LEAK: 1 group(s) are both in training and in validation" in done.stdout
    assert "  train/cats/0.png, validation/dogs/copy.png\n" in done.stdout
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert {path.name for path in tmp_path.iterdir()} == {"pets", "figure.png"}


def test_json_and_exit_codes(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets", {name: b"text" for name in FILES})
    done = run(root, "--json")
    assert done.returncode == 2
    assert done.stderr.endswith("error: pets: none of 12 files is a readable image\n")
    found = json.loads(done.stdout)
    assert found["counts"]["train"] == {"cats": 0, "dogs": 0}
    assert len(found["skipped"]) == 12
    for arguments, message in (
        ([tmp_path / "none"], "--data: there is no file or folder"),
        ([root, "--save-figure", "figure.xyz"], "--save-figure: figure.xyz must end with one of .jpg, .pdf, .png"),
        (
            [root, "--save-figure", tmp_path / "none" / "a.png"],
            f"--save-figure: there is no folder {tmp_path / 'none'}",
        ),
    ):
        with pytest.raises(UserError) as caught:
            explore.main([str(argument) for argument in arguments])
        assert str(caught.value).startswith(message)


def test_uneven_classes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four cats and two dogs to train on, two of each class to validate."""
    files = {name: content for name, content in FILES.items() if name not in ("train/dogs/2.png", "train/dogs/3.png")}
    base = config.load(base=quickstart(), overrides={"data.source": str(write_zip(tmp_path / "pets.zip", files))})
    exploration.explore(base, as_json=False, figure=None)
    said = "uneven classes: 66.7 % of the training images are of class cats; "
    assert f"{said}always answering cats has an accuracy of 50.0 % on the test split\n" in capsys.readouterr().out
    exploration.explore(base, as_json=True, figure=None)
    assert json.loads(capsys.readouterr().out)["constant_answer"] is None
    del files["validation/cats/1.png"]
    base = config.load(base=quickstart(), overrides={"data.source": str(write_zip(tmp_path / "dogs.zip", files))})
    exploration.explore(base, as_json=True, figure=None)
    found = json.loads(capsys.readouterr().out)["constant_answer"]
    assert found == {"class_name": "dogs", "accuracy": pytest.approx(2 / 3)}


def test_json_lists_duplicates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {**FILES, "validation/dogs/copy.png": FILES["train/cats/0.png"]}
    base = config.load(base=quickstart(), overrides={"data.source": str(write_zip(tmp_path / "pets.zip", files))})
    exploration.explore(base, as_json=True, figure=None)
    found = json.loads(capsys.readouterr().out)
    assert found["duplicates"] == [
        {
            "files": ["train/cats/0.png", "validation/dogs/copy.png"],
            "same_bytes": True,
            "across_splits": True,
            "across_classes": True,
        }
    ]


def test_where_a_figure_cannot_be_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(gallery.FigureError, match=r"folder\.png is a folder; name a file$"):
        gallery.require_writable(tmp_path / "folder.png")
