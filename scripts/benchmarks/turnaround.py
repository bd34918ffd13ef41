"""Between two trials on one worker: ours against stock Ray Tune, and what a re-used worker keeps in memory.

Workers write (process, trial, event, time) lines; the gap is from the end of a trial's last epoch to the end of the
next trial's first training step on the same slot.
"""

from __future__ import annotations

import json
import logging
import os
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.measure import Measurement, Row

SIZE, TRAIN, SELECTION = 32, 320, 80
SHORT, LONG = 3, 40
"""Epochs of a trial. What a worker still has to end after a trial can grow with the trial's length."""

SPACE = {"conv_filters": (8, 12, 16), "conv_kernel": (3, 5), "dense_units": (128, 256, 512)}


@dataclass(frozen=True)
class Event:
    """Something that a worker did."""

    process: int
    trial: int
    name: str
    seconds: float
    memory_bytes: int


def points(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Random configurations of the quickstart's space: most need a network of another shape than the last."""
    draw = random.Random(seed)
    return [
        {
            "learning_rate": 10 ** draw.uniform(-4, -2.5),
            "dropout_rate": draw.uniform(0.0, 0.6),
            **{name: draw.choice(choices) for name, choices in SPACE.items()},
        }
        for _ in range(count)
    ]


def note(folder: str, trial: int, name: str) -> None:
    """Append one event; a short line written at once is whole."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    line = json.dumps([os.getpid(), trial, name, time.time(), resident]) + "\n"
    with (Path(folder) / f"{os.getpid()}.jsonl").open("a") as file:
        file.write(line)


def our_trial(parameters: Mapping[str, Any], *, folder: str, **arguments: Any) -> None:
    """`trial.run_trial`, with its first training step and its epochs noted."""
    number = parameters["number"]
    note(folder, number, "begin")
    from catdog_ray import backend, trial

    backend.prepare(threads=arguments["threads"])
    from catdog_ray import train

    noting = type("Noting", (_Noting, train._Reporter), {"folder": folder, "number": number})
    with mock.patch.object(train, "_Reporter", noting):
        trial.run_trial(parameters, **arguments)


class _Noting:
    folder: str
    number: int
    _seen = False

    def on_train_begin(self, logs: Any = None) -> None:
        note(self.folder, self.number, "built")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self._seen:
            self._seen = True
            note(self.folder, self.number, "first step")
        super().on_train_batch_end(batch, logs)  # type: ignore[misc]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        note(self.folder, self.number, "epoch")
        super().on_epoch_end(epoch, logs)  # type: ignore[misc]


def stock_trial(parameters: Mapping[str, Any]) -> None:
    """What one writes after reading Ray Tune's documentation: load the images, build, fit, report every epoch."""
    folder, number = parameters["folder"], parameters["number"]
    note(folder, number, "begin")
    import keras
    import numpy as np
    import tensorflow as tf
    from ray import tune

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    stored = np.load(parameters["images"])
    from catdog_ray import model
    from catdog_ray.settings import ModelSettings
    from catdog_ray.space import HyperParameters

    network = model.build(
        HyperParameters.of(parameters["hyperparameters"]),
        ModelSettings(padding="same", conv_layers=4, dense_layers=1),
        image_size=SIZE,
        classes=2,
    )
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rescale=1 / 255, horizontal_flip=True, rotation_range=45, zoom_range=0.5
    )
    plain = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255)

    class Report(keras.callbacks.Callback):  # type: ignore[misc]
        seen = False

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if not self.seen:
                self.seen = True
                note(folder, number, "first step")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            note(folder, number, "epoch")
            tune.report({"objective": float(logs["val_accuracy"])})

    network.fit(
        generator.flow(stored["train"], stored["train_labels"], batch_size=32, seed=0),
        validation_data=plain.flow(stored["selection"], stored["selection_labels"], batch_size=32, shuffle=False),
        epochs=parameters["epochs"],
        verbose=0,
        callbacks=[Report()],
    )


def gaps(events: Sequence[Event]) -> list[float]:
    """Seconds from each last epoch to the first step of the trial that took its place."""
    ends = sorted(max(e.seconds for e in own if e.name == "epoch") for own in _by_trial(events).values())
    begins = sorted(
        (min(e.seconds for e in own if e.name == "begin"), next(e.seconds for e in own if e.name == "first step"))
        for own in _by_trial(events).values()
    )
    # A slot is free when a trial ends; the k-th trial to begin after the first ones takes the k-th free slot.
    at_once = sum(begin < ends[0] for begin, _ in begins)
    return [first_step - end for end, (_, first_step) in zip(ends, begins[at_once:], strict=False)]


def run_ours(count: int, folder: Path, *, epochs: int) -> list[Event]:
    """`count` trials through this project's own way of running them."""
    from benchmarks.inputs import drawn_images
    from catdog_ray import cluster, config, environment, running

    settings = config.load("quickstart.yaml", overrides={"cluster.dashboard": False, "search.max_epochs": epochs})
    environment.prepare(settings.cluster)  # before Ray is imported
    from ray.tune import Callback

    train, selection = drawn_images(TRAIN, size=SIZE), drawn_images(SELECTION, size=SIZE)
    from catdog_ray.records import trial_name
    from catdog_ray.searchers import Planned, StudySearcher
    from catdog_ray.space import HyperParameters

    planned = [Planned(i, HyperParameters.of(point)) for i, point in enumerate(points(count))]
    with cluster.connect(settings.cluster) as running_on:
        running.run_trials(
            our_trial,
            arguments={
                "folder": str(folder),
                "train": train,
                "selection": selection,
                "settings": settings.fit,
                "epochs": epochs,
                "scoring_window": 3,
                "seed": 0,
                "threads": 1,
            },
            searcher=StudySearcher(None, planned=planned, max_epochs=epochs),
            count=count,
            scheduler=None,
            callback=Callback(),
            settings=settings.cluster,
            share=running_on.share(runs=count),
            storage_path=str(folder / "ray"),
            name_of=lambda parameters: trial_name(parameters["number"]),
        )
    return read(folder)


