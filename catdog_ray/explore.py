"""`python -m catdog_ray.explore DATA`: what is in a data set, what is wrong with it, and how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catdog_ray import command
from catdog_ray import config as configuration


def main(arguments: Sequence[str]) -> None:
    """Flags, then lazy imports, then the tables."""
    parser = command.parser_of("explore", __doc__.partition(": ")[2].capitalize())
    add = parser.add_argument
    add("data", metavar="DATA", help="zip archive, folder, URL, name of a published set, or 'drawn'")
    add("--save-figure", type=Path, metavar="FILE", help="draw samples and one picture under each augmentation")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    add("--config", metavar="FILE", help="YAML file whose data and augment settings hold (default: quickstart.yaml)")
    add("--set", metavar="KEY=VALUE", action="append", default=[], help="any setting, dotted; may be repeated")
    flags = parser.parse_args(arguments)
    overrides = {"data.source": flags.data}
    config = configuration.load(flags.config, overrides={**overrides, **command.assignments(flags.set, overrides)})

    from catdog_ray import exploration

    exploration.explore(config, as_json=flags.json, figure=flags.save_figure)


if __name__ == "__main__":
    command.run(main)
