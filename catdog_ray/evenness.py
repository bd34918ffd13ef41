"""Whether the classes of a data set are uneven, and the accuracy that a constant answer has then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catdog_ray.words import percent

MOST_OVER_OTHERS = 1.5
"""Classes are uneven where the largest has more than so many times the images that the others have on average: more
than 60 % of two classes, 43 % of three, 14 % of ten. An accuracy says little without that of a constant answer then."""


@dataclass(frozen=True)
class Constant:
    """Always naming the largest class: its share of the images is the accuracy."""

    class_name: str
    accuracy: float

    @property
    def title(self) -> str:
        """As tables name it."""
        return f"always {self.class_name}"


def constant_answer(counts: Sequence[int], class_names: Sequence[str]) -> Constant | None:
    """Of a split with `counts` images by class, where they are uneven; None where they are not."""
    label = max(range(len(counts)), key=counts.__getitem__)
    others = sum(counts) - counts[label]
    if counts[label] * (len(counts) - 1) <= MOST_OVER_OTHERS * others:
        return None
    return Constant(class_names[label], counts[label] / sum(counts))


def recorded(facts: Mapping[str, Any]) -> Constant | None:
    """Of the test split that study.json tells of; None for studies from before `data.test_counts` too."""
    data = facts["data"]
    return constant_answer(data["test_counts"], data["class_names"]) if "test_counts" in data else None


def told(train: Sequence[int], test: Sequence[int], class_names: Sequence[str]) -> str | None:
    """A sentence where the classes of either split are uneven, by the images of each; None where they are not."""
    found = constant_answer(test, class_names) or constant_answer(train, class_names)
    if found is None:
        return None
    label = class_names.index(found.class_name)
    shares = [percent(counts[label] / max(1, sum(counts))) for counts in (train, test)]
    return (
        f"uneven classes: {shares[0]} of the training images are of class {found.class_name}; "
        f"always answering {found.class_name} has an accuracy of {shares[1]} on the test split"
    )
