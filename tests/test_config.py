"""YAML files and `--set` become a config: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from make_rows import quickstart

from catdog_ray import config as configuration
from catdog_ray.errors import ConfigError, UserError
from catdog_ray.ranges import Choice, FloatRange, IntRange
from catdog_ray.settings import Config

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))

GUIDE = {"learning_rate": 1e-3, "dropout_rate": 0.5, "conv_filters": 32, "conv_kernel": 3, "dense_units": 512}


def refusal(path: Path | str, **overrides: Any) -> str:
    """What loading this file is refused with; always one line."""
    with pytest.raises(ConfigError) as caught:
        configuration.load(path, overrides=overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    """A YAML file in `folder`, beside a copy of the shipped quickstart."""
    folder.mkdir(exist_ok=True)
    (folder / "quickstart.yaml").write_bytes(CONFIGS[0].with_name("quickstart.yaml").read_bytes())
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


# ---- what is shipped ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_files_load_and_come_back_equal(path: Path) -> None:
    config = configuration.load(path)
    assert config.name == path.stem
    assert configuration.from_dict(config.as_dict()) == config
    assert configuration.from_dict(json.loads(json.dumps(config.as_dict()))) == config


def test_the_four_experiments_are_shipped() -> None:
    assert {"quickstart", "cpu", "gpu", "space-with-depth"} <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize(("name", "filters"), [("quickstart", (8, 12, 16)), ("cpu", (16, 24, 32))])
def test_the_five_hyperparameters_on_a_cpu(name: str, filters: tuple[int, ...]) -> None:
    """The quickstart is at reduced sizes, and labelled so: half the filters, in the space and in the baseline."""
    config = configuration.load(f"configs/{name}.yaml")
    assert list(config.space.items()) == [
        ("learning_rate", FloatRange(1e-4, 1e-2, "log")),
        ("dropout_rate", FloatRange(0.0, 0.6, "linear")),
        ("conv_filters", Choice(filters)),
        ("conv_kernel", Choice((3, 5))),
        ("dense_units", Choice((128, 256, 512))),
    ]
    assert dict(config.baseline) == {**GUIDE, "conv_filters": filters[-1]}
    assert ("reduced" in config.label) == (name == "quickstart")


def test_the_five_hyperparameters_on_a_gpu() -> None:
    config = configuration.load("configs/gpu.yaml")
    assert list(config.space.items()) == [
        ("learning_rate", FloatRange(1e-5, 1e-2, "log")),
        ("dropout_rate", FloatRange(0.0, 0.7, "linear")),
        ("conv_filters", Choice((16, 24, 32, 48, 64))),
        ("conv_kernel", Choice((3, 5, 7))),
        ("dense_units", Choice((128, 256, 512, 1024))),
    ]
    assert dict(config.baseline) == GUIDE


def test_the_guides_own_scale() -> None:
    config = configuration.load("configs/gpu.yaml")
    assert (config.data.image_size, config.model.padding, config.train.batch_size) == (150, "valid", 32)
    assert (config.model.conv_layers, config.model.dense_layers) == (4, 1)
    assert config.search.num_samples == 64


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_what_all_experiments_share(path: Path) -> None:
    config = configuration.load(path)
    augment = config.augment
    assert (augment.horizontal_flip, augment.rotation_range, augment.zoom_range) == (True, 45, 0.5)
    assert config.retrain.milestones == (125, 200)
    # The fifth and sixth part of the published study ask of the best alone.
    expected = ("best",) if path.stem in ("study-cpu150-deep", "study-cpu150-five-blocks") else ("best", "baseline")
    assert config.retrain.configurations == expected
    assert config.search.start_from == ("baseline",)
    assert config.search.scoring_window == 3
    assert config.data.selection_share == 0.2


def test_the_depth_is_searched_by_editing_yaml() -> None:
    config = configuration.load("configs/space-with-depth.yaml")
    assert config.space["conv_layers"] == Choice((3, 4))
    assert config.space["dense_layers"] == Choice((1, 2))
    assert dict(config.baseline) == {**GUIDE, "conv_filters": 16, "conv_layers": 4, "dense_layers": 1}


def test_the_quickstart_is_the_default() -> None:
    assert configuration.load() == configuration.load("configs/quickstart.yaml")


@pytest.mark.parametrize("name", ["gpu.yaml", "configs/gpu.yaml"])
def test_shipped_files_are_found_from_anywhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert configuration.load(name).name == "gpu"


def test_a_file_of_ones_own_goes_before_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "extends: quickstart.yaml\nname: mine\n", "gpu.yaml")
    monkeypatch.chdir(tmp_path)
    assert configuration.load("gpu.yaml").name == "mine"


# ---- files that cannot be read ------------------------------------------------------------------------------------


def test_a_missing_file_names_the_shipped_ones(tmp_path: Path) -> None:
    text = refusal(tmp_path / "nowhere.yaml")
    assert text.startswith(f"--config: no file {str(tmp_path / 'nowhere.yaml')!r}; shipped are ")
    assert "quickstart.yaml" in text
    assert "gpu.yaml" in text
    # A folder is no file, and a folder's name in front means: that file and no shipped one.
    assert refusal(tmp_path).startswith("--config: no file ")
    assert refusal(tmp_path / "gpu.yaml").startswith("--config: no file ")


def test_a_name_too_long_for_a_file_is_a_missing_file() -> None:
    assert refusal("x" * 300).startswith("--config: no file ")


def test_text_that_is_no_yaml(tmp_path: Path) -> None:
    path = written(tmp_path, "search: [1, 2\nname: x\n")
    text = refusal(path)
    assert text.startswith(f"{path}: is no YAML: ")
    assert "line 2" in text


@pytest.mark.parametrize("value", ["2024-13-45", "!!int many", "0x_", "[" * 3000])
def test_values_on_which_the_yaml_reader_stumbles(value: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"extends: quickstart.yaml\nlabel: {value}\n")
    assert refusal(path).startswith(f"{path}: is no YAML: ")


@pytest.mark.parametrize(
    ("text", "kind"), [("- a\n- b\n", "list"), ("", "NoneType"), ("just text", "str"), ("7", "int")]
)
def test_a_file_must_hold_settings(text: str, kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    assert refusal(path) == f"{path}: expected settings (key: value), got {kind}"


def test_a_binary_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.yaml"
    path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    assert refusal(path).startswith(f"{path}: cannot be read: ")
    path.write_bytes(b"name: a\x00b\n")
    assert refusal(path).startswith(f"{path}: is no YAML: ")


# ---- extends ------------------------------------------------------------------------------------------------------


def test_extends_lays_one_file_over_another(tmp_path: Path) -> None:
    written(
        tmp_path, "extends: quickstart.yaml\nname: middle\nsearch: {num_samples: 5, max_epochs: 3}\n", "middle.yaml"
    )
    path = written(tmp_path / "deeper", "extends: ../middle.yaml\nname: top\nsearch: {max_epochs: 6}\n", "top.yaml")
    config = configuration.load(path)
    assert configuration.differences(configuration.load(), config) == {
        "name": ("quickstart", "top"),
        "search.num_samples": (8, 5),
        "search.max_epochs": (27, 6),
    }


def test_a_range_is_replaced_whole_and_its_parts_one_by_one(tmp_path: Path) -> None:
    text = "extends: quickstart.yaml\nspace:\n  dropout_rate: {choices: [0.25, 0.5]}\n  learning_rate: {high: 0.1}\n"
    config = configuration.load(written(tmp_path, text))
    assert config.space["dropout_rate"] == Choice((0.25, 0.5))
    assert config.space["learning_rate"] == FloatRange(1e-4, 0.1, "log")
    text = "extends: quickstart.yaml\nspace: {conv_kernel: {low: 3, high: 5, scale: linear}}\n"
    assert refusal(written(tmp_path, text)) == (
        "space.conv_kernel must be whole numbers, {low, high, step, scale} or {choices}, got 3 to 5, linear"
    )


def test_a_file_that_extends_itself(tmp_path: Path) -> None:
    path = written(tmp_path, "extends: mine.yaml\n")
    assert refusal(path) == f"{path}: extends 'mine.yaml', which leads back to this file"


def test_files_that_extend_each_other(tmp_path: Path) -> None:
    one = written(tmp_path, "extends: two.yaml\n", "one.yaml")
    two = written(tmp_path, "extends: ./one.yaml\n", "two.yaml")
    assert refusal(one) == f"{two}: extends './one.yaml', which leads back to this file"


def test_extends_must_name_a_file_that_is_there(tmp_path: Path) -> None:
    path = written(tmp_path, "extends: other.yaml\n")
    start = (
        f"{path}: extends 'other.yaml', but there is no such file beside it; shipped are cpu.yaml, gpu.yaml, quickst"
    )
    assert refusal(path).startswith(start)
    path = written(tmp_path, "extends: [quickstart.yaml]\n")
    assert refusal(path) == f"{path}: extends must name a file, got ['quickstart.yaml']"


def test_a_file_anywhere_extends_a_shipped_one(tmp_path: Path) -> None:
    """As the README says of a file of one's own; one beside it comes first."""
    own = tmp_path / "mine.yaml"
    own.write_text("extends: quickstart.yaml\nname: mine\n")
    assert configuration.load(own).search == configuration.load().search
    own.write_text("extends: configs/quickstart.yaml\nname: mine\n")  # as --config takes it
    assert configuration.load(own).search == configuration.load().search
    own.write_text("extends: quickstart.yaml\nname: mine\n")
    (tmp_path / "quickstart.yaml").write_text("extends: cpu.yaml\nsearch: {num_samples: 77}\n")
    assert (configuration.load(own).search.num_samples, configuration.load(own).name) == (77, "mine")


