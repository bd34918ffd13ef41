"""What a change of the training gives on the selection split: `python scripts/compare_recipes.py results/recipe48-*`.

Each study is one training run (`scripts/study.py --part recipes`): its last word says the recipe and the seed. Scored
by the selection accuracy averaged over the last epochs, so that a longer run has no more chances than a short one. The
test split is not read.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from catdog_ray import command, ledger
from catdog_ray.settings import UserError
from catdog_ray.words import NO_DIFFERENCE, interval, points

REFERENCE = "plain"
LAST_EPOCHS = 3


def main(arguments: Sequence[str]) -> None:
    """Read, print, and write recipes.json if asked to."""
    parser = command.Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument("studies", type=Path, nargs="+", metavar="STUDY", help="folders such as results/recipe48-*")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table as JSON too")
    flags = parser.parse_args(arguments)
    rows = table(scores(flags.studies))
    print_table(rows)
    if flags.output is not None:
        flags.output.parent.mkdir(parents=True, exist_ok=True)
        ledger.replace_file(flags.output, ledger.to_json(rows, indent=2) + "\n")


def scores(folders: Sequence[Path]) -> Mapping[str, Mapping[int, float]]:
    """Recipe and seed to the mean selection accuracy of the last epochs of a whole run."""
    found: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for folder in folders:
        match = re.search(r"-([a-z0-9-]+)-seed(\d+)$", folder.name)
        if match is None:
            raise UserError(f"{folder}: must be named like recipe48-cosine-seed0")
        study = ledger.StudyDirectory(folder)
        facts, epochs = study.read_study(), study.epochs.read()
        length = facts["config"]["search"]["max_epochs"]
        if facts["state"] != "finished" or [row.epoch for row in epochs] != list(range(1, length + 1)):
            raise UserError(f"{folder}: is not one whole run of {length} epochs; finish it first")
        last = [row.selection_accuracy for row in epochs[-LAST_EPOCHS:]]
        if int(match[2]) in found[match[1]]:
            raise UserError(
                f"{folder}: a second study of {match[1]}, seed {match[2]}; compare one image size at a time"
            )
        found[match[1]][int(match[2])] = sum(last) / len(last)
    return found


def table(found: Mapping[str, Mapping[int, float]]) -> list[dict[str, Any]]:
    """One row per recipe: its estimate, and its difference to the plain training, paired by seed."""
    from catdog_ray import statistics

    if REFERENCE not in found:
        raise UserError(f"there is no study called recipe48-{REFERENCE}-seedN to compare with")
    plain = found[REFERENCE]
    rows = []
    for recipe, by_seed in sorted(found.items(), key=lambda item: item[0] != REFERENCE):
        seeds = sorted(by_seed.keys() & plain.keys())
        if not seeds:
            raise UserError(f"{recipe} and {REFERENCE} have no seed in common")
        row: dict[str, Any] = {"recipe": recipe, **asdict(statistics.estimate(list(by_seed.values())))}
        if recipe != REFERENCE:
            difference = statistics.paired_difference([by_seed[s] for s in seeds], [plain[s] for s in seeds])
            row["difference"] = {**asdict(difference), "is_shown": difference.is_shown}
        rows.append(row)
    return rows


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows on the terminal."""
    from rich.table import Table

    from catdog_ray import live, statistics

    shown = Table("recipe", "selection accuracy (n seeds, 95 % interval)", "minus plain (95 % interval)", "")
    for row in rows:
        estimate = statistics.Estimate(*(row[name] for name in ("n", "mean", "sd", "low", "high")))
        difference = row.get("difference")
        if difference is None:
            shown.add_row(row["recipe"], estimate.text(), "", "")
            continue
        between = "no interval"
        if difference["low"] is not None:
            between = interval(difference["low"], difference["high"], signed=True)
        verdict = NO_DIFFERENCE
        if difference["is_shown"]:
            verdict = "better" if difference["mean"] > 0 else "worse"
        shown.add_row(row["recipe"], estimate.text(), f"{points(difference['mean'], signed=True)} ({between})", verdict)
    live.make_console().print(shown)


if __name__ == "__main__":
    command.run(main)
