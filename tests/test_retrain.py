"""`python -m catdog_ray.retrain` on a search that was cut; what `scripts/compare_results.py` says of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small import quick_config

from catdog_ray import data
from catdog_ray.ledger import StudyDirectory, portable
from catdog_ray.records import TrialRow
from catdog_ray.schema import SCHEMA_VERSION

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cut_study(tmp_path_factory) -> Path:
    """A search of which two trials ended, as its files lie in a clone: without the settings of a machine."""
    folder = tmp_path_factory.mktemp("results") / "cut"
    config = quick_config(**{"data.cache_dir": str(folder.parent / "cache")})
    points = [dict(config.baseline), {**config.baseline, "dropout_rate": 0.1}]
    with StudyDirectory(folder) as study:
        study.write_study(
            {
                "schema_version": SCHEMA_VERSION,
                "name": "cut",
                "label": config.label,
                "method": "tpe",
                "state": "interrupted",
                "wall_s": 5.0,
                "sessions": 1,
                "started_utc": "2026-01-01T00:00:00+00:00",
                "data": data.load(config.data).facts(),
                "config": portable(config.as_dict()),
                "share": {"cpus": 1, "gpus": 0, "at_once": 3},
            }
        )
        for number, point in enumerate(points):
            objective = 0.5 + number / 10
            study.trials.append(TrialRow(number, "completed", None, point, 4, objective, 10, 20, None, 1.0, 2.0))
    return folder


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=200, cwd=ROOT)


@pytest.mark.slow
def test_a_cut_search_is_retrained_and_not_compared(cut_study: Path):
    cache = f"data.cache_dir={cut_study.parent / 'cache'}"
    left = cut_study / "ray" / "trials" / "trial-0002" / "checkpoint_000000"
    left.mkdir(parents=True)
    done = run("-m", "catdog_ray.retrain", str(cut_study), "--epochs", "1", "2", "--seeds", "2", "--set", cache)
    assert done.returncode == 0, done.stderr
    facts = StudyDirectory(cut_study).read_study()
    assert facts["share"] == {"cpus": 1, "gpus": 0, "at_once": 3}  # of the search
    assert facts["retrain_epochs"] == 2
    # The search is as it was: cut, and not this code's work.
    assert (facts["state"], facts["commit"], facts["versions"]) == ("interrupted", None, {})
    assert facts["retraining"]["versions"]["keras"]
    assert (facts["nodes"], len(facts["retraining"]["nodes"])) == ([], 1)
    assert left.is_dir()  # of a trial that the search goes on with
    rows = StudyDirectory(cut_study).retrain.read()
    expected = {(c, s, m) for c in ("trial-0001", "baseline") for s in (0, 1) for m in (1, 2)}
    assert {(row.configuration, row.seed, row.milestone) for row in rows} == expected
    assert len(StudyDirectory(cut_study).trials.read()) == 2  # the search did not go on
    assert done.stdout.count("trial-0001 (best)") >= 2
    assert "91.8 % (reported on other data)" in done.stdout
    # A search that never ended says nothing of its method: it is refused, not shown as one of two trials.
    compared = run("scripts/compare_results.py", str(cut_study))
    assert compared.returncode == 2
    assert "is half-written (state 'interrupted'); go on with it by --resume" in compared.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--top-k", "0"], "error: --top-k must be at least 1, got 0"),
        (["--seeds", "0"], "error: retrain.seeds must be at least 1, got 0"),
        (["--epochs", "200", "125"], "error: retrain.milestones must be rising epochs from 1 on, got [200, 125]"),
        (["--set", "model.padding=valid"], "error: "),
        (["--seeds", "2", "--set", "retrain.seeds=5"], "error: --set retrain.seeds: given twice"),
    ],
)
def test_bad_flags_are_one_line(cut_study: Path, flags: list[str], message: str):
    done = run("-m", "catdog_ray.retrain", str(cut_study), *flags)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.strip().splitlines()) == 1


def test_no_study_there_is_one_line(tmp_path: Path):
    done = run("-m", "catdog_ray.retrain", str(tmp_path / "nothing"))
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path / 'nothing'}: no study here (study.json is missing)\n"
