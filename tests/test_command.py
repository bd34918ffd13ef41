"""The commands as a person meets them: help, flags, one line for every mistake, exit codes."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from make_rows import quickstart, write_study

from catdog_ray import command, retrain
from catdog_ray.errors import ConfigError, RunFailed, UserError
from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import RecordError

ROOT = Path(__file__).parent.parent
HEAVY = {"ray", "keras", "tensorflow", "numpy", "pandas", "scipy", "optuna", "matplotlib", "rich", "PIL"}


def run_python(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter in `cwd`, as a user's shell would start it."""
    settings = ("RAY_", "TUNE_", "KERAS_", "PYTHONUNBUFFERED", "COLUMNS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**environment, "HOME": str(cwd), "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=120,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


@pytest.fixture(autouse=True)
def handlers_are_put_back() -> Iterator[None]:
    """`command.run` sets handlers of its own; a suite in the background (`&`) begins with SIGINT ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# ---- help and flags -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "flags"),
    [
        (
            "tune",
            "--config --num-samples --data --name --output --seed --search --resume --no-retrain --address --set",
        ),
        ("baseline", "--config --num-samples --data --name --output --seed --resume --no-retrain --address --set"),
        ("retrain", "STUDY --epochs --seeds --top-k --data --address --set"),
    ],
)
def test_help_answers_without_a_heavy_library(program: str, flags: str, tmp_path: Path) -> None:
    result = run_python("-X", "importtime", "-m", f"catdog_ray.{program}", "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: python -m catdog_ray.{program} [-h]")
    assert [flag for flag in flags.split() if flag not in result.stdout] == []
    lines = result.stderr.splitlines()
    assert [line for line in lines if not line.startswith("import time:")] == []
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "catdog_ray" in loaded
    assert loaded & HEAVY == set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--num-sample", "3"], ["--num-samples", "many"], ["extra"]])
def test_flags_that_are_none(arguments: list[str], tmp_path: Path) -> None:
    result = run_python("-m", "catdog_ray.tune", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(" (--help lists the flags)")
    assert arguments[-1] in line
    assert list(tmp_path.iterdir()) == []


def test_retrain_needs_a_study(tmp_path: Path) -> None:
    result = run_python("-m", "catdog_ray.retrain", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == "error: the following arguments are required: STUDY (--help lists the flags)\n"


def parsed(*arguments: str) -> argparse.Namespace:
    return command.study_parser("tune", "Search.").parse_args(arguments)


def test_every_flag_is_a_setting() -> None:
    flags = parsed(
        *("--num-samples", "4", "--data", "pets.zip", "--name", "mine", "--output", "out", "--seed", "7"),
        *("--search", "random", "--no-retrain", "--address", "auto"),
        *("--set", "search.max_epochs=3", "--set", "cluster.storage_path=null"),
    )
    assert command.study_overrides(flags) == {
        "search.num_samples": 4,
        "data.source": "pets.zip",
        "name": "mine",
        "output": "out",
        "seed": 7,
        "search.method": "random",
        "cluster.address": "auto",
        "retrain.enabled": False,
        "search.max_epochs": 3,
        "cluster.storage_path": None,
    }
    assert command.study_overrides(parsed()) == {}
    assert command.study_overrides(parsed("--seed", "0", "--num-samples", "0")) == {"search.num_samples": 0, "seed": 0}


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        (["--num-samples", "4", "--set", "search.num_samples=5"], "search.num_samples"),
        (["--set", "seed=1", "--set", "seed=1"], "seed"),
        (["--no-retrain", "--set", "retrain.enabled=true"], "retrain.enabled"),
    ],
)
def test_a_setting_given_twice(arguments: list[str], setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        command.study_overrides(parsed(*arguments))
    assert str(caught.value) == f"--set {setting}: given twice"


# ---- one line for every mistake -----------------------------------------------------------------------------------


def begun(output: Path, name: str = "quickstart", **facts: Any) -> Path:
    """A study that was cut off."""
    return write_study(output / name, quickstart(name=name), **{"state": "interrupted", **facts})


def damaged(output: Path, content: str) -> Path:
    folder = begun(output)
    (folder / "study.json").write_text(content, encoding="utf-8")
    return folder


def without_config(output: Path) -> Path:
    folder = begun(output)
    StudyDirectory(folder).write_study({"schema_version": 1, "state": "interrupted"})
    return folder


def with_half_a_config(output: Path) -> Path:
    folder = begun(output)
    StudyDirectory(folder).write_study({"schema_version": 1, "config": {"name": "quickstart"}})
    return folder


Mistake = tuple[Callable[[Path], object] | None, Sequence[str], str]

MISTAKES: dict[str, Mistake] = {
    "no such config": (None, ["--config", "nowhere.yaml"], "--config: no file 'nowhere.yaml'; shipped are *"),
    "config of another kind": (None, ["--config", "."], "--config: no file '.'; shipped are *"),
    "setting without value": (
        None,
        ["--set", "seed"],
        "--set takes key=value (for example search.max_epochs=9), got 'seed'",
    ),
    "unknown setting": (
        None,
        ["--set", "search.max_epoch=3"],
        "search.max_epoch: unknown setting; did you mean 'max_epochs'?",
    ),
    "value that is no YAML": (None, ["--set", "seed=[1"], "--set seed: the value '[1' is no YAML: *"),
    "value that YAML chokes on": (
        None,
        ["--set", "label=2026-13-01"],
        "--set label: the value '2026-13-01' is no YAML: *",
    ),
    "value of another type": (None, ["--set", "seed=few"], "seed must be a whole number, got 'few'"),
    "value out of range": (None, ["--num-samples", "0"], "search.num_samples must be at least 1, got 0"),
    "name of two folders": (
        None,
        ["--name", "a/b"],
        "name must be letters, digits, '-', '_' and '.', not starting with '.' or '-', got 'a/b'",
    ),
    "name that is taken": (
        begun,
        ["--name", "quickstart"],
        "--name: {folder} already holds a study; add --resume to go on with it, or name another",
    ),
    "nothing to resume": (
        None,
        ["--resume"],
        "--resume: no unfinished study under {output}/; say which with --name, or where with --output",
    ),
    "only finished studies to resume": (
        lambda output: begun(output, state="finished"),
        ["--resume"],
        "--resume: no unfinished study under {output}/; say which with --name, or where with --output",
    ),
    "no study of that name": (
        begun,
        ["--resume", "--name", "other"],
        "{output}/other: no study here (study.json is missing)",
    ),
    "resumed otherwise": (
        begun,
        ["--resume", "--set", "search.max_epochs=5"],
        "--resume: search.max_epochs was 9 when {folder} began and is 5 now; "
        "leave it as it was, or start another study",
    ),
    "resumed with another config": (
        begun,
        ["--resume", "--config", "space-with-depth.yaml", "--name", "quickstart"],
        "--resume: baseline.conv_filters was 32 when {folder} began and is 16 now; "
        "leave it as it was, or start another study",
    ),
    "study.json that is no JSON": (
        lambda output: damaged(output, "{"),
        ["--resume", "--name", "quickstart"],
        "{folder}/study.json: is no JSON (*",
    ),
    "study.json of another version": (
        lambda output: damaged(output, '{"schema_version": 7}'),
        ["--resume", "--name", "quickstart"],
        "{folder}/study.json: schema_version must be 1, got 7",
    ),
    "study.json without its config": (
        without_config,
        ["--resume"],
        "{folder}/study.json: its config cannot be used (*",
    ),
    "study.json with half a config": (
        with_half_a_config,
        ["--resume"],
        "{folder}/study.json: its config cannot be used (label: missing; *",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(kind: str, tmp_path: Path) -> None:
    prepare, arguments, expected = MISTAKES[kind]
    output = tmp_path / "results"
    if prepare is not None:
        prepare(output)
    before = sorted(tmp_path.rglob("*"))
    result = run_python("-m", "catdog_ray.tune", "--output", str(output), *arguments, cwd=tmp_path)
    expected = "error: " + expected.replace("{folder}", str(output / "quickstart")).replace("{output}", str(output))
    assert result.stderr.endswith("\n")
    (line,) = result.stderr.splitlines()
    if expected.endswith("*"):
        assert line.startswith(expected[:-1])
    else:
        assert line == expected
    assert result.stdout == ""
    assert result.returncode == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_bad_data_is_one_line_and_leaves_no_study_behind(tmp_path: Path) -> None:
    """Found after the heavy libraries are loaded, and before Ray is started."""
    arguments = ["--output", "results", "--data", "pets.zip", "--set", f"data.cache_dir={tmp_path / 'cache'}"]
    result = run_python("-m", "catdog_ray.tune", *arguments, cwd=tmp_path)
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: --data: there is no file or folder 'pets.zip'; give a zip archive or a folder ")
    assert result.returncode == 2
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "cache").exists()


RETRAIN_MISTAKES = {
    "no such study": ([], "error: {folder}: no study here (study.json is missing)"),
    "no configuration at all": (["--top-k", "0"], "error: --top-k must be at least 1, got 0"),
    "no seed at all": (["--seeds", "0"], "error: retrain.seeds must be at least 1, got 0"),
    "no epoch at all": (["--epochs", "0"], "error: retrain.milestones must be rising epochs from 1 on, got [0]"),
    "falling epochs": (
        ["--epochs", "200", "125"],
        "error: retrain.milestones must be rising epochs from 1 on, got [200, 125]",
    ),
    "unknown setting": (
        ["--set", "retrain.seed=3"],
        "error: retrain.seed: unknown setting; did you mean 'seeds'?",
    ),
}


@pytest.mark.parametrize("kind", RETRAIN_MISTAKES)
def test_a_mistake_in_retraining_is_one_line(kind: str, tmp_path: Path) -> None:
    arguments, expected = RETRAIN_MISTAKES[kind]
    folder = tmp_path / "quickstart"
    if kind != "no such study":
        begun(tmp_path)
        # Nothing is trained even where the mistake is overlooked: the data is not there.
        StudyDirectory(folder).write_machine_settings({"data.source": str(tmp_path / "gone.zip")})
    before = sorted(tmp_path.rglob("*"))
    result = run_python("-m", "catdog_ray.retrain", str(folder), *arguments, cwd=tmp_path)
    assert result.stderr == expected.replace("{folder}", str(folder)) + "\n"
    assert (result.returncode, result.stdout) == (2, "")
    assert sorted(tmp_path.rglob("*")) == before


def test_retraining_with_another_search_is_refused_in_its_own_words(tmp_path: Path) -> None:
    """`retrain` has no flag --resume, so its errors must not name one."""
    folder = begun(tmp_path)
    with pytest.raises(ConfigError, match=r"search\.max_epochs was 9 when .* began and is 5 now") as caught:
        retrain.main([str(folder), "--set", "search.max_epochs=5"])
    assert "--resume" not in str(caught.value)


# ---- exit codes ---------------------------------------------------------------------------------------------------


def raising(error: BaseException) -> Callable[[Sequence[str]], None]:
    def main(arguments: Sequence[str]) -> None:
        raise error

    return main


def exit_code(main: Callable[[Sequence[str]], None], arguments: Sequence[str] | None = ()) -> Any:
    with pytest.raises(SystemExit) as caught:
        command.run(main, arguments)
    return caught.value.code


REFUSED = "error: /a/b: cannot be used (Permission denied); name another\n"
FULL = "failed: the disk is full; make room, and go on with a study by --resume\n"


def caused_by(error: BaseException) -> BaseException:
    """As Ray raises what a callback raised."""
    outer = RuntimeError("a trial failed")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UserError("say which"), 2, "error: say which\n"),
        (ConfigError("seed must be 1"), 2, "error: seed must be 1\n"),
        (RecordError("is damaged"), 2, "error: is damaged\n"),
        (RunFailed("no trial has a score"), 1, "failed: no trial has a score\n"),
        (
            MemoryError(),
            1,
            "failed: there is not enough memory; take fewer or smaller pictures, or a smaller network\n",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), 2, REFUSED),
        (caused_by(OSError(errno.ENOSPC, "No space left on device")), 1, FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/a/b"), 1, FULL.replace(": the disk", ": /a/b: the disk")),
        (command.Interrupted("the rows are in results"), 130, "interrupted: the rows are in results\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_each_ending_has_its_code_and_its_line(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(raising(error)) == code
    assert capsys.readouterr() == ("", text)


def test_a_slip_beside_a_refused_file_is_still_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    slip = ValueError("three is odd")
    slip.__context__ = PermissionError(errno.EACCES, "Permission denied", "/a/b")
    assert exit_code(raising(slip)) == 1
    assert capsys.readouterr().err.endswith("ValueError: three is odd\n")


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    name = "a" * 300
    result = run_python("-m", "catdog_ray.retrain", name, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    # From Python 3.14 on a path that cannot be is one that is not there.
    assert result.stderr in (
        f"error: {name}/study.json: cannot be used (File name too long); name another\n",
        f"error: {name}: no study here (study.json is missing)\n",
    )


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    """A full disk, and no output at all."""
    words = [sys.executable, "-m", "catdog_ray.tune", "--estimate", "--epoch-seconds", "1"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, FULL)
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *words], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert (closed.returncode, closed.stderr) == (0, "")


def test_what_nobody_expected_is_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(raising(ValueError("three is odd"))) == 1
    text = capsys.readouterr().err
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("ValueError: three is odd\n")


def test_a_command_that_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Sequence[str]] = []
    assert exit_code(seen.append, ["--a", "b"]) == 0
    assert seen == [["--a", "b"]]
    assert capsys.readouterr() == ("", "")


def test_the_command_line_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["program", "--from", "shell"])
    seen: list[Sequence[str]] = []
    assert exit_code(seen.append, None) == 0
    assert seen == [["--from", "shell"]]


def test_being_terminated_is_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    def main(arguments: Sequence[str]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    assert exit_code(main) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interruption_does_not_cut_what_the_first_leaves_to_do(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []

    def main(arguments: Sequence[str]) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt:
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            done.append("state")
            raise command.Interrupted("the rows are in results") from None
        finally:
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            done.append("Ray")

    assert exit_code(main) == 130
    assert done == ["state", "Ray"]
    assert capsys.readouterr().err == "interrupted: the rows are in results\n"
    # While Python ends none is handled any more.
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == (signal.SIG_IGN, signal.SIG_IGN)


def test_an_interruption_that_was_lost_can_be_repeated() -> None:
    """As in a destructor, where Python drops what is raised."""

    def main(arguments: Sequence[str]) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    assert exit_code(main) == 130


def test_ctrl_c_stays_ignored_where_a_shell_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert exit_code(lambda _: os.kill(os.getpid(), signal.SIGINT)) == 0
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize(
    "code",
    [
        "command.run(lambda _: print('x' * 100_000))",
        "command.run(lambda _: print('x'))",
        "command.run(lambda _: print('x', flush=True))",
        "from catdog_ray import tune; command.run(tune.main, ['--help'])",
        # In lines: one long word takes rich a minute to break.
        r"from catdog_ray import live; command.run(lambda _: [live.make_console().print('x\n' * 50_000)] * 2)",
    ],
    ids=["much", "little", "at once", "help", "table"],
)
def test_a_reader_that_went_away_is_no_failure(code: str, tmp_path: Path) -> None:
    """`... | head -1`: also where the little that was printed is only written when the interpreter ends."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        result = run_python("-c", f"from catdog_ray import command; {code}", cwd=tmp_path, stdout=write_end)
    finally:
        os.close(write_end)
    assert (result.returncode, result.stderr) == (0, "")
