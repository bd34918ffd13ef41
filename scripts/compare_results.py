"""Put studies side by side: `python scripts/compare_results.py results/*`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catdog_ray import command


def main(arguments: Sequence[str]) -> None:
    """Read the studies and print one table."""
    parser = command.Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument("studies", type=Path, nargs="+", metavar="STUDY", help="folder of a study under results/")
    flags = parser.parse_args(arguments)
    # `results/*` also names README.md and the like.
    folders = [folder for folder in flags.studies if folder.is_dir() or not folder.exists()]

    from catdog_ray import compare, live

    live.print_results(live.make_console(), [compare.read(folder) for folder in folders])


if __name__ == "__main__":
    command.run(main)
