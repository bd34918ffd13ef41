"""A network of one's own: found without importing it, checked before the trials, trained through a whole study."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from make_pictures import encoded, write_folder
from make_rows import quickstart
from PIL import Image, ImageDraw
from small import images

from catdog_ray import builder, config, evaluation, model, rehearsal, train
from catdog_ray.errors import ConfigError
from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import EpochRow
from catdog_ray.settings import ModelSettings, TrainSettings
from catdog_ray.space import HyperParameters

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "separable.yaml"
POINT = HyperParameters.of({"learning_rate": 2e-3, "dropout_rate": 0.1, "width": 4, "blocks": 2, "activation": "relu"})


PLAIN = quickstart().train


def own(name: str) -> ModelSettings:
    return ModelSettings("same", 4, 1, f"test_builder:{name}")


# Networks that the tests name.


def compiled(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    network = keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(classes)])
    network.add(keras.layers.Softmax())
    network.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return network


def uncompiled(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    layers = [keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax")]
    return keras.Sequential(layers)


def without_accuracy(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    network = uncompiled(hyperparameters, input_shape, classes)
    network.compile("sgd", "sparse_categorical_crossentropy")
    return network


def wrong_loss(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    network = uncompiled(hyperparameters, input_shape, classes)
    network.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    return network


def one_unit(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    return uncompiled(hyperparameters, input_shape, 1)


def nothing(hyperparameters: Any, input_shape: Any, classes: int) -> None:
    return None


def unknown_name(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    return uncompiled(hyperparameters["units"], input_shape, classes)


def without_softmax(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    bias = keras.initializers.Constant(2.0)
    layers = [keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(classes, bias_initializer=bias)]
    return keras.Sequential(layers)


def no_numbers(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    hidden = keras.layers.Rescaling(float("nan"))
    return keras.Sequential([keras.Input(input_shape), hidden, *uncompiled({}, input_shape, classes).layers])


def frozen(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    network = uncompiled(hyperparameters, input_shape, classes)
    network.trainable = False
    return network


def without_input(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax")])


def exits(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    sys.exit(3)


number = 7


def test_a_compiled_network_keeps_its_optimizer_and_an_uncompiled_one_follows_the_settings() -> None:
    recipe = model.Recipe(decay_steps=10, ema_momentum=0.9)
    network = model.build(POINT, own("uncompiled"), image_size=8, classes=3, recipe=recipe)
    assert network.optimizer.use_ema
    with pytest.raises(builder.BuilderError, match=r"returns a compiled model, .* return it uncompiled"):
        model.build(POINT, own("compiled"), image_size=8, classes=3, recipe=recipe)


def test_an_uncompiled_network_is_compiled_with_the_trials_learning_rate() -> None:
    network = model.build(POINT, own("uncompiled"), image_size=8, classes=3)
    assert isinstance(network.optimizer, keras.optimizers.Adam)
    assert float(network.optimizer.learning_rate) == pytest.approx(2e-3)
    assert network.output_shape == (None, 3)


def averaging(hyperparameters: Any, input_shape: Any, classes: int) -> keras.Model:
    network = uncompiled(hyperparameters, input_shape, classes)
    optimizer = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.9)
    network.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return network


def test_a_compiled_network_that_averages_is_scored_as_it_is_saved() -> None:
    found: list[tuple[float | None, float, float]] = []
    selection = images(24, seed=1)

    def on_epoch(row: EpochRow, network: keras.Model) -> None:
        def loss() -> float:
            scores = network.evaluate(evaluation.rescaled_batches(selection), verbose=0, return_dict=True)
            return float(scores["loss"])

        with evaluation.averaged(network):
            average = loss()
        found.append((row.selection_loss, average, loss()))

    settings = train.FitSettings(own("averaging"), None, PLAIN)
    train.fit(POINT, images(), selection, settings=settings, epochs=2, seed=0, on_epoch=on_epoch)
    scored, average, raw = found[-1]
    assert raw != pytest.approx(average, abs=1e-4)
    assert scored == pytest.approx(average, abs=1e-5)


def test_a_compiled_network_stays_as_it_is() -> None:
    network = model.build(POINT, own("compiled"), image_size=8, classes=2)
    assert isinstance(network.optimizer, keras.optimizers.SGD)


def rehearsed(name: str, settings: TrainSettings = PLAIN) -> rehearsal.Rehearsal:
    return rehearsal.rehearse(own(name), settings, POINT, {}, 8, 3)


@pytest.mark.parametrize("name", ["compiled", "uncompiled"])
def test_networks_that_pass_the_check(name: str) -> None:
    assert rehearsed(name).fault is None


def test_a_compiled_network_with_a_schedule_of_the_settings_is_told_before_the_trials() -> None:
    cosine = dataclasses.replace(PLAIN, learning_rate_schedule="cosine")
    assert rehearsed("uncompiled", cosine).fault is None
    found = rehearsed("compiled", cosine).fault
    assert found is not None
    assert found.startswith("--model test_builder:compiled: returns a compiled model, whose optimizer is its own")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "without_accuracy",
            "returns a compiled model that must report 'accuracy'; compile it with metrics=['accuracy']",
        ),
        ("wrong_loss", "ValueError: "),
        ("one_unit", "must return a model from (None, 8, 8, 3) to (None, 3), got "),
        ("nothing", "must return a keras.Sequential or functional model, got NoneTy"),
        ("unknown_name", "raised KeyError: 'units'"),
        (
            "without_softmax",
            "must return a model that puts out probabilities, such as after a softmax; got [2.0, 2.0, 2.0] for",
        ),
        (
            "no_numbers",
            "must return a model that puts out probabilities, such as after a softmax; got [nan, nan, nan] for",
        ),
        ("frozen", "must return a model that can learn, got one without trainable"),
        ("without_input", "must return a keras.Sequential or functional"),
        ("exits", "raised SystemExit: 3"),
    ],
)
def test_networks_that_cannot_be_trained_are_told_in_one_line(name: str, expected: str) -> None:
    found = rehearsed(name).fault
    assert found is not None
    assert found.startswith(f"--model test_builder:{name}: {expected}")
    assert found.endswith(" (with learning_rate 0.002, dropout_rate 0.1, width 4, blocks 2, activation relu)")
    assert "\n" not in found


@pytest.mark.parametrize(
    ("name", "expected"), [("number", "is no function but a int"), ("missing", "cannot be imported (AttributeError: ")]
)
def test_functions_that_are_none_are_told_in_one_line(name: str, expected: str) -> None:
    found = rehearsed(name).fault
    assert found is not None
    assert found.startswith(f"--model test_builder:{name}: {expected}")
    assert "\n" not in found


# ---- names and settings -------------------------------------------------------------------------------------------


def test_a_module_is_found_without_importing_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"mine/__init__.py": b"raise RuntimeError", "mine/nets.py": b"raise RuntimeError", "plain/nets.py": b"?"}
    write_folder(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    for name in ("mine.nets:build", "plain.nets:build"):
        builder.require_findable(name)
    for name, missing in (
        ("nowhere:build", "nowhere"),
        ("mine.none:f", "mine.none"),
        ("mine.nets.deep:f", "mine.nets.deep"),
    ):
        with pytest.raises(ConfigError) as caught:
            builder.require_findable(name)
        assert str(caught.value) == (
            f"--model {name}: there is no module {missing!r} in the working folder or on Python's path"
        )
    assert "mine" not in sys.modules


@pytest.mark.parametrize("name", ["build", "a.b", "a:b:c", "a-b:c", ":f", "a:", "a..b:c", "../a:b", "1a:b"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^model\.builder must be package\.module:function, got "):
        config.load(base=quickstart(), overrides={"model.builder": name})


def test_the_examples_space_is_its_own() -> None:
    found = config.load(EXAMPLE)
    names = ["learning_rate", "dropout_rate", "width", "blocks", "activation", "normalise", "batch_size"]
    assert list(found.space) == names
    assert found.baseline["activation"] == "relu"
    assert found.train == config.load("quickstart.yaml").train


def test_with_the_flag_a_files_space_replaces_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_bytes((ROOT / "configs" / "quickstart.yaml").read_bytes())
    path = tmp_path / "own.yaml"
    path.write_text("extends: quickstart.yaml\nspace: {depth: {choices: [1, 2]}}\nbaseline: {depth: 1}\n")
    assert list(config.load(path, overrides={"model.builder": "mine:build"}).space) == ["depth"]
    with pytest.raises(ConfigError, match=r"^space\.depth: unknown hyperparameter"):
        config.load(path)
    # Without a file of one's own, the network gets the five.
    assert len(config.load(overrides={"model.builder": "mine:build"}).space) == 5


def test_other_names_need_a_network_of_ones_own() -> None:
    with pytest.raises(ConfigError, match=r"^space\.width: unknown hyperparameter"):
        config.load(EXAMPLE, overrides={"model.builder": None})


# ---- whole studies ------------------------------------------------------------------------------------------------

SHORT = {
    "data.drawn_train": 60,
    "data.drawn_test": 20,
    "data.image_size": 16,
    "search.max_epochs": 4,
    "search.grace_epochs": 1,
    "search.reduction_factor": 2,
    "retrain.milestones": "[1, 2]",
    "cluster.dashboard": "false",
}


def tune(tmp_path: Path, *flags: object, program: str = "tune", **settings: object) -> subprocess.CompletedProcess[str]:
    # A second trial at once would import TensorFlow too, and is not what is tested.
    chosen = {**SHORT, "cluster.max_concurrent": 1, "data.cache_dir": tmp_path / "cache", **settings}
    sets = [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]
    arguments = ["--output", str(tmp_path / "results"), "--name", "mine", *map(str, flags), *sets]
    return command(program, *arguments)


def command(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"catdog_ray.{name}", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )


@pytest.mark.slow
def test_the_example_through_a_whole_study(tmp_path: Path) -> None:
    done = tune(tmp_path, "--config", EXAMPLE, "--num-samples", 3)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    study = StudyDirectory(tmp_path / "results" / "mine")
    trials = study.trials.read()
    assert len(trials) == 3
    point = {
        "learning_rate": float,
        "dropout_rate": float,
        "width": int,
        "blocks": int,
        "activation": str,
        "normalise": bool,
        "batch_size": int,
    }
    for row in (*trials, *study.epochs.read(), *study.retrain.read()):
        assert {name: type(value) for name, value in row.hyperparameters.items()} == point
    assert {row.milestone for row in study.retrain.read()} == {1, 2}
    done = command("predict", study.path, "--export", tmp_path / "saved")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("program", ["tune", "baseline"])
def test_a_network_that_cannot_be_trained_ends_before_the_trials(program: str, tmp_path: Path) -> None:
    done = tune(tmp_path, "--model", "examples.separable:build", "--num-samples", 2, program=program)
    assert done.returncode == 2
    assert done.stderr == (
        "error: --model examples.separable:build: raised KeyError: 'width' (with learning_rate 0.001, "
        "dropout_rate 0.5, conv_filters 16, conv_kernel 3, dense_units 512)\n"
    )
    assert StudyDirectory(tmp_path / "results" / "mine").trials.read() == []


FAILING = """
import pathlib

