"""A study is read whole or named: every kind of damage, and what a whole one holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from make_studies import write_invented

from catdog_ray import audit, comparison
from catdog_ray.files import to_json
from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import RecordError

Row = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_invented(tmp_path / "tpe-0", trials=8)


def change(path: Path, at: int, values: Row) -> None:
    """Rewrite fields of one row; a field that is set to `...` goes."""
    lines = path.read_text().splitlines()
    row = {**json.loads(lines[at]), **values}
    lines[at] = json.dumps({key: value for key, value in row.items() if value is not ...})
    path.write_text("\n".join(lines) + "\n")


def change_facts(folder: Path, changed: Callable[[Row], Any]) -> None:
    facts = json.loads((folder / "study.json").read_text())
    changed(facts)
    (folder / "study.json").write_text(json.dumps(facts))


def drop(file: Path, line: int) -> None:
    lines = file.read_text().splitlines(keepends=True)
    del lines[line]
    file.write_text("".join(lines))


def test_a_whole_study(folder: Path) -> None:
    found = audit.read(folder)
    assert [row.trial for row in found.trials] == list(range(8))
    assert {row.trial: len(found.courses[row.trial].accuracies) for row in found.trials} == {
        row.trial: row.epochs for row in found.trials
    }
    assert (found.name, found.method, found.seed) == ("tpe-0", "tpe", 0)
    assert len(found.predictions) == len(found.retrain) == 8
    for (configuration, seed, milestone), predictions in found.predictions.items():
        row = next(
            r for r in found.retrain if (r.configuration, r.seed, r.milestone) == (configuration, seed, milestone)
        )
        assert (predictions.probabilities.argmax(axis=1) == predictions.true).mean() == row.test_accuracy
        assert list(predictions.files) == sorted(predictions.files)


def test_a_study_without_predictions_is_whole_too(folder: Path) -> None:
    (folder / "predictions.jsonl").unlink()
    assert audit.read(folder).predictions == {}


@pytest.mark.parametrize(
    ("file", "line", "values", "message"),
    [
        ("trials.jsonl", 2, {"objective": None}, r"trial 2: objective is None, its epochs give 0\.\d+ by the rule"),
        ("trials.jsonl", 2, {"objective": 0.9}, r"trial 2: objective is 0\.9, its epochs give 0\.\d+ by the rule"),
        ("trials.jsonl", 2, {"objective": float("nan")}, r"line 3: objective cannot be 'nan'"),
        ("trials.jsonl", 2, {"objective": "0.5"}, r"line 3: objective cannot be '0\.5'"),
        ("trials.jsonl", 2, {"objective": True}, r"line 3: objective cannot be 'True'"),
        ("trials.jsonl", 2, {"objective": 70.0}, r"line 3: objective cannot be '70\.0'"),
        ("trials.jsonl", 2, {"status": "done"}, r"trial 2: status must be one of completed, stopped, failed"),
        ("trials.jsonl", 2, {"epochs": 40}, r"trial 2: epochs is 40, epochs\.jsonl has \d"),
        ("trials.jsonl", 2, {"trial": 1}, r"must hold trials 0 to 7 once each"),
        ("trials.jsonl", 2, {"reason": ...}, r"line 3: is no TrialRow; differing: reason"),
        ("trials.jsonl", 0, {"multiply_adds": None}, r"trial 0: multiply_adds must be above 0, got None"),
        ("epochs.jsonl", 3, {"epoch": 77}, r"trial \d has epoch 77 where \d was due"),
        ("epochs.jsonl", 3, {"selection_accuracy": None}, r"line 4: selection_accuracy cannot be 'None'"),
        ("epochs.jsonl", 3, {"elapsed_s": float("inf")}, r"line 4: elapsed_s cannot be 'inf'"),
        ("retrain.jsonl", 1, {"milestone": 4}, r"trial-\d+, seed 0, epoch 4 is there twice"),
        ("retrain.jsonl", 1, {"milestone": 50}, r"trial-\d+, seed 0, epoch 50 has 6 epochs"),
        ("retrain.jsonl", 1, {"test_accuracy": 0.1}, r"predictions are right for 0\.\d+, test_accuracy is 0\.1"),
        ("trials.jsonl", 2, {"suggestion_seconds": -0.1}, r"trial 2: elapsed_s and suggestion_seconds must not be"),
        ("trials.jsonl", 2, {"elapsed_s": 0.1}, r"of trial 2 came at .* after the trial's end"),
        ("trials.jsonl", 2, {"elapsed_s": -5.0}, r"of trial 2 came at .* after the trial's end"),
        ("epochs.jsonl", 0, {"elapsed_s": -1.0}, r"epoch 1 of trial 0 came at -1\.0 s, before the one before it"),
        ("epochs.jsonl", 1, {"elapsed_s": 0.0}, r"epoch 2 of trial 0 came at 0\.0 s, before the one before it"),
        ("trials.jsonl", 5, {"objective": 0.9}, r"trial 5: objective is 0\.9, its epochs give 0\.\d+ by the rule"),
        ("epochs.jsonl", 3, {"elapsed_s": 1e9}, r"of trial \d came at 1000000000\.0 s"),
        ("epochs.jsonl", 3, {"multiply_adds": 7}, r"trial \d has other multiply_adds than in trials\.jsonl"),
        ("retrain-epochs.jsonl", 2, {"epoch": 2}, r"has epoch 2 where 3 was due"),
        ("retrain-epochs.jsonl", 3, {"test_accuracy": 0.1}, r"test_accuracy is 0\.\d+, retrain-epochs\.jsonl has 0\.1"),
        ("retrain.jsonl", 1, {"hyperparameters": {}}, r"epoch 6: has other hyperparameters than trial \d+: {}"),
        ("retrain.jsonl", -1, {"hyperparameters": {}}, r"baseline, .* other hyperparameters than config\.baseline"),
        ("retrain.jsonl", 1, {"trial": None}, r"must be of the trial it names, got trial None"),
        ("retrain.jsonl", 1, {"trial": 99}, r"is of trial 99, which is not in trials\.jsonl"),
        ("retrain.jsonl", 1, {"selection_objective": None}, r"selection_objective must be that of trial \d+ \(0"),
        ("retrain.jsonl", -1, {"selection_objective": 0.9}, r"must be that of config\.baseline \(None\), got 0\.9"),
        ("retrain.jsonl", 1, {"test_images": 0}, r"test_images must be at least 1, got 0"),
        ("predictions.jsonl", 5, {"file": "a\u202e"}, r"holds a name that cannot be printed"),
        ("predictions.jsonl", 5, {"file": "0"}, r"is about other test images than baseline, seed 0, epoch 4"),
        ("predictions.jsonl", 5, {"probabilities": [0.5, None]}, r"must have 2 probabilities in 0 to 1"),
        ("predictions.jsonl", 5, {"probabilities": [0.5, 0.2]}, r"must add up to 1"),
        ("predictions.jsonl", 5, {"probabilities": [0.5, 0.502]}, r"must add up to 1"),
        ("predictions.jsonl", 5, {"probabilities": [0.5, 0.25, 0.25]}, r"must have 2 probabilities in 0 to 1"),
        ("predictions.jsonl", 5, {"probabilities": [-0.1, 1.1]}, r"must have 2 probabilities in 0 to 1"),
        ("predictions.jsonl", 5, {"true_class": "cats"}, r"is about other test images than baseline, seed 0, epoch 4"),
        ("predictions.jsonl", 5, {"true_class": "bears"}, r"true_class must be one of \['cats', 'dogs'\], got 'bears'"),
        ("predictions.jsonl", 5, {"file": "x"}, r"seed 0, epoch 4"),
    ],
)  # fmt: skip
def test_a_damaged_row_is_named(file: str, line: int, values: Row, message: str, folder: Path) -> None:
    change(folder / file, line, values)
    if values.get("file") == "x":
        change(folder / file, line + 1, values)
    with pytest.raises(RecordError, match=message) as error:
        audit.read(folder)
    assert "tpe-0" in str(error.value)


def test_an_objective_that_is_a_little_off_is_named(folder: Path) -> None:
    """By less than an image, so by another rule or by hand."""
    row = json.loads((folder / "trials.jsonl").read_text().splitlines()[2])
    change(folder / "trials.jsonl", 2, {"objective": row["objective"] + 1e-5})
    with pytest.raises(RecordError, match="trial 2: objective is"):
        audit.read(folder)


def test_rows_may_lie_in_any_order(folder: Path) -> None:
    """Trials are written as they end."""
    whole = audit.read(folder)
    for name in ("trials.jsonl", "retrain-epochs.jsonl", "predictions.jsonl"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(lines[::-1]))
    found = audit.read(folder)
    assert found.trials == whole.trials
    assert all(found.predictions[run].files == item.files for run, item in whole.predictions.items())


def test_probabilities_may_be_certain_and_a_little_off(folder: Path) -> None:
    change(folder / "predictions.jsonl", 5, {"probabilities": [0.0, 1.0]})
    change(folder / "predictions.jsonl", 7, {"probabilities": [0.3, 0.7005]})
    found = next(iter(audit.read(folder).predictions.values()))
    assert found.probabilities.shape == (40, 2)


def test_a_failed_trial_needs_no_objective(folder: Path) -> None:
    change(folder / "trials.jsonl", 5, {"objective": None})
    assert audit.read(folder).trials[5].objective is None


@pytest.mark.parametrize(("images", "is_refused"), [(-3, True), (-2, False), (2, False), (3, True)])
def test_two_images_may_be_rounded_differently(images: int, is_refused: bool, folder: Path) -> None:
    """Of 40, between a run's row and its predictions, and between its row and its epoch."""
    row = json.loads((folder / "retrain.jsonl").read_text().splitlines()[1])
    assert row["milestone"] == 6
    shifted = {"test_accuracy": row["test_accuracy"] + images / 40}
    change(folder / "retrain.jsonl", 1, shifted)
    change(folder / "retrain-epochs.jsonl", 5, shifted)
    for kept in ("predictions.jsonl", "retrain-epochs.jsonl"):
        if is_refused:
            with pytest.raises(RecordError, match=rf"{kept}.*test_accuracy is|test_accuracy is .*{kept} has"):
                audit.read(folder)
        else:
            assert audit.read(folder).retrain[1].test_accuracy == shifted["test_accuracy"]
        (folder / "predictions.jsonl").unlink(missing_ok=True)
        change(folder / "retrain-epochs.jsonl", 5, {"test_accuracy": row["test_accuracy"]})


