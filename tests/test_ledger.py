"""Rows on the disk: what was written is read, what a crash tore is cut, what is damaged is named."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
from make_rows import (
    prediction_row,
    quickstart,
    retrain_epoch_row,
    retrain_failure,
    retrain_row,
    trial_epoch_row,
    trial_row,
)

from catdog_ray import config as configuration
from catdog_ray.errors import UserError
from catdog_ray.files import replace_file, to_json
from catdog_ray.ledger import MACHINE_SETTINGS, RowFile, StudyDirectory, portable
from catdog_ray.records import PredictionRow, RecordError, TrialEpochRow, TrialRow
from catdog_ray.schema import SCHEMA_VERSION, RowSchema
from catdog_ray.settings import Archive

FILES = {
    "trials": ("trials.jsonl", trial_row(3, reason="naïve [brackets]\nand lines", status="failed", objective=None)),
    "epochs": ("epochs.jsonl", trial_epoch_row(3, 2)),
    "retrain_epochs": ("retrain-epochs.jsonl", retrain_epoch_row()),
    "retrain": ("retrain.jsonl", retrain_row("trial-0007")),
    "retrain_failures": ("retrain-failures.jsonl", retrain_failure()),
    "predictions": ("predictions.jsonl", prediction_row()),
}


def trials_in(folder: Path) -> RowFile[TrialRow]:
    return RowFile(folder / "trials.jsonl", TrialRow)


# ---- row files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_rows_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    file_name, row = FILES[name]
    with StudyDirectory(tmp_path / "study") as study:
        getattr(study, name).append(row)
        getattr(study, name).append(row, row)
    rows = getattr(StudyDirectory(tmp_path / "study"), name).read()
    assert rows == [row, row, row]
    assert type(rows[0]) is type(row)
    lines = (tmp_path / "study" / file_name).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [dataclasses.asdict(row)] * 3


def test_no_file_is_no_rows_and_reading_makes_none(tmp_path: Path) -> None:
    file = trials_in(tmp_path)
    assert file.read() == []
    assert file.repair() == 0
    assert list(tmp_path.iterdir()) == []


def test_no_rows_make_no_file(tmp_path: Path) -> None:
    trials_in(tmp_path).append()
    assert list(tmp_path.iterdir()) == []


def test_rows_are_only_added(tmp_path: Path) -> None:
    file = trials_in(tmp_path)
    file.append(trial_row(0))
    before = file.path.read_bytes()
    file.append(trial_row(1))
    assert file.path.read_bytes().startswith(before)
    assert [row.trial for row in file.read()] == [0, 1]


def test_a_torn_last_line_is_not_read_and_is_cut_by_repair(tmp_path: Path) -> None:
    file = trials_in(tmp_path)
    file.append(trial_row(0), trial_row(1))
    whole = file.path.read_bytes()
    torn = to_json(dataclasses.asdict(trial_row(2))).encode()
    for length in (1, 40, len(torn)):
        # Without its end even a whole object is torn: the next row would be glued to it.
        file.path.write_bytes(whole + torn[:length])
        assert [row.trial for row in file.read()] == [0, 1]
        assert file.repair() == length
        assert file.path.read_bytes() == whole
        assert file.repair() == 0
    file.append(trial_row(2))
    assert [row.trial for row in file.read()] == [0, 1, 2]


def test_what_did_not_fit_on_the_disk_leaves_no_part(tmp_path: Path) -> None:
    """Else the next row, for which there is room again, would stand behind half of this one."""
    study = StudyDirectory(tmp_path)
    study.trials.append(trial_row())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (study.trials.path.stat().st_size + 10, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            study.trials.append(trial_row(trial=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    study.trials.append(trial_row(trial=2))
    assert [row.trial for row in study.trials.read()] == [0, 2]


def test_a_file_of_one_torn_line_is_cut_to_nothing(tmp_path: Path) -> None:
    file = trials_in(tmp_path)
    file.path.write_bytes(b'{"trial": 0')
    assert file.read() == []
    assert file.repair() == 11
    assert file.path.read_bytes() == b""
    assert file.read() == []


@pytest.mark.parametrize("name", FILES)
def test_opening_a_study_repairs_every_file(name: str, tmp_path: Path) -> None:
    file_name, row = FILES[name]
    with StudyDirectory(tmp_path) as study:
        getattr(study, name).append(row)
    path = tmp_path / file_name
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"torn": ')
    assert getattr(StudyDirectory(tmp_path), name).read() == [row]
    assert path.read_bytes() != whole
    with StudyDirectory(tmp_path):
        assert path.read_bytes() == whole


@pytest.mark.parametrize("line", [b"nonsense", b"", b'{"trial": 1', b"\xff\xfe\x00", b"[" * 10])
def test_a_damaged_line_in_the_middle_is_named(line: bytes, tmp_path: Path) -> None:
    file = trials_in(tmp_path)
    file.append(trial_row(0))
    with file.path.open("ab") as out:
        out.write(line + b"\n")
    file.append(trial_row(2))
    with pytest.raises(RecordError) as caught:
        file.read()
    assert str(caught.value) == f"{file.path}, line 2: is no JSON: {line!r}"


def test_a_long_damaged_line_is_cut_in_the_message(tmp_path: Path) -> None:
    file = trials_in(tmp_path)
    file.path.write_bytes(b"x" * 500 + b"\n")
    with pytest.raises(RecordError) as caught:
        file.read()
    assert str(caught.value) == f"{file.path}, line 1: is no JSON: {b'x' * 60!r}"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"reason": ...}, "is no TrialRow; differing: reason"),
        ({"weather": "fine"}, "is no TrialRow; differing: weather"),
        ({"epochs": ..., "epoch": 9, "colour": 1}, "is no TrialRow; differing: colour, epoch, epochs"),
    ],
)
def test_wrong_fields_are_named(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    values = dataclasses.asdict(trial_row(0)) | change
    line = to_json({name: value for name, value in values.items() if value is not ...})
    file = trials_in(tmp_path)
    file.append(trial_row(0))
    with file.path.open("a", encoding="utf-8") as out:
        out.write(line + "\n")
    with pytest.raises(RecordError) as caught:
        file.read()
    assert str(caught.value) == f"{file.path}, line 2: {expected}"


@pytest.mark.parametrize(("line", "kind"), [("[1, 2]", "list"), ("7", "int"), ("null", "NoneType")])
def test_a_line_that_is_no_object(line: str, kind: str, tmp_path: Path) -> None:
    file = trials_in(tmp_path)
    file.path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(RecordError) as caught:
        file.read()
    assert str(caught.value) == f"{file.path}, line 1: is no TrialRow; differing: {kind}"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_becomes_null(value: float, tmp_path: Path) -> None:
    epochs = RowFile(tmp_path / "epochs.jsonl", TrialEpochRow)
    epochs.append(trial_epoch_row(train_loss=value, selection_loss=0.5, hyperparameters={"learning_rate": value}))
    text = epochs.path.read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    row = epochs.read()[0]
    assert (row.train_loss, row.selection_loss, row.hyperparameters) == (None, 0.5, {"learning_rate": None})
    predictions = RowFile(tmp_path / "predictions.jsonl", PredictionRow)
    predictions.append(prediction_row(probabilities=[value, 0.5]))
    assert predictions.read()[0].probabilities == [None, 0.5]


def test_json_is_strict_readable_and_one_line() -> None:
    value = {"a": [math.nan, (1.5, -math.inf)], "b": {"c": "Übung\n", "d": True}, "e": None}
    text = to_json(value)
    assert text == '{"a": [null, [1.5, null]], "b": {"c": "Übung\\n", "d": true}, "e": null}'
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    trials_in(tmp_path).append(trial_row(objective=value))
    assert trials_in(tmp_path).read()[0].objective == value


# ---- replacing a file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["Übung", b"\x00\xff"])
def test_a_file_is_replaced_and_no_part_is_left(content: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    replace_file(path, content)
    replace_file(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    replace_file(path, "old")
    with path.open() as reader:
        replace_file(path, "new and longer")
        assert reader.read() == "old"
    assert path.read_text() == "new and longer"


def test_a_replacement_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "taken", "content")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_replacement_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "model.keras", b"content")
    assert list(tmp_path.iterdir()) == []


# ---- the lock -----------------------------------------------------------------------------------------------------


def test_one_study_is_held_once(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    with StudyDirectory(folder) as study:
        with pytest.raises(RecordError) as caught, StudyDirectory(folder):
            pytest.fail("two at once")
        assert str(caught.value) == f"{folder}: another process is working on this study; wait or use --name"
        # The refused one neither took the lock nor let go of it.
        with pytest.raises(RecordError), StudyDirectory(folder):
            pytest.fail("two at once")
        study.trials.append(trial_row(0))
    with StudyDirectory(folder) as study:
        assert study.trials.read() == [trial_row(0)]


def test_one_study_is_held_by_one_process(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from catdog_ray.ledger import StudyDirectory\n"
        "from catdog_ray.records import RecordError\n"
        "try:\n"
        "    with StudyDirectory(Path(sys.argv[1])):\n"
        "        print('held')\n"
        "except RecordError as error:\n"
        "    print(error)\n"
    )

    def other_process() -> str:
        command = [sys.executable, "-c", code, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    with StudyDirectory(tmp_path):
        assert other_process() == f"{tmp_path}: another process is working on this study; wait or use --name"
    assert other_process() == "held"


def test_the_lock_is_let_go_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), StudyDirectory(tmp_path):
        raise ZeroDivisionError
    with StudyDirectory(tmp_path):
        pass


def test_reading_needs_no_lock(tmp_path: Path) -> None:
    with StudyDirectory(tmp_path) as study:
        study.trials.append(trial_row(0))
        assert StudyDirectory(tmp_path).trials.read() == [trial_row(0)]


def test_looking_at_a_study_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        StudyDirectory(tmp_path / "none").read_study()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "study"])
def test_a_file_where_the_study_should_be(below: str, tmp_path: Path) -> None:
    """`--output notes.txt`: something the user must change, not a traceback."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt"), StudyDirectory(tmp_path / "notes.txt" / below):
        pytest.fail("a study in a file")
    assert (tmp_path / "notes.txt").read_text() == "mine"


