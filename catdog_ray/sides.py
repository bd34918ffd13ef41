"""What was retrained in two studies, side by side on the test split: by a recipe and plainly, or by two searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from catdog_ray import audit, differences, last_epochs, recipes, statistics
from catdog_ray.audit import Evidence
from catdog_ray.differences import Compared
from catdog_ray.errors import UserError
from catdog_ray.recipes import MAY_DIFFER, REFERENCE, Recipes
from catdog_ray.records import best_trial, trial_name
from catdog_ray.retrained import BASELINE, SEEDS, Run, Runs
from catdog_ray.statistics import Difference, Estimate

TUNED = "tuned"
STEADY_EPOCHS = 10
"""Of a retraining, over which test accuracies are averaged beside the last one."""

_SEARCHED_ALONE = ("search.", "space.", "train.precision", "train.jit_compile", "train.checkpoint_epochs")
"""In what two searches may differ: any other change of the training would be another question."""


@dataclass(frozen=True)
class Sides:
    """Runs at one milestone by the name of what they show, and which is set against which.

    `unlike` are the reasons why a seed means nothing on both sides of a pair, in words; none, then seeds are pairs.
    `settings` are those in which the first side of the only pair differs from the second, with both values.
    """

    runs: Mapping[str, Sequence[Run]]
    pairs: Sequence[tuple[str, str]]
    unlike: Sequence[str] = ()
    settings: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def is_paired(self) -> bool:
        """Whether a seed means the same on both sides."""
        return not self.unlike

    def averaged(self, name: str) -> Estimate | None:
        """Test accuracy over the last epochs up to the milestone; None where those epochs are lost."""
        found = last_epochs.at_milestones(self.runs[name], STEADY_EPOCHS)
        return statistics.estimate([run.row.test_accuracy for run in found]) if found else None

    @cached_property
    def differences(self) -> list[tuple[Compared, Difference | None]]:
        """First minus second of every pair: over retraining seeds, and over test images.

        Behind that over seeds the same of accuracies averaged over the last epochs.
        """
        found: list[tuple[Compared, Difference | None]] = []
        for names in self.pairs:
            # A recipe may train longer: each side is at its own milestone.
            sides = {name: {0: self.runs[name]} for name in names}
            longer = {name: {0: last_epochs.at_milestones(self.runs[name], STEADY_EPOCHS)} for name in names}
            averaged = {item.unit: item.difference for item in self._over_seeds(longer)}
            found += [(item, averaged.get(item.unit)) for item in self._over_seeds(sides)]
            found += [(item, None) for item in differences.of_images(sides)]
        return found

    def _over_seeds(self, sides: Runs) -> list[Compared]:
        if self.is_paired:
            return differences.of_accuracies(sides)
        first, second = sides
        own, other = ([run.row.test_accuracy for run in sides[name][0]] for name in (first, second))
        if not own or not other:
            return []
        return [Compared("test accuracy", 0, first, second, SEEDS, statistics.unpaired_difference(own, other))]


def of_recipes(known: Recipes, plain: Path | None, tuned: Path | None = None) -> Sides:
    """The guide's configuration by each retrained recipe and plainly; with `tuned` what the search found too."""
    runs: dict[str, Sequence[Run]] = {}
    for recipe, by_seed in known.items():
        for study in by_seed.values():
            own = _at_last(_runs_of(study, BASELINE))
            if own and recipe in runs:
                raise UserError(f"{study.folder}: {recipe} was retrained in another study too; leave one out")
            if own:
                runs[recipe] = own
    if plain is None:
        return Sides(runs, [])
    reference = audit.read(plain)
    for recipe in runs:
        for study in known[recipe].values():
            recipes.allowed_differences(reference, study)
    runs[REFERENCE] = _must_be(
        _at_last(_runs_of(reference, BASELINE)), f"--plain: {plain}", "the guide's configuration"
    )
    pairs = [(recipe, REFERENCE) for recipe in runs if recipe != REFERENCE]
    if tuned is not None:
        study = audit.read(tuned)
        recipe = _recipe_of(study, known)
        by_recipe, plainly = f"{TUNED}, {recipe}", f"{TUNED}, {REFERENCE}"
        pairs += [(by_recipe, plainly)]
        pairs += [(by_recipe, recipe)] if recipe in runs else []
        both = _of_one_configuration(study, reference)
        runs |= {name: _at_last(own) for name, own in zip((by_recipe, plainly), both, strict=True)}
    return Sides(runs, pairs)


def of_recipe(plain: Path, tuned: Path) -> Sides:
    """What the search in `plain` found, retrained there and by the recipe of which the folder `tuned` speaks.

    Both at the last milestone that they have in common. They may be of other libraries, in Keras' backend and in what
    decoded the pictures; then they are not paired.
    """
    reference, study = audit.read(plain), audit.read(tuned)
    recipe, _ = recipes.named(tuned)
    both = _of_one_configuration(study, reference)
    names = f"{TUNED}, {recipe}", f"{TUNED}, {REFERENCE}"
    # That one of the two did not search is no finding.
    return _set_against(study, reference, names, both, MAY_DIFFER, told=("train.",))


