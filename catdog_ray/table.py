"""What a table of a comparison is, and the sections of the page under which tables and figures stand."""

from __future__ import annotations

from dataclasses import dataclass

SEARCHES, DIFFERENCES, RETRAINING = "The searches", "Differences", "Retraining"
TRIALS, SPACE, MODELS, STUDIES = "The trials", "The hyperparameters", "The retrained models", "The studies"
SECTIONS = (SEARCHES, DIFFERENCES, RETRAINING, TRIALS, SPACE, MODELS, STUDIES)
"""Of the page, in its order."""

DRAWN = "Drawn data: these figures show that the pipeline works; they say nothing about photographs."


@dataclass(frozen=True)
class Table:
    """A title, columns, rows of as many cells, and what must be known to read it; under a `section` of the page."""

    section: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