def build(hyperparameters, input_shape, classes):
    with pathlib.Path(__file__).with_name("calls").open("a") as file:
        file.write("called\\n")
    raise ValueError("no room for\\n  " + str(hyperparameters["dense_units"]))
"""
SEARCHING = """
import json, sys
from pathlib import Path
from small import images, quick_config
from catdog_ray import cluster, search
from catdog_ray.ledger import StudyDirectory

config = quick_config(search__num_samples=1, cluster__max_failures=3, model__builder="failing:build")
with StudyDirectory(Path("study")) as study, cluster.connect(config.cluster) as running_on:
    rows = search.run(study, config, images(48), images(24, seed=1), running_on=running_on)
heavy = sorted({"keras", "tensorflow"} & set(sys.modules))
print(json.dumps([[row.status, row.epochs, row.objective, row.reason] for row in rows] + heavy))
"""


@pytest.mark.slow
def test_what_the_function_raises_fails_its_trial_at_once(tmp_path: Path) -> None:
    """It is not called again for it, as it would be after a lost worker, and the driver comes to load no TensorFlow."""
    write_folder(tmp_path, {"failing.py": FAILING.encode(), "searching.py": SEARCHING.encode()})
    path = os.pathsep.join([*sys.path, str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "searching.py"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    reason = "failing:build raised ValueError: no room for 16"
    assert json.loads(done.stdout) == [["failed", 0, None, reason]]
    assert (tmp_path / "calls").read_text() == "called\n"


def shape(kind: str, seed: int) -> bytes:
    """A circle, a square or a triangle somewhere on noise."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 90, (24, 24, 3), dtype=np.uint8))
    x, y, r = rng.integers(8, 16), rng.integers(8, 16), rng.integers(5, 8)
    pen, colour = ImageDraw.Draw(image), tuple(rng.integers(150, 255, 3).tolist())
    if kind == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif kind == "square":
        pen.rectangle((x - r, y - r, x + r, y + r), fill=colour)
    else:
        pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=colour)
    return encoded(image)


