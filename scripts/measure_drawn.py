"""Show that the drawn data is a real learning problem: `python scripts/measure_drawn.py`.

Five figures, each beside what it must be, over several seeds; written to results/drawn-calibration.json. Half an
hour on two cores for three seeds; `--seeds 1` for a look. Exit code 1 where a figure is not what it must be.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catdog_ray import command
from catdog_ray.errors import RunFailed
from catdog_ray.rules import at_least

GOOD = {"learning_rate": 7.0e-4, "dropout_rate": 0.2, "conv_filters": 32, "conv_kernel": 3, "dense_units": 512}
"""A good configuration inside the CPU space."""

BAD_LEARNING_RATE = 1.0e-2


def main(arguments: Sequence[str]) -> None:
    """Measure, print the table, write the JSON."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--size", type=int, default=32, help="pixels per side (default: 32)")
    add("--train", type=int, default=2000, help="training images (default: 2000)")
    add("--test", type=int, default=1000, help="test images (default: 1000)")
    add("--epochs", type=int, default=60, help="epochs of each fit (default: 60)")
    add("--seeds", type=int, default=3, help="seeds of data and training (default: 3)")
    add("--threads", type=int, default=2, help="CPU threads (default: 2)")
    add(
        "--output",
        type=Path,
        default=Path("results/drawn-calibration.json"),
        help="where to write (default: %(default)s)",
    )
    flags = parser.parse_args(arguments)
    for name, least in (("size", 8), ("train", 20), ("test", 10), ("epochs", 3), ("seeds", 1), ("threads", 1)):
        at_least(f"--{name}", getattr(flags, name), least)

    from catdog_ray import files, inspection, provenance

    files.require_writable(flags.output)
    per_seed = [measure(seed, flags) for seed in range(flags.seeds)]
    rows = [summary(*row, per_seed) for row in REQUIREMENTS]
    print_table(rows)
    facts = {
        "command": f"python scripts/measure_drawn.py --size {flags.size} --train {flags.train} --test {flags.test} "
        f"--epochs {flags.epochs} --seeds {flags.seeds} --threads {flags.threads}",
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "machine": {**inspection.machine(), "threads": flags.threads},
        "good_configuration": GOOD,
        "per_seed": per_seed,
        "figures": rows,
    }
    files.replace_file(flags.output, files.to_json(facts, indent=2) + "\n")
    if not all(row["holds"] for row in rows):
        raise RunFailed("a figure is not what it must be")


def measure(seed: int, flags: argparse.Namespace) -> dict[str, float]:
    """All accuracies of one seed, as fractions; test images are never those trained on."""
    from catdog_ray import backend

    backend.prepare(threads=flags.threads)
    import numpy as np

    from catdog_ray import config, drawn, evaluation, train
    from catdog_ray.data import Images
    from catdog_ray.space import HyperParameters

    settings = config.load("cpu.yaml", overrides={"data.image_size": flags.size})
    pixels, labels = drawn.draw(flags.train + flags.test, size=flags.size, seed=seed)
    names = tuple(str(index) for index in range(len(labels)))
    whole = Images(pixels, labels.astype(np.int32), names, drawn.CLASS_NAMES)
    training, test = whole.take(np.arange(flags.train)), whole.take(np.arange(flags.train, len(labels)))
    baseline = HyperParameters.of(settings.baseline)

    def fit(what: str, point: HyperParameters, *, augmented: bool) -> tuple[float, float, float]:
        """(training accuracy, test accuracy, its mean over the last three epochs), without augmentation."""
        accuracies: list[float] = []
        options = settings.fit if augmented else replace(settings.fit, augment=None)
        network = train.fit(
            point,
            training,
            test,
            settings=options,
            epochs=flags.epochs,
            seed=seed,
            on_epoch=lambda row, _: accuracies.append(row.selection_accuracy),
        )
        # The last ones, not the best ones: the test images choose nothing.
        result = evaluation.evaluate(network, training)[1], accuracies[-1], statistics.mean(accuracies[-3:])
        print(f"seed {seed}: {what}: training {result[0]:.3f}, test {result[1]:.3f}, {result[2]:.3f}", flush=True)
        return result

    plain_train, plain_test, _ = fit("baseline, no augmentation", baseline, augmented=False)
    augmented_train, augmented_test, _ = fit("baseline, augmented", baseline, augmented=True)
    _, _, good = fit("good configuration", HyperParameters.of(GOOD), augmented=True)
    bad_point = HyperParameters.of({**baseline, "learning_rate": BAD_LEARNING_RATE})
    _, bad, _ = fit(f"learning rate {BAD_LEARNING_RATE:g}", bad_point, augmented=True)
    return {
        "logistic_regression": logistic_regression(training, test),
        "gap_without_augmentation": plain_train - plain_test,
        "gap_with_augmentation": augmented_train - augmented_test,
        "plain_test": plain_test,
        "augmented_test": augmented_test,
        "good_configuration": good,
        "bad_learning_rate": bad,
    }


def logistic_regression(training: Any, test: Any) -> float:
    """Test accuracy of scikit-learn's logistic regression on standardised pixels."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged to the last digit is good enough for a bound
        model.fit(training.pixels.reshape(len(training.labels), -1), training.labels)
    return float(model.score(test.pixels.reshape(len(test.labels), -1), test.labels))


Rule = Callable[[float, dict[str, float]], bool]

REQUIREMENTS: list[tuple[str, str, str, Rule]] = [
    ("logistic_regression", "logistic regression on pixels, test accuracy", "below 0.75", lambda v, _: v < 0.75),
    ("gap_without_augmentation", "training minus test, no augmentation", "at least 0.10", lambda v, _: v >= 0.10),
    (
        "gap_with_augmentation",
        "training minus test, augmented",
        "at most half of that",
        lambda v, means: v <= means["gap_without_augmentation"] / 2,
    ),
    ("good_configuration", "good configuration, test accuracy", "at least 0.90", lambda v, _: v >= 0.90),
    ("bad_learning_rate", "learning rate 0.01, test accuracy", "0.45 to 0.55", lambda v, _: 0.45 <= v <= 0.55),
]
"""(figure, in words, what it must be, the same as a rule on the means over seeds)"""


def summary(name: str, words: str, must: str, rule: Rule, per_seed: list[dict[str, float]]) -> dict[str, Any]:
    """Mean over seeds with its interval, and whether it is what it must be."""
    from catdog_ray import statistics

    means = {key: sum(row[key] for row in per_seed) / len(per_seed) for key in per_seed[0]}
    # A difference of accuracies is no accuracy: its interval is not cut to [0, 1].
    found = statistics.estimate([row[name] for row in per_seed], cut=not name.startswith("gap"))
    return {
        "figure": name,
        "words": words,
        "n": found.n,
        "mean": found.mean,
        "low": found.low,
        "high": found.high,
        "must_be": must,
        "holds": rule(found.mean, means),
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """The figures on the terminal."""
    from rich.table import Table

    from catdog_ray import live

    table = Table("figure", "mean", "95 % interval", "n", "must be", "")
    for row in rows:
        interval = "-" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        holds = "holds" if row["holds"] else "DOES NOT HOLD"
        table.add_row(row["words"], f"{row['mean']:.3f}", interval, str(row["n"]), row["must_be"], holds)
    live.make_console().print(table)


if __name__ == "__main__":
    command.run(main)
