"""Joining, starting and describing Ray; running trials whose functions misbehave."""

from __future__ import annotations

import dataclasses
import errno
import json
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn
from unittest.mock import MagicMock

import pytest
from conftest import LOCAL
from small import quick_config

from catdog_ray import capacity, checkpoints, cluster, running
from catdog_ray.ledger import StudyDirectory
from catdog_ray.past import asha_scheduler
from catdog_ray.schema import SCHEMA_VERSION
from catdog_ray.searchers import Planned, StudySearcher
from catdog_ray.space import HyperParameters

POINT = HyperParameters.of({"x": 1})


@pytest.mark.slow
def test_a_started_ray_says_what_it_has_without_its_name(ray_cluster):
    assert ray_cluster.share(runs=9).at_once == min(2, ray_cluster.nodes[0]["cores"])
    facts = ray_cluster.nodes[0]
    assert facts["memory_bytes"] > 10**9
    assert facts["cpu_model"]
    assert facts["python"] == platform.python_version()
    assert socket.gethostname() not in json.dumps(facts).split('"')


@pytest.mark.slow
def test_the_share_of_a_trial(ray_cluster):
    import ray

    def share(runs=100, **changed):
        settings = dataclasses.replace(LOCAL, max_concurrent=None, **changed)
        return dataclasses.replace(ray_cluster, settings=settings).share(runs=runs)

    cpus = int(ray.cluster_resources()["CPU"])
    assert share(cpus_per_trial=0.5).at_once == 2 * cpus
    assert share(cpus_per_trial="auto") == capacity.Share(1, 0, cpus)
    assert share(cpus_per_trial="auto", runs=1) == capacity.Share(cpus, 0, 1)
    with pytest.raises(cluster.ClusterError, match=r"no room for a trial: it asks for 1 CPU and 1 GPU, .* 0 GPU"):
        share(gpus_per_trial=1.0)
    with pytest.raises(cluster.ClusterError, match=r"asks for 512 CPU"):
        share(cpus_per_trial=512.0)


def _end_slowly(parameters, *, seconds: float) -> None:
    from ray import tune

    try:
        for epoch in range(1, 4):
            tune.report({"epoch": epoch, "done": epoch == 2})
    finally:
        time.sleep(seconds)


@pytest.mark.slow
def test_a_trial_that_unwinds_slowly_does_not_lose_the_next(ray_cluster, tmp_path: Path):
    """Ray gives the old thread 2 s before it fails the *next* trial; the environment raises that."""
    from ray import cloudpickle
    from ray.tune import Callback

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ended: list[int] = []

    class Ends(Callback):
        def on_trial_complete(self, iteration, trials, trial, **info) -> None:
            ended.append(trial.config["number"])

        def __getstate__(self) -> dict:
            return {}

    running.run_trials(
        _end_slowly,
        arguments={"seconds": 4.0},
        searcher=StudySearcher(None, planned=[Planned(n, POINT) for n in range(3)], max_epochs=3),
        count=3,
        scheduler=None,
        callback=Ends(),
        settings=LOCAL,
        share=capacity.Share(1, 0, 1),
        storage_path=str(tmp_path),
        name_of=lambda parameters: f"slow-{parameters['number']}",
    )
    assert ended == [0, 1, 2]


def _end_at_once(parameters) -> None:
    from ray import tune

    tune.report({"epoch": 1, "objective": 0.5, "done": True})


@pytest.mark.parametrize("what", ["callback", "searcher"])
def test_what_fails_at_the_end_of_a_trial_ends_the_run(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Such as on a full disk. Ray's own `stop_trial` takes it for a failure of the trial, and runs that again."""
    from ray import tune
    from ray.tune import Callback
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    class EndsOneTrial:
        def __init__(self, _: object, *, tune_config: tune.TuneConfig, run_config: tune.RunConfig) -> None:
            told = {"_search_alg": tune_config.search_alg, "_callbacks": run_config.callbacks[0]}
            self._controller = MagicMock(_fail_fast=False, **told)

        def fit(self) -> None:
            TuneController.stop_trial(self._controller, MagicMock(status=Trial.RUNNING, last_result={"epoch": 1}))

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    told = {"callback": Callback(), "searcher": StudySearcher(None, planned=[], max_epochs=1)}
    monkeypatch.setattr(told[what], "on_trial_complete", fail)
    monkeypatch.setattr(tune, "Tuner", EndsOneTrial)
    with pytest.raises(OSError, match="No space left on device"):
        running.run_trials(
            _end_at_once,
            arguments={},
            count=1,
            scheduler=None,
            settings=LOCAL,
            share=capacity.Share(1, 0, 1),
            storage_path=str(tmp_path),
            name_of=str,
            **told,
        )


@pytest.mark.slow
def test_a_worker_that_is_being_started_is_not_thrown_away(ray_cluster, tmp_path: Path, monkeypatch):
    """The first of six workers ends trials while the others start: they stay those of the trials they are for."""
    from ray import cloudpickle
    from ray.tune import Callback
    from ray.tune.execution.tune_controller import TuneController

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    planned = [Planned(number, POINT) for number in range(30)]
    searcher = StudySearcher(None, planned=planned, max_epochs=1)
    thrown_away: list[int] = []
    remove = TuneController._remove_actor

    def watched(controller, tracked_actor) -> None:
        if searcher._planned and tracked_actor not in controller._started_actors:
            thrown_away.append(len(searcher._planned))
        remove(controller, tracked_actor=tracked_actor)

    monkeypatch.setattr(TuneController, "_remove_actor", watched)
    ended: list[int] = []

    class Ends(Callback):
        def on_trial_complete(self, iteration, trials, trial, **info) -> None:
            ended.append(trial.config["number"])

    running.run_trials(
        _end_at_once,
        arguments={},
        searcher=searcher,
        count=30,
        scheduler=asha_scheduler(quick_config().search),
        callback=Ends(),
        settings=LOCAL,
        share=capacity.Share(0.25, 0, 6),
        storage_path=str(tmp_path),
        name_of=lambda parameters: f"trial-{parameters['number']}",
    )
    assert sorted(ended) == list(range(30))
    assert thrown_away == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Traceback (most recent call last):\n  File x, line 1\nValueError: 3 is odd\n", "ValueError: 3 is odd"),
        ("ValueError: 3 is odd\n\n   \n", "ValueError: 3 is odd"),
        (
            "KeyError: 'a'\n\nDuring it ...\n  File x\nkeras.BuilderError: no room\n\nArguments:\n  \u2022 size=3\n",
            "keras.BuilderError: no room Arguments: \u2022 size=3",
        ),
        ("  File x\nmodule.Odd: without a known ending\n", "module.Odd: without a known ending"),
        (f"ValueError: {'x' * 900}\n", f"ValueError: {'x' * 488} ..."),
        ("", "the worker was lost"),
        (None, "the worker was lost"),
    ],
)
def test_the_reason_of_a_failure_is_its_last_error(tmp_path: Path, text: str | None, reason: str):
    file = tmp_path / "error.txt"
    if text is not None:
        file.write_text(text)
    assert running.failure_reason(SimpleNamespace(error_file=str(file))) == reason


