"""Differences in test accuracy over more than one epoch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from make_studies import write_invented

from catdog_ray import audit, differences, last_epochs, retrained
from catdog_ray.groups import group
from catdog_ray.last_epochs import WINDOWS
from catdog_ray.retrained import BASELINE, SEEDS
from catdog_ray.statistics import paired_difference


def study(folder: Path, *, milestones: tuple[int, ...] = (6, 12), **changes: object) -> last_epochs.Runs:
    """The runs of one search: what it found, and the guide's, each with two seeds to epoch 12."""
    write_invented(folder, milestones=milestones, retrain_seeds=2, **changes)  # type: ignore[arg-type]
    return retrained.runs_by_milestone(group([audit.read(folder)]))


def courses(folder: Path) -> dict[tuple[bool, int], list[float]]:
    """Test accuracies epoch by epoch, straight from the rows, by whether they are the guide's and by seed."""
    found: dict[tuple[bool, int], list[float]] = {}
    for line in (folder / "retrain-epochs.jsonl").read_text().splitlines():
        row = json.loads(line)
        found.setdefault((row["configuration"] == "baseline", row["seed"]), []).append(row["test_accuracy"])
    return found


def test_accuracies_are_averaged_over_the_last_epochs_up_to_the_milestone(tmp_path: Path) -> None:
    runs = study(tmp_path / "a")
    found, known = last_epochs.over_windows(runs), courses(tmp_path / "a")
    assert tuple(found) == WINDOWS == (1, 3, 10)
    for window in WINDOWS:
        by_key = {(item.first, item.second, item.milestone): item for item in found[window]}
        assert set(by_key) == {
            ("TPE", BASELINE, 6),
            ("TPE", BASELINE, 12),
            ("TPE, 12 epochs", "TPE, 6 epochs", None),
            (f"{BASELINE}, 12 epochs", f"{BASELINE}, 6 epochs", None),
        }
        ends = {key: np.mean(values[max(0, 12 - window) : 12]) for key, values in known.items()}
        item = by_key["TPE", BASELINE, 12]
        assert item.unit == SEEDS
        expected = paired_difference([ends[False, s] for s in (0, 1)], [ends[True, s] for s in (0, 1)])
        assert item.difference.mean == pytest.approx(expected.mean)
        assert item.difference.low == pytest.approx(expected.low)


def test_a_window_of_one_is_the_milestone(tmp_path: Path) -> None:
    runs = study(tmp_path / "a")
    plain = [*differences.of_accuracies(runs), *differences.of_milestones(runs)]
    assert list(last_epochs.over_windows(runs)[1]) == plain


def test_runs_are_averaged_up_to_their_own_milestone(tmp_path: Path) -> None:
    runs, known = study(tmp_path / "a"), courses(tmp_path / "a")
    for epoch in (6, 12):
        averaged = last_epochs.at_milestones(runs["TPE"][epoch], 3)
        assert [(run.row.seed, run.row.milestone) for run in averaged] == [(0, epoch), (1, epoch)]
        expected = [np.mean(known[False, seed][epoch - 3 : epoch]) for seed in (0, 1)]
        assert [run.row.test_accuracy for run in averaged] == pytest.approx(expected)


def test_what_was_cut_short_is_compared_at_the_last_epoch_that_all_reached(tmp_path: Path) -> None:
    """The guide's runs lack the last milestone, and end at epochs 10 and 9."""
    folder = tmp_path / "a"
    write_invented(folder, milestones=(6, 12), retrain_seeds=2)
    kept = []
    for line in (folder / "retrain-epochs.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["configuration"] != "baseline" or row["epoch"] <= 10 - row["seed"]:
            kept.append(line)
    (folder / "retrain-epochs.jsonl").write_text("\n".join(kept) + "\n")
    for name in ("retrain.jsonl", "predictions.jsonl"):
        rows = map(json.loads, (folder / name).read_text().splitlines())
        left = [row for row in rows if (row["configuration"], row["milestone"]) != ("baseline", 12)]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in left))
    facts = json.loads((folder / "study.json").read_text()) | {"state": "interrupted"}
    (folder / "study.json").write_text(json.dumps(facts))
    runs = retrained.runs_by_milestone(group([audit.read(folder)]))
    assert {name: list(by_epoch) for name, by_epoch in runs.items()} == {"TPE": [6, 12], BASELINE: [6]}
    found, known = last_epochs.over_windows(runs), courses(folder)
    by_key = {(item.first, item.second, item.milestone): item for item in found[3]}
    assert set(by_key) == {
        ("TPE", BASELINE, 6),
        ("TPE", BASELINE, 9),
        ("TPE, 12 epochs", "TPE, 6 epochs", None),
    }
    expected = np.mean([np.mean(known[False, s][6:9]) - np.mean(known[True, s][6:9]) for s in (0, 1)])
    assert by_key["TPE", BASELINE, 9].difference.mean == pytest.approx(expected)
    # Up to the last milestone of a run, the guide's have no ten epochs.
    assert last_epochs.jitter(runs) == pytest.approx(np.mean([np.std(known[False, s][2:12], ddof=1) for s in (0, 1)]))


def test_runs_without_epochs_are_left_out(tmp_path: Path) -> None:
    runs = study(tmp_path / "a")
    lost = {
        name: {epoch: [_without_epochs(run) for run in chosen] for epoch, chosen in by_epoch.items()}
        for name, by_epoch in runs.items()
    }
    assert last_epochs.over_windows(lost) == dict.fromkeys(WINDOWS, ())
    assert last_epochs.jitter(lost) is None
    assert last_epochs.at_milestones(lost["TPE"][12], 3) == []
    assert last_epochs.over_windows({}) == dict.fromkeys(WINDOWS, ())


def test_the_jitter_is_that_of_the_last_ten_epochs(tmp_path: Path) -> None:
    runs = study(tmp_path / "a")
    spreads = [np.std(values[2:12], ddof=1) for values in courses(tmp_path / "a").values()]
    assert last_epochs.jitter(runs) == pytest.approx(np.mean(spreads))
    assert last_epochs.jitter(study(tmp_path / "b", milestones=(6,))) is None


def _without_epochs(run: retrained.Run) -> retrained.Run:
    return dataclasses.replace(run, study=dataclasses.replace(run.study, retrain_epochs=()))
