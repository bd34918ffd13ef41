"""`python -m catdog_ray.predict STUDY PICTURES...`: classify pictures with the model that a study retrained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catdog_ray import command
from catdog_ray.errors import ConfigError


def main(arguments: Sequence[str]) -> None:
    """Flags, then lazy imports, then the predictions."""
    parser = command.parser_of(
        "predict",
        __doc__.partition(": ")[2].capitalize(),
        epilog="exit codes: 0 done (bad pictures are named), 2 something to change, such as no readable picture at all",
    )
    add = parser.add_argument
    add("study", type=Path, metavar="STUDY", help="folder of a study with a model, such as results/quickstart")
    add("pictures", nargs="*", metavar="PICTURES", help="files, folders, zip archives or patterns such as 'a/**/*.jpg'")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    add("--export", type=Path, metavar="DIR", help="also write the model as a TensorFlow SavedModel, and check it")
    flags = parser.parse_args(arguments)
    if not flags.pictures and flags.export is None:
        raise ConfigError("name at least one picture, folder or archive (or --export DIR)")

    from catdog_ray import answers

    answers.classify(flags.study, flags.pictures, as_json=flags.json, export_to=flags.export)


if __name__ == "__main__":
    command.run(main)
