"""All tables of a comparison as text: one form for Markdown, for the page and for whoever reads along."""

from __future__ import annotations

import dataclasses

from catdog_ray import retraining_tables, search_tables
from catdog_ray.comparison import Comparison
from catdog_ray.table import STUDIES, Table
from catdog_ray.words import NOT_KNOWN


def tables(found: Comparison) -> list[Table]:
    """All tables that have a row, in the order of the page."""
    made = [
        search_tables.searches(found),
        search_tables.configurations(found),
        search_tables.spending(found),
        search_tables.times(found),
        retraining_tables.retrained(found),
        retraining_tables.differences(found),
        retraining_tables.last_epochs(found),
        search_tables.early_stopping(found),
        search_tables.importance(found),
        retraining_tables.classified(found),
        retraining_tables.mistakes(found),
        _studies(found),
        _left_out(found),
    ]
    mark = " (drawn data)" if found.is_drawn else ""
    return [dataclasses.replace(item, title=item.title + mark) for item in made if item.rows]


def _studies(found: Comparison) -> Table:
    rows = tuple(
        (
            item.name,
            str(study.seed),
            study.name,
            str(study.facts.get("commit") or NOT_KNOWN)[:12],
        )
        for item in found.groups
        for study in item.studies
    )
    return Table(STUDIES, "Studies compared", ("method", "seed", "study", "commit"), rows, "")


def _left_out(found: Comparison) -> Table:
    rows = tuple((item.folder, item.reason) for item in found.left_out)
    return Table(STUDIES, "Studies left out", ("study", "reason"), rows, f"{len(rows)} left out by --skip-bad.")
