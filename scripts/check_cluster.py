"""Check a file for `ray up` before it costs money: Ray's own checks, and the rules that Ray lacks.

    python scripts/check_cluster.py cluster.yaml configs/cluster/gcp.yaml

Prints `FILE:LINE: what to write instead` for each mistake (exit code 2); no cloud is asked.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from catdog_ray import cluster_file, cluster_rules, command
from catdog_ray.errors import UserError


def main(arguments: Sequence[str]) -> None:
    """Check every file named."""
    parser = command.Parser(
        prog="check_cluster.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", metavar="FILE", type=Path, nargs="+", help="file for `ray up`")
    faults = 0
    for path in parser.parse_args(arguments).files:
        file = cluster_file.read(path)
        found = cluster_rules.check(file)
        faults += len(found)
        for finding in found:
            print(f"{path}:{finding.line}: {finding.text}")
        if not found:
            print(f"{path}: passes")
        for finding in cluster_rules.placeholders(file):
            print(f"{path}:{finding.line}: to be filled in: {finding.text}")
    if faults:
        raise UserError(f"{faults} mistake(s) to correct before `ray up`")


if __name__ == "__main__":
    command.run(main)
