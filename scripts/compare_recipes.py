"""What changes of the training give: `python scripts/compare_recipes.py results/recipes/recipe48-*`.

Each study is one training run of the guide's configuration (`scripts/study.py --part recipes`): its last words say the
recipe and the seed. They are scored on the selection split by the accuracy averaged over the last epochs, so that a
longer run has no more chances than a short one. A recipe that was retrained too is set against the plain retraining of
the same configuration in `--plain`, on the test split; and so is the tuned configuration by a recipe (`--tuned`, the
third part of the study).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catdog_ray import command
from catdog_ray.settings import UserError
from catdog_ray.words import NO_DIFFERENCE, counted, percent, points

if TYPE_CHECKING:
    from rich.console import Console

    from catdog_ray.audit import Evidence
    from catdog_ray.retrained import Compared, Run
    from catdog_ray.statistics import Difference
    from catdog_ray.tables import Table

REFERENCE, TUNED = "plain", "tuned"
LAST_EPOCHS = 3
STEADY_EPOCHS = 10
"""Of a retraining, over which test accuracies are averaged beside the last one."""
SMOOTHED_EPOCHS = 20
"""Of the lines of the figure: single epochs jump by points."""

MAY_DIFFER = ("train.", "search.")
"""What a recipe may change; anything else would be another question."""

Recipes = Mapping[str, Mapping[int, "Evidence"]]
"""Recipe and seed to the study."""


def main(arguments: Sequence[str]) -> None:
    """Read, print, and write if asked to."""
    parser = command.Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "studies", type=Path, nargs="+", metavar="STUDY", help="folders such as results/recipes/recipe48-*"
    )
    parser.add_argument(
        "--plain", type=Path, metavar="STUDY", help="whose plain retraining a retrained recipe is compared with"
    )
    parser.add_argument(
        "--tuned", type=Path, metavar="STUDY", help="where what --plain found was retrained by a recipe"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="write recipes.md, recipes.json and a figure there")
    flags = parser.parse_args(arguments)
    if flags.tuned is not None and flags.plain is None:
        parser.error("--tuned: needs --plain, the study whose configuration it is")

    from catdog_ray import files, live, markdown

    recipes = read(flags.studies)
    retrained = retrained_runs(recipes, flags.plain, flags.tuned)
    made = [table for table in (selection_table(recipes), *retrained_tables(retrained)) if table.rows]
    console = live.make_console()
    for table in made:
        print_table(console, table)
    if flags.output is None:
        return
    pages = {
        "recipes.md": "# What changes of the training give\n" + "".join(map(markdown.as_markdown, made)),
        "recipes.json": files.to_json(as_json(recipes, retrained), indent=1) + "\n",
        "selection.svg": draw(recipes),
    }
    try:
        flags.output.mkdir(parents=True, exist_ok=True)
        for name, content in pages.items():
            files.replace_file(flags.output / name, content)
    except OSError as error:
        raise UserError(f"--output: {flags.output} cannot be written ({error.strerror})") from None
    console.print(f"written to {flags.output}: {', '.join(pages)}", soft_wrap=True, highlight=False, markup=False)


def read(folders: Sequence[Path]) -> Recipes:
    """The studies, `plain` first; each one whole run, and different from `plain` in its training alone."""
    from catdog_ray import audit

    found: defaultdict[str, dict[int, Evidence]] = defaultdict(dict)
    for folder in sorted(folders):
        match = re.search(r"-([a-z0-9-]+)-seed(\d+)$", folder.name)
        if match is None:
            raise UserError(f"{folder}: must be named like recipe48-cosine-seed0")
        study = audit.read(folder)
        length = study.facts["config"]["search"]["max_epochs"]
        if [(row.status, row.epochs) for row in study.trials] != [("completed", length)]:
            raise UserError(f"{folder}: is not one whole run of {length} epochs; finish it first")
        if int(match[2]) != study.seed:
            raise UserError(f"{folder}: its seed is {study.seed}, not {int(match[2])}")
        if study.seed in found[match[1]]:
            raise UserError(
                f"{folder}: a second study of {match[1]}, seed {match[2]}; compare one image size at a time"
            )
        found[match[1]][study.seed] = study
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


def allowed_differences(
    plain: Evidence, study: Evidence, may_differ: tuple[str, ...] = MAY_DIFFER
) -> dict[str, tuple[Any, Any]]:
    """The settings in which two studies differ; UserError where one may not."""
    from catdog_ray import groups

    found = groups.differing(plain, study)
    for key, (before, after) in found.items():
        if not key.startswith(may_differ):
            raise UserError(f"{plain.folder} and {study.folder} cannot be compared: {key} is {before!r} and {after!r}")
    return found


def score(study: Evidence) -> float:
    """The mean selection accuracy of the last epochs."""
    (course,) = study.courses.values()
    return float(course.accuracies[-LAST_EPOCHS:].mean())


def compared(recipes: Recipes) -> list[dict[str, Any]]:
    """One entry per recipe: its estimate over seeds, and its difference to the plain training, paired by seed."""
    from catdog_ray import statistics

    plain = recipes[REFERENCE]
    found = []
    for recipe, by_seed in recipes.items():
        seeds = sorted(by_seed.keys() & plain.keys())
        pairs = [score(by_seed[seed]) for seed in seeds], [score(plain[seed]) for seed in seeds]
        found.append(
            {
                "recipe": recipe,
                "changes": changes(recipes, by_seed[seeds[0]]),
                "accuracy": statistics.estimate([score(by_seed[seed]) for seed in sorted(by_seed)]),
                "difference": None if recipe == REFERENCE else statistics.paired_difference(*pairs),
            }
        )
    return found


@dataclass(frozen=True)
class Retrained:
    """What was retrained: runs at their last milestone by the name of the recipe, and what is set against what."""

    runs: Mapping[str, Sequence[Run]]
    pairs: Sequence[tuple[str, str]]

    def differences(self) -> list[tuple[Compared, Difference | None]]:
        """First minus second of every pair: over retraining seeds, and over test images.

        Behind that over seeds the same of accuracies averaged over the last epochs.
        """
        from catdog_ray import last_epochs, retrained

        found: list[tuple[Compared, Difference | None]] = []
        for names in self.pairs:
            # Each is at its own last milestone, however long that is.
            sides = {name: {0: self.runs[name]} for name in names}
            longer = {name: {0: last_epochs.at_milestones(self.runs[name], STEADY_EPOCHS)} for name in names}
            averaged = {item.unit: item.difference for item in retrained.compare_accuracies(longer)}
            found += [(item, averaged.get(item.unit)) for item in retrained.compare_accuracies(sides)]
            found += [(item, None) for item in retrained.compare_images(sides)]
        return found


def retrained_runs(recipes: Recipes, plain: Path | None, tuned: Path | None = None) -> Retrained:
    """The guide's configuration by each retrained recipe and plainly; with `tuned` what the search found too."""
    from catdog_ray import audit

    runs: dict[str, Sequence[Run]] = {}
    for recipe, by_seed in recipes.items():
        for study in by_seed.values():
            own = last_runs(study, "baseline")
            if own and recipe in runs:
                raise UserError(f"{study.folder}: {recipe} was retrained in another study too; leave one out")
            if own:
                runs[recipe] = own
    if plain is None:
        return Retrained(runs, [])
    reference = audit.read(plain)
    for recipe in runs:
        for study in recipes[recipe].values():
            allowed_differences(reference, study)
    runs[REFERENCE] = _must_be(last_runs(reference, "baseline"), f"--plain: {plain}", "the guide's configuration")
    pairs = [(recipe, REFERENCE) for recipe in runs if recipe != REFERENCE]
    if tuned is not None:
        recipe, both = tuned_runs(audit.read(tuned), reference, recipes)
        runs |= both
        pairs += [(f"{TUNED}, {recipe}", f"{TUNED}, {REFERENCE}")]
        pairs += [(f"{TUNED}, {recipe}", recipe)] if recipe in runs else []
    return Retrained(runs, pairs)


