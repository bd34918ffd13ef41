"""Replaying rows into ASHA: the decisions of a resumed search are those of the one that was cut."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from small import quick_config

from catdog_ray.ledger import StudyDirectory
from catdog_ray.past import Past, asha_scheduler
from catdog_ray.records import TrialEpochRow, TrialRow

SETTINGS = dataclasses.replace(quick_config().search, max_epochs=9, reduction_factor=3)


@dataclasses.dataclass
class TuneTrial:
    """What ASHA sees of a trial of Tune."""

    trial_id: str
    config: dict


def epoch_row(trial: int, epoch: int, objective: float, elapsed_s: float = 1.0) -> TrialEpochRow:
    return TrialEpochRow(trial, epoch, 0.5, 0.5, 0.5, objective, objective, 0.1, elapsed_s, {"x": 1}, 10, 20, None)


def trial_row(trial: int, status: str, epochs: int, objective: float) -> TrialRow:
    return TrialRow(trial, status, None, {"x": 1}, epochs, objective, 10, 20, None, 1.0, 5.0)


def study(tmp_path: Path, epochs: list[TrialEpochRow], trials: list[TrialRow]) -> StudyDirectory:
    directory = StudyDirectory(tmp_path)
    directory.epochs.append(*epochs)
    directory.trials.append(*trials)
    return directory


def decision(scheduler: ASHAScheduler, number: int, epoch: int, objective: float, trial_id: str = "new") -> str:
    result = {"epoch": epoch, "objective": objective}
    return scheduler.on_trial_result(None, TuneTrial(trial_id, {"number": number}), result)


def test_same_decisions_as_rays_own_scheduler():
    """Over the same results, in the same order, ours stops what Ray's stops."""
    ours = asha_scheduler(SETTINGS)
    theirs = ASHAScheduler(
        time_attr="epoch", metric="objective", mode="max", max_t=9, grace_period=1, reduction_factor=3
    )
    curves = {number: [0.5 + 0.03 * ((number * 7) % 10) + 0.01 * epoch for epoch in range(9)] for number in range(10)}
    stopped: set[int] = set()
    decisions = []
    for number in curves:
        for scheduler in (ours, theirs):
            scheduler.on_trial_add(None, TuneTrial(f"id-{number}", {"number": number}))
    for epoch in range(1, 10):
        for number, curve in curves.items():
            if number in stopped:
                continue
            result = {"epoch": epoch, "objective": curve[epoch - 1]}
            trial = TuneTrial(f"id-{number}", {"number": number})
            mine, rays = ours.on_trial_result(None, trial, result), theirs.on_trial_result(None, trial, result)
            assert mine == rays
            decisions.append(mine)
            if mine == TrialScheduler.STOP:
                stopped.add(number)
    assert decisions.count(TrialScheduler.STOP) == 10
    assert len(decisions) < 60  # early stopping did stop


def test_rungs_are_rebuilt(tmp_path: Path):
    rows = [epoch_row(0, 1, 0.6), epoch_row(1, 1, 0.7), epoch_row(2, 1, 0.8)]
    past = Past.read(study(tmp_path, rows, []), SETTINGS)
    # The rung at epoch 1 holds 0.6, 0.7, 0.8: its cut at the upper third is 0.7333.
    for number, objective, expected in ((7, 0.73, TrialScheduler.STOP), (8, 0.75, TrialScheduler.CONTINUE)):
        past.asha.on_trial_add(None, TuneTrial("a", {"number": number}))
        assert decision(past.asha, number, 1, objective) == expected


def test_a_trial_that_goes_on_does_not_enter_a_rung_twice(tmp_path: Path):
    rows = [epoch_row(0, 1, 0.9), epoch_row(1, 1, 0.8), epoch_row(0, 2, 0.9)]
    past = Past.read(study(tmp_path, rows, []), SETTINGS)
    past.asha.on_trial_add(None, TuneTrial("another id", {"number": 0}))
    assert decision(past.asha, 0, 2, 0.1, "another id") == TrialScheduler.CONTINUE
    rung_at_1 = past.asha._brackets[0]._rungs[-1]
    assert rung_at_1 == (1, {0: 0.9, 1: 0.8})


def test_a_trial_that_was_stopped_stays_stopped(tmp_path: Path):
    """Ray runs it again where the worker is lost after the decision and before the checkpoint is registered."""
    rows = [epoch_row(0, 3, 0.9), epoch_row(1, 1, 0.9), epoch_row(1, 2, 0.9)]
    past = Past.read(study(tmp_path, rows, []), SETTINGS)
    assert decision(past.asha, 1, 3, 0.1) == TrialScheduler.STOP
    past.asha.on_trial_add(None, TuneTrial("new", {"number": 1}))
    assert decision(past.asha, 1, 2, 0.9) == TrialScheduler.CONTINUE
    assert decision(past.asha, 1, 3, 0.1) == TrialScheduler.STOP
    assert past.asha._brackets[0]._rungs[-2] == (3, {0: 0.9, 1: 0.1})


def test_an_end_that_a_crash_cut_off_is_settled_from_the_rows(tmp_path: Path):
    rows = [epoch_row(0, 1, 0.9), epoch_row(1, 1, 0.5, 2.5), *(epoch_row(0, n, 0.9, float(n)) for n in range(2, 10))]
    past = Past.read(study(tmp_path, rows, []), SETTINGS)
    assert [(row.trial, row.status, row.epochs, row.elapsed_s) for row in past.settled] == [
        (1, "stopped", 1, 2.5),
        (0, "completed", 9, 9.0),
    ]
    assert past.finished == []


def test_finished_trials_are_not_settled_again_and_time_goes_on(tmp_path: Path):
    rows = [epoch_row(0, 1, 0.9), epoch_row(1, 1, 0.5, elapsed_s=7.5), epoch_row(2, 1, 0.95)]
    past = Past.read(study(tmp_path, rows, [trial_row(1, "stopped", 1, 0.5)]), SETTINGS)
    assert past.settled == []
    assert [row.trial for row in past.finished] == [1]
    assert past.elapsed_s == 7.5
    assert {number: len(epochs) for number, epochs in past.epochs.items()} == {0: 1, 1: 1, 2: 1}
    later = dataclasses.replace(trial_row(2, "failed", 1, 0.95), elapsed_s=11.0)
    assert Past.read(study(tmp_path, [], [later]), SETTINGS).elapsed_s == 11.0


def test_an_empty_study_has_no_past(tmp_path: Path):
    past = Past.read(StudyDirectory(tmp_path), SETTINGS)
    assert (past.finished, past.settled, dict(past.epochs), past.elapsed_s) == ([], [], {}, 0.0)


def test_with_a_first_rung_beyond_the_end_nothing_is_stopped_early():
    scheduler = asha_scheduler(dataclasses.replace(SETTINGS, grace_epochs=SETTINGS.max_epochs + 5))
    for number in range(4):
        scheduler.on_trial_add(None, TuneTrial(f"id-{number}", {"number": number}))
    for epoch in range(1, SETTINGS.max_epochs):
        for number in range(4):
            kept = decision(scheduler, number, epoch, objective=0.9 - 0.1 * number, trial_id=f"id-{number}")
            assert kept == ASHAScheduler.CONTINUE
