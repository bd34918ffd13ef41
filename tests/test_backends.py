"""Keras on JAX or PyTorch, where installed: the same pixels and a short training, in a process of its own.

All else is tested on TensorFlow.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
from catdog_ray import backend
name = backend.prepare(threads=1)
import keras, numpy as np
from small import POINT, images, quick_config
from catdog_ray import augment, evaluation, train, warp
config = quick_config()
data = images(96)
generator = augment.image_data_generator(config.augment)
transforms = augment.draw(generator, 9, seed=0, epoch=0)
warper = warp.Warper(data.pixels[:9], batch_size=16)
found = warper(np.arange(9), warp.matrices(transforms, height=16, width=16))
pixels = keras.ops.convert_to_numpy(found)
expected = augment.apply(generator, data.pixels[:9], transforms)
warp._computes_on_a_gpu = lambda: True
resident = keras.ops.convert_to_numpy(warp.Warper(data.pixels, batch_size=16)(
    np.arange(9), warp.matrices(transforms, height=16, width=16)))
assert abs(resident - pixels).max() < 1e-6
import threading
reading = set()
require_finite = train._Reporter._require_finite
def noted(reporter, loss):
    reading.add(threading.current_thread() is threading.main_thread())
    require_finite(reporter, loss)
train._Reporter._require_finite = noted
rows = []
settings = train.FitSettings(config.model, None, config.train)
point = POINT.of({**POINT, "dropout_rate": 0.1, "learning_rate": 3e-3})
def on_epoch(row, network):
    rows.append([row.train_loss, row.selection_accuracy])
    if row.epoch == 4:
        train.save_checkpoint(folder / "checkpoint.npz", network, epoch=4)
from pathlib import Path
folder = Path(sys.argv[1])
network = train.fit(point, data, images(48, seed=1), settings=settings, epochs=12, seed=0, on_epoch=on_epoch)
resumed = []
train.fit(point, data, images(48, seed=1), settings=settings, epochs=6, seed=0,
    on_epoch=lambda row, _: resumed.append([row.train_loss, row.selection_accuracy]),
    resume_from=folder / "checkpoint.npz")
augmented = []
train.fit(POINT, data, images(24, seed=1), settings=train.FitSettings(config.model, config.augment, config.train),
    epochs=2, seed=0, on_epoch=lambda row, _: augmented.append(row.train_loss))
diverged = None
try:
    train.fit(point.of({**point, "learning_rate": 1e18}), data, images(24, seed=1), settings=settings, epochs=9, seed=0)
except train.Diverged as error:
    diverged = [str(error), error.epochs]
import dataclasses
averaged, again = [], []
recipe = dataclasses.replace(config.train, ema_momentum=0.9, test_time_flip=True, learning_rate_schedule="cosine")
def at_end(row, network):
    averaged.append([row.train_loss, row.selection_loss])
    again.append(evaluation.evaluate(network, images(48, seed=1), flip=True)[0])
    evaluation.evaluate(network, data)
train.fit(point, data, images(48, seed=1), settings=train.FitSettings(config.model, config.augment, recipe),
    epochs=3, seed=0, on_epoch=at_end)
print(json.dumps({"reading": sorted(reading), "diverged": diverged, "averaged": averaged, "again": again,
    "backend": name, "worst": float(abs(pixels - expected).max() * 255), "rows": rows,
    "resumed": resumed, "augmented": augmented, "probabilities": evaluation.predict(network, images(9)).tolist()}))
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_short_training_on_each_backend(backend: str, tmp_path: Path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["backend"] == backend
    assert found["worst"] < 0.05  # grey levels of 255
    assert found["rows"][-1][0] < 0.6 < found["rows"][0][0] + 0.1
    assert found["rows"][-1][1] > 0.8
    for resumed, whole in zip(found["resumed"], found["rows"][4:6], strict=True):
        assert resumed == pytest.approx(whole, abs=1e-4)
    assert len(found["augmented"]) == 2
    # The main thread reads the loss of an epoch; that of a step is read while the next ones are under way.
    assert found["reading"] == [False, True]
    message, epochs = found["diverged"]
    assert message in (f"the loss became nan in epoch {epochs + 1}", f"the loss became inf in epoch {epochs + 1}")
    assert epochs < 5
    assert [row[1] for row in found["averaged"]] == pytest.approx(found["again"], abs=1e-6)
    assert found["averaged"][2][0] < found["averaged"][0][0]
    assert [sum(row) for row in found["probabilities"]] == pytest.approx([1.0] * 9, abs=1e-5)
