"""What stands on the terminal: progress as a line or a table, and the final table with its labels."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from make_rows import BASELINE, TUNED, progress, quickstart, retrain_row, trial_row, write_study
from rich.console import Console

from catdog_ray import compare, live
from catdog_ray.ledger import StudyDirectory
from catdog_ray.live import LiveView, clock, print_results, progress_line, progress_table, progress_view
from catdog_ray.records import Progress
from catdog_ray.words import percent

DRAWN_WARNING = "Drawn data: these figures show that the pipeline works; they say nothing about photographs."


def shown(*states: Progress) -> list[str]:
    """The lines that a view without a terminal prints."""
    console = Console(file=io.StringIO(), record=True, width=200, force_terminal=False)
    with LiveView(console, "quickstart") as view:
        for state in states:
            view.show(state)
    return console.export_text().splitlines()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (0.4, "0:00"),
        (9, "0:09"),
        (59.6, "1:00"),
        (65.4, "1:05"),
        (3599.4, "59:59"),
        (3600, "1:00:00"),
        (3723, "1:02:03"),
        (36_000, "10:00:00"),
        (360_000, "100:00:00"),
    ],
)
def test_the_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.8272, "82.7 %"), (1.0, "100.0 %"), (0.0, "0.0 %"), (0.99951, "100.0 %")]
)
def test_percentages(value: float, text: str) -> None:
    assert percent(value) == text


# ---- progress -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            "[1:05] search: 4 of 8 ended, 1234 epochs, best 0.812 (trial 3), about 1:02:05 left; trial-0004 started",
        ),
        (
            {"best": "-", "left_s": None, "completed": 0, "stopped": 0, "failed": 0, "epochs": 0, "elapsed_s": 0.2},
            "[0:00] search: 0 of 8 ended, 0 epochs; trial-0004 started",
        ),
        (
            {"stage": "retraining", "best": "-", "asked": 2, "completed": 1, "stopped": 0, "failed": 0, "left_s": 5.0},
            "[1:05] retraining: 1 of 2 ended, 1234 epochs, about 0:05 left; trial-0004 started",
        ),
        (
            {"left_s": 0.0, "running": 0},
            "[1:05] search: 4 of 8 ended, 1234 epochs, best 0.812 (trial 3), about 0:00 left; trial-0004 started",
        ),
    ],
)
def test_progress_in_a_line(changes: dict[str, Any], expected: str) -> None:
    assert progress_line(progress(**changes)).replace("\\[", "[") == expected
    assert shown(progress(**changes)) == [expected]


def cells(state: Progress) -> dict[str, str]:
    """Column headers and the one row."""
    table = progress_table("quickstart", state)
    assert table.row_count == 1
    return {str(column.header): str(*column.cells) for column in table.columns}


def test_progress_of_a_search_in_a_table() -> None:
    assert cells(progress()) == {
        "asked": "8",
        "running": "2",
        "completed": "1",
        "stopped": "2",
        "failed": "1",
        "epochs": "1,234",
        "time": "1:05",
        "left, about": "1:02:05",
    }
    assert cells(progress(left_s=None))["left, about"] == "-"
    assert cells(progress(left_s=0.0))["left, about"] == "0:00"


def test_progress_of_a_retraining_in_a_table() -> None:
    assert cells(progress(stage="retraining")) == {
        "asked": "8",
        "running": "2",
        "completed": "1",
        "failed": "1",
        "epochs": "1,234",
        "time": "1:05",
        "left, about": "1:02:05",
    }


def test_the_table_says_which_study_and_what_happened_last() -> None:
    console = Console(file=io.StringIO(), record=True, width=120)
    console.print(progress_view("quickstart-2", progress()))
    lines = [line.strip() for line in console.export_text().splitlines()]
    assert lines[0] == "quickstart-2: search"
    assert lines[-1] == "last: trial-0004 started"


def test_what_is_best_and_what_runs_stand_below_the_numbers() -> None:
    def below(**changes: Any) -> list[str]:
        console = Console(file=io.StringIO(), record=True, width=400)
        console.print(progress_view("quickstart", progress(**changes)))
        return [line.strip() for line in console.export_text().splitlines()][4:]

    underway = (("trial-0003", 4), ("trial-0004", 0))
    assert below(underway=underway) == [
        "best so far: 0.812 (trial 3)",
        "running: trial-0003 epoch 5, trial-0004 epoch 1 (builds its network first)",
        "last: trial-0004 started",
    ]
    many = tuple((f"baseline-seed-{seed}", 9) for seed in range(8))
    assert below(stage="retraining", best="-", underway=many) == [
        f"running: {', '.join(f'baseline-seed-{seed} epoch 10' for seed in range(6))} and 2 more",
        "last: trial-0004 started",
    ]


LARGE = {
    "asked": 1000,
    "running": 32,
    "completed": 900,
    "stopped": 60,
    "failed": 8,
    "epochs": 81_000,
    "elapsed_s": 3723.0,
    "left_s": 36_000.0,
    "best": "0.812 (trial 999, running)",
    "underway": tuple((f"trial-{number:04}", 80) for number in range(968, 1000)),
    "latest": "trial-0968 epoch 80: selection accuracy 0.799",
}
HUGE = {**LARGE, "asked": 100_000, "epochs": 9_123_456, "elapsed_s": 360_000.0, "left_s": 3_600_000.0}


@pytest.mark.parametrize("changes", [{}, LARGE, HUGE, {**LARGE, "stage": "retraining", "best": "-"}])
def test_eighty_columns_hold_everything(changes: dict[str, Any]) -> None:
    def words(width: int) -> tuple[int, str]:
        console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
        console.print(progress_view("a-study-of-some-length", progress(**changes)))
        text = console.file.getvalue()  # type: ignore[attr-defined]
        return max(map(len, text.splitlines())), " ".join(text.split())

    width, narrow = words(80)
    assert width <= 80
    assert "…" not in narrow
    assert narrow.replace("─", "") == words(1000)[1].replace("─", "")


def test_the_clock_runs_on_while_nothing_happens_and_stands_when_all_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [1000.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: moment[0])
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)

    def drawn(state: Progress, seconds: float) -> list[str]:
        view = LiveView(console, "quickstart")
        view.show(state)
        moment[0] += seconds
        with console.capture() as captured:
            console.print(view._draw())
        return captured.get().splitlines()[3].split()

    assert drawn(progress(elapsed_s=65.0, left_s=60.0), 0)[-2:] == ["1:05", "1:00"]
    assert drawn(progress(elapsed_s=65.0, left_s=60.0), 20)[-2:] == ["1:25", "0:40"]
    assert drawn(progress(elapsed_s=65.0, left_s=60.0), 3600)[-2:] == ["1:01:05", "0:00"]
    assert drawn(progress(elapsed_s=65.0, left_s=None), 20)[-2:] == ["1:25", "-"]
    over = progress(elapsed_s=65.0, left_s=0.0, running=0, completed=5)
    assert drawn(over, 3600)[-2:] == ["1:05", "0:00"]
    # Asked for more than have ended, as where its time ended a search: it goes on until the next stage begins.
    assert drawn(progress(elapsed_s=65.0, left_s=0.0, running=0), 20)[-2:] == ["1:25", "0:00"]


def test_the_view_draws_itself_again() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with LiveView(console, "quickstart") as view:
        view.begin("starting Ray")
        deadline = time.monotonic() + 20
        while "starting Ray (0:01)" not in console.file.getvalue() and time.monotonic() < deadline:  # type: ignore[attr-defined]
            time.sleep(0.05)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.index("starting Ray (0:00)") < text.index("starting Ray (0:01)")


def test_what_begins_is_a_line_without_a_terminal() -> None:
    console = Console(file=io.StringIO(), record=True, width=40, force_terminal=False)
    with LiveView(console, "quickstart") as view:
        view.begin("loading pictures")
        view.begin("joining Ray ([::1]:6379)")
        view.interrupt("the rows are in results/x; to go on: python -m catdog_ray.tune --resume --name x")
        view.interrupt("the rows are in results/x")
    assert console.export_text().splitlines() == [
        "loading pictures",
        "joining Ray ([::1]:6379)",
        "interrupted: finishing up, which takes some seconds; the rows are in results/x; to go on: "
        "python -m catdog_ray.tune --resume --name x",
        "still finishing up; it ends by itself, and nothing that was written is lost",
    ]


def test_a_finished_search_stays_above_what_begins_then() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with LiveView(console, "quickstart") as view:
        view.show(progress(running=0, completed=5, latest="trial-0007 completed"))
        view.begin("retraining: workers start")
        view.show(progress(stage="retraining", latest="baseline-seed-0 started"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("last: trial-0007 completed") == 1
    assert text.index("last: trial-0007 completed") < text.index("quickstart: retraining")


REASONS = [
    "trial-0001 failed: OSError: [/tmp/x] is gone",
    "trial-0001 failed: ValueError: shapes [batch, 3] and [batch] differ",
    "trial-0001 failed: FileNotFoundError: [Errno 2] No such file or directory: '[bold]'",
    "trial-0001 failed: KeyError: 'a\\[b'",
]
"""What a failed trial may say; brackets mean something to Rich, and must mean nothing here."""


@pytest.mark.parametrize("latest", REASONS)
def test_brackets_in_a_reason_are_shown_as_they_are(latest: str) -> None:
    (line,) = shown(progress(latest=latest))
    assert line.endswith(f"; {latest}")


@pytest.mark.parametrize("latest", REASONS)
def test_brackets_in_a_reason_do_not_break_the_table(latest: str) -> None:
    console = Console(file=io.StringIO(), width=160, force_terminal=True, color_system=None)
    with LiveView(console, "quickstart") as view:
        view.show(progress(latest=latest))
    assert latest in console.file.getvalue()  # type: ignore[attr-defined]


def test_without_a_terminal_epochs_are_thinned_out_and_events_are_not() -> None:
    texts = [f"trial-0001 epoch {epoch}: selection accuracy 0.700" for epoch in range(1, 30)]
    epochs = [progress(latest=text, is_event=False) for text in texts]
    # A reason may speak of an epoch too.
    failed = "trial-0001 failed: the loss became nan in epoch 30"
    lines = shown(progress(latest="trial-0001 started"), *epochs, progress(latest=failed))
    assert [line.rpartition("; ")[2] for line in lines] == ["trial-0001 started", failed]


def test_the_first_epoch_is_shown_at_once() -> None:
    (line,) = shown(progress(latest="trial-0001 epoch 1: selection accuracy 0.700"))
    assert line.endswith("; trial-0001 epoch 1: selection accuracy 0.700")


def test_on_a_terminal_the_finished_stage_stays_above_the_next() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with LiveView(console, "quickstart") as view:
        view.show(progress(running=0, completed=5, latest="trial-0007 completed"))
        view.show(progress(stage="retraining", latest="baseline-seed-0 started"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert (
        text.rindex("quickstart: search") < text.rindex("trial-0007 completed") < text.rindex("quickstart: retraining")
    )


def test_decoding_is_one_line_without_a_terminal() -> None:
    console = Console(file=io.StringIO(), record=True, width=120, force_terminal=False)
    with LiveView(console, "quickstart") as view:
        for done in range(1, 3001):
            view.show_decoding(done, 3000)
    assert console.export_text() == "reading pictures: 3,000 of 3,000\n"


def test_a_download_is_one_line_without_a_terminal_and_a_bar_on_one() -> None:
    console = Console(file=io.StringIO(), record=True, width=120, force_terminal=False)
    with LiveView(console, "quickstart") as view:
        for done in (10, 5_000, 68_606_236):
            view.show_downloading(done, 68_606_236)
    assert console.export_text() == "downloaded 68,606,236 bytes\n"
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with LiveView(console, "quickstart") as view:
        view.show_downloading(34_000_000, 68_000_000)
    assert "downloading: 34.0 MB of 68.0 MB" in console.file.getvalue()  # type: ignore[attr-defined]
    with LiveView(console, "quickstart") as view:
        view.show_downloading(1_000, 0)
    assert "downloading: 1.0 kB\n" in console.file.getvalue().replace("\r", "")  # type: ignore[attr-defined]


# ---- the final table ----------------------------------------------------------------------------------------------


def written(folder: Path, *, name: str = "quickstart", drawn: bool = True, seeds: int = 1) -> compare.Study:
    """A study with a tuned configuration of `seeds` seeds, and the baseline of one."""
    tuned = [
        retrain_row("trial-0007", seed, milestone, train_accuracy=0.9, test_accuracy=0.80 + 0.02 * seed)
        for seed in range(seeds)
        for milestone in (125, 200)
    ]
    base = [retrain_row("baseline", 0, milestone, train_accuracy=0.85, test_accuracy=0.75) for milestone in (125, 200)]
    trials = [trial_row(0), trial_row(7, objective=0.9, hyperparameters=TUNED)]
    config = quickstart(name=name)
    return compare.read(write_study(folder / name, config, drawn=drawn, trials=trials, retrain=[*tuned, *base]))


def printed(studies: Sequence[compare.Study]) -> list[str]:
    console = Console(file=io.StringIO(), record=True, width=120)
    print_results(console, studies)
    return [line.rstrip() for line in console.export_text().splitlines()]


def rows(lines: Sequence[str]) -> list[list[str]]:
    """The cells of the table's lines."""
    return [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in lines if line[:1] in "│┃" and line]