# ---- keys and types -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("serach: {num_samples: 3}", "serach: unknown setting; did you mean 'search'?"),
        ("search: {num_sampels: 3}", "search.num_sampels: unknown setting; did you mean 'num_samples'?"),
        ("weather: fine", "weather: unknown setting"),
        ("data: {7: 8}", "data.7: unknown setting"),
        ("search: 5", "search must be a section (key: value), got 5"),
        ("search:", "search must be a section (key: value), got None"),
        ("space: [1]", "space must be a section (name: value), got [1]"),
    ],
)
def test_keys_that_are_no_settings(text: str, expected: str, tmp_path: Path) -> None:
    assert refusal(written(tmp_path, f"extends: quickstart.yaml\n{text}\n")) == expected


@pytest.mark.parametrize("setting", ["seed", "search", "search.max_epochs", "cluster.storage_path", "data.cache_dir"])
def test_every_setting_stands_in_the_file(setting: str) -> None:
    tree = quickstart().as_dict()
    *parents, last = setting.split(".")
    del (tree[parents[0]] if parents else tree)[last]
    with pytest.raises(ConfigError) as caught:
        configuration.from_dict(tree)
    assert str(caught.value) == f"{setting}: missing; every setting of an experiment stands in its YAML file"


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("search.max_epochs", 9.0, "search.max_epochs must be a whole number, got 9.0"),
        ("search.max_epochs", True, "search.max_epochs must be a whole number, got True"),
        ("search.max_epochs", "9", "search.max_epochs must be a whole number, got '9'"),
        ("search.max_epochs", None, "search.max_epochs must be a whole number, got None"),
        ("retrain.enabled", 1, "retrain.enabled must be true or false, got 1"),
        ("retrain.enabled", "yes", "retrain.enabled must be true or false, got 'yes'"),
        ("label", 5, "label must be text, got 5"),
        ("output", None, "output must be text, got None"),
        ("augment.zoom_range", True, "augment.zoom_range must be a number, got True"),
        ("augment.zoom_range", "wide", "augment.zoom_range must be a number, got 'wide'"),
        ("augment.rotation_range", math.nan, "augment.rotation_range must be a finite number, got nan"),
        ("augment.rotation_range", math.inf, "augment.rotation_range must be a finite number, got inf"),
        ("cluster.cpus_per_trial", -math.inf, "cluster.cpus_per_trial must be a finite number, got -inf"),
        ("cluster.max_concurrent", "two", "cluster.max_concurrent must be a whole number, got 'two'"),
        ("cluster.storage_path", 5, "cluster.storage_path must be text, got 5"),
        ("retrain.milestones", 125, "retrain.milestones must be a list, got 125"),
        ("retrain.milestones", [125, 199.5], "retrain.milestones[1] must be a whole number, got 199.5"),
        ("search.start_from", "baseline", "search.start_from must be a list, got 'baseline'"),
        ("baseline.dropout_rate", None, "baseline.dropout_rate must be a number, text, true or false, got None"),
        (
            "baseline.dropout_rate",
            True,
            "baseline.dropout_rate must lie in space.dropout_rate (0 to 0.6, linear), got True",
        ),
        ("baseline.dropout_rate", math.nan, "baseline.dropout_rate must be a finite number, got nan"),
        ("space.dropout_rate", 0.5, "space.dropout_rate must be a section (name: value), got 0.5"),
        (
            "space.dropout_rate",
            {},
            "space.dropout_rate must be {low, high, scale}, {low, high, step, scale} or {choices}, got {}",
        ),
        (
            "space.dropout_rate",
            {"low": 0},
            "space.dropout_rate must be {low, high, scale}, {low, high, step, scale} or {choices}, got {'low': 0}",
        ),
        ("space.dropout_rate.low", math.nan, "space.dropout_rate.low must be a finite number, got nan"),
        ("space.dropout_rate.high", math.inf, "space.dropout_rate.high must be a finite number, got inf"),
        ("space.dropout_rate.high", "wide", "space.dropout_rate.high must be a number, got 'wide'"),
        ("space.dropout_rate.low", 0.6, "space.dropout_rate.low must be below space.dropout_rate.high (0.6), got 0.6"),
        ("space.dropout_rate.scale", "log", "space.dropout_rate.low must be above 0 on a log scale, got 0.0"),
        (
            "space.learning_rate.scale",
            "logarithmic",
            "space.learning_rate.scale must be linear or log, got 'logarithmic'",
        ),
        ("space.learning_rate.scale", ["log"], "space.learning_rate.scale must be linear or log, got ['log']"),
        ("space.conv_kernel.choices", [], "space.conv_kernel.choices must be a list with at least one value, got []"),
        ("space.conv_kernel.choices", 3, "space.conv_kernel.choices must be a list with at least one value, got 3"),
        (
            "space.conv_kernel.choices",
            [3, 5, 3],
            "space.conv_kernel.choices must differ from each other, got [3, 5, 3]",
        ),
        ("space.conv_kernel.choices", [3, 3.0], "space.conv_kernel.choices must differ from each other, got [3, 3.0]"),
        (
            "space.conv_kernel.choices",
            [3, None],
            "space.conv_kernel.choices[1] must be a number, text, true or false, got None",
        ),
        (
            "space.conv_kernel.choices",
            [1, True],
            "space.conv_kernel.choices must differ from each other, got [1, True]",
        ),
        (
            "space.conv_kernel.choices",
            [[3]],
            "space.conv_kernel.choices[0] must be a number, text, true or false, got [3]",
        ),
    ],
)
def test_each_type_is_checked(setting: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration.load("configs/quickstart.yaml", overrides={setting: value})
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"step": 0}, "space.dense_units.step must be at least 1, got 0"),
        ({"step": 24}, "high must be reached from space.dense_units.low (8) in steps of 24: 56 or 80, got 64"),
        ({"step": 8, "scale": "log"}, "step must be 1 on a log scale, got 8; or name the values under choices"),
        ({"low": 0, "step": 1, "scale": "log"}, "low must be above 0 on a log scale, got 0"),
        ({"scale": "quadratic"}, "scale must be linear or log, got 'quadratic'"),
        ({"low": 64}, "low must be below space.dense_units.high (64), got 64"),
        ({"low": 0.5}, "low must be a whole number (a range with step holds no others), got 0.5"),
        ({"high": 64.0}, "high must be a whole number (a range with step holds no others), got 64.0"),
        ({"step": True}, "step must be a whole number (a range with step holds no others), got True"),
        ({"step": None}, "step must be a whole number (a range with step holds no others), got None"),
        ({"high": 2**60}, f"high must be at most {2**53} from zero, got {2**60}"),
    ],
)
def test_what_is_no_range_of_whole_numbers(changes: dict[str, Any], expected: str) -> None:
    whole = {"low": 8, "high": 64, "step": 8, "scale": "linear", **changes}
    with pytest.raises(ConfigError) as caught:
        configuration.load("configs/quickstart.yaml", overrides={"space.dense_units": whole})
    assert str(caught.value) == f"space.dense_units.{expected.removeprefix('space.dense_units.')}"


