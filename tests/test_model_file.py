"""Model files: ours are loaded and predict the same; what could run code, read files or fill the memory is refused."""

from __future__ import annotations

import functools
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from hostile import cases, files_below, survived
from hypothesis import given
from hypothesis import strategies as st
from make_models import changed_config, layer, own_network, packed, write_model
from small import images
from test_hostile import changes, json_values

from catdog_ray import evaluation, model_file
from catdog_ray.model_file import ModelFileError


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.keras")


def refusal(path: Path, *, size: int = 16, classes: int = 2) -> str:
    with pytest.raises(ModelFileError) as caught:
        model_file.load(path, image_size=size, classes=classes)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("write", [write_model, own_network])
def test_a_loaded_model_predicts_what_it_did(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path / "model.keras")
    found = model_file.load(path, image_size=16, classes=2)
    expected = keras.models.load_model(path, compile=False)
    np.testing.assert_allclose(evaluation.predict(found, images(9)), evaluation.predict(expected, images(9)), atol=1e-6)


def test_a_model_of_another_study(good: Path) -> None:
    assert refusal(good, size=24) == (
        "is of another study, it takes (None, 16, 16, 3) and gives (None, 2), expected (None, 24, 24, 3) and (None, 2)"
    )
    assert refusal(good, classes=3).startswith("is of another study")


def test_no_model_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "model.keras") == "there is no model; retrain the study first"
    (tmp_path / "model.keras").write_bytes(b"hello")
    assert refusal(tmp_path / "model.keras").startswith("is no model file (File is not a zip file)")


def marshalled(marker: Path) -> dict[str, Any]:
    """A lambda as Keras writes it, which would leave a file behind if it ran."""
    code = f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]"
    config: dict[str, Any] = keras.saving.serialize_keras_object(keras.layers.Lambda(eval(code)))
    return config


ENEMIES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "lambda layer": lambda marker: marshalled(marker),
    "lambda as activation": lambda marker: layer(
        "Activation",
        activation={"class_name": "__lambda__", "config": marshalled(marker)["config"]["function"]["config"]},
    ),
    "function of another module": lambda marker: layer(
        "Activation",
        activation={"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
    ),
    "class of another module": lambda marker: layer("Popen", module="subprocess", args=["touch", str(marker)]),
    "a module of ours": lambda marker: layer("Images", module="catdog_ray.data"),
    "inside Keras": lambda marker: layer("get_file", module="keras.utils", origin="http://127.0.0.1:9/x"),
    "a private module of Keras": lambda marker: layer("Dense", module="keras.src.layers.core.dense", units=2),
    "registered": lambda marker: layer("Dense", registered="mine>Dense", units=2),
    "registered without a class": lambda marker: {"registered_name": "mine>Dense", "config": {}},
    "a SavedModel": lambda marker: layer("TFSMLayer", filepath="/tmp"),
    "PyTorch's pickles": lambda marker: layer("TorchModuleWrapper", module="keras.layers"),
    "a layer that reads files": lambda marker: layer("TextVectorization", vocabulary="/etc/passwd"),
    "a wrapper": lambda marker: layer("TimeDistributed", layer=layer("Lambda")),
    "a type": lambda marker: {
        "class_name": "__typespec__",
        "spec_name": "TensorSpec",
        "module": "tensorflow",
        "config": [],
    },
    "bytes": lambda marker: {"class_name": "__bytes__", "config": {"value": "x"}},
    "a class that is a list": lambda marker: {"class_name": ["Dense"], "module": "keras.layers", "config": {}},
}


