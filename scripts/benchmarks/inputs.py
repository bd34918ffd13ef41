"""The input path: the fused kernel against `ImageDataGenerator`, and augmented training against plain `model.fit`."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from functools import partial
from typing import Any

from benchmarks.measure import Measurement, Row, in_turn

THREADS = 2
BASELINE = {"learning_rate": 1e-3, "dropout_rate": 0.5, "conv_filters": 32, "conv_kernel": 3, "dense_units": 512}
"""The guide's network at its own width."""

DIFFERENT = 320


def augmentation(size: int, *, quick: bool) -> Measurement:
    """Images per second through whole training batches of 32, shuffling and drawing included."""
    _prepare()
    from catdog_ray import augment, config

    settings = config.load("cpu.yaml").augment
    data = drawn_images(256, size=size)

    def rate(kernel: str, batches: int) -> float:
        chosen = dataclasses.replace(settings, kernel=kernel)
        stream = augment.training_batches(data, chosen, batch_size=32, seed=0, first_epoch=0)
        started = time.perf_counter()
        for batch, _ in itertools.islice(stream, batches):
            _finished(batch)
        return 32 * batches / (time.perf_counter() - started)

    repetitions, batches = (3, 8) if quick else (7 if _is_on_gpu() else 15, 16)
    found = in_turn(
        lambda: rate("fused", 4 * batches), lambda: rate("imagedatagenerator", batches), repetitions=repetitions
    )
    return dataclasses.replace(found, details={"image_size": size, "batch_size": 32, **_place()})


def training(size: int, *, quick: bool) -> Measurement:
    """Seconds an epoch: `train.fit` augmented, and Keras' `fit` on the same images held as floats; none validated."""
    _prepare()
    import keras

    from catdog_ray import config, model, train, warp
    from catdog_ray.space import HyperParameters

    settings = config.load("cpu.yaml")
    count = _image_count(quick=quick)
    data, few = drawn_images(count, size=size), drawn_images(20, size=size)
    point = HyperParameters.of(BASELINE)
    options = settings.fit
    floats = warp.rescale(data.pixels)

    def augmented() -> float:
        rows: list[Any] = []
        train.fit(point, data, few, settings=options, epochs=3, seed=0, on_epoch=lambda row, _: rows.append(row))
        return statistics.median(row.seconds for row in rows[1:])

    def plain() -> float:
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        network = model.build(point, settings.model, image_size=size, classes=2)
        clock = _EpochClock()
        network.fit(
            floats,
            data.labels,
            batch_size=settings.train.batch_size,
            epochs=3,
            shuffle=True,
            verbose=0,
            validation_data=(warp.rescale(few.pixels), few.labels),
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=clock.begin, on_epoch_end=clock.end)],
        )
        return statistics.median(clock.seconds[1:])

    found = in_turn(augmented, plain, repetitions=3 if quick else 4 if _is_on_gpu() else 9)
    return dataclasses.replace(found, details={"image_size": size, "images": count, "epochs_timed": 2, **_place()})


def with_setting(size: int, setting: dict[str, Any], *, quick: bool) -> Measurement:
    """Seconds an epoch of `train.fit` with one setting of `train` changed, over the shipped ones."""
    _prepare()
    from catdog_ray import config, train
    from catdog_ray.space import HyperParameters

    settings = config.load("cpu.yaml")
    count = _image_count(quick=quick)
    data, few = drawn_images(count, size=size), drawn_images(20, size=size)
    point = HyperParameters.of(BASELINE)

    def epoch(chosen: Any) -> float:
        rows: list[Any] = []
        options = dataclasses.replace(settings.fit, train=chosen)
        train.fit(point, data, few, settings=options, epochs=3, seed=0, on_epoch=lambda row, _: rows.append(row))
        return statistics.median(row.seconds for row in rows[1:])

    changed = dataclasses.replace(settings.train, **setting)
    repetitions = 2 if quick else 3 if _is_on_gpu() else 5
    found = in_turn(lambda: epoch(changed), lambda: epoch(settings.train), repetitions=repetitions)
    return dataclasses.replace(found, details={"image_size": size, "images": count, **setting, **_place()})