def test_storage_is_the_study_or_a_shared_place(tmp_path: Path):
    with StudyDirectory(tmp_path / "results" / "study") as study:
        assert checkpoints.place(LOCAL, study) == str(study.path / "ray")
        shared = dataclasses.replace(LOCAL, storage_path="s3://bucket/folder/")
        relative = dataclasses.replace(LOCAL, storage_path="shared")
        # Another's study of that name has another id; one of before there were ids has its checkpoints by its name.
        for identity, name in (({"id": "0a1b2c3d"}, "study-0a1b2c3d"), ({}, "study")):
            study.write_study({"schema_version": SCHEMA_VERSION, **identity})
            assert checkpoints.place(shared, study) == f"s3://bucket/folder/{name}"
            assert checkpoints.place(relative, study) == str(Path.cwd() / "shared" / name)


def test_what_served_to_resume_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "place" / "trials" / "trial-0001").mkdir(parents=True)
    (tmp_path / "place" / "trials" / "trial-0001" / "file").touch()
    for _ in range(2):
        checkpoints.remove(str(tmp_path / "place"))
        assert not (tmp_path / "place" / "trials").exists()
    assert caplog.text == ""
    checkpoints.remove("nosuch://bucket/place")
    assert "nosuch://bucket/place are not needed any more and cannot be deleted" in caplog.text


def test_checkpoints_of_a_trial(tmp_path: Path):
    for number in (0, 10, 9):
        (tmp_path / "trials" / "trial-0001" / f"checkpoint_{number:06d}").mkdir(parents=True)
    (tmp_path / "trials" / "trial-0001" / "other").mkdir()
    found = checkpoints.of_trial(str(tmp_path), "trial-0001")
    assert {Path(uri).name for uri in found} == {"checkpoint_000010", "checkpoint_000009", "checkpoint_000000"}
    assert checkpoints.of_trial(str(tmp_path), "trial-0002") == []


def test_a_ray_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch):
    import ray

    def start(**_: object) -> NoReturn:
        raise Exception("The current node timed out during startup.")  # as Ray does, on a busy machine

    monkeypatch.setattr(ray, "init", start)
    with pytest.raises(cluster.ClusterError, match=r"^cluster\.address 'local': The current node timed out during st"):
        cluster._join(LOCAL)


@pytest.mark.parametrize(
    ("dashboard", "said"),
    [
        (True, "Ray's dashboard did not start; try again, or do without: --set cluster.dashboard=false"),
        (False, "The last 20 lines of /tmp/ray/s/logs/dashboard.log (it contains the error message): "),
    ],
)
def test_a_dashboard_that_does_not_start_is_named_with_the_cure(
    dashboard: bool, said: str, monkeypatch: pytest.MonkeyPatch
):
    import ray

    def start(**_: object) -> NoReturn:  # the beginning of Ray 2.60's text, on a busy machine
        raise Exception("\nThe last 20 lines of /tmp/ray/s/logs/dashboard.log (it contains the error message): \n\nlog")

    monkeypatch.setattr(ray, "init", start)
    with pytest.raises(cluster.ClusterError) as raised:
        cluster._join(dataclasses.replace(LOCAL, dashboard=dashboard))
    assert str(raised.value) == f"cluster.address 'local': {said}"


def test_no_ray_at_the_address_is_one_line_within_seconds(tmp_path: Path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    arguments = ["--address", address, "--num-samples", "1", "--set", "data.image_size=16"]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "catdog_ray.tune", *arguments, "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert time.monotonic() - started < 60
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
