"""Bad input by the hundred: how a case is judged, and the count by kind that the suite shows at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from catdog_ray import command
from catdog_ray.decoding import Unreadable
from catdog_ray.errors import UserError

CASES: Counter[tuple[str, str]] = Counter()
"""(kind of input, what became of it): shown by `conftest.py`."""

LONG = 40
"""How many times as many cases `--long` runs."""

SECONDS = 20.0
"""Longer than any case may take, on a machine that others use too."""


def register_profiles() -> None:
    """Two profiles of hypothesis: the same cases every time, or with --long many others."""
    common: dict[str, Any] = {
        "deadline": None,
        "suppress_health_check": list(HealthCheck),
        "database": None,
        "print_blob": True,
    }
    settings.register_profile("short", derandomize=True, **common)
    settings.register_profile("long", derandomize=False, **common)


def cases(count: int) -> Any:
    """hypothesis settings for so many cases; --long multiplies them."""
    factor = LONG if settings.get_current_profile_name() == "long" else 1
    return settings(max_examples=count * factor)


def survived(kind: str, call: Callable[[], Any]) -> Any:
    """Run one case: it works, or it is refused in one line, and soon. Returns what came out, or None."""
    began = time.monotonic()
    found = None
    try:
        found = call()
        outcome = "read"
    except (UserError, Unreadable) as error:
        outcome = "refused"
        text = command.shortened(str(error))
        assert text, type(error)
        assert "\n" not in text, text
        assert len(text) < 2000, text
        # What a terminal would obey does not reach it.
        assert "\x1b" not in text, text
        text.encode()
    assert time.monotonic() - began < SECONDS, kind
    CASES[kind, outcome] += 1
    return found


def files_below(root: Path) -> set[str]:
    """Names of everything below a folder."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def summary() -> list[str]:
    """One line per kind."""
    kinds = sorted({kind for kind, _ in CASES})
    lines = [
        f"{kind}: {CASES[kind, 'read'] + CASES[kind, 'refused']} ({CASES[kind, 'refused']} refused in one line)"
        for kind in kinds
    ]
    return [*lines, f"all: {sum(CASES.values())}"]


def report(reporter: pytest.TerminalReporter) -> None:
    """Write the summary where cases were run."""
    if CASES:
        reporter.section("bad input, cases by kind")
        for line in summary():
            reporter.write_line(line)
