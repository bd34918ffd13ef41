"""Figures of single trials and single retraining runs: learning curves, and how many trials reach each rung."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from catdog_ray import descriptions, early_stopping
from catdog_ray.comparison import Comparison
from catdog_ray.drawings import Colours, Drawing, finish, percent_axis, slug
from catdog_ray.groups import Group
from catdog_ray.plots import BASELINE_COLOUR, INK, MANY, draw_lines, legend_below, new_figure, solid, style
from catdog_ray.retrained import BASELINE, Run, epochs_of
from catdog_ray.table import RETRAINING, TRIALS

CUT = "cut by the time budget"
"""A trial's end beside its status."""


def draw_trials(found: Comparison) -> list[Drawing]:
    """All figures for which there is something to show."""
    with style():
        drawings = [_survival(found)]
        drawings += [_learning_curves(found, item) for item in found.groups]
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
            linestyle=colours.line(item.name),
            linewidth=1.8,
            label=f"{item.name} ({len(rows):,} trials)",
        )
    rungs = early_stopping.rungs([study for item in found.groups for study in item.studies])
    for rung in rungs:
        # Those who are stopped at a rung have finished its epoch.
        axes.axvline(rung + 0.5, color=INK, alpha=0.4, linewidth=0.8, linestyle=":", zorder=0)
    axes.set_ylim(0, 1.04)
    percent_axis(axes.yaxis)
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
        caption="The share of all trials that finished each epoch; it falls where trials stop early or fail."
        + (f" Dotted: the rungs, after epochs {', '.join(map(str, rungs))}." if rungs else ""),
        seen=descriptions.of_survival(found),
    )


def _learning_curves(found: Comparison, item: Group) -> Drawing:
    colour = Colours(found).of(item.name)
    figure = new_figure()
    axes = figure.subplots()
    drawn = [
        (CUT if row.trial in cut else row.status, study.courses[row.trial].accuracies)
        for study in item.studies
        for cut in [early_stopping.cut_by_time(study)]
        for row in study.trials
    ]
    drawn = [(end, accuracies) for end, accuracies in drawn if len(accuracies)]
    dense = len(drawn) > MANY
    for status, alpha in (("stopped", 0.35), (CUT, 0.35), ("completed", 0.75), ("failed", 0.75)):
        chosen = [accuracies for end, accuracies in drawn if end == status]
        if not chosen:
            continue
        length = max(map(len, chosen))
        values = np.full((len(chosen), length), np.nan)
        for place, each in enumerate(chosen):
            values[place, : len(each)] = each
        faint = alpha if len(drawn) < 60 else alpha * max(0.08, 60 / len(drawn))
        draw_lines(axes, np.arange(1, length + 1), values, colour=colour, alpha=faint, width=0.9, dense=dense)
        ends = np.array([(len(each), each[-1]) for each in chosen])
        shape, shade = {
            "stopped": ("x", BASELINE_COLOUR if dense else INK),
            CUT: ("|", BASELINE_COLOUR if dense else INK),
            "completed": ("o", colour),
            "failed": ("P", "#c9444d"),
        }[status]
        axes.scatter(
            ends[:, 0], ends[:, 1], marker=shape, s=16, color=shade, linewidths=0.9, alpha=min(1.0, 2 * faint + 0.15),
            label=f"{status} ({len(chosen):,})", rasterized=dense, zorder=3,
        )  # fmt: skip
    axes.autoscale()
    longest = max((len(accuracies) for _, accuracies in drawn), default=1)
    axes.set_xlim(0.4, longest + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    percent_axis(axes.yaxis)
    axes.set_xlabel("epoch")
    axes.set_ylabel("selection accuracy")
    if drawn:
        solid(legend_below(figure, axes, columns=3))
    return finish(
        found,
        figure,
        section=TRIALS,
        name=f"learning-{slug(item, found)}",
        title=f"Learning curves: {item.name}",
        caption="Every trial of every search, epoch by epoch"
        + ("; crosses were stopped." if any(end == "stopped" for end, _ in drawn) else "."),
        seen=descriptions.of_learning(found, item),
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
                colour = colours.of(name)
                shown |= _runs(axes, runs, quantity=quantity, name=name, colour=colour, longest=max(milestones))
        if not shown:
            continue
        for milestone in milestones:
            for axes in sides:
                axes.axvline(milestone, color=INK, linewidth=0.8, alpha=0.5, linestyle=":")
        sides[0].set_ylabel("loss")
        sides[1].set_ylabel("accuracy")
        sides[1].set_xlabel("epoch")
        sides[1].xaxis.set_major_locator(MaxNLocator(8, integer=True))
        percent_axis(sides[1].yaxis)
        legend_below(figure, sides[1])
        yield finish(
            found,
            figure,
            section=RETRAINING,
            name=f"retraining-{slug(item, found)}",
            title=f"Retraining: {item.name}",
            caption="Training dashed (running mean, augmented, with dropout), validation (test images) solid; thin "
            "lines are runs, bold ones their mean. Dotted lines are milestones.",
            seen=descriptions.of_retraining(found, item.name),
        )


def _runs(axes: Axes, runs: Sequence[Run], *, quantity: str, name: str, colour: str, longest: int) -> bool:
    """Whether there were epochs to draw, where the longest run has `longest`. A loss that was not finite is a gap."""
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
        end = f", to epoch {length}" if length < longest else ""
        axes.plot(
            epochs, values.mean(axis=0), color=colour, linestyle=line, linewidth=1.7,
            label=f"{name}, {words} (n={len(courses)}{end})",
        )  # fmt: skip
    return True


def _last(milestones: Mapping[int, Sequence[Run]]) -> Sequence[Run]:
    return milestones[max(milestones)] if milestones else ()
