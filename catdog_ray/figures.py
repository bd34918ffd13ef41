"""The figures of a comparison, each an SVG with a title, a caption and a text for those who cannot see it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, MultipleLocator, PercentFormatter

from catdog_ray import descriptions
from catdog_ray.compare import guides_figures
from catdog_ray.comparison import Comparison, is_impression, is_shown
from catdog_ray.curves import Band
from catdog_ray.drawings import Colours, Drawing, finish, percent_axis
from catdog_ray.plots import BASELINE_COLOUR, INK, PALETTE, SURFACE, legend_below, new_figure, style
from catdog_ray.retrained import BASELINE
from catdog_ray.retrained import SEARCHES as SEARCHES_UNIT
from catdog_ray.statistics import ENOUGH_SEEDS, Difference, Estimate
from catdog_ray.table import DIFFERENCES, MODELS, RETRAINING, SEARCHES
from catdog_ray.words import NO_DIFFERENCE, counted, percent

_AXIS_NAMES = {
    "trials": "trials ended",
    "epochs": "epochs trained, all trials together",
    "multiply_adds": "multiply-adds",
    "seconds": "wall-clock",
}


def draw(found: Comparison) -> list[Drawing]:
    """All figures for which there is something to show."""
    with style():
        return [
            *_best_so_far(found),
            *_target(found),
            *_differences(found),
            *_retrained(found),
            *_classified(found),
        ]


def _best_so_far(found: Comparison) -> Iterator[Drawing]:
    counts = {len(item.studies) for item in found.groups}
    if counts == {1}:
        what = "One search of each method."
    elif max(counts) <= 3:
        what = "The mean over searches, and from the lowest to the highest of them: a range, no confidence interval."
    else:
        narrow = f" With fewer than {ENOUGH_SEEDS} searches it is too narrow." if min(counts) < ENOUGH_SEEDS else ""
        what = f"Interquartile mean over searches, with its bootstrap interval over seeds.{narrow}"
    for axis, words in _AXIS_NAMES.items():
        figure = new_figure()
        axes = figure.subplots()
        if not _bands(axes, found, axis):
            continue
        axes.set_ylim(bottom=_floor([middle for middle in found.bands[axis].values() if middle is not None]))
        percent_axis(axes.yaxis)
        _spending_axis(axes, axis)
        axes.set_ylabel("best selection objective so far")
        legend_below(figure, axes)
        yield finish(
            found,
            figure,
            section=SEARCHES,
            name=f"best-{axis.replace('_', '-')}",
            title=f"Best so far against {words.split(',')[0]}",
            caption=f"{what} A trial counts from the moment it ended; a search that ended keeps its value. The axis "
            "begins a little below what was known after a tenth of the spending.",
            seen=descriptions.of_best_so_far(found, axis),
        )


def _bands(axes: Axes, found: Comparison, axis: str) -> bool:
    """Step and band of every method's best objective; whether there was one."""
    colours = Colours(found)
    bands = {name: band for name, band in found.bands[axis].items() if band is not None}
    for name, band in bands.items():
        colour, label = colours.of(name), f"{name} (n={band.seeds})"
        line = colours.line(name)
        grid, middle, low, high = _corners(band)
        axes.step(grid, middle, where="post", color=colour, ls=line, linewidth=1.8, label=label)
        if band.seeds > 1:
            axes.fill_between(grid, low, high, step="post", color=colour, alpha=0.2, lw=0)
    return bool(bands)


def _corners(band: Band) -> np.ndarray:
    """Grid, middle, low and high (4, places) where one of them moves, and at both ends: all that steps need."""
    lines = np.stack([band.grid, band.middle, band.low, band.high])
    moves = (np.diff(np.nan_to_num(lines[1:])) != 0).any(axis=0)
    return np.asarray(lines[:, np.concatenate([[True], moves[:-1], [True]])])


def _floor(bands: Sequence[Band]) -> float:
    """Where the axis begins: a little below all that was known after a tenth of the spending, when searches differ."""
    known = [np.where(np.isnan(item.low), item.middle, item.low) for item in bands]
    starts = [item.grid[0] + 0.1 * (item.grid[-1] - item.grid[0]) for item in bands]
    later = [low[item.grid >= start] for low, item, start in zip(known, bands, starts, strict=True)]
    lowest, highest = min(float(low.min()) for low in later), max(float(item.middle.max()) for item in bands)
    return max(0.0, lowest - 0.25 * max(highest - lowest, 0.01))


