"""How good a set of predictions is: accuracy with its interval, and which class was taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import scipy.stats


@dataclass(frozen=True)
class Score:
    """`correct` of `n` labelled pictures, the fraction, and its 95 % interval (Wilson's score interval).

    `confusion` counts by (true class, predicted class) over `class_names`: rows are true classes.
    """

    n: int
    correct: int
    accuracy: float
    low: float
    high: float
    class_names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]


def score(pairs: Sequence[tuple[str, str]], class_names: Sequence[str]) -> Score:
    """Score (true class, predicted class) pairs. ValueError for none.

    The interval is of pictures drawn independently; E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209.
    """
    if not pairs:
        raise ValueError("a score needs at least one labelled prediction")
    correct = sum(true == predicted for true, predicted in pairs)
    interval = scipy.stats.binomtest(correct, len(pairs)).proportion_ci(0.95, method="wilson")
    counts = Counter(pairs)
    return Score(
        n=len(pairs),
        correct=correct,
        accuracy=correct / len(pairs),
        low=float(interval.low),
        high=float(interval.high),
        class_names=tuple(class_names),
        confusion=tuple(tuple(counts[true, predicted] for predicted in class_names) for true in class_names),
    )
