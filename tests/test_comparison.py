"""Studies side by side: the numbers on invented studies by hand, on the frozen ones beside an independent count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_rows import trial_row
from make_studies import write_invented

from catdog_ray import audit, comparison, early_stopping, markdown, publish, searched, tables
from catdog_ray.audit import Evidence
from catdog_ray.comparison import Comparison
from catdog_ray.files import to_json
from catdog_ray.groups import ComparisonError
from catdog_ray.records import RecordError, TrialRow
from catdog_ray.settings import STOCK
from catdog_ray.statistics import Difference, estimate, paired_difference

FROZEN = Path(__file__).parent / "frozen"
EXPECTED = json.loads((FROZEN / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def frozen() -> Comparison:
    found, left_out = comparison.read([FROZEN / name for name in EXPECTED["studies"]], skip_bad=False)
    assert left_out == []
    return comparison.compare(found)


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    root = tmp_path_factory.mktemp("invented")
    folders = [
        write_invented(root / f"{method}-{seed}", method=method, seed=seed, skill=skill)
        for method, skill in (("tpe", 0.08), ("random", 0.0))
        for seed in (0, 10, 20)
    ]
    return comparison.compare([audit.read(folder) for folder in folders])


def close(found: Any, expected: Any) -> bool:
    """Whether two trees of numbers agree, to rounding."""
    if isinstance(expected, dict):
        return set(found) >= set(expected) and all(close(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    if isinstance(expected, float):
        return found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    return bool(found == expected)


@pytest.mark.parametrize("part", sorted(set(EXPECTED) - {"studies", "how"}))
def test_the_frozen_studies_beside_an_independent_count(part: str, frozen: Comparison) -> None:
    found = json.loads(to_json(publish.as_json(frozen)))
    keys = {"methods": "method", "retrained": None, "differences": None}
    if part in ("methods", "retrained", "differences"):
        assert len(found[part]) >= len(EXPECTED[part]) > 0
        for expected in EXPECTED[part]:
            names = [k for k in ("name", "milestone", "quantity", "first", "second", "unit") if k in expected]
            same = [row for row in found[part] if all(row[k] == expected[k] for k in names)]
            assert len(same) == 1, (expected, keys)
            assert close(same[0], expected), (same[0], expected)
    else:
        assert close(found[part], EXPECTED[part])


def test_what_a_search_spent_is_counted_from_its_rows(invented: Comparison) -> None:
    for group, method in zip(invented.groups, invented.methods, strict=True):
        epochs = [sum(row.epochs for row in study.trials) for study in group.studies]
        assert method.epochs == estimate(list(map(float, epochs)), cut=False)
        # 1,000,000 multiply-adds forward; 640 images trained on (three times), 160 looked at (once).
        assert method.multiply_adds.mean == pytest.approx(np.mean(epochs) * 1e6 * (3 * 640 + 160))
        seconds = [max(row.elapsed_s for row in study.trials) for study in group.studies]
        assert method.seconds.mean == pytest.approx(np.mean(seconds))
        assert method.cpu_hours is not None
        assert method.cpu_hours.mean == pytest.approx(2 * np.mean(seconds) / 3600)
        assert method.gpu_hours is not None
        assert method.gpu_hours.mean == 0
        assert (method.suggestions, method.suggestion_seconds) == (33, pytest.approx(0.004))
        assert (method.trials, method.failed) == (36, 3)
        assert method.completed + method.stopped + method.failed == method.trials


def test_curves_end_at_the_best_objective(invented: Comparison) -> None:
    for group in invented.groups:
        for study, paths in zip(group.studies, invented.curves[group.name], strict=True):
            assert {float(curve.values[-1]) for curve in paths.values()} == {searched.best_objective(study)}


def test_the_target_and_the_reference(invented: Comparison) -> None:
    scores = [s for g in invented.groups for study in g.studies for s in [searched.best_objective(study)] if s]
    assert invented.target == np.median(scores)
    assert invented.reference == max(scores)
    assert [m.regret.mean if m.regret else None for m in invented.methods] == pytest.approx(
        [max(scores) - m.best.mean for m in invented.methods if m.best]
    )
    studies = [study for group in invented.groups for study in group.studies]
    assert comparison.compare(studies, target=0.99).times["TPE"]["epochs"].reached == 0


def test_searches_are_compared_at_equal_epochs_and_at_their_ends(tmp_path: Path) -> None:
    """The stock tuner's trials run to the end, so its searches are the longer ones."""
    folders = [
        write_invented(tmp_path / f"{method}-{seed}", method=method, seed=seed, stopping=method != STOCK)
        for method in ("tpe", STOCK)
        for seed in range(5)
    ]
    found = comparison.compare([audit.read(folder) for folder in folders])
    assert found.common_epochs == min(sum(row.epochs for row in s.trials) for g in found.groups for s in g.studies)
    at = {
        group.name: [
            max(
                row.objective
                for row in study.trials
                if row.status != "failed"
                and row.objective is not None
                and _epochs_until(study, row) <= found.common_epochs
            )
            for study in group.studies
        ]
        for group in found.groups
    }
    final = {g.name: [searched.best_objective(study) for study in g.studies] for g in found.groups}
    assert at != final
    equal, ends = found.searches_compared
    assert (equal.milestone, ends.milestone) == (found.common_epochs, None)
    for item, values in ((equal, at), (ends, final)):
        assert item.difference == paired_difference(values["TPE"], values["Keras Tuner, stock"])
        assert comparison.is_impression(item)
    for method in found.methods:
        assert method.best_at == estimate(at[method.name])