def tuned_runs(study: Evidence, plain: Evidence, recipes: Recipes) -> tuple[str, dict[str, Sequence[Run]]]:
    """The recipe by which the configuration that `plain` found was retrained in `study`, and its runs by both."""
    from catdog_ray.records import best_trial

    best = best_trial(plain.trials)
    own = {name: study.facts["config"]["baseline"].get(name) for name in study.space}
    if best is None or own != best.hyperparameters:
        raise UserError(f"--tuned: {study.folder} did not train what {plain.folder} found")
    said = changes(recipes, study, may_differ=(*MAY_DIFFER, "baseline."))
    told = {key: value for key, value in said.items() if not key.startswith("baseline.")}
    same = [recipe for recipe, by_seed in recipes.items() if changes(recipes, next(iter(by_seed.values()))) == told]
    if not same:
        raise UserError(f"--tuned: {study.folder} was trained by none of the recipes: {told}")
    number = f"trial-{best.trial:04d}"
    return same[0], {
        f"{TUNED}, {same[0]}": _must_be(last_runs(study, "baseline"), f"--tuned: {study.folder}", "its configuration"),
        f"{TUNED}, {REFERENCE}": _must_be(last_runs(plain, number), f"--plain: {plain.folder}", number),
    }


def _must_be(runs: list[Run], where: str, what: str) -> list[Run]:
    if not runs:
        raise UserError(f"{where} has not retrained {what}")
    return runs


