"""Figures of the hyperparameters: their importance, slices, parallel coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from catdog_ray import descriptions
from catdog_ray.comparison import Comparison
from catdog_ray.drawings import Colours, Drawing, finish, percent_axis, slug
from catdog_ray.groups import Group
from catdog_ray.plots import BASELINE_COLOUR, INK, MANY, SURFACE, draw_lines, legend_below, new_figure, solid, style
from catdog_ray.ranges import Choice, Range, Value, ends, in_words
from catdog_ray.records import TrialRow
from catdog_ray.table import SPACE
from catdog_ray.words import percent


def draw_space(found: Comparison) -> list[Drawing]:
    """All figures for which there is something to show."""
    with style():
        return [*_importance(found), _slices(found), *(_parallel(found, item) for item in found.groups)]


def _importance(found: Comparison) -> Iterator[Drawing]:
    shares = {name: each for name, each in found.importance.items() if each is not None}
    if not shares:
        return
    colours = Colours(found)
    names = list(next(iter(shares.values())))
    figure = new_figure(height=1.6 + 0.16 * len(names) * (1 + len(shares)))
    axes = figure.subplots()
    height = 0.8 / len(shares)
    for place, (name, each) in enumerate(shares.items()):
        where = np.arange(len(names)) + (place - (len(shares) - 1) / 2) * height
        axes.barh(where, [each[key] for key in names], height * 0.92, color=colours.of(name), label=name)
        if spans := found.importance_intervals[name]:
            low, high = np.array([spans[key] for key in names]).T
            axes.hlines(where, low, high, color=INK, linewidth=0.9)
    axes.set_yticks(range(len(names)), [key.replace("_", " ") for key in names])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    percent_axis(axes.xaxis)
    axes.set_xlabel("share of the importance")
    legend_below(figure, axes)
    yield finish(
        found,
        figure,
        section=SPACE,
        name="importance",
        title="Importance of the hyperparameters",
        caption="PED-ANOVA: what separates the best tenth of the trials from the rest, within the ranges searched."
        + (
            " Lines: 95 % of the shares when the trials are drawn again."
            if any(found.importance_intervals.values())
            else ""
        ),
        seen=descriptions.of_importance(found),
    )


def _slices(found: Comparison) -> Drawing:
    space = found.groups[0].studies[0].space
    colours = Colours(found)
    down = -(-len(space) // 2)
    figure = new_figure(height=0.9 + 2.0 * down)
    panels = figure.subplots(down, 2, sharey=True, squeeze=False).ravel()
    for axes, (name, wanted) in zip(panels, space.items(), strict=False):
        for place, item in enumerate(found.groups):
            rows = _scored(item)
            shift = (place - (len(found.groups) - 1) / 2) * 0.16
            values = _places(wanted, [row.hyperparameters[name] for row in rows])
            if isinstance(wanted, Choice):
                values = values + shift
            for status, face in (("completed", colours.of(item.name)), ("stopped", "none")):
                chosen = [index for index, row in enumerate(rows) if row.status == status]
                axes.scatter(
                    values[chosen],
                    [rows[index].objective or 0.0 for index in chosen],
                    s=13,
                    marker=colours.marker(item.name),
                    facecolors=face,
                    edgecolors=colours.of(item.name),
                    linewidths=0.7,
                    alpha=0.8 if len(rows) < MANY else 0.15,
                    rasterized=len(rows) > MANY,
                    label=item.name if status == "completed" else None,
                )
        _value_axis(axes, wanted)
        axes.set_xlabel(name.replace("_", " "))
        percent_axis(axes.yaxis)
    for axes in panels[::2]:
        axes.set_ylabel("objective")
    for axes in panels[len(space) :]:
        axes.set_axis_off()
    solid(legend_below(figure, panels[0]))
    return finish(
        found,
        figure,
        section=SPACE,
        name="slices",
        title="Objective against each hyperparameter",
        caption="Every trial with a score: filled where it was completed, hollow where it was stopped, with its "
        "objective at that time; failed ones are left out. Choices stand side by side by method.",
        seen=descriptions.of_best_tenth([row for item in found.groups for row in _scored(item)], space),
    )


def _parallel(found: Comparison, item: Group) -> Drawing:
    space = item.studies[0].space
    rows = sorted(_scored(item), key=lambda row: row.objective or 0.0)
    colour = Colours(found).of(item.name)
    figure = new_figure(height=3.7)
    axes = figure.subplots()
    axes.grid(False)
    columns = [
        _unit(wanted, _places(wanted, [row.hyperparameters[key] for row in rows])) for key, wanted in space.items()
    ]
    scores = np.array([row.objective or 0.0 for row in rows])
    low, high = (scores.min(), scores.max()) if len(scores) else (0.0, 1.0)
    span = high - low if high > low else 1.0
    columns.append((scores - low) / span if high > low else np.full(len(scores), 0.5))
    lines = np.stack(columns, axis=1) if rows else np.empty((0, len(columns)))
    places = np.arange(lines.shape[1])
    top = max(1, round(len(rows) / 10))
    # What is drawn as pixels cannot follow light and dark: grey is seen on both.
    dense = len(rows) > MANY
    for part, shade, alpha, width in (
        (lines[:-top], BASELINE_COLOUR if dense else INK, 0.22, 0.7),
        (lines[-top:], colour, 0.95, 1.6),
    ):
        faint = alpha if len(part) < 100 else alpha * max(0.15, 100 / len(part))
        draw_lines(axes, places, part, colour=shade, alpha=faint, width=width, dense=dense)
    for place, (_, wanted) in enumerate(space.items()):
        axes.axvline(place, color=INK, linewidth=0.8, alpha=0.6)
        for text, height in _ticks(wanted):
            _tick(axes, place, height, text)
    axes.axvline(places[-1], color=INK, linewidth=0.8, alpha=0.6)
    for text, height in ((percent(low), 0.0), (percent(high), 1.0)):
        _tick(axes, len(space), height, text)
    axes.set_xticks(places, [*(key.replace("_", "\n") for key in space), "objective"])
    axes.set_yticks([])
    axes.set_xlim(-0.25, len(space) + 0.5)
    axes.set_ylim(-0.08, 1.08)
    for side in axes.spines.values():
        side.set_visible(False)
    return finish(
        found,
        figure,
        section=SPACE,
        name=f"parallel-{slug(item, found)}",
        title=f"Parallel coordinates: {item.name}",
        caption=f"Every trial with a score, one line each ({len(rows):,}); coloured are the best tenth ({top:,}).",
        seen=descriptions.of_best_tenth(rows, space),
    )


def _scored(item: Group) -> list[TrialRow]:
    return [row for study in item.studies for row in study.trials if row.is_scored]


def _places(wanted: Range, values: Sequence[Value]) -> np.ndarray:
    """Where values stand on an axis: themselves, or the place of a choice among the choices."""
    if isinstance(wanted, Choice):
        return np.array([wanted.choices.index(value) for value in values], np.float64)
    return np.array(values, np.float64)


def _unit(wanted: Range, places: np.ndarray) -> np.ndarray:
    """Places on the axis from 0 to 1."""
    if isinstance(wanted, Choice):
        return places / (len(wanted.choices) - 1) if len(wanted.choices) > 1 else np.full(len(places), 0.5)
    if wanted.scale == "log":
        return np.asarray(np.log(places / wanted.low) / np.log(wanted.high / wanted.low))
    return (places - wanted.low) / (wanted.high - wanted.low)


def _ticks(wanted: Range) -> list[tuple[str, float]]:
    if not isinstance(wanted, Choice):
        return [(f"{end:g}" if isinstance(end, float) else str(end), float(end == wanted.high)) for end in ends(wanted)]
    heights = _unit(wanted, np.arange(len(wanted.choices), dtype=np.float64))
    return [(in_words(choice), float(height)) for choice, height in zip(wanted.choices, heights, strict=True)]


def _tick(axes: Axes, place: float, height: float, text: str) -> None:
    axes.annotate(
        text, (place, height), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5,
        bbox={"boxstyle": "round,pad=0.15", "facecolor": SURFACE, "edgecolor": "none", "alpha": 0.85},
    )  # fmt: skip


def _value_axis(axes: Axes, wanted: Range) -> None:
    if isinstance(wanted, Choice):
        axes.set_xticks(range(len(wanted.choices)), [in_words(choice) for choice in wanted.choices])
        axes.set_xlim(-0.5, len(wanted.choices) - 0.5)
    elif wanted.scale == "log":
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
