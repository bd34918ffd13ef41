"""Searches without early stopping replayed with it: what is replayed, with how many at once, and whose trials count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_studies import write_invented

from catdog_ray import audit, early_stopping, simulate
from catdog_ray.audit import Evidence
from catdog_ray.groups import Group
from catdog_ray.settings import STOCK
from catdog_ray.simulate import Curve
from catdog_ray.statistics import estimate


def stock(folder: Path, **changes: Any) -> Evidence:
    """A search by the stock tuner, none of whose trials was stopped."""
    return audit.read(write_invented(folder, method=STOCK, stopping=False, milestones=(), **changes))


def replayed(*studies: Evidence) -> list[early_stopping.EarlyStopping]:
    return early_stopping.replayed([Group("Keras Tuner, stock", STOCK, studies)])


def effect(study: Evidence, *, concurrent: int, without: int | None = None) -> simulate.Effect:
    """The first epoch of a trial, whose start is not on record, takes as long as the median of the others."""
    curves = {}
    for number, course in study.courses.items():
        seconds = np.diff(course.elapsed_s).tolist()
        curves[number] = Curve(tuple(course.accuracies.tolist()), (float(np.median(seconds)), *seconds))
    settings = early_stopping._search_settings(study)
    chosen = {number: curve for number, curve in curves.items() if number != without}
    return simulate.effect(chosen, settings=settings, concurrent=concurrent, orders=200, seed=study.seed)


def test_each_search_is_replayed_as_it_ran(tmp_path: Path) -> None:
    """With a trial on each core of its nodes, one where these are not on record."""
    nodes = [{"ray_cpus": 3.0}, {"ray_cpus": None}]
    studies = [stock(tmp_path / str(seed), seed=seed, facts={"nodes": nodes}) for seed in (1, 2)]
    [item] = replayed(*studies)
    expected = [effect(study, concurrent=4) for study in studies]
    assert (item.name, item.orders, item.concurrent) == ("Keras Tuner, stock", 200, 4)
    assert item.share_of_epochs == estimate([each.share_of_epochs for each in expected])
    assert item.kept_best == estimate([each.kept_best for each in expected])
    assert item.regret == estimate([each.regret for each in expected], cut=False)
    assert item.regret_p95 == estimate([each.regret_p95 for each in expected])


def test_where_no_node_is_on_record_trials_ran_one_after_the_other(tmp_path: Path) -> None:
    [item] = replayed(stock(tmp_path / "a", facts={"nodes": []}))
    assert item.concurrent == 1


def test_failed_trials_are_not_replayed(tmp_path: Path) -> None:
    study = stock(tmp_path / "a", facts={"nodes": [{"ray_cpus": 2}]})
    failed = replace(study.trials[4], status="failed", reason="diverged", epochs=2)
    study = replace(study, trials=(*study.trials[:4], failed, *study.trials[5:]))
    [item] = replayed(study)
    assert item.share_of_epochs.mean == effect(study, concurrent=2, without=4).share_of_epochs


def test_a_search_is_replayed_from_three_trials_on_all_of_full_length(tmp_path: Path) -> None:
    two, three = (stock(tmp_path / str(trials), trials=trials) for trials in (2, 3))
    assert replayed(two) == []
    assert len(replayed(three)) == 1
    stopped = replace(three.trials[2], status="stopped", epochs=8)
    assert replayed(three, replace(three, trials=(*three.trials[:2], stopped))) == []


def test_rungs_are_those_of_all_searches_that_stop_trials(tmp_path: Path) -> None:
    first = audit.read(write_invented(tmp_path / "first", milestones=()))
    second = audit.read(write_invented(tmp_path / "second", milestones=(), overrides={"search__grace_epochs": 2}))
    assert early_stopping.rungs([second, first, stock(tmp_path / "stock", overrides={"search__grace_epochs": 4})]) == [
        *(1, 2, 3, 6)
    ]


@pytest.mark.parametrize("epochs", [1, 2])
def test_only_what_was_stopped_between_rungs_was_cut_by_the_time(epochs: int, tmp_path: Path) -> None:
    """Rungs are at epochs 1 and 3 of 9."""
    study = audit.read(write_invented(tmp_path / "a", milestones=(), overrides={"search__time_budget_s": 60.0}))
    failed = replace(study.trials[1], status="failed", epochs=epochs)
    changed = replace(study, trials=(replace(study.trials[0], status="stopped", epochs=epochs), failed))
    assert early_stopping.cut_by_time(changed) == ({0} if epochs == 2 else set())