def run_stock(count: int, folder: Path, *, epochs: int) -> list[Event]:
    """`count` trials of a function trainable by Ray Tune as it comes."""
    import numpy as np
    import ray
    from ray import tune

    from benchmarks.inputs import drawn_images

    train, selection = drawn_images(TRAIN, size=SIZE), drawn_images(SELECTION, size=SIZE)
    images = folder / "images.npz"
    np.savez(
        images,
        train=train.pixels,
        train_labels=train.labels,
        selection=selection.pixels,
        selection_labels=selection.labels,
    )
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        tune.Tuner(
            tune.with_resources(stock_trial, {"cpu": 1}),
            param_space=tune.grid_search(
                [
                    {
                        "number": i,
                        "hyperparameters": point,
                        "folder": str(folder),
                        "images": str(images),
                        "epochs": epochs,
                    }
                    for i, point in enumerate(points(count))
                ]
            ),
            tune_config=tune.TuneConfig(metric="objective", mode="max"),
            run_config=tune.RunConfig(storage_path=str(folder / "ray"), verbose=0),
        ).fit()
    finally:
        ray.shutdown()
    return read(folder)


def read(folder: Path) -> list[Event]:
    """All events that workers noted."""
    return [Event(*json.loads(line)) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]


def turnaround(epochs: int, *, quick: bool) -> Measurement:
    """Gaps of both ways, medians over the gaps of one run each, runs in turn."""
    count, repetitions = (6, 1) if quick else (12, 3)
    ours: list[float] = []
    theirs: list[float] = []
    parts: defaultdict[str, list[float]] = defaultdict(list)
    workers = []
    for repetition in range(repetitions):
        for way in ("ours", "theirs")[:: 1 if repetition % 2 == 0 else -1]:
            with tempfile.TemporaryDirectory() as folder:
                run = run_ours if way == "ours" else run_stock
                events = run(count, Path(folder), epochs=epochs)
            (ours if way == "ours" else theirs).append(statistics.median(gaps(events)))
            if way == "ours":
                workers.append(len({event.process for event in events}))
            for name, values in breakdown(events).items():
                parts[f"{way}: {name}"] += values
    details = {
        "trials_per_run": count,
        "epochs_per_trial": epochs,
        "workers_used_by_ours": workers,
        "seconds_median": {name: round(statistics.median(values), 4) for name, values in parts.items()},
    }
    return Measurement(ours, theirs, details)


def breakdown(events: Sequence[Event]) -> dict[str, list[float]]:
    """Where the gap goes, for trials that were not the first of their process or slot."""
    trials = sorted(_by_trial(events).values(), key=lambda own: own[0].seconds)[2:]
    found: defaultdict[str, list[float]] = defaultdict(list)
    for own in trials:
        at = {event.name: event.seconds for event in reversed(own)}
        if "built" in at:
            found["begin to built"].append(at["built"] - at["begin"])
            found["built to first step (trace, first batch)"].append(at["first step"] - at["built"])
        else:
            found["begin to first step (import, load, build, trace)"].append(at["first step"] - at["begin"])
    return found


def memory(*, quick: bool) -> Measurement:
    """Megabytes of resident memory that a re-used worker gains per trial after its third: a least-squares slope."""
    count = 12 if quick else 86
    with tempfile.TemporaryDirectory() as folder:
        events = run_ours(count, Path(folder), epochs=SHORT)
    slopes, lengths = [], []
    by_process: defaultdict[int, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.seconds):
        if event.name == "begin":
            by_process[event.process].append(event)
    for own in by_process.values():
        sizes = [event.memory_bytes / 1e6 for event in own][3:]
        lengths.append(len(own))
        if len(sizes) > 2:
            slopes.append(statistics.linear_regression(range(len(sizes)), sizes).slope)
    sizes_mb = {str(i): [round(e.memory_bytes / 1e6) for e in own] for i, own in enumerate(by_process.values())}
    return Measurement(slopes, (), {"trials_per_worker": lengths, "resident_mb_at_begin": sizes_mb})


def _by_trial(events: Sequence[Event]) -> dict[int, list[Event]]:
    found: defaultdict[int, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.seconds):
        found[event.trial].append(event)
    return found


ROWS = [
    *(
        Row(
            name=name,
            item=3,
            words=f"from a trial's last epoch to the next one's first step, {epochs} epochs each: ours over stock Ray",
            unit="s",
            bound=0.25,
            at_least=False,
            needs="ray",
            measure=partial(turnaround, epochs),
        )
        for name, epochs in (("turnaround", SHORT), ("turnaround-long", LONG))
    ),
    Row(
        name="worker-memory",
        item=3,
        words="resident memory of a re-used worker: growth per trial over 40 trials after the third",
        unit="MB",
        bound=5.0,
        at_least=False,
        needs="ray",
        measure=memory,
    ),
]