def _epochs_until(study: Evidence, row: TrialRow) -> int:
    return sum(int((course.elapsed_s <= row.elapsed_s).sum()) for course in study.courses.values())


def test_searches_of_equal_length_are_compared_once(tmp_path: Path) -> None:
    folders = [write_invented(tmp_path / m, method=m, stopping=False, trials=3) for m in ("tpe", "random")]
    found = comparison.compare([audit.read(folder) for folder in folders])
    assert [method.epochs.mean for method in found.methods] == [27, 27]
    assert [item.milestone for item in found.searches_compared] == [None]


def test_what_the_time_budget_cut_was_not_stopped_early_and_tells_nothing_of_the_space(tmp_path: Path) -> None:
    folder = write_invented(tmp_path / "cut", trials=14, milestones=())
    rungs = early_stopping.rungs([audit.read(folder)])
    study = json.loads((folder / "study.json").read_text())
    study["config"]["search"]["time_budget_s"] = 60.0
    (folder / "study.json").write_text(to_json(study))
    trials = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    chosen = next(row for row in trials if row["status"] == "completed")
    between = next(epoch for epoch in range(1, 9) if epoch not in rungs)
    epochs = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    epochs = [row for row in epochs if row["trial"] != chosen["trial"] or row["epoch"] <= between]
    last = [row for row in epochs if row["trial"] == chosen["trial"]][-1]
    chosen |= {"status": "stopped", "epochs": between, "objective": last["objective"]}
    (folder / "trials.jsonl").write_text("".join(to_json(row) + "\n" for row in trials))
    (folder / "epochs.jsonl").write_text("".join(to_json(row) + "\n" for row in epochs))
    evidence = audit.read(folder)
    assert early_stopping.cut_by_time(evidence) == {chosen["trial"]}
    method = comparison.compare([evidence]).methods[0]
    assert method.cut == 1
    assert method.completed + method.stopped + method.cut + method.failed == method.trials
    suggested = sum(row.suggestion_seconds is not None for row in evidence.trials)
    assert method.sampled == suggested - method.cut - method.failed
    assert method.failed == 1
    table = tables.tables(comparison.compare([evidence]))[0]
    assert table.rows[0][2].endswith("; 1 cut by the time budget)")


def test_a_trial_begun_again_counts_as_chosen_and_the_starting_point_never_does(tmp_path: Path) -> None:
    folder = write_invented(tmp_path / "again", trials=14, milestones=(), stopping=False)
    before = comparison.compare([audit.read(folder)]).methods[0]
    assert (before.sampled, before.suggestions) == (13, 13)
    for name in ("trials.jsonl", "epochs.jsonl"):
        rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        # The time of its suggestion was lost with the driver; the first has one, as if it had been asked for.
        known = {0: 0.004, 3: None}
        rows = [row | {"suggestion_seconds": known.get(row["trial"], row["suggestion_seconds"])} for row in rows]
        (folder / name).write_text("".join(to_json(row) + "\n" for row in rows))
    after = comparison.compare([audit.read(folder)]).methods[0]
    assert (after.sampled, after.suggestions) == (13, 13)


def test_one_search_has_no_target_but_one_that_is_asked(tmp_path: Path) -> None:
    one = [audit.read(write_invented(tmp_path / "one"))]
    assert comparison.compare(one).times == {}
    asked = comparison.compare(one, target=0.5)
    assert (asked.times["TPE"]["epochs"].reached, asked.target_words) == (1, "as asked")


