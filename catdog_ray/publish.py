"""From folders of studies to the files of a comparison: what `scripts/compare_results.py` calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catdog_ray import (
    comparison,
    config,
    data,
    decoding,
    figures,
    markdown,
    report,
    searched,
    space_figures,
    summary,
    trial_figures,
)
from catdog_ray.compare import Study
from catdog_ray.comparison import Comparison
from catdog_ray.errors import UserError
from catdog_ray.files import replace_file, to_json
from catdog_ray.groups import ComparisonError
from catdog_ray.ledger import StudyDirectory


def publish(
    folders: Sequence[Path], output: Path, *, skip_bad: bool, target: float | None, data_source: str | None
) -> tuple[Comparison, list[Path]]:
    """Compare and write; returns the comparison and the files. Nothing is written unless everything can be made."""
    if (output / "study.json").exists():
        raise ComparisonError(f"--output: {output} is a study; a comparison has a folder of its own")
    studies, left_out = comparison.read(folders, skip_bad=skip_bad)
    found = comparison.compare(studies, left_out, target=target)
    pictures = _pictures(found, data_source)
    drawings = [*figures.draw(found), *trial_figures.draw_trials(found), *space_figures.draw_space(found)]
    files: dict[Path, str | bytes] = {
        output / "comparison.json": to_json(as_json(found), indent=1) + "\n",
        output / "comparison.md": markdown.page(found, summary.sentences(found)),
        output / "report.html": report.page(found, drawings, pictures=pictures),
        **{output / "figures" / f"{item.name}.svg": item.svg for item in drawings},
    }
    try:
        (output / "figures").mkdir(parents=True, exist_ok=True)
        for old in sorted((output / "figures").glob("*.svg")):
            if old not in files:
                old.unlink()
        for path, content in files.items():
            replace_file(path, content)
    except OSError as error:
        raise ComparisonError(f"--output: {output} cannot be written ({error.strerror})") from None
    return found, list(files)


def as_json(found: Comparison) -> dict[str, Any]:
    """What comparison.json holds; keys are field names, null stands for what is not known."""
    return {
        "schema_version": 1,
        "title": found.title,
        "drawn": found.is_drawn,
        "warnings": list(found.warnings),
        "left_out": [dataclasses.asdict(item) for item in found.left_out],
        "studies": [
            {
                "name": study.name,
                "method": study.method,
                "group": item.name,
                "seed": study.seed,
                "commit": study.facts.get("commit"),
                "best_objective": searched.best_objective(study),
            }
            for item in found.groups
            for study in item.studies
        ],
        "methods": [dataclasses.asdict(item) for item in found.methods],
        "best_known_objective": found.reference,
        "best_so_far": {
            axis: {
                name: None
                if middle is None
                else {
                    "at": middle.grid.tolist(),
                    "interquartile_mean": middle.middle.tolist(),
                    "low": middle.low.tolist(),
                    "high": middle.high.tolist(),
                }
                for name, middle in by_name.items()
            }
            for axis, by_name in found.bands.items()
        },
        "common_epochs": found.common_epochs,
        "target": found.target,
        "target_words": found.target_words,
        "time_to_target": {
            name: {axis: dataclasses.asdict(time) for axis, time in by_axis.items()}
            for name, by_axis in found.times.items()
        },
        "constant_answer": found.constant and dataclasses.asdict(found.constant),
        "retrained": [dataclasses.asdict(item) for item in found.accuracies],
        "differences": [
            {**dataclasses.asdict(item), "shown": comparison.is_shown(found, item)}
            for item in (
                *found.searches_compared,
                *found.accuracies_compared,
                *found.milestones_compared,
                *found.images_compared,
            )
        ],
        "last_epochs": {
            str(window): [dataclasses.asdict(item) for item in items] for window, items in found.last_epochs.items()
        },
        "jitter": found.jitter,
        "importance": found.importance,
        "importance_intervals": found.importance_intervals,
        "early_stopping": [dataclasses.asdict(item) for item in found.early_stopping],
        "classified": [
            {
                "name": item.name,
                "milestone": item.milestone,
                "runs": item.runs,
                "confusion": item.confusion.tolist(),
                "calibration": dataclasses.asdict(item.calibration),
                "accuracy_together": item.together,
                "test_loss": item.loss and dataclasses.asdict(item.loss),
            }
            for item in found.classified
        ],
        "mistakes": [dataclasses.asdict(item) for item in found.mistakes],
    }


def as_studies(found: Comparison) -> list[Study]:
    """The studies as the terminal's table wants them."""
    return [
        Study(study.folder, study.facts, study.trials, study.retrain) for item in found.groups for study in item.studies
    ]


def _pictures(found: Comparison, source: str | None) -> dict[str, bytes]:
    """PNG files of the mistaken test images by name; {} where the data is not at hand.

    It is at hand where `source` names it, or where the study was run here and its data still lies there. DataError or
    ComparisonError where `source` cannot be read or holds other images.
    """
    first = found.groups[0].studies[0]
    wanted = {item.file for item in found.mistakes}
    known = StudyDirectory(first.folder).read_machine_settings().get("data.source")
    place = source or known
    if not wanted or place is None:
        return {}
    try:
        settings = config.from_dict(first.facts["config"]).data
        splits = data.load(dataclasses.replace(settings, source=str(place)))
    except UserError:
        if source is None:
            return {}
        raise
    if splits.fingerprint != first.facts["data"]["fingerprint"]:
        if source is None:
            return {}
        raise ComparisonError(f"--data: {source} holds other images than the studies were made with")
    shown = {}
    for file, pixels in zip(splits.test.files, splits.test.pixels, strict=True):
        if file in wanted:
            shown[file] = decoding.encode(pixels)
    return shown
