"""The rules that an experiment's settings must keep, each by the text that a person reads."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from types import MappingProxyType
from typing import Any

import pytest
from make_rows import quickstart

from catdog_ray import config as configuration
from catdog_ray.errors import ConfigError, UserError, nearest
from catdog_ray.ranges import Choice, FloatRange, IntRange, Range, contains, describe
from catdog_ray.rules import check, smallest_side
from catdog_ray.settings import HYPERPARAMETERS, STOCK


def message(**overrides: Any) -> str:
    """What the quickstart with these overrides (`search__max_epochs=3`) is refused with."""
    with pytest.raises(ConfigError) as caught:
        quickstart(**overrides)
    return str(caught.value)


def test_the_guides_five_in_the_guides_order() -> None:
    assert HYPERPARAMETERS == ("learning_rate", "dropout_rate", "conv_filters", "conv_kernel", "dense_units")


def test_a_config_error_is_the_users_to_cure() -> None:
    assert issubclass(ConfigError, UserError)


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("seed", -1, "seed must be at least 0, got -1"),
        ("data.image_size", 7, "data.image_size must be at least 8, got 7"),
        ("data.split_seed", -1, "data.split_seed must be at least 0, got -1"),
        ("data.drawn_seed", -2, "data.drawn_seed must be at least 0, got -2"),
        ("data.image_size", 4097, "data.image_size must be at most 4096, got 4097"),
        (
            "data.drawn_train",
            10**10,
            "data.drawn_train and data.drawn_test of 32 pixels would take 30,720,000,921,600 bytes, more than "
            "8,589,934,592; draw fewer or smaller ones",
        ),
        ("data.drawn_train", 19, "data.drawn_train must be at least 20, got 19"),
        ("data.drawn_test", 9, "data.drawn_test must be at least 10, got 9"),
        ("data.selection_share", 0.0, "data.selection_share must lie between 0.01 and 0.9, got 0.0"),
        ("data.selection_share", 0.95, "data.selection_share must lie between 0.01 and 0.9, got 0.95"),
        ("data.max_bad_share", 1.5, "data.max_bad_share must lie between 0 and 1, got 1.5"),
        ("data.max_bad_share", -0.1, "data.max_bad_share must lie between 0 and 1, got -0.1"),
        ("data.source", "", "data.source must not be empty, got ''"),
        ("data.source", "a\0b", "data.source must hold nothing that cannot be printed, got 'a\\x00b'"),
        ("label", "", "label must not be empty, got ''"),
        ("output", "", "output must not be empty, got ''"),
        ("augment.rotation_range", 181, "augment.rotation_range must lie between 0 and 180, got 181.0"),
        ("augment.rotation_range", -1, "augment.rotation_range must lie between 0 and 180, got -1.0"),
        ("augment.zoom_range", 1.0, "augment.zoom_range must lie between 0 and 0.99, got 1.0"),
        ("model.padding", "sane", "model.padding must be one of same, valid, got 'sane'; did you mean 'same'?"),
        ("model.conv_layers", 0, "model.conv_layers must be at least 1, got 0"),
        ("model.dense_layers", -1, "model.dense_layers must be at least 0, got -1"),
        ("train.batch_size", 0, "train.batch_size must be at least 1, got 0"),
        ("train.checkpoint_epochs", 0, "train.checkpoint_epochs must be at least 1, got 0"),
        (
            "train.learning_rate_schedule",
            "linear",
            "train.learning_rate_schedule must be one of constant, cosine, got 'linear'",
        ),
        ("train.ema_momentum", 1.0, "train.ema_momentum must lie between 0 and 0.99999, got 1.0"),
        ("train.test_time_flip", True, None),
        ("search.num_samples", 0, "search.num_samples must be at least 1, got 0"),
        ("search.max_epochs", 0, "search.max_epochs must be at least 1, got 0"),
        ("search.grace_epochs", 0, "search.grace_epochs must be at least 1, got 0"),
        ("search.scoring_window", 0, "search.scoring_window must be at least 1, got 0"),
        ("search.startup_trials", 0, "search.startup_trials must be at least 1, got 0"),
        ("search.reduction_factor", 1, "search.reduction_factor must be at least 2, got 1"),
        ("search.max_epochs", 10**9, None),
        ("search.grace_epochs", 40, None),  # beyond the nine epochs: no trial is stopped early
        ("search.start_from", [], None),
        ("retrain.seeds", 0, "retrain.seeds must be at least 1, got 0"),
        ("retrain.milestones", [200, 125], "retrain.milestones must be rising epochs from 1 on, got [200, 125]"),
        ("retrain.milestones", [125, 125], "retrain.milestones must be rising epochs from 1 on, got [125, 125]"),
        ("retrain.milestones", [0, 5], "retrain.milestones must be rising epochs from 1 on, got [0, 5]"),
        (
            "retrain.milestones",
            [],
            "retrain.milestones and retrain.configurations must not be empty (or: --no-retrain)",
        ),
        (
            "retrain.configurations",
            [],
            "retrain.milestones and retrain.configurations must not be empty (or: --no-retrain)",
        ),
        (
            "retrain.configurations",
            ["beast"],
            "retrain.configurations must be one of best, baseline, got 'beast'; did you mean 'best'?",
        ),
        ("cluster.cpus_per_trial", 0, "cluster.cpus_per_trial must be at least 0.0001 or auto, got 0.0"),
        ("cluster.cpus_per_trial", 0.5, None),
        ("cluster.cpus_per_trial", "auto", None),
        ("cluster.cpus_per_trial", None, "cluster.cpus_per_trial must be a number, got None"),
        ("cluster.cpus_per_trial", "all", "cluster.cpus_per_trial must be at least 0.0001 or auto, got 'all'"),
        (
            "cluster.gpus_per_trial",
            1.5,
            "cluster.gpus_per_trial must be 0, a fraction of one GPU from 0.0001 on, or a whole number, got 1.5",
        ),
        (
            "cluster.gpus_per_trial",
            -1,
            "cluster.gpus_per_trial must be 0, a fraction of one GPU from 0.0001 on, or a whole number, got -1.0",
        ),
        ("cluster.gpus_per_trial", 0.5, None),
        ("cluster.gpus_per_trial", 2, None),
        ("cluster.max_concurrent", 0, "cluster.max_concurrent must be at least 1, got 0"),
        ("cluster.max_concurrent", None, None),
        ("cluster.max_failures", -1, "cluster.max_failures must be at least 0, got -1"),
    ],
)
def test_each_rule_says_what_is_wrong(setting: str, value: Any, expected: str | None) -> None:
    override = {setting.replace(".", "__"): value}
    if expected is None:
        found = configuration.setting(quickstart(**override), setting)
        assert found == value
    else:
        assert message(**override) == expected


def test_a_schedule_has_one_milestone() -> None:
    text = message(train__learning_rate_schedule="cosine")
    assert text.startswith("retrain.milestones must be one epoch with train.learning_rate_schedule cosine (")
    assert text.endswith("), got [125, 200]")
    assert quickstart(train__learning_rate_schedule="cosine", retrain__milestones=[200])
    assert quickstart(train__learning_rate_schedule="cosine", retrain__enabled=False)


@pytest.mark.parametrize("setting", ["data.cache_dir", "cluster.address"])
def test_places_must_not_be_empty(setting: str) -> None:
    """An empty cache folder would be the working folder, an empty address a Ray of no kind."""
    assert message(**{setting.replace(".", "__"): ""}) == f"{setting} must not be empty, got ''"


def test_methods_and_kernels_are_named_when_another_is_asked_for() -> None:
    text = message(search__method="tep")
    assert text.startswith("search.method must be one of tpe, random")
    assert text.endswith(", got 'tep'; did you mean 'tpe'?")
    text = message(augment__kernel="opencv")
    assert text.startswith("augment.kernel must be one of fused, imagedatagenerator")
    assert text.endswith(", got 'opencv'")
    text = message(train__precision="float16")
    assert text.startswith("train.precision must be one of float32, mixed_bfloat16, mixed_float16, got 'float16'")
    text = message(train__jit_compile="yes")
    assert text.startswith("train.jit_compile must be one of auto, always, never, got 'yes'")
    text = message(search__start_from=["baseline", "bestline"])
    assert text == "search.start_from must be one of baseline, got 'bestline'; did you mean 'baseline'?"


def test_empty_milestones_are_fine_where_nothing_is_retrained() -> None:
    assert quickstart(retrain__milestones=[], retrain__enabled=False).retrain.milestones == ()


@pytest.mark.parametrize("name", ["", ".hidden", "-x", "a/b", "../up", "a b", "a\nb", "a\0"])
def test_a_name_is_one_plain_folder(name: str) -> None:
    assert message(name=name) == (
        f"name must be letters, digits, '-', '_' and '.', not starting with '.' or '-', got {name!r}"
    )


@pytest.mark.parametrize("name", ["quickstart-2", "a_b.c", "7", "Übung"])
def test_plain_names_are_accepted(name: str) -> None:
    assert quickstart(name=name).name == name


# ---- geometry -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "padding", "kernel", "layers", "side"),
    [
        (150, "valid", 3, 4, 7),  # 150, 148/2 = 74, 72/2 = 36, 34/2 = 17, 15/2 = 7
        (150, "valid", 7, 4, 3),  # 144/2 = 72, 66/2 = 33, 27/2 = 13, 7/2 = 3
        (46, "valid", 3, 4, 1),
        (45, "valid", 3, 4, 0),
        (32, "same", 5, 4, 2),
        (64, "same", 3, 4, 4),
        (64, "valid", 5, 4, 0),  # 30, 13, 4, 0
        (10, "valid", 3, 1, 4),
        (10, "valid", 3, 0, 10),
    ],
)
def test_smallest_side(size: int, padding: str, kernel: int, layers: int, side: int) -> None:
    assert smallest_side(size, padding=padding, kernel=kernel, layers=layers) == side


@pytest.mark.parametrize(("kernel", "enough"), [(3, 46), (5, 76), (7, 106)])
def test_valid_padding_needs_so_many_pixels(kernel: int, enough: int) -> None:
    given = {"model__padding": "valid", "space__conv_kernel": {"choices": [kernel]}, "baseline__conv_kernel": kernel}
    assert quickstart(**given, data__image_size=enough).data.image_size == enough
    assert message(**given, data__image_size=enough - 1) == (
        f"data.image_size {enough - 1} with model.padding 'valid' and space.conv_kernel {kernel} leaves no pixels "
        f"after 4 pools; use data.image_size {enough} or more, a smaller kernel or model.padding: same"
    )


def test_the_largest_kernel_and_the_deepest_network_of_the_space_must_fit() -> None:
    # Kernel 3 fits at 60 pixels, kernel 5 does not.
    text = message(model__padding="valid", data__image_size=60)
    assert "space.conv_kernel 5 leaves no pixels after 4 pools; use data.image_size 76 or more" in text
    depth = {"space__conv_layers": {"choices": [3, 4, 5]}, "baseline__conv_layers": 4}
    assert quickstart(**depth, data__image_size=32).data.image_size == 32
    text = message(**depth, data__image_size=31)
    assert "data.image_size 31 with model.padding 'same'" in text
    assert "leaves no pixels after 5 pools; use data.image_size 32 or more" in text


def test_same_padding_needs_two_to_the_number_of_pools() -> None:
    assert quickstart(data__image_size=16).data.image_size == 16
    text = message(data__image_size=15)
    assert text.startswith("data.image_size 15 with model.padding 'same' and space.conv_kernel 3 leaves no pixels")
    assert "use data.image_size 16 or more" in text


def test_no_number_of_layers_keeps_the_check_busy() -> None:
    """In a process of its own: a search for the size that is enough must not go pixel by pixel to 2^60."""
    code = (
        "from catdog_ray import config, errors\n"
        "try:\n"
        "    config.load('configs/quickstart.yaml', overrides={'model.conv_layers': 60})\n"
        "except errors.ConfigError as error:\n"
        "    print(error)\n"
    )
    try:
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:
        pytest.fail("model.conv_layers: 60 keeps the check busy for more than ten seconds")
    assert "leaves no pixels after 60 pools" in result.stdout


# ---- the space ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            {"space__conv_filter": {"choices": [1]}},
            "space.conv_filter: unknown hyperparameter; did you mean 'conv_filters'?",
        ),
        (
            {"space__momentum": {"choices": [1]}},
            "space.momentum: unknown hyperparameter; a network of your own is named by model.builder or --model",
        ),
        (
            {"baseline__momentum": 0.9},
            "baseline must give a value to exactly what is in space; differing: momentum",
        ),
        (
            {"space__conv_layers": {"choices": [3, 4]}},
            "baseline must give a value to exactly what is in space; differing: conv_layers",
        ),
        (
            {"baseline__conv_filters": 48},
            "baseline.conv_filters must lie in space.conv_filters (16, 24, 32), got 48",
        ),
        (
            {"baseline__conv_filters": 32.0},
            "baseline.conv_filters must lie in space.conv_filters (16, 24, 32), got 32.0",
        ),
        (
            {"baseline__dropout_rate": 0.7},
            "baseline.dropout_rate must lie in space.dropout_rate (0 to 0.6, linear), got 0.7",
        ),
        (
            {"baseline__learning_rate": 0.02},
            "baseline.learning_rate must lie in space.learning_rate (0.0001 to 0.01, log), got 0.02",
        ),
        (
            {"space__conv_filters": {"low": 16, "high": 64, "scale": "linear"}},
            "space.conv_filters must be whole numbers, {low, high, step, scale} or {choices}, got 16 to 64, linear",
        ),
        (
            {"space__conv_kernel": {"choices": [3.0]}},
            "space.conv_kernel.choices must be whole numbers from 1 on, got 3.0",
        ),
        (
            {"space__conv_kernel": {"choices": [0, 3]}},
            "space.conv_kernel.choices must be whole numbers from 1 on, got 0",
        ),
        (
            {"space__dense_units": {"choices": ["many"]}},
            "space.dense_units.choices must be whole numbers from 1 on, got 'many'",
        ),
        (
            {"space__dropout_rate": {"low": 0.0, "high": 0.96, "scale": "linear"}},
            "space.dropout_rate must lie between 0 and 0.95, got 0.96",
        ),
        (
            {"space__dense_units": {"low": 0, "high": 512, "step": 64, "scale": "linear"}},
            "space.dense_units must be whole numbers from 1 on, got 0",
        ),
        (
            {"space__conv_kernel": {"choices": [True, 3]}},
            "space.conv_kernel.choices must be whole numbers from 1 on, got True",
        ),
        (
            {"space__learning_rate": {"choices": [0.001, True]}},
            "space.learning_rate must be numbers, got True",
        ),
        (
            {"space__batch_size": {"choices": [16, 32.0]}, "baseline__batch_size": 16},
            "space.batch_size.choices must be whole numbers from 1 on, got 32.0",
        ),
        (
            {"space__batch_size": {"low": 0, "high": 64, "step": 16, "scale": "linear"}, "baseline__batch_size": 16},
            "space.batch_size must be whole numbers from 1 on, got 0",
        ),
        (
            {"space__batch_size": {"choices": [16, 65537]}, "baseline__batch_size": 16},
            "space.batch_size.choices must be at most 65536, got 65537",
        ),
        (
            {"space__conv_filters": {"low": 8, "high": 32, "step": 8, "scale": "linear"}, "baseline__conv_filters": 20},
            "baseline.conv_filters must lie in space.conv_filters (8 to 32 in steps of 8, linear), got 20",
        ),
        (
            {"space__dropout_rate": {"low": -0.1, "high": 0.5, "scale": "linear"}},
            "space.dropout_rate must lie between 0 and 0.95, got -0.1",
        ),
    ],
)
def test_the_space_and_the_baseline_fit_each_other(overrides: dict[str, Any], expected: str) -> None:
    assert message(**overrides) == expected


@pytest.mark.parametrize("choices", [[1, "a"], [True, 3], [0.5, False], ["a", 0.5, 2]])
def test_keras_tuner_takes_no_mixture(choices: list[Any]) -> None:
    given = {"model__builder": "mine:build", "space": {"kind": {"choices": choices}}, "baseline": {"kind": choices[0]}}
    for method in ("tpe", "random"):
        assert quickstart(**given, search__method=method).space["kind"] == Choice(tuple(choices))
    for method in ("keras-tuner", STOCK):
        assert message(**given, search__method=method) == (
            f"space.kind.choices must be of one kind for search.method {method} (tpe and random take any), "
            f"got {describe(Choice(tuple(choices)))}"
        )


@pytest.mark.parametrize("choices", [[1, 2.5], [True, False], ["a", "b"], [True]])
def test_what_keras_tuner_takes(choices: list[Any]) -> None:
    given = {"model__builder": "mine:build", "space": {"kind": {"choices": choices}}, "baseline": {"kind": choices[0]}}
    assert quickstart(**given, search__method=STOCK).space["kind"] == Choice(tuple(choices))


def test_a_batch_size_is_checked_in_the_space_of_any_network() -> None:
    given = {"model__builder": "mine:build", "baseline": {"batch_size": 0}, "space": {"batch_size": {"choices": [0]}}}
    assert message(**given) == "space.batch_size.choices must be whole numbers from 1 on, got 0"


def test_both_ends_of_a_range_must_leave_pixels() -> None:
    kernels = {"low": 3, "high": 7, "step": 2, "scale": "linear"}
    text = message(space__conv_kernel=kernels, model__padding="valid", data__image_size=80)
    assert text.startswith("data.image_size 80 with model.padding 'valid' and space.conv_kernel 7 leaves no pixels")
    layers = {"low": 3, "high": 7, "step": 1, "scale": "linear"}
    assert "leaves no pixels after 7 pools" in message(space__conv_layers=layers, baseline__conv_layers=4)
    layers = {"low": 3, "high": 2**53, "step": 1, "scale": "linear"}
    text = message(space__conv_layers=layers, baseline__conv_layers=4)
    assert text == f"space.conv_layers must be at most 100, got {2**53}"


def test_a_learning_rate_is_above_zero() -> None:
    text = message(space__learning_rate={"choices": [0.0, 0.001]})
    assert text.startswith("space.learning_rate must ")
    assert text.endswith(", got 0.0")


def test_a_space_without_one_of_the_five_is_refused_with_the_way_to_fix_it() -> None:
    config = quickstart()
    fewer = {name: found for name, found in config.space.items() if name != "dense_units"}
    with pytest.raises(ConfigError) as caught:
        check(dataclasses.replace(config, space=MappingProxyType(fewer)))
    assert str(caught.value) == "space.dense_units: missing; to fix it, give one choice: {choices: [VALUE]}"


def test_a_baseline_without_one_of_the_five_is_refused() -> None:
    config = quickstart()
    fewer = {name: value for name, value in config.baseline.items() if name != "dense_units"}
    with pytest.raises(ConfigError) as caught:
        check(dataclasses.replace(config, baseline=MappingProxyType(fewer)))
    assert str(caught.value) == "baseline must give a value to exactly what is in space; differing: dense_units"


def test_no_dense_layer_is_a_choice_no_convolution_is_not() -> None:
    config = quickstart(space__dense_layers={"choices": [0, 1]}, baseline__dense_layers=0)
    assert config.space["dense_layers"] == Choice((0, 1))
    text = message(space__conv_layers={"choices": [0, 1]}, baseline__conv_layers=1)
    assert text == "space.conv_layers.choices must be whole numbers from 1 on, got 0"


@pytest.mark.parametrize(
    ("found", "value", "inside"),
    [
        (FloatRange(0.1, 0.5, "linear"), 0.1, True),
        (FloatRange(0.1, 0.5, "linear"), 0.5, True),
        (FloatRange(0.1, 0.5, "linear"), 0.5000001, False),
        (FloatRange(0.1, 0.5, "linear"), 0.0999999, False),
        (FloatRange(0.0, 1.0, "linear"), 1, True),
        (FloatRange(0.0, 1.0, "linear"), "0.5", False),
        (FloatRange(0.0, 1.0, "linear"), float("nan"), False),
        (Choice((16, 24)), 16, True),
        (Choice((16, 24)), 20, False),
        (Choice((16, 24)), 16.0, False),
        (Choice((1, 2)), True, False),
        (Choice((True, False)), 1, False),
        (Choice((True, False)), False, True),
        (FloatRange(0.0, 1.0, "linear"), True, False),
        (IntRange(8, 64, 8, "linear"), 8, True),
        (IntRange(8, 64, 8, "linear"), 64, True),
        (IntRange(8, 64, 8, "linear"), 12, False),
        (IntRange(8, 64, 8, "linear"), 72, False),
        (IntRange(8, 64, 8, "linear"), 0, False),
        (IntRange(8, 64, 8, "linear"), 16.0, False),
        (IntRange(0, 4, 1, "linear"), True, False),
        (Choice(("relu", "elu")), "elu", True),
    ],
)
def test_contains(found: Range, value: Any, inside: bool) -> None:
    assert contains(found, value) is inside


def test_ranges_in_words() -> None:
    assert describe(FloatRange(1e-5, 1e-2, "log")) == "1e-05 to 0.01, log"
    assert describe(Choice((3, 5))) == "3, 5"
    assert describe(Choice((True, False, "True"))) == "true, false, True"
    assert describe(IntRange(1, 1024, 1, "log")) == "1 to 1024 in steps of 1, log"


def test_the_nearest_name_is_a_hint_and_never_a_guess() -> None:
    assert nearest("max_epoch", ["max_epochs", "grace_epochs"]) == "; did you mean 'max_epochs'?"
    assert nearest("colour", ["max_epochs", "grace_epochs"]) == ""


# ---- frozen -------------------------------------------------------------------------------------------------------


def test_a_config_cannot_be_changed() -> None:
    config: Any = quickstart()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.search.max_epochs = 1
    with pytest.raises(TypeError, match="does not support item assignment"):
        config.space["dropout_rate"] = Choice((0.5,))
    with pytest.raises(TypeError, match="does not support item assignment"):
        config.baseline["dropout_rate"] = 0.1
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.space["dropout_rate"].high = 0.9
    with pytest.raises(TypeError, match="does not support item assignment"):
        config.retrain.milestones[0] = 1


def test_what_is_made_of_a_config_is_a_copy() -> None:
    config = quickstart()
    tree = config.as_dict()
    tree["search"]["max_epochs"] = 1
    tree["space"]["dropout_rate"]["high"] = 0.9
    tree["retrain"]["milestones"].append(300)
    assert config == quickstart()
