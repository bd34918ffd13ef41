"""Threads of a process, as TensorFlow itself reports and uses them; what Keras is fed."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from catdog_ray import backend

PROGRAM = """
from catdog_ray import backend
name = backend.prepare(threads=1)
assert backend.prepare(threads=1) == name
import keras, os, time
import numpy as np
import tensorflow as tf
threading = tf.config.threading
print(name, threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())
a = keras.ops.ones((1500, 1500))
keras.ops.matmul(a, a)
wall, cpu = time.perf_counter(), time.process_time()
for _ in range(12):
    keras.ops.convert_to_numpy(keras.ops.matmul(a, a))
print((time.process_time() - cpu) / (time.perf_counter() - wall))
assert backend.prepare(threads=1) == name  # after the first operation, as in a worker that is used again
"""


@pytest.mark.slow
def test_a_process_keeps_to_its_threads():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "tensorflow 1 1"
    assert float(second) < 1.2  # CPU seconds per second of wall-clock: one thread computes


@pytest.mark.slow
def test_what_keras_is_fed_is_not_autotuned():
    sizes = (5, 5, 2)
    batches = [(np.full((n, 4, 6, 3), i, np.float32), np.full(n, i, np.int32)) for i, n in enumerate(sizes)]
    found = backend.feed(batches, image_shape=(4, 6, 3))
    # The end of an autotuned iterator waits for a thread that sleeps for up to a minute.
    assert found.options().autotune.enabled is False
    assert int(found.cardinality()) == 3
    for (images, labels), (x, y) in zip(found.as_numpy_iterator(), batches, strict=True):
        np.testing.assert_array_equal(images, x)
        np.testing.assert_array_equal(labels, y)
    # One without an end, as training is fed: Keras counts its steps.
    endless = backend.feed(itertools.cycle(batches), image_shape=(4, 6, 3))
    assert [len(y) for _, y in itertools.islice(endless.as_numpy_iterator(), 7)] == [5, 5, 2, 5, 5, 2, 5]
    assert int(endless.cardinality()) < 0


def test_a_process_says_what_its_libraries_are_to_keep_to(monkeypatch: pytest.MonkeyPatch):
    """OpenMP and XLA on the CPU have threads of their own; what somebody set for GPUs and messages stays."""
    for name in ("OMP_NUM_THREADS", "PJRT_NPROC"):
        monkeypatch.setenv(name, "9")
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    prepared: list[int] = []
    monkeypatch.setattr(backend, "_prepare_tensorflow", prepared.append)
    assert backend.prepare(threads=3) == "tensorflow"
    assert prepared == [3]
    assert (os.environ["OMP_NUM_THREADS"], os.environ["PJRT_NPROC"]) == ("3", "3")
    assert (os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"], os.environ["TF_CPP_MIN_LOG_LEVEL"]) == ("true", "0")
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE")
    backend.prepare(threads=3)
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_what_native_code_says_at_its_start_is_dropped_and_later_words_are_not(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(RuntimeError), backend.hidden_start():
        os.write(2, b"TensorFlow starts")
        raise RuntimeError
    os.write(2, b"an error")
    assert capfd.readouterr().err == "an error"
    monkeypatch.setattr(sys, "stderr", None)  # closed by whoever started us
    with backend.hidden_start():
        pass


FORGETTING = """
import gc
from catdog_ray import backend
backend.prepare(threads=1)
import keras
from small import POINT, images, quick_config
from catdog_ray import train
from tensorflow.python.framework.func_graph import FuncGraph
config = quick_config()
settings = train.FitSettings(config.model, None, config.train)
def graphs():
    keras.utils.clear_session(free_memory=True)
    gc.collect()
    return sum(isinstance(found, FuncGraph) for found in gc.get_objects())
kept = []
for _ in range(3):
    train.fit(POINT, images(), images(24), settings=settings, epochs=1, seed=0)
    kept.append(graphs())
backend.forget_models()
print(*kept, graphs())
rows = []
train.fit(POINT, images(), images(24), settings=settings, epochs=2, seed=0, on_epoch=lambda row, _: rows.append(row))
assert len(rows) == 2
"""


@pytest.mark.slow
def test_a_worker_does_not_keep_the_graphs_of_earlier_trials():
    """The first figures show that there is something to forget: should TensorFlow mend it, this can go."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", FORGETTING], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    first, second, third, left = map(int, done.stdout.split())
    assert first < second < third
    assert left <= first
