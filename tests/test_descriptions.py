"""What is said of a figure to those who cannot see it: the numbers of the tables, and no more than they show."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_rows import quickstart, trial_row
from make_studies import write_invented

from catdog_ray import audit, comparison, descriptions, markdown, searched
from catdog_ray.comparison import Comparison
from catdog_ray.differences import Compared
from catdog_ray.ranges import Choice, IntRange
from catdog_ray.retrained import SEARCHES, SEEDS, Classified
from catdog_ray.statistics import Calibration, Difference, Estimate


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    root = tmp_path_factory.mktemp("descriptions")
    folders = [write_invented(root / f"{method}-{seed}", method=method, seed=seed) for method in ("tpe", "random")
               for seed in (0, 10)]  # fmt: skip
    return comparison.compare([audit.read(folder) for folder in folders])


def test_every_number_stands_in_a_table(found: Comparison) -> None:
    """But for counts of trials and bins."""
    said = [
        descriptions.of_best_so_far(found, "epochs"),
        descriptions.of_differences(found, found.images_compared),
        descriptions.of_accuracies(found),
        descriptions.of_confusion(found),
        descriptions.of_calibration(found),
        descriptions.of_retraining(found, "TPE"),
        descriptions.of_importance(found),
    ]
    published = markdown.page(found)
    numbers = [
        number for text in said for number in re.findall(r"[+-]?\d+\.\d(?: to [+-]?\d+\.\d)?(?: %| points)", text)
    ]
    assert len(numbers) > 15
    assert [number for number in numbers if number not in published] == []


def test_lines_end_with_a_mean_its_interval_and_what_was_spent(found: Comparison) -> None:
    best = Estimate(2, 0.771, 0.01, 0.756, 0.786)
    epochs, work, seconds = (Estimate(2, value, None, None, None) for value in (894.0, 1.6e14, 1572.0))
    first, second = found.methods
    methods = (replace(first, best=best, epochs=epochs, multiply_adds=work, seconds=seconds),
               replace(second, best=None))  # fmt: skip
    given = replace(found, methods=methods)
    start = "Best objective at the end, mean of the searches: TPE 77.1 % (75.6 to 78.6 %) after"
    ends = {
        "trials": "12 trials",
        "epochs": "894 epochs",
        "multiply_adds": "160 T multiply-adds",
        "seconds": "26.2 min",
    }
    assert {axis: descriptions.of_best_so_far(given, axis) for axis in ends} == {
        axis: f"{start} {end}." for axis, end in ends.items()
    }
    alone = replace(given, methods=(replace(first, best=Estimate(1, 0.771, None, None, None)),))
    assert "TPE 77.1 % (no interval) after" in descriptions.of_best_so_far(alone, "epochs")


def test_only_differences_that_leave_out_zero_are_told(found: Comparison) -> None:
    shown, hidden = Difference(3, 0.0104, 0.001, 0.006, 0.015), Difference(3, 0.02, 0.1, -0.01, 0.05)
    items = (
        Compared("best objective", None, "A", "B", SEARCHES, shown),
        Compared("best objective", 540, "A", "B", SEARCHES, hidden),
    )
    assert descriptions.of_differences(found, items) == (
        "2 differences, 1 interval leaving out zero: A minus B, at the end: +1.0 points (+0.6 to +1.5), "
        "A above B (fewer than 6 searches: an impression)."
    )
    assert descriptions.of_differences(found, items[1:]) == "1 difference, no interval leaving out zero."
    two = (replace(items[0], unit=SEEDS, milestone=4),) * 2
    assert descriptions.of_differences(found, two).startswith(
        "2 differences, 2 intervals leaving out zero: A minus B, 4"
    )


def test_classes_and_bins_of_models(found: Comparison) -> None:
    bins = Calibration((1, 0, 9), (0.5, None, 0.9), (0.6, None, 0.7), 0.124)
    item = Classified("TPE", 200, 5, np.array([[15, 5], [2, 18]]), bins, None, None)
    given = replace(found, classified=(item,))
    assert descriptions.of_confusion(given) == (
        "TPE is right least often among cats (75.0 %), most often among dogs (90.0 %)."
    )
    assert descriptions.of_calibration(given) == "TPE: calibration error 12.4 points, surer than right in 1 of 2 bins."


def test_what_became_of_trials(found: Comparison) -> None:
    first = replace(found.methods[0], trials=24, completed=7, stopped=14, cut=2, failed=1)
    given = replace(found, methods=(first, *found.methods[1:]))
    scores = ", ".join(f"{100 * (searched.best_objective(study) or 0):.1f} %" for study in found.groups[0].studies)
    assert descriptions.of_learning(given, found.groups[0]) == (
        "Of 24 trials 7 were completed, 14 stopped, 2 cut by the time budget, 1 failed; "
        f"best objective of each search: {scores}."
    )
    assert descriptions.of_survival(given).startswith("To the end ran 7 of 24 trials of TPE, ")


def test_the_first_hyperparameter_is_called_so_only_where_intervals_say_it(found: Comparison) -> None:
    shares = {"learning_rate": 0.7, "dropout_rate": 0.3}
    apart = {"learning_rate": (0.5, 0.9), "dropout_rate": (0.1, 0.4)}
    given = {"A": shares, "B": shares, "C": shares, "D": None}
    spans = {"A": apart, "B": {**apart, "dropout_rate": (0.1, 0.6)}, "C": None, "D": None}
    assert descriptions.of_importance(replace(found, importance=given, importance_intervals=spans)) == (
        "The largest share by the trials of A: learning rate 70.0 % (50 to 90), shown to be first; "
        "B: learning rate 70.0 % (50 to 90), not shown to be first; C: learning rate 70.0 %, not shown to be first."
    )


def test_where_the_best_tenth_lies() -> None:
    """Of 40 the four best ones have rates of 0.001 to 0.005, and three of them 32 filters."""
    point = {"learning_rate": 0.009, "dropout_rate": 0.5, "conv_filters": 16, "conv_kernel": 3, "dense_units": 128}
    rows = [trial_row(n, objective=0.5, hyperparameters=point) for n in range(36)]
    for n, (rate, filters) in enumerate(((0.001, 32), (0.003, 32), (0.003, 24), (0.005, 32))):
        best = {**point, "learning_rate": rate, "conv_filters": filters}
        rows.insert(0, trial_row(40 + n, objective=0.8 + n / 100, hyperparameters=best))
    said = descriptions.of_best_tenth(rows, quickstart().space)
    assert said.startswith("Of the best tenth (4 trials) ")
    assert "learning rate 0.0025 to 0.0035, dropout rate 0.5 to 0.5, conv filters 32 (3 of 4)" in said
    assert descriptions.of_best_tenth([], quickstart().space) == "There is no trial with a score."


def test_of_the_best_tenth_whole_numbers_and_truth_are_told_as_in_tables() -> None:
    space = {"normalise": Choice((True, False)), "units": IntRange(1, 2048, 1, "log")}
    rows = [trial_row(n, hyperparameters={"normalise": False, "units": 1024}) for n in range(10)]
    assert descriptions.of_best_tenth(rows, space).endswith("choice: normalise false (1 of 1), units 1,024 to 1,024.")


def test_alternative_texts_say_what_is_seen_and_captions_how_it_is_made(found: Comparison, tmp_path: Path) -> None:
    from catdog_ray import figures, report

    drawings = figures.draw(found)
    page = report.page(found, drawings, pictures={})
    for item in drawings:
        assert f'alt="{item.title}. {item.seen}"'.replace("'", "&#x27;") in page
        assert item.seen.endswith(".")
        assert item.seen not in item.caption
