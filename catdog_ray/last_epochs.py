"""What hangs on the one epoch at which a milestone is read: the same differences over the last few epochs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from catdog_ray import differences, retrained
from catdog_ray.differences import Compared
from catdog_ray.retrained import Run, Runs

WINDOWS = (1, 3, 10)
"""Epochs up to a milestone over which a run's test accuracy is averaged; the first is the milestone itself."""

Courses = Mapping[tuple[Path, str, int], Sequence[float]]


def over_windows(runs: Runs) -> dict[int, tuple[Compared, ...]]:
    """By window: configurations at every epoch in common, then milestones of one configuration.

    The epochs in common are milestones, and the last one that every run reached, for a retraining that was cut short.
    """
    courses = _courses(runs)
    epochs = _with_last_common(runs, courses)
    return {
        window: (
            *differences.of_accuracies(_averaged(epochs, courses, window)),
            *differences.of_milestones(_averaged(runs, courses, window)),
        )
        for window in WINDOWS
    }


def at_milestones(chosen: Sequence[Run], window: int) -> list[Run]:
    """Runs with the mean test accuracy of the last `window` epochs up to the milestone of each."""
    courses = _courses({"": {0: chosen}})
    found = [_ending(run, courses[_key(run)][: run.row.milestone], run.row.milestone, window) for run in chosen]
    return [run for run in found if run is not None]


def jitter(runs: Runs) -> float | None:
    """The standard deviation of a run's test accuracy over the epochs up to its last milestone, mean of all runs."""
    courses, longest = _courses(runs), max(WINDOWS)
    last = [(run, max(by_epoch)) for by_epoch in runs.values() for run in by_epoch[max(by_epoch)]]
    ends = [courses[_key(run)][:epoch][-longest:] for run, epoch in last]
    spreads = [float(np.std(end, ddof=1)) for end in ends if len(end) == longest]
    return float(np.mean(spreads)) if spreads else None


def _averaged(runs: Runs, courses: Courses, window: int) -> dict[str, dict[int, list[Run]]]:
    """The same runs with the mean test accuracy of the last `window` epochs; without those whose epochs are lost."""
    found: dict[str, dict[int, list[Run]]] = {}
    for name, by_epoch in runs.items():
        for epoch, chosen in by_epoch.items():
            ending = [_ending(run, courses[_key(run)][:epoch], epoch, window) for run in chosen]
            if kept := [run for run in ending if run is not None]:
                found.setdefault(name, {})[epoch] = kept
    return found


def _ending(run: Run, course: Sequence[float], epoch: int, window: int) -> Run | None:
    if len(course) < epoch:
        return None
    row = dataclasses.replace(run.row, test_accuracy=float(np.mean(course[-window:])))
    return dataclasses.replace(run, row=row)


def _with_last_common(runs: Runs, courses: Courses) -> Runs:
    """With the last epoch that every run reached, where it lies behind the last milestone in common."""
    milestones = set.intersection(*(set(by_epoch) for by_epoch in runs.values())) if runs else set()
    if not milestones:
        return runs
    first = max(milestones)
    last = min(len(courses[_key(run)]) for by_epoch in runs.values() for run in by_epoch[first])
    if last <= first:
        return runs
    return {name: {**by_epoch, last: by_epoch[first]} for name, by_epoch in runs.items()}


def _courses(runs: Runs) -> Courses:
    """Test accuracy of every epoch that there is of each run, whole from the first."""
    every = [run for by_epoch in runs.values() for chosen in by_epoch.values() for run in chosen]
    return {
        _key(run): [row.test_accuracy for row in rows]
        for run, rows in zip(every, retrained.epochs_of(every), strict=True)
    }


def _key(run: Run) -> tuple[Path, str, int]:
    return run.study.folder, run.row.configuration, run.row.seed
