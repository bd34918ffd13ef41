"""Fit one model, one `EpochRow` per epoch; checkpoint, resume. Knows no Ray and no tuner."""

from __future__ import annotations

import io
import math
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from catdog_ray import augment, backend, evaluation, model
from catdog_ray.data import Images
from catdog_ray.files import replace_file
from catdog_ray.records import EpochRow, finite_or_none
from catdog_ray.settings import BATCH_SIZE, JIT_COMPILE, FitSettings
from catdog_ray.space import HyperParameters

OnEpoch = Callable[[EpochRow, keras.Model], None]


class Diverged(Exception):
    """The loss is no longer finite. `epochs` were finished before."""

    def __init__(self, loss: float, epochs: int) -> None:
        super().__init__(f"the loss became {loss} in epoch {epochs + 1}")
        self.epochs = epochs


class CheckpointError(Exception):
    """A checkpoint file is damaged or belongs to another model."""


def fit(
    hyperparameters: HyperParameters,
    train: Images,
    selection: Images,
    *,
    settings: FitSettings,
    epochs: int,
    seed: int,
    on_epoch: OnEpoch | None = None,
    resume_from: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Train for `epochs` in all and return the model; `on_epoch(row, model)` is called after each epoch.

    The hyperparameter `batch_size`, where there is one, stands in for the setting.

    With `resume_from` (a file written by `save_checkpoint`) it goes on after that checkpoint's epoch and gives the
    rows that an uninterrupted run gives. `callbacks` are those of another library; they run after `on_epoch`. Raises
    Diverged as soon as the loss is not finite.
    """
    # With its garbage collection: a worker that is used again would keep the last models for long.
    keras.utils.clear_session(free_memory=True)
    keras.utils.set_random_seed(seed)
    # Set every time: the process may have been another study's worker.
    keras.config.set_dtype_policy(settings.train.precision)
    batch_size = int(hyperparameters.number(BATCH_SIZE, settings.train.batch_size))
    steps = math.ceil(len(train.labels) / batch_size)
    network = model.build(
        hyperparameters,
        settings.model,
        image_size=train.pixels.shape[1],
        classes=len(train.class_names),
        jit_compile=JIT_COMPILE[settings.train.jit_compile],
        recipe=model.Recipe.of(settings.train, steps=epochs * steps),
    )
    own_scores = settings.train.test_time_flip or evaluation.keeps_average(network)
    first = load_checkpoint(resume_from, network) if resume_from is not None else 0
    batches = augment.training_batches(train, settings.augment, batch_size=batch_size, seed=seed, first_epoch=first)
    if first < epochs:
        network.fit(
            backend.feed(batches, image_shape=train.pixels.shape[1:]),
            steps_per_epoch=steps,
            initial_epoch=first,
            epochs=epochs,
            shuffle=False,
            # Keras' own validation reuses its iterator, and knows neither averaged weights nor mirrored images.
            validation_data=None if own_scores else evaluation.rescaled_batches(selection),
            callbacks=[
                _Reporter(seed, on_epoch, selection if own_scores else None, flip=settings.train.test_time_flip),
                *callbacks,
            ],
            verbose=0,
        )
    return network


def save_checkpoint(path: Path, network: keras.Model, *, epoch: int) -> None:
    """Write weights, optimizer variables and the number of finished epochs to one .npz file, in one step."""
    arrays = {f"w{i}": np.asarray(keras.ops.convert_to_numpy(v)) for i, v in enumerate(network.weights)}
    arrays |= {f"o{i}": np.asarray(keras.ops.convert_to_numpy(v)) for i, v in enumerate(network.optimizer.variables)}
    content = io.BytesIO()
    np.savez(content, epoch=np.int64(epoch), **arrays)  # type: ignore[arg-type]
    replace_file(path, content.getvalue())


def checkpoint_epoch(path: Path) -> int:
    """The number of finished epochs in a checkpoint; CheckpointError where the file is missing or damaged."""
    try:
        # Opened here, because np.load leaves a file that is no archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if stored.zip.testzip() is not None:
                raise CheckpointError(f"{path}: damaged")
            return int(stored["epoch"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


def load_checkpoint(path: Path, network: keras.Model) -> int:
    """Put a checkpoint into a freshly built model; returns its finished epochs. Raises CheckpointError."""
    epoch = checkpoint_epoch(path)
    with np.load(path, allow_pickle=False) as stored:
        for prefix, variables in (("w", network.weights), ("o", network.optimizer.variables)):
            for index, variable in enumerate(variables):
                name = f"{prefix}{index}"
                if name not in stored or stored[name].shape != tuple(variable.shape):
                    raise CheckpointError(f"{path}: is of another model ({variable.path} does not fit)")
                variable.assign(stored[name])
    return epoch


def _seed_generators(network: keras.Model) -> list[Any]:
    """Those of all layers that draw, such as dropout, noise and random flips, however deep inside others."""
    # Keras' own walk: `layers` stops at what is inside a layer.
    layers = network._flatten_layers(include_self=False)
    return [
        value for layer in layers for value in vars(layer).values() if isinstance(value, keras.random.SeedGenerator)
    ]


class _Reporter(keras.callbacks.Callback):  # type: ignore[misc]
    """Reseeds layers that draw at the start of every epoch, watches the loss, and hands out one row per epoch.

    Scores `selection` itself where it is given, with `flip`; otherwise Keras has validated.
    """

    async_safe = True
    """Keras then reads the loss of a step in a thread, where its backend allows that (JAX and PyTorch). Else it waits
    for the device after every step, because a callback has `on_train_batch_end`, whatever that does with the loss."""

    def __init__(self, seed: int, on_epoch: OnEpoch | None, selection: Images | None, *, flip: bool) -> None:
        super().__init__()
        self._seed, self._on_epoch = seed, on_epoch
        self._selection, self._flip = selection, flip
        self._epoch, self._started = 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch, self._started = epoch, time.perf_counter()
        for index, generator in enumerate(_seed_generators(self.model)):
            # Their state is in no checkpoint; derived from (seed, epoch) it needs no saving.
            state = np.random.SeedSequence([self._seed, epoch, index]).generate_state(2)
            generator.state.assign(state.astype("uint32"))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch == 0 and keras.backend.backend() == "torch":
            # There a dropout layer without a seed of its own draws from PyTorch's generator instead, and so does Keras
            # at the start of a run.
            keras.utils.set_random_seed(int(np.random.SeedSequence([self._seed, self._epoch]).generate_state(1)[0]))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # Raised in a thread, it comes out of a later step, or of the epoch's end.
        if logs:
            self._require_finite(float(logs["loss"]))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        scores = logs or {}
        self._require_finite(float(scores["loss"]))
        if self._selection is None:
            held_out = float(scores["val_loss"]), float(scores["val_accuracy"])
        else:
            held_out = evaluation.evaluate(self.model, self._selection, flip=self._flip)
        row = EpochRow(
            epoch=epoch + 1,
            train_loss=float(scores["loss"]),
            train_accuracy=float(scores["accuracy"]),
            selection_loss=finite_or_none(held_out[0]),
            selection_accuracy=held_out[1],
            seconds=time.perf_counter() - self._started,
        )
        if self._on_epoch is not None:
            self._on_epoch(row, self.model)

    def _require_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise Diverged(loss, epochs=self._epoch)
