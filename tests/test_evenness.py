"""Uneven classes: when they are called so, and what a constant answer has."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from make_pictures import pets, write_folder
from make_rows import quickstart
from rich.console import Console

from catdog_ray import data, evenness, show
from catdog_ray.evenness import Constant, constant_answer


@pytest.mark.parametrize(
    ("counts", "accuracy"),
    [
        ([60, 40], None),
        ([61, 39], 0.61),
        ([39, 61], 0.61),
        ([50, 50], None),
        # Of three, more than 3/7: one and a half times the mean of the others.
        ([3, 2, 2], None),
        ([44, 28, 28], 0.44),
        ([15, *[10] * 9], None),
        ([16, *[10] * 9], 16 / 106),
        # A small class makes none large.
        ([10, *[10] * 8, 1], None),
        ([0, 0], None),
        ([5, 0], 1.0),
    ],
)
def test_the_largest_class_against_the_others(counts: list[int], accuracy: float | None) -> None:
    names = [f"class {number}" for number in range(len(counts))]
    found = constant_answer(counts, names)
    assert (None if found is None else found.accuracy) == accuracy
    if found is not None:
        assert found.class_name == names[counts.index(max(counts))]
        assert found.title == f"always {found.class_name}"


def test_what_study_json_says() -> None:
    data = {"class_names": ["cats", "dogs"], "test_counts": [10, 30]}
    assert evenness.recorded({"data": data}) == Constant("dogs", 0.75)
    assert evenness.recorded({"data": {**data, "test_counts": [20, 20]}}) is None
    assert evenness.recorded({"data": {"class_names": ["cats", "dogs"]}}) is None


def test_it_is_told_of_either_split() -> None:
    names = ("cats", "dogs")
    assert evenness.told([50, 50], [50, 50], names) is None
    assert evenness.told([50, 50], [10, 30], names) == (
        "uneven classes: 50.0 % of the training images are of class dogs; "
        "always answering dogs has an accuracy of 75.0 % on the test split"
    )
    # Here the search is misled, for the selection images are of the training ones.
    assert evenness.told([90, 10], [20, 20], names) == (
        "uneven classes: 90.0 % of the training images are of class cats; "
        "always answering cats has an accuracy of 50.0 % on the test split"
    )
    assert evenness.told([0, 0], [0, 0], names) is None


def test_tune_tells_it_of_the_data_that_it_read(tmp_path: Path) -> None:
    """Three classes of 10 and 4 images, of which one is left whole and two have a third."""
    files = {name: content for name, content in pets().items() if "/cats/" in name or name[-5] in "012"}
    source = str(write_folder(tmp_path / "pets", files))
    found = dataclasses.replace(quickstart().data, source=source, image_size=8, cache_dir=str(tmp_path / "cache"))
    splits = data.load(found)
    train, test = 10 / (10 + 2 * 3), 4 / (4 + 2 * 3)
    assert (splits.test.counts, len(splits.train.labels) + len(splits.selection.labels)) == ((3, 4, 3), 16)
    console = Console(file=io.StringIO(), width=200)
    show._print_uneven(console, splits)
    assert console.file.getvalue() == (  # type: ignore[attr-defined]
        f"uneven classes: {100 * train:.1f} % of the training images are of class cats; "
        f"always answering cats has an accuracy of {100 * test:.1f} % on the test split\n"
    )