def _target(found: Comparison) -> Iterator[Drawing]:
    if not any(times["epochs"].reached for times in found.times.values()):
        return
    colours = Colours(found)
    figure = new_figure()
    axes = figure.subplots()
    for name, times in found.times.items():
        item = times["epochs"]
        end = max(each["epochs"].end for each in found.curves[name])
        at = [0.0, *item.spent, end]
        share = [0.0, *item.share_reached, item.share_reached[-1] if item.share_reached else 0.0]
        label = f"{name} ({item.reached} of {item.n})"
        axes.step(at, share, where="post", color=colours.of(name), ls=colours.line(name), linewidth=1.8, label=label)
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_ylabel("searches that reached it")
    axes.axhline(0.5, color=INK, alpha=0.4, linewidth=0.8, linestyle=":")
    _spending_axis(axes, "epochs")
    legend_below(figure, axes)
    yield finish(
        found,
        figure,
        section=SEARCHES,
        name="target",
        title=f"Reaching an objective of {100 * (found.target or 0):.2f} %",
        caption=f"The objective is {found.target_words}. Kaplan-Meier estimate; searches that ended before are "
        "censored there. The dotted line is the median.",
        seen=descriptions.of_target(found),
    )


def _differences(found: Comparison) -> Iterator[Drawing]:
    for name, items, title, pairs in (
        ("searches", found.searches_compared, "Best objectives", "search, by seed (Student's t)"),
        ("retrained", found.accuracies_compared, "Test accuracies over seeds", "seed (Student's t)"),
        ("images", found.images_compared, "Test accuracies over images", "test image (bootstrap over images)"),
    ):
        if not items:
            continue
        # Then they share runs, see `tables`.
        is_apart = any(item.second == BASELINE and item.unit == SEARCHES_UNIT for item in items)
        apart = "; several searches that share runs of the baseline are unpaired (Welch)" if is_apart else ""
        figure = new_figure(height=1.1 + 0.52 * len(items))
        axes = figure.subplots()
        for place, item in enumerate(items):
            difference = item.difference
            is_claim = is_shown(found, item) and not is_impression(item)
            colour = PALETTE[0] if is_claim else BASELINE_COLOUR
            if difference.low is not None and difference.high is not None:
                axes.plot([100 * difference.low, 100 * difference.high], [place, place], color=colour, linewidth=2.2)
            axes.plot(100 * difference.mean, place, "o", color=colour, markersize=6)
            alike = ", all alike" if difference.is_alike else ""
            end = ", at the end" if name == "searches" else ""
            epochs = end if item.milestone is None else f", {item.milestone} epochs"
            _row_label(axes, place, f"{item.first} minus {item.second}{epochs} (n={difference.n}{alike})")
        # Not through the names of the rows.
        places = np.arange(len(items))
        axes.vlines(np.zeros(len(items)), places - 0.12, places + 0.5, color=INK, linewidth=1)
        axes.set_ylim(len(items) - 0.5, -0.9)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(_with_interval("difference in accuracy (points)", [item.difference for item in items]))
        yield finish(
            found,
            figure,
            section=DIFFERENCES,
            name=f"differences-{name}",
            title=f"Differences: {title}, paired",
            caption=f"Paired by {pairs}{apart}. Coloured: a difference is shown; grey: {NO_DIFFERENCE} "
            f"between the methods, or of fewer than {ENOUGH_SEEDS} searches. A dot alone has no interval.",
            seen=descriptions.of_differences(found, items),
        )


def _retrained(found: Comparison) -> Iterator[Drawing]:
    if not found.accuracies:
        return
    colours = Colours(found)
    rows = len(found.accuracies)
    reported = guides_figures(found.groups[0].studies[0].facts)
    beside = "; ".join(f"{what} {percent(validation)}" for what, _, validation in reported)
    figure = new_figure(height=1.0 + 0.5 * rows)
    axes = figure.subplots()
    for place, item in enumerate(found.accuracies):
        colour = colours.of(item.name)
        if item.test.low is not None and item.test.high is not None:
            axes.plot([item.test.low, item.test.high], [place, place], color=colour, linewidth=2.2)
        axes.plot(item.test.mean, place, colours.marker(item.name), color=colour, markersize=6)
        alike = ", all alike" if item.test.is_alike else ""
        n = counted(item.test.n, item.unit)
        _row_label(axes, place, f"{item.name}, {item.milestone} epochs (n={n}{alike})")
    axes.set_ylim(rows - 0.5, -0.9)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    percent_axis(axes.xaxis)
    axes.set_xlabel(_with_interval("test accuracy", [item.test for item in found.accuracies]))
    yield finish(
        found,
        figure,
        section=RETRAINING,
        name="retrained",
        title="Test accuracy after retraining",
        caption="Marks are means, lines Student's t intervals over n; a mark alone has none."
        + (f" Not drawn, because they are one run each on other images: {beside}." if reported else ""),
        seen=descriptions.of_accuracies(found),
    )