def test_a_step_makes_a_range_one_of_whole_numbers_and_nothing_else_does(tmp_path: Path) -> None:
    text = (
        "extends: quickstart.yaml\nmodel: {builder: 'mine:build'}\nspace:\n  width: {low: 8, high: 64, step: 8, "
        "scale: linear}\n  units: {low: 1, high: 1024, step: 1, scale: log}\n"
        "  share: {low: 0, high: 4, scale: linear}\n"
        "  skip: {choices: [true, false]}\n  any: {choices: [false, 3, 0.5, relu]}\n"
        "baseline: {width: 16, units: 1024, share: 1, skip: true, any: false}\n"
    )
    config = configuration.load(written(tmp_path, text))
    assert list(config.space.values()) == [
        IntRange(8, 64, 8, "linear"),
        IntRange(1, 1024, 1, "log"),
        FloatRange(0.0, 4.0, "linear"),
        Choice((True, False)),
        Choice((False, 3, 0.5, "relu")),
    ]
    # A continuous range is of floats for the network too, and true is not 1.
    expected = {"width": 16, "units": 1024, "share": 1.0, "skip": True, "any": False}
    for found in (config, configuration.from_saved(json.loads(json.dumps(config.as_dict())))):
        assert found == config
        assert repr(dict(found.baseline)) == repr(expected)
        assert repr(found.space) == repr(config.space)