def test_an_image_that_is_there_twice_is_named(folder: Path) -> None:
    lines = (folder / "predictions.jsonl").read_text().splitlines(keepends=True)
    (folder / "predictions.jsonl").write_text("".join([lines[0], *lines]))
    with pytest.raises(RecordError, match="must have 40 images once each, got 41 rows"):
        audit.read(folder)


def test_the_guides_configuration_is_no_other_trials(folder: Path) -> None:
    trial = json.loads((folder / "trials.jsonl").read_text().splitlines()[3])
    values = {"trial": 3, "hyperparameters": trial["hyperparameters"], "selection_objective": trial["objective"]}
    change(folder / "retrain.jsonl", -1, values)
    with pytest.raises(RecordError, match=r"baseline, .* has other hyperparameters than config\.baseline"):
        audit.read(folder)


def test_how_a_trial_ended_agrees_with_its_length(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    for status, other in (("completed", "stopped"), ("stopped", "completed")):
        row = next(row for row in rows if row["status"] == status)
        change(folder / "trials.jsonl", row["trial"], {"status": other})
        with pytest.raises(RecordError, match=rf"trial {row['trial']}: is {other} after {row['epochs']} of 9 epochs"):
            audit.read(folder)
        change(folder / "trials.jsonl", row["trial"], {"status": status})
    assert audit.read(folder).trials


def test_a_run_without_its_predictions_is_named(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    left = [row for row in rows if (row["configuration"], row["seed"], row["milestone"]) != ("baseline", 0, 4)]
    assert len(left) < len(rows)
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in left))
    with pytest.raises(RecordError, match=r"baseline, seed 0, epoch 4 stands in only one of retrain\.jsonl and"):
        audit.read(folder)


