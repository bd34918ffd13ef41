"""A loaded model as a TensorFlow SavedModel, proven to give what Keras gives."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np

from catdog_ray.errors import UserError

TOLERANCE = 1e-4
"""How far the two may differ in a probability: kernels may be fused otherwise."""


class ExportError(UserError):
    """The SavedModel cannot be written, or does not agree with the model it was made of."""


def save(network: keras.Model, folder: Path, sample: np.ndarray) -> float:
    """Write `folder` (which must not exist yet) and return the largest difference on `sample`.

    `sample` is (n, size, size, 3) float32 in [0, 1], as the SavedModel's `serve` takes it. Nothing is left where it
    fails or differs by more than `TOLERANCE`. Raises ExportError.
    """
    if keras.backend.backend() == "torch":
        raise ExportError("--export needs Keras on TensorFlow or JAX, this is torch; set KERAS_BACKEND=tensorflow")
    if folder.exists():
        raise ExportError(f"--export: {folder} is there already; name a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.part-", dir=folder.parent))
    except OSError as error:
        raise ExportError(f"--export: {folder.parent} cannot be written ({error.strerror}); name another") from None
    try:
        network.export(str(partial / "model"), format="tf_saved_model", verbose=False)
        difference = _difference(network, partial / "model", sample)
        if not difference <= TOLERANCE:
            raise ExportError(f"--export: the SavedModel differs from Keras by {difference:g} in a probability")
        os.replace(partial / "model", folder)  # noqa: PTH105 - one step, and no other process's folder is overwritten
        return difference
    except OSError as error:
        raise ExportError(f"--export: {folder} cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _difference(network: keras.Model, folder: Path, sample: np.ndarray) -> float:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    served = loaded.serve(tf.constant(sample)).numpy()
    expected = network.predict(sample, verbose=0)
    return float(np.max(np.abs(served - expected)))