def last_runs(study: Evidence, configuration: str) -> list[Run]:
    """A configuration at its last milestone, by seed."""
    from catdog_ray.retrained import Run

    rows = [row for row in study.retrain if row.configuration == configuration]
    last = max((row.milestone for row in rows), default=0)
    return [Run(study, row) for row in sorted(rows, key=lambda row: row.seed) if row.milestone == last]


def selection_table(recipes: Recipes) -> Table:
    """What the recipes give on the selection split."""
    from catdog_ray.cells import accuracy_cells
    from catdog_ray.tables import TRIALS, Table

    rows = []
    for item in compared(recipes):
        difference = item["difference"]
        rows.append(
            (
                item["recipe"],
                ", ".join(f"{key} {value}" for key, value in item["changes"].items()) or "nothing",
                counted(item["accuracy"].n, "runs"),
                *accuracy_cells(item["accuracy"]),
                *(("", "", "") if difference is None else difference_cells(difference)),
            )
        )
    images = next(iter(recipes[REFERENCE].values())).facts["data"]
    return Table(
        TRIALS,
        "On the selection split",
        (
            "recipe",
            "changes",
            "n",
            "accuracy, mean",
            "sd (points)",
            "95 % interval",
            "minus plain",
            "95 % interval of the difference",
            "verdict",
        ),
        tuple(rows),
        f"The guide's configuration, trained on {images['train_images']:,} images; accuracy on "
        f"{images['selection_images']:,} selection images, mean of the last {LAST_EPOCHS} epochs. Student's t over "
        f"seeds, differences paired by seed. Each interval stands alone: of {len(rows) - 1}, about "
        f"{0.05 * (len(rows) - 1):.1f} would leave out zero by chance.",
    )


