"""An archive by URL becomes a checked file in the cache: resumed, retried, complete or not there."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import requests
import urllib3

from catdog_ray.errors import DataError
from catdog_ray.settings import Archive, without_secrets

Progress = Callable[[int, int], None]
"""Called with (bytes here, bytes in all, 0 where the server does not say)."""

ATTEMPTS = 5
_FIRST_PAUSE_S = 0.5
_TIMEOUT_S = 20.0
_LARGEST_BYTES = 64 * 2**30
_BLOCK = 2**18
_PATIENCE_S = 30.0
_SLOWEST_BYTES_PER_S = 1024

_OFFLINE = "give a zip archive or a folder that is on this machine, or 'drawn' for the built-in data"


class _Failure(Exception):
    """An attempt that failed; worth another one unless `is_final`."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


def is_url(source: str) -> bool:
    """Whether a source is an address."""
    return source.lower().startswith(("https://", "http://"))


def file_name(url: str) -> str:
    """The last part of the address, without query and with plain characters only."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return re.sub(r"[^\w.-]", "_", name).lstrip(".")[-100:] or "archive.zip"


def fetch(archive: Archive, folder: Path, *, on_progress: Progress | None = None) -> Path:
    """The archive's file below `folder`; downloaded if it is not there yet, and then never asked for again.

    A sha256 may also stand in the address (`https://host/pets.zip#sha256=...`). What was received of an interrupted
    download is kept and asked for no second time. Raises DataError in one line.
    """
    _require_address(archive.url)
    url, _, fragment = archive.url.partition("#")
    sha256 = archive.sha256 or _digest_of(fragment, archive.url)
    shown = without_secrets(url)
    place = folder / hashlib.sha256(repr((url, sha256)).encode()).hexdigest()[:16]
    path = place / file_name(url)
    if path.is_file():
        return path
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _alone(place):
            if not path.is_file():
                _download(url, path, Archive(shown, archive.bytes, sha256), on_progress)
    except OSError as error:
        raise DataError(f"data.cache_dir: {place} cannot be written ({error.strerror or error}); set another") from None
    return path


def _require_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_address = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_address = False
    if not is_address:
        raise DataError(f"--data: {without_secrets(url)} is no address, expected https://host/name.zip; {_OFFLINE}")


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One process at a time downloads this file; another waits and then finds it."""
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(url: str, path: Path, wanted: Archive, on_progress: Progress | None) -> None:
    partial = path.with_name(f".{path.name}.part")
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1))
        try:
            _receive(url, partial, wanted, on_progress)
            _require_right(partial, wanted)
        except _Failure as failure:
            reason = str(failure)
            if failure.is_final:
                break
        else:
            _sync(partial)
            partial.replace(path)
            _state_of(partial).unlink(missing_ok=True)
            return
    raise DataError(f"--data: {wanted.url} could not be downloaded ({reason}); {_OFFLINE}")


def _receive(url: str, partial: Path, wanted: Archive, on_progress: Progress | None) -> None:
    """Go on from where `partial` ends until the server's end. Raises _Failure."""
    here = partial.stat().st_size if partial.is_file() else 0
    if wanted.bytes is not None and here == wanted.bytes:
        return
    # Packed transfer would make lengths and ranges mean something else.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={here}-"} if here else {})
    state = _state_of(partial)
    if here and state.is_file():
        # A server whose file is another now sends that from its beginning.
        headers["If-Range"] = state.read_text(encoding="latin-1")
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
            if answer.status_code == 416:
                partial.unlink(missing_ok=True)
                raise _Failure("the server has no more bytes than are here, and they are not the archive")
            if answer.status_code not in (200, 206):
                is_final = answer.status_code < 500 and answer.status_code not in (408, 425, 429)
                raise _Failure(f"the server says {answer.status_code} {answer.reason}", is_final=is_final)
            start = _start(answer, here)
            if not start:
                _keep_state(answer, state)
            total = _total(answer, start)
            _require_size(total, wanted)
            _write(answer, partial, start, total, wanted=wanted, on_progress=on_progress)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Failure(_words(error)) from error
    except ValueError as error:  # of redirections to what is no address
        raise _Failure("the server's answer makes no sense") from error