STUDIES = sorted(file for folder in ("results", "tests/frozen") for file in (ROOT / folder).glob("**/study.json"))


def test_the_spaces_of_committed_studies_mean_what_they_meant() -> None:
    assert len(STUDIES) > 20
    for file in STUDIES:
        saved = json.loads(file.read_text(encoding="utf-8"))["config"]
        found = configuration.from_saved(saved)
        for name, item in saved["space"].items():
            meant = FloatRange(*item.values()) if "low" in item else Choice(tuple(item["choices"]))
            assert repr(found.space[name]) == repr(meant)
        assert repr(dict(found.baseline)) == repr(saved["baseline"])


def test_true_instead_of_one_is_a_difference() -> None:
    """As a study whose rows hold the one cannot go on with the other."""
    changes = {"model__builder": "mine:build", "baseline": {"skip": True}}
    left = quickstart(**changes, space={"skip": {"choices": [True, False]}})
    right = quickstart(**{**changes, "baseline": {"skip": 1}}, space={"skip": {"choices": [1, 0]}})
    assert configuration.differences(left, right) == {
        "baseline.skip": (True, 1),
        "space.skip.choices": ([True, False], [1, 0]),
    }


def test_whole_numbers_are_numbers() -> None:
    config = quickstart(augment__rotation_range=30, cluster__cpus_per_trial=2)
    assert type(config.augment.rotation_range) is float
    assert (config.augment.rotation_range, config.cluster.cpus_per_trial) == (30.0, 2.0)


