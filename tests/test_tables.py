"""The tables' words: units, verdicts, what is not known, and Markdown that holds together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from make_studies import write_invented

from catdog_ray import audit, cells, comparison, figures, markdown, summary, tables, words
from catdog_ray.comparison import Comparison, LeftOut
from catdog_ray.curves import TimeToTarget
from catdog_ray.differences import Compared
from catdog_ray.early_stopping import EarlyStopping
from catdog_ray.evenness import Constant
from catdog_ray.records import best_trial
from catdog_ray.retrained import Classified, Mistake
from catdog_ray.statistics import Calibration, Difference, Estimate
from catdog_ray.table import DRAWN, SECTIONS, Table


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    root = tmp_path_factory.mktemp("tables")
    studies = [
        write_invented(root / f"{method}-{seed}", method=method, seed=seed)
        for method in ("tpe", "random")
        for seed in (0, 10)
    ]
    return comparison.compare([audit.read(folder) for folder in studies])


def titled(found: Comparison, start: str) -> Table:
    return next(table for table in tables.tables(found) if table.title.startswith(start))


def exactly(mean: float, *, sd: float | None = None) -> Estimate:
    return Estimate(1 if sd is None else 2, mean, sd, None, None)


def test_every_row_has_a_cell_for_every_column(found: Comparison) -> None:
    made = tables.tables(found)
    assert len(made) == 11
    assert all(len(row) == len(table.columns) for table in made for row in table.rows)
    assert {table.section for table in made} <= set(SECTIONS)


def test_the_guides_four_figures_stand_beside(found: Comparison) -> None:
    rows = titled(found, "Accuracy after retraining").rows[-2:]
    assert [row[:5] for row in rows] == [
        ("the guide: baseline", "200", "1 run", "90.4 %", "91.8 %"),
        ("the guide: tuned", "125", "1 run", "82.4 %", "82.7 %"),
    ]


def with_facts(found: Comparison, **facts: object) -> Comparison:
    """The same with other facts of the data in its first study, which are those of all."""
    first = found.groups[0].studies[0]
    changed = replace(first, facts={**first.facts, "data": {**first.facts["data"], **facts}})
    group = replace(found.groups[0], studies=(changed, *found.groups[0].studies[1:]))
    return replace(found, groups=(group, *found.groups[1:]))


def test_the_guides_figures_are_not_of_another_question(found: Comparison) -> None:
    other = with_facts(found, class_names=["circles", "squares"])
    assert titled(other, "Accuracy after retraining").rows[-1][0] == "baseline"
    assert "guide" in markdown.page(found)
    assert "guide" not in markdown.page(other)
    captions = {drawing.name: drawing.caption for drawing in figures.draw(other)}
    assert captions["retrained"] == "Marks are means, lines Student's t intervals over n; a mark alone has none."


def test_a_constant_answer_stands_beside_where_classes_are_uneven(found: Comparison) -> None:
    assert found.constant is None
    uneven = replace(found, constant=Constant("dogs", 0.8))
    table = titled(uneven, "Accuracy after retraining")
    assert table.rows[-3] == ("always dogs", "-", "-", "-", "80.0 %", "-", "none", "-")
    assert "The classes are uneven: always dogs is a constant answer's accuracy." in table.note
    assert any(text.endswith("; always dogs, a constant answer, 80.0 %.") for text in summary.sentences(uneven))


def test_what_is_all_alike_has_no_interval() -> None:
    alike, one = Estimate(3, 0.9, 0.0, None, None), Estimate(1, 0.9, None, None, None)
    assert cells.accuracy_cells(alike) == ("90.0 %", "0.0", "all alike")
    assert cells.accuracy_cells(one) == ("90.0 %", "-", "none")
    assert cells.interval_cell(Difference(3, 0.1, 0.0, None, None), signed=True) == "all alike"
    assert cells.interval_cell(Difference(3, 0.1, 0.1, -0.05, 0.25), signed=True) == "-5.0 to +25.0"
    assert cells.signed_cell(alike) == "+90.0 points (n=3, all alike: no difference shown)"
    assert cells.loss_cell(alike) == "0.900 (all alike)"


def test_a_tables_figures_are_the_comparisons(found: Comparison) -> None:
    method = found.methods[0]
    assert method.best is not None
    row = titled(found, "What the searches found").rows[0]
    assert row[:4] == (
        "TPE",
        "2",
        f"24 ({method.completed} / {method.stopped} / {method.failed})",
        f"{100 * method.best.mean:.1f} %",
    )
    first = found.accuracies[0]
    row = titled(found, "Accuracy after retraining").rows[0]
    assert row[:5] == ("TPE", "4", "2 searches", words.percent(first.train.mean), words.percent(first.test.mean))


def test_what_a_search_found_and_spent_stands_in_its_column(found: Comparison) -> None:
    method = replace(
        found.methods[0],
        trials=1240,
        completed=7,
        stopped=1215,
        cut=5,
        failed=13,
        epochs=exactly(4567.0, sd=8.5),
        multiply_adds=exactly(5.5e12, sd=2.5e9),
        seconds=exactly(9000.0, sd=90.0),
        cpu_hours=exactly(2.345),
        gpu_hours=exactly(6.789),
        best=Estimate(2, 0.771, 0.0123, 0.661, 0.881),
        best_at=exactly(0.725),
        regret=exactly(0.0125),
        suggestions=40,
        suggestion_seconds=0.0126,
        suggestion_share=0.0031,
    )
    made = replace(found, methods=(method, replace(method, cut=0, gpu_hours=None)), reference=0.875, common_epochs=1234)
    table = titled(made, "What the searches found")
    assert table.rows[0] == (
        *("TPE", "2", "1,240 (7 / 1,215 / 13; 5 cut by the time budget)", "77.1 %", "1.2", "66.1 to 88.1 %"),
        *("1.2 points", "72.5 %", "0.013 (n=40)", "0.31 %"),
    )
    assert table.columns[7] == "best objective after 1,234 epochs, mean"
    assert table.rows[1][2] == "1,240 (7 / 1,215 / 13)"
    assert "(87.5 %)" in table.note
    spent = titled(made, "What a search spent")
    assert spent.rows[0] == ("TPE", "4,567 (8.5)", "5.5 T (2.5 G)", "2.5 h (90 s)", "2.35", "6.79")
    assert spent.rows[1][4:] == ("2.35", "-")


def test_what_was_replayed_stands_in_its_column(found: Comparison) -> None:
    item = EarlyStopping("TPE", 200, 3, *map(exactly, (0.3, 0.875, 0.0125, 0.0475)))
    other = replace(item, concurrent=1, share_of_epochs=Estimate(4, 0.4, 0.1, 0.3, 0.5))
    table = titled(replace(found, early_stopping=(item, other)), "Trials of full length")
    assert table.rows == (
        ("TPE", "1 x 200", "70.0 %", "87.5 %", "1.2 points", "4.8 points"),
        ("TPE", "4 x 200", "60.0 %", "87.5 %", "1.2 points", "4.8 points"),
    )
    assert "in random orders, 1 or 3 at once" in table.note


def test_models_by_class_and_their_mistakes_stand_in_their_columns(found: Comparison) -> None:
    confusion = np.array([[30, 10], [4, 16]])
    item = Classified("TPE", 6, 3, confusion, Calibration((), (), (), 0.0345), 0.81, Estimate(3, 0.45, 0.1, 0.2, 0.7))
    alone = replace(item, confusion=np.array([[3, 1], [0, 0]]), together=None, loss=exactly(0.45))
    made = replace(found, classified=(item, alone), mistakes=(Mistake("TPE", "a/b.png", "cats", "dogs", 0.912),))
    assert titled(made, "Classes and calibration").rows == (
        ("TPE", "6", "3", "75.0 %", "80.0 %", "3.5 points", "0.450 (0.200 to 0.700)", "81.0 %"),
        ("TPE", "6", "3", "75.0 %", "-", "3.5 points", "0.450", "-"),
    )
    assert titled(made, "Most confident mistakes").rows == (("TPE", "a/b.png", "cats", "dogs", "91.2 %"),)


def test_a_difference_stands_with_both_intervals(found: Comparison) -> None:
    ends = Difference(6, 0.012, 0.1, 0.003, 0.021), Difference(6, 0.012, None, -0.004, 0.028)
    item = Compared("test accuracy", 6, "TPE", "random search", "searches", *ends)
    longer = replace(item, milestone=None, first="TPE, 6 epochs", second="TPE, 4 epochs", unpaired=None)
    made = replace(found, searches_compared=(), accuracies_compared=(item,), milestones_compared=(longer,))
    table = titled(made, "Differences, paired")
    assert table.rows[0][:6] == (
        *("TPE minus random search", "test accuracy, 6 epochs", "6 searches", "+1.2 points"),
        *("+0.3 to +2.1", "-0.4 to +2.8"),
    )
    assert table.rows[1][:6] == (
        *("TPE, 6 epochs minus TPE, 4 epochs", "test accuracy", "6 searches", "+1.2 points", "+0.3 to +2.1", ""),
    )
    assert len(table.rows) == 2 + len(found.images_compared)
    assert f"of {len(table.rows)}, about {len(table.rows) / 20:.1f} would" in table.note
    averaged = titled(
        replace(made, last_epochs={1: (item, longer), 3: (longer,)}, jitter=0.0123), "Differences in test"
    )
    assert averaged.columns[3:] == ("that epoch alone", "mean of the last 3")
    assert averaged.rows == (
        ("TPE minus random search", "6", "6 searches", "+1.2 points (+0.3 to +2.1)", "-"),
        ("TPE, 6 epochs minus TPE, 4 epochs", "-", "6 searches", *["+1.2 points (+0.3 to +2.1)"] * 2),
    )
    assert "(by an sd of 1.2 points over the last 3)" in averaged.note


def test_optimism_is_told_with_what_it_shows(found: Comparison) -> None:
    first = replace(found.accuracies[0], name="TPE", unit="searches", milestone=6)
    one = replace(first, unit="retraining seeds", optimism=exactly(0.05))
    none = replace(first, optimism=Estimate(6, 0.02, 0.1, -0.01, 0.05))
    shown = replace(first, optimism=Estimate(6, 0.02, 0.1, 0.01, 0.03))
    touching = replace(first, optimism=Estimate(6, 0.02, 0.1, 0.0, 0.04))
    nobody_chose = replace(one, name="baseline", optimism=None)
    made = replace(found, accuracies=(one, none, shown, touching, nobody_chose))
    rows = titled(made, "Accuracy after retraining").rows
    assert [row[0] for row in rows[:5]] == ["TPE, one search", "TPE", "TPE", "TPE", "baseline"]
    assert [row[7] for row in rows[:5]] == [
        "+5.0 points (n=1, no interval: no difference shown)",
        "+2.0 points (n=6, -1.0 to +5.0: no difference shown)",
        "+2.0 points (n=6, +1.0 to +3.0)",
        "+2.0 points (n=6, +0.0 to +4.0: no difference shown)",
        "-",
    ]
    sd = found.accuracies[0].test
    assert sd.sd is not None
    assert rows[1][3:7] == (words.percent(first.train.mean), *cells.accuracy_cells(first.test))
    assert rows[1][5] == f"{100 * sd.sd:.1f}"


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (None, None, "no difference shown"),
        (-0.1, 0.3, "no difference shown"),
        (0.05, 0.3, "TPE above random search"),
    ],
)
def test_verdicts(low: float | None, high: float | None, words: str, found: Comparison) -> None:
    item = Compared("best objective", None, "TPE", "random search", "searches", Difference(6, 0.1, 0.1, low, high))
    assert cells.verdict(found, item) == words


def test_the_worse_method_is_named_second(found: Comparison) -> None:
    item = Compared("best objective", None, "TPE", "random search", "searches", Difference(6, -0.1, 0.1, -0.2, -0.05))
    assert cells.verdict(found, item) == "random search above TPE"


def test_a_difference_of_few_searches_is_an_impression(found: Comparison) -> None:
    item = Compared("best objective", None, "TPE", "random search", "searches", Difference(5, 0.1, 0.1, 0.05, 0.2))
    assert cells.verdict(found, item) == "TPE above random search (fewer than 6 searches: an impression)"


def test_what_pairs_alone_show_is_marked(found: Comparison) -> None:
    paired, shown, not_shown = Difference(6, 0.1, 0.1, 0.05, 0.2), (0.01, 0.3), (-0.1, 0.3)
    item = Compared("test accuracy", 6, "TPE", "random search", "searches", paired)
    verdicts = [
        cells.verdict(found, replace(item, unpaired=Difference(6, 0.1, None, *ends))) for ends in (shown, not_shown)
    ]
    assert verdicts == ["TPE above random search", "TPE above random search, by pairs alone"]


def test_one_search_speaks_of_its_configuration_alone(found: Comparison) -> None:
    item = Compared("test accuracy", 6, "TPE", "random search", "retraining seeds", Difference(6, 0.1, 0.1, 0.05, 0.2))
    words = "TPE above random search (one search: this configuration, not the method)"
    assert cells.verdict(found, item) == words
    longer = replace(item, milestone=None, first="TPE, 6 epochs", second="TPE, 4 epochs")
    assert cells.verdict(found, longer) == "TPE, 6 epochs above TPE, 4 epochs"


def test_the_best_configurations_stand_with_the_baseline(found: Comparison) -> None:
    table = titled(found, "The best configuration of each search")
    best = best_trial(found.groups[0].studies[0].trials)
    assert best is not None
    values = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in best.hyperparameters.values()]
    count = len(found.groups[0].studies[0].trials)
    assert list(table.rows[0]) == [
        "TPE",
        table.rows[0][1],
        words.percent(best.objective),
        f"{best.trial + 1} of {count}",
        *values,
    ]
    assert table.rows[-1] == ("baseline", "-", "-", "-", "0.001", "0.5", "32", "3", "512")


def test_unequal_ends_are_named_so(found: Comparison) -> None:
    rows = titled(found, "Differences, paired").rows
    said = {row[1] for row in rows if row[1].startswith("best objective")}
    assert said == {f"best objective, {found.common_epochs} epochs", "best objective, each at its end (unequal epochs)"}
    equal = replace(found, searches_compared=tuple(i for i in found.searches_compared if i.milestone is None))
    assert {row[1] for row in titled(equal, "Differences, paired").rows if row[1].startswith("best")} == {
        "best objective"
    }


def test_the_target_is_counted_at_equal_epochs_too(found: Comparison) -> None:
    """With a target that is held at once by all, and one that none held before the end of the shortest search."""
    rows = {row[0]: row[1:3] for row in titled(replace(found, target=0.0), "Spending until").rows}
    assert rows["TPE"] == ("2 of 2", titled(found, "Spending until").rows[0][2])
    early = replace(found, common_epochs=0)
    assert {row[1] for row in titled(early, "Spending until").rows} == {"0 of 2"}
    first = [each["epochs"].at[0] for each in found.curves["TPE"]]
    at_once = replace(found, target=0.0, common_epochs=int(min(first)))
    soon = sum(at == min(first) for at in first)
    assert titled(at_once, "Spending until").rows[0][1] == f"{soon} of 2"


def test_what_was_spent_until_the_target_stands_in_its_column(found: Comparison) -> None:
    reached = TimeToTarget(2, 1, None, (), ())
    medians = {"trials": 7.0, "epochs": 46.5, "multiply_adds": 2.5e9, "seconds": 600.0}
    times = {"TPE": {axis: replace(reached, median=value) for axis, value in medians.items()}}
    times["random search"] = dict.fromkeys(medians, reached)
    table = titled(replace(found, times=times, target=0.7512), "Spending until")
    assert table.title.startswith("Spending until the objective reached 75.12 %")
    assert table.rows[0][2:] == ("1 of 2", "7", "46.5", "2.5 G", "10.0 min")
    assert table.rows[1][2:] == ("1 of 2", *["not reached by half"] * 4)


def test_a_share_stands_with_its_interval(found: Comparison) -> None:
    shares = {"learning_rate": 0.7, "dropout_rate": 0.3}
    spans = {"learning_rate": (0.1, 0.904), "dropout_rate": (0.0, 0.5)}
    names = found.groups[0].studies[0].space
    full = {name: shares.get(name, 0.0) for name in names}
    ends = {name: spans.get(name, (0.0, 0.0)) for name in names}
    made = replace(
        found,
        importance=dict.fromkeys(found.importance, full),
        importance_intervals=dict.fromkeys(found.importance, ends),
    )
    assert titled(made, "Importance").rows[0][2:4] == ("70.0 % (10 to 90)", "30.0 % (0 to 50)")


def test_models_that_differ_are_not_methods_that_differ(found: Comparison) -> None:
    item = replace(found.images_compared[0], difference=Difference(40, 0.1, 0.1, 0.05, 0.2))
    assert cells.verdict(found, item) == "these models differ, no difference shown for other seeds"


def test_left_out_studies_are_named(found: Comparison) -> None:
    rest = replace(found, left_out=(LeftOut("torn", "half|written"),))
    assert titled(rest, "Studies left out").rows == (("torn", "half|written"),)
    assert "half\\|written" in markdown.page(rest)


def test_markdown_begins_with_what_must_be_known(found: Comparison) -> None:
    warned = replace(found, title="a | b", warnings=("few  <seeds>",))
    lines = markdown.page(warned, ["It *works*.", "`x_y` [z] \\"]).splitlines()
    assert lines[:9] == [
        "# a \\| b", "", f"**{DRAWN}**", "", "## In short", "",
        "- It \\*works\\*.", "- \\`x\\_y\\` \\[z\\] \\\\", "- Warning: few \\<seeds\\>",
    ]  # fmt: skip
    assert "(drawn data)" in lines[10]
    real = replace(found, is_drawn=False, warnings=())
    assert "rawn data" not in markdown.page(real).partition("\n")[2]


@pytest.mark.parametrize(
    ("value", "text"), [(7, "7"), (46.666, "46.7"), (1234, "1,234"), (5.616e12, "5.62 T"), (2.5e6, "2.5 M")]
)
def test_counts(value: float, text: str) -> None:
    assert words.count(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(59.4, "59 s"), (600.0, "10.0 min"), (9000.0, "2.5 h")])
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_one_of_a_unit_is_singular() -> None:
    assert [words.counted(n, unit) for n, unit in ((1, "searches"), (2, "searches"), (1, "test images"))] == [
        "1 search",
        "2 searches",
        "1 test image",
    ]


def test_what_is_not_known_is_a_hyphen() -> None:
    assert words.percent(None) == "-"
    assert words.percent(0.125) == "12.5 %"
    assert words.percent(-0.125, signed=True) == "-12.5 %"
    assert words.percent(-0.0001, signed=True) == "+0.0 %"
