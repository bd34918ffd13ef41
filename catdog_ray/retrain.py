"""`python -m catdog_ray.retrain STUDY`: retrain the best configurations of a finished or interrupted search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catdog_ray import choice, command
from catdog_ray import config as configuration
from catdog_ray.rules import at_least


def main(arguments: Sequence[str]) -> None:
    """Flags, then lazy imports, then the retraining."""
    parser = command.parser_of("retrain", __doc__.partition(": ")[2].capitalize())
    add = parser.add_argument
    add("study", type=Path, metavar="STUDY", help="folder of a study, such as results/quickstart")
    add("--epochs", type=int, nargs="+", metavar="N", help="milestones (retrain.milestones; default: the study's)")
    add("--seeds", type=int, metavar="N", help="seeds per configuration (retrain.seeds; default: the study's)")
    add("--top-k", type=int, default=1, metavar="K", help="retrain the K best configurations (default: 1)")
    add("--data", metavar="PATH", help="where the same data lies now (data.source)")
    add("--address", metavar="ADDRESS", help="'local', 'auto' or host:port (cluster.address)")
    add("--set", metavar="KEY=VALUE", action="append", default=[], help="any setting of retrain or cluster")
    flags = parser.parse_args(arguments)
    at_least("--top-k", flags.top_k, 1)
    saved = choice.saved_config(flags.study)
    named = {
        "retrain.milestones": flags.epochs,
        "retrain.seeds": flags.seeds,
        "data.source": flags.data,
        "cluster.address": flags.address,
    }
    given = {"retrain.enabled": True} | {key: value for key, value in named.items() if value is not None}
    config = configuration.load(base=saved, overrides={**given, **command.assignments(flags.set, given)})
    choice.require_resumable(saved, config, flags.study, "")

    from catdog_ray import show

    show.run_study(flags.study, config, with_search=False, top=flags.top_k)


if __name__ == "__main__":
    command.run(main)
