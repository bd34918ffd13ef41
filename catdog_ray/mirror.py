"""A study's rows at the shared place too: losing the machine of the driver costs seconds, not the study.

What is appended to a row file is copied every few seconds as a segment that nobody changes, named by the file, by how
often that file was replaced, and by where in it the segment begins. `fetch` puts a study together again.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catdog_ray.errors import first_line
from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import RecordError

EVERY_S = 5.0

_FACTS = "study.json"

_WHOLE = ("model.keras", "model.json", _FACTS)
"""Files that are replaced and not appended to; a model before what tells of it."""

_log = logging.getLogger(__name__)


@dataclass
class _Copied:
    """How far one file was copied: its inode when that began, the number of that beginning, and the bytes since."""

    inode: int
    generation: int
    size: int


class Mirror:
    """Copies the rows of one study to `place`, a path or address that pyarrow knows. `place` may hold its segments."""

    def __init__(self, study: StudyDirectory, place: str) -> None:
        self._study, self._place = study, place
        self._written: dict[str, int] = {}
        self._copied: dict[str, _Copied] = {}

    def push(self) -> None:
        """Copy what was written since the last time. Raises OSError."""
        filesystem, folder = _rows_of(self._place)
        filesystem.create_dir(folder, recursive=True)
        for file in self._study.row_paths:
            if file.is_file():
                self._push_rows(filesystem, folder, file)
        for name in _WHOLE:
            file = self._study.path / name
            if file.is_file() and self._written.get(name) != file.stat().st_mtime_ns:
                moment = file.stat().st_mtime_ns
                _write(filesystem, f"{folder}/{name}", file.read_bytes())
                self._written[name] = moment

    def _push_rows(self, filesystem: Any, folder: str, file: Path) -> None:
        with file.open("rb") as opened:
            inode = os.fstat(opened.fileno()).st_ino
            known = self._copied.get(file.name)
            if known is None:
                known = self._earlier(filesystem, folder, file, inode)
            elif known.inode != inode:
                # Replaced as a whole, as where a crash left predictions without their row.
                known = _Copied(inode, known.generation + 1, 0)
            opened.seek(known.size)
            content = opened.read()
        # A row that is being written is left for the next time.
        content = content[: content.rfind(b"\n") + 1]
        if content:
            _write(filesystem, f"{folder}/{file.name}.{known.generation:04d}.{known.size:015d}", content)
            known.size += len(content)
        self._copied[file.name] = known

    def _earlier(self, filesystem: Any, folder: str, file: Path, inode: int) -> _Copied:
        """Where an earlier session left off; from the beginning where the file is not what was copied then."""
        segments = _segments(filesystem, folder).get(file.name, [])
        if not segments:
            return _Copied(inode, 0, 0)
        generation = segments[-1][0]
        content = _joined(filesystem, segments)
        is_same = file.read_bytes()[: len(content)] == content
        return _Copied(inode, generation, len(content)) if is_same else _Copied(inode, generation + 1, 0)


class Copier:
    """Copies a study every few seconds while it runs.

    A place that cannot be written is warned of once: the rows are on the driver's disk.
    """

    def __init__(self, study: StudyDirectory) -> None:
        self._study = study
        self._mirror: Mirror | None = None
        self._has_failed = False

    @contextmanager
    def copying(self, place: str | None) -> Iterator[None]:
        """While the block runs, and once more at its end; `place` None: not at all."""
        if place is None:
            yield
            return
        if self._mirror is None:
            self._mirror = Mirror(self._study, place)
        stop = threading.Event()
        thread = threading.Thread(target=self._keep_copying, args=(stop,), name="mirror", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.copy()

    def copy(self) -> None:
        """What is new, to where it was copied before; nothing where that is nowhere."""
        if self._mirror is None:
            return
        try:
            self._mirror.push()
        except OSError as error:
            if not self._has_failed:
                _log.warning("the rows cannot be copied (%s); they are in %s", error, self._study.path)
            self._has_failed = True

    def _keep_copying(self, stop: threading.Event) -> None:
        while not stop.wait(EVERY_S):
            self.copy()


def fetch(place: str, output: Path) -> Path:
    """Put the study whose rows are at `place` together under `output`; returns its folder.

    Raises RecordError where there is none, where segments are missing, or where its folder exists.
    """
    try:
        filesystem, folder = _rows_of(place)
        facts = json.loads(_read(filesystem, f"{folder}/{_FACTS}"))
        name = facts["name"]
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
            raise RecordError(f"{place}: its study.json has no usable name, {name!r}")
        target = output / name
        if target.exists():
            raise RecordError(f"{target}: exists; move it away, or fetch to another --output")
        files = {file: _joined(filesystem, segments) for file, segments in _segments(filesystem, folder).items()}
        there = {info.base_name for info in _listed(filesystem, folder)}
        files |= {name: _read(filesystem, f"{folder}/{name}") for name in _WHOLE if name in there and name != _FACTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{place}: holds no rows of a study that can be read ({first_line(error)})") from None
    known = {*_WHOLE, *(path.name for path in StudyDirectory(target).row_paths)}
    try:
        output.mkdir(parents=True, exist_ok=True)
        # Half a study would be taken for one.
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=output) as folder:
            part = Path(folder) / name
            part.mkdir()
            for file, content in files.items():
                if file in known:
                    (part / file).write_bytes(content)
            StudyDirectory(part).write_study(facts)
            part.replace(target)
    except OSError as error:
        raise RecordError(f"{target}: cannot be written ({error.strerror})") from None
    return target


def _rows_of(place: str) -> tuple[Any, str]:
    import pyarrow.fs

    try:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(place)
    except ValueError as error:
        raise OSError(str(error)) from None
    return filesystem, f"{path}/rows"


def _segments(filesystem: Any, folder: str) -> dict[str, list[tuple[int, int, str]]]:
    """By file, (generation, start, path) of the segments of its last generation, in order."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    for info in _listed(filesystem, folder):
        file, _, numbers = info.base_name.partition(".jsonl.")
        generation, _, start = numbers.partition(".")
        if generation.isdigit() and start.isdigit():
            found.setdefault(f"{file}.jsonl", []).append((int(generation), int(start), info.path))
    return {file: sorted(item for item in items if item[0] == max(items)[0]) for file, items in sorted(found.items())}


def _listed(filesystem: Any, folder: str) -> list[Any]:
    import pyarrow.fs

    found: list[Any] = filesystem.get_file_info(pyarrow.fs.FileSelector(folder, allow_not_found=True))
    return found


def _joined(filesystem: Any, segments: list[tuple[int, int, str]]) -> bytes:
    """What the segments hold together. OSError where one is missing."""
    content = b""
    for _, start, path in segments:
        if start != len(content):
            raise OSError(f"{path}: begins at {start}, expected {len(content)}; a segment before it is missing")
        content += _read(filesystem, path)
    return content


def _read(filesystem: Any, path: str) -> bytes:
    with filesystem.open_input_stream(path) as stream:
        content: bytes = stream.read()
    return content


def _write(filesystem: Any, path: str, content: bytes) -> None:
    """In one step: an object store shows an object when it is whole, a disk is given it under another name first."""
    is_disk = filesystem.type_name == "local"
    with filesystem.open_output_stream(f"{path}.part" if is_disk else path) as stream:
        stream.write(content)
    if is_disk:
        Path(f"{path}.part").replace(path)