def of_searches(plain: Path, other: Path) -> Sides:
    """What the searches of two spaces found, each retrained in its own study and called by its label.

    As with `of_recipe`, at the last milestone in common, and not paired where other libraries trained one side.
    """
    reference, study = audit.read(plain), audit.read(other)
    names = [side.facts["label"] for side in (study, reference)]
    if names[0] == names[1]:
        names = [side.name for side in (study, reference)]
    if names[0] == names[1]:
        raise UserError(f"--other: {other} and {plain} are both called {names[0]!r}; rename the folder of one")
    both = _best_runs(study, f"--other: {other}"), _best_runs(reference, f"--plain: {plain}")
    tuned = f"{TUNED}, {names[0]}", f"{TUNED}, {names[1]}"
    return _set_against(study, reference, tuned, both, _SEARCHED_ALONE, told=("search.", "train."))


def _set_against(
    study: Evidence,
    plain: Evidence,
    names: tuple[str, str],
    runs: tuple[Sequence[Run], Sequence[Run]],
    may_differ: tuple[str, ...],
    *,
    told: tuple[str, ...],
) -> Sides:
    """The one pair of two studies, at the last milestone in common. UserError where a setting differs that may not."""
    found = recipes.allowed_differences(plain, study, (*may_differ, "baseline.", "data.fingerprint"))
    backends = study.facts.get("backend"), plain.facts.get("backend")
    unlike = []
    if backends[0] != backends[1]:
        unlike.append("Keras ran on {} and on {}".format(*(name or "an unknown backend" for name in backends)))
    if "data.fingerprint" in found:
        unlike.append("the pictures were decoded to other pixels")
    settings = {key: (own, before) for key, (before, own) in found.items() if key.startswith(told)}
    milestones = [{run.row.milestone for run in own} for own in runs]
    if not milestones[0] & milestones[1]:
        own, before = (", ".join(map(str, sorted(each))) for each in milestones)
        raise UserError(f"{study.folder} and {plain.folder} have no milestone in common: {own} and {before} epochs")
    last = max(milestones[0] & milestones[1])
    return Sides({name: _at(own, last) for name, own in zip(names, runs, strict=True)}, [names], unlike, settings)


def _recipe_of(study: Evidence, known: Recipes) -> str:
    """By which of them `study` trained its configuration."""
    said = recipes.changes(known, study, may_differ=(*MAY_DIFFER, "baseline."))
    told = {key: value for key, value in said.items() if not key.startswith("baseline.")}
    same = [recipe for recipe, by_seed in known.items() if recipes.changes(known, next(iter(by_seed.values()))) == told]
    if not same:
        raise UserError(f"--tuned: {study.folder} was trained by none of the recipes: {told}")
    return same[0]


def _of_one_configuration(study: Evidence, plain: Evidence) -> tuple[list[Run], list[Run]]:
    """Runs of what `plain` found: of `study`, whose configuration it must be, and of `plain` itself."""
    best = best_trial(plain.trials)
    own = {name: study.facts["config"]["baseline"].get(name) for name in study.space}
    if best is None or own != best.hyperparameters:
        raise UserError(f"--tuned: {study.folder} did not train what {plain.folder} found")
    by_recipe = _must_be(_runs_of(study, BASELINE), f"--tuned: {study.folder}", "its configuration")
    return by_recipe, _best_runs(plain, f"--plain: {plain.folder}")


def _best_runs(study: Evidence, where: str) -> list[Run]:
    """Runs of what a study's own search found. UserError where it found nothing, or did not retrain it."""
    best = best_trial(study.trials)
    if best is None:
        raise UserError(f"{where} has no trial with a score")
    # The configuration that the search began with keeps the name of the baseline.
    own = (row.configuration for row in study.retrain if row.hyperparameters == best.hyperparameters)
    name = next(own, trial_name(best.trial))
    return _must_be(_runs_of(study, name), where, name)


def _must_be(runs: list[Run], where: str, what: str) -> list[Run]:
    if not runs:
        raise UserError(f"{where} has not retrained {what}")
    return runs


def _runs_of(study: Evidence, configuration: str) -> list[Run]:
    """A configuration at all its milestones, by seed."""
    rows = [row for row in study.retrain if row.configuration == configuration]
    return [Run(study, row) for row in sorted(rows, key=lambda row: row.seed)]


def _at_last(runs: Sequence[Run]) -> list[Run]:
    return _at(runs, max((run.row.milestone for run in runs), default=0))


def _at(runs: Sequence[Run], milestone: int) -> list[Run]:
    return [run for run in runs if run.row.milestone == milestone]
