"""The answers in sentences: what they say, and what they leave out where there is nothing to say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from make_studies import write_invented

from catdog_ray import audit, comparison, words
from catdog_ray.comparison import Comparison
from catdog_ray.retrained import BASELINE
from catdog_ray.summary import sentences


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    root = tmp_path_factory.mktemp("summary")
    studies = [
        write_invented(root / f"{method}-{seed}", method=method, seed=seed, trials=40)
        for method in ("tpe", "random")
        for seed in (0, 10)
    ]
    return comparison.compare([audit.read(folder) for folder in studies])


def starting(found: Comparison, start: str) -> str:
    (said,) = [text for text in sentences(found) if text.startswith(start)]
    return said


def test_the_data_comes_first(found: Comparison) -> None:
    assert sentences(found)[0] == "drawn: 640 images to train on, 160 to select on, 40 to test on; cats, dogs."


def test_accuracies_are_those_of_the_last_milestone(found: Comparison) -> None:
    said = starting(found, "Test accuracy")
    last = {item.name: item for item in found.accuracies if item.milestone == 6}
    assert set(last) == {"TPE", "random search", BASELINE}
    for name, item in last.items():
        assert f"{name} {words.percent(item.test.mean)} after 6 epochs" in said
    assert "(one search)" not in said


def test_a_difference_stands_with_its_interval_and_the_averaged_one(found: Comparison) -> None:
    said = starting(found, f"TPE minus {BASELINE}, 6 epochs")
    (item,) = [i for i in found.accuracies_compared if (i.first, i.second, i.milestone) == ("TPE", BASELINE, 6)]
    (steady,) = [i for i in found.last_epochs[10] if (i.first, i.second, i.milestone) == ("TPE", BASELINE, 6)]
    for each in (item, steady):
        span = words.interval(each.difference.low, each.difference.high, signed=True)
        assert f"{words.points(each.difference.mean, signed=True)} ({span})" in said
    assert said.count("averaged over the last 10 epochs") == 1
    assert "(n=2 searches)" in said


def test_searches_are_compared_at_equal_epochs(found: Comparison) -> None:
    said = starting(found, f"After {found.common_epochs} epochs of each search")
    means = [item.best_at.mean for item in found.methods if item.best_at is not None]
    assert f"was {words.percent(min(means))} to {words.percent(max(means))}" in said


@pytest.mark.parametrize(
    ("span", "words"), [((0.5, 0.9), "matters most"), ((0.2, 0.9), "not shown to be the largest"), (None, "not shown")]
)
def test_the_most_important_is_named_so_where_its_interval_lies_above_all_others(
    span: tuple[float, float] | None, words: str, found: Comparison
) -> None:
    names = list(found.groups[0].studies[0].space)
    shares = dict.fromkeys(names, 0.1) | {names[0]: 0.6}
    spans = None if span is None else {name: (0.0, 0.3) for name in names} | {names[0]: span}
    made = replace(
        found,
        importance=dict.fromkeys(found.importance, shares),
        importance_intervals=dict.fromkeys(found.importance, spans),
    )
    said = starting(made, "By ")
    assert words in said
    assert " trials of random search learning_rate " in said


def test_one_search_without_retraining_says_little(tmp_path: Path) -> None:
    one = comparison.compare([audit.read(write_invented(tmp_path / "a", milestones=()))])
    assert len(sentences(one)) == 2
    assert len(sentences(replace(one, importance=dict.fromkeys(one.importance)))) == 1
