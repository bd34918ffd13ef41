"""From folders of studies to the files of a comparison: what `scripts/compare_results.py` calls."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from catdog_ray import comparison, config, data, figures, report, tables, trial_figures
from catdog_ray.compare import Study
from catdog_ray.comparison import Comparison
from catdog_ray.groups import ComparisonError
from catdog_ray.ledger import StudyDirectory, replace_file, to_json
from catdog_ray.settings import UserError


def publish(
    folders: Sequence[Path], output: Path, *, skip_bad: bool, target: float | None, data_source: str | None
) -> tuple[Comparison, list[Path]]:
    """Compare and write; returns the comparison and the files. Nothing is written unless everything can be made."""
    studies, left_out = comparison.read(folders, skip_bad=skip_bad)
    found = comparison.compare(studies, left_out, target=target)
    pictures = _pictures(found, data_source)
    drawings = [*figures.draw(found), *trial_figures.draw_trials(found)]
    files: dict[Path, str | bytes] = {
        output / "comparison.json": to_json(comparison.as_json(found), indent=1) + "\n",
        output / "comparison.md": tables.markdown(found),
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
        # Only the section on data matters, so that a study of an older config can still be shown.
        shipped = config.load("configs/quickstart.yaml").data
        raw = first.facts["config"]["data"]
        settings = replace(shipped, **{key: value for key, value in raw.items() if hasattr(shipped, key)})
        splits = data.load(replace(settings, source=str(place)))
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
            target = io.BytesIO()
            Image.fromarray(pixels).save(target, format="PNG")
            shown[file] = target.getvalue()
    return shown
