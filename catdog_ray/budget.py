"""A time budget for a search: no trial starts after it, and those that run end with what they have."""

from __future__ import annotations

import time
from typing import Any

from ray.tune import Stopper


class TimeBudget(Stopper):
    """Ends a trial whose next epoch would not be done in time, and everything when the time is over."""

    def __init__(self, seconds_left: float) -> None:
        self._deadline = time.monotonic() + seconds_left

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial ends with this result: it takes the last epoch's time as that of the next."""
        return time.monotonic() + float(result.get("seconds") or 0.0) > self._deadline

    @property
    def has_time(self) -> bool:
        """Whether the search may go on."""
        return time.monotonic() < self._deadline

    def stop_all(self) -> bool:
        """Whether the search ends now, in the middle of epochs too."""
        return not self.has_time
