"""How figures are drawn: one look, in light and dark, and the same bytes for the same rows."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from catdog_ray.records import RetrainEpochRow

INK, SURFACE = "#1c1d21", "#fdfdfc"
"""Stand-ins in a figure: an SVG shows them as the reader's text and background colours, light or dark."""

PALETTE = ("#0691f5", "#af450f", "#669f69", "#6e6193", "#c9444d", "#8a7a2c")
"""Data colours that can be told apart on white and on near-black; the first four, and grey, without seeing red too."""

BASELINE_COLOUR = "#8b9099"
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (6, 2, 1.5, 2)), (0, (1.5, 1.5)), (0, (10, 2)), (0, (3, 1, 1, 1, 1, 1)))
"""Of lines, beside the colour."""

_METRICS = "DejaVu Sans"
"""The font that places are measured with; shown is the reader's own, and next to none is wider."""

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "catdog_ray",
    # As text a page is half as large, can be searched, and shows letters of every language.
    "svg.fonttype": "none",
    "font.family": [_METRICS],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.14,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.color": INK,
    # Names of studies are shown as they are, dollars too.
    "text.parse_math": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "path.simplify": True,
}
_ROWS, _COLUMNS = 180, 520
"""Pixels of a figure of very many lines."""

_LINES = 256
"""So many at a time stay in the processor's caches."""

MANY = 300
"""From so many lines or marks on they are drawn as pixels: a vector of each would make a page of megabytes."""


_THEME = (
    ":root{color:#1c1d21;--surface:#fdfdfc;font-family:system-ui,sans-serif}"
    "@media (prefers-color-scheme:dark){:root{color:#e4e5e9;--surface:#15171c}}"
)

# matplotlib escapes these signs in texts and attributes, so that no text looks like a tag.
_TAG = re.compile(r"<[a-z][^<>]*>")
_PLACES = re.compile(r' (?:d|x|y|width|height|transform)="[^"]*"')
_LONG = re.compile(r"-?\d+\.\d{3,}")
_COMMAND = re.compile(r"\s*([MLCQz])\s*")
_LOOK = re.compile(r' style="([^"]*)"')

_BASELINE_COLOUR = "#d95f02"
_TUNED_COLOURS = ("#1f77b4", "#1b9e77", "#7570b3", "#666666")


