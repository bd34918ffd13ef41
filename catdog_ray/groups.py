"""Which studies may stand side by side, and which are seeds of one method with one configuration."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catdog_ray.audit import Evidence
from catdog_ray.errors import UserError

LABELS = {
    "tpe": "TPE",
    "random": "random search",
    "keras-tuner": "Keras Tuner oracle",
    "keras-tuner-stock": "Keras Tuner, stock",
}
"""How tables and figures name a method; another one goes by its own name."""

_FREE = (
    "name",
    "label",
    "seed",
    "output",
    "data.source",
    "data.cache_dir",
    "data.max_bad_share",
    "data.published",
    "train.checkpoint_epochs",
    "search.method",
    "retrain.",
    "cluster.address",
    "cluster.storage_path",
    "cluster.dashboard",
    "cluster.max_failures",
)
"""Settings that may differ among the seeds of one method. What was retrained stands under its own milestone."""

_SAME_FOR_ALL = ("search.max_epochs", "search.scoring_window", "search.start_from")
"""Of `search.` and `cluster.`, what all methods must share; the rest makes a method what it is."""

_BUDGET = ("search.num_samples", "search.time_budget_s")
"""What all studies of one method must share. Methods may differ in it: one without early stopping has fewer trials at
equal epochs, and the step curves compare at equal spending."""

_TAKEN = (*LABELS.values(), "baseline")
"""What tables call something already."""

_OF_THE_METHOD = ("search.", "cluster.")


class ComparisonError(UserError):
    """These studies cannot be compared; the text says which field differs."""


@dataclass(frozen=True)
class Group:
    """Studies of one method and one configuration that differ in their seed, ordered by it."""

    name: str
    method: str
    studies: tuple[Evidence, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """One per study, rising."""
        return tuple(study.seed for study in self.studies)


def group(studies: Sequence[Evidence]) -> list[Group]:
    """Groups in the order of `LABELS`. ComparisonError where studies differ in what must be alike, or repeat a seed."""
    if not studies:
        raise ComparisonError("there is no study to compare")
    ordered = sorted(studies, key=lambda study: (study.method, study.seed, study.name))
    for before, study in itertools.pairwise(ordered):
        _require_comparable(before, study)
    families: dict[tuple[str, tuple[tuple[str, str], ...]], list[Evidence]] = {}
    for study in ordered:
        kind = tuple((key, repr(value)) for key, value in sorted(_settings(study).items()) if _of_the_method(key))
        families.setdefault((study.method, kind), []).append(study)
    found = [
        Group(_name(method, kind, families), method, _distinct(members)) for (method, kind), members in families.items()
    ]
    order = [*LABELS]
    return sorted(
        found, key=lambda item: (order.index(item.method) if item.method in LABELS else len(order), item.name)
    )


def differing(first: Evidence, second: Evidence) -> dict[str, tuple[Any, Any]]:
    """Fields that must be alike in both studies and are not, with both values; more for two of one method."""
    a, b = _shared(first), _shared(second)
    if first.method == second.method:
        a |= {key: _settings(first).get(key) for key in _BUDGET}
        b |= {key: _settings(second).get(key) for key in _BUDGET}
    return {key: (a.get(key), b.get(key)) for key in sorted(set(a) | set(b)) if a.get(key) != b.get(key)}


def _require_comparable(first: Evidence, second: Evidence) -> None:
    found = differing(first, second)
    if found:
        fields = "; ".join(f"{key} is {a!r} and {b!r}" for key, (a, b) in list(found.items())[:4])
        more = f"; and {len(found) - 4} more" if len(found) > 4 else ""
        raise ComparisonError(f"{first.folder} and {second.folder} cannot be compared: {fields}{more}")


def _shared(study: Evidence) -> dict[str, Any]:
    facts = {f"data.{key}": study.facts["data"][key] for key in ("name", "fingerprint", "class_names")}
    settings = {key: value for key, value in _settings(study).items() if not _of_the_method(key)}
    if not study.facts["data"]["drawn"]:
        settings = {key: value for key, value in settings.items() if not key.startswith("data.drawn_")}
    return {**facts, "objective": study.facts["objective"], **settings}


def _settings(study: Evidence) -> dict[str, Any]:
    """The config by dotted name, without what may differ; a range of the space is one value."""
    return {key: value for key, value in _dotted(study.facts["config"]).items() if not key.startswith(_FREE)}


def _dotted(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and prefix != "space.":
            flat |= _dotted(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _of_the_method(key: str) -> bool:
    return key.startswith(_OF_THE_METHOD) and key not in _SAME_FOR_ALL


def _name(
    method: str,
    kind: tuple[tuple[str, str], ...],
    families: Mapping[tuple[str, tuple[tuple[str, str], ...]], Sequence[Evidence]],
) -> str:
    """The method's label, with the settings that tell it from others of the same method."""
    label = LABELS.get(method, f"method {method}" if method in _TAKEN else method)
    others = [dict(other) for name, other in families if name == method and other != kind]
    telling = [(key, value) for key, value in kind if any(other.get(key) != value for other in others)]
    return ", ".join([label, *(f"{key.rpartition('.')[2]} {value}" for key, value in telling)])


def _distinct(members: Sequence[Evidence]) -> tuple[Evidence, ...]:
    for before, after in itertools.pairwise(members):
        if before.seed == after.seed:
            raise ComparisonError(
                f"{before.folder} and {after.folder} are {before.method} with seed {before.seed} both: "
                "they would count as two independent searches; leave one out"
            )
    return tuple(members)