def test_hyperparameters_outside_the_space_are_named(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    point = {**rows[-1]["hyperparameters"], "conv_kernel": 4}
    for number, row in enumerate(rows):
        if row["trial"] == 7:
            change(folder / "epochs.jsonl", number, {"hyperparameters": point})
    with pytest.raises(RecordError, match=r"trial 7 has other hyperparameters than in trials.jsonl"):
        audit.read(folder)
    change(folder / "trials.jsonl", 7, {"hyperparameters": point})
    with pytest.raises(RecordError, match=r"trial 7: conv_kernel must lie in 3, 5, got 4"):
        audit.read(folder)
    point |= {"conv_kernel": 3, "momentum": 0.9}
    for number, row in enumerate(rows):
        if row["trial"] == 7:
            change(folder / "epochs.jsonl", number, {"hyperparameters": point})
    change(folder / "trials.jsonl", 7, {"hyperparameters": point})
    with pytest.raises(RecordError, match=r"trial 7: hyperparameters must be learning_rate, .*, got .*, momentum"):
        audit.read(folder)


@pytest.mark.parametrize("file", ["trials.jsonl", "epochs.jsonl", "retrain-epochs.jsonl", "predictions.jsonl"])
def test_a_torn_or_missing_end_is_half_written(file: str, folder: Path) -> None:
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:-20])
    with pytest.raises(RecordError, match=r"is half-written \(its last line has no end\)"):
        audit.read(folder)
    (folder / file).write_bytes(content[: content.rstrip().rfind(b"\n") + 1])
    with pytest.raises(RecordError, match=r"must hold trials|epochs is|has 5 epochs|must have 40 images"):
        audit.read(folder)


