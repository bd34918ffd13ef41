"""`python -m catdog_ray.tune` as a user runs it: whole, interrupted, killed, resumed, on drawn and on real data."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import object_store
import psutil
import pyarrow.fs
import pytest

from catdog_ray.ledger import StudyDirectory

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]

PHOTOGRAPHS = Path(__file__).parents[2] / "shared" / "data" / "cats_and_dogs_filtered.zip"

SMALL = {
    "data.image_size": 16,
    "data.drawn_train": 60,
    "data.drawn_test": 20,
    "space.conv_filters": "{choices: [2, 4]}",
    "space.dense_units": "{choices: [8, 16]}",
    "baseline.conv_filters": 4,
    "baseline.dense_units": 16,
    "search.max_epochs": 4,
    "search.grace_epochs": 1,
    "search.reduction_factor": 2,
    "train.checkpoint_epochs": 1,
    "retrain.milestones": "[2, 3]",
    "cluster.dashboard": "false",
}
DASHBOARD = {"cluster.dashboard": "true"}
"""What is asked for by default, and takes processes and seconds of its own."""

ONE_AT_ONCE = {"cluster.max_concurrent": 1}
"""Where it does not matter how many trials go at once: a second worker imports TensorFlow too."""


def command(output: Path, *flags: str, **settings: object) -> list[str]:
    chosen = {
        **SMALL,
        "data.cache_dir": str(output / "cache"),
        **{k.replace("__", "."): v for k, v in settings.items()},
    }
    sets = [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "catdog_ray.tune", "--output", str(output / "results"), *flags, *sets]


def resume_command(output: Path, name: str, *flags: str) -> list[str]:
    place = ["--output", str(output / "results"), "--name", name]
    return [sys.executable, "-m", "catdog_ray.tune", "--resume", *place, *flags]


def run(arguments: list[str], timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=timeout)


def start(arguments: list[str]) -> subprocess.Popen[str]:
    """In a session of its own, so that what it leaves behind can be told."""
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )


def heed_ctrl_c() -> None:
    """What a shell starts with `&`, a test suite too, ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until_told(process: subprocess.Popen[str], words: str) -> str:
    """What a command prints, up to the line that begins so."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(words):
            return "".join(lines)
    raise AssertionError(f"never said {words!r}: {lines}")


def wait_for_epochs(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if len(StudyDirectory(folder).epochs.read()) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"no {count} epochs before the end: {process.stderr.read() if process.stderr else ''}")


def session_processes(session: int, *, except_for: str | None = None) -> list[str]:
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        try:
            line = " ".join(process.info["cmdline"] or [])[:80]
            if os.getsid(process.pid) == session and not (except_for and except_for in line):
                found.append(line)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


def wait_until_gone(session: int, seconds: float, *, except_for: str | None = None) -> list[str]:
    deadline = time.monotonic() + seconds
    while (left := session_processes(session, except_for=except_for)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


def assert_whole(folder: Path, trials: int) -> None:
    study = StudyDirectory(folder)
    assert study.read_study()["state"] == "finished"
    rows = study.trials.read()
    assert sorted(row.trial for row in rows) == list(range(trials))
    keys = [(row.trial, row.epoch) for row in study.epochs.read()]
    assert len(keys) == len(set(keys)) == sum(row.epochs for row in rows)


def test_the_main_job_from_the_command_line(tmp_path: Path):
    """One process, no warning on stderr, every file of a study, the table with the guide's figures."""
    done = run(command(tmp_path, "--num-samples", "3", "--name", "job", retrain__seeds=2, **DASHBOARD))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    folder = tmp_path / "results" / "job"
    assert_whole(folder, 3)
    assert {file.name for file in folder.iterdir()} == {
        "study.json",
        "trials.jsonl",
        "epochs.jsonl",
        "retrain.jsonl",
        "retrain-epochs.jsonl",
        "predictions.jsonl",
        "optuna-journal.log",
        "model.keras",
        "model.json",
        "curves.png",
        ".lock",
        ".machine.json",
    }
    assert "91.8 % (reported on other data)" in done.stdout
    assert "Drawn data" in done.stdout
    assert "(n=2, " in done.stdout
    study = json.loads((folder / "study.json").read_text())
    assert study["data"]["drawn"] is True
    assert study["versions"]["ray"]
    assert study["nodes"][0]["cores"] == os.cpu_count()
    assert str(tmp_path) not in (folder / "study.json").read_text()
    # Nothing is left to do: no Ray, the same table, and study.json goes on saying what searched.
    rows = {file: (folder / file).read_bytes() for file in ("trials.jsonl", "retrain.jsonl", "optuna-journal.log")}
    (folder / "study.json").write_text(json.dumps({**study, "commit": "of the search"}))
    again = run(resume_command(tmp_path, "job"))
    assert again.returncode == 0, again.stderr
    assert "Ray" not in again.stdout.partition("accuracy after retraining")[0]
    assert again.stdout.partition("accuracy after")[2] == done.stdout.partition("accuracy after")[2]
    assert {file: (folder / file).read_bytes() for file in rows} == rows
    facts = json.loads((folder / "study.json").read_text())
    changed = {name for name in facts if facts[name] != study.get(name)}
    assert (facts["commit"], changed) == ("of the search", {"commit", "sessions", "wall_s"})
    # More seeds are another session's work: what retrained them stands beside what searched.
    more = run(resume_command(tmp_path, "job", "--set", "retrain.seeds=3"))
    assert more.returncode == 0, more.stderr
    assert "(n=3, " in more.stdout
    facts = json.loads((folder / "study.json").read_text())
    assert (facts["commit"], facts["nodes"], facts["state"]) == ("of the search", study["nodes"], "finished")
    assert (facts["retraining"]["commit"], facts["config"]["retrain"]["seeds"]) == (study["commit"], 3)


