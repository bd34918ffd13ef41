"""Retrained models side by side: what is one run, what n counts, how methods are paired."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_studies import write_invented

from catdog_ray import audit, differences, retrained
from catdog_ray.groups import Group, group
from catdog_ray.retrained import BASELINE, IMAGES, SEARCHES, SEEDS, Run
from catdog_ray.statistics import estimate, paired_bootstrap, paired_difference, unpaired_difference


def groups(
    root: Path, *, seeds: tuple[int, ...] = (0, 10, 20), methods: tuple[str, ...] = ("tpe", "random")
) -> list[Group]:
    return group(
        [
            audit.read(write_invented(root / f"{method}-{seed}", method=method, seed=seed))
            for method in methods
            for seed in seeds
        ]
    )


def accuracy(found: list[Group], name: str, milestone: int) -> dict[int, list[float]]:
    """Test accuracies of the best configuration by search seed, straight from the rows."""
    item = next(item for item in found if item.name == name)
    result = {}
    for study in item.studies:
        best = max((row for row in study.trials if row.status != "failed"), key=lambda row: row.objective or 0)
        rows = [r for r in study.retrain if r.milestone == milestone and r.hyperparameters == best.hyperparameters]
        result[study.seed] = [row.test_accuracy for row in rows]
    return result


def test_n_counts_searches_where_there_are_several(tmp_path: Path) -> None:
    found = groups(tmp_path)
    runs = retrained.runs_by_milestone(found)
    assert list(runs) == ["TPE", "random search", BASELINE]
    assert all(list(by_milestone) == [4, 6] for by_milestone in runs.values())
    by_key = {(item.name, item.milestone): item for item in retrained.accuracies(runs)}
    values = accuracy(found, "TPE", 6)
    item = by_key["TPE", 6]
    assert (item.unit, item.runs) == (SEARCHES, 6)
    assert item.test == estimate([sum(each) / 2 for each in values.values()])
    chosen = [[run.row for run in runs["TPE"][6] if run.study.seed == seed] for seed in values]
    assert item.train == estimate([(a.train_accuracy + b.train_accuracy) / 2 for a, b in chosen])
    assert item.clean_train == estimate([(a.clean_train_accuracy + b.clean_train_accuracy) / 2 for a, b in chosen])
    assert item.clean_train.mean > item.train.mean > item.test.mean
    objectives = [max(r.objective or 0 for r in s.trials if r.status != "failed") for s in found[0].studies]
    gaps = [o - sum(each) / 2 for o, each in zip(objectives, values.values(), strict=True)]
    assert item.optimism is not None
    assert item.optimism.mean == pytest.approx(np.mean(gaps))


def test_the_same_baseline_run_in_two_searches_is_one_run(tmp_path: Path) -> None:
    runs = retrained.runs_by_milestone(groups(tmp_path))
    assert [run.row.seed for run in runs[BASELINE][4]] == [0, 1, 10, 11, 20, 21]
    item = next(item for item in retrained.accuracies(runs) if item.name == BASELINE)
    assert (item.unit, item.test.n, item.optimism) == (SEEDS, 6, None)


def test_the_guides_optimism_is_that_of_a_trial_that_nobody_chose(tmp_path: Path) -> None:
    """Where it ran to full length: here in every search, whose first trial it is."""
    studies = [audit.read(write_invented(tmp_path / str(seed), seed=seed, stopping=False)) for seed in (0, 10)]
    runs = retrained.runs_by_milestone(group(studies))
    found = next(item for item in retrained.accuracies(runs) if (item.name, item.milestone) == (BASELINE, 6))
    tests = [run.row.test_accuracy for run in runs[BASELINE][6]]
    first = [study.trials[0].objective or 0 for study in studies]
    expected = estimate([first[0] - np.mean(tests[:2]), first[1] - np.mean(tests[2:])], cut=False)
    assert found.optimism is not None
    assert (found.optimism.n, found.optimism.mean) == (2, pytest.approx(expected.mean))
    # It may lie below zero, as its interval may.
    assert found.optimism.low == pytest.approx(expected.low)
    assert found.optimism.low is not None
    assert found.optimism.low < 0


def test_pairs_stand_with_the_interval_without_pairs(tmp_path: Path) -> None:
    found = groups(tmp_path, seeds=(0,))
    pair = differences.of_accuracies(retrained.runs_by_milestone(found))[0]
    tpe, random = (accuracy(found, name, 4)[0] for name in ("TPE", "random search"))
    assert pair.unpaired == unpaired_difference(tpe, random)
    assert all(item.unpaired is None for item in differences.of_milestones(retrained.runs_by_milestone(found)))


def test_classes_are_told_at_the_last_milestone_that_all_have(tmp_path: Path) -> None:
    runs = retrained.runs_by_milestone(groups(tmp_path, seeds=(0,)))
    assert {item.milestone for item in retrained.classified(runs)} == {6}
    cut = {**runs, BASELINE: {4: runs[BASELINE][4]}}
    assert {(item.name, item.milestone) for item in retrained.classified(cut)} == {(name, 4) for name in runs}
    apart = {"TPE": {6: runs["TPE"][6]}, BASELINE: {4: runs[BASELINE][4]}}
    assert [item.milestone for item in retrained.classified(apart)] == [6, 4]


def test_all_models_together_by_the_mean_of_their_probabilities(tmp_path: Path) -> None:
    runs = retrained.runs_by_milestone(groups(tmp_path, seeds=(0,)))
    item = retrained.classified(runs)[0]
    kept = [run.predictions for run in runs["TPE"][6] if run.predictions is not None]
    mean = (kept[0].probabilities + kept[1].probabilities) / 2
    assert item.together == np.mean(mean.argmax(axis=1) == kept[0].true)
    assert item.loss == estimate([run.row.test_loss or 0.0 for run in runs["TPE"][6]], cut=False)


def test_of_a_run_in_two_searches_the_first_is_taken(tmp_path: Path) -> None:
    runs = retrained.runs_by_milestone(groups(tmp_path, seeds=(0,)))
    assert {run.study.method for run in runs[BASELINE][4]} == {"tpe"}


def test_epochs_of_a_run_rise_however_they_lie_in_the_file(tmp_path: Path) -> None:
    folder = write_invented(tmp_path / "a")
    lines = (folder / "retrain-epochs.jsonl").read_text().splitlines(keepends=True)
    (folder / "retrain-epochs.jsonl").write_text("".join(lines[::-1]))
    runs = retrained.runs_by_milestone(group([audit.read(folder)]))
    for rows in retrained.epochs_of(runs["TPE"][6]):
        assert [row.epoch for row in rows] == [1, 2, 3, 4, 5, 6]


def test_nothing_is_said_of_images_where_one_run_has_no_predictions_or_sides_have_other_images(tmp_path: Path) -> None:
    runs = retrained.runs_by_milestone(groups(tmp_path, seeds=(0,)))
    sides = {name: {6: runs[name][6]} for name in ("TPE", "random search")}
    assert len(differences.of_images(sides)) == 1
    first, second = sides["TPE"][6]
    bare = replace(first, study=replace(first.study, predictions={}))
    assert differences.of_images({**sides, "TPE": {6: [bare, second]}}) == []

    def renamed(run: Run) -> Run:
        predictions = {
            key: replace(item, files=tuple(f"{file}x" for file in item.files))
            for key, item in run.study.predictions.items()
        }
        return replace(run, study=replace(run.study, predictions=predictions))

    assert differences.of_images({**sides, "TPE": {6: [renamed(first), renamed(second)]}}) == []
    assert [item.name for item in retrained.mistakes({"TPE": {6: [renamed(first), second]}})] == []


def test_one_search_counts_its_retraining_seeds(tmp_path: Path) -> None:
    found = groups(tmp_path, seeds=(0,))
    runs = retrained.runs_by_milestone(found)
    item = retrained.accuracies(runs)[0]
    assert (item.unit, item.test.n) == (SEEDS, 2)
    assert item.optimism is not None
    assert item.optimism.n == 1
    pair = differences.of_accuracies(runs)[0]
    assert (pair.unit, pair.difference.n) == (SEEDS, 2)
    tpe, random = (accuracy(found, name, 4)[0] for name in ("TPE", "random search"))
    assert pair.difference == paired_difference(tpe, random)


def test_searches_are_paired_by_seed_and_the_baseline_by_retraining_seed(tmp_path: Path) -> None:
    found = groups(tmp_path)
    runs = retrained.runs_by_milestone(found)
    by_key = {(item.first, item.second, item.milestone): item for item in differences.of_accuracies(runs)}
    tpe, random = accuracy(found, "TPE", 4), accuracy(found, "random search", 4)
    pair = by_key["TPE", "random search", 4]
    assert (pair.unit, pair.difference.n) == (SEARCHES, 3)
    assert pair.difference.mean == pytest.approx(np.mean([np.mean(tpe[s]) - np.mean(random[s]) for s in tpe]))
    plain = {run.row.seed: run.row.test_accuracy for run in runs[BASELINE][4]}
    against = by_key["TPE", BASELINE, 4].difference
    assert against.mean == pytest.approx(np.mean([np.mean(tpe[s]) - (plain[s] + plain[s + 1]) / 2 for s in tpe]))
    assert against.n == 3


def test_searches_that_share_runs_of_the_guide_are_not_paired_with_it(tmp_path: Path) -> None:
    """Searches 0, 1 and 2 are retrained with seeds 0 and 1, 1 and 2, 2 and 3."""
    found = groups(tmp_path, seeds=(0, 1, 2))
    runs = retrained.runs_by_milestone(found)
    own = [float(np.mean(each)) for each in accuracy(found, "TPE", 4).values()]
    plain = [run.row.test_accuracy for run in runs[BASELINE][4]]
    assert (len(own), len(plain)) == (3, 4)
    by_key = {(item.first, item.second, item.milestone): item for item in differences.of_accuracies(runs)}
    assert by_key["TPE", BASELINE, 4].difference == unpaired_difference(own, plain)
    assert by_key["TPE", BASELINE, 4].unit == SEARCHES
    random = [float(np.mean(each)) for each in accuracy(found, "random search", 4).values()]
    between = by_key["TPE", "random search", 4]
    assert (between.difference, between.unpaired) == (
        paired_difference(own, random), unpaired_difference(own, random)
    )  # fmt: skip


def test_seeds_that_only_one_method_has_are_not_paired(tmp_path: Path) -> None:
    found = [*groups(tmp_path / "a", methods=("tpe",)), *groups(tmp_path / "b", seeds=(10, 30), methods=("random",))]
    pair = differences.of_accuracies(retrained.runs_by_milestone(found))[0]
    assert (pair.difference.n, pair.difference.low) == (1, None)


def test_one_search_is_paired_with_the_search_of_its_seed(tmp_path: Path) -> None:
    """Not with another search's runs, though they have retraining seeds in common."""
    found = [*groups(tmp_path / "a", seeds=(1,), methods=("tpe",)), *groups(tmp_path / "b", methods=("random",),
             seeds=(0, 1))]  # fmt: skip
    pair = differences.of_accuracies(retrained.runs_by_milestone(found))[0]
    tpe, random = (accuracy(found, name, 4)[1] for name in ("TPE", "random search"))
    assert (pair.unit, pair.difference.n) == (SEARCHES, 1)
    assert pair.difference.mean == pytest.approx(np.mean(tpe) - np.mean(random))


