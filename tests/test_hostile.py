"""Archives, pictures, YAML, flags, result files and model files as an enemy, or a bad disk, would make them.

Every case is read, skipped by name, or refused in one line; none ends in a traceback, hangs, or writes elsewhere.
`python -m pytest tests/test_hostile.py --long` runs forty times as many, other ones each time.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import cases, files_below, survived
from hypothesis import given
from hypothesis import strategies as st
from make_pictures import encoded, noise, pets, write_zip
from make_rows import (
    prediction_row,
    quickstart,
    retrain_epoch_row,
    retrain_failure,
    retrain_row,
    trial_epoch_row,
    trial_row,
    write_study,
)
from PIL import Image, features

from catdog_ray import answers, choice, compare, config, data
from catdog_ray.decoding import decode, measure
from catdog_ray.ledger import StudyDirectory
from catdog_ray.settings import DataSettings

# ---- changes to bytes ---------------------------------------------------------------------------------------------

INTERESTING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


@st.composite
def changes(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A few edits: bytes set, pieces cut out, doubled, filled with noise, the end lost."""
    edits = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["set", "set", "set", "cut", "double", "noise", "end", "word"]),
                st.floats(0, 1, exclude_max=True),
                st.integers(0, 2**32 - 1),
            ),
            min_size=1,
            max_size=6,
        )
    )

    def change(content: bytes) -> bytes:
        found = bytearray(content)
        for kind, place, value in edits:
            at = int(place * max(1, len(found)))
            length = 1 + value % 64
            if kind == "set" and found:
                found[at] = INTERESTING[value % 6] if value % 2 else value % 256
            elif kind == "word":
                found[at : at + 4] = struct.pack("<I", value)
            elif kind == "cut":
                del found[at : at + length]
            elif kind == "double":
                found[at:at] = found[at : at + length]
            elif kind == "noise":
                found[at : at + length] = np.random.default_rng(value).bytes(length)
            else:
                del found[max(at, 1) :]
        return bytes(found)

    return change


# ---- archives -----------------------------------------------------------------------------------------------------


def pictures_of(tmp_path: Path, archive: Path, **options: Any) -> DataSettings:
    base = dataclasses.replace(quickstart().data, source=str(archive), image_size=8, max_bad_share=1.0)
    return dataclasses.replace(base, cache_dir=str(tmp_path / "cache"), **options)


