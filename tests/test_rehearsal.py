"""A network of one's own before its trials: where it is built, what was read of its space, what is warned of."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import pytest
from make_rows import quickstart

from catdog_ray import builder, model_file, rehearsal
from catdog_ray.ranges import Choice, FloatRange, Range, Value
from catdog_ray.settings import ModelSettings
from catdog_ray.space import HyperParameters

PLAIN = quickstart().train
BASELINE: dict[str, Value] = {"learning_rate": 1e-3, "width": 4, "kernel": 3, "activation": "relu"}
SPACE: dict[str, Range] = {
    "learning_rate": FloatRange(1e-4, 1e-2, "log"),
    "width": Choice((8, 4, 2)),
    "kernel": Choice((1, 3, 9)),
    "activation": Choice(("relu", "gelu", "elu")),
}
CALLS: list[dict[str, Any]] = []
"""What the networks below were handed, for tests that count."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr(rehearsal, "_PATIENCE_S", math.inf)


def network(input_shape: Any, classes: int, *hidden: keras.Layer) -> keras.Model:
    ends = keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax")
    return keras.Sequential([keras.Input(input_shape), *hidden, *ends])


def whole(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    width, kernel, activation = (hyperparameters[name] for name in ("width", "kernel", "activation"))
    CALLS.append({"width": width, "kernel": kernel, "activation": activation})
    return network(input_shape, classes, keras.layers.Conv2D(width, kernel, activation=activation))


def forgetful(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    CALLS.append({})
    model = network(input_shape, classes, keras.layers.Conv2D(hyperparameters.get("width", 2), 3))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def conditional(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    kernel = hyperparameters["kernel"] if hyperparameters["width"] == 2 else 3
    return network(input_shape, classes, keras.layers.Conv2D(2, kernel, activation=hyperparameters["activation"]))


class Doubled(keras.layers.Layer):
    def call(self, inputs: Any) -> Any:
        return 2 * inputs


class Unsaved(Doubled):
    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError("no\nconfig")


def strange(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    """A layer that reads files only where the space has its end."""
    hidden = [keras.layers.Lambda(lambda x: x)] if hyperparameters["width"] == 8 else [keras.layers.Activation(double)]
    return network(
        input_shape, classes, *hidden, Doubled(), keras.layers.Normalization(mean=[0.5] * 3, variance=[1] * 3)
    )


def double(inputs: Any) -> Any:
    return 2 * inputs


def unsaved(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    return network(input_shape, classes, Unsaved())


def rescaled(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    return network(input_shape, classes, keras.layers.Rescaling([2.0, 3.0, 4.0], [-0.5, 0.0, 0.5]))


def rehearse(
    name: str, space: Mapping[str, Range] = SPACE, baseline: Mapping[str, Value] = BASELINE
) -> rehearsal.Rehearsal:
    CALLS.clear()
    settings = ModelSettings("same", 4, 1, f"test_rehearsal:{name}")
    return rehearsal.rehearse(settings, PLAIN, baseline, space, 9, 2)


# ---- where it is built --------------------------------------------------------------------------------------------


def test_it_is_built_at_the_baseline_and_with_each_that_it_reads_at_its_ends() -> None:
    base = {"width": 4, "kernel": 3, "activation": "relu"}
    ends = [{"width": 8}, {"kernel": 9}, {"width": 2}, {"kernel": 1}, {"activation": "gelu"}, {"activation": "elu"}]
    assert rehearse("whole") == rehearsal.Rehearsal(None)
    # Adam's learning rate is not the function's; `relu` is the baseline's own.
    assert [call for call in CALLS if call not in ({**base, **end} for end in ends)] == [base]
    assert sorted(map(str, CALLS[1:])) == sorted(str({**base, **end}) for end in ends)


def test_what_fails_at_an_end_is_told_with_the_values() -> None:
    """A kernel of 11 leaves nothing of 9 pixels."""
    found = rehearse("whole", {**SPACE, "kernel": Choice((3, 5, 11))})
    assert found.fault is not None
    assert found.fault.startswith("--model test_rehearsal:whole: raised ValueError: ")
    assert found.fault.endswith(" (with learning_rate 0.001, width 4, kernel 11, activation relu)")
    assert "\n" not in found.fault
    assert rehearse("whole", {}).fault is None


def test_a_large_space_is_built_twelve_times(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"width_{number}" for number in range(9)]

    def wide(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
        CALLS.append(dict(hyperparameters))
        return network(input_shape, classes)

    monkeypatch.setattr(builder, "resolve", lambda name: wide)
    assert rehearse("wide", dict.fromkeys(names, Choice((1, 2, 3))), dict.fromkeys(names, 2)).fault is None
    changed = [{name: value for name, value in call.items() if value != 2} for call in CALLS]
    assert changed == [{}, *({name: 3} for name in names), {"width_0": 1}, {"width_1": 1}]
    # One whose builds take long is built once.
    monkeypatch.setattr(rehearsal, "_PATIENCE_S", 0)
    assert rehearse("wide", dict.fromkeys(names, Choice((1, 2, 3))), dict.fromkeys(names, 2)).fault is None
    assert len(CALLS) == 1


# ---- what was read ------------------------------------------------------------------------------------------------


def test_what_no_build_reads_is_warned_of() -> None:
    space = {**SPACE, "batch_size": Choice((16, 32))}
    found = rehearse("forgetful", space, {**BASELINE, "batch_size": 16})
    assert found.fault is None
    assert len(CALLS) == 3
    # The training reads batch_size; nobody reads the learning rate of a compiled network.
    assert [warning.partition(";")[0] for warning in found.warnings] == [
        f"space.{name}: test_rehearsal:forgetful read it in none of 3 build(s) before the search"
        for name in ("learning_rate", "kernel", "activation")
    ]


def test_what_is_read_under_a_condition_that_an_end_meets_is_not_warned_of() -> None:
    assert rehearse("conditional") == rehearsal.Rehearsal(None)
    found = rehearse("conditional", {name: SPACE[name] for name in ("kernel", "activation")})
    assert [warning.partition(":")[0] for warning in found.warnings] == ["space.kernel"]


READS: list[tuple[Callable[[builder.Handed], Any], Any, set[str]]] = [
    (lambda handed: handed["a"], 1, {"a"}),
    (lambda handed: handed.get("a"), 1, {"a"}),
    (lambda handed: handed.get("z", 7), 7, {"z"}),
    (lambda handed: handed.pop("b"), "two", {"b"}),
    (lambda handed: handed.setdefault("b", 3), "two", {"b"}),
    (lambda handed: ("a" in handed, "z" in handed, len(handed)), (True, False, 2), set()),
    (lambda handed: list(handed), ["a", "b"], {"a", "b"}),
    (lambda handed: list(handed.keys()), ["a", "b"], {"a", "b"}),
    (lambda handed: list(handed.values()), [1, "two"], {"a", "b"}),
    (lambda handed: list(handed.items()), [("a", 1), ("b", "two")], {"a", "b"}),
    (lambda handed: dict(**handed), {"a": 1, "b": "two"}, {"a", "b"}),
    (lambda handed: {**handed}, {"a": 1, "b": "two"}, {"a", "b"}),
    (lambda handed: dict(handed), {"a": 1, "b": "two"}, {"a", "b"}),
    (lambda handed: handed | {"c": 3}, {"a": 1, "b": "two", "c": 3}, {"a", "b"}),
    (lambda handed: {"c": 3} | handed, {"a": 1, "b": "two", "c": 3}, {"a", "b"}),
    (lambda handed: handed.copy(), {"a": 1, "b": "two"}, {"a", "b"}),
    (json.dumps, '{"a": 1, "b": "two"}', {"a", "b"}),
]


@pytest.mark.parametrize(("read", "value", "names"), READS)
def test_a_dict_that_knows_what_was_read(read: Callable[[builder.Handed], Any], value: Any, names: set[str]) -> None:
    handed = builder.Handed(HyperParameters.of({"a": 1, "b": "two"}))
    assert isinstance(handed, dict)
    assert handed.read == set()
    assert read(handed) == value
    assert handed.read == names


# ---- what predict loads -------------------------------------------------------------------------------------------


def test_layers_that_predict_does_not_load_are_warned_of() -> None:
    """Those of every build, each once, in a line; what is inside a refused one is not told again."""
    [warning] = rehearse("strange", {"width": SPACE["width"]}).warnings
    assert warning == (
        "--model test_rehearsal:strange: trains, but only your own code can load its model.keras; predict loads no "
        "builtins.function, keras.layers.Lambda, keras.layers.Normalization, test_rehearsal.Doubled; Rescaling, with "
        "lists as scale and offset, does the same as Normalization and is loaded"
    )


def test_a_network_that_cannot_be_saved_is_no_network() -> None:
    assert rehearse("unsaved").fault == (
        "--model test_rehearsal:unsaved: returns a model that cannot be saved (NotImplementedError: no config); "
        "its own layers need a get_config (with learning_rate 0.001, width 4, kernel 3, activation relu)"
    )


def test_what_is_not_warned_of_is_loaded(tmp_path: Any) -> None:
    assert rehearse("rescaled", {}) == rehearsal.Rehearsal(None)
    path = tmp_path / "model.keras"
    rescaled({}, (9, 9, 3), 2).save(path)
    loaded = model_file.load(path, image_size=9, classes=2)
    assert loaded.layers[0](keras.ops.ones((1, 1, 1, 3))).numpy().ravel().tolist() == [1.5, 3.0, 4.5]


def test_a_layer_that_puts_out_too_much_is_warned_of() -> None:
    large = keras.Sequential([keras.Input((9, 9, 3)), keras.layers.UpSampling2D(1024), keras.layers.MaxPooling2D(1024)])
    assert model_file.strangers(large) == ["a layer that puts out (None, 9216, 9216, 3) for one picture"]
