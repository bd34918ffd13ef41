"""Statistics and tables of studies: every figure by hand, intervals beside SciPy's own."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from make_rows import BASELINE, TUNED, quickstart, retrain_row, trial_row, write_study

from catdog_ray import compare
from catdog_ray.compare import GUIDE, Estimate, estimate, guides_figures, milestones, search_line
from catdog_ray.records import RecordError


def study(tmp_path: Path, **parts: Any) -> compare.Study:
    """A study written down and read back."""
    return compare.read(write_study(tmp_path / "quickstart", quickstart(), **parts))


# ---- estimates ----------------------------------------------------------------------------------------------------


def test_three_seeds_by_hand() -> None:
    found = estimate([0.80, 0.82, 0.84])
    # Student's t with 2 degrees of freedom: 4.302653; half the interval: 4.302653 * 0.02 / sqrt(3).
    half = 4.302652729911275 * 0.02 / math.sqrt(3)
    assert found.n == 3
    assert found.mean == pytest.approx(0.82, abs=1e-15)
    assert found.sd == pytest.approx(0.02, abs=1e-15)
    assert (found.low, found.high) == (pytest.approx(0.82 - half, abs=1e-9), pytest.approx(0.82 + half, abs=1e-9))


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_the_interval_is_students(n: int) -> None:
    values = np.random.default_rng(n).normal(0.5, 0.02, n).tolist()
    found = estimate(values)
    low, high = scipy.stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=scipy.stats.sem(values))
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
    assert found.sd == pytest.approx(np.std(values, ddof=1), abs=1e-15)
    assert found.sd != pytest.approx(np.std(values, ddof=0), rel=1e-3)


def test_one_seed_has_no_interval() -> None:
    assert estimate([0.75]) == Estimate(1, 0.75, None, None, None)


def test_equal_seeds_have_no_interval() -> None:
    assert estimate([0.75, 0.75]) == Estimate(2, 0.75, 0.0, None, None)


def test_an_interval_stays_between_none_and_all() -> None:
    found = estimate([0.5, 1.0])
    assert found.sd == pytest.approx(math.sqrt(0.125), abs=1e-15)
    assert (found.mean, found.low, found.high) == (0.75, 0.0, 1.0)


def test_no_seed_has_no_estimate() -> None:
    with pytest.raises(ValueError, match=r"^an estimate needs at least one value$"):
        estimate([])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.8272], "82.7 % (n=1, no interval)"),
        ([0.80, 0.82, 0.84], "82.0 % (n=3, 77.0 % to 87.0 %)"),
        ([0.5, 1.0], "75.0 % (n=2, 0.0 % to 100.0 %)"),
        ([1.0, 1.0], "100.0 % (n=2, all alike)"),
    ],
)
def test_an_estimate_in_words(values: list[float], text: str) -> None:
    assert estimate(values).text() == text


@pytest.mark.parametrize(
    ("names", "model", "stand"),
    [
        (["cats", "dogs"], {}, True),
        (["Cat", "Dog"], {"model": {"builder": None}}, True),
        (["dogs", "cat"], {}, True),
        (["cats", "dogs"], {"model": {"builder": "mine:build"}}, False),
        (["cats", "horses"], {}, False),
        (["cat", "cats", "dogs"], {}, False),
        (["birds", "cats", "dogs"], {}, False),
    ],
)
def test_the_guides_figures_stand_beside_its_own_question(
    names: list[str], model: dict[str, object], stand: bool
) -> None:
    assert guides_figures({"data": {"class_names": names}, "config": model}) == (GUIDE if stand else ())
    assert guides_figures({"data": {}, "config": model}) == ()


def test_the_guides_figures() -> None:
    assert GUIDE == (
        ("the guide: baseline, 200 epochs", 0.9040, 0.9178),
        ("the guide: tuned, 125 epochs", 0.8238, 0.8272),
    )


# ---- milestones ---------------------------------------------------------------------------------------------------

ROWS = (
    retrain_row("baseline", 0, 125, train_accuracy=0.80, test_accuracy=0.70),
    retrain_row("trial-0012", 0, 125, train_accuracy=0.90, test_accuracy=0.80),
    retrain_row("trial-0012", 0, 200, train_accuracy=0.95, test_accuracy=0.90),
    retrain_row("baseline", 0, 200, train_accuracy=0.85, test_accuracy=0.75),
    retrain_row("trial-0003", 0, 200, hyperparameters={**BASELINE, "conv_filters": 16}, test_accuracy=0.5),
    retrain_row("trial-0012", 1, 125, train_accuracy=0.92, test_accuracy=0.84),
)
TRIALS = (
    trial_row(12, objective=0.9, hyperparameters=TUNED),
    trial_row(3, objective=0.8, hyperparameters={**BASELINE, "conv_filters": 16}, status="stopped", epochs=3),
    trial_row(0, objective=0.7, hyperparameters=BASELINE),
    trial_row(4, objective=None, status="failed", reason="diverged", epochs=1),
)


def test_one_row_per_configuration_and_milestone_the_baseline_last(tmp_path: Path) -> None:
    found = milestones(study(tmp_path, retrain=ROWS, trials=TRIALS))
    assert [(result.configuration, result.milestone, result.test.n) for result in found] == [
        ("trial-0003", 200, 1),
        ("trial-0012", 125, 2),
        ("trial-0012", 200, 1),
        ("baseline", 125, 1),
        ("baseline", 200, 1),
    ]
    second = found[1]
    assert second.test == estimate([0.80, 0.84])
    assert second.train == estimate([0.90, 0.92])
    assert dict(second.hyperparameters) == TUNED


def test_the_best_configuration_is_called_tuned(tmp_path: Path) -> None:
    found = milestones(study(tmp_path, retrain=ROWS, trials=TRIALS))
    assert [(result.title, result.is_best) for result in found] == [
        ("trial-0003", False),
        ("trial-0012 (best)", True),
        ("trial-0012 (best)", True),
        ("baseline", False),
        ("baseline", False),
    ]


def test_the_order_of_the_rows_makes_no_difference(tmp_path: Path) -> None:
    one = milestones(study(tmp_path / "one", retrain=ROWS, trials=TRIALS))
    two = milestones(study(tmp_path / "two", retrain=ROWS[::-1], trials=TRIALS[::-1]))
    assert [(r.title, r.milestone, r.test) for r in one] == [(r.title, r.milestone, r.test) for r in two]


def test_a_search_that_found_the_baseline_says_so(tmp_path: Path) -> None:
    found = milestones(study(tmp_path, retrain=[retrain_row("baseline")], trials=[trial_row(0)]))
    assert [(result.title, result.is_best) for result in found] == [("baseline (best)", True)]


def test_no_rows_make_no_results(tmp_path: Path) -> None:
    assert milestones(study(tmp_path)) == []


# ---- studies ------------------------------------------------------------------------------------------------------


def test_a_study_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = study(tmp_path, retrain=ROWS, trials=TRIALS)
    assert [row.trial for row in found.trials] == [0, 3, 4, 12]
    assert found.retrain == ROWS
    assert found.name == "quickstart"
    assert found.facts == json.loads((tmp_path / "quickstart" / "study.json").read_text())


@pytest.mark.parametrize(
    ("drawn", "title"),
    [(True, "quickstart (drawn data, reduced sizes)"), (False, "quickstart (pets.zip, reduced sizes)")],
)
def test_a_title_says_what_the_figures_are_of(drawn: bool, title: str, tmp_path: Path) -> None:
    found = study(tmp_path, drawn=drawn, label="reduced sizes")
    assert found.is_drawn is drawn
    assert found.title == title


def test_a_folder_without_a_study(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no study here \(study\.json is missing\)"):
        compare.read(tmp_path)


def test_damaged_rows_are_named(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "quickstart", quickstart(), trials=TRIALS)
    with (folder / "trials.jsonl").open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(RecordError, match=r"trials\.jsonl, line 5: is no JSON"):
        compare.read(folder)


def test_the_search_in_a_sentence(tmp_path: Path) -> None:
    assert search_line(study(tmp_path, trials=TRIALS)) == (
        "tpe: 4 trials (2 completed, 1 stopped early, 1 failed), 22 epochs; "
        "best: trial 12, selection accuracy 90.0 % with "
        "learning_rate 0.0025, dropout_rate 0.5, conv_filters 24, conv_kernel 3, dense_units 512"
    )


def test_a_search_without_a_score(tmp_path: Path) -> None:
    rows = [trial_row(0, status="failed", reason="lost", objective=None, epochs=0)]
    assert search_line(study(tmp_path, trials=rows)) == (
        "tpe: 1 trials (0 completed, 0 stopped early, 1 failed), 0 epochs; none has a score"
    )
