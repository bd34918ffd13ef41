"""Where rows are written down: append-only files of one JSON object a line, and `study.json`.

Rows are fsynced and never edited. A line torn by a crash is cut off when the study is opened again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from catdog_ray.files import replace_file, to_json
from catdog_ray.records import (
    PredictionRow,
    RecordError,
    RetrainEpochRow,
    RetrainFailure,
    RetrainRow,
    TrialEpochRow,
    TrialRow,
)
from catdog_ray.schema import RowSchema, require_study
from catdog_ray.settings import without_secrets

MACHINE_SETTINGS = ("output", "data.source", "data.cache_dir", "cluster.address", "cluster.storage_path")
"""Settings that name a place; a study keeps them beside its rows in a file that is not committed."""

Row = TypeVar("Row")

_REPLACED = {"study.json": 0o666, ".machine.json": 0o600}
"""What a session replaces as a whole, and who may read it; an address may hold a key."""

_DERIVED = ("optuna-journal.log", "optuna-journal.log.lock")
"""What is made anew from the rows."""


class RowFile(typing.Generic[Row]):
    """An append-only file of rows of one dataclass."""

    def __init__(self, path: Path, kind: type[Row]) -> None:
        self.path, self._kind, self._schema = path, kind, RowSchema(kind)

    def read(self) -> list[Row]:
        """All whole rows; [] where there is no file. Raises RecordError naming file and line."""
        if not self.path.exists():
            return []
        *lines, _torn = self.path.read_bytes().split(b"\n")
        try:
            return self._parse_all(lines)
        except (ValueError, RecursionError):
            # For the first that is wrong, if any is.
            return [self._parse(line, number) for number, line in enumerate(lines, start=1)]

    def repair(self) -> int:
        """Cut off a last line without an end (a crash while writing); returns the bytes removed."""
        if not self.path.exists():
            return 0
        content = self.path.read_bytes()
        torn = len(content) - (content.rfind(b"\n") + 1)
        if torn:
            os.truncate(self.path, len(content) - torn)
        return torn

    def append(self, *rows: Row) -> None:
        """Write rows to the disk; they are there when this returns."""
        if not rows:
            return
        text = "".join(to_json(dataclasses.asdict(typing.cast(Any, row))) + "\n" for row in rows)
        with self.path.open("ab", buffering=0) as file:
            whole, left = file.tell(), memoryview(text.encode())
            try:
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError:
                # A part of a row, as on a full disk, would run into the next one.
                file.truncate(whole)
                raise

    def _parse_all(self, lines: Sequence[bytes]) -> list[Row]:
        """As one array, faster than as many texts; ValueError where that might hide what is wrong in a line."""
        # So no row goes on in the next line: no string holds a line's end, and no list of a row holds objects.
        if not all(line.startswith(b"{") for line in lines):
            raise ValueError
        rows = json.loads("[" + b",\n".join(lines).decode() + "]")
        if len(rows) != len(lines) or not self._schema.admits(rows):
            raise ValueError
        return [self._row(values) for values in rows]

    def _parse(self, line: bytes, number: int) -> Row:
        try:
            values = json.loads(line.decode())
            self._schema.require(values)
        except RecordError as error:
            raise RecordError(f"{self.path}, line {number}: {error}") from None
        except (ValueError, RecursionError):
            raise RecordError(f"{self.path}, line {number}: is no JSON: {line[:60]!r}") from None
        return self._row(values)

    def _row(self, values: Mapping[str, Any]) -> Row:
        # Every name is there, and its value checked; a frozen dataclass' own `__init__` takes four times as long.
        row = object.__new__(self._kind)
        vars(row).update(values)
        return row


class StudyDirectory:
    """`<output>/<name>/`: the row files and `study.json` of one study, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trials = RowFile(path / "trials.jsonl", TrialRow)
        self.epochs = RowFile(path / "epochs.jsonl", TrialEpochRow)
        self.retrain_epochs = RowFile(path / "retrain-epochs.jsonl", RetrainEpochRow)
        self.retrain = RowFile(path / "retrain.jsonl", RetrainRow)
        self.retrain_failures = RowFile(path / "retrain-failures.jsonl", RetrainFailure)
        self.predictions = RowFile(path / "predictions.jsonl", PredictionRow)
        self._row_files: tuple[RowFile[Any], ...] = (
            # Each before what its rows stand on, so that who copies one after the other has that too.
            self.trials,
            self.epochs,
            self.retrain,
            self.retrain_failures,
            self.retrain_epochs,
            self.predictions,
        )
        self._lock: typing.IO[str] | None = None

    def is_there(self) -> bool:
        """Whether the folder holds anything of a study, be it damaged."""
        return any(path.exists() for path in (self.path / "study.json", *(file.path for file in self._row_files)))

    def __enter__(self) -> Self:
        while self._lock is None:
            self._lock = self._locked()
        for file in self._row_files:
            file.repair()
        return self

    def _locked(self) -> typing.IO[str] | None:
        """The lock; None where another process removed its file in the meantime, see `put_back`."""
        file = self.path / ".lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = file.open("w")
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be made a folder and written ({error.strerror})") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise RecordError(f"{self.path}: another process is working on this study; wait or use --name") from None
        try:
            if os.path.samestat(os.fstat(lock.fileno()), file.stat()):
                return lock
        except FileNotFoundError:
            pass
        lock.close()
        return None

    def snapshot(self) -> dict[str, bytes | int]:
        """What `put_back` needs: the files that are replaced as they are, and how long those of rows are."""
        found: dict[str, bytes | int] = {
            name: (self.path / name).read_bytes() for name in _REPLACED if (self.path / name).is_file()
        }
        return found | {path.name: path.stat().st_size for path in self.row_paths if path.is_file()}

    def put_back(self, before: Mapping[str, bytes | int]) -> None:
        """Undo what a session wrote that came to no row, so that the corrected command finds what this one found.

        A folder that held no study is removed, unless something else lies in it.
        """
        now = self.snapshot()
        if any(before.get(path.name) != now.get(path.name) for path in self.row_paths):
            return
        for name in _REPLACED:
            content = before.get(name)
            if isinstance(content, bytes):
                replace_file(self.path / name, content, mode=_REPLACED[name])
            else:
                (self.path / name).unlink(missing_ok=True)
        if not before:
            for name in (*_DERIVED, ".lock"):
                (self.path / name).unlink(missing_ok=True)
            for folder in (self.path / "ray" / "trials", self.path / "ray", self.path):
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def is_held(self) -> bool:
        """Whether a process is working on this study now."""
        try:
            with (self.path / ".lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def row_paths(self) -> tuple[Path, ...]:
        """The files of rows, which may not be there yet."""
        return tuple(file.path for file in self._row_files)

    @property
    def shared_name(self) -> str:
        """Its name and its id, if it has one: what it goes by where other studies of that name may be."""
        identity = self.read_study().get("id") if (self.path / "study.json").exists() else None
        return f"{self.path.name}-{identity}" if identity else self.path.name

    def read_study(self) -> dict[str, Any]:
        """`study.json`; RecordError where it is missing, damaged or of another schema version."""
        path = self.path / "study.json"
        if not path.is_file():
            raise RecordError(f"{self.path}: no study here (study.json is missing)")
        try:
            study = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise RecordError(f"{path}: is no JSON ({error})") from None
        require_study(path, study)
        return typing.cast("dict[str, Any]", study)

    def read_machine_settings(self) -> dict[str, Any]:
        """`MACHINE_SETTINGS` of the last session here, by dotted name; {} in a study from elsewhere."""
        path = self.path / ".machine.json"
        if not path.is_file():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not set(found) <= set(MACHINE_SETTINGS):
            raise RecordError(f"{path}: is damaged; delete it and give --data again")
        return found

    def write_machine_settings(self, settings: Mapping[str, Any]) -> None:
        """Keep `MACHINE_SETTINGS` for --resume on this machine."""
        replace_file(self.path / ".machine.json", to_json(settings) + "\n", mode=_REPLACED[".machine.json"])

    def write_study(self, study: Mapping[str, Any]) -> None:
        """Replace `study.json` in one step."""
        replace_file(self.path / "study.json", to_json(study, indent=2) + "\n")


def portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as `study.json` holds it: without secrets, and what is true of one machine only (`MACHINE_SETTINGS`)."""
    data = config["data"]
    published = {name: {**item, "url": without_secrets(item["url"])} for name, item in data["published"].items()}
    shown = {"source": _portable_source(data["source"]), "published": published, "cache_dir": "~/.cache/catdog_ray"}
    return {
        **config,
        "output": "results",
        "data": {**data, **shown},
        "cluster": {**config["cluster"], "address": "local", "storage_path": None},
    }


def _portable_source(source: str) -> str:
    """The name alone: not the folder it lies in, nor an address's query, which may hold a key."""
    name = Path(source.partition("?")[0].partition("#")[0] if "://" in source else source).name
    return name or source
