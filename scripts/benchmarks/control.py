"""The control plane alone: the real driver, searcher and scheduler, with trials that replay learning curves.

A replayed epoch sleeps a second instead of training, so that what is left of the wall-clock is Ray's and ours.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.measure import Measurement, Row

CURVES = Path(__file__).parent / "curves.json"
"""Selection accuracies of sixteen full trials of random configurations on the drawn data, epoch by epoch."""

EPOCH_S = 1.0
_PER_SLOT = 10
"""Trials per slot; the last ones to run leave slots idle whatever the driver does, and are cut off.

One more for every four slots, because those that are up first go on to further trials while the others start.
"""


def replay(parameters: Mapping[str, Any], *, curves: list[list[float]], folder: str, window: int, **_: Any) -> None:
    """A trial of `search.run` that sleeps through its epochs and reports recorded accuracies."""
    from ray import tune

    from catdog_ray.records import objective

    number = parameters["number"]
    curve = curves[number % len(curves)]
    spans = []
    try:
        for epoch in range(1, len(curve) + 1):
            begun = time.time()
            time.sleep(EPOCH_S)
            spans.append([number, os.getpid(), begun, time.time()])
            tune.report(
                {
                    "epoch": epoch,
                    "train_loss": 0.5,
                    "train_accuracy": curve[epoch - 1],
                    "selection_loss": 0.5,
                    "selection_accuracy": curve[epoch - 1],
                    "seconds": EPOCH_S,
                    "objective": objective(curve[:epoch], window=window),
                    "parameters": 1,
                    "multiply_adds": 1,
                    "failure": None,
                }
            )
    finally:
        # Ray ends a stopped trial by an exception out of its report.
        (Path(folder) / f"{number}.json").write_text(json.dumps(spans))


def study(at_once: int, *, trials: int) -> dict[str, float]:
    """One search on a local Ray; its busy share of wall-clock, driver's CPU per report, and gaps between trials."""
    from catdog_ray import cluster, config, environment

    cores = len(os.sched_getaffinity(0))
    curves = json.loads(CURVES.read_text())
    settings = config.load(
        "cpu.yaml",
        overrides={
            "data.source": "drawn",
            "search.num_samples": trials,
            "search.max_epochs": len(curves[0]),
            "cluster.cpus_per_trial": _fraction(cores, at_once),
            "cluster.max_concurrent": at_once,
            "cluster.dashboard": False,
        },
    )
    environment.prepare(settings.cluster)
    from catdog_ray import search, trial
    from catdog_ray.ledger import StudyDirectory

    with tempfile.TemporaryDirectory() as folder:
        few = _few_images()
        bound = _Bound(curves, folder, settings.search.scoring_window)
        with (
            mock.patch.object(trial, "run_trial", bound),
            StudyDirectory(Path(folder) / "study") as directory,
            cluster.connect(settings.cluster) as running_on,
        ):
            cpu = time.process_time()
            search.run(directory, settings, few, few, running_on=running_on)
            cpu = time.process_time() - cpu
        spans = [tuple(span) for file in Path(folder).glob("*.json") for span in json.loads(file.read_text())]
    return {**efficiency(spans, at_once), "driver_cpu_ms_per_report": 1000 * cpu / len(spans), "reports": len(spans)}


def efficiency(spans: list[tuple[int, int, float, float]], at_once: int) -> dict[str, float]:
    """Busy share of `at_once` slots from when all run until trials run out; the median gap between two on a worker.

    A span is (trial, process, begin, end) of one epoch. Until the last worker has started, those that came first go on
    to their next trials; starting is told apart (`until_all_run_s`), for it happens once a search. Raises RuntimeError
    where not as many ever ran.
    """
    begins: dict[int, float] = {}
    ends: dict[int, float] = {}
    for trial, _, begin, end in spans:
        begins[trial] = min(begin, begins.get(trial, begin))
        ends[trial] = max(end, ends.get(trial, end))
    up: dict[int, float] = {}
    for _, process, begin, _ in spans:
        up[process] = min(begin, up.get(process, begin))
    if len(up) < at_once:
        raise RuntimeError(f"{len(up)} workers ran, not {at_once}: too few trials for the time that starting takes")
    # A worker that takes a lost one's place comes later and is not waited for.
    first = sorted(up.values())[at_once - 1]
    last = max(begins.values())
    busy = sum(max(0.0, min(end, last) - max(begin, first)) for _, _, begin, end in spans)
    by_process: defaultdict[int, set[int]] = defaultdict(set)
    for trial, process, _, _ in spans:
        by_process[process].add(trial)
    gaps = []
    for trials in by_process.values():
        order = sorted(trials, key=lambda trial: begins[trial])
        gaps += [begins[b] - ends[a] for a, b in itertools.pairwise(order)]
    gaps.sort()
    return {
        "efficiency": busy / (at_once * (last - first)) if last > first else 1.0,
        "turnaround_s": gaps[len(gaps) // 2] if gaps else float("nan"),
        "workers": len(by_process),
        "until_all_run_s": first - min(begins.values()),
    }


class _Bound:
    """`replay` with what it needs besides a trial's own arguments, as one function that travels by name."""

    def __init__(self, curves: list[list[float]], folder: str, window: int) -> None:
        self._more: dict[str, Any] = {"curves": curves, "folder": folder, "window": window}
        self.__name__ = "replay"

    def __call__(self, parameters: Mapping[str, Any], **arguments: Any) -> None:
        replay(parameters, **self._more)


def _fraction(cores: int, at_once: int) -> float:
    """CPUs per trial, in the thousandths that Ray keeps, so that `at_once` fit."""
    return max(0.001, int(1000 * cores / at_once) / 1000)


def _few_images() -> Any:
    import numpy as np

    from catdog_ray.data import Images

    return Images(np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int32), tuple("abcd"), ("cats", "dogs"))


def control(at_once: int, *, quick: bool) -> Measurement:
    """The busy share, over a few searches."""
    per_slot = 2 if quick else _PER_SLOT + at_once // 4
    found = [study(at_once, trials=per_slot * at_once + 2) for _ in range(1 if quick else 3)]
    return Measurement([one["efficiency"] for one in found], (), {"runs": found, "epoch_s": EPOCH_S})


ROWS = [
    Row(
        name=f"control-{at_once}",
        item=7,
        words=f"{at_once} trials at once that replay curves: busy time over wall-clock",
        unit="",
        bound=0.9 if at_once == 32 else None,
        at_least=True,
        needs="ray",
        measure=partial(control, at_once),
    )
    for at_once in (1, 4, 16, 32, 64)
]
