"""What all tests share: the environment that Ray must find when it is first imported, and one local Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

# Keras on JAX or PyTorch must be chosen before the first import; TensorFlow's start-up lines are noise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hostile
from hypothesis import settings

from catdog_ray import environment
from catdog_ray.settings import ClusterSettings

LOCAL = ClusterSettings(
    address="local",
    cpus_per_trial=1,
    gpus_per_trial=0,
    max_concurrent=2,
    max_failures=1,
    storage_path=None,
    dashboard=False,
)
environment.prepare(LOCAL)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[object]:
    """A private local Ray for all tests of a session that need one."""
    from catdog_ray import cluster

    with cluster.connect(LOCAL) as running_on:
        yield running_on


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="forty times as many bad inputs, other ones each time")


def pytest_configure(config: pytest.Config) -> None:
    hostile.register_profiles()
    settings.load_profile("long" if config.getoption("--long") else "short")


# Files whose tests mostly wait for Ray, the longest first: two processes of pytest-xdist so end at about the same time.
_LONGEST = ("tune", "search", "scale", "ray_up", "dashboard", "builder", "stock", "retraining", "retrain", "publish")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = [f"test_{name}" for name in _LONGEST]
    items.sort(key=lambda item: names.index(item.path.stem) if item.path.stem in names else len(names))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["cases"] = [[*key, count] for key, count in hostile.CASES.items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for kind, outcome, count in getattr(node, "workeroutput", {}).get("cases", ()):
        hostile.CASES[kind, outcome] += count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    hostile.report(terminalreporter)
