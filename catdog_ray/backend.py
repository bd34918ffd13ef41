"""The process's numerical backend (TensorFlow, JAX, PyTorch, whichever Keras runs on): threads, GPU memory, feeding."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

_BATCHES_AHEAD = 2
"""Made while the one before is being computed with."""


def prepare(*, threads: int) -> str:
    """Limit this process to `threads` CPU threads and let GPU memory grow; returns the backend's name.

    Call before the first tensor operation: later, TensorFlow refuses (and is left as it is), for a process that
    is used again was prepared already.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    # XLA's CPU client, and so JAX, sizes its thread pools by this.
    os.environ["PJRT_NPROC"] = str(threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import keras

    name: str = keras.backend.backend()
    if name == "tensorflow":
        _prepare_tensorflow(threads)
    elif name == "torch":
        import torch

        torch.set_num_threads(threads)
    return name


def forget_models() -> None:
    """Let go of models that this process trained and no longer has; call it between two trials of a worker.

    TensorFlow keeps the graph of every training step it has traced, some 6 MB each: the sum of gradients over replicas
    is a `custom_gradient`, each trace of which is registered under a name of its own, in a registry that nothing
    empties (measured with 2.21; `scripts/benchmark.py --only worker-memory`). A model that is still in use must not
    be differentiated through afterwards.
    """
    if "tensorflow" not in sys.modules:
        return
    from tensorflow.python.framework import ops

    # Private, so it may be gone in another release, which then keeps its memory.
    registry = getattr(getattr(ops, "gradient_registry", None), "_registry", {})
    for name in [name for name in registry if name.startswith("CustomGradient-")]:
        del registry[name]


def feed(batches: Iterable[Any], *, image_shape: tuple[int, ...]) -> Any:
    """Batches of images (n, *image_shape) float32 and labels (n,) int32, as Keras' methods take them.

    On TensorFlow a `tf.data.Dataset` without autotuning. The one that Keras makes of a generator is autotuned, and the
    end of its iterator waits for a thread that wakes after 10 ms, 20 ms, 40 ms, ... up to a minute, and only then sees
    that all is over: an evaluation took up to twice its time, and a re-used worker idled for up to the length of its
    last trial (TensorFlow 2.21, no issue of which is known; `scripts/benchmark.py --only turnaround-long`).
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    signature = (tf.TensorSpec((None, *image_shape), tf.float32), tf.TensorSpec((None,), tf.int32))
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)
    if isinstance(batches, Sized):
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    return dataset.prefetch(_BATCHES_AHEAD).with_options(options)


@contextmanager
def hidden_start() -> Iterator[None]:
    """Drop what native code writes to stderr in the block: TensorFlow 2.21 tells of its start-up whatever
    TF_CPP_MIN_LOG_LEVEL says. Errors are exceptions and come through.
    """
    if sys.stderr is None:  # closed by whoever started us
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _prepare_tensorflow(threads: int) -> None:
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)
    except RuntimeError:
        # Already initialised; with the same limits when a worker is used again.
        pass