class _EpochClock:
    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._started = 0.0

    def begin(self, epoch: int, logs: Any) -> None:
        self._started = time.perf_counter()

    def end(self, epoch: int, logs: Any) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def drawn_images(count: int, *, size: int) -> Any:
    """Pictures of the built-in data; large ones take long to draw, so beyond `DIFFERENT` they come again."""
    import numpy as np

    from catdog_ray import drawn
    from catdog_ray.data import Images

    pixels, labels = drawn.draw(min(count, DIFFERENT), size=size, seed=0)
    again = np.arange(count) % DIFFERENT
    return Images(
        pixels[again], labels[again].astype(np.int32), tuple(map(str, range(count))), tuple(drawn.CLASS_NAMES)
    )


def _prepare() -> None:
    from catdog_ray import backend

    backend.prepare(threads=THREADS)


def _place() -> dict[str, Any]:
    import keras

    device = "gpu" if _is_on_gpu() else "cpu"
    return {"backend": keras.backend.backend(), "device": device, "threads": THREADS}


def _image_count(*, quick: bool) -> int:
    """Of an epoch; a GPU is done with few too soon to be timed."""
    return (320 if quick else 960) * (4 if _is_on_gpu() else 1)


def _is_on_gpu() -> bool:
    import keras

    devices = keras.distribution.list_devices() if keras.backend.backend() != "torch" else _torch_devices()
    return any("gpu" in device.lower() or "cuda" in device.lower() for device in devices)


def _torch_devices() -> list[str]:
    import torch

    return ["cuda"] if torch.cuda.is_available() else ["cpu"]


def _finished(batch: Any) -> None:
    """Wait until a device has computed it: copying it would time the copy too."""
    if hasattr(batch, "block_until_ready"):
        batch.block_until_ready()
    elif hasattr(batch, "is_cuda") and batch.is_cuda:
        import torch

        torch.cuda.synchronize()


ROWS = [
    *(
        Row(
            name=f"augmentation-{size}",
            item=1,
            words=f"augmentation at {size} px: fused kernel over ImageDataGenerator",
            unit="images/s",
            bound=6.0 if size == 150 else None,
            at_least=True,
            needs="cpu",
            measure=partial(augmentation, size),
        )
        for size in (32, 64, 150)
    ),
    Row(
        name="epoch-64",
        item=2,
        words="epoch at 64 px: augmented over plain model.fit on floats in memory",
        unit="s",
        bound=1.10,
        at_least=False,
        needs="cpu",
        measure=partial(training, 64),
    ),
    *(
        Row(
            name=f"{prefix}{name}-{size}",
            item=8,
            words=f"epoch at {size} px{' on a GPU' if prefix else ''}: {words}",
            unit="s",
            bound=None,
            at_least=False,
            needs="gpu" if prefix else "cpu",
            measure=partial(with_setting, size, setting),
        )
        for name, words, setting, places in (
            (
                "precision",
                "mixed_bfloat16 over float32",
                {"precision": "mixed_bfloat16"},
                (("", 64), ("", 150), ("gpu-", 150)),
            ),
            ("xla", "XLA always over auto", {"jit_compile": "always"}, (("", 64), ("gpu-", 150))),
        )
        for prefix, size in places
    ),
    Row(
        name="gpu-augmentation-150",
        item=1,
        words="augmentation at 150 px on a GPU: fused kernel over ImageDataGenerator",
        unit="images/s",
        bound=6.0,
        at_least=True,
        needs="gpu",
        measure=partial(augmentation, 150),
    ),
    Row(
        name="gpu-epoch-150",
        item=2,
        words="epoch at 150 px on a GPU: augmented over plain model.fit on floats in memory",
        unit="s",
        bound=1.25,
        at_least=False,
        needs="gpu",
        measure=partial(training, 150),
    ),
]
