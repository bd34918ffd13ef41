"""The figures of a comparison: all are there, well-formed, titled, marked, and a pure function of the rows."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_studies import write_invented

from catdog_ray import audit, comparison, figures
from catdog_ray.comparison import Comparison
from catdog_ray.curves import Band
from catdog_ray.drawings import Colours, Drawing
from catdog_ray.plots import BASELINE_COLOUR, INK, SURFACE
from catdog_ray.retrained import BASELINE


def compared(root: Path, **changes: object) -> Comparison:
    return comparison.compare(
        [
            audit.read(write_invented(root / f"{method}-{seed}", method=method, seed=seed, **changes))  # type: ignore[arg-type]
            for method in ("tpe", "random")
            for seed in (0, 10)
        ]
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compared(tmp_path_factory.mktemp("figures"))


@pytest.fixture(scope="module")
def drawings(found: Comparison) -> list[Drawing]:
    return figures.draw(found)


def texts(drawing: Drawing) -> set[str]:
    """What the figure says."""
    return {part.text or "" for part in ElementTree.fromstring(drawing.svg).iter("{http://www.w3.org/2000/svg}text")}


def test_all_figures_are_there(drawings: list[Drawing]) -> None:
    assert [drawing.name for drawing in drawings] == [
        "best-trials",
        "best-epochs",
        "best-multiply-adds",
        "best-seconds",
        "target",
        "differences-searches",
        "differences-retrained",
        "differences-images",
        "retrained",
        "confusion",
        "calibration",
    ]


def test_a_figure_is_well_formed_and_follows_light_and_dark(drawings: list[Drawing]) -> None:
    for drawing in drawings:
        root = ElementTree.fromstring(drawing.svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert INK not in drawing.svg.partition("</style>")[2]
        assert SURFACE not in drawing.svg.partition("</style>")[2]
        assert "prefers-color-scheme:dark" in drawing.svg
        assert drawing.caption.endswith(".")
        assert {drawing.title, "drawn data"} <= texts(drawing)


def test_photographs_are_not_called_drawn(found: Comparison) -> None:
    plain = replace(found, is_drawn=False)
    assert all("drawn data" not in texts(drawing) for drawing in figures.draw(plain)[:1])


def test_axes_have_units(drawings: list[Drawing]) -> None:
    by_name = {drawing.name: texts(drawing) for drawing in drawings}
    assert "wall-clock (s)" in by_name["best-seconds"]
    assert {"multiply-adds", "best selection objective so far"} <= by_name["best-multiply-adds"]
    assert "difference in accuracy (points), 95 % interval" in by_name["differences-images"]
    assert {"TPE (n=2)", "random search (n=2)"} <= by_name["best-trials"]
    captions = {drawing.name: drawing.caption for drawing in drawings}
    assert "the guide: tuned, 125 epochs 82.7 %" in captions["retrained"]
    assert not any("the guide: tuned" in text for text in by_name["retrained"])


def test_the_axis_begins_below_what_was_known_early_on_and_not_at_the_first_guess(found: Comparison) -> None:
    """Bands from 0.5, where a search begins, that stand between 0.75 and 0.8 after a tenth of the spending."""
    grid = np.arange(0.0, 101.0)
    middle = np.where(grid < 5, 0.5, 0.78)
    band = Band(grid, middle, np.where(grid < 5, 0.5, 0.75), np.where(grid < 5, 0.5, 0.8), 3)
    alone = Band(grid, middle, np.full(101, np.nan), np.full(101, np.nan), 1)
    assert figures._floor([band]) == pytest.approx(0.75 - 0.25 * 0.03)
    assert figures._floor([alone, band]) == figures._floor([band])
    assert figures._floor([alone]) == pytest.approx(0.78 - 0.25 * 0.01)


def test_there_is_no_figure_of_the_best_so_far_without_a_course(found: Comparison) -> None:
    """As where one of two searches has no score: it has a best objective, and no band."""
    without = replace(found, bands={axis: dict.fromkeys(bands) for axis, bands in found.bands.items()})
    names = {drawing.name for drawing in figures.draw(without)}
    assert "retrained" in names
    assert not names & {"best-trials", "best-epochs"}


def test_a_band_is_drawn_by_its_corners_alone() -> None:
    """The low edge moves at 2, the middle at 3, and all ends at 5."""
    nan = np.nan
    band = Band(np.arange(6.0), np.array([1.0, 1, 1, 2, 2, 2]), np.array([nan, nan, 1, 1, 1, 1]), np.full(6, 2.0), 2)
    grid, middle, low, high = figures._corners(band)
    assert grid.tolist() == [0, 2, 3, 5]
    assert middle.tolist() == [1, 1, 2, 2]
    assert np.isnan(low[0]) and low[1:].tolist() == [1, 1, 1]
    assert high.tolist() == [2] * 4


def test_an_axis_names_intervals_where_there_are_any(tmp_path: Path, drawings: list[Drawing]) -> None:
    with_them = {drawing.name: texts(drawing) for drawing in drawings}
    assert "difference in accuracy (points), 95 % interval" in with_them["differences-searches"]
    one_each = [audit.read(write_invented(tmp_path / method, method=method, seed=0)) for method in ("tpe", "random")]
    without = {drawing.name: texts(drawing) for drawing in figures.draw(comparison.compare(one_each))}
    assert "difference in accuracy (points)" in without["differences-searches"]


def test_the_same_rows_make_the_same_figures(found: Comparison, drawings: list[Drawing]) -> None:
    assert figures.draw(found) == drawings


def test_a_method_has_one_colour_everywhere(found: Comparison) -> None:
    colours = Colours(found)
    assert len({colours.of(name) for name in ("TPE", "random search", BASELINE)}) == 3
    assert colours.of(BASELINE) == BASELINE_COLOUR
    assert colours.marker("TPE") != colours.marker("random search")


def test_studies_without_retraining_have_the_figures_of_the_searches(tmp_path: Path) -> None:
    names = {drawing.name for drawing in figures.draw(compared(tmp_path, milestones=()))}
    searches = {"best-trials", "best-epochs", "best-multiply-adds", "best-seconds", "target"}
    assert names == {*searches, "differences-searches"}