def test_few_seeds_are_warned_of(invented: Comparison, tmp_path: Path) -> None:
    assert [text.split(":")[0] for text in invented.warnings if "of the 6 seeds" in text] == ["TPE; random search"]
    folders = [write_invented(tmp_path / f"s-{s}", seed=s, milestones=(), trials=3, max_epochs=3) for s in range(6)]
    assert comparison.compare([audit.read(folder) for folder in folders]).warnings == ()


def test_methods_without_a_seed_in_common_are_warned_of(tmp_path: Path) -> None:
    studies = [audit.read(write_invented(tmp_path / f"a{seed}", seed=seed)) for seed in (1, 2)]
    other = audit.read(write_invented(tmp_path / "b", method="random", seed=3))
    found = comparison.compare([*studies, other])
    assert not found.searches_compared
    assert "no seed in common, so nothing is paired by it: TPE and random search" in found.warnings
    shared = audit.read(write_invented(tmp_path / "c", method="random", seed=2))
    assert not any("in common" in text for text in comparison.compare([*studies, other, shared]).warnings)


def test_other_machines_are_warned_of(tmp_path: Path) -> None:
    nodes = [{"cpu_model": "another", "ray_cpus": 8.0, "ray_gpus": 1.0}]
    folders = [
        write_invented(tmp_path / "a", milestones=()),
        write_invented(tmp_path / "b", seed=1, milestones=(), facts={"nodes": nodes}),
    ]
    texts = comparison.compare([audit.read(folder) for folder in folders]).warnings
    assert any("2 kinds of machine: 2 CPUs, 0 GPUs of invented; 8 CPUs, 1 GPUs of another" in t for t in texts)


def test_one_machine_is_one_kind_however_it_was_counted(tmp_path: Path) -> None:
    """Ray tells 2.0 CPUs of a node, and the stock tuner's process, which runs without Ray, tells 2."""
    nodes = [{"cpu_model": "one", "ray_cpus": cpus, "ray_gpus": gpus} for cpus, gpus in ((2.0, 0.0), (2, 0))]
    folders = [
        write_invented(tmp_path / str(seed), seed=seed, milestones=(), facts={"nodes": [node]})
        for seed, node in enumerate(nodes)
    ]
    texts = comparison.compare([audit.read(folder) for folder in folders]).warnings
    assert not any("kinds of machine" in text for text in texts)


def test_backends_of_keras_are_told_apart(tmp_path: Path) -> None:
    """A study from before it was recorded says nothing of it."""
    backends = ({"backend": "jax"}, {"backend": "tensorflow"}, {})
    folders = [
        write_invented(tmp_path / str(seed), seed=seed, milestones=(), facts=facts)
        for seed, facts in enumerate(backends)
    ]
    text = "Keras ran on 2 backends, whose seeds are no pairs: jax, tensorflow"
    assert text in comparison.compare([audit.read(folder) for folder in folders]).warnings
    assert not any("backend" in each for each in comparison.compare([audit.read(f) for f in folders[1:]]).warnings)


@pytest.mark.parametrize("nodes", [[], [{"cpu_model": "a head alone", "ray_cpus": 0.0, "ray_gpus": 0.0}]])
def test_hours_are_not_known_where_the_nodes_are_not(nodes: list[dict[str, object]], tmp_path: Path) -> None:
    folder = write_invented(tmp_path / "a", milestones=(), facts={"nodes": nodes})
    method = comparison.compare([audit.read(folder)]).methods[0]
    assert (method.cpu_hours, method.gpu_hours) == (None, None)


def test_a_search_without_a_score_is_no_number(tmp_path: Path) -> None:
    folders = [
        write_invented(tmp_path / f"s-{seed}", seed=seed, milestones=(), trials=2, max_epochs=1) for seed in (0, 1)
    ]
    rows = [trial_row(n, status="failed", reason="lost", objective=None, epochs=0, multiply_adds=None) for n in (0, 1)]
    (folders[1] / "epochs.jsonl").unlink()
    (folders[1] / "trials.jsonl").write_text("".join(to_json(vars(row)) + "\n" for row in rows))
    found = comparison.compare([audit.read(folder) for folder in folders])
    method = found.methods[0]
    assert (method.best, method.without_score) == (
        estimate([searched.best_objective(found.groups[0].studies[0]) or 0]),
        1,
    )
    assert found.times["TPE"]["epochs"].n == 2
    assert (found.common_epochs, method.sampled) == (4, 1)  # of the search that has a score
    assert any("no trial has a score in s-1" in text for text in found.warnings)
    text = to_json(publish.as_json(found))
    assert "NaN" not in text
    assert json.loads(text)["studies"][1]["best_objective"] is None


