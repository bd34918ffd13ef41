"""The bookkeeping of scripts/benchmark.py; what it measures is no test."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import benchmark
import pytest
from benchmarks import answer, control, turnaround
from benchmarks.measure import Measurement, Row, in_turn, report
from benchmarks.turnaround import Event

from catdog_ray import command, config, files, provenance
from catdog_ray.errors import RunFailed, UserError
from catdog_ray.ledger import RowFile

SCRIPTS = Path(__file__).parents[1] / "scripts"


def row(bound: float | None = 6.0, *, at_least: bool = True) -> Row:
    return Row("some", 1, "words", "images/s", bound, at_least, "cpu", lambda quick: Measurement([1.0]))


def test_two_ways_are_timed_in_turn_and_neither_is_always_first():
    order: list[str] = []

    def way(name: str):
        return lambda: float(len(order.append(name) or order))

    found = in_turn(way("a"), way("b"), repetitions=3)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"  # the first pair is warm-up
    assert (found.ours, found.theirs) == ([3.0, 6.0, 7.0], [4.0, 5.0, 8.0])


def test_a_report_holds_the_ratio_of_pairs_and_whether_it_is_what_it_must_be():
    found = report(row(), Measurement([10.0, 30.0, 24.0], [2.0, 3.0, 4.0], {"threads": 2}))
    assert found["ratio"]["values"] == [5.0, 10.0, 6.0]
    assert (found["ratio"]["median"], found["ratio"]["low"], found["ratio"]["high"], found["ratio"]["n"]) == (
        6,
        5,
        10,
        3,
    )
    assert (found["must_be"], found["holds"], found["details"]) == ("at least 6", True, {"threads": 2})
    assert report(row(5.0, at_least=False), Measurement([4.9, 5.2, 5.1]))["holds"] is False
    assert report(row(None), Measurement([1.0]))["holds"] is None


def test_every_row_is_named_once_and_a_gpu_row_says_how_it_is_filled_elsewhere():
    rows = benchmark.rows()
    assert {row.item for row in rows.values()} == {1, 2, 3, 4, 5, 6, 7, 8}
    assert all(row.needs in ("cpu", "gpu", "ray") for row in rows.values())
    found = benchmark.run(rows["gpu-epoch-150"], quick=False, has_gpu=False)
    assert found["state"] == "not measured"
    assert found["command"] == "python scripts/benchmark.py --only gpu-epoch-150"
    assert found["must_be"] == "at most 1.25"


def test_the_machines_kind_names_no_machine():
    assert benchmark.machine_kind({"gpus": [], "cpu_model": "Intel(R) Xeon(R) CPU @ 2.20GHz", "cores": 4}) == (
        "intel-xeon-4-cores"
    )
    machine = {"gpus": ["NVIDIA H100 80GB HBM3"], "cpu_model": "AMD EPYC", "cores": 16}
    assert benchmark.machine_kind(machine) == "nvidia-h100-80gb-hbm3-16-cores"


def test_what_is_measured_is_kept_row_by_row_and_other_rows_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "today.json"
    file.write_text(json.dumps({"rows": [{"name": "startup", "n": 1}, {"name": "epoch-64", "n": 1}]}))

    def run(row, **_):
        if row.name == "turnaround":
            raise KeyboardInterrupt
        return {**benchmark.described(row), "state": "not measured", "command": "again"}

    monkeypatch.setattr(benchmark, "run", run)
    with pytest.raises(KeyboardInterrupt):
        benchmark.main(["--only", "epoch-64", "xla-64", "turnaround", "--output", str(file)])
    found = json.loads(file.read_text())["rows"]
    assert [row["name"] for row in found] == ["epoch-64", "xla-64", "startup"]
    assert [row.get("n") for row in found] == [None, None, 1]
    assert all(row["commit"] and row["date_utc"] for row in found[:2])


def test_an_unknown_row_is_named(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "benchmark.py"), "--only", "nothing"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: --only: no such row; there are augmentation-32, ")


def test_efficiency_is_the_busy_share_while_trials_are_left():
    # Two slots. Trial 2 begins a second after trial 0 ended; trial 3, the last to begin, begins at 5.
    spans = [(0, 1, 0.0, 2.0), (1, 2, 0.0, 5.0), (2, 1, 3.0, 5.0), (3, 2, 5.0, 6.0)]
    found = control.efficiency(spans, 2)
    assert found["efficiency"] == pytest.approx(9 / 10)
    assert found["workers"] == 2
    assert found["until_all_run_s"] == 0
    # The second worker starts at 4, when the first has had two trials.
    late = [(0, 1, 0.0, 2.0), (1, 1, 2.0, 5.0), (2, 2, 4.0, 6.0), (3, 2, 6.0, 8.0), (4, 1, 7.0, 9.0)]
    found = control.efficiency(late, 2)
    assert found["until_all_run_s"] == 4
    assert found["efficiency"] == pytest.approx((1 + 2 + 1) / (2 * 3))
    with pytest.raises(RuntimeError, match="2 workers ran, not 3"):
        control.efficiency(late, 3)


def test_gaps_run_from_a_last_epoch_to_the_first_step_that_follows():
    def trial(number: int, begin: float, first: float, end: float) -> list[Event]:
        steps = (("begin", begin), ("first step", first), ("epoch", first + 0.1), ("epoch", end))
        return [Event(number % 2, number, name, seconds, 0) for name, seconds in steps]

    events = trial(0, 0, 3, 5) + trial(1, 0, 3, 6) + trial(2, 5.5, 7, 9) + trial(3, 6.5, 7.5, 9)
    assert turnaround.gaps(events) == pytest.approx([2.0, 1.5])


def test_recorded_curves_are_whole_trials():
    curves = json.loads(control.CURVES.read_text())
    assert len(curves) == 16
    assert {len(curve) for curve in curves} == {27}
    assert all(0 <= value <= 1 for curve in curves for value in curve)


def searched(module: str, seed: int = 0, **values: Any) -> answer.Searched:
    """One short search, or as `values` say."""
    defaults: dict[str, Any] = {
        "flags": ["--config", "quickstart.yaml", "--num-samples", "2"],
        "commit": "c0de",
        "date_utc": "2026-11-26T00:00:00+00:00",
        "start_up_s": 5.0,
        "total_s": 25.0,
        "rises": [[10.0, 0.6], [15.0, 0.7]],
        "multiply_adds": 100.0,
        "epochs": 10,
        "suggestion_s": 1.0,
    }
    return answer.Searched(module=module, seed=seed, **(defaults | values))


def stock_search(seed: int = 0, held_s: float = 70.0) -> answer.Searched:
    """The stock tuner's, four times as much work."""
    own = {"start_up_s": 10.0, "multiply_adds": 400.0, "epochs": 40, "suggestion_s": 20.0}
    return searched("baseline", seed, total_s=130.0, rises=[[30.0, 0.6], [held_s, 0.7]], **own)