def test_not_a_number_and_infinity_in_yaml(tmp_path: Path) -> None:
    path = written(tmp_path, "extends: quickstart.yaml\naugment: {rotation_range: .nan}\n")
    assert refusal(path) == "augment.rotation_range must be a finite number, got nan"
    path = written(tmp_path, "extends: quickstart.yaml\nspace: {dropout_rate: {high: .inf}}\n")
    assert refusal(path) == "space.dropout_rate.high must be a finite number, got inf"
    path = written(tmp_path, "extends: quickstart.yaml\nspace: {dropout_rate: {choices: [0.5, .nan]}}\n")
    assert refusal(path) == "space.dropout_rate.choices[1] must be a finite number, got nan"


def test_a_number_that_yaml_reads_as_text(tmp_path: Path) -> None:
    path = written(tmp_path, "extends: quickstart.yaml\nspace: {learning_rate: {low: 1e-4, high: 0.01, scale: log}}\n")
    assert refusal(path) == (
        "space.learning_rate.low must be a number, got '1e-4' "
        "(YAML reads it as text: write it with a point, such as 1.0e-4)"
    )
    path = written(tmp_path, "extends: quickstart.yaml\naugment: {rotation_range: 45E0}\n")
    assert refusal(path).endswith("got '45E0' (YAML reads it as text: write it with a point, such as 45.0e+0)")


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("baseline: {learning_rate: 1e-3}", "baseline.learning_rate"),
        ("space: {learning_rate: {choices: [1e-3]}}", "space"),
    ],
)
def test_the_same_where_any_value_may_stand(text: str, setting: str, tmp_path: Path) -> None:
    """`must be above 0, got '1e-3'` would be no help: the reader sees a number above 0."""
    found = refusal(written(tmp_path, f"extends: quickstart.yaml\n{text}\n"))
    assert found.startswith(setting)
    assert "'1e-3'" in found
    assert "write it with a point, such as 1.0e-3" in found


