"""Studies side by side: every number that the tables, figures and the page show, made from rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from catdog_ray import audit, curves, differences, early_stopping, evenness, groups, last_epochs, retrained, searched
from catdog_ray.audit import Evidence
from catdog_ray.caveats import caveats
from catdog_ray.curves import AXES, Band, StepCurve, TimeToTarget
from catdog_ray.differences import Compared
from catdog_ray.early_stopping import EarlyStopping
from catdog_ray.evenness import Constant
from catdog_ray.groups import ComparisonError, Group
from catdog_ray.importance import importance, intervals
from catdog_ray.records import RecordError
from catdog_ray.retrained import IMAGES, SEARCHES, Accuracy, Classified, Mistake, Runs
from catdog_ray.searched import Method
from catdog_ray.statistics import ENOUGH_SEEDS


@dataclass(frozen=True)
class LeftOut:
    """A study that was not compared, and why."""

    folder: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """All of it. `curves` holds one step curve per axis and search of each method, `bands` what they have in common.

    `common_epochs` is how many epochs every search ran: the shortest one's. `last_epochs` are differences in test
    accuracy by how many epochs it is averaged over, `jitter` is its standard deviation from epoch to epoch.
    `constant` is what always naming the largest class has on the test split, where the classes are uneven.
    """

    groups: tuple[Group, ...]
    left_out: tuple[LeftOut, ...]
    is_drawn: bool
    title: str
    methods: tuple[Method, ...]
    common_epochs: int
    curves: Mapping[str, tuple[Mapping[str, StepCurve], ...]]
    bands: Mapping[str, Mapping[str, Band | None]]
    reference: float | None
    target: float | None
    target_words: str
    times: Mapping[str, Mapping[str, TimeToTarget]]
    runs: Runs
    accuracies: tuple[Accuracy, ...]
    constant: Constant | None
    searches_compared: tuple[Compared, ...]
    accuracies_compared: tuple[Compared, ...]
    milestones_compared: tuple[Compared, ...]
    images_compared: tuple[Compared, ...]
    last_epochs: Mapping[int, tuple[Compared, ...]]
    jitter: float | None
    importance: Mapping[str, Mapping[str, float] | None]
    importance_intervals: Mapping[str, Mapping[str, tuple[float, float]] | None]
    early_stopping: tuple[EarlyStopping, ...]
    classified: tuple[Classified, ...]
    mistakes: tuple[Mistake, ...]
    warnings: tuple[str, ...]


def read(folders: Sequence[Path], *, skip_bad: bool) -> tuple[list[Evidence], list[LeftOut]]:
    """The studies, and with `skip_bad` what was left out instead of raising RecordError."""
    found, left_out = [], []
    for folder in sorted({folder.resolve(): folder for folder in folders}.values(), key=str):
        try:
            found.append(audit.read(folder))
        except RecordError as error:
            if not skip_bad:
                raise RecordError(f"{error} (--skip-bad leaves such a study out)") from None
            left_out.append(LeftOut(folder.name, str(error).replace(f"{folder}/", "").replace(str(folder), "study")))
    if not found:
        raise ComparisonError(f"there is no study to compare; {len(left_out)} left out as damaged or half-written")
    return found, left_out


def compare(
    studies: Sequence[Evidence], left_out: Sequence[LeftOut] = (), *, target: float | None = None
) -> Comparison:
    """Everything. ComparisonError where the studies do not belong together.

    `target` is an objective; without one, the median of what the searches found, so that about half reach it.
    """
    found = groups.group(studies)
    paths = {item.name: tuple(searched.step_curves(study) for study in item.studies) for item in found}
    scores = [score for study in studies for score in [searched.best_objective(study)] if score is not None]
    reference = max(scores, default=None)
    # Of one search the median is its own best, which says nothing.
    goal = target if target is not None else median(scores) if scores and len(studies) > 1 else None
    runs = retrained.runs_by_milestone(found)
    chosen = {item.name: searched.sampled(item) for item in found}
    lengths = [int(each["epochs"].end) for by_search in paths.values() for each in by_search if each["epochs"].at.size]
    common = min(lengths, default=0)
    at = {item.name: searched.best_at(item, paths[item.name], common) for item in found}
    first = found[0].studies[0]
    drawn = bool(first.facts["data"]["drawn"])
    return Comparison(
        groups=tuple(found),
        left_out=tuple(left_out),
        is_drawn=drawn,
        title=_title(found, drawn=drawn),
        methods=tuple(
            searched.method(item, reference, at=at[item.name], sampled=len(chosen[item.name])) for item in found
        ),
        common_epochs=common,
        curves=paths,
        bands={
            axis: {name: curves.band([each[axis] for each in by_search]) for name, by_search in paths.items()}
            for axis in AXES
        },
        reference=reference,
        target=goal,
        target_words="as asked" if target is not None else "the median of the best objectives found here",
        times={} if goal is None else {name: searched.times(each, goal) for name, each in paths.items()},
        runs=runs,
        accuracies=tuple(retrained.accuracies(runs)),
        constant=next(filter(None, (evenness.recorded(each.facts) for item in found for each in item.studies)), None),
        searches_compared=tuple(searched.compare(found, paths, common)),
        accuracies_compared=tuple(differences.of_accuracies(runs)),
        milestones_compared=tuple(differences.of_milestones(runs)),
        images_compared=tuple(differences.of_images(runs)),
        last_epochs=last_epochs.over_windows(runs),
        jitter=last_epochs.jitter(runs),
        importance={name: importance(rows, first.space) for name, rows in chosen.items()},
        importance_intervals={name: intervals(rows, first.space) for name, rows in chosen.items()},
        early_stopping=tuple(early_stopping.replayed(found)),
        classified=tuple(retrained.classified(runs)),
        mistakes=tuple(retrained.mistakes(runs)),
        warnings=tuple(caveats(found, runs, left_out=len(left_out))),
    )


def is_shown(comparison: Comparison, item: Compared) -> bool:
    """Whether a difference between the methods is shown.

    Two trained models may well differ on the test images because their seeds do. So a difference over images counts
    for the methods only where the one over seeds leaves out zero as well.
    """
    if item.unit != IMAGES:
        return item.difference.is_shown
    key = (item.first, item.second, item.milestone)
    over_seeds = [each for each in comparison.accuracies_compared if (each.first, each.second, each.milestone) == key]
    return item.difference.is_shown and any(each.difference.is_shown for each in over_seeds)


def is_impression(item: Compared) -> bool:
    """Whether a difference is of too few searches to claim anything of methods."""
    return item.unit == SEARCHES and item.difference.n < ENOUGH_SEEDS


def _title(found: Sequence[Group], *, drawn: bool) -> str:
    facts = found[0].studies[0].facts
    labels = sorted({str(study.facts["label"]) for item in found for study in item.studies})
    data = "drawn data" if drawn else str(facts["data"]["name"])
    return f"{'; '.join(item.name for item in found)}: {data}, {' / '.join(labels)}"
