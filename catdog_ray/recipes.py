"""What changes of the training give: runs by one recipe each, against the plain training of the same configuration.

A recipe is scored on the selection split by the accuracy averaged over the last epochs, so that a longer run has no
more chances than a short one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catdog_ray import audit, groups, statistics
from catdog_ray.audit import Evidence
from catdog_ray.errors import UserError
from catdog_ray.statistics import Difference, Estimate

REFERENCE, TUNED = "plain", "tuned"
LAST_EPOCHS = 3
STEADY_EPOCHS = 10
"""Of a retraining, over which test accuracies are averaged beside the last one."""

MAY_DIFFER = ("train.", "search.")
"""What a recipe may change; anything else would be another question."""

Recipes = Mapping[str, Mapping[int, Evidence]]
"""Recipe and seed to the study."""


@dataclass(frozen=True)
class Scored:
    """A recipe on the selection split: what it changes, its score by seed, and its difference to the plain training."""

    recipe: str
    changes: Mapping[str, str]
    scores: Mapping[int, float]
    accuracy: Estimate
    difference: Difference | None


def read(folders: Sequence[Path]) -> Recipes:
    """The studies, `plain` first; each one whole run, and different from `plain` in its training alone."""
    found: defaultdict[str, dict[int, Evidence]] = defaultdict(dict)
    for folder in sorted(folders):
        recipe, seed = named(folder)
        study = audit.read(folder)
        length = study.facts["config"]["search"]["max_epochs"]
        if [(row.status, row.epochs) for row in study.trials] != [("completed", length)]:
            raise UserError(f"{folder}: is not one whole run of {length} epochs; finish it first")
        if seed != study.seed:
            raise UserError(f"{folder}: its seed is {study.seed}, not {seed}")
        if seed in found[recipe]:
            raise UserError(f"{folder}: a second study of {recipe}, seed {seed}; compare one image size at a time")
        found[recipe][seed] = study
    if REFERENCE not in found:
        raise UserError(f"there is no study called recipe48-{REFERENCE}-seedN to compare with")
    for recipe, by_seed in found.items():
        if not by_seed.keys() & found[REFERENCE].keys():
            raise UserError(f"{recipe} and {REFERENCE} have no seed in common")
        told = {tuple(changes(found, study).items()) for study in by_seed.values()}
        if len(told) > 1:
            raise UserError(f"the studies of {recipe} differ in more than their seed: {sorted(told)}")
    return dict(sorted(found.items(), key=lambda item: item[0] != REFERENCE))


def changes(recipes: Recipes, study: Evidence, *, may_differ: tuple[str, ...] = MAY_DIFFER) -> dict[str, str]:
    """The settings in which a study differs from the plain training, and its own values."""
    plain = next(iter(recipes[REFERENCE].values()))
    return {key: str(own) for key, (_, own) in allowed_differences(plain, study, may_differ).items()}


def score(study: Evidence) -> float:
    """The mean selection accuracy of the last epochs."""
    (course,) = study.courses.values()
    return float(course.accuracies[-LAST_EPOCHS:].mean())


def scored(recipes: Recipes) -> list[Scored]:
    """One entry per recipe; differences to the plain training are paired by seed."""
    plain = {seed: score(study) for seed, study in recipes[REFERENCE].items()}
    found = []
    for recipe, by_seed in recipes.items():
        scores = {seed: score(by_seed[seed]) for seed in sorted(by_seed)}
        seeds = sorted(by_seed.keys() & plain.keys())
        pairs = [scores[seed] for seed in seeds], [plain[seed] for seed in seeds]
        found.append(
            Scored(
                recipe,
                changes(recipes, by_seed[seeds[0]]),
                scores,
                statistics.estimate(list(scores.values())),
                None if recipe == REFERENCE else statistics.paired_difference(*pairs),
            )
        )
    return found


def named(folder: Path) -> tuple[str, int]:
    """The recipe and the seed of which a study's folder speaks."""
    match = re.search(r"-([a-z0-9-]+)-seed(\d+)$", folder.name)
    if match is None:
        raise UserError(f"{folder}: must be named like recipe48-cosine-seed0")
    return match[1], int(match[2])


def allowed_differences(
    plain: Evidence, study: Evidence, may_differ: tuple[str, ...] = MAY_DIFFER
) -> dict[str, tuple[Any, Any]]:
    """The settings in which two studies differ; UserError where one may not."""
    found = groups.differing(plain, study)
    for key, (before, after) in found.items():
        if not key.startswith(may_differ):
            raise UserError(f"{plain.folder} and {study.folder} cannot be compared: {key} is {before!r} and {after!r}")
    return found
