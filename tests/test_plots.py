"""The figure of a retraining: a picture of the right size that is a pure function of the rows."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_rows import retrain_epoch_row
from PIL import Image

from catdog_ray.plots import new_figure, save_curves, style, to_svg

ROWS = tuple(
    retrain_epoch_row(configuration, seed, epoch)
    for configuration in ("baseline", "trial-0007")
    for seed in (0, 1)
    for epoch in (1, 2, 3)
)


def drawn(path: Path, rows: Any = ROWS, *, title: str = "a study", milestones: Any = (2, 3)) -> bytes:
    save_curves(path, rows, title=title, milestones=milestones)
    return path.read_bytes()


@pytest.fixture(scope="module")
def figure(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The figure of `ROWS`."""
    return drawn(tmp_path_factory.mktemp("figure") / "curves.png")


def test_the_figure_is_a_picture(figure: bytes, tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    path.write_bytes(figure)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == (1430, 546)
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
        # Nothing in it tells when or where it was made.
        assert set(image.info) == {"Software", "dpi"}
    colours = {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}
    assert (255, 255, 255) in colours
    assert len(colours) > 50


def test_the_same_rows_make_the_same_bytes(figure: bytes, tmp_path: Path) -> None:
    assert drawn(tmp_path / "again.png") == figure
    assert drawn(tmp_path / "backwards.png", ROWS[::-1]) == figure


def test_other_rows_make_another_figure(figure: bytes, tmp_path: Path) -> None:
    changed = (*ROWS[:-1], retrain_epoch_row("trial-0007", 1, 3, test_accuracy=0.1))
    assert drawn(tmp_path / "changed.png", changed) != figure
    assert drawn(tmp_path / "titled.png", title="a study (drawn data)") != figure
    assert drawn(tmp_path / "marked.png", milestones=(1, 3)) != figure


def test_a_loss_that_was_not_finite_is_a_gap(tmp_path: Path) -> None:
    rows = [retrain_epoch_row(epoch=1), retrain_epoch_row(epoch=2, train_loss=None, test_loss=None)]
    assert drawn(tmp_path / "gap.png", rows).startswith(b"\x89PNG")


def test_a_figure_is_replaced(figure: bytes, tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    path.write_bytes(b"an old figure")
    assert drawn(path) == figure
    assert list(tmp_path.iterdir()) == [path]


def test_an_svg_is_short_and_a_name_that_looks_like_a_look_stays_a_name() -> None:
    evil = ' style="fill: red" d="M 1.23456 2" </style><b>'
    with style():
        figure = new_figure()
        figure.subplots().plot([0, 0.123456, 1], [0, 1, 0.5], label=evil)
        figure.text(0.5, 0.5, evil)
        svg = to_svg(figure, title=evil)
    root = ElementTree.fromstring(svg)
    texts = [part.text for part in root.iter("{http://www.w3.org/2000/svg}text")]
    assert evil in texts
    assert root[0].text == evil
    drawn = svg[svg.index("</style>") :].replace(escape(evil, quote=False), "")
    assert " style=" not in drawn
    assert "red" not in svg[svg.index("<style>") : svg.index("</style>")]
    assert re.search(r' d="[^"]*\d\.\d{3}', drawn) is None
    assert "DejaVu" not in svg


def test_a_title_is_shown_as_it_is_dollars_too(tmp_path: Path) -> None:
    """As a formula this one has an error."""
    assert drawn(tmp_path / "dollars.png", title="$\\x$") != drawn(tmp_path / "plain.png", title="x")
