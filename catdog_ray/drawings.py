"""What the figures of a comparison have in common: colours of methods, titles, file names, axes in percent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from catdog_ray.comparison import Comparison
from catdog_ray.groups import Group
from catdog_ray.plots import BASELINE_COLOUR, INK, LINES, MARKERS, PALETTE, to_svg
from catdog_ray.retrained import BASELINE


@dataclass(frozen=True)
class Drawing:
    """One figure of the page; `name` is its file's, under a `section` of the page.

    `caption` says how it is made, `seen` what it shows, in a sentence for those who cannot see it.
    """

    section: str
    name: str
    title: str
    caption: str
    seen: str
    svg: str


class Colours:
    """One colour, one marker and one kind of line per method, the same in every figure."""

    def __init__(self, found: Comparison) -> None:
        self._places = {item.name: index for index, item in enumerate(found.groups)}

    def of(self, name: str) -> str:
        """The colour of a method; grey for the guide's configuration."""
        return BASELINE_COLOUR if name == BASELINE else PALETTE[self._places[name] % len(PALETTE)]

    def marker(self, name: str) -> str:
        """The marker of a method."""
        return "X" if name == BASELINE else MARKERS[self._places[name] % len(MARKERS)]

    def line(self, name: str) -> Any:
        """How a line of a method is broken."""
        return "-" if name == BASELINE else LINES[self._places[name] % len(LINES)]


def finish(
    found: Comparison, figure: Figure, *, section: str, name: str, title: str, caption: str, seen: str
) -> Drawing:
    """Give the figure its title, and the mark of drawn data, and write it down."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    if found.is_drawn:
        figure.text(0.99, 0.985, "drawn data", ha="right", va="top", fontsize=8, fontstyle="italic", color=INK)
    return Drawing(section, name, title, caption, seen, to_svg(figure, title=f"{title}. {seen}"))


def slug(item: Group, found: Comparison) -> str:
    """The method as part of a file's name, with a number where it has several configurations."""
    same = [other.name for other in found.groups if other.method == item.method]
    plain = "".join(sign if sign.isalnum() else "-" for sign in item.method)
    return plain if len(same) == 1 else f"{plain}-{same.index(item.name) + 1}"


def percent_axis(side: Axis) -> None:
    """Shares as percentages."""
    side.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
