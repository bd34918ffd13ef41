"""What changes of the training give: runs by one recipe each, against the plain training of the same configuration.

A recipe is scored on the selection split by the accuracy averaged over the last epochs, so that a longer run has no
more chances than a short one. What was retrained by it is set against what was retrained plainly, on the test split.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from catdog_ray import audit, groups, last_epochs, retrained, statistics
from catdog_ray.audit import Evidence
from catdog_ray.errors import UserError
from catdog_ray.records import best_trial, trial_name
from catdog_ray.retrained import BASELINE, SEEDS, Compared, Run
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


@dataclass(frozen=True)
class Retrained:
    """What was retrained: runs at their last milestone by the name of the recipe, and what is set against what.

    Unless `is_paired` a seed means nothing on both sides: they were trained by other libraries, or on pixels that
    others decoded.
    """

    runs: Mapping[str, Sequence[Run]]
    pairs: Sequence[tuple[str, str]]
    is_paired: bool = True

    @cached_property
    def differences(self) -> list[tuple[Compared, Difference | None]]:
        """First minus second of every pair: over retraining seeds, and over test images.

        Behind that over seeds the same of accuracies averaged over the last epochs.
        """
        found: list[tuple[Compared, Difference | None]] = []
        for names in self.pairs:
            # Each is at its own last milestone, however long that is.
            sides = {name: {0: self.runs[name]} for name in names}
            longer = {name: {0: last_epochs.at_milestones(self.runs[name], STEADY_EPOCHS)} for name in names}
            averaged = {item.unit: item.difference for item in self._over_seeds(longer)}
            found += [(item, averaged.get(item.unit)) for item in self._over_seeds(sides)]
            found += [(item, None) for item in retrained.compare_images(sides)]
        return found

    def _over_seeds(self, sides: Mapping[str, Mapping[int, Sequence[Run]]]) -> list[Compared]:
        if self.is_paired:
            return retrained.compare_accuracies(sides)
        first, second = sides
        own, other = ([run.row.test_accuracy for run in sides[name][0]] for name in (first, second))
        if not own or not other:
            return []
        return [Compared("test accuracy", 0, first, second, SEEDS, statistics.unpaired_difference(own, other))]


def read(folders: Sequence[Path]) -> Recipes:
    """The studies, `plain` first; each one whole run, and different from `plain` in its training alone."""
    found: defaultdict[str, dict[int, Evidence]] = defaultdict(dict)
    for folder in sorted(folders):
        recipe, seed = _named(folder)
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
    return {key: str(own) for key, (_, own) in _allowed_differences(plain, study, may_differ).items()}


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


def retrained_runs(recipes: Recipes, plain: Path | None, tuned: Path | None = None) -> Retrained:
    """The guide's configuration by each retrained recipe and plainly; with `tuned` what the search found too."""
    runs: dict[str, Sequence[Run]] = {}
    for recipe, by_seed in recipes.items():
        for study in by_seed.values():
            own = _last_runs(study, BASELINE)
            if own and recipe in runs:
                raise UserError(f"{study.folder}: {recipe} was retrained in another study too; leave one out")
            if own:
                runs[recipe] = own
    if plain is None:
        return Retrained(runs, [])
    reference = audit.read(plain)
    for recipe in runs:
        for study in recipes[recipe].values():
            _allowed_differences(reference, study)
    runs[REFERENCE] = _must_be(_last_runs(reference, BASELINE), f"--plain: {plain}", "the guide's configuration")
    pairs = [(recipe, REFERENCE) for recipe in runs if recipe != REFERENCE]
    if tuned is not None:
        study = audit.read(tuned)
        recipe = _recipe_of(study, recipes)
        both = _both_ways(study, reference, recipe)
        by_recipe, plainly = both
        pairs += [(by_recipe, plainly)]
        pairs += [(by_recipe, recipe)] if recipe in runs else []
        runs |= both
    return Retrained(runs, pairs)


def tuned_runs(plain: Path, tuned: Path) -> Retrained:
    """What the search in `plain` found, retrained there and by the recipe of which the folder `tuned` speaks.

    Both at the last milestone that they have in common. They may be of other libraries, in Keras' backend and in what
    decoded the pictures; then they are not paired.
    """
    reference, study = audit.read(plain), audit.read(tuned)
    is_paired = _is_paired(reference, study, (*MAY_DIFFER, "baseline."))
    recipe, _ = _named(tuned)
    runs = _both_ways(study, reference, recipe, milestone=_last_common(reference, study))
    by_recipe, plainly = runs
    return Retrained(runs, [(by_recipe, plainly)], is_paired)


def searched_runs(plain: Path, other: Path) -> Retrained:
    """What the searches of two spaces found, each retrained in its own study and called by its label.

    As with `tuned_runs`, at the last milestone in common, and not paired where other libraries trained one side.
    """
    reference, study = audit.read(plain), audit.read(other)
    is_paired = _is_paired(reference, study, (*MAY_DIFFER, "baseline.", "space."))
    labels = [side.facts["label"] for side in (reference, study)]
    if labels[0] == labels[1]:
        raise UserError(f"--other: {other} and {plain} are both labelled {labels[0]!r}")
    milestone = _last_common(reference, study)
    before, found = (f"{TUNED}, {label}" for label in labels)
    runs = {
        found: _best_runs(study, f"--other: {other}", milestone),
        before: _best_runs(reference, f"--plain: {plain}", milestone),
    }
    return Retrained(runs, [(found, before)], is_paired)


