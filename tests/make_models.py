"""Small trained studies with a model, and model files with any config."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from make_rows import retrain_row, write_study
from small import POINT, images, quick_config

from catdog_ray import model, train
from catdog_ray.space import HyperParameters

CLASSES = ("cats", "dogs")


def write_model(path: Path, *, size: int = 16, classes: int = 2) -> Path:
    """An untrained network of the built-in kind."""
    model.build(POINT, quick_config().model, image_size=size, classes=classes).save(path)
    return path


def trained_study(folder: Path) -> Path:
    """A study of 16-pixel pictures of `small.images`, whose model tells the two classes apart nearly always."""
    config = quick_config()
    data = {"name": "pets", "drawn": False, "fingerprint": "0", "class_names": list(CLASSES)}
    rows = [retrain_row("trial-0001", 0, 20, test_accuracy=0.95, test_images=48)]
    write_study(folder, config, data=data, retrain=rows)
    point = HyperParameters.of({**POINT, "dropout_rate": 0.0, "learning_rate": 3e-3})
    settings = train.FitSettings(config.model, None, config.train)
    network = train.fit(point, images(96), images(48, seed=1), settings=settings, epochs=20, seed=0)
    network.save(folder / "model.keras")
    (folder / "model.json").write_text(json.dumps({"configuration": "trial-0001", "seed": 0, "epochs": 20}))
    return folder


def changed_config(source: Path, to: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of a model file with another config.json; `change` edits it in place or returns another."""
    with zipfile.ZipFile(source) as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    config = json.loads(parts["config.json"])
    changed = change(config)
    parts["config.json"] = json.dumps(config if changed is None else changed).encode()
    return packed(to, parts)


def packed(to: Path, parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip archive of these entries."""
    with zipfile.ZipFile(to, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return to


def layer(
    name: str, /, *, module: str = "keras.layers", registered: str | None = None, **config: Any
) -> dict[str, Any]:
    """One serialized layer."""
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


def own_network(path: Path) -> Path:
    """A functional network with the layers that people use, all of them built in."""
    inputs = keras.Input((16, 16, 3))
    hidden = keras.layers.Rescaling(2.0, -1.0)(inputs)
    hidden = keras.layers.RandomFlip()(hidden)
    hidden = keras.layers.SeparableConv2D(4, 3, padding="same", pointwise_regularizer="l2")(hidden)
    hidden = keras.layers.BatchNormalization()(hidden)
    hidden = keras.layers.Add()([hidden, keras.layers.LeakyReLU()(hidden)]) + hidden
    hidden = keras.layers.GlobalAveragePooling2D()(keras.ops.relu(hidden))
    keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(hidden)).save(path)
    return path
