"""Rows at a shared place: copied as they come, never changed, put together again."""

from __future__ import annotations

import errno
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from make_rows import trial_row

from catdog_ray import mirror
from catdog_ray.files import replace_file, to_json
from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import RecordError
from catdog_ray.schema import SCHEMA_VERSION

ROOT = Path(__file__).parents[1]


@pytest.fixture
def study(tmp_path: Path) -> StudyDirectory:
    found = StudyDirectory(tmp_path / "results" / "pets")
    found.path.mkdir(parents=True)
    found.write_study({"schema_version": SCHEMA_VERSION, "name": "pets", "id": "0a1b2c3d", "state": "running"})
    return found


def segments(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (place / "rows").iterdir() if path.name != "study.json"}


def test_what_was_appended_is_a_segment_that_stays_as_it_is(study: StudyDirectory, tmp_path: Path) -> None:
    place = tmp_path / "shared" / "pets-0a1b2c3d"
    copier = mirror.Mirror(study, str(place))
    study.trials.append(trial_row(0))
    copier.push()
    first = segments(place)
    assert list(first) == ["trials.jsonl.0000.000000000000000"]
    study.trials.append(trial_row(1))
    with study.trials.path.open("a") as file:
        file.write('{"trial": 2, "sta')  # being written
    copier.push()
    copier.push()
    second = segments(place)
    assert first.items() < second.items()
    assert len(second) == 2
    study.write_study({**study.read_study(), "state": "finished"})
    copier.push()
    fetched = mirror.fetch(str(place), tmp_path / "elsewhere")
    assert fetched == tmp_path / "elsewhere" / "pets"
    assert StudyDirectory(fetched).trials.read() == [trial_row(0), trial_row(1)]
    assert StudyDirectory(fetched).read_study() == study.read_study()
    assert StudyDirectory(fetched).shared_name == "pets-0a1b2c3d"


def test_a_file_that_was_replaced_begins_anew(study: StudyDirectory, tmp_path: Path) -> None:
    place = tmp_path / "shared"
    copier = mirror.Mirror(study, str(place))
    study.trials.append(trial_row(0), trial_row(1))
    copier.push()
    # Shorter, then as long as before: only the inode tells.
    replace_file(study.trials.path, to_json(trial_row(0).__dict__) + "\n")
    study.trials.append(trial_row(3))
    copier.push()
    assert StudyDirectory(mirror.fetch(str(place), tmp_path / "back")).trials.read() == [trial_row(0), trial_row(3)]


@pytest.mark.parametrize("changed", [False, True])
def test_a_later_session_goes_on(study: StudyDirectory, tmp_path: Path, changed: bool) -> None:
    place = tmp_path / "shared"
    study.trials.append(trial_row(0), trial_row(1))
    mirror.Mirror(study, str(place)).push()
    if changed:
        study.trials.path.write_text(to_json(trial_row(5).__dict__) + "\n")
    study.trials.append(trial_row(2))
    mirror.Mirror(study, str(place)).push()
    names = sorted(segments(place))
    assert [name.split(".")[2] for name in names] == (["0000", "0001"] if changed else ["0000", "0000"])
    assert StudyDirectory(mirror.fetch(str(place), tmp_path / "back")).trials.read() == study.trials.read()


def test_what_cannot_be_put_together_is_one_line(study: StudyDirectory, tmp_path: Path) -> None:
    place, output = tmp_path / "shared", tmp_path / "back"
    with pytest.raises(RecordError, match=r"shared: holds no rows of a study that can be read"):
        mirror.fetch(str(place), output)
    with pytest.raises(RecordError, match=r"^nosuch://bucket/x: holds no rows of a study that can be read"):
        mirror.fetch("nosuch://bucket/x", output)
    copier = mirror.Mirror(study, str(place))
    for number in range(3):
        study.trials.append(trial_row(number))
        copier.push()
    middle = sorted((place / "rows").glob("trials*"))[1]
    content = middle.read_bytes()
    middle.unlink()
    with pytest.raises(RecordError, match=r"a segment before it is missing"):
        mirror.fetch(str(place), output)
    assert not (output / "pets").exists()
    middle.write_bytes(content)
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "fetch_study.py", place, "--output", output], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"--resume --name pets --output {output} --data DATA" in done.stdout
    assert done.stdout.endswith(f"cluster.storage_path={tmp_path}\n")
    with pytest.raises(RecordError, match=r"pets: exists; move it away, or fetch to another --output"):
        mirror.fetch(str(place), output)
    for name in ("../out", "", 3):
        (place / "rows" / "study.json").write_text(json.dumps({**study.read_study(), "name": name}))
        with pytest.raises(RecordError, match=r"has no usable name"):
            mirror.fetch(str(place), output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "results", "shared"]


