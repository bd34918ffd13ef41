"""One trial's training in a process of its own: `python -m benchmarks.one_trial THREADS SIZE IMAGES EPOCHS FOLDER N`.

Waits until all N of its kind have warmed up, trains so many epochs and prints the images per second of each.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.inputs import BASELINE, drawn_images

_PATIENCE_S = 300.0


def main(threads: int, size: int, images: int, epochs: int, folder: Path, copies: int) -> None:
    """Train, print the rates."""
    from catdog_ray import backend

    backend.prepare(threads=threads)
    from catdog_ray import config, train
    from catdog_ray.space import HyperParameters

    settings = config.load("cpu.yaml" if size < 150 else "gpu.yaml")
    data, few = drawn_images(images, size=size), drawn_images(20, size=size)
    ends: list[float] = []

    def on_epoch(row: Any, network: Any) -> None:
        if row.epoch == 1:
            _wait_for_all(folder, copies)
        ends.append(time.perf_counter())

    options = settings.fit
    point = HyperParameters.of(BASELINE)
    train.fit(point, data, few, settings=options, epochs=1 + epochs, seed=0, on_epoch=on_epoch)
    print(*(images / (end - begin) for begin, end in itertools.pairwise(ends)))


def _wait_for_all(folder: Path, copies: int) -> None:
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + _PATIENCE_S
    while len(list(folder.iterdir())) < copies:
        if time.monotonic() > deadline:
            raise SystemExit("the others never came")
        time.sleep(0.005)


if __name__ == "__main__":
    threads, size, images, epochs, folder, copies = sys.argv[1:]
    main(int(threads), int(size), int(images), int(epochs), folder=Path(folder), copies=int(copies))
