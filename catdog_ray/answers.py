"""What `predict` says: the model is loaded, pictures are classified, and a table or JSON tells what came out."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from catdog_ray import files
from catdog_ray.errors import ConfigError, UserError, printable
from catdog_ray.ledger import StudyDirectory
from catdog_ray.live import make_console, say
from catdog_ray.pictures import find
from catdog_ray.records import RecordError
from catdog_ray.scores import Score, score
from catdog_ray.settings import LARGEST_IMAGE_SIZE
from catdog_ray.words import percent

if TYPE_CHECKING:
    import keras

    from catdog_ray.prediction import Prediction

_SAMPLE = 16
"""Pictures, or noise where there are fewer, on which an exported model is compared."""


class NothingClassified(UserError):
    """No picture could be read."""


@dataclass(frozen=True)
class Trained:
    """What a study says of its model."""

    folder: Path
    class_names: tuple[str, ...]
    image_size: int
    flip: bool
    configuration: str | None
    recorded_accuracy: float | None
    recorded_images: int | None
    is_drawn: bool


def classify(folder: Path, places: Sequence[str], *, as_json: bool, export_to: Path | None) -> None:
    """Classify what `places` name with the study's model and print it. Raises NothingClassified, UserError."""
    trained = read_trained(folder)
    # Told before seconds are spent on TensorFlow.
    if not (folder / "model.keras").is_file():
        raise RecordError(f"{folder / 'model.keras'}: there is no model; retrain the study first")
    if export_to is not None and export_to.exists():
        raise ConfigError(f"--export: {export_to} is there already; name a new folder")
    # TensorFlow's start-up lines would stand between a table and its reader.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from catdog_ray import backend

    with backend.hidden_start():
        backend.prepare(threads=len(os.sched_getaffinity(0)))
        from catdog_ray import model_file, prediction
    size, names = trained.image_size, trained.class_names
    network = model_file.load(folder / "model.keras", image_size=size, classes=len(names))
    if export_to is not None:
        _export(network, export_to, size)
        if trained.flip:
            print("the export scores single views; the accuracy on record is of both (test_time_flip)", file=sys.stderr)
    if not places:
        return
    prediction.warm_up(network, image_size=size)
    console = make_console()
    started = time.perf_counter()
    found: list[Prediction] = []
    with Console(stderr=True).status("classifying") as status:
        for item in prediction.classify(network, find(places, names), names, image_size=size, flip=trained.flip):
            found.append(item)
            if not len(found) % 250:
                status.update(f"classifying: {len(found):,}")
    seconds = time.perf_counter() - started
    pairs = [(p.true_class, p.predicted_class) for p in found if p.true_class and p.predicted_class]
    result = score(pairs, names) if pairs else None
    if as_json:
        print(to_json(trained, found, result, seconds))
    else:
        print_table(console, trained, found, result, seconds)
    if not found:
        raise NothingClassified(f"there is no picture in {', '.join(map(printable, places))}")
    if all(item.error for item in found):
        first = next((f": {item.file}: {item.error}" for item in found), "")
        raise NothingClassified(f"none of {len(found)} picture(s) could be read{first}")


