"""Put studies side by side: `python scripts/compare_results.py results/*`.

Reads nothing but the studies (and, for pictures of mistakes, their data) and writes comparison.json, comparison.md,
figures and report.html, the same bytes for the same studies.
"""

from __future__ import annotations

import gc
import glob
from collections.abc import Sequence
from pathlib import Path

from catdog_ray import command
from catdog_ray.errors import ConfigError
from catdog_ray.ledger import StudyDirectory


def main(arguments: Sequence[str]) -> None:
    """Flags, then lazy imports, then the comparison."""
    parser = command.Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument("studies", nargs="+", metavar="STUDY", help="folder of a study under results/; may be a glob")
    parser.add_argument("--output", type=Path, default=Path("comparison"), metavar="DIR", help="(default: comparison)")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave damaged and half-written studies out, and say so"
    )
    parser.add_argument("--target", type=float, metavar="OBJECTIVE", help="of the time to a target (default: a median)")
    parser.add_argument("--data", metavar="PATH", help="the studies' data, to show the pictures of mistakes")
    flags = parser.parse_args(arguments)
    if flags.target is not None and not 0 < flags.target <= 1:
        raise ConfigError(f"--target must be an accuracy above 0 and at most 1, got {flags.target!r}")
    folders = _folders(flags.studies)

    from catdog_ray import live, publish, summary

    console = live.make_console()
    found, written = publish.publish(
        folders, flags.output, skip_bad=flags.skip_bad, target=flags.target, data_source=flags.data
    )
    live.print_results(console, publish.as_studies(found))
    live.say(console, "In short:")
    for text in summary.sentences(found):
        live.say(console, f"- {text}")
    for text in found.warnings:
        live.say(console, f"warning: {text}", style="yellow")
    for item in found.left_out:
        console.print(f"left out: {item.folder}: {item.reason}", style="yellow", highlight=False, markup=False)
    names = [str(path.relative_to(flags.output)) for path in written if path.suffix != ".svg"]
    count = len(written) - len(names)
    console.print(
        f"written to {flags.output}: {', '.join(names)}, {count} figures", soft_wrap=True, highlight=False, markup=False
    )


def _folders(patterns: Sequence[str]) -> list[Path]:
    """What the patterns name, without plain files and earlier comparisons: `results/*` also names README.md."""
    found: list[Path] = []
    for pattern in patterns:
        matches = [pattern] if Path(pattern).exists() else sorted(glob.glob(str(Path(pattern).expanduser())))  # noqa: PTH207
        if not matches:
            raise ConfigError(f"{pattern}: there is no such study")
        found += [Path(match) for match in matches if Path(match).is_dir()]
    studies = [
        folder for folder in found if (folder / "study.json").exists() or not (folder / "comparison.json").exists()
    ]
    # `results/*` also names benchmarks/ and recipes/, which hold no row of a study.
    studies = [folder for folder in studies if StudyDirectory(folder).is_there()] or studies
    if not studies:
        raise ConfigError(f"{' '.join(patterns)}: names no folder of a study")
    return studies


if __name__ == "__main__":
    # All rows stay until the end: looking for garbage among them again and again would take a seventh of the time.
    gc.disable()
    command.run(main)
