"""`python -m catdog_ray.tune`: search, retrain what was found, print the table."""

from __future__ import annotations

from collections.abc import Sequence

from catdog_ray import choice, command


def main(arguments: Sequence[str]) -> None:
    """Flags, then lazy imports, then the study."""
    parser = command.study_parser(
        "tune",
        "Search the hyperparameters of the network on Ray, retrain the best configuration and the baseline, and "
        "print the table. Without flags: the main job on the built-in drawn data.",
    )
    add = parser.add_argument
    add("--estimate", action="store_true", help="print epochs, hours and node hours of such a study, and do nothing")
    add(
        "--epoch-seconds",
        type=float,
        metavar="S",
        help="for --estimate: time of an epoch (default: of earlier studies)",
    )
    add(
        "--trials-per-node",
        type=int,
        metavar="N",
        help="for --estimate: trials at once on a node (default: as many as share one GPU)",
    )
    flags = parser.parse_args(arguments)
    config, folder = choice.choose_study(flags)
    if flags.estimate:
        from catdog_ray import estimate

        estimate.show(config, folder.parent, epoch_s=flags.epoch_seconds, trials_per_node=flags.trials_per_node)
        return

    from catdog_ray import show

    show.run_study(folder, config)


if __name__ == "__main__":
    command.run(main)
