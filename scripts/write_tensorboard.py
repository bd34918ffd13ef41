"""Curves of a study for TensorBoard, written from its rows.

    python scripts/write_tensorboard.py results/STUDY
    tensorboard --logdir results/STUDY/tensorboard

Every trial and every retraining run is a run of TensorBoard. What was written before is replaced, so that it may be
called again while the study runs.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catdog_ray import command
from catdog_ray.errors import UserError
from catdog_ray.ledger import StudyDirectory
from catdog_ray.ranges import in_words
from catdog_ray.records import trial_name

NOT_CURVES = {"trial", "epoch", "hyperparameters", "parameters", "multiply_adds", "suggestion_seconds", "seed"}


def main(arguments: Sequence[str]) -> None:
    """Rows in, event files out."""
    parser = command.Parser(
        prog="write_tensorboard.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path, metavar="STUDY", help="folder of a study under results/")
    folder = parser.parse_args(arguments).study
    study = StudyDirectory(folder)
    study.read_study()
    runs: dict[str, list[Any]] = {}
    for row in study.epochs.read():
        runs.setdefault(trial_name(row.trial), []).append(row)
    for retrained in study.retrain_epochs.read():
        runs.setdefault(f"retraining/{retrained.configuration}-seed-{retrained.seed}", []).append(retrained)
    target = folder / "tensorboard"
    try:
        # A link or a file of that name is not ours.
        if target.is_symlink() or target.exists():
            shutil.rmtree(target)
        for name, rows in runs.items():
            _write(target / name, rows)
    except OSError as error:
        raise UserError(f"{target}: cannot be replaced ({error.strerror or error}); move it away") from None
    print(f"{len(runs)} runs written to {target}; see them with: tensorboard --logdir {target}")


def _write(folder: Path, rows: Sequence[Any]) -> None:
    from tensorboardX import SummaryWriter

    with SummaryWriter(logdir=str(folder), write_to_disk=True) as writer:
        for row in rows:
            for name, value in vars(row).items():
                if isinstance(value, int | float) and name not in NOT_CURVES:
                    writer.add_scalar(name, value, row.epoch)
        hyperparameters = getattr(rows[0], "hyperparameters", None)
        if hyperparameters:
            text = ", ".join(f"{name} {in_words(value)}" for name, value in hyperparameters.items())
            writer.add_text("hyperparameters", text)


if __name__ == "__main__":
    command.run(main)