def test_a_study_whose_retraining_alone_was_interrupted_counts_with_the_runs_it_has(folder: Path) -> None:
    whole = audit.read(folder)
    assert whole.retrain
    change_facts(folder, lambda facts: facts.update(state="interrupted"))
    assert audit.read(folder).retrain == whole.retrain
    assert any("the retraining of" in text for text in comparison.compare([audit.read(folder)]).warnings)
    assert not any("the retraining of" in text for text in comparison.compare([whole]).warnings)


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
def test_what_became_of_a_later_retraining_does_not_undo_a_search(state: str, folder: Path) -> None:
    whole = audit.read(folder)
    for file in (*folder.glob("*retrain*"), folder / "predictions.jsonl"):
        file.unlink()
    change_facts(folder, lambda facts: facts.update(state=state, searched=True))
    assert audit.read(folder).trials == whole.trials
    change_facts(folder, lambda facts: facts.update(searched=False))
    with pytest.raises(RecordError, match=r"is half-written"):
        audit.read(folder)


def test_a_retraining_that_was_killed_counts_with_what_is_whole(folder: Path) -> None:
    """The predictions of a milestone are written first, then its row, then its epoch."""
    whole = audit.read(folder)
    change_facts(folder, lambda facts: facts.update(state="running", searched=True))
    last = whole.retrain[-1]
    run = last.configuration, last.seed
    epochs = [row for row in whole.retrain_epochs if (row.configuration, row.seed) != run or row.epoch < last.milestone]
    (folder / "retrain-epochs.jsonl").write_text("".join(to_json(vars(row)) + "\n" for row in epochs))
    without_epoch = audit.read(folder)
    assert without_epoch.retrain == whole.retrain[:-1]
    assert without_epoch.predictions.keys() == whole.predictions.keys() - {(*run, last.milestone)}
    (folder / "retrain.jsonl").write_text("".join(to_json(vars(row)) + "\n" for row in whole.retrain[:-1]))
    assert audit.read(folder).predictions.keys() == without_epoch.predictions.keys()
    change_facts(folder, lambda facts: facts.update(state="finished"))
    with pytest.raises(RecordError, match=r"stands in only one of retrain\.jsonl and predictions\.jsonl"):
        audit.read(folder)


def test_a_study_that_a_command_is_working_on_is_refused(folder: Path) -> None:
    with (
        StudyDirectory(folder) as study,
        pytest.raises(RecordError, match=rf"^{folder}: a command is working on it; wait for its end"),
    ):
        assert study.is_held()
        audit.read(folder)
    assert audit.read(folder).trials


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
def test_an_unfinished_study_is_half_written(state: str, folder: Path) -> None:
    for file in folder.glob("*retrain*"):
        file.unlink()
    (folder / "predictions.jsonl").unlink()
    (folder / "retrain-epochs.jsonl").touch()
    change_facts(folder, lambda facts: facts.update(state=state))
    with pytest.raises(RecordError, match=rf"is half-written \(state '{state}'\); go on with it by --resume"):
        audit.read(folder)