def test_bad_studies_are_refused_or_left_out_and_counted(tmp_path: Path) -> None:
    good = write_invented(tmp_path / "good", milestones=())
    bad = write_invented(tmp_path / "bad", seed=1, milestones=(), facts={"state": "running"})
    with pytest.raises(RecordError, match=r"bad: is half-written .*\(--skip-bad leaves such a study out\)"):
        comparison.read([good, bad], skip_bad=False)
    found, left_out = comparison.read([good, bad, tmp_path / "nothing"], skip_bad=True)
    assert [study.name for study in found] == ["good"]
    assert [(item.folder, "half-written" in item.reason) for item in left_out] == [("bad", True), ("nothing", False)]
    assert all(str(tmp_path) not in item.reason for item in left_out)
    assert any("2 studies were left out" in text for text in comparison.compare(found, left_out).warnings)
    with pytest.raises(ComparisonError, match="no study to compare; 1 left out"):
        comparison.read([bad], skip_bad=True)


def test_a_study_named_twice_counts_once(tmp_path: Path) -> None:
    folder = write_invented(tmp_path / "a", milestones=())
    found, _ = comparison.read([folder, tmp_path / "." / "a", folder], skip_bad=False)
    assert len(found) == 1


def test_trained_models_that_differ_show_nothing_of_the_methods(invented: Comparison) -> None:
    over_images = invented.images_compared[0]
    over_seeds = invented.accuracies_compared[0]
    assert (over_images.first, over_images.second, over_images.milestone) == (
        over_seeds.first,
        over_seeds.second,
        over_seeds.milestone,
    )

    def shown(images: tuple[float, float], seeds: tuple[float, float]) -> bool:
        one = type(over_images)(**{**vars(over_images), "difference": Difference(9, 0.1, 0.1, *images)})
        two = type(over_seeds)(**{**vars(over_seeds), "difference": Difference(9, 0.1, 0.1, *seeds)})
        return comparison.is_shown(Comparison(**{**vars(invented), "accuracies_compared": (two,)}), one)

    assert shown((0.05, 0.15), (0.02, 0.2))
    assert not shown((0.05, 0.15), (-0.02, 0.2))
    assert not shown((-0.05, 0.15), (0.02, 0.2))


def test_trials_of_full_length_are_replayed_with_early_stopping(tmp_path: Path) -> None:
    """Against a replay by hand of one search; a method with stopped trials has nothing to replay."""
    stock = [audit.read(write_invented(tmp_path / f"s{k}", method=STOCK, seed=k, stopping=False)) for k in (0, 1)]
    stopped = audit.read(write_invented(tmp_path / "tpe"))
    found = comparison.compare([*stock, stopped])
    [item] = found.early_stopping
    assert (item.name, item.orders, item.share_of_epochs.n) == ("Keras Tuner, stock", 200, 2)
    for study in stock:
        study.facts["share"] = {"cpus": 2, "gpus": 0.5, "at_once": 7}
    assert comparison.compare(stock).early_stopping[0].concurrent == 7
    assert 0.1 < item.share_of_epochs.mean < 0.9
    assert 0 <= item.regret.mean <= item.regret_p95.mean
    assert 0 < item.kept_best.mean <= 1
    text = markdown.page(found)
    assert "replayed with early stopping" in text
    assert "2 x 200" in text


def test_many_searches_of_full_length_are_replayed_in_fewer_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 7 searches every second, in as many orders as the bound on replayed trials leaves."""
    monkeypatch.setattr(early_stopping, "REPLAYED_SEARCHES", 4)
    monkeypatch.setattr(early_stopping, "REPLAYED_TRIALS", 4 * 6 * 31)
    stock = [
        audit.read(write_invented(tmp_path / f"s{k}", method=STOCK, seed=k, stopping=False, trials=6, milestones=()))
        for k in range(7)
    ]
    [item] = comparison.compare(stock).early_stopping
    assert (item.orders, item.share_of_epochs.n) == (31, 4)
    monkeypatch.setattr(early_stopping, "REPLAYED_TRIALS", 1)
    [item] = comparison.compare(stock).early_stopping
    assert item.orders == early_stopping.FEWEST_ORDERS
