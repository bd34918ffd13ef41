"""`python -m catdog_ray.baseline`: the same study by the stock Keras Tuner, one trial after the other."""

from __future__ import annotations

from collections.abc import Sequence

from catdog_ray import choice, command
from catdog_ray.settings import STOCK


def main(arguments: Sequence[str]) -> None:
    """Flags, then lazy imports, then the study."""
    parser = command.study_parser(
        "baseline",
        "Search the hyperparameters with keras_tuner.BayesianOptimization as it is: one trial after the other in one "
        "process with all its threads, every trial to full length. Then retrain and print the table, as tune does.",
        method=STOCK,
    )
    config, folder = choice.choose_study(parser.parse_args(arguments))

    from catdog_ray import show

    show.run_study(folder, config)


if __name__ == "__main__":
    command.run(main)
