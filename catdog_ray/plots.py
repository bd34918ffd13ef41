"""Figures of a study, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from catdog_ray.records import RetrainEpochRow

_BASELINE_COLOUR = "#d95f02"
_TUNED_COLOURS = ("#1f77b4", "#1b9e77", "#7570b3", "#666666")


def save_curves(path: Path, rows: Sequence[RetrainEpochRow], *, title: str, milestones: Sequence[int]) -> None:
    """Loss and accuracy over the epochs of retraining: training dashed, test solid, one thin line per seed."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
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
    figure.savefig(path, dpi=130, metadata={"Software": f"matplotlib {matplotlib.__version__}"})