def as_json(recipes: Recipes, found: Retrained) -> dict[str, Any]:
    """What recipes.json holds: accuracies are fractions."""
    return {
        "schema_version": 1,
        "selection": [
            {
                "recipe": item.recipe,
                "changes": dict(item.changes),
                "accuracy": asdict(item.accuracy),
                "difference": item.difference and asdict(item.difference),
                "scores": dict(item.scores),
            }
            for item in (scored(recipes) if recipes else ())
        ],
        "test": [
            {
                "recipe": name,
                "study": own[0].study.name,
                "epochs": own[0].row.milestone,
                "accuracies": {run.row.seed: run.row.test_accuracy for run in own},
            }
            for name, own in found.runs.items()
        ],
        "test_differences": [
            {
                "recipe": item.first,
                "against": item.second,
                "unit": item.unit,
                **asdict(item.difference),
                "unpaired": item.unpaired and asdict(item.unpaired),
                f"last_{STEADY_EPOCHS}_epochs": averaged and asdict(averaged),
            }
            for item, averaged in found.differences
        ],
    }


def _named(folder: Path) -> tuple[str, int]:
    """The recipe and the seed of which a study's folder speaks."""
    match = re.search(r"-([a-z0-9-]+)-seed(\d+)$", folder.name)
    if match is None:
        raise UserError(f"{folder}: must be named like recipe48-cosine-seed0")
    return match[1], int(match[2])


def _allowed_differences(
    plain: Evidence, study: Evidence, may_differ: tuple[str, ...] = MAY_DIFFER
) -> dict[str, tuple[Any, Any]]:
    """The settings in which two studies differ; UserError where one may not."""
    found = groups.differing(plain, study)
    for key, (before, after) in found.items():
        if not key.startswith(may_differ):
            raise UserError(f"{plain.folder} and {study.folder} cannot be compared: {key} is {before!r} and {after!r}")
    return found


def _is_paired(plain: Evidence, study: Evidence, may_differ: tuple[str, ...]) -> bool:
    """Whether the same libraries trained both; UserError where a setting differs that may not."""
    found = _allowed_differences(plain, study, (*may_differ, "data.fingerprint"))
    return "data.fingerprint" not in found and plain.facts.get("backend") == study.facts.get("backend")


def _last_common(plain: Evidence, study: Evidence) -> int | None:
    """The last milestone that both have."""
    both = {row.milestone for row in study.retrain} & {row.milestone for row in plain.retrain}
    return max(both, default=None)


def _recipe_of(study: Evidence, recipes: Recipes) -> str:
    """By which of them `study` trained its configuration."""
    said = changes(recipes, study, may_differ=(*MAY_DIFFER, "baseline."))
    told = {key: value for key, value in said.items() if not key.startswith("baseline.")}
    same = [recipe for recipe, by_seed in recipes.items() if changes(recipes, next(iter(by_seed.values()))) == told]
    if not same:
        raise UserError(f"--tuned: {study.folder} was trained by none of the recipes: {told}")
    return same[0]


def _both_ways(
    study: Evidence, plain: Evidence, recipe: str, *, milestone: int | None = None
) -> dict[str, Sequence[Run]]:
    """Runs of the configuration that `plain` found: by `recipe` in `study`, and plainly; each at its last milestone."""
    best = best_trial(plain.trials)
    own = {name: study.facts["config"]["baseline"].get(name) for name in study.space}
    if best is None or own != best.hyperparameters:
        raise UserError(f"--tuned: {study.folder} did not train what {plain.folder} found")
    by_recipe = _last_runs(study, BASELINE, milestone)
    return {
        f"{TUNED}, {recipe}": _must_be(by_recipe, f"--tuned: {study.folder}", "its configuration"),
        f"{TUNED}, {REFERENCE}": _best_runs(plain, f"--plain: {plain.folder}", milestone),
    }


def _best_runs(study: Evidence, where: str, milestone: int | None) -> list[Run]:
    """Runs of what a study's own search found. UserError where it found nothing, or did not retrain it."""
    best = best_trial(study.trials)
    if best is None:
        raise UserError(f"{where} has no trial with a score")
    # The configuration that the search began with keeps the name of the baseline.
    own = (row.configuration for row in study.retrain if row.hyperparameters == best.hyperparameters)
    name = next(own, trial_name(best.trial))
    return _must_be(_last_runs(study, name, milestone), where, name)


def _must_be(runs: list[Run], where: str, what: str) -> list[Run]:
    if not runs:
        raise UserError(f"{where} has not retrained {what}")
    return runs


def _last_runs(study: Evidence, configuration: str, milestone: int | None = None) -> list[Run]:
    """A configuration at `milestone`, or else at its last one, by seed."""
    rows = [row for row in study.retrain if row.configuration == configuration]
    last = milestone or max((row.milestone for row in rows), default=0)
    return [Run(study, row) for row in sorted(rows, key=lambda row: row.seed) if row.milestone == last]
