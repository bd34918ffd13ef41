"""What all tests share: the environment that Ray must find when it is first imported, and one local Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator

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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    hostile.report(terminalreporter)