def test_a_retraining_seed_that_one_side_lost_is_not_paired(tmp_path: Path) -> None:
    runs = retrained.runs_by_milestone(groups(tmp_path, seeds=(0,)))
    first, second = runs["TPE"][6]
    for sides in ({"TPE": {6: [first, second]}, BASELINE: {6: runs[BASELINE][6][1:]}},
                  {"TPE": {6: [second]}, BASELINE: {6: runs[BASELINE][6]}}):  # fmt: skip
        pair = differences.of_accuracies(sides)[0]
        expected = second.row.test_accuracy - runs[BASELINE][6][1].row.test_accuracy
        assert (pair.unit, pair.difference.n, pair.difference.mean) == (SEEDS, 1, pytest.approx(expected))


def test_a_run_without_its_last_milestone_is_not_in_what_training_on_gives(tmp_path: Path) -> None:
    """Another search's run with its retraining seed does not stand in for it."""
    runs = retrained.runs_by_milestone(groups(tmp_path, seeds=(0, 1, 2)))
    cut = {"TPE": {4: runs["TPE"][4], 6: [runs["TPE"][6][0], *runs["TPE"][6][2:]]}}
    assert [run.row.seed for run in runs["TPE"][6]] == [0, 1, 1, 2, 2, 3]
    kept = {(run.study.seed, run.row.seed) for run in cut["TPE"][6]}
    whole = {"TPE": {4: [run for run in runs["TPE"][4] if (run.study.seed, run.row.seed) in kept], 6: cut["TPE"][6]}}
    assert len(cut["TPE"][4]) == len(cut["TPE"][6]) + 1
    assert differences.of_milestones(cut) == differences.of_milestones(whole)
    assert differences.of_milestones(cut) != differences.of_milestones({"TPE": runs["TPE"]})
    guides = runs[BASELINE]
    [pair] = differences.of_milestones({BASELINE: {4: guides[4], 6: guides[6][1:]}})
    assert pair.difference == paired_difference(
        *([run.row.test_accuracy for run in guides[epoch][1:]] for epoch in (6, 4))
    )