def test_facts_that_are_missing_or_of_another_rule_are_named(folder: Path) -> None:
    change_facts(folder, lambda facts: facts.update(objective="the last value"))
    with pytest.raises(RecordError, match=r"objective must be the one rule .* got 'the last value'"):
        audit.read(folder)
    change_facts(folder, lambda facts: facts["data"].pop("fingerprint"))
    with pytest.raises(RecordError, match=r"study\.json: data\.fingerprint is missing"):
        audit.read(folder)
    change_facts(folder, lambda facts: facts["config"].update(seed="0"))
    with pytest.raises(RecordError, match=r"study\.json: data\.fingerprint is missing|config\.seed must be int"):
        audit.read(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts.update(nodes=["head"]), r"nodes must hold dict only, got \['head'\]"),
        (lambda facts: facts["data"].update(class_names=[1, 2]), r"data\.class_names cannot be .\[1, 2\]"),
        (lambda facts: facts["data"].update(test_counts="20 20"), r"data\.test_counts cannot be '20 20'"),
        (lambda facts: facts["data"].update(test_counts=[40]), r"data\.test_counts must be the test images .* \[40\]"),
        (lambda facts: facts["data"].update(test_counts=[20, 21]), r"data\.test_counts must be .* got \[20, 21\]"),
        (lambda facts: facts["data"].update(test_counts=[41, -1]), r"data\.test_counts must be .* got \[41, -1\]"),
        (lambda facts: facts["data"].update(test_counts=[40, None]), r"data\.test_counts must be .* \[40, None\]"),
        (lambda facts: facts["config"]["space"].update(conv_kernel=3), r"config\.space\.conv_kernel is no range: 3"),
        (
            lambda facts: facts.update(nodes=[{"ray_cpus": "2"}]),
            r"nodes: ray_cpus must be a number of processors, got .2",
        ),
        (
            lambda facts: facts.update(nodes=[{"ray_gpus": -1}]),
            r"nodes: ray_gpus must be a number of processors, got -1",
        ),
        (
            lambda facts: facts["data"].update(train_images=0),
            r"data\.train_images must be at least 1 and at most 1e.07, got 0",
        ),
        (lambda facts: facts.update(name="a\x1b[31m"), r"holds a name that cannot be printed, .a.x1b"),
        (lambda facts: facts["config"].update(seed=-1), r"config\.seed must be at least 0 and at most .*, got -1"),
        (lambda facts: facts["config"]["search"].pop("startup_trials"), r"config\.search\.startup_trials is missing"),
        (lambda facts: facts["config"]["search"].update(reduction_factor=1), r"reduction_factor must be at least 2"),
        (lambda facts: facts["config"]["search"].update(time_budget_s="1 h"), r"time_budget_s must be seconds or null"),
        (lambda facts: facts.update(data=None), r"study\.json: data cannot be .None"),
        (lambda facts: facts["data"].pop("drawn"), r"data\.drawn is missing"),
        (lambda facts: facts["config"].update(seed=True), r"config\.seed must be int, got True"),
        (lambda facts: facts["config"].update(seed=2**63), r"config\.seed must be at least 0 and at most .*, got 92"),
        (lambda facts: facts["data"].update(selection_images=0), r"data\.selection_images must be at least 1"),
        (lambda facts: facts["data"].update(test_images=0), r"data\.test_images must be at least 1"),
        (lambda facts: facts["config"]["search"].update(num_samples=0), r"search\.num_samples must be at least 1"),
        (lambda facts: facts["config"]["search"].update(max_epochs=0), r"search\.max_epochs must be at least 1"),
        (lambda facts: facts["config"]["search"].update(scoring_window=0), r"scoring_window must be at least 1"),
        (lambda facts: facts["config"]["search"].update(grace_epochs=0), r"grace_epochs must be at least 1"),
        (lambda facts: facts["config"]["search"].update(time_budget_s=0), r"time_budget_s must be seconds or null"),
        (lambda facts: facts["config"]["search"].update(time_budget_s=True), r"time_budget_s must be seconds or null"),
        (lambda facts: facts["config"]["search"].update(time_budget_s=2e7), r"time_budget_s must be seconds or null"),
        (lambda facts: facts.update(share={}), r"how many trials ran at once \(at_once\), got {}"),
        (lambda facts: facts.update(share={"at_once": 0}), r"how many trials ran at once \(at_once\), got {.at_once"),
        (lambda facts: facts.update(share={"at_once": 10**8}), r"how many trials ran at once"),
        (lambda facts: facts.update(nodes=[{"ray_gpus": 1e8}]), r"ray_gpus must be a number of processors"),
        (lambda facts: facts.update(label="a\x1b[31m"), r"holds a name that cannot be printed"),
        (lambda facts: facts["data"].update(name="a\x1b[31m"), r"holds a name that cannot be printed"),
        (lambda facts: facts["data"].update(class_names=["a\x1b", "b"]), r"holds a name that cannot be printed"),
    ],
)
def test_facts_of_a_wrong_shape_are_named(change: Callable[[Row], Any], message: str, folder: Path) -> None:
    change_facts(folder, change)
    with pytest.raises(RecordError, match=message):
        audit.read(folder)


