"""Cells of the tables of a comparison: numbers with what qualifies them, and what may be said of a difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from catdog_ray.comparison import Comparison, is_impression, is_shown
from catdog_ray.differences import Compared
from catdog_ray.ranges import in_words
from catdog_ray.retrained import SEEDS
from catdog_ray.searched import Method
from catdog_ray.statistics import ENOUGH_SEEDS, Difference, Estimate
from catdog_ray.words import ALIKE, NO_DIFFERENCE, NOT_KNOWN, interval, percent, points

MODELS_DIFFER = f"these models differ, {NO_DIFFERENCE} for other seeds"
"""Of a difference over test images alone."""


def accuracy_cells(item: Estimate | None) -> tuple[str, str, str]:
    """Mean, sd in points, interval."""
    if item is None:
        return NOT_KNOWN, NOT_KNOWN, "none"
    sd = NOT_KNOWN if item.sd is None else f"{100 * item.sd:.1f}"
    return percent(item.mean), sd, interval_cell(item)


def accuracy_cell(item: Estimate | None) -> str:
    """Mean with its interval; empty where there is none."""
    return "" if item is None else f"{percent(item.mean)} ({interval_cell(item)})"


def interval_cell(item: Estimate | Difference, *, signed: bool = False) -> str:
    """Its interval; `all alike` where its values are, so that they give none, `none` where there is one value."""
    return ALIKE if item.is_alike else interval(item.low, item.high, signed=signed)


def value_cell(value: object) -> str:
    """A hyperparameter's value; of floats three digits."""
    return f"{value:.3g}" if isinstance(value, float) else in_words(value)


def verdict(found: Comparison, item: Compared) -> str:
    """What may be said of a difference."""
    if not is_shown(found, item):
        return MODELS_DIFFER if item.difference.is_shown else NO_DIFFERENCE
    better, worse = (item.first, item.second) if item.difference.mean > 0 else (item.second, item.first)
    alone = ", by pairs alone" if item.unpaired is not None and not item.unpaired.is_shown else ""
    few = f" (fewer than {ENOUGH_SEEDS} searches: an impression)" if is_impression(item) else ""
    # Milestones of one configuration speak of it alone anyway.
    one = " (one search: this configuration, not the method)" if item.unit == SEEDS and item.milestone else ""
    return f"{better} above {worse}{alone}{few}{one}"


def largest_share(
    shares: Mapping[str, float], spans: Mapping[str, tuple[float, float]] | None
) -> tuple[str, str, bool]:
    """The most important hyperparameter, its share as text, and whether it is shown to have the largest."""
    first, *others = sorted(shares, key=lambda name: -shares[name])
    if spans is None:
        return first, share_cell(shares[first], None), False
    is_shown = all(spans[first][0] > spans[other][1] for other in others)
    return first, share_cell(shares[first], spans[first]), is_shown


def suggestion_cells(item: Method) -> tuple[str, str]:
    """Mean seconds of a suggestion with their number, and the share of the wall-clock that all took."""
    if item.suggestion_seconds is None:
        return NOT_KNOWN, NOT_KNOWN
    return f"{item.suggestion_seconds:.3f} (n={item.suggestions:,})", f"{100 * item.suggestion_share:.2g} %"


def quantity_cell(found: Comparison, item: Compared) -> str:
    """What two differ in, and after which epoch; said where searches of unequal length are compared."""
    if item.milestone is not None:
        return f"{item.quantity}, {item.milestone} epochs"
    is_unequal = item in found.searches_compared and any(each.milestone for each in found.searches_compared)
    return f"{item.quantity}, each at its end (unequal epochs)" if is_unequal else item.quantity


def with_sd(item: Estimate, words: Callable[[float], str]) -> str:
    """`600 (12)`, each by `words`; a mean of one value stands alone."""
    return words(item.mean) + ("" if item.sd is None else f" ({words(item.sd)})")


def difference_cell(item: Difference | None) -> str:
    """A difference in points with its interval."""
    if item is None:
        return NOT_KNOWN
    return f"{points(item.mean, signed=True)} ({interval_cell(item, signed=True)})"


def share_cell(share: float, ends: tuple[float, float] | None) -> str:
    """A share of importance, with its interval in whole percent where it has one."""
    return percent(share) + ("" if ends is None else f" ({100 * ends[0]:.0f} to {100 * ends[1]:.0f})")


def loss_cell(item: Estimate | None) -> str:
    """A mean loss with its interval, `all alike` where its values are."""
    if item is None:
        return NOT_KNOWN
    if item.low is None or item.high is None:
        return f"{item.mean:.3f}" + (f" ({ALIKE})" if item.is_alike else "")
    return f"{item.mean:.3f} ({item.low:.3f} to {item.high:.3f})"


def signed_cell(item: Estimate | None) -> str:
    """A mean in points with sign, n and interval; said where it leaves in zero, or where there is no interval."""
    if item is None:
        return NOT_KNOWN
    words = points(item.mean, signed=True)
    if item.low is None or item.high is None:
        return f"{words} (n={item.n}, {ALIKE if item.is_alike else 'no interval'}: {NO_DIFFERENCE})"
    shown = "" if not item.low <= 0 <= item.high else f": {NO_DIFFERENCE}"
    return f"{words} (n={item.n}, {interval(item.low, item.high, signed=True)}{shown})"