def test_a_number_beyond_all_floats_is_not_finite() -> None:
    with pytest.raises(ConfigError, match=r"^augment\.rotation_range must be a finite number"):
        quickstart(augment__rotation_range=10**400)


# ---- --set --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("search.max_epochs=9", ("search.max_epochs", 9)),
        (" seed =3", ("seed", 3)),
        ("retrain.milestones=[5, 8]", ("retrain.milestones", [5, 8])),
        ("augment.zoom_range=0.25", ("augment.zoom_range", 0.25)),
        ("retrain.enabled=false", ("retrain.enabled", False)),
        ("cluster.storage_path=null", ("cluster.storage_path", None)),
        ("cluster.storage_path=s3://bucket/a=b", ("cluster.storage_path", "s3://bucket/a=b")),
        ("name='7'", ("name", "7")),
        ("label=", ("label", None)),
        (
            "space.dropout_rate={low: 0.0, high: 0.3, scale: linear}",
            ("space.dropout_rate", {"low": 0.0, "high": 0.3, "scale": "linear"}),
        ),
    ],
)
def test_assignments(text: str, expected: tuple[str, Any]) -> None:
    found = configuration.parse_assignment(text)
    assert found == expected
    assert type(found[1]) is type(expected[1])


@pytest.mark.parametrize("text", ["search.max_epochs", "=3", "  =3", ""])
def test_what_is_no_assignment(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration.parse_assignment(text)
    assert str(caught.value) == f"--set takes key=value (for example search.max_epochs=9), got {text!r}"


@pytest.mark.parametrize("value", ["[1", "{a: ", "@", "2024-13-45", "!!int many", "0x_", "[" * 3000, "9" * 5000])
def test_assigned_values_that_are_no_yaml(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration.parse_assignment(f"label={value}")
    assert str(caught.value).startswith(f"--set label: the value {value!r} is no YAML: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("search.num_sampels", "search.num_sampels: unknown setting; did you mean 'num_samples'?"),
        ("sead", "sead: unknown setting; did you mean 'seed'?"),
        ("serach.num_samples", "serach.num_samples: there is no section 'serach'; did you mean 'search'?"),
        ("search.max_epochs.x", "search.max_epochs.x: there is no section 'search.max_epochs'"),
        ("seed.x", "seed.x: there is no section 'seed'; did you mean 'seed'?"),
        ("space.momentum.low", "space.momentum.low: there is no section 'space.momentum'"),
        ("space.conv_kernel.low", "space.conv_kernel.low: unknown setting"),
        ("extends", "extends: unknown setting"),
    ],
)
def test_assigned_settings_that_are_none(setting: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration.load("configs/quickstart.yaml", overrides={setting: 3})
    assert str(caught.value) == expected


def test_overrides_reach_the_space() -> None:
    config = configuration.load(
        "configs/quickstart.yaml",
        overrides={
            "space.learning_rate.low": 5e-4,
            "space.dropout_rate": {"choices": [0.25, 0.5]},
            "space.conv_layers": {"choices": [3, 4]},
            "baseline.conv_layers": 4,
        },
    )
    assert config.space["learning_rate"] == FloatRange(5e-4, 1e-2, "log")
    assert config.space["dropout_rate"] == Choice((0.25, 0.5))
    assert config.space["conv_layers"] == Choice((3, 4))
    assert list(config.space)[-1] == "conv_layers"


def test_overrides_lie_over_a_config_and_leave_it_alone() -> None:
    base = quickstart(seed=4)
    changed = configuration.load(base=base, overrides={"search.max_epochs": 3, "space.dropout_rate.high": 0.55})
    assert (changed.seed, changed.search.max_epochs) == (4, 3)
    assert changed.space["dropout_rate"] == FloatRange(0.0, 0.55, "linear")
    assert base == quickstart(seed=4)
    assert configuration.load(base=base) == base


# ---- differences and single settings ------------------------------------------------------------------------------


def test_differences_name_settings_and_both_values() -> None:
    left = quickstart()
    right = quickstart(
        seed=1, retrain__milestones=[5], space__dropout_rate={"choices": [0.5]}, cluster__max_concurrent=2
    )
    assert configuration.differences(left, left) == {}
    assert configuration.differences(left, right) == {
        "cluster.max_concurrent": (None, 2),
        "retrain.milestones": ([125, 200], [5]),
        "seed": (0, 1),
        "space.dropout_rate.choices": (None, [0.5]),
        "space.dropout_rate.high": (0.6, None),
        "space.dropout_rate.low": (0.0, None),
        "space.dropout_rate.scale": ("linear", None),
    }


def test_one_setting_by_its_name() -> None:
    config: Config = quickstart()
    assert configuration.setting(config, "seed") == 0
    assert configuration.setting(config, "search.max_epochs") == 9
    assert configuration.setting(config, "space.conv_kernel.choices") == [3, 5]
    assert configuration.setting(config, "cluster.storage_path") is None


def test_errors_of_the_config_are_the_users_to_cure() -> None:
    with pytest.raises(UserError):
        quickstart(seed=-1)


def test_a_study_that_is_older_than_a_setting_is_still_read() -> None:
    tree = quickstart().as_dict()
    del tree["data"]["published"], tree["data"]["test_share"], tree["model"]["builder"]
    for name in ("learning_rate_schedule", "ema_momentum", "test_time_flip"):
        del tree["train"][name]
    found = configuration.from_saved(tree)
    assert found.model.builder is None
    assert found.train == quickstart().train
    assert dict(found.data.published) == {}
    with pytest.raises(ConfigError, match=r"^data\.published: missing"):
        configuration.from_dict(tree)
    del tree["data"]["image_size"]
    with pytest.raises(ConfigError, match=r"^data\.image_size: missing"):
        configuration.from_saved(tree)
