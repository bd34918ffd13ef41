"""From the command to the first training step, and how many trials share the cores best."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import Measurement, Row
from catdog_ray import provenance

_PATIENCE_S = 180.0


def startup(*, quick: bool) -> Measurement:
    """Seconds from the command until the first row, less the time of one epoch: then its first step was done.

    The first epoch's own tracing so counts as start-up. Data is cached; the command is interrupted afterwards.
    """
    found, ray_up = [], []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "catdog_ray.tune", "--no-retrain", "--output", folder]
        command += ["--num-samples", "2", "--set", f"data.cache_dir={folder}/cache"]
        for repetition in range(2 if quick else 6):
            name = f"study-{repetition}"
            epochs = Path(folder) / name / "epochs.jsonl"
            started = time.perf_counter()
            with subprocess.Popen([*command, "--name", name], stdout=subprocess.PIPE, text=True) as process:
                first = arrival(epochs, 1, process)
                arrival(epochs, 4, process)
                process.terminate()  # SIGINT is ignored where a shell started this with `&`
                process.communicate()
            rows = [json.loads(line) for line in epochs.read_text().splitlines()]
            usual = statistics.median(row["seconds"] for row in rows if row["epoch"] > 1)
            if repetition:  # the first one fills the caches
                found.append(first - started - usual)
                ray_up.append(first - started - rows[0]["elapsed_s"])
    details = {"to_search_s": round(statistics.median(ray_up), 2), "data": "drawn, cached", "trials_at_once": 2}
    return Measurement(found, (), details)


def arrival(file: Path, count: int, process: subprocess.Popen[str]) -> float:
    """When the file holds `count` rows."""
    deadline = time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < deadline and process.poll() is None:
        if file.exists() and file.read_bytes().count(b"\n") >= count:
            return time.perf_counter()
        time.sleep(0.02)
    process.kill()
    raise RuntimeError(f"no {count} epochs within {_PATIENCE_S:g} s")


def packing(size: int, *, quick: bool) -> Measurement:
    """Images a second of all trials together: one core each, against one trial with all cores."""
    cores = len(os.sched_getaffinity(0))
    wide = _together(1, cores)
    narrow = _together(cores, 1)
    count, repetitions = (320, 2) if quick else (960, 7)
    from benchmarks.measure import in_turn

    found = in_turn(
        lambda: narrow(size, count), lambda: wide(size, count), repetitions=repetitions, warm_up=0 if quick else 1
    )
    return dataclasses.replace(found, details={"image_size": size, "cores": cores, "images_per_trial": count})


def _together(trials: int, threads: int) -> Callable[[int, int], float]:
    def rate(size: int, count: int) -> float:
        command = [sys.executable, "-m", "benchmarks.one_trial", str(threads), str(size), str(count), "2"]
        return sum(statistics.harmonic_mean(rates) for rates in _outputs(command, trials))

    return rate


def gpu_packing(*, quick: bool) -> Measurement:
    """The best fraction of a GPU per trial by images a second of all trials together, over one trial alone."""
    count, epochs = (960, 2) if quick else (3840, 5)
    shares = (1, 2, 4, 8)
    cores = len(os.sched_getaffinity(0))
    rates: dict[int, list[float]] = {}
    for share in shares:
        command = [sys.executable, "-m", "benchmarks.one_trial"]
        command += [str(max(1, cores // share)), "150", str(count), str(epochs)]
        # All begin at once and are about equally fast, so that their n-th epochs overlap.
        rates[share] = [sum(together) for together in zip(*_outputs(command, share), strict=True)]
    best = max(shares, key=lambda share: statistics.median(rates[share]))
    details: dict[str, Any] = {
        "images_per_s_by_trials_at_once": rates,
        "best_trials_at_once": best,
        "images_per_trial": count,
        "backend": provenance.keras_backend(),
    }
    return Measurement(rates[best], rates[1], details)


def _outputs(command: list[str], copies: int) -> list[list[float]]:
    """Run copies of a program at once; the numbers that each prints. They wait for each other before they measure."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": _path()}
        processes = [
            subprocess.Popen(
                [*command, folder, str(copies)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(copies)
        ]
        results = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, results, strict=True):
        if process.returncode:
            raise RuntimeError(errors.strip().splitlines()[-1])
    return [[float(word) for word in output.split()] for output, _ in results]


def _path() -> str:
    scripts = Path(__file__).parent.parent
    return os.pathsep.join([str(scripts), str(scripts.parent), os.environ.get("PYTHONPATH", "")])


ROWS = [
    Row(
        name="startup",
        item=6,
        words="from the command to the first training step, cached data",
        unit="s",
        bound=25.0,
        at_least=False,
        needs="ray",
        measure=startup,
    ),
    *(
        Row(
            name=f"packing-{size}",
            item=4,
            words=f"all trials together at {size} px: one core each over one trial with all cores",
            unit="images/s",
            bound=None,
            at_least=True,
            needs="cpu",
            measure=partial(packing, size),
        )
        for size in (32, 64)
    ),
    Row(
        name="gpu-packing-150",
        item=4,
        words="all trials together on one GPU at 150 px: best of 1, 1/2, 1/4, 1/8 GPU each over one alone",
        unit="images/s",
        bound=None,
        at_least=True,
        needs="gpu",
        measure=gpu_packing,
    ),
]