@pytest.mark.slow
def test_three_classes_by_data_alone(tmp_path: Path) -> None:
    """<class>/<images> without splits, through the search, the retraining and the prediction."""
    kinds = ("circle", "square", "triangle")
    root = write_folder(
        tmp_path / "shapes", {f"{k}/{i}.png": shape(k, 10 * i + n) for n, k in enumerate(kinds) for i in range(30)}
    )
    quick = {
        "space.conv_filters": "{choices: [2, 4]}",
        "space.dense_units": "{choices: [8, 16]}",
        "baseline.conv_filters": 4,
        "baseline.dense_units": 16,
    }
    done = tune(tmp_path, "--data", root, "--num-samples", 2, **quick)
    assert done.returncode == 0, done.stderr
    study = StudyDirectory(tmp_path / "results" / "mine")
    facts = study.read_study()["data"]
    assert (facts["class_names"], facts["train_images"], facts["selection_images"], facts["test_images"]) == (
        list(kinds),
        57,
        15,
        18,
    )
    assert {len(row.probabilities) for row in study.predictions.read()} == {3}
    done = command("predict", study.path, root, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["summary"]["score"]["n"] == 90
    assert found["summary"]["score"]["class_names"] == list(kinds)
    assert len(found["summary"]["score"]["confusion"]) == 3