def read_trained(folder: Path) -> Trained:
    """The class names, the size and the record of a study's model. RecordError where study.json does not tell."""
    study = StudyDirectory(folder)
    facts = study.read_study()
    try:
        names = tuple(str(name) for name in facts["data"]["class_names"])
        size = facts["config"]["data"]["image_size"]
        is_drawn = bool(facts["data"]["drawn"])
        # As the accuracy on record was found; studies from before the setting had none.
        flip = facts["config"].get("train", {}).get("test_time_flip", False) is True
    except (KeyError, TypeError, AttributeError):
        raise RecordError(f"{folder / 'study.json'}: does not tell the class names and the image size") from None
    if len(names) < 2 or type(size) is not int or not 8 <= size <= LARGEST_IMAGE_SIZE:
        raise RecordError(f"{folder / 'study.json'}: its class names {names!r} or image size {size!r} cannot be")
    try:
        model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        key = (model["configuration"], model["seed"], model["epochs"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Trained(folder, names, size, flip, None, None, None, is_drawn)
    rows = [row for row in study.retrain.read() if (row.configuration, row.seed, row.milestone) == key]
    words = f"{key[0]}, seed {key[1]}, {key[2]} epochs"
    return Trained(
        folder,
        names,
        size,
        flip,
        printable(words),
        rows[0].test_accuracy if rows else None,
        rows[0].test_images if rows else None,
        is_drawn,
    )


def to_json(trained: Trained, found: Sequence[Prediction], result: Score | None, seconds: float) -> str:
    """One object: the model, one entry per picture, the score, the speed."""
    model = {
        "study": trained.folder.name,
        "configuration": trained.configuration,
        "class_names": list(trained.class_names),
        "image_size": trained.image_size,
        "recorded_test_accuracy": trained.recorded_accuracy,
        "drawn": trained.is_drawn,
    }
    pictures = [
        {
            "file": item.file,
            "class": item.predicted_class,
            "probability": item.probability,
            "probabilities": item.probabilities and dict(zip(trained.class_names, item.probabilities, strict=True)),
            "true_class": item.true_class,
            "error": item.error,
        }
        for item in found
    ]
    readable = sum(item.error is None for item in found)
    summary = {
        "pictures": len(found),
        "unreadable": len(found) - readable,
        "seconds": seconds,
        "images_per_second": readable / seconds if seconds > 0 else None,
        "score": None if result is None else asdict(result),
    }
    # Weights that hold NaN give it, and it is no JSON.
    return files.to_json({"model": model, "pictures": pictures, "summary": summary}, indent=1)


def print_table(
    console: Console, trained: Trained, found: Sequence[Prediction], result: Score | None, seconds: float
) -> None:
    """The same for a person."""
    has_labels = any(item.true_class for item in found)
    table = Table("picture", "class", "probability", *(["folder says"] if has_labels else []))
    for item in found:
        cells = [Text(item.file)]
        if item.probability is None:
            cells += [Text(f"unreadable: {item.error}", "red"), Text("-")]
        else:
            cells += [Text(str(item.predicted_class)), Text(percent(item.probability))]
        if has_labels:
            is_wrong = item.predicted_class is not None and item.true_class not in (None, item.predicted_class)
            cells.append(Text(item.true_class or "-", "yellow" if is_wrong else ""))
        table.add_row(*cells)
    console.print(table)
    readable = sum(item.error is None for item in found)
    speed = f"{readable / seconds:,.0f} images/s, reading and decoding included, after loading" if seconds > 0 else ""
    unreadable = f", {len(found) - readable} unreadable" if readable < len(found) else ""
    say(console, f"{len(found):,} pictures{unreadable}, {seconds:.1f} s ({speed})")
    if result is not None:
        _print_score(console, trained, result)
    if trained.is_drawn:
        console.print("The model was trained on drawn data; it knows nothing of photographs.", style="yellow")


def _print_score(console: Console, trained: Trained, result: Score) -> None:
    say(
        console,
        f"accuracy {percent(result.accuracy)} ({result.correct} of {result.n} labelled pictures, "
        f"95 % interval {percent(result.low)} to {percent(result.high)}, Wilson)",
    )
    if trained.recorded_accuracy is not None:
        recorded = percent(trained.recorded_accuracy)
        say(console, f"recorded for this model ({trained.configuration}): {recorded} of {trained.recorded_images:,}")
    table = Table(
        "folder says", *(Column(Text(f"{name}, predicted")) for name in result.class_names), title="confusion matrix"
    )
    for name, counts in zip(result.class_names, result.confusion, strict=True):
        table.add_row(Text(name), *(f"{count:,}" for count in counts))
    console.print(table)


def _export(network: keras.Model, folder: Path, image_size: int) -> None:
    import numpy as np

    from catdog_ray import export

    sample = np.random.default_rng(0).random((_SAMPLE, image_size, image_size, 3), dtype=np.float32)
    difference = export.save(network, folder, sample)
    print(
        f"exported to {folder}: agrees with Keras on {_SAMPLE} inputs (largest difference {difference:.1e})",
        file=sys.stderr,
    )