def retrained_tables(found: Retrained) -> list[Table]:
    """What was retrained, on the test split."""
    from catdog_ray.cells import accuracy_cells, interval_cell
    from catdog_ray.retrained import IMAGES
    from catdog_ray.statistics import estimate
    from catdog_ray.tables import DIFFERENCES, RETRAINING, Table

    rows = tuple(
        (
            name,
            str(own[0].row.milestone),
            counted(len(own), "runs"),
            percent(estimate([run.row.train_accuracy for run in own]).mean),
            *accuracy_cells(estimate([run.row.test_accuracy for run in own])),
        )
        for name, own in found.runs.items()
    )
    compared = found.differences()
    shown = {(item.first, item.second) for item, _ in compared if item.unit != IMAGES and item.difference.is_shown}
    differences = []
    for item, averaged in compared:
        mean, ends, verdict = difference_cells(item.difference, is_claim=(item.first, item.second) in shown)
        unpaired = "" if item.unpaired is None else interval_cell(item.unpaired, signed=True)
        steady = "" if averaged is None else "{} ({})".format(*difference_cells(averaged)[:2])
        differences.append(
            (
                f"{item.first} minus {item.second}",
                counted(item.difference.n, item.unit),
                mean,
                ends,
                unpaired,
                steady,
                verdict,
            )
        )
    images = {run.row.test_images for own in found.runs.values() for run in own}
    tuned = f" ({TUNED}: what the search of the plain study found)" if len(found.pairs) > 1 else ""
    return [
        Table(
            RETRAINING,
            "Retrained on all training images, on the test split",
            ("recipe", "epochs", "n", "training", "test, mean", "sd (points)", "95 % interval"),
            rows,
            f"The guide's configuration{tuned}, {' and '.join(map(str, sorted(images)))} test images, which decided "
            "nothing.",
        ),
        Table(
            DIFFERENCES,
            "Test accuracy, paired",
            (
                "difference",
                "pairs",
                "mean",
                "95 % interval",
                "unpaired",
                f"mean of the last {STEADY_EPOCHS} epochs",
                "verdict",
            ),
            tuple(differences),
            "By retraining seed: Student's t; beside it without pairs (Welch), and of accuracies averaged over the "
            "last epochs, because one epoch's jumps. By test image (percentile bootstrap), the interval is about these "
            "trained models and knows nothing of other seeds.",
        ),
    ]


def difference_cells(item: Difference, *, is_claim: bool = True) -> tuple[str, str, str]:
    """Mean, interval, and what may be said; images alone never speak for a recipe (`is_claim` false)."""
    from catdog_ray.cells import interval_cell

    verdict = NO_DIFFERENCE if not item.is_shown else "better" if item.mean > 0 else "worse"
    if item.is_shown and not is_claim:
        verdict = f"these models differ, {NO_DIFFERENCE} for other seeds"
    return points(item.mean, signed=True), interval_cell(item, signed=True), verdict


def print_table(console: Console, table: Table) -> None:
    """On the terminal."""
    from rich.table import Table as Shown
    from rich.text import Text

    shown = Shown(*table.columns, title=table.title, title_justify="left")
    for row in table.rows:
        shown.add_row(*map(Text, row))
    console.print(shown)
    console.print(table.note, highlight=False, markup=False)


def as_json(recipes: Recipes, found: Retrained) -> dict[str, Any]:
    """What recipes.json holds: accuracies are fractions."""
    return {
        "schema_version": 1,
        "selection": [
            {
                **item,
                "accuracy": asdict(item["accuracy"]),
                "difference": item["difference"] and asdict(item["difference"]),
                "scores": {seed: score(study) for seed, study in sorted(recipes[item["recipe"]].items())},
            }
            for item in compared(recipes)
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
            for item, averaged in found.differences()
        ],
    }


def draw(recipes: Recipes) -> str:
    """Selection accuracy over the epochs: the mean of all seeds, smoothed."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    from catdog_ray.drawings import percent_axis
    from catdog_ray.plots import BASELINE_COLOUR, LINES, PALETTE, legend_below, new_figure, style, to_svg

    with style():
        figure = new_figure(width=7.2, height=4.4)
        axes = figure.subplots()
        for place, (recipe, by_seed) in enumerate(recipes.items()):
            courses = [course.accuracies for study in by_seed.values() for course in study.courses.values()]
            window = min(SMOOTHED_EPOCHS, *map(len, courses))
            mean = np.convolve(np.mean(courses, axis=0), np.full(window, 1 / window), mode="valid")
            axes.plot(
                np.arange(window, len(courses[0]) + 1),
                mean,
                color=BASELINE_COLOUR if recipe == REFERENCE else PALETTE[(place - 1) % len(PALETTE)],
                linewidth=2.4 if recipe == REFERENCE else 1.5,
                linestyle="-" if recipe == REFERENCE else LINES[place % len(LINES)],
                label=f"{recipe} (n={len(courses)})",
            )
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        percent_axis(axes.yaxis)
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"selection accuracy, mean of {SMOOTHED_EPOCHS} epochs")
        legend_below(figure, axes, columns=4)
        title = "Selection accuracy by recipe, mean over seeds (running mean of epochs)"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        return to_svg(figure, title=title)


if __name__ == "__main__":
    command.run(main)
