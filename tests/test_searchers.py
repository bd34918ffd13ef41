"""Optuna behind Ray's searcher interface, without Ray."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from ray.tune.search import Searcher
from small import ANY_POINT, EVERY_KIND, quick_config

from catdog_ray.ledger import RowFile
from catdog_ray.ranges import Choice, contains
from catdog_ray.records import TrialRow
from catdog_ray.searchers import OptunaSuggester, Planned, StudySearcher
from catdog_ray.space import HyperParameters, require_inside

CONFIG = quick_config()
BASELINE = HyperParameters.of(CONFIG.baseline)


def suggester(sampler: str = "tpe", *, seed: int = 0, journal: Path | None = None, startup: int = 3) -> OptunaSuggester:
    return OptunaSuggester(CONFIG.space, sampler=sampler, seed=seed, startup_trials=startup, journal=journal)


def score(point: HyperParameters) -> float:
    """A smooth bowl around dropout 0.2 for the sampler to find."""
    return 1 - (point.number("dropout_rate") - 0.2) ** 2


def play(proposer: OptunaSuggester, numbers: range) -> list[HyperParameters]:
    points = []
    for number in numbers:
        point = proposer.suggest(number).hyperparameters
        proposer.report(number, 1, score(point) / 2)
        proposer.finish(number, "completed", 2, score(point))
        points.append(point)
    return points


def ended(number: int, point: HyperParameters, status: str = "completed") -> TrialRow:
    value = None if status == "failed" else score(point)
    return TrialRow(number, status, None, dict(point), 2, value, 10, 10, 0.0, 1.0, 1.0)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_suggestions_lie_in_the_space_and_follow_the_seed(sampler: str):
    points = play(suggester(sampler), range(12))
    for point in points:
        assert tuple(point) == tuple(CONFIG.space)
        assert all(contains(CONFIG.space[name], value) for name, value in point.items())
    assert points == play(suggester(sampler), range(12))
    assert points != play(suggester(sampler, seed=1), range(12))
    assert len(set(points)) == 12


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_every_kind_of_range_is_kept_in_value_and_type(sampler: str, tmp_path: Path):
    def anew(**options) -> OptunaSuggester:
        # Of mixed kinds too, which only Optuna takes.
        space = {**EVERY_KIND, "mixed": Choice((True, 3, "a"))}
        return OptunaSuggester(space, sampler=sampler, seed=0, startup_trials=20, **options)

    def goodness(point: HyperParameters) -> float:
        return point.number("width") / 128 + point.number("share") / 2

    first = anew(journal=tmp_path / "journal.log")
    points = [HyperParameters.of({**ANY_POINT, "mixed": True})]
    first.begin(0, points[0])
    first.finish(0, "completed", 1, goodness(points[0]))
    for number in range(1, 200):
        points.append(first.suggest(number).hyperparameters)
        first.finish(number, "completed", 1, goodness(points[-1]))
    for point in points:
        assert require_inside(point, first._space) == point
        kinds = [type(value) for name, value in point.items() if name not in ("scale", "mixed")]
        assert kinds == [float, float, int, int, bool, int, str]
    assert {point["units"] for point in points} == {1, 2, 3, 4}
    if sampler == "random":  # TPE soon leaves narrow widths alone, which score badly
        assert {point["width"] for point in points} == set(range(8, 65, 8))
    for name, choices in (("skip", {"True", "False"}), ("scale", {"1", "1.5"}), ("mixed", {"True", "3", "'a'"})):
        assert {repr(point[name]) for point in points} == choices
    assert [repr(trial.params) for trial in load(tmp_path / "journal.log")] == [repr(dict(point)) for point in points]
    # From rows that went through a file it goes on with the same points, of the same types.
    rows = RowFile(tmp_path / "trials.jsonl", TrialRow)
    rows.append(
        *(TrialRow(n, "completed", None, dict(p), 1, goodness(p), 1, 1, 0.0, 1.0, 1.0) for n, p in enumerate(points))
    )
    rebuilt = anew()
    for row in rows.read():
        assert repr(row.hyperparameters) == repr(dict(points[row.trial]))
        rebuilt.replay(row, [row.objective])
    for number in range(200, 203):
        assert repr(rebuilt.suggest(number).hyperparameters) == repr(first.suggest(number).hyperparameters)


def test_tpe_learns_and_random_does_not():
    def late_misses(sampler: str) -> float:
        points = play(suggester(sampler, startup=10), range(60))[30:]
        return sum(abs(point.number("dropout_rate") - 0.2) for point in points) / 30

    assert late_misses("tpe") < 0.6 * late_misses("random")


def test_a_suggester_rebuilt_from_rows_goes_on_as_the_first_would():
    whole = play(suggester(), range(12))
    rebuilt = suggester()
    for number, point in enumerate(whole[:8]):
        rebuilt.replay(ended(number, point), [score(point) / 2, score(point)])
    assert play(rebuilt, range(8, 12)) == whole[8:]


def test_as_many_points_as_asked_for_are_random_before_tpe_learns():
    random = play(suggester(startup=100), range(6))
    for startup in (2, 4):
        points = play(suggester(startup=startup), range(6))
        assert points[:startup] == random[:startup]
        assert points[startup] != random[startup]


def test_the_journal_holds_the_study_with_curves_and_states(tmp_path: Path):
    path = tmp_path / "optuna-journal.log"
    live = suggester(journal=path)
    live.begin(0, BASELINE)
    live.report(0, 1, 0.5)
    live.finish(0, "stopped", 2, 0.6)
    live.suggest(1)
    live.finish(1, "failed", 0, None)
    live.suggest(2)
    trials = load(path)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "RUNNING"]
    assert trials[0].params == dict(BASELINE)
    assert trials[0].value == 0.6
    assert trials[0].intermediate_values == {1: 0.5, 2: 0.6}
    assert [trial.user_attrs.get("status") for trial in trials] == ["stopped", "failed", None]
    assert [trial.user_attrs["number"] for trial in trials] == [0, 1, 2]


def test_a_trial_that_goes_on_keeps_its_curve_in_the_journal(tmp_path: Path):
    """Epochs on record, one of them repeated from an older checkpoint, and the one that ended it."""
    path = tmp_path / "optuna-journal.log"
    planned = Planned(7, BASELINE, accuracies=(0.4, 0.6), objectives=(0.4, 0.5))
    searcher = StudySearcher(suggester(journal=path), planned=[planned], max_epochs=9)
    searcher.suggest("ray-0")
    for epoch, objective in ((2, 0.55), (3, 0.6)):
        searcher.on_trial_result("ray-0", {"epoch": epoch, "objective": objective})
    searcher.on_trial_complete("ray-0", {"epoch": 4, "objective": 0.7, "failure": None})
    [trial] = load(path)
    assert trial.intermediate_values == {1: 0.4, 2: 0.5, 3: 0.6, 4: 0.7}
    assert (trial.value, trial.user_attrs) == (0.7, {"number": 7, "status": "stopped"})


def test_what_the_end_of_a_search_cut_runs_no_more(tmp_path: Path):
    path = tmp_path / "optuna-journal.log"
    live = suggester(journal=path)
    live.begin(0, BASELINE)
    live.report(0, 1, 0.5)
    live.report(0, 2, 0.7)
    live.suggest(1)
    live.suggest(2)
    live.finish(2, "completed", 9, 0.8)
    live.close([replace(ended(0, BASELINE, "stopped"), epochs=2, objective=0.7)])
    trials = load(path)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert [trial.value for trial in trials] == [0.7, None, 0.8]
    assert [trial.user_attrs["status"] for trial in trials] == ["stopped", "failed", "completed"]


def test_an_old_journal_is_replaced_and_not_continued(tmp_path: Path):
    path = tmp_path / "optuna-journal.log"
    play(suggester(journal=path), range(3))
    again = suggester(journal=path)
    again.replay(ended(0, BASELINE), [0.1, 0.2])
    again.replay(ended(1, BASELINE, "failed"), [0.1])
    trials = load(path)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL"]
    assert trials[0].intermediate_values == {1: 0.1, 2: 0.2}


def load(path: Path) -> list[optuna.trial.FrozenTrial]:
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    return optuna.load_study(study_name="study", storage=optuna.storages.JournalStorage(backend)).trials


def test_planned_trials_come_first_then_the_open_numbers_then_the_end():
    planned = [Planned(3, BASELINE, resume_from=("somewhere",)), Planned(0, BASELINE)]
    searcher = StudySearcher(suggester(), planned=planned, open_numbers=[1, 4], max_epochs=9)
    given = [searcher.suggest(f"ray-{i}") for i in range(5)]
    assert [item["number"] for item in given[:4]] == [3, 0, 1, 4]
    assert given[4] == Searcher.FINISHED
    assert given[0]["resume_from"] == ["somewhere"]
    assert given[0]["suggestion_seconds"] is None
    assert 0 < given[2]["suggestion_seconds"] < 10
    assert given[0]["hyperparameters"] == dict(BASELINE)


def test_a_trial_gets_what_is_on_record_of_it():
    planned = Planned(3, BASELINE, ("b", "a"), 7, (0.4, 0.6), (0.4, 0.5), 0.25, extra={"seed": 5})
    assert StudySearcher(None, planned=[planned], max_epochs=9).suggest("ray-0") == {
        "number": 3,
        "hyperparameters": dict(BASELINE),
        "resume_from": ["b", "a"],
        "resume_before": 7,
        "accuracies": [0.4, 0.6],
        "suggestion_seconds": 0.25,
        "seed": 5,
    }


def test_a_number_waits_for_a_suggestion_that_is_still_being_found():
    """As of Keras Tuner's oracle, which is asked again for the same trial."""
    asked: list[int] = []

    class Slow(OptunaSuggester):
        def suggest(self, number: int):
            asked.append(number)
            return None if len(asked) in (1, 3) else super().suggest(number)

    slow = Slow(CONFIG.space, sampler="random", seed=0, startup_trials=1)
    searcher = StudySearcher(slow, planned=[], open_numbers=[4, 6], max_epochs=9)
    given = [searcher.suggest(f"ray-{index}") for index in (0, 0, 1, 1)]
    assert [item and item["number"] for item in given] == [None, 4, None, 6]
    assert asked == [4, 4, 6, 6]


def test_ends_reach_optuna_as_what_they_are(tmp_path: Path):
    path = tmp_path / "journal.log"
    searcher = StudySearcher(suggester(journal=path), planned=[], open_numbers=range(4), max_epochs=9)
    for index in range(4):
        searcher.suggest(f"ray-{index}")
    searcher.on_trial_result("ray-0", {"epoch": 1, "objective": 0.4})
    searcher.on_trial_complete("ray-0", {"epoch": 3, "objective": 0.5, "failure": None})
    searcher.on_trial_complete("ray-1", {"epoch": 9, "objective": 0.7, "failure": None})
    searcher.on_trial_complete("ray-2", {"epoch": 2, "objective": 0.5, "failure": "the loss became nan"})
    searcher.on_trial_complete("ray-3", error=True)
    trials = load(path)
    assert [trial.user_attrs["status"] for trial in trials] == ["stopped", "completed", "failed", "failed"]
    assert [trial.value for trial in trials] == [0.5, 0.7, None, None]
    assert trials[0].intermediate_values == {1: 0.4, 3: 0.5}
