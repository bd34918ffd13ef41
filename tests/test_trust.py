"""Whether the comparison can be believed: one method against itself, and a bias planted in it.

The frozen studies are resampled: a search is as many of its method's recorded trials, drawn anew, a set of test images
as many of the recorded ones. Of N comparisons of a method with itself at most 5 % may raise an alarm, plus three
standard errors of a share counted in N.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from catdog_ray import audit, retrained
from catdog_ray.groups import group
from catdog_ray.records import RecordError
from catdog_ray.statistics import paired_bootstrap, paired_difference

FROZEN = Path(__file__).parent / "frozen"
STUDIES = [audit.read(path.parent) for path in sorted(FROZEN.glob("*/study.json"))]
METHODS = sorted({study.method for study in STUDIES})
TRIALS = 8


def allowed(resamplings: int) -> float:
    """5 % and three standard errors."""
    return 0.05 + 3 * math.sqrt(0.05 * 0.95 / resamplings)


def alarms(first: np.ndarray, second: np.ndarray) -> float:
    """The share of comparisons (n, seeds) that show a difference."""
    return float(
        np.mean([paired_difference(a, b).is_shown for a, b in zip(first.tolist(), second.tolist(), strict=True)])
    )


def recorded(method: str) -> tuple[np.ndarray, np.ndarray]:
    """Of the method's trials: the objective, and the last selection accuracy."""
    pairs = [
        (row.objective, float(study.courses[row.trial].accuracies[-1]))
        for study in STUDIES
        for row in study.trials
        if study.method == method and row.status != "failed" and row.objective is not None
    ]
    return np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seeds", [3, 6, 10])
def test_a_method_beside_itself_raises_no_more_false_alarms_than_promised(method: str, seeds: int) -> None:
    objectives, _ = recorded(method)
    resamplings = 3000
    drawn = np.random.default_rng(seeds).integers(0, len(objectives), (2, resamplings, seeds, TRIALS))
    best = objectives[drawn].max(axis=-1)
    assert alarms(best[0], best[1]) <= allowed(resamplings)


@pytest.mark.parametrize("method", METHODS)
def test_retrained_accuracies_beside_themselves(method: str) -> None:
    runs = retrained.runs_by_milestone(group(STUDIES))
    name = next(item.name for item in group(STUDIES) if item.method == method)
    for found in runs[name].values():
        values = np.array([run.row.test_accuracy for run in found])
        drawn = values[np.random.default_rng(1).integers(0, len(values), (2, 3000, 6))]
        assert alarms(drawn[0], drawn[1]) <= allowed(3000)


def test_models_that_are_equally_good_on_every_image_raise_no_more_either() -> None:
    """Which of two models is right is a coin toss on each image, so that neither is better."""
    item = next(study for study in STUDIES if len(study.predictions) > 1)
    first, second, *_ = item.predictions.values()
    right = [found.probabilities.argmax(axis=1) == found.true for found in (first, second)]
    differences = right[0].astype(float) - right[1]
    assert np.any(differences != 0)
    # As many images as the guide's test set has would take long here; a few hundred show the same.
    rng = np.random.default_rng(5)
    resamplings = 600
    tossed = rng.choice(differences, (resamplings, 300)) * rng.choice([-1.0, 1.0], (resamplings, 300))
    shown = [paired_bootstrap(row, resamples=999, seed=number).is_shown for number, row in enumerate(tossed)]
    assert np.mean(shown) <= allowed(resamplings)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_scored_by_its_last_instead_of_its_best_is_seen(method: str) -> None:
    """The same trials, the second time scored by their last epoch: what the rule all methods share is there for."""
    objectives, lasts = recorded(method)
    drawn = np.random.default_rng(0).integers(0, len(objectives), (500, 60, TRIALS))
    fair, biased = objectives[drawn].max(axis=-1), lasts[drawn].max(axis=-1)
    assert alarms(fair, fair) == 0
    # Five times as often as chance would.
    assert alarms(fair, biased) > 0.25


@pytest.mark.parametrize("method", METHODS)
def test_a_recorded_study_scored_by_its_last_is_refused(method: str, tmp_path: Path) -> None:
    """The real rows of one search, with nothing changed but the score of each trial."""
    original = next(study for study in STUDIES if study.method == method)
    folder = Path(shutil.copytree(original.folder, tmp_path / "biased"))
    rows = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    for row in rows:
        row["objective"] = float(original.courses[row["trial"]].accuracies[-1])
    (folder / "trials.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        RecordError, match=r"biased/trials\.jsonl: trial \d+: objective is .* its epochs give .* by the rule"
    ):
        audit.read(folder)