# ---- study.json ---------------------------------------------------------------------------------------------------


def test_study_json_comes_back(tmp_path: Path) -> None:
    facts = {"schema_version": SCHEMA_VERSION, "name": "Übung", "wall_s": 1.5, "nodes": [{"cores": 2}]}
    study = StudyDirectory(tmp_path)
    study.write_study(facts)
    assert study.read_study() == facts
    text = (tmp_path / "study.json").read_text(encoding="utf-8")
    assert text.splitlines()[1] == '  "schema_version": 1,'
    assert text.endswith("}\n")


def test_a_folder_without_a_study(tmp_path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        StudyDirectory(tmp_path).read_study()
    assert str(caught.value) == f"{tmp_path}: no study here (study.json is missing)"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"schema_version": 1} and more'])
def test_a_damaged_study_json(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_bytes(content)
    with pytest.raises(RecordError) as caught:
        StudyDirectory(tmp_path).read_study()
    assert str(caught.value).startswith(f"{tmp_path / 'study.json'}: is no JSON (")


@pytest.mark.parametrize(
    ("content", "came"),
    [('{"schema_version": 2}', "2"), ('{"schema_version": "1"}', "'1'"), ("{}", "None"), ("[1]", "None")],
)
def test_another_schema(content: str, came: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(RecordError) as caught:
        StudyDirectory(tmp_path).read_study()
    assert str(caught.value) == f"{tmp_path / 'study.json'}: schema_version must be 1, got {came}"


# ---- what is true of one machine only -----------------------------------------------------------------------------


def test_study_json_names_no_place_on_this_machine(tmp_path: Path) -> None:
    config = quickstart(
        output=str(tmp_path / "results"),
        data__source=str(tmp_path / "pets" / "pets.zip"),
        data__cache_dir=str(tmp_path / "cache"),
        cluster__address="ray://somewhere:10001",
        cluster__storage_path=str(tmp_path / "storage"),
    )
    shown = portable(config.as_dict())
    assert (shown["output"], shown["data"]["source"], shown["data"]["cache_dir"]) == (
        "results",
        "pets.zip",
        "~/.cache/catdog_ray",
    )
    assert (shown["cluster"]["address"], shown["cluster"]["storage_path"]) == ("local", None)
    assert str(tmp_path) not in json.dumps(shown)
    # All else stays, and it is a config still.
    changed = set(configuration.differences(config, configuration.from_dict(shown)))
    assert changed == set(MACHINE_SETTINGS)
    assert config.output == str(tmp_path / "results")


@pytest.mark.parametrize(
    ("source", "shown"),
    [("drawn", "drawn"), ("pets.zip", "pets.zip"), ("~/pets.zip", "pets.zip"), ("data/pets/", "pets")],
)
def test_the_data_is_shown_by_its_last_name(source: str, shown: str) -> None:
    assert portable(quickstart(data__source=source).as_dict())["data"]["source"] == shown


def test_machine_settings_come_back(tmp_path: Path) -> None:
    study = StudyDirectory(tmp_path)
    assert study.read_machine_settings() == {}
    config = quickstart(data__source=str(tmp_path / "pets.zip"))
    settings = {name: configuration.setting(config, name) for name in MACHINE_SETTINGS}
    study.write_machine_settings(settings)
    assert StudyDirectory(tmp_path).read_machine_settings() == settings
    assert settings["data.source"] == str(tmp_path / "pets.zip")
    assert [path.name for path in tmp_path.iterdir()] == [".machine.json"]
    # An address may hold a key.
    assert (tmp_path / ".machine.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"seed": 1}', b"\xff"])
def test_damaged_machine_settings(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / ".machine.json"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        StudyDirectory(tmp_path).read_machine_settings()
    assert str(caught.value) == f"{path}: is damaged; delete it and give --data again"


def test_a_study_holds_no_key_of_a_published_set() -> None:
    archive = Archive("https://me:word@host/sets/pets.zip?key=secret", 7, "0" * 64)
    config = quickstart(data__source="pets", data__published={"pets": archive.__dict__})
    found = portable(config.as_dict())
    assert found["data"]["published"] == {"pets": {"url": "https://host/sets/pets.zip", "bytes": 7, "sha256": "0" * 64}}
    assert config.data.published == {"pets": archive}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/home/me/pets.zip", "pets.zip"),
        ("cats_and_dogs_filtered", "cats_and_dogs_filtered"),
        ("https://user:password@host/sets/pets.zip?key=secret#sha256=00", "pets.zip"),
        ("drawn", "drawn"),
    ],
)
def test_a_study_holds_the_name_of_its_data_alone(source: str, expected: str) -> None:
    found = portable(quickstart(data__source=source).as_dict())
    assert found["data"]["source"] == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 1.5),
        ("epochs", True),
        ("epochs", 10**30),
        ("objective", 1.01),
        ("objective", "high"),
        ("status", None),
        ("hyperparameters", []),
        ("hyperparameters", {"learning_rate": [1]}),
        ("training_seconds", 1e200),
    ],
)
def test_a_row_with_a_value_that_cannot_be(name: str, value: object, tmp_path: Path) -> None:
    trials = trials_in(tmp_path)
    trials.append(trial_row(0), trial_row(1, **{name: value}))
    with pytest.raises(RecordError) as caught:
        trials.read()
    assert str(caught.value).startswith(f"{trials.path}, line 2: {name} cannot be ")


