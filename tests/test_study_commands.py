"""scripts/study.py: which commands there are, and how they are carried out."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import study

from catdog_ray.settings import ConfigError, RunFailed


def sleeper(folder: Path, name: str, seconds: float, code: int = 0) -> tuple[str, list[str]]:
    """A command that notes when it begins and ends."""
    program = (
        "import sys, time, pathlib; f = pathlib.Path(sys.argv[1]); "
        "f.write_text(str(time.time())); time.sleep(float(sys.argv[2])); "
        "f.with_suffix('.end').write_text(str(time.time())); sys.exit(int(sys.argv[3]))"
    )
    return name, [sys.executable, "-S", "-c", program, str(folder / name), str(seconds), str(code)]


def test_commands_run_so_many_at_a_time(tmp_path: Path):
    study.carry_out([sleeper(tmp_path, name, 1.5) for name in "abc"], at_once=2)
    began = {name: float((tmp_path / name).read_text()) for name in "abc"}
    ended = {name: float((tmp_path / f"{name}.end").read_text()) for name in "abc"}
    assert began["b"] < ended["a"]
    assert began["c"] >= min(ended["a"], ended["b"])


def test_after_a_failure_nothing_begins_and_what_runs_ends(tmp_path: Path):
    commands = [sleeper(tmp_path, "bad", 0, code=3), sleeper(tmp_path, "long", 2), sleeper(tmp_path, "never", 0)]
    with pytest.raises(RunFailed, match=r"bad ended with exit code 3; the same command goes on"):
        study.carry_out(commands, at_once=2)
    assert (tmp_path / "long.end").exists()
    assert not (tmp_path / "never").exists()


def test_one_that_was_interrupted_interrupts_the_others(tmp_path: Path):
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        study.carry_out([sleeper(tmp_path, "long", 60), sleeper(tmp_path, "stopped", 0, code=130)], at_once=2)
    assert time.monotonic() - started < 30
    assert not (tmp_path / "long.end").exists()


def test_recipes_change_one_thing_each_and_share_the_cores():
    found = {run.name: run.flags for run in study.recipes(cores=1)}
    assert len(found) == 21
    plain, cosine = found["recipe48-plain-seed2"], found["recipe48-cosine-seed2"]
    assert [flag for flag in cosine if flag not in plain] == ["train.learning_rate_schedule=cosine"]
    assert plain[-2:] == ("--set", "cluster.cpus_per_trial=1")
    assert "cluster.cpus_per_trial=1" not in study.recipes()[0].flags


def test_searches_do_not_run_beside_each_other():
    with pytest.raises(ConfigError, match=r"--at-once: 1 or more, and more than 1 with --part recipes only"):
        study.main(["--list", "--at-once", "2"])