def test_training_on_is_paired_by_the_same_runs(tmp_path: Path) -> None:
    """Last minus earlier milestone; over one search by retraining seed, over several by search."""
    one, several = groups(tmp_path / "one", seeds=(0,)), groups(tmp_path / "several")
    pair = differences.of_milestones(retrained.runs_by_milestone(one))[0]
    assert (pair.first, pair.second, pair.unit, pair.milestone) == ("TPE, 6 epochs", "TPE, 4 epochs", SEEDS, None)
    assert pair.difference == paired_difference(accuracy(one, "TPE", 6)[0], accuracy(one, "TPE", 4)[0])
    pair = differences.of_milestones(retrained.runs_by_milestone(several))[0]
    later, earlier = accuracy(several, "TPE", 6), accuracy(several, "TPE", 4)
    assert (pair.unit, pair.difference.n) == (SEARCHES, 3)
    assert pair.difference.mean == pytest.approx(np.mean([np.mean(later[s]) - np.mean(earlier[s]) for s in later]))
    # The guide's configuration was searched by nobody: its runs count, each retraining seed once.
    pair = differences.of_milestones(retrained.runs_by_milestone(several))[-1]
    rows = {(row.seed, row.milestone): row.test_accuracy for item in several for study in item.studies
            for row in study.retrain if row.configuration == "baseline"}  # fmt: skip
    seeds = sorted({seed for seed, _ in rows})
    assert (pair.first, pair.unit, pair.difference.n) == ("baseline, 6 epochs", SEEDS, len(seeds))
    assert pair.difference == paired_difference([rows[s, 6] for s in seeds], [rows[s, 4] for s in seeds])