def _classified(found: Comparison) -> Iterator[Drawing]:
    if not found.classified:
        return
    yield _confusion(found)
    colours = Colours(found)
    figure = new_figure(height=4.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":", label="as sure as right")
    for item in found.classified:
        confidences = [value for value in item.calibration.confidences if value is not None]
        rights = [value for value in item.calibration.accuracies if value is not None]
        counts = np.array([n for n in item.calibration.counts if n])
        colour = colours.of(item.name)
        label = f"{item.name}, {item.milestone} epochs (error {100 * item.calibration.error:.1f} points)"
        axes.plot(confidences, rights, color=colour, linewidth=1.4, label=label)
        axes.scatter(
            confidences, rights, s=12 + 70 * counts / counts.max(), color=colour, marker=colours.marker(item.name)
        )
    low = min(value for item in found.classified for value in item.calibration.confidences if value is not None)
    axes.set_xlim(min(0.48, low - 0.02), 1.02)
    axes.set_ylim(0, 1.04)
    for side in (axes.xaxis, axes.yaxis):
        side.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_xlabel("confidence in the class named")
    axes.set_ylabel("share that is right")
    legend_below(figure, axes)
    yield finish(
        found,
        figure,
        section=MODELS,
        name="calibration",
        title="Calibration on the test images",
        caption="Ten equal bins of confidence; the larger the mark, the more images. Below the line: overconfident.",
        seen=descriptions.of_calibration(found),
    )


def _confusion(found: Comparison) -> Drawing:
    classes = [str(name) for name in found.groups[0].studies[0].facts["data"]["class_names"]]
    across = min(2, len(found.classified))
    down = -(-len(found.classified) // across)
    figure = new_figure(height=0.7 + 2.5 * down)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    colours = Colours(found)
    for axes, item in zip(panels, found.classified, strict=False):
        totals = np.maximum(item.confusion.sum(axis=1, keepdims=True), 1)
        shares = item.confusion / totals
        axes.grid(False)
        for row in range(len(classes)):
            for column in range(len(classes)):
                share = float(shares[row, column])
                axes.fill_between(
                    [column - 0.48, column + 0.48], row - 0.48, row + 0.48, color=colours.of(item.name),
                    alpha=0.08 + 0.5 * share, lw=0,
                )  # fmt: skip
                axes.text(
                    column, row, f"{100 * share:.1f} %\n{item.confusion[row, column]:,}", ha="center", va="center",
                    fontsize=9 if len(classes) <= 3 else 6,
                )  # fmt: skip
        axes.set_xticks(range(len(classes)), classes)
        axes.set_yticks(range(len(classes)), classes, rotation=90, va="center")
        axes.set_xlim(-0.5, len(classes) - 0.5)
        axes.set_ylim(len(classes) - 0.5, -0.5)
        axes.set_xlabel("taken for")
        axes.set_ylabel("is")
        axes.set_title(f"{item.name}, {item.milestone} epochs", fontsize=9)
    for axes in panels[len(found.classified) :]:
        axes.set_axis_off()
    return finish(
        found,
        figure,
        section=MODELS,
        name="confusion",
        title="Confusion matrices",
        caption="Share of each true class, and test images counted over all models of a method.",
        seen=descriptions.of_confusion(found),
    )


def _with_interval(words: str, estimates: Sequence[Estimate | Difference]) -> str:
    """What an axis shows: intervals too, where there are any."""
    return f"{words}, 95 % interval" if any(item.low is not None for item in estimates) else words


def _row_label(axes: Axes, place: float, text: str) -> None:
    axes.annotate(
        text, (0, place), xycoords=("axes fraction", "data"), xytext=(2, 6), textcoords="offset points", fontsize=8,
        bbox={"boxstyle": "square,pad=0.12", "facecolor": SURFACE, "edgecolor": "none"}, zorder=4,
    )  # fmt: skip


def _spending_axis(axes: Axes, axis: str) -> None:
    axes.set_xlim(left=0)
    axes.set_xlabel(_AXIS_NAMES[axis])
    if axis == "multiply_adds":
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    elif axis != "seconds":
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    else:
        longest = axes.get_xlim()[1]
        unit, size = ("h", 3600) if longest > 7200 else ("min", 60) if longest > 300 else ("s", 1)
        axes.set_xlabel(f"{_AXIS_NAMES[axis]} ({unit})")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:.3g}"))
        # Round numbers of the unit, not of seconds.
        axes.xaxis.set_major_locator(MultipleLocator(size * _round_step(longest / size / 5)))


def _round_step(rough: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `rough`."""
    power = 10.0 ** np.floor(np.log10(max(rough, 1e-9)))
    return float(next(power * step for step in (1, 2, 5, 10) if power * step >= rough * (1 - 1e-9)))