def test_the_table_of_one_study(tmp_path: Path) -> None:
    lines = printed([written(tmp_path)])
    assert rows(lines) == [
        ["configuration", "epochs", "training", "test (n seeds, 95 % interval)"],
        ["trial-0007 (best)", "125", "90.0 %", "80.0 % (n=1, no interval)"],
        ["trial-0007 (best)", "200", "90.0 %", "80.0 % (n=1, no interval)"],
        ["baseline", "125", "85.0 %", "75.0 % (n=1, no interval)"],
        ["baseline", "200", "85.0 %", "75.0 % (n=1, no interval)"],
        ["the guide: baseline", "200", "90.4 %", "91.8 % (reported on other data)"],
        ["the guide: tuned", "125", "82.4 %", "82.7 % (reported on other data)"],
    ]


def test_the_table_of_another_question_and_of_uneven_classes(tmp_path: Path) -> None:
    """The guide's figures are of cats and dogs; a constant answer's stand where classes are uneven."""
    data = {"name": "pets.zip", "drawn": False, "class_names": ["horses", "zebras"], "test_counts": [50, 150]}
    folder = write_study(tmp_path / "zoo", quickstart(name="zoo"), trials=[trial_row(0)], data=data)
    for seed in range(3):
        StudyDirectory(folder).retrain.append(retrain_row("baseline", seed, 125, test_accuracy=0.75))
    assert rows(printed([compare.read(folder)]))[1:] == [
        ["baseline (best)", "125", "90.0 %", "75.0 % (n=3, all alike)"],
        ["always zebras", "-", "-", "75.0 % (a constant answer)"],
    ]


