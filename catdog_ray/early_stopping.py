"""What early stopping would have done to searches without it: their recorded curves replayed in many orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catdog_ray import simulate
from catdog_ray.audit import Course, Evidence
from catdog_ray.groups import Group
from catdog_ray.settings import STOCK, SearchSettings
from catdog_ray.simulate import Curve
from catdog_ray.statistics import Estimate, estimate

REPLAYED_ORDERS = 200
"""Random orders of a search's trials in which early stopping is replayed; fewer, but `FEWEST_ORDERS`, where trials in
all orders would be more than `REPLAYED_TRIALS`."""

FEWEST_ORDERS, REPLAYED_TRIALS = 20, 150_000

REPLAYED_SEARCHES = 10
"""Of one method at most, at even distances."""


@dataclass(frozen=True)
class EarlyStopping:
    """Searches whose trials all ran to full length, replayed through ASHA; estimates are over searches.

    `orders` random orders of each search's trials, `concurrent` at once; see `simulate.Effect`.
    """

    name: str
    orders: int
    concurrent: int
    share_of_epochs: Estimate
    kept_best: Estimate
    regret: Estimate
    regret_p95: Estimate


def replayed(found: Sequence[Group]) -> list[EarlyStopping]:
    """One for each method of which every trial that did not fail ran to full length, three in each search."""
    chosen = [
        (item, item.studies[:: -(-len(item.studies) // REPLAYED_SEARCHES)])
        for item in found
        if all(map(_is_full, item.studies))
    ]
    trials = sum(len(study.trials) for _, searches in chosen for study in searches)
    orders = min(REPLAYED_ORDERS, max(FEWEST_ORDERS, REPLAYED_TRIALS // max(1, trials)))
    return [_replay(item.name, searches, orders=orders) for item, searches in chosen]


def _is_full(study: Evidence) -> bool:
    lengths = [row.epochs for row in study.trials if row.status != "failed"]
    return len(lengths) >= 3 and min(lengths) >= study.facts["config"]["search"]["max_epochs"]


def _replay(name: str, searches: Sequence[Evidence], *, orders: int) -> EarlyStopping:
    facts = searches[0].facts
    # As many as the search had at once; of a stock search, which had one, a trial on each core.
    cores = sum(node.get("ray_cpus") or 1 for node in facts["nodes"])
    concurrent = int(facts["share"]["at_once"] if "share" in facts else max(1, cores))
    effects = [
        simulate.effect(
            {row.trial: _curve(study.courses[row.trial]) for row in study.trials if row.status != "failed"},
            settings=_search_settings(study),
            concurrent=concurrent,
            orders=orders,
            seed=study.seed,
        )
        for study in searches
    ]
    return EarlyStopping(
        name,
        orders,
        concurrent,
        *(
            estimate([getattr(effect, field) for effect in effects], cut=field != "regret")
            for field in ("share_of_epochs", "kept_best", "regret", "regret_p95")
        ),
    )


def _curve(course: Course) -> Curve:
    """With the first epoch, whose start is not on record, as long as the others."""
    seconds = np.diff(course.elapsed_s)
    return Curve(tuple(course.accuracies), (float(np.median(seconds)) if len(seconds) else 1.0, *seconds))


def rungs(studies: Sequence[Evidence]) -> list[int]:
    """Epochs at which a trial of any of these studies could be stopped, ascending; the stock tuner stops none."""
    with_rungs = [study for study in studies if study.facts["method"] != STOCK]
    return sorted({epoch for study in with_rungs for epoch in simulate.Rungs(_search_settings(study)).epochs})


def cut_by_time(study: Evidence) -> set[int]:
    """Trials that the time budget ended: stopped where early stopping stops none."""
    if study.facts["config"]["search"].get("time_budget_s") is None:
        return set()
    known = rungs([study])
    return {row.trial for row in study.trials if row.status == "stopped" and row.epochs not in known}


def _search_settings(study: Evidence) -> SearchSettings:
    raw = study.facts["config"]["search"]
    return SearchSettings(**{name: raw.get(name) for name in SearchSettings.__dataclass_fields__})