def save_curves(path: Path, rows: Sequence[RetrainEpochRow], *, title: str, milestones: Sequence[int]) -> None:
    """Loss and accuracy over the epochs of retraining: training dashed, test solid, one thin line per seed."""
    figure = new_figure(11, 4.2)
    figure.suptitle(title, parse_math=False)
    tuned = sorted({row.configuration for row in rows} - {"baseline"})
    colours = {name: _TUNED_COLOURS[index % len(_TUNED_COLOURS)] for index, name in enumerate(tuned)}
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        seen: set[tuple[str, str]] = set()
        for configuration, seed in sorted({(row.configuration, row.seed) for row in rows}):
            run = sorted(
                (row for row in rows if (row.configuration, row.seed) == (configuration, seed)),
                key=lambda row: row.epoch,
            )
            for split, name, style in (("train", "training", "--"), ("test", "validation", "-")):
                label = f"{configuration}, {name}"
                axes.plot(
                    [row.epoch for row in run],
                    [getattr(row, f"{split}_{quantity}") for row in run],
                    style,
                    color=colours.get(configuration, _BASELINE_COLOUR),
                    linewidth=1.1,
                    alpha=0.6 if split == "train" else 0.9,
                    label=None if (configuration, split) in seen else label,
                )
                seen.add((configuration, split))
        for milestone in milestones:
            axes.axvline(milestone, color="#bbbbbb", linewidth=0.8, zorder=0)
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=130, metadata={"Software": "catdog_ray"})


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures that are made inside."""
    with matplotlib.rc_context(_STYLE):
        yield


def new_figure(width: float = 5.6, height: float = 3.8) -> Figure:
    """An empty figure in inches; one panel is as wide as a phone shows legibly."""
    return Figure(figsize=(width, height), layout="constrained")


def legend_below(figure: Figure, axes: Axes, *, columns: int = 2) -> Legend:
    """The legend of `axes` under the figure, where it hides nothing."""
    return figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=columns)


def draw_lines(
    axes: Axes, at: np.ndarray, values: np.ndarray, *, colour: str, alpha: float, width: float, dense: bool
) -> None:
    """One line per row of `values` (lines, places), which ends at its first NaN.

    Thousands of lines are shown as how many of them pass each point, the more the stronger.
    """
    if not dense:
        segments = [np.column_stack([at, line])[~np.isnan(line)] for line in values]
        axes.add_collection(LineCollection(segments, colors=colour, alpha=alpha, linewidths=width))
        axes.autoscale_view()
        return
    fine = np.linspace(at[0], at[-1], _COLUMNS)
    left = np.clip(np.searchsorted(at, fine, side="right") - 1, 0, len(at) - 2)
    share = (fine - at[left]) / (at[left + 1] - at[left])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    counts = np.zeros((_ROWS, _COLUMNS), int)
    for start in range(0, len(values), _LINES):
        lines = values[start : start + _LINES]
        heights = lines[:, left] * (1 - share) + np.where(share > 0, lines[:, left + 1], 0.0) * share
        rows = np.round((heights - low) / ((high - low) or 1.0) * (_ROWS - 1))
        known = ~np.isnan(rows)
        cells = rows[known].astype(int) * _COLUMNS + np.broadcast_to(np.arange(_COLUMNS), rows.shape)[known]
        counts += np.bincount(cells, minlength=counts.size).reshape(counts.shape)
    image = np.zeros((_ROWS, _COLUMNS, 4))
    image[..., :3] = to_rgb(colour)
    image[..., 3] = np.where(counts, 0.1 + 0.85 * np.log1p(counts) / np.log1p(counts.max()), 0.0)
    edges = (float(at[0]), float(at[-1]), low, high)
    axes.imshow(image, extent=edges, origin="lower", aspect="auto", interpolation="nearest")


def solid(legend: Legend) -> None:
    """The signs of a legend as clear as its words, however faint what they stand for."""
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)


def to_svg(figure: Figure, *, title: str) -> str:
    """The figure as SVG text that follows the reader's light or dark setting; no date, no version, fixed ids.

    `title` is what a screen reader says of the file.
    """
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # Of a sign that no font has, a name shows a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        target = io.StringIO()
        figure.savefig(
            target, format="svg", transparent=True, dpi=160, metadata={"Date": None, "Creator": None, "Format": None,
                                                                       "Type": None}
        )  # fmt: skip
    text = target.getvalue().replace(INK, "currentColor").replace(SURFACE, "var(--surface)")
    # What stands before the root element names matplotlib's own file format, which a page does not need.
    text, theme = _shorter(text[text.index("<svg") :])
    end = text.index(">")
    return f'{text[:end]} role="img"><title>{escape(title)}</title><style>{_THEME}{theme}</style>{text[end + 1 :]}'


def _shorter(svg: str) -> tuple[str, str]:
    """The same drawing with places to a hundredth of a point and each look once, as a class; and these classes."""
    names: dict[str, str] = {}

    def tag(found: re.Match[str]) -> str:
        placed = _PLACES.sub(lambda place: _LONG.sub(lambda number: f"{float(number[0]):.2f}", place[0]), found[0])
        placed = _COMMAND.sub(r"\1", placed) if placed.startswith("<path") else placed
        looks = placed.replace(f"; font-family: '{_METRICS}'", "")
        return _LOOK.sub(lambda look: f' class="{names.setdefault(look[1], f"k{len(names)}")}"', looks)

    short = re.sub(r"\n\s*", "\n", _TAG.sub(tag, svg))
    return short, "".join(f".{name}{{{look}}}" for look, name in names.items())