@functools.cache
def archive_bytes(packing: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pets.zip"
        with zipfile.ZipFile(path, "w", packing) as archive:
            for name, content in pets(train=3, validation=2, classes=("cats", "dogs")).items():
                archive.writestr(name, content)
        return path.read_bytes()


def load_archive(content: bytes) -> Any:
    """Load an archive in a folder of its own, and see that nothing is written but its cache."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "in").mkdir()
        (root / "in" / "pets.zip").write_bytes(content)
        try:
            return data.load(pictures_of(root, root / "in" / "pets.zip"))
        finally:
            assert files_below(root / "in") == {"pets.zip"}
            assert not [name for name in files_below(root) if ".part-" in name]


PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@cases(160)
@given(packing=st.sampled_from(PACKINGS), change=changes())
def test_damaged_archives(packing: int, change: Callable[[bytes], bytes]) -> None:
    survived("archives, damaged", lambda: load_archive(change(archive_bytes(packing))))


@cases(40)
@given(share=st.floats(0, 1), packing=st.sampled_from(PACKINGS))
def test_archives_cut_anywhere(share: float, packing: int) -> None:
    content = archive_bytes(packing)
    survived("archives, cut", lambda: load_archive(content[: int(share * len(content))]))


names = st.one_of(
    st.text(max_size=30),
    st.lists(
        st.sampled_from(
            ["train", "validation", "cats", "dogs", "..", ".", "", "C:", "\x1b[2J", "é", "\u202e", "a" * 300]
        ),
        min_size=1,
        max_size=7,
    ).map("/".join),
)


@cases(80)
@given(extra=st.lists(st.tuples(names, st.integers(0, 3)), min_size=1, max_size=5))
def test_archives_with_odd_names(extra: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of names that it writes twice
        path = write_zip(Path(folder) / "odd.zip", pets(train=2, validation=1, classes=("cats", "dogs")))
        with zipfile.ZipFile(path, "a") as archive:
            for name, kind in extra:
                entry = zipfile.ZipInfo()
                entry.filename = name  # as it is: the constructor would tidy it up
                entry.external_attr = (0o120777, 0o644, 0o10644, 0)[kind] << 16  # link, file, pipe, nothing
                archive.writestr(entry, b"/etc/passwd")
        content = path.read_bytes()
    found = survived("archives, odd names", lambda: load_archive(content))
    if found is not None:
        assert all(name.isprintable() for name in (*found.skipped, *found.train.files, *found.train.class_names))


# ---- pictures -----------------------------------------------------------------------------------------------------

KINDS = [*("JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM", "TGA", "ICO", "JPEG2000")]
KINDS += [kind for kind in ("WEBP", "AVIF") if features.check(kind.lower())]


@functools.cache
def picture_bytes(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    options = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF") else {}
    return encoded(noise(3, width=24, height=20), kind, **options)


def look_at(content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = decode(content, 8)
        measure(content)
    assert pixels.shape == (8, 8, 3)


@cases(200)
@given(kind=st.sampled_from(KINDS), change=changes())
def test_damaged_pictures(kind: str, change: Callable[[bytes], bytes]) -> None:
    content = change(picture_bytes(kind))
    survived("pictures, damaged", lambda: look_at(content))


@cases(60)
@given(
    st.one_of(st.binary(max_size=300), st.sampled_from([b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xff\xd8\xff\xe1", b"II*\0"]))
)
def test_bytes_that_are_no_picture(content: bytes) -> None:
    survived("pictures, no pictures", lambda: look_at(content))


@cases(60)
@given(width=st.integers(0, 2**31 - 1), height=st.integers(0, 2**31 - 1), kind=st.sampled_from([0, 2, 3, 4, 6]))
def test_pictures_that_promise_any_size(width: int, height: int, kind: int) -> None:
    """A header of a few bytes must not make us allocate what it promises."""
    content = bytearray(picture_bytes("PNG"))
    content[16:26] = struct.pack(">IIBB", width, height, 8, kind)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    survived("pictures, any size", lambda: look_at(bytes(content)))


# ---- YAML and flags -----------------------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([2**70, -1, 10**400, "1e-4", "~", "\x1b[2J", "\ud800", "2001-01-01"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


def leaves(tree: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in tree.items():
        found.append(prefix + key)
        if isinstance(value, dict):
            found += leaves(value, f"{prefix}{key}.")
    return found


SETTINGS = leaves(quickstart().as_dict())


@cases(150)
@given(key=st.sampled_from(SETTINGS), value=values)
def test_any_value_for_any_setting(key: str, value: Any) -> None:
    survived("settings, any value", lambda: config.load("quickstart.yaml", overrides={key: value}))


@cases(80)
@given(text=st.one_of(st.text(max_size=40), st.tuples(st.sampled_from(SETTINGS), st.text(max_size=40)).map("=".join)))
def test_any_text_after_set(text: str) -> None:
    def load() -> None:
        key, value = config.parse_assignment(text)
        config.load("quickstart.yaml", overrides={key: value})

    survived("--set, any text", load)


YAML = (Path(__file__).parents[1] / "configs" / "quickstart.yaml").read_bytes()


@cases(60)
@given(change=changes())
def test_damaged_yaml(change: Callable[[bytes], bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.yaml"
        path.write_bytes(change(YAML))
        survived("YAML, damaged", lambda: config.load(path))


BOMBS = {
    "aliases": "a: &a [x, x]\n" + "\n".join(f"b{i}: &b{i} [*a, *a]" for i in range(30)),
    "merges": "a: &a {x: 1}\nb: {<<: [*a, *a]}",
    "itself": "a: &a [*a]",
    "depth": "[" * 100_000,
    "depth of mappings": "{a: " * 50_000,
    "long": "a: " + "x" * 300_000,
    "digits": "seed: " + "9" * 10_000,
    "hexadecimal": "seed: 0x" + "f" * 10_000,
    "sexagesimal": "seed: 1" + ":59" * 5_000,
    "python tag": "seed: !!python/object/apply:os.system ['true']",
    "binary": "seed: !!binary |\n  " + "A" * 1000,
    "timestamp": "seed: 2001-99-99",
    "float of 60": "seed: 1:60.5",
    "set": "seed: !!set {a, b}",
    "pairs": "seed: !!pairs [a: b]",
    "empty int": "seed: !!int ''",
    "null key": "? {a: b}\n: c",
    "two documents": "a: 1\n---\nb: 2",
    "nothing": "",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_yaml_bombs(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"extends: quickstart.yaml\n{BOMBS[kind]}")
    shutil.copy(Path(__file__).parents[1] / "configs" / "quickstart.yaml", tmp_path)
    assert survived("YAML, bombs", lambda: config.load(path)) is None or kind == "nothing"
    survived("--set, bombs", lambda: config.parse_assignment(f"seed={BOMBS[kind]}"))


# ---- result files -------------------------------------------------------------------------------------------------

ROWS = {
    "trials": trial_row(),
    "epochs": trial_epoch_row(),
    "retrain_epochs": retrain_epoch_row(),
    "retrain": retrain_row(),
    "retrain_failures": retrain_failure(),
    "predictions": prediction_row(),
}


def read_study(folder: Path) -> None:
    """What any command reads of a study."""
    study = StudyDirectory(folder)
    for name in ROWS:
        getattr(study, name).read()
    study.read_machine_settings()
    choice.saved_config(folder)
    answers.read_trained(folder)
    found = compare.read(folder)
    compare.milestones(found)
    compare.search_line(found)
    assert isinstance(found.title, str)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_study(
        tmp_path_factory.mktemp("results") / "quickstart",
        quickstart(),
        trials=[trial_row(0), trial_row(1)],
        retrain=[retrain_row(), retrain_row(seed=1)],
        data={
            "name": "drawn",
            "drawn": True,
            "fingerprint": "0",
            "class_names": ["cats", "dogs"],
            "skipped_files": [],
        },
    )
    study = StudyDirectory(folder)
    for name, row in ROWS.items():
        getattr(study, name).append(row)
    study.write_machine_settings({"output": "results", "data.source": "drawn"})
    (folder / "model.json").write_text('{"configuration": "baseline", "seed": 0, "epochs": 125}')
    read_study(folder)
    return folder


FILES = (
    "study.json",
    "trials.jsonl",
    "epochs.jsonl",
    "retrain.jsonl",
    "predictions.jsonl",
    ".machine.json",
    "model.json",
)


@cases(120)
@given(name=st.sampled_from(FILES), change=changes())
def test_damaged_result_files(written: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(written, Path(folder) / "study"))
        (copy / name).write_bytes(change((copy / name).read_bytes()))
        survived("result files, damaged", lambda: read_study(copy))


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=4), inner, max_size=2)),
    max_leaves=4,
)


@cases(120)
@given(where=st.sampled_from([*ROWS]), place=st.integers(0, 100), value=json_values)
def test_rows_with_any_value(written: Path, where: str, place: int, value: Any) -> None:
    row = dataclasses.asdict(ROWS[where])
    row[list(row)[place % len(row)]] = value
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(written, Path(folder) / "study"))
        with getattr(StudyDirectory(copy), where).path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        survived("result files, any value in a row", lambda: read_study(copy))


@cases(120)
@given(place=st.integers(0, 10**6), value=json_values, drop=st.booleans())
def test_study_json_with_any_value(written: Path, place: int, value: Any, drop: bool) -> None:
    facts = json.loads((written / "study.json").read_text())
    names = leaves(facts)
    *parents, last = names[place % len(names)].split(".")
    inner = functools.reduce(lambda tree, key: tree[key], parents, facts)
    if drop:
        del inner[last]
    else:
        inner[last] = value
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(written, Path(folder) / "study"))
        (copy / "study.json").write_text(json.dumps(facts))
        survived("result files, any value in study.json", lambda: read_study(copy))


@pytest.mark.parametrize("name", FILES)
def test_deep_json(written: Path, name: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(written, tmp_path / "study"))
    (copy / name).write_text("[" * 200_000 + "\n")
    found = survived("result files, bombs", lambda: read_study(copy))
    assert found is None