def test_ctrl_c_leaves_no_process_and_a_study_that_resume_finishes(tmp_path: Path):
    process = start(command(tmp_path, "--num-samples", "4", "--name", "cut", search__max_epochs=10, **DASHBOARD))
    folder = tmp_path / "results" / "cut"
    wait_for_epochs(folder, 3, process)
    pressed = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    output = until_told(process, "interrupted: finishing up")
    # Mostly within milliseconds, even while Ray waits in C++; both cores may be busy with other tests.
    assert time.monotonic() - pressed < 5
    assert f"the rows are in {folder}; to go on: python -m catdog_ray.tune --resume --name cut" in output
    # Once more: it may meet Ray's end, during which signals are held back, and so it need not be answered; it cuts
    # nothing.
    os.killpg(process.pid, signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    output += rest
    assert process.returncode == 130
    assert errors.startswith("interrupted: the rows are in ")
    assert len(errors.strip().splitlines()) == 1
    assert wait_until_gone(process.pid, 5) == []
    assert "retraining" not in output
    assert StudyDirectory(folder).retrain.read() == []
    assert StudyDirectory(folder).read_study()["state"] == "interrupted"
    done = run(resume_command(tmp_path, "cut", "--set", "cluster.max_concurrent=1"))
    assert done.returncode == 0, done.stderr
    assert_whole(folder, 4)
    assert len(StudyDirectory(folder).retrain.read()) >= 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_ray_starts_leaves_no_process(tmp_path: Path, number: signal.Signals):
    process = start(command(tmp_path, "--num-samples", "2", "--name", "early", **DASHBOARD))
    deadline = time.monotonic() + 60
    while not (tmp_path / "results" / "early" / "study.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.5)
    process.send_signal(number)
    before = until_told(process, "interrupted: finishing up")
    assert "loading pictures\nreading pictures: 80 of 80\nstarting Ray\n" in before
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.endswith(f"--resume --name early --output {tmp_path / 'results'}\n")
    assert StudyDirectory(tmp_path / "results" / "early").read_study()["state"] == "interrupted"
    assert wait_until_gone(process.pid, 2) == []


def test_sigterm_is_an_interruption_too(tmp_path: Path):
    process = start(command(tmp_path, "--num-samples", "3", "--name", "cut", search__max_epochs=10, **ONE_AT_ONCE))
    wait_for_epochs(tmp_path / "results" / "cut", 2, process)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert len(errors.strip().splitlines()) == 1
    assert wait_until_gone(process.pid, 5) == []


def test_a_killed_driver_is_resumed_to_the_asked_number_of_trials(tmp_path: Path):
    process = start(command(tmp_path, "--num-samples", "4", "--name", "killed", search__max_epochs=10))
    folder = tmp_path / "results" / "killed"
    wait_for_epochs(folder, 4, process)
    process.kill()
    process.communicate(timeout=30)
    before = StudyDirectory(folder).epochs.read()
    # Ray's own two agents take about a minute to notice; trials and raylet go at once.
    assert wait_until_gone(process.pid, 15, except_for="Agent") == []
    done = run(resume_command(tmp_path, "killed", "--no-retrain", "--set", "cluster.max_concurrent=1"))
    assert done.returncode == 0, done.stderr
    assert_whole(folder, 4)
    assert StudyDirectory(folder).epochs.read()[: len(before)] == before
    assert StudyDirectory(folder).read_study()["sessions"] == 2


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with object_store.bucket() as (address, variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield address


def names_below(place: str) -> list[str]:
    filesystem, folder = pyarrow.fs.FileSystem.from_uri(place)
    selector = pyarrow.fs.FileSelector(folder, allow_not_found=True, recursive=True)
    infos = filesystem.get_file_info(selector)
    return sorted(info.path.removeprefix(f"{folder}/") for info in infos if info.type == pyarrow.fs.FileType.File)


@pytest.mark.parametrize("kind", ["disk", "object store"])
def test_a_study_whose_disk_is_lost_goes_on_from_the_shared_place(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
):
    shared = str(tmp_path / "shared") if kind == "disk" else request.getfixturevalue("bucket") + "/catdog"
    settings = {"cluster.storage_path": shared}
    process = start(command(tmp_path, "--num-samples", "4", "--name", "lost", search__max_epochs=10, **settings))
    folder = tmp_path / "results" / "lost"
    wait_for_epochs(folder, 4, process)
    before = StudyDirectory(folder).epochs.read()
    place = f"{shared}/{StudyDirectory(folder).shared_name}"
    deadline = time.monotonic() + 60
    while not any(name.startswith("rows/epochs.jsonl.") for name in names_below(place)) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.kill()
    process.communicate(timeout=30)
    assert any("/checkpoint_" in name for name in names_below(place))
    shutil.rmtree(folder)
    fetched = run([sys.executable, str(ROOT / "scripts" / "fetch_study.py"), place, "--output", str(folder.parent)])
    assert fetched.returncode == 0, fetched.stderr
    rows = StudyDirectory(folder).epochs.read()
    assert rows == before[: len(rows)] or before == rows[: len(before)]
    again = resume_command(tmp_path, "lost", "--no-retrain", "--data", "drawn")
    again += [
        part
        for key, value in {**settings, **ONE_AT_ONCE, "data.cache_dir": tmp_path / "cache"}.items()
        for part in ("--set", f"{key}={value}")
    ]
    done = run(again)
    assert done.returncode == 0, done.stderr
    assert_whole(folder, 4)
    assert StudyDirectory(folder).epochs.read()[: len(rows)] == rows
    # The rows stay there, what only served to resume does not.
    left = names_below(place)
    assert {"rows/study.json", "rows/trials.jsonl.0000.000000000000000"} <= set(left)
    assert all(name.startswith("rows/") for name in left)


def test_a_search_without_a_usable_trial_fails_and_says_where_to_look(tmp_path: Path):
    wild = {"space.learning_rate": "{choices: [1.0e+25]}", "baseline.learning_rate": "1.0e+25"}
    done = run(command(tmp_path, "--num-samples", "2", "--name", "wild", "--no-retrain", **wild, **ONE_AT_ONCE))
    assert done.returncode == 1
    assert done.stderr.startswith("failed: no trial has a score; the reasons are in ")


def test_a_retraining_that_diverges_fails_the_command_and_says_how_to_try_again(tmp_path: Path):
    wild = {
        "space.learning_rate": "{choices: [1.0e-3, 2.0e-3, 3.0e-3, 1.0e+25]}",
        "baseline.learning_rate": "1.0e+25",
        "retrain.milestones": "[1]",
    }
    done = run(command(tmp_path, "--num-samples", "3", "--name", "wild", **wild, **ONE_AT_ONCE))
    assert done.returncode == 1
    folder = tmp_path / "results" / "wild"
    assert done.stderr == (
        f"failed: retraining failed for baseline seed 0; the reasons are in {folder}/retrain-failures.jsonl; "
        f"to try again: python -m catdog_ray.tune --resume --name wild --output {folder.parent}\n"
    )
    (retrained,) = {row.configuration for row in StudyDirectory(folder).retrain.read()}
    assert retrained.startswith("trial-")


def test_the_space_with_depth_and_a_driver_without_tensorflow(tmp_path: Path):
    config = Path(__file__).parents[1] / "configs" / "space-with-depth.yaml"
    flags = ["--config", str(config), "--num-samples", "3", "--no-retrain", "--name", "deep"]
    # In one process, to see what the driver has imported when all is done.
    program = "import sys; from catdog_ray import tune; tune.main(sys.argv[1:]); "
    program += "assert not {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)"
    done = run([sys.executable, "-c", program, *command(tmp_path, *flags, **ONE_AT_ONCE)[3:]])
    assert done.returncode == 0, done.stderr
    rows = StudyDirectory(tmp_path / "results" / "deep").trials.read()
    assert {"conv_layers", "dense_layers"} <= set(rows[0].hyperparameters)
    assert len(rows[0].hyperparameters) == 7


@pytest.mark.skipif(not PHOTOGRAPHS.is_file(), reason="the photographs are not beside this checkout")
def test_the_photographs_with_a_shortened_budget(tmp_path: Path):
    config = Path(__file__).parents[1] / "configs" / "cpu.yaml"
    arguments = [sys.executable, "-m", "catdog_ray.tune", "--config", str(config), "--data", str(PHOTOGRAPHS)]
    arguments += ["--num-samples", "2", "--name", "photos", "--output", str(tmp_path / "results")]
    short = {
        "search.max_epochs": 1,
        "retrain.milestones": "[1]",
        "retrain.seeds": 1,
        "data.image_size": 32,
        "cluster.dashboard": "false",
    }
    for key, value in {**short, "data.cache_dir": str(tmp_path / "cache")}.items():
        arguments += ["--set", f"{key}={value}"]
    done = run(arguments)
    assert done.returncode == 0, done.stderr
    study = StudyDirectory(tmp_path / "results" / "photos")
    data = study.read_study()["data"]
    assert (data["train_images"], data["selection_images"], data["test_images"]) == (1600, 400, 1000)
    assert (data["class_names"], data["skipped_files"], data["drawn"]) == (["cats", "dogs"], [], False)
    assert len(study.predictions.read()) == 1000 * len(study.retrain.read())
    assert "Drawn data" not in done.stdout
