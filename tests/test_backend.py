"""Threads of a process, as TensorFlow itself reports and uses them."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
