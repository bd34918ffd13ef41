"""`python -m catdog_ray.tune`: search, retrain what was found, print the table."""

from __future__ import annotations

from collections.abc import Sequence

from catdog_ray import command


def main(arguments: Sequence[str]) -> None:
    """Flags, then lazy imports, then the study."""
    parser = command.study_parser(
        "tune",
        "Search the hyperparameters of the network on Ray, retrain the best configuration and the baseline, and "
        "print the table. Without flags: the main job on the built-in drawn data.",
    )
    config, folder = command.choose_study(parser.parse_args(arguments))

    from catdog_ray import show

    show.run_study(folder, config)


if __name__ == "__main__":
    command.run(main)