def test_a_place_that_cannot_be_written_is_warned_of_once(
    study: StudyDirectory, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "EVERY_S", 0.01)
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING), mirror.Copier(study).copying(str(tmp_path / "file" / "place")):
        study.trials.append(trial_row(0))
    assert caplog.text.count("the rows cannot be copied (") == 1
    copier = mirror.Copier(study)
    with copier.copying(None):
        pass
    copier.copy()
    assert not (tmp_path / "shared").exists()
    with copier.copying(str(tmp_path / "shared")):
        study.trials.append(trial_row(1))
    (study.path / "model.keras").write_bytes(b"a model")
    study.write_study({**study.read_study(), "state": "finished"})
    copier.copy()
    fetched = mirror.fetch(str(tmp_path / "shared"), tmp_path / "back")
    assert len(StudyDirectory(fetched).trials.read()) == 2
    assert StudyDirectory(fetched).read_study()["state"] == "finished"
    assert (fetched / "model.keras").read_bytes() == b"a model"


def test_the_model_is_there_before_what_tells_of_it(
    study: StudyDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver may be lost between two files; and what is as it was is not copied again."""
    study.trials.append(trial_row(0))
    for name in ("model.keras", "model.json"):
        (study.path / name).write_text("{}")
    written: list[str] = []
    write = mirror._write

    def noting(filesystem: object, path: str, content: bytes) -> None:
        written.append(path.rpartition("/")[2])
        write(filesystem, path, content)

    monkeypatch.setattr(mirror, "_write", noting)
    copier = mirror.Mirror(study, str(tmp_path / "shared"))
    copier.push()
    assert written == ["trials.jsonl.0000.000000000000000", "model.keras", "model.json", "study.json"]
    replace_file(study.path / "model.json", '{"epochs": 3}')
    copier.push()
    assert written[4:] == ["model.json"]


def test_what_is_no_file_of_a_study_is_not_fetched(study: StudyDirectory, tmp_path: Path) -> None:
    """Nor what a copy that was cut left behind, which is no segment."""
    study.trials.append(trial_row(0))
    mirror.Mirror(study, str(tmp_path / "shared")).push()
    rows = tmp_path / "shared" / "rows"
    (rows / "notes.jsonl.0000.000000000000000").write_text("{}\n")
    (rows / "notes.txt").write_text("mine")
    (rows / f"trials.jsonl.0000.{study.trials.path.stat().st_size:015d}.part").write_text('{"trial": 1')
    fetched = mirror.fetch(str(tmp_path / "shared"), tmp_path / "back")
    assert sorted(path.name for path in fetched.iterdir()) == ["study.json", "trials.jsonl"]
    assert (fetched / "trials.jsonl").read_bytes() == study.trials.path.read_bytes()


def test_half_a_study_is_not_left(study: StudyDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be taken for one, and stand in the way of the next try."""
    study.trials.append(trial_row(0))
    mirror.Mirror(study, str(tmp_path / "shared")).push()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as changed:
        changed.setattr(StudyDirectory, "write_study", full)
        with pytest.raises(RecordError, match=r"new/pets: cannot be written \(No space left on device\)"):
            mirror.fetch(str(tmp_path / "shared"), tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    assert StudyDirectory(mirror.fetch(str(tmp_path / "shared"), tmp_path / "new")).trials.read() == [trial_row(0)]


@pytest.mark.parametrize("end", ["", "/"])
def test_how_to_go_on_names_the_place_above(end: str, study: StudyDirectory, tmp_path: Path) -> None:
    place = (tmp_path / "shared" / "pets-0a1b2c3d").as_uri()
    mirror.Mirror(study, place).push()
    words = [sys.executable, str(ROOT / "scripts" / "fetch_study.py"), place + end, "--output", str(tmp_path / "new")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"--set cluster.storage_path={(tmp_path / 'shared').as_uri()}\n" in done.stdout
