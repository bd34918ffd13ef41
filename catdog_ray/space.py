"""`HyperParameters`: one point of the space, and what every tuner needs to know of it.

The ranges themselves stand in YAML (`ranges.Range`); an adapter per tuner is elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from catdog_ray.ranges import Range, Value, contains, describe, in_kind, in_words, is_number


@dataclass(frozen=True)
class HyperParameters(Mapping[str, Value]):
    """An immutable, hashable mapping from a hyperparameter's name to its value, in the order of the space."""

    items_: tuple[tuple[str, Value], ...]

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> HyperParameters:
        """Freeze a mapping, keeping its order."""
        return cls(tuple(values.items()))

    @classmethod
    def in_space(cls, values: Mapping[str, Value], space: Mapping[str, Range]) -> HyperParameters:
        """The point in the space's order, each value in its range's kind. KeyError for a missing one."""
        return cls.of({name: in_kind(found, values[name]) for name, found in space.items()})

    def __getitem__(self, name: str) -> Value:
        for key, value in self.items_:
            if key == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self.items_)

    def __len__(self) -> int:
        return len(self.items_)

    def number(self, name: str, otherwise: float | None = None) -> float:
        """The value of a numeric hyperparameter; `otherwise` where the space does not search it."""
        value = self.get(name, otherwise)
        if not is_number(value):
            raise KeyError(f"hyperparameter {name!r} must be a number, got {value!r}")
        return value

    def text(self) -> str:
        """One line for a person, such as `learning_rate 0.001, dropout_rate 0.5`."""
        return ", ".join(
            f"{name} {v:.3g}" if isinstance(v, float) else f"{name} {in_words(v)}" for name, v in self.items()
        )


def starting_points(
    names: Sequence[str], space: Mapping[str, Range], *, baseline: Mapping[str, Value]
) -> list[HyperParameters]:
    """The configurations that every method tries first, by their names in YAML (`search.start_from`)."""
    known = {"baseline": HyperParameters.in_space(baseline, space)}
    return [known[name] for name in names]


@dataclass(frozen=True)
class Suggestion:
    """A proposed point and the seconds that finding it took."""

    hyperparameters: HyperParameters
    seconds: float


def require_inside(hyperparameters: Mapping[str, Value], space: Mapping[str, Range]) -> HyperParameters:
    """The point in the space's order; ValueError names what is missing, unknown or out of range."""
    odd = set(hyperparameters) ^ set(space)
    if odd:
        raise ValueError(f"hyperparameters must be exactly {', '.join(space)}; differing: {', '.join(sorted(odd))}")
    for name, found in space.items():
        if not contains(found, hyperparameters[name]):
            raise ValueError(f"{name} must lie in {describe(found)}, got {hyperparameters[name]!r}")
    return HyperParameters.in_space(hyperparameters, space)
