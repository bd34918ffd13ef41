"""Measure what makes this project fast, side by side with what it replaces: `python scripts/benchmark.py`.

Each comparison runs in a process of its own, both ways in turn, warm-up left out. Prints a table of ratios and writes
results/benchmarks/<date>-<machine kind>.json. `--quick` is for a look; `--only NAME` for one or more rows. Rows
that take more than an hour keep what they have in a file beside it and go on from there (on another day, name the older
file with --output).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, described, report

from catdog_ray import command, files, inspection, provenance
from catdog_ray.errors import RunFailed, UserError

FOLDER = Path(__file__).parent.parent / "results" / "benchmarks"


def main(arguments: Sequence[str]) -> None:
    """Flags, then every row, then the table and the file."""
    flags = parse(arguments)
    if flags.row:
        row = rows()[flags.row]
        going_on = {} if flags.kept is None else {"kept": flags.kept}
        found = report(row, row.measure(quick=flags.quick, **going_on))
        flags.output.write_text(files.to_json(found), encoding="utf-8")
        return
    chosen = rows()
    if flags.only:
        try:
            chosen = {name: row for name, row in chosen.items() if any(re.fullmatch(only, name) for only in flags.only)}
        except re.error as error:
            raise UserError(f"--only: {' '.join(flags.only)} holds no regular expression ({error})") from None
        if not chosen:
            raise UserError(f"--only: no such row; there are {', '.join(rows())}")
    machine = inspection.machine()
    file = flags.output or FOLDER / f"{datetime.now(UTC):%Y-%m-%d}-{machine_kind(machine)}.json"
    found = read_rows(file)
    files.require_writable(file)
    has_failed = False
    for number, (name, row) in enumerate(chosen.items(), 1):
        print(f"{number} of {len(chosen)}, {name}: {row.words}", flush=True)
        kept = file.with_name(f"{file.stem}-{row.kept}.jsonl") if row.kept and not flags.quick else None
        measured = run(row, quick=flags.quick, has_gpu=bool(machine["gpus"]), kept=kept)
        has_failed |= measured["state"] == "failed"
        # Each row says when, how and from what it is: others of that day are left as they were.
        made = {
            **measured,
            "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": provenance.commit(),
            "versions": provenance.versions(),
            "quick": flags.quick,
        }
        if _replaces(made, found.get(name)):
            found[name] = made
        else:
            print(f"{name}: {made['state']}; the row that was measured before stays", flush=True)
        facts: dict[str, Any] = {"machine": machine, "rows": [found[name] for name in rows() if name in found]}
        # After every row: the whole takes more than an hour, and what is measured is kept.
        files.replace_file(file, files.to_json(facts, indent=2) + "\n")
    print_table(facts["rows"])
    print(f"written to {file}")
    if has_failed:
        raise RunFailed("a row could not be measured")


def _replaces(row: dict[str, Any], earlier: dict[str, Any] | None) -> bool:
    """Whether a row takes the place of an earlier one: what was measured is not lost to a failure or a quick look."""
    if earlier is None or earlier.get("state") != "measured":
        return True
    return row["state"] == "measured" and (earlier["quick"] or not row["quick"])


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", metavar="NAME", nargs="+", help="rows by name or regular expression; others in the file stay")
    add("--quick", action="store_true", help="few repetitions: shows that it runs, not how fast")
    add(
        "--output", type=Path, metavar="FILE", help="where to write (default: results/benchmarks/<date>-<machine>.json)"
    )
    add("--row", help=argparse.SUPPRESS)
    add("--kept", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def rows() -> dict[str, Row]:
    """All comparisons, by name."""
    from benchmarks import answer, control, inputs, startup, turnaround

    return {row.name: row for module in (inputs, turnaround, startup, answer, control) for row in module.ROWS}


def run(row: Row, *, quick: bool, has_gpu: bool, kept: Path | None = None) -> dict[str, Any]:
    """Measure one row in a process of its own: threads and backend are settled once in a process' life.

    Raises UserError where the person must change something first, such as a kept file of other code.
    """
    again = f"python scripts/benchmark.py --only {row.name}"
    if row.needs == "gpu" and not has_gpu:
        return {**described(row), "state": "not measured", "reason": "no GPU here", "command": again}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "row.json"
        flags = ["--row", row.name, "--output", str(output), *(["--quick"] if quick else [])]
        flags += [] if kept is None else ["--kept", str(kept)]
        hidden = {} if row.needs == "gpu" else {"CUDA_VISIBLE_DEVICES": "-1"}
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, **hidden, **row.environment}
        done = subprocess.run([sys.executable, __file__, *flags], env=environment, stderr=subprocess.PIPE, text=True)
        if done.returncode == 0:
            found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
            return {**found, "command": again}
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    if done.returncode == command.USER_ERROR:
        raise UserError(last.removeprefix("error: "))
    sys.stderr.write(done.stderr)
    return {**described(row), "state": "failed", "reason": last, "command": again}


def read_rows(file: Path) -> dict[str, dict[str, Any]]:
    """The rows of an earlier run on this day and machine, by name."""
    try:
        earlier = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.exists() else []
        return {row["name"]: row for row in earlier}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"--output: {file} holds no rows of a benchmark; name another file") from None


def machine_kind(machine: dict[str, Any]) -> str:
    """`amd-epyc-2-cores`, or with a GPU `nvidia-h100-80gb-hbm3-16-cores`."""
    model = machine["gpus"][0] if machine["gpus"] else re.sub(r"\(.*?\)|CPU|@.*", "", machine["cpu_model"])
    return re.sub(r"[^a-z0-9]+", "-", f"{model} {machine['cores']} cores".lower()).strip("-")


def print_table(results: list[dict[str, Any]]) -> None:
    """The ratios on the terminal."""
    from rich.table import Table

    from catdog_ray import live

    table = Table("row", "what", "ours", "theirs", "ratio (low to high, n)", "must be", "")
    for row in results:
        if row["state"] != "measured":
            table.add_row(row["name"], row["words"], "-", "-", row["state"], row["must_be"] or "-", row["command"])
            continue
        cells = [
            f"{_digits(row[side]['median'], 4)} {row['unit']}" if row[side] else "-" for side in ("ours", "theirs")
        ]
        ratio = row["ratio"] or row["ours"]
        median, low, high = (_digits(ratio[name], 3) for name in ("median", "low", "high"))
        text = f"{median} ({low} to {high}, {ratio['n']})"
        verdict = {True: "holds", False: "DOES NOT HOLD", None: ""}[row["holds"]]
        table.add_row(row["name"], row["words"], *cells, text, row["must_be"] or "-", verdict)
    live.make_console().print(table)


def _digits(value: float | None, count: int) -> str:
    return "never" if value is None else f"{value:.{count}g}"


if __name__ == "__main__":
    command.run(main)