def test_a_search_that_ended_before_its_first_trial_is_no_search(folder: Path) -> None:
    change_facts(folder, lambda facts: facts["config"]["search"].update(time_budget_s=5.0))
    assert len(audit.read(folder).trials) == 8
    for name in ("trials", "epochs", "retrain", "retrain-epochs", "predictions"):
        (folder / f"{name}.jsonl").write_text("")
    with pytest.raises(RecordError, match=r"must hold trials 0 to 7 once each .*, got 0 rows of 0 trials"):
        audit.read(folder)


def test_a_time_budget_may_end_a_search_before_all_trials_have_begun(folder: Path) -> None:
    for name in ("retrain", "retrain-epochs", "predictions"):
        (folder / f"{name}.jsonl").unlink()
    drop(folder / "trials.jsonl", 7)
    with pytest.raises(RecordError, match=r"must hold trials 0 to 7 once each .*, got 7 rows of 7 trials"):
        audit.read(folder)
    change_facts(folder, lambda facts: facts["config"]["search"].update(time_budget_s=60.0))
    with pytest.raises(RecordError, match=r"epochs\.jsonl: trial 7 has epochs and no end in trials\.jsonl"):
        audit.read(folder)
    lines = (folder / "epochs.jsonl").read_text().splitlines(keepends=True)
    (folder / "epochs.jsonl").write_text("".join(line for line in lines if json.loads(line)["trial"] != 7))
    assert [row.trial for row in audit.read(folder).trials] == list(range(7))
    for number in (0, 8, -1):
        change(folder / "trials.jsonl", 6, {"trial": number})
        with pytest.raises(RecordError, match=r"must hold trials 0 to 7 once each|line 7: trial cannot be '-1'"):
            audit.read(folder)


def test_retraining_without_its_epochs_is_half_written(folder: Path) -> None:
    (folder / "retrain-epochs.jsonl").unlink()
    with pytest.raises(RecordError, match=r"retrain-epochs\.jsonl: .* epoch 4 has 0 epochs"):
        audit.read(folder)


def test_what_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "trials.jsonl").unlink()
    (folder / "trials.jsonl").mkdir()
    with pytest.raises(RecordError, match=r"trials\.jsonl: cannot be read"):
        audit.read(folder)


def test_predictions_of_a_run_that_is_not_on_record(folder: Path) -> None:
    drop(folder / "retrain.jsonl", 0)
    with pytest.raises(RecordError, match=r"stands in only one of retrain.jsonl and predictions.jsonl"):
        audit.read(folder)


def test_a_method_scored_by_its_last_epoch_is_caught(tmp_path: Path) -> None:
    folder = write_invented(tmp_path / "planted", last_instead_of_best=True)
    with pytest.raises(RecordError, match=r"its epochs give .* by the rule all methods share"):
        audit.read(folder)