ANY = [None, True, 0, -1, 2**63, 10**400, 0.5, 1.5, -0.0, 1e99, 1e101, math.nan, math.inf, "", "0.5", [], [0.5, None]]
ANY += [[1, "a"], [True], [math.nan], {}, {"a": 1}, {"a": None}, {"a": [1]}, {"a": "b", "c": 1e300}]


@pytest.mark.parametrize("name", FILES)
def test_many_rows_at_once_are_checked_as_one_by_one(name: str) -> None:
    """Any value in any column, first and last of rows that are right."""
    row = FILES[name][1]
    schema, right = RowSchema(type(row)), json.loads(to_json(dataclasses.asdict(row)))
    assert schema.admits([])
    assert schema.admits([right] * 3)
    allowed = 0
    for column in right:
        for value in ANY:
            odd = right | {column: value}
            try:
                schema.require(odd)
            except RecordError:
                is_right = False
            else:
                is_right = True
            # A float that is written as an integer of more than 64 bits must be looked at by itself.
            expected = is_right and value != 2**63
            assert [schema.admits(rows) for rows in ([odd, right], [right, odd], [odd])] == [expected] * 3, odd
            allowed += is_right
    assert 0 < allowed < len(right) * len(ANY) / 2


@pytest.mark.parametrize("broken_at", ['"epochs": ', "}, {", "naïve", '"status"', "{"])
def test_rows_broken_into_lines_are_refused_though_there_are_as_many(broken_at: str, tmp_path: Path) -> None:
    """One row in two lines, and two rows in one."""
    trials = trials_in(tmp_path)
    first, second, third = (to_json(dataclasses.asdict(trial_row(n, reason="naïve"))) for n in range(3))
    text = f"{first}, {second}" if broken_at == "}, {" else first
    place = text.index(broken_at) + len(broken_at) - 1
    lines = [text[:place], f"{text[place:].removeprefix(', ')}, {second}", third]
    trials.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match="line 1: is no JSON"):
        trials.read()


def test_rows_may_be_indented(tmp_path: Path) -> None:
    trials = trials_in(tmp_path)
    trials.append(trial_row(0), trial_row(1))
    trials.path.write_text(trials.path.read_text().replace("{", "  {", 1))
    assert trials.read() == [trial_row(0), trial_row(1)]