def test_what_stands_above_and_below_the_table(tmp_path: Path) -> None:
    study = written(tmp_path)
    lines = printed([study])
    assert lines[0] == f"quickstart (drawn data, {quickstart().label}): {compare.search_line(study)}"
    assert lines[1].strip() == "accuracy after retraining"
    words = {
        name: ", ".join(f"{key} {value}" for key, value in point.items())
        for name, point in (("baseline", BASELINE), ("tuned", TUNED))
    }
    assert lines[-3:] == [
        f"quickstart, trial-0007 (best): {words['tuned']}",
        f"quickstart, baseline: {words['baseline']}",
        DRAWN_WARNING,
    ]


def test_intervals_stand_from_two_seeds_on(tmp_path: Path) -> None:
    found = {(row[0], row[1]): row[3] for row in rows(printed([written(tmp_path, seeds=2)]))}
    # 81 % with a deviation of 1.4142 %: half the interval is 12.7062 * 1.4142 % / sqrt(2).
    assert found["trial-0007 (best)", "200"] == "81.0 % (n=2, 68.3 % to 93.7 %)"
    assert found["baseline", "200"] == "75.0 % (n=1, no interval)"


def test_photographs_need_no_warning(tmp_path: Path) -> None:
    lines = printed([written(tmp_path, drawn=False)])
    assert lines[0].startswith(f"quickstart (pets.zip, {quickstart().label}): tpe: 2 trials")
    assert not any("rawn data" in line for line in lines)


