"""What changes of the training give: `python scripts/compare_recipes.py results/recipes/recipe48-*`.

Each study is one training run of the guide's configuration (`scripts/study.py --part recipes`): its last words say the
recipe and the seed. They are scored on the selection split by the accuracy averaged over the last epochs, so that a
longer run has no more chances than a short one. A recipe that was retrained too is set against the plain retraining of
the same configuration in `--plain`, on the test split; and so is the tuned configuration by a recipe (`--tuned`, the
third part of the study; without any STUDY the fourth, in which other libraries trained the two sides). What the search
of another space found is set against what `--plain` found by `--other` (the fifth and the sixth part).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from catdog_ray import command
from catdog_ray.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from catdog_ray.table import Table


def main(arguments: Sequence[str]) -> None:
    """Read, print, and write if asked to."""
    parser = command.Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "studies", type=Path, nargs="*", metavar="STUDY", help="folders such as results/recipes/recipe48-*"
    )
    parser.add_argument(
        "--plain", type=Path, metavar="STUDY", help="whose plain retraining a retrained recipe is compared with"
    )
    parser.add_argument(
        "--tuned", type=Path, metavar="STUDY", help="where what --plain found was retrained by a recipe"
    )
    parser.add_argument(
        "--other", type=Path, metavar="STUDY", help="whose search of another space found something else"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="write recipes.md, recipes.json and a figure there")
    flags = parser.parse_args(arguments)
    if flags.tuned is not None and flags.plain is None:
        parser.error("--tuned: needs --plain, the study whose configuration it is")
    if flags.other is not None and (flags.plain is None or flags.tuned is not None or flags.studies):
        parser.error("--other: needs --plain, the study with which it is compared, and nothing else")
    if not flags.studies and flags.tuned is None and flags.other is None:
        parser.error("STUDY: name the recipes to compare, or --plain with --tuned or --other")

    from catdog_ray import files, live, markdown, recipe_figure, recipe_tables, recipes, sides

    known = recipes.read(flags.studies) if flags.studies else {}
    if known:
        retrained = sides.of_recipes(known, flags.plain, flags.tuned)
    elif flags.other is not None:
        retrained = sides.of_searches(flags.plain, flags.other)
    else:
        retrained = sides.of_recipe(flags.plain, flags.tuned)
    made = [recipe_tables.selection(known)] if known else []
    made += [table for table in recipe_tables.retrained(retrained) if table.rows]
    console = live.make_console()
    for table in made:
        print_table(console, table)
    if flags.output is None:
        return
    title = "What changes of the training give" if flags.other is None else "What two searches found"
    pages = {
        "recipes.md": f"# {title}\n" + "".join(map(markdown.as_markdown, made)),
        "recipes.json": files.to_json(recipe_tables.as_json(known, retrained), indent=1) + "\n",
    }
    if known:
        pages["selection.svg"] = recipe_figure.draw(known)
    try:
        flags.output.mkdir(parents=True, exist_ok=True)
        for name, content in pages.items():
            files.replace_file(flags.output / name, content)
    except OSError as error:
        raise UserError(f"--output: {flags.output} cannot be written ({error.strerror})") from None
    console.print(f"written to {flags.output}: {', '.join(pages)}", soft_wrap=True, highlight=False, markup=False)


def print_table(console: Console, table: Table) -> None:
    """On the terminal."""
    from rich.table import Table as Shown
    from rich.text import Text

    shown = Shown(*table.columns, title=table.title, title_justify="left")
    for row in table.rows:
        shown.add_row(*map(Text, row))
    console.print(shown)
    console.print(table.note, highlight=False, markup=False)


if __name__ == "__main__":
    command.run(main)
