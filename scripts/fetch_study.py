"""Fetch a study's rows from the shared place, where the machine that ran its driver is lost.

    python scripts/fetch_study.py s3://YOUR-BUCKET/catdog/gpu-0a1b2c3d
    python -m catdog_ray.tune --resume --name gpu --data cats_and_dogs_filtered.zip --address auto \\
      --set cluster.storage_path=s3://YOUR-BUCKET/catdog

While a search or a retraining runs with `cluster.storage_path`, its rows are copied there every few seconds, into the
folder that holds the checkpoints: the study's name and its id.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from catdog_ray import command, mirror


def main(arguments: Sequence[str]) -> None:
    """Segments in, a folder of rows out."""
    parser = command.Parser(
        prog="fetch_study.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("place", metavar="PLACE", help="cluster.storage_path/NAME-ID, as pyarrow knows it")
    parser.add_argument("--output", type=Path, default=Path("results"), help="where studies lie (default: results)")
    flags = parser.parse_args(arguments)
    place = flags.place.rstrip("/") if "://" in flags.place else str(Path(flags.place).expanduser().resolve())
    folder = mirror.fetch(place, flags.output)
    again = f"--resume --name {shlex.quote(folder.name)} --output {shlex.quote(str(flags.output))}"
    print(
        f"written to {folder}; to go on: python -m catdog_ray.tune {again} --data DATA --address ADDRESS "
        f"--set cluster.storage_path={shlex.quote(place.rpartition('/')[0])}"
    )


if __name__ == "__main__":
    command.run(main)