def _state_of(partial: Path) -> Path:
    """Where the server's own name (ETag) for the state of the file lies, of which `partial` is the beginning."""
    return partial.with_name(f"{partial.name}.etag")


def _keep_state(answer: requests.Response, state: Path) -> None:
    found = answer.headers.get("ETag", "")
    # A weak one (W/...) does not promise the same bytes.
    if re.fullmatch(r'"[\x21\x23-\x7e]{0,200}"', found):
        state.write_text(found, encoding="latin-1")
    else:
        state.unlink(missing_ok=True)


def _start(answer: requests.Response, here: int) -> int:
    """Where the server's bytes begin: a server without ranges sends the whole again."""
    if answer.status_code != 206:
        return 0
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    if found is None or int(found.group(1)) != here:
        raise _Failure("the server sent another range than it was asked for")
    return here


def _total(answer: requests.Response, start: int) -> int:
    length = answer.headers.get("Content-Length", "")
    return start + int(length) if re.fullmatch(r"[0-9]{1,18}", length) else 0


def _require_size(total: int, wanted: Archive) -> None:
    if wanted.bytes is not None and total and total != wanted.bytes:
        raise _Failure(f"the server offers {total:,} bytes, expected {wanted.bytes:,}", is_final=True)
    if total > _LARGEST_BYTES:
        raise _Failure(f"the server offers {total:,} bytes, more than {_LARGEST_BYTES:,}", is_final=True)


def _write(
    answer: requests.Response,
    partial: Path,
    start: int,
    total: int,
    *,
    wanted: Archive,
    on_progress: Progress | None,
) -> None:
    limit = wanted.bytes or total or _LARGEST_BYTES
    here, began = start, time.monotonic()
    with partial.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        while block := answer.raw.read1(_BLOCK):
            here += len(block)
            _require_speed(here - start, time.monotonic() - began)
            if here > limit:
                file.truncate(start)
                raise _Failure(f"the server sent more than {limit:,} bytes", is_final=True)
            file.write(block)
            if on_progress is not None:
                on_progress(here, wanted.bytes or total)
    if total and here < total:
        raise _Failure(f"the connection ended after {here:,} of {total:,} bytes")


def _require_speed(received: int, seconds: float) -> None:
    """A server that drips would keep us for years without any single wait that is too long."""
    if seconds > _PATIENCE_S and received < _SLOWEST_BYTES_PER_S * seconds:
        raise _Failure(f"{received:,} bytes in {seconds:.0f} s are too slow")


def _require_right(partial: Path, wanted: Archive) -> None:
    """_Failure, and no file, where the bytes are not those that were promised."""
    size = partial.stat().st_size
    if wanted.bytes is not None and size != wanted.bytes:
        if size > wanted.bytes:
            partial.unlink()
        raise _Failure(f"{size:,} bytes came, expected {wanted.bytes:,}")
    if wanted.sha256 is not None:
        with partial.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != wanted.sha256:
            partial.unlink()
            raise _Failure(f"its sha256 is {found}, expected {wanted.sha256}")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _digest_of(fragment: str, url: str) -> str | None:
    if not fragment.startswith("sha256="):
        return None
    digest = fragment.removeprefix("sha256=").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise DataError(f"--data: the sha256 in {without_secrets(url)} must be 64 digits 0-9 and a-f, got {digest!r}")
    return digest


def _words(error: BaseException) -> str:
    """What went wrong in a few words; the texts of requests hold the address with its secrets."""
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return f"no answer for {_TIMEOUT_S:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate cannot be trusted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy cannot be reached"
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.HTTPError)):
        return "the connection broke"
    if isinstance(error, requests.ConnectionError):
        return "no connection; is there a network?"
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return "that is no address of a server"
    if isinstance(error, requests.TooManyRedirects):
        return "the server sends from one address to the next without end"
    return "the server's answer makes no sense"
