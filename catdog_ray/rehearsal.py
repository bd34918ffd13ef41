"""A network of the user's own, built on a worker before the first trial: at the baseline and at the ends of its space.

Keras is imported inside the functions only, so that the driver can import this module without it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from catdog_ray.builder import BuilderError
from catdog_ray.data import Images
from catdog_ray.errors import ConfigError, printable
from catdog_ray.ranges import Choice, Range, Value
from catdog_ray.settings import BATCH_SIZE, ModelSettings, TrainSettings
from catdog_ray.space import HyperParameters

if TYPE_CHECKING:
    import keras

_MOST_BUILDS, _PATIENCE_S = 12, 20.0
"""A network that takes seconds to build is built less often; what is then not seen here fails its own trials."""

_LONGEST_ERROR = 500


@dataclass(frozen=True)
class Rehearsal:
    """What came of it, each a line for the user: why no trial may begin, or None; what no trial would tell."""

    fault: str | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Built:
    """A compiled network, the hyperparameters that its function and the training read, what `predict` would refuse."""

    network: keras.Model
    read: frozenset[str]
    trained_by: frozenset[str]
    refused: frozenset[str]


def rehearse(
    model_settings: ModelSettings,
    train_settings: TrainSettings,
    baseline: Mapping[str, Value],
    space: Mapping[str, Range],
    image_size: int,
    classes: int,
) -> Rehearsal:
    """Build the network of `model_settings.builder` a few times, train nothing, and let one classify two pictures.

    At `baseline`, then with each hyperparameter of `space` at its ends and the others at the baseline. One that the
    function does not read at the baseline changes nothing alone, so it is not varied.
    """
    from catdog_ray import backend

    backend.prepare(threads=1)
    name, point = str(model_settings.builder), HyperParameters.of(baseline)
    build = partial(_build, model_settings, train_settings, image_size=image_size, classes=classes)
    try:
        built = [build(point)]
        _require_scores(built[0].network, image_size=image_size, classes=classes)
        began = time.monotonic()
        varied = _variations(point, {key: found for key, found in space.items() if key in built[0].read})
        for point in varied[: _MOST_BUILDS - 1]:
            if time.monotonic() - began > _PATIENCE_S:
                break
            built.append(build(point))
    except ConfigError as error:
        return Rehearsal(str(error))
    except Exception as error:  # the user's code, and Keras on it, may raise anything
        return Rehearsal(f"--model {name}: {_said(error).removeprefix(f'{name} ')} (with {point.text()})")
    known = frozenset().union(*(each.read | each.trained_by for each in built))
    unread = [key for key in space if key not in known]
    refused = sorted(frozenset().union(*(each.refused for each in built)))
    return Rehearsal(None, (*_of_unread(unread, name, len(built)), *_of_refused(refused, name)))


def _build(
    model_settings: ModelSettings,
    train_settings: TrainSettings,
    point: HyperParameters,
    *,
    image_size: int,
    classes: int,
) -> _Built:
    import keras

    from catdog_ray import model, model_file

    # As before a trial; with the last network's memory given back.
    keras.utils.clear_session(free_memory=True)
    keras.config.set_dtype_policy(train_settings.precision)
    network, read = model.own(point, str(model_settings.builder), image_size=image_size, classes=classes)
    # What the training reads itself; of a network that it compiles, `learning_rate` too.
    trained_by = frozenset([BATCH_SIZE] if network.compiled else [BATCH_SIZE, "learning_rate"])
    recipe = model.Recipe.of(train_settings, steps=1)
    network = model.compiled(network, point, model_settings, recipe=recipe)
    try:
        refused = frozenset(model_file.strangers(network))
    except Exception as error:  # layers of the user's own
        raise BuilderError(
            f"returns a model that cannot be saved ({_said(error)}); its own layers need a get_config"
        ) from error
    return _Built(network, read, trained_by, refused)


def _require_scores(network: keras.Model, *, image_size: int, classes: int) -> None:
    """BuilderError unless it reports an accuracy and puts out probabilities, for two blank pictures."""
    from catdog_ray import evaluation

    pixels = np.zeros((2, image_size, image_size, 3), np.uint8)
    blank = Images(pixels, np.zeros(2, np.int32), ("", ""), ("",) * classes)
    try:
        evaluation.evaluate(network, blank)
    except KeyError as error:
        raise BuilderError(
            f"returns a compiled model that must report {error}; compile it with metrics=['accuracy'], or return it "
            "uncompiled"
        ) from error
    rows = evaluation.predict(network, blank)
    if not np.allclose(rows.sum(axis=1), 1, atol=0.02) or rows.min() < 0:
        raise BuilderError(
            "must return a model that puts out probabilities, such as after a softmax; "
            f"got {rows[0].tolist()} for a picture"
        )


def _variations(baseline: HyperParameters, space: Mapping[str, Range]) -> list[HyperParameters]:
    """The baseline with one hyperparameter at an end: first the upper end of each; no point twice."""
    turns = zip_longest(*([(name, value) for value in _ends(found)] for name, found in space.items()))
    changes = [change for turn in turns for change in turn if change is not None]
    points = dict.fromkeys(HyperParameters.of({**baseline, name: value}) for name, value in changes)
    return [point for point in points if point != baseline]


def _ends(found: Range) -> tuple[Value, ...]:
    """Largest and smallest number; of texts, which have no order, all."""
    if not isinstance(found, Choice):
        return found.high, found.low
    numbers = [value for value in found.choices if not isinstance(value, str)]
    return (max(numbers), min(numbers)) if len(numbers) == len(found.choices) else found.choices


def _of_unread(names: list[str], builder: str, builds: int) -> list[str]:
    return [
        f"space.{name}: {builder} read it in none of {builds} build(s) before the search; where it never does, the "
        "search varies what changes nothing: read it, or take it out of space and baseline"
        for name in names
    ]


def _of_refused(refused: list[str], builder: str) -> list[str]:
    if not refused:
        return []
    cure = "; Rescaling, with lists as scale and offset, does the same as Normalization and is loaded"
    return [
        f"--model {builder}: trains, but only your own code can load its model.keras; predict loads no "
        + ", ".join(map(printable, refused))
        + (cure if "keras.layers.Normalization" in refused else "")
    ]


def _said(error: Exception) -> str:
    kind = "" if isinstance(error, BuilderError) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split())[:_LONGEST_ERROR]