def test_several_studies_stand_in_one_table(tmp_path: Path) -> None:
    lines = printed([written(tmp_path, name="cpu", drawn=False), written(tmp_path, name="quickstart", drawn=True)])
    table = rows(lines)
    assert table[0] == ["study", "configuration", "epochs", "training", "test (n seeds, 95 % interval)"]
    assert [row[:3] for row in table[1:]] == [
        ["cpu", "trial-0007 (best)", "125"],
        ["cpu", "trial-0007 (best)", "200"],
        ["cpu", "baseline", "125"],
        ["cpu", "baseline", "200"],
        ["quickstart", "trial-0007 (best)", "125"],
        ["quickstart", "trial-0007 (best)", "200"],
        ["quickstart", "baseline", "125"],
        ["quickstart", "baseline", "200"],
        ["", "the guide: baseline", "200"],
        ["", "the guide: tuned", "125"],
    ]
    assert lines[0].startswith("cpu (pets.zip, ")
    assert lines[1].startswith("quickstart (drawn data, ")
    assert lines[-1] == DRAWN_WARNING


def test_a_study_that_retrained_nothing_has_no_table_of_it(tmp_path: Path) -> None:
    study = compare.read(write_study(tmp_path / "quickstart", quickstart(), trials=[trial_row(0)]))
    shown = printed([study])
    assert rows(shown) == []
    assert "1 trials" in shown[0]
    assert not any("after retraining" in line for line in shown)


def test_the_table_is_the_same_every_time(tmp_path: Path) -> None:
    study = written(tmp_path, seeds=2)
    assert printed([study]) == printed([study])


def test_names_are_no_markup(tmp_path: Path) -> None:
    """Two studies, so that their names stand in the table."""
    studies = []
    for name in ("[/x]", "[red]y"):
        folder = write_study(tmp_path / name.strip("[/]"), quickstart(), trials=[trial_row(0)])
        facts = json.loads((folder / "study.json").read_text()) | {"name": name, "label": name}
        (folder / "study.json").write_text(json.dumps(facts))
        StudyDirectory(folder).retrain.append(retrain_row("baseline"))
        studies.append(compare.read(folder))
    shown = "\n".join(printed(studies))
    assert all(shown.count(name) >= 2 for name in ("[/x]", "[red]y"))
