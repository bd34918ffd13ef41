"""What `explore` says: tables of a data set's facts, and its figure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table
from rich.text import Text

from catdog_ray import contents, evenness, files, gallery
from catdog_ray.contents import Group, Inspection
from catdog_ray.errors import DataError
from catdog_ray.layout import SPLITS
from catdog_ray.live import LiveView, make_console, say
from catdog_ray.settings import Config

_SAMPLES_PER_CLASS = 6
_FIGURE_PIXELS = 150
_SHOWN = 20


def explore(config: Config, *, as_json: bool, figure: Path | None) -> None:
    """Inspect `config.data` and print what was found. Raises DataError where nothing is readable."""
    if figure is not None:
        gallery.require_writable(figure)
    console = Console(stderr=True) if as_json else make_console()
    with LiveView(console, config.data.source) as view:
        found = contents.inspect(config.data, on_progress=view.show_decoding, on_download=view.show_downloading)
    if as_json:
        print(to_json(found))
    else:
        print_tables(console, found)
    if not found.widths:
        raise DataError(f"{found.name}: none of {len(found.skipped)} files is a readable image")
    if figure is not None:
        _save_figure(figure, config, found.name)
        console.print(f"figure: {figure}", highlight=False, markup=False, soft_wrap=True)


def to_json(found: Inspection) -> str:
    """One object with everything."""
    constant = evenness.constant_answer(_counts(found, "validation"), found.class_names)
    return files.to_json(
        {
            "name": found.name,
            "class_names": list(found.class_names),
            "counts": {
                split: {name: found.counts.get((split, name), 0) for name in found.class_names} for split in SPLITS
            },
            "constant_answer": None if constant is None else asdict(constant),
            "skipped": [{"file": file, "reason": reason} for file, reason in found.skipped],
            "formats": found.formats,
            "modes": found.modes,
            "width": _spread(found.widths),
            "height": _spread(found.heights),
            "duplicates": [asdict(group) for group in found.groups],
            "near_duplicates_searched": found.near_duplicates_searched,
        },
        indent=1,
    )


def print_tables(console: Console, found: Inspection) -> None:
    """Counts, sizes, skipped files, duplicates."""
    table = Table("class", *SPLITS, title=Text(found.name), title_justify="left")
    for name in found.class_names:
        table.add_row(Text(name), *(f"{found.counts.get((split, name), 0):,}" for split in SPLITS))
    console.print(table)
    uneven = evenness.told(_counts(found, "train"), _counts(found, "validation"), found.class_names)
    if uneven is not None:
        say(console, uneven, style="yellow" if console.is_terminal else "")
    for what, values in (("width", found.widths), ("height", found.heights)):
        if spread := _spread(values):
            say(
                console,
                f"{what}: {spread['smallest']} to {spread['largest']} pixels, "
                f"median {spread['median']:g}, mean {spread['mean']:.0f}",
            )
    say(console, f"formats: {_counted(found.formats)}; modes: {_counted(found.modes)}")
    say(console, f"{len(found.skipped)} files skipped")
    for file, reason in found.skipped[:_SHOWN]:
        say(console, f"  {file}: {reason}")
    _more(console, len(found.skipped))
    _print_duplicates(console, found)


def _print_duplicates(console: Console, found: Inspection) -> None:
    exact = sum(group.same_bytes for group in found.groups)
    near = (
        f"{len(found.groups) - exact} of near duplicates"
        if found.near_duplicates_searched
        else "near ones not searched"
    )
    say(console, f"duplicates: {exact} groups of equal files, {near}")
    for group in found.groups[:_SHOWN]:
        say(console, f"  {_kind(group)}: {', '.join(group.files[:4])}{', ...' if len(group.files) > 4 else ''}")
    _more(console, len(found.groups))
    if found.leaks:
        style = "" if not console.is_terminal else "yellow"
        text = f"LEAK: {len(found.leaks)} group(s) are both in training and in validation; accuracy there means less"
        console.print(text, style=style, highlight=False, soft_wrap=True)
        for group in found.leaks[:_SHOWN]:
            say(console, f"  {', '.join(group.files)}")
        _more(console, len(found.leaks))
    else:
        say(console, "no picture is both in training and in validation, as far as the hash tells")


def _kind(group: Group) -> str:
    return ("equal" if group.same_bytes else "near") + (", of different classes" if group.across_classes else "")


def _more(console: Console, count: int) -> None:
    if count > _SHOWN:
        say(console, f"  ... and {count - _SHOWN:,} more (--json lists all)")


def _counts(found: Inspection, split: str) -> list[int]:
    return [found.counts.get((split, name), 0) for name in found.class_names]


def _spread(values: Sequence[int]) -> dict[str, float] | None:
    if not values:
        return None
    return {
        "smallest": min(values),
        "largest": max(values),
        "median": median(values),
        "mean": sum(values) / len(values),
    }


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _save_figure(path: Path, config: Config, name: str) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from catdog_ray import backend

    samples = contents.samples(config.data, per_class=_SAMPLES_PER_CLASS, image_size=_FIGURE_PIXELS, seed=config.seed)
    with backend.hidden_start():
        gallery.save(path, samples, config.augment, title=name, seed=config.seed)
