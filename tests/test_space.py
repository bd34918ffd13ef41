"""`HyperParameters` as a mapping, as text, and as a point that must lie in the space."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
from make_rows import BASELINE, quickstart
from small import ANY_POINT, EVERY_KIND

from catdog_ray.space import HyperParameters, require_inside


def test_a_point_is_a_mapping_in_the_order_it_was_given() -> None:
    point = HyperParameters.of({"b": 1, "a": 2.5, "c": "relu"})
    assert dict(point) == {"b": 1, "a": 2.5, "c": "relu"}
    assert list(point) == ["b", "a", "c"]
    assert list(point.values()) == [1, 2.5, "relu"]
    assert len(point) == 3
    assert "a" in point
    assert "d" not in point
    assert point.get("d") is None
    with pytest.raises(KeyError, match="'d'"):
        point["d"]


def test_a_point_is_frozen_hashable_and_travels() -> None:
    point = HyperParameters.of(BASELINE)
    assert len({point, HyperParameters.of(dict(BASELINE))}) == 1
    assert point != HyperParameters.of({**BASELINE, "conv_kernel": 5})
    assert pickle.loads(pickle.dumps(point)) == point
    changed: Any = point
    with pytest.raises(TypeError, match="does not support item assignment"):
        changed["conv_kernel"] = 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        changed.items_ = ()


def test_a_point_does_not_follow_the_mapping_it_came_from() -> None:
    values = dict(BASELINE)
    point = HyperParameters.of(values)
    values["conv_kernel"] = 7
    assert point["conv_kernel"] == 3


def test_numbers_and_what_stands_in_for_them() -> None:
    point = HyperParameters.of({"dropout_rate": 0.25, "conv_layers": 3, "activation": "relu"})
    assert point.number("dropout_rate") == 0.25
    assert point.number("conv_layers", 4) == 3
    assert point.number("dense_layers", 1) == 1
    assert point.number("dense_layers", 0) == 0
    with pytest.raises(KeyError, match="hyperparameter 'dense_layers' must be a number, got None"):
        point.number("dense_layers")
    with pytest.raises(KeyError, match="hyperparameter 'skip' must be a number, got True"):
        HyperParameters.of({"skip": True}).number("skip")
    with pytest.raises(KeyError, match="hyperparameter 'activation' must be a number, got 'relu'"):
        point.number("activation", 1)


def test_a_point_in_words() -> None:
    point = HyperParameters.of({"learning_rate": 0.00123456, "dropout_rate": 0.5, "conv_filters": 32, "kind": "a"})
    assert point.text() == "learning_rate 0.00123, dropout_rate 0.5, conv_filters 32, kind a"
    assert HyperParameters.of({"skip": True, "batch_size": 16}).text() == "skip true, batch_size 16"


def test_a_point_of_the_space_comes_in_the_spaces_order() -> None:
    space = quickstart().space
    backwards = dict(reversed(BASELINE.items()))
    assert list(require_inside(backwards, space).items()) == list(BASELINE.items())


def test_a_whole_number_of_a_continuous_range_is_a_float_and_no_other_is() -> None:
    """As an old row may hold it, or a baseline."""
    values = dict(reversed({**ANY_POINT, "share": 1, "rate": 0.001}.items()))
    for found in (HyperParameters.in_space(values, EVERY_KIND), require_inside(values, EVERY_KIND)):
        assert found == ANY_POINT
        assert repr(found) == repr(ANY_POINT)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"conv_kernel": 7}, "conv_kernel must lie in 3, 5, got 7"),
        ({"conv_filters": 32.0}, "conv_filters must lie in 16, 24, 32, got 32.0"),
        ({"dropout_rate": 0.61}, "dropout_rate must lie in 0 to 0.6, linear, got 0.61"),
        ({"learning_rate": 9e-5}, "learning_rate must lie in 0.0001 to 0.01, log, got 9e-05"),
        (
            {"momentum": 0.9},
            "hyperparameters must be exactly learning_rate, dropout_rate, conv_filters, conv_kernel, dense_units; "
            "differing: momentum",
        ),
    ],
)
def test_what_lies_outside_is_named(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        require_inside({**BASELINE, **changes}, quickstart().space)
    assert str(caught.value) == expected


def test_what_is_missing_is_named() -> None:
    fewer = {name: value for name, value in BASELINE.items() if name not in ("dense_units", "conv_kernel")}
    with pytest.raises(ValueError, match=r"differing: conv_kernel, dense_units$"):
        require_inside(fewer, quickstart().space)


@pytest.mark.parametrize(("name", "value"), [("learning_rate", 1e-4), ("learning_rate", 1e-2), ("dropout_rate", 0.0)])
def test_the_ends_of_a_range_lie_inside(name: str, value: float) -> None:
    assert require_inside({**BASELINE, name: value}, quickstart().space)[name] == value
