"""scripts/study.py: which commands there are, and how they are carried out."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import pytest
import study

from catdog_ray import config
from catdog_ray.errors import ConfigError, RunFailed
from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import best_trial

ROOT = Path(__file__).parents[1]
CONFIGS, RESULTS = ROOT / "configs", ROOT / "results"


def sleeper(folder: Path, name: str, seconds: float, code: int = 0) -> tuple[str, list[str]]:
    """A command that notes when it begins and ends."""
    program = (
        "import sys, time, pathlib; f = pathlib.Path(sys.argv[1]); "
        "f.write_text(str(time.time())); time.sleep(float(sys.argv[2])); "
        "f.with_suffix('.end').write_text(str(time.time())); sys.exit(int(sys.argv[3]))"
    )
    return name, [sys.executable, "-S", "-c", program, str(folder / name), str(seconds), str(code)]


MEETING = """
import pathlib, sys, time
own, other = map(pathlib.Path, sys.argv[1:])
own.touch()
deadline = time.monotonic() + 30
while not other.exists():
    if time.monotonic() > deadline:
        sys.exit(1)
    time.sleep(0.05)
"""
"""Ends well only if the other one runs too."""


def test_commands_run_so_many_at_a_time(tmp_path: Path):
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    meeting = [sys.executable, "-S", "-c", MEETING]
    study.carry_out([("a", [*meeting, a, b]), ("b", [*meeting, b, a])], at_once=2)
    # One at a time: the second begins when the first has ended.
    study.carry_out([sleeper(tmp_path, name, 0.2) for name in "cd"], at_once=1)
    assert float((tmp_path / "d").read_text()) >= float((tmp_path / "c.end").read_text())


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


def test_lines_of_several_stand_under_their_names(capfd: pytest.CaptureFixture[str]):
    speak = [sys.executable, "-S", "-c", "print('one'); print('two')"]
    study.carry_out([("a", speak), ("b", speak)], at_once=2)
    deadline = time.monotonic() + 10
    said = ""
    while said.count("\n") < 4 and time.monotonic() < deadline:
        said += capfd.readouterr().out
    assert sorted(said.splitlines()) == ["a: one", "a: two", "b: one", "b: two"]


@pytest.mark.parametrize("recipe", study.RECIPES)
def test_a_recipe_changes_what_it_says_and_nothing_else(recipe: str):
    found = {run.name: run for run in study.recipes(cores=1)}
    assert len(found) == 21
    plain, changed = found["recipe48-plain-seed2"].flags, found[f"recipe48-{recipe}-seed2"].flags
    expected = [f"{key}={value}" for key, value in study.RECIPES[recipe].items()]
    assert [flag for flag in changed if flag not in plain] == expected


def test_a_recipe_keeps_to_its_cores_when_it_is_gone_on_with(tmp_path: Path):
    run = study.recipes(cores=1)[0]
    cores = ("--set", "cluster.cpus_per_trial=1")
    for resume in (False, True):
        words = study.words_of(run, "pets.zip", tmp_path, resume=resume)
        assert words[words.index(cores[1]) - 1 :][:2] == list(cores)
        assert ("--resume" in words) == resume
    assert cores[1] not in study.words_of(study.recipes()[0], "pets.zip", tmp_path, resume=True)


def test_recipes_are_listed_apart_with_their_part_of_the_cores(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    study.main(["--list", "--part", "recipes", "--at-once", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 21
    assert all("--output results/recipes " in line and "cluster.cpus_per_trial=4" in line for line in lines)


def test_the_search_of_depth_is_listed_with_its_retraining(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    study.main(["--list", "--part", "deep", "--pixels", "150", "--output", str(tmp_path)])
    search, retraining = capsys.readouterr().out.splitlines()
    assert "catdog_ray.tune --config configs/study-cpu150-deep.yaml --seed 0 --no-retrain --search tpe " in search
    assert f"catdog_ray.retrain {tmp_path}/deep150-tpe-seed0 " in retraining
    assert retraining.endswith(" --epochs 125 200 --seeds 5")
    deep, first = config.load(CONFIGS / "study-cpu150-deep.yaml"), config.load(CONFIGS / "study-gpu.yaml")
    assert (deep.data, deep.model, deep.augment) == (first.data, first.model, first.augment)
    assert dataclasses.replace(deep.train, precision="float32") == first.train
    # It begins with what the first search found.
    trials = StudyDirectory(RESULTS / "pixels150" / "gpu150-tpe-seed0").trials.read()
    assert deep.baseline == {**best_trial(trials).hyperparameters, "conv_layers": first.model.conv_layers}


def test_five_blocks_are_searched_as_depth_was_and_begin_with_what_that_found(capsys: pytest.CaptureFixture[str]):
    study.main(["--list", "--part", "five-blocks", "--pixels", "150"])
    assert capsys.readouterr().out.count("results/five150") == 2
    study.main(["--list", "--part", "five-blocks", "--pixels", "150", "--output", "new"])
    search, retraining = capsys.readouterr().out.splitlines()
    begins = "catdog_ray.tune --config configs/study-cpu150-five-blocks.yaml --seed 0 --no-retrain --search tpe "
    assert begins in search
    assert " python -m catdog_ray.retrain new/five150-tpe-seed0 --data " in retraining
    five, deep = (config.load(CONFIGS / f"study-cpu150-{name}.yaml") for name in ("five-blocks", "deep"))
    same = ("data", "model", "augment", "train", "retrain", "cluster")
    assert [getattr(five, part) for part in same] == [getattr(deep, part) for part in same]
    trials = StudyDirectory(RESULTS / "deep150" / "deep150-tpe-seed0").trials.read()
    assert five.baseline == {**best_trial(trials).hyperparameters, "conv_layers": 5}
    assert (five.search.num_samples, five.search.grace_epochs, five.search.max_epochs) == (10, 36, 108)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--part", "five-blocks"], r"--part five-blocks: only with --pixels 150"),
        (["--part", "deep"], r"--part deep: only with --pixels 150"),
        (["--at-once", "2"], r"--at-once: only with --part recipes at 48 pixels"),
        (["--at-once", "2", "--part", "recipes", "--pixels", "150"], r"--at-once: only with --part recipes at 48"),
        (["--at-once", "9", "--part", "recipes"], r"--at-once: must be 1 to 8, the cores there are, got 9"),
        (["--at-once", "0"], r"--at-once: only with --part recipes"),
    ],
)
def test_what_does_not_go_together_is_refused(flags: list[str], message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    with pytest.raises(ConfigError, match=message):
        study.main(["--list", *flags])