def test_a_target_is_held_from_the_epoch_on_that_reports_it():
    # Of trials side by side, so not in the order of time.
    reports = [(4.0, 0.7), (1.0, 0.5), (2.0, 0.6), (3.0, 0.6), (5.0, 0.65)]
    assert answer.rises(reports) == [[1.0, 0.5], [2.0, 0.6], [4.0, 0.7]]
    ours = searched("tune")
    stock = stock_search()
    assert (ours.holds_at(stock.best), stock.holds_at(stock.best), ours.holds_at(0.71)) == (15.0, 70.0, float("inf"))
    found = answer.shares([(ours, stock)])
    # 130 s against 25 s; a quarter of the work, at (100 / 20) against (400 / 100) multiply-adds a second.
    assert found["whole_search_times_faster"] == pytest.approx(5.2)
    assert found["factors"] == {"early stopping": 4.0, "parallel trials": 1.25, "start-up and suggestions": 1.04}
    assert found["reached_by_ours"] == 1
    # Half of two; the one that ends without it counts as not there yet.
    held = [ours.holds_at(target) for target in (0.7, 0.8, 0.8)]
    assert answer.censored_median(held[:2], [ours.total_s] * 2) == 15.0
    assert answer.censored_median(held, [ours.total_s] * 3) is None


