"""What a trial shows on Ray's dashboard and its Prometheus endpoint while it runs: epoch, objective, images per second.

They are for the person who watches; the rows are the record. Names on the endpoint begin with `ray_catdog_`.
"""

from __future__ import annotations

from typing import Any

DESCRIPTIONS = {
    "epoch": "Epochs that the trial has finished",
    "objective": "The trial's objective so far; in retraining the test accuracy of the last epoch",
    "images_per_second": "Training images per second of the last epoch",
}

_gauges: dict[str, Any] = {}


def publish(trial: str, **values: float) -> None:
    """Set the gauges named for one trial. They stay at their last value when it has ended."""
    from ray.util.metrics import Gauge

    for name, value in values.items():
        # One gauge a process and name: workers are used again, and Ray registers each gauge for the process's life.
        if name not in _gauges:
            _gauges[name] = Gauge(f"catdog_{name}", DESCRIPTIONS[name], tag_keys=("trial",))
        _gauges[name].set(float(value), tags={"trial": trial})
