"""Figures of single trials and single retraining runs: learning curves, rungs, slices, parallel coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from catdog_ray.comparison import Comparison
from catdog_ray.figures import Colours, Drawing, finish
from catdog_ray.groups import Group
from catdog_ray.plots import BASELINE_COLOUR, INK, SURFACE, legend_below, new_figure, style
from catdog_ray.records import TrialRow
from catdog_ray.retrained import BASELINE, Run, epochs_of
from catdog_ray.settings import Choice, FloatRange, Range, Value
from catdog_ray.tables import RETRAINING, SPACE, TRIALS, percent

_ROWS, _COLUMNS = 180, 520
"""Pixels of a figure of very many lines."""

_MANY = 300
"""From so many lines or marks on they are drawn as pixels: a vector of each would make a page of megabytes."""


def draw_trials(found: Comparison) -> list[Drawing]:
    """All figures for which there is something to show."""
    with style():
        drawings = [_survival(found)]
        drawings += [_learning_curves(found, item) for item in found.groups]
        drawings += _importance(found)
        drawings.append(_slices(found))
        drawings += [_parallel(found, item) for item in found.groups]
        drawings += _retraining(found)
        return drawings


def _survival(found: Comparison) -> Drawing:
    colours = Colours(found)
    figure = new_figure()
    axes = figure.subplots()
    for item in found.groups:
        rows = [row for study in item.studies for row in study.trials]
        longest = item.studies[0].facts["config"]["search"]["max_epochs"]
        epochs = np.arange(1, longest + 1)
        reached = np.array([row.epochs for row in rows])
        share = np.array([(reached >= epoch).mean() for epoch in epochs])
        axes.step(
            epochs,
            share,
            where="mid",
            color=colours.of(item.name),
            linewidth=1.8,
            label=f"{item.name} ({len(rows):,} trials)",
        )
    axes.set_ylim(0, 1.04)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("trials that finished it")
    legend_below(figure, axes)
    return finish(
        found,
        figure,
        section=TRIALS,
        name="survival",
        title="Survival through the rungs",
        caption="The share of all trials that finished each epoch; it falls where trials stop early or fail.",
    )


def _learning_curves(found: Comparison, item: Group) -> Drawing:
    colour = Colours(found).of(item.name)
    figure = new_figure()
    axes = figure.subplots()
    drawn = [(row, study.courses[row.trial].accuracies) for study in item.studies for row in study.trials]
    drawn = [(row, accuracies) for row, accuracies in drawn if len(accuracies)]
    dense = len(drawn) > _MANY
    for status, alpha in (("stopped", 0.35), ("completed", 0.75), ("failed", 0.75)):
        chosen = [accuracies for row, accuracies in drawn if row.status == status]
        if not chosen:
            continue
        longest = max(map(len, chosen))
        values = np.array([np.pad(each, (0, longest - len(each)), constant_values=np.nan) for each in chosen])
        faint = alpha if len(drawn) < 60 else alpha * max(0.08, 60 / len(drawn))
        _lines(axes, np.arange(1, longest + 1), values, colour=colour, alpha=faint, width=0.9, dense=dense)
        ends = np.array([(len(each), each[-1]) for each in chosen])
        shape, shade = {
            "stopped": ("x", BASELINE_COLOUR if dense else INK),
            "completed": ("o", colour),
            "failed": ("P", "#c9444d"),
        }[status]
        axes.scatter(
            ends[:, 0], ends[:, 1], marker=shape, s=16, color=shade, linewidths=0.9, alpha=min(1.0, 2 * faint + 0.15),
            label=f"{status} ({len(chosen):,})", rasterized=dense, zorder=3,
        )  # fmt: skip
    axes.autoscale()
    axes.set_xlim(left=0.4)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_xlabel("epoch")
    axes.set_ylabel("selection accuracy")
    if drawn:
        legend = axes.legend(loc="lower right", ncols=3, handletextpad=0.2, columnspacing=0.9)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
    return finish(
        found,
        figure,
        section=TRIALS,
        name=f"learning-{_slug(item, found)}",
        title=f"Learning curves: {item.name}",
        caption="Every trial of every search, epoch by epoch; crosses were stopped early.",
    )


def _importance(found: Comparison) -> Iterator[Drawing]:
    shares = {name: each for name, each in found.importance.items() if each is not None}
    if not shares:
        return
    colours = Colours(found)
    names = list(next(iter(shares.values())))
    figure = new_figure(height=1.3 + 0.16 * len(names) * (1 + len(shares)))
    axes = figure.subplots()
    height = 0.8 / len(shares)
    for place, (name, each) in enumerate(shares.items()):
        where = np.arange(len(names)) + (place - (len(shares) - 1) / 2) * height
        axes.barh(where, [each[key] for key in names], height * 0.92, color=colours.of(name), label=name)
    axes.set_yticks(range(len(names)), [key.replace("_", " ") for key in names])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_xlabel("share of the importance")
    axes.legend(loc="lower right")
    yield finish(
        found,
        figure,
        section=SPACE,
        name="importance",
        title="Importance of the hyperparameters",
        caption="PED-ANOVA: what separates the best tenth of the trials from the rest, within the ranges searched.",
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
                    [rows[index].objective or np.nan for index in chosen],
                    s=13,
                    marker=colours.marker(item.name),
                    facecolors=face,
                    edgecolors=colours.of(item.name),
                    linewidths=0.7,
                    alpha=0.8 if len(rows) < _MANY else 0.15,
                    rasterized=len(rows) > _MANY,
                    label=item.name if status == "completed" else None,
                )
        _value_axis(axes, wanted)
        axes.set_xlabel(name.replace("_", " "))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    for axes in panels[::2]:
        axes.set_ylabel("objective")
    for axes in panels[len(space) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    if len(space) < len(panels):
        panels[-1].legend(handles, labels, loc="center", title="filled: completed\nhollow: stopped early")
    return finish(
        found,
        figure,
        section=SPACE,
        name="slices",
        title="Objective against each hyperparameter",
        caption="Every trial with a score. Stopped ones show their objective at that time; failed ones are left out.",
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
    dense = len(rows) > _MANY
    for part, shade, alpha, width in (
        (lines[:-top], BASELINE_COLOUR if dense else INK, 0.22, 0.7),
        (lines[-top:], colour, 0.95, 1.6),
    ):
        faint = alpha if len(part) < 100 else alpha * max(0.15, 100 / len(part))
        _lines(axes, places, part, colour=shade, alpha=faint, width=width, dense=dense)
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
        name=f"parallel-{_slug(item, found)}",
        title=f"Parallel coordinates: {item.name}",
        caption=f"Every trial with a score, one line each ({len(rows):,}); coloured are the best tenth ({top:,}).",
    )


def _retraining(found: Comparison) -> Iterator[Drawing]:
    baseline = found.runs.get(BASELINE, {})
    colours = Colours(found)
    for item in found.groups:
        milestones = found.runs.get(item.name, {})
        if not milestones:
            continue
        figure = new_figure(height=6.0)
        sides = figure.subplots(2, 1, sharex=True)
        shown = False
        for name, runs in ((BASELINE, _last(baseline)), (item.name, _last(milestones))):
            for axes, quantity in zip(sides, ("loss", "accuracy"), strict=True):
                shown |= _runs(axes, runs, quantity=quantity, name=name, colour=colours.of(name))
        if not shown:
            continue
        for milestone in milestones:
            for axes in sides:
                axes.axvline(milestone, color=INK, linewidth=0.8, alpha=0.5, linestyle=":")
        sides[0].set_ylabel("loss")
        sides[1].set_ylabel("accuracy")
        sides[1].set_xlabel("epoch")
        sides[1].xaxis.set_major_locator(MaxNLocator(8, integer=True))
        sides[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        legend_below(figure, sides[1])
        yield finish(
            found,
            figure,
            section=RETRAINING,
            name=f"retraining-{_slug(item, found)}",
            title=f"Retraining: {item.name}",
            caption="Training dashed (running mean, augmented, with dropout), validation (test images) solid; thin "
            "lines are runs, bold ones their mean. Dotted lines are milestones.",
        )


def _runs(axes: Axes, runs: Sequence[Run], *, quantity: str, name: str, colour: str) -> bool:
    """Whether there were epochs to draw. A loss that was not finite is a gap."""
    courses = [course for course in epochs_of(runs) if course]
    if not courses:
        return False
    length = min(len(course) for course in courses)
    for split, words, line in (("train", "training", (0, (4, 1.5))), ("test", "validation", "-")):
        values = np.array(
            [[getattr(epoch, f"{split}_{quantity}") for epoch in course[:length]] for course in courses], np.float64
        )
        epochs = np.arange(1, length + 1)
        if 1 < len(courses) <= 12:
            axes.plot(epochs, values.T, color=colour, linestyle=line, linewidth=0.6, alpha=0.4)
        axes.plot(
            epochs, values.mean(axis=0), color=colour, linestyle=line, linewidth=1.7,
            label=f"{name}, {words} (n={len(courses)})",
        )  # fmt: skip
    return True


def _lines(
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
    heights = values[:, left] * (1 - share) + np.where(share > 0, values[:, left + 1], 0.0) * share
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    rows = np.round((heights - low) / ((high - low) or 1.0) * (_ROWS - 1))
    known = ~np.isnan(rows)
    cells = rows[known].astype(int) * _COLUMNS + np.broadcast_to(np.arange(_COLUMNS), rows.shape)[known]
    counts = np.bincount(cells, minlength=_ROWS * _COLUMNS).reshape(_ROWS, _COLUMNS)
    image = np.zeros((_ROWS, _COLUMNS, 4))
    image[..., :3] = to_rgb(colour)
    image[..., 3] = np.where(counts, 0.1 + 0.85 * np.log1p(counts) / np.log1p(counts.max()), 0.0)
    edges = (float(at[0]), float(at[-1]), low, high)
    axes.imshow(image, extent=edges, origin="lower", aspect="auto", interpolation="nearest")


def _last(milestones: Mapping[int, Sequence[Run]]) -> Sequence[Run]:
    return milestones[max(milestones)] if milestones else ()


def _scored(item: Group) -> list[TrialRow]:
    return [
        row for study in item.studies for row in study.trials if row.status != "failed" and row.objective is not None
    ]


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
    if isinstance(wanted, FloatRange):
        return [(f"{wanted.low:g}", 0.0), (f"{wanted.high:g}", 1.0)]
    heights = _unit(wanted, np.arange(len(wanted.choices), dtype=np.float64))
    return [(str(choice), float(height)) for choice, height in zip(wanted.choices, heights, strict=True)]


def _tick(axes: Axes, place: float, height: float, text: str) -> None:
    axes.annotate(
        text, (place, height), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5,
        bbox={"boxstyle": "round,pad=0.15", "facecolor": SURFACE, "edgecolor": "none", "alpha": 0.85},
    )  # fmt: skip


def _value_axis(axes: Axes, wanted: Range) -> None:
    if isinstance(wanted, Choice):
        axes.set_xticks(range(len(wanted.choices)), [str(choice) for choice in wanted.choices])
        axes.set_xlim(-0.5, len(wanted.choices) - 0.5)
    elif wanted.scale == "log":
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())


def _slug(item: Group, found: Comparison) -> str:
    """The method as part of a file's name, with a number where it has several configurations."""
    same = [other.name for other in found.groups if other.method == item.method]
    plain = "".join(sign if sign.isalnum() else "-" for sign in item.method)
    return plain if len(same) == 1 else f"{plain}-{same.index(item.name) + 1}"