TWO = answer.Problem("quickstart.yaml", 2, {})
NEVER = [[9.0, 0.1]]


def test_searches_that_were_kept_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept, ran = tmp_path / "kept.jsonl", []
    RowFile(kept, answer.Searched).append(
        searched("tune", 0),
        searched("baseline", 0, flags=["--num-samples", "3"]),  # another problem's
        searched("tune", 1, rises=[[25.0, 0.9]]),
    )
    kept.write_bytes(kept.read_bytes() + b'{"module": "bas')  # torn by what stopped it

    def search(module: str, flags: Any, folder: Path, *, seed: int) -> answer.Searched:
        ran.append((module, seed))
        if module == "tune":
            return searched("tune", seed, rises=NEVER)
        return stock_search(seed, 70.0 if seed else 40.0)

    monkeypatch.setattr(answer, "search", search)
    monkeypatch.setattr(answer, "_is_code_of", {"c0de": True}.get)
    found = answer.answer(TWO, over="whole", seeds=3, quick=False, kept=kept)
    assert ran == [("baseline", 0), ("baseline", 1), ("tune", 2), ("baseline", 2)]
    assert found.ratios() == [15 / 130, 25 / 130, float("inf")]
    # A second row asks the same searches another question.
    again = answer.answer(TWO, over="held", seeds=3, quick=False, kept=kept)
    assert len(ran) == 4
    assert again.ratios() == [15 / 40, 25 / 70, float("inf")]
    assert again.details["reached_by_ours"] == 2
    assert again.details["censored_median_s"] == {"ours": 25.0, "stock_holding_it": 70.0, "stock_whole_search": 130.0}


def test_longer_survivors_stand_beside_the_first_configuration_alone(monkeypatch: pytest.MonkeyPatch):
    longer = []

    def search(module: str, flags: Any, folder: Path, *, seed: int) -> answer.Searched:
        alone = flags[flags.index("--num-samples") + 1] == "1"
        longer.append((module, "search.max_epochs=64" in flags))
        found = searched("tune", seed, rises=NEVER if alone and seed == 2 else [[20.0 if alone else 15.0, 0.7]])
        return found if module == "tune" else stock_search(seed)

    monkeypatch.setattr(answer, "search", search)
    found = answer.answer(dataclasses.replace(TWO, survivors_epochs=64), over="held", seeds=3, quick=False)
    assert set(longer) == {("tune", True), ("baseline", False)}
    assert found.ratios() == [15 / 70] * 3
    alone = found.details["first_configuration_alone"]
    assert alone["held_s"]["values"] == [20.0, 20.0, float("inf")]
    assert alone["over_whole_stock_search"]["median"] == 20 / 130
    assert "first_configuration_alone" not in answer.answer(TWO, over="held", seeds=1, quick=False).details


@pytest.mark.parametrize("commit", ["0" * 40, f"{provenance.commit()}+changes", None])
def test_searches_of_other_code_are_not_mixed_in(tmp_path: Path, commit: str | None):
    kept = tmp_path / "kept.jsonl"
    RowFile(kept, answer.Searched).append(searched("tune", commit=commit))
    with pytest.raises(UserError, match=r"^kept\.jsonl: was begun with the code of .*; remove the file, or"):
        answer.answer(TWO, over="whole", seeds=1, quick=False, kept=kept)