@pytest.mark.parametrize("kind", ENEMIES)
def test_what_could_run_code_is_refused(kind: str, good: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    def put_in(config: dict[str, Any]) -> None:
        config["config"]["layers"].insert(1, ENEMIES[kind](marker))

    path = changed_config(good, tmp_path / "model.keras", put_in)
    before = set(sys.modules)
    text = refusal(path)
    assert text.startswith("refused, config.config.layers[1]")
    assert "which is none of the built-in layers that predict loads" in text
    assert not marker.exists()
    assert not {name for name in set(sys.modules) - before if not name.startswith(("keras", "tensorflow"))}
    survived("model files, code", lambda: model_file.load(path, image_size=16, classes=2))


def test_code_in_the_compile_config_is_not_even_looked_at(good: Path, tmp_path: Path) -> None:
    def put_in(config: dict[str, Any]) -> None:
        config["compile_config"]["loss"] = marshalled(tmp_path / "marker")

    path = changed_config(good, tmp_path / "model.keras", put_in)
    assert model_file.load(path, image_size=16, classes=2).output_shape == (None, 2)
    assert not (tmp_path / "marker").exists()


def huge(config: dict[str, Any]) -> None:
    layers = config["config"]["layers"]
    layers[1:] = [layer("Flatten"), layer("Dense", units=10**9), layer("Dense", units=2)]


def wide(config: dict[str, Any]) -> None:
    config["config"]["layers"][1:1] = [
        layer("UpSampling2D", size=[4096, 4096]),
        layer("AveragePooling2D", pool_size=4096),
    ]


def padded(config: dict[str, Any]) -> None:
    config["config"]["layers"][1:1] = [layer("ZeroPadding2D", padding=10**6), layer("Cropping2D", cropping=10**6)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [(huge, "refused, its layers need "), (wide, "refused, its layer 'up_"), (padded, "refused, its layer 'zero_")],
)
def test_a_small_file_cannot_ask_for_any_memory(
    change: Callable[[dict[str, Any]], None], expected: str, good: Path, tmp_path: Path
) -> None:
    assert refusal(changed_config(good, tmp_path / "model.keras", change)).startswith(expected)


@pytest.mark.parametrize(("filters", "refused"), [(64, 0), (65, 1)])
def test_large_pictures_may_have_64_numbers_for_each_pixel(filters: int, refused: int) -> None:
    network = keras.Sequential(
        [
            keras.Input((640, 640, 3)),
            keras.layers.Conv2D(filters, 3, padding="same"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    assert len(model_file.strangers(network)) == refused


def parts_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def test_archives_that_are_not_as_keras_writes_them(good: Path, tmp_path: Path) -> None:
    parts, path = parts_of(good), tmp_path / "model.keras"
    assert refusal(packed(path, parts, zipfile.ZIP_DEFLATED)).startswith("refused, its metadata.json is packed")
    assert refusal(packed(path, {**parts, "assets/../../x": b"x"})).startswith("refused, a model of ours holds ")
    assert refusal(packed(path, {k: v for k, v in parts.items() if "h5" not in k})).startswith("refused, a model of")
    assert refusal(packed(path, {**parts, "config.json": b" " * (5 * 2**20)})).startswith("refused, its config.json is")
    assert refusal(packed(path, {**parts, "config.json": b"[" * 100_000})).startswith("is no model file (maximum recur")
    assert refusal(packed(path, {**parts, "config.json": b"[]"})).startswith("is no model file (its config.json is no")
    content = good.read_bytes()
    at = content.index(b"\x89HDF") + 2000
    path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
    assert refusal(path).startswith("damaged, its model.weights.h5 has a wrong checksum")
    path.write_bytes(content[: len(content) // 2])
    assert refusal(path).startswith("is no model file")


def test_an_entry_that_says_it_is_larger_than_it_is(good: Path, tmp_path: Path) -> None:
    """The size in the archive's directory bounds what a network may need, and whoever made the file wrote it."""
    content = bytearray(good.read_bytes())
    place = content.rindex(b"model.weights.h5")  # in the directory, whose entry begins 46 bytes before the name
    assert content[place - 46 : place - 42] == b"PK\x01\x02"
    content[place - 22 : place - 18] = (4_000_000_000).to_bytes(4, "little")
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    assert refusal(path).startswith("refused, its model.weights.h5 says it holds 4,000,000,000 bytes and takes ")


def test_weights_that_lie_elsewhere(good: Path, tmp_path: Path) -> None:
    """HDF5 can point into any other file of the machine."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"\x00" * 4096)
    content = io.BytesIO(parts_of(good)["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        place = file["layers/conv2d/vars"]
        shape = place["0"].shape
        del place["0"]
        place.create_dataset("0", shape, "f4", external=[(str(secret), 0, 4096)])
    path = packed(tmp_path / "model.keras", {**parts_of(good), "model.weights.h5": content.getvalue()})
    assert refusal(path).startswith("Keras cannot load it (")


@functools.cache
def good_parts() -> tuple[tuple[str, bytes], ...]:
    with tempfile.TemporaryDirectory() as folder:
        return tuple(parts_of(write_model(Path(folder) / "model.keras")).items())


def load_parts(parts: dict[str, bytes]) -> None:
    """Load in a folder of its own; nothing is left there."""
    with tempfile.TemporaryDirectory() as folder:
        path = packed(Path(folder) / "model.keras", parts)
        try:
            model_file.load(path, image_size=16, classes=2)
        finally:
            assert files_below(Path(folder)) == {"model.keras"}


@cases(40)
@given(change=changes())
def test_damaged_model_files(change: Callable[[bytes], bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = packed(Path(folder) / "model.keras", dict(good_parts()))
        path.write_bytes(change(path.read_bytes()))
        survived("model files, damaged", lambda: model_file.load(path, image_size=16, classes=2))


@pytest.mark.slow
@cases(40)
@given(change=changes())
def test_damaged_weights_with_a_right_checksum(change: Callable[[bytes], bytes]) -> None:
    parts = dict(good_parts())
    parts["model.weights.h5"] = change(parts["model.weights.h5"])
    survived("model files, weights", lambda: load_parts(parts))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON tree."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [(value, key) for key, _ in pairs] + [found for _, item in pairs for found in places(item)]


@cases(60)
@given(place=st.integers(0, 10**6), value=json_values)
def test_model_configs_with_any_value(place: int, value: Any) -> None:
    parts = dict(good_parts())
    config = json.loads(parts["config.json"])
    found = places(config)
    container, key = found[place % len(found)]
    container[key] = value
    parts["config.json"] = json.dumps(config).encode()
    survived("model files, any value in the config", lambda: load_parts(parts))
