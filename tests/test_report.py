"""The page: what it holds, that it escapes and loads nothing, and how it behaves in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Browser, browser
from make_studies import write_invented
from PIL import Image

from catdog_ray import audit, comparison, figures, markdown, report, space_figures, tables, trial_figures
from catdog_ray.comparison import Comparison
from catdog_ray.drawings import Drawing
from catdog_ray.table import DRAWN

EVIL = "<script>alert('x')</script>\"& $x_{$"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    root = tmp_path_factory.mktemp("report")
    studies = [
        write_invented(root / f"{method}-{seed}", method=method, seed=seed, stopping=method != "keras-tuner-stock")
        for method in ("tpe", "random", "keras-tuner-stock")
        for seed in (0, 10, 20)
    ]
    return comparison.compare([audit.read(folder) for folder in studies])


@pytest.fixture(scope="module")
def drawings(found: Comparison) -> list[Drawing]:
    return [*figures.draw(found), *trial_figures.draw_trials(found), *space_figures.draw_space(found)]


@pytest.fixture(scope="module")
def page(found: Comparison, drawings: list[Drawing], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report.page(found, drawings, pictures={}), encoding="utf-8")
    return path


class Reader(HTMLParser):
    """Tags, attributes and text, and whether every tag that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


# ---- the text of the page ---------------------------------------------------------------------------------------


def test_every_table_and_figure_is_on_the_page(page: Path, found: Comparison, drawings: list[Drawing]) -> None:
    reader = parsed(page.read_text())
    assert [tag for tag, _ in reader.tags].count("table") == len(tables.tables(found)) >= 8
    assert [tag for tag, _ in reader.tags].count("img") == len(drawings) >= 22
    for table in tables.tables(found):
        assert table.title in reader.text
    assert "no difference shown" in reader.text
    assert "91.8" in reader.text and "82.4" in reader.text and "90.4" in reader.text and "82.7" in reader.text


def test_drawn_data_says_so_in_every_table_and_figure(found: Comparison, drawings: list[Drawing]) -> None:
    assert all(table.title.endswith("(drawn data)") for table in tables.tables(found))
    marks = [drawing.svg.count(">drawn data</text>") for drawing in drawings]
    assert marks == [1] * len(drawings)
    assert DRAWN in markdown.page(found)


def test_the_page_loads_nothing_and_runs_nothing(page: Path) -> None:
    reader = parsed(page.read_text())
    assert not {"script", "iframe", "object", "embed", "form"} & {tag for tag, _ in reader.tags}
    for tag, attributes in reader.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href"):
                assert (value or "").startswith(("data:", "#")), (tag, value)
    policy = next(a for t, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")["content"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_what_studies_hold_is_escaped(tmp_path: Path) -> None:
    folder = write_invented(tmp_path / "a", facts={"label": EVIL, "commit": EVIL, "method": EVIL})
    (folder / "predictions.jsonl").write_text(
        (folder / "predictions.jsonl").read_text().replace("validation/", "<b>|x/")
    )
    result = comparison.compare([audit.read(folder)])
    drawings = [*figures.draw(result), *trial_figures.draw_trials(result), *space_figures.draw_space(result)]
    text = report.page(result, drawings, pictures={item.file: b"no picture" for item in result.mistakes})
    reader = parsed(text)
    assert not {"script", "b"} & {tag for tag, _ in reader.tags}
    assert EVIL in reader.text
    assert all("<script>" not in drawing.svg for drawing in drawings)
    published = markdown.page(result)
    assert "<script>" not in published.replace("\\<script\\>", "")
    widths = [
        len(re.findall(r"(?<!\\)\|", line)) for line in published.splitlines() if "validation" in line or "x/" in line
    ]
    assert set(widths) == {6}


def test_anchors_lead_somewhere(page: Path) -> None:
    reader = parsed(page.read_text())
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    links = [(attributes.get("href") or "")[1:] for tag, attributes in reader.tags if tag == "a"]
    assert ["in-short", *links] == ids
    assert len(set(ids)) == len(ids)


# ---- a real browser -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium here (Debian: apt-get install chromium)")
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


LOOKS = {
    "light": {"width": 1280},
    "dark": {"width": 1280, "dark": True},
    "phone": {"width": 390, "height": 844, "phone": True},
    "phone, dark": {"width": 390, "height": 844, "phone": True, "dark": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
def test_the_page_in_a_browser(look: str, page: Path, chromium: Browser, tmp_path: Path) -> None:
    chromium.complaints.clear()
    chromium.open(page, **LOOKS[look])  # type: ignore[arg-type]
    broken = chromium.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt)")
    assert broken == []
    assert chromium.evaluate("document.images.length") >= 22
    # Nothing is wider than the screen: tables scroll in their own frame.
    assert chromium.evaluate("document.documentElement.scrollWidth") == LOOKS[look]["width"]
    # A figure is never narrower than its letters need (7.5 points of 403 make 10 pixels), and scrolls too.
    assert chromium.evaluate("Math.min(...[...document.images].map(i => i.getBoundingClientRect().width))") >= 528
    smallest = chromium.evaluate(
        "Math.min(...[...document.querySelectorAll('td')].map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 13
    chromium.screenshot(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.shape[1] == LOOKS[look]["width"]
    dark = bool(LOOKS[look].get("dark"))
    # Most of a page is its background.
    assert bool(np.median(pixels) < 60) is dark
    assert pixels.min() < 80 and pixels.max() > 180
    assert chromium.complaints == []


def test_figures_follow_light_and_dark(page: Path, chromium: Browser, tmp_path: Path) -> None:
    seen = {}
    for look in ("light", "dark"):
        chromium.open(page, **LOOKS[look])  # type: ignore[arg-type]
        box = chromium.evaluate(
            "(() => { const r = document.images[0].getBoundingClientRect();"
            " return {x: r.x, y: r.y + scrollY, width: r.width, height: r.height}; })()"
        )
        chromium.screenshot(tmp_path / f"{look}.png", clip=box)
        with Image.open(tmp_path / f"{look}.png") as image:
            seen[look] = np.asarray(image.convert("L")).astype(int)
    light, dark = seen["light"], seen["dark"]
    # The ink is dark on light, and light on dark.
    assert np.median(light) > 240 and light.min() < 60
    assert np.median(dark) < 40 and dark.max() > 200


def test_the_browser_test_can_fail(chromium: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><img src='http://localhost:9/x.png'><script>console.error('seen')</script>")
    chromium.complaints.clear()
    chromium.open(bad, width=400)
    assert any("seen" in text for text in chromium.complaints)
    assert any("localhost:9" in text for text in chromium.complaints)
    chromium.complaints.clear()