@pytest.mark.parametrize(
    ("problem", "longest", "stock_longest"),
    [
        (answer.DRAWN, 27, 27),
        (answer.LONGER, 64, 27),
        (answer.PHOTOGRAPHED, 18, 18),
        (answer.PHOTOGRAPHED_LONGER, 36, 18),
    ],
)
def test_a_problem_is_a_command_that_can_be_typed_and_a_quick_one_is_small(
    problem: answer.Problem, longest: int, stock_longest: int
):
    def search(one: answer.Problem, module: str) -> Any:
        overrides = command.study_overrides(command.study_parser("tune", "").parse_args(one.flags(module)))
        return config.load(problem.config, overrides=overrides).search

    ours, stock, quick = search(problem, "tune"), search(problem, "baseline"), search(problem.quick(), "tune")
    assert (ours.num_samples, ours.reduction_factor, ours.max_epochs) == (problem.configurations, 2, longest)
    assert (stock.num_samples, stock.max_epochs) == (ours.num_samples, stock_longest)
    assert (quick.num_samples, quick.max_epochs <= 4) == (3, True)


def test_rows_that_ask_the_same_searches_share_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def run(row: Row, *, kept: Path | None, **_: Any) -> dict[str, Any]:
        asked.append((row.name, kept))
        return {**benchmark.described(row), "state": "not measured", "command": "again"}

    monkeypatch.setattr(benchmark, "run", run)
    benchmark.main(["--only", "answer-drawn.*", "xla-64", "--output", str(tmp_path / "day.json")])
    file = tmp_path / "day-answer-drawn.jsonl"
    assert asked == [("xla-64", None), ("answer-drawn", file), ("answer-drawn-whole", file)]


def test_what_was_measured_is_not_lost_to_a_failure_or_a_quick_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "day.json"

    def measure(state: str, *flags: str) -> None:
        def run(row: Row, **_: Any) -> dict[str, Any]:
            if state == "refused":
                raise UserError("kept.jsonl: was begun with other code")
            return {**report(row, Measurement([1.0])), "state": state, "reason": "", "command": "again"}

        monkeypatch.setattr(benchmark, "run", run)
        benchmark.main(["--only", "xla-64", "--output", str(file), *flags])

    def states() -> list[tuple[str, bool]]:
        return [(row["state"], row["quick"]) for row in json.loads(file.read_text())["rows"]]

    with pytest.raises(RunFailed):
        measure("failed")
    assert states() == [("failed", False)]
    measure("measured", "--quick")
    assert states() == [("measured", True)]
    measure("measured")
    assert states() == [("measured", False)]
    measure("measured", "--quick")
    with pytest.raises(RunFailed):
        measure("failed")
    with pytest.raises(UserError):
        measure("refused")
    measure("not measured")
    assert states() == [("measured", False)]


def test_a_target_never_reached_is_null_in_the_file_and_holds_nothing(tmp_path: Path):
    found = report(row(0.5, at_least=False), Measurement([float("inf")], [3.0]))
    assert found["holds"] is False
    benchmark.print_table([json.loads(files.to_json(found))])


@pytest.mark.parametrize(
    ("script", "flags", "message"),
    [
        ("benchmark.py", ["--only", "["], "--only: [ holds no regular expression"),
        (
            "benchmark.py",
            ["--only", "augmentation-150", "--output", "/proc/no/rows.json"],
            "/proc/no/rows.json: cannot be",
        ),
        ("benchmark.py", ["--only", "augmentation-150", "--output", "damaged.json"], "damaged.json holds no rows of a"),
        ("benchmark.py", ["--foo"], "unrecognized arguments: --foo"),
        ("measure_drawn.py", ["--train", "0"], "--train must be at least 20, got 0"),
        ("measure_drawn.py", ["--seeds", "0"], "--seeds must be at least 1, got 0"),
        ("measure_drawn.py", ["--seeds", "x"], "argument --seeds: invalid int value: 'x'"),
        ("measure_drawn.py", ["--output", "/proc/no/x.json"], "/proc/no/x.json: cannot be written"),
        ("measure_decoding.py", ["--images", "0"], "--images must be at least 40, got 0"),
        ("measure_decoding.py", ["--output", "/proc/no/x.json"], "/proc/no/x.json: cannot be written"),
    ],
)
def test_bad_flags_are_one_line_before_the_work(script: str, flags: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "damaged.json").write_text("{")
    words = [sys.executable, str(SCRIPTS / script), *flags]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert message in done.stderr
