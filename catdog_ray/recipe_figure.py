"""The figure of recipes: selection accuracy over the epochs."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import MaxNLocator

from catdog_ray.drawings import percent_axis
from catdog_ray.plots import BASELINE_COLOUR, LINES, PALETTE, legend_below, new_figure, style, to_svg
from catdog_ray.recipes import REFERENCE, Recipes

SMOOTHED_EPOCHS = 20
"""Of the lines: single epochs jump by points."""


def draw(recipes: Recipes) -> str:
    """An SVG: the mean of all seeds, smoothed."""
    with style():
        figure = new_figure(width=7.2, height=4.4)
        axes = figure.subplots()
        for place, (recipe, by_seed) in enumerate(recipes.items()):
            courses = [course.accuracies for study in by_seed.values() for course in study.courses.values()]
            window = min(SMOOTHED_EPOCHS, *map(len, courses))
            mean = np.convolve(np.mean(courses, axis=0), np.full(window, 1 / window), mode="valid")
            axes.plot(
                np.arange(window, len(courses[0]) + 1),
                mean,
                color=BASELINE_COLOUR if recipe == REFERENCE else PALETTE[(place - 1) % len(PALETTE)],
                linewidth=2.4 if recipe == REFERENCE else 1.5,
                linestyle="-" if recipe == REFERENCE else LINES[place % len(LINES)],
                label=f"{recipe} (n={len(courses)})",
            )
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        percent_axis(axes.yaxis)
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"selection accuracy, mean of {SMOOTHED_EPOCHS} epochs")
        legend_below(figure, axes, columns=4)
        title = "Selection accuracy by recipe, mean over seeds (running mean of epochs)"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        return to_svg(figure, title=title)