def test_images_are_paired_by_the_share_of_models_that_are_right(tmp_path: Path) -> None:
    found = groups(tmp_path)
    runs = retrained.runs_by_milestone(found)
    pair = next(item for item in differences.of_images(runs) if item.milestone == 6)
    shares = []
    for name in ("TPE", "random search"):
        kept = [run.predictions for run in runs[name][6]]
        assert all(item is not None for item in kept)
        shares.append(sum((i.probabilities[:, 1] > 0.5) == (i.true == 1) for i in kept if i) / len(kept))
    assert (pair.unit, pair.difference) == (IMAGES, paired_bootstrap(shares[0] - shares[1]))
    # The mean over images of the share that is right is the mean accuracy.
    assert np.mean(shares[0]) == pytest.approx(
        np.mean([a for each in accuracy(found, "TPE", 6).values() for a in each])
    )


def test_without_predictions_nothing_is_said_of_images(tmp_path: Path) -> None:
    folder = write_invented(tmp_path / "a")
    (folder / "predictions.jsonl").unlink()
    runs = retrained.runs_by_milestone(group([audit.read(folder)]))
    assert differences.of_images(runs) == retrained.classified(runs) == retrained.mistakes(runs) == []
    assert len(retrained.accuracies(runs)) == 4


def test_classes_are_counted_over_all_models_at_the_last_milestone(tmp_path: Path) -> None:
    runs = retrained.runs_by_milestone(groups(tmp_path))
    for item in retrained.classified(runs):
        assert (item.milestone, item.runs) == (6, 6)
        assert item.confusion.sum() == 6 * 40
        right = np.mean([run.row.test_accuracy for run in runs[item.name][6]])
        assert item.confusion.trace() / item.confusion.sum() == pytest.approx(right)
        assert sum(item.calibration.counts) == 6 * 40


def test_mistakes_are_ordered_by_how_sure_the_models_are(tmp_path: Path) -> None:
    runs = retrained.runs_by_milestone(groups(tmp_path, seeds=(0,)))
    found = [item for item in retrained.mistakes(runs, most=5) if item.name == "TPE"]
    assert 1 <= len(found) <= 5
    assert [item.probability for item in found] == sorted((item.probability for item in found), reverse=True)
    assert all(item.true_class != item.predicted_class and item.probability > 0.5 for item in found)
    assert all(item.true_class == item.file.split("/")[1] for item in found)
    kept = [run.predictions for run in runs["TPE"][6] if run.predictions]
    place = kept[0].files.index(found[0].file)
    wrong = 1 - kept[0].true[place]
    assert found[0].probability == pytest.approx(np.mean([item.probabilities[place, wrong] for item in kept]))
