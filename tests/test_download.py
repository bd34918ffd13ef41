"""Archives by URL, from a server on this machine that cuts, delays, lies about lengths and sends wrong bytes."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hostile import files_below, survived
from make_pictures import pets, write_zip
from make_rows import quickstart

from catdog_ray import config, data, download, origins
from catdog_ray.errors import DataError
from catdog_ray.ledger import portable
from catdog_ray.settings import Archive

CONTENT = bytes(range(256)) * 8192  # 2 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """What the server does to one request."""

    status: int = 200
    cut: int | None = None  # bytes after which the connection is closed
    length: int | None = None  # what Content-Length says
    delay_s: float = 0.0
    drip: bool = False
    wrong: bool = False
    ranges: bool = True
    range_lie: bool = False
    chunked: bool = False
    extra: int = 0
    raw: bytes | None = None  # the whole answer, word for word


@dataclass
class Server:
    """A local server: one behaviour a request, the last one for all that follow."""

    url: str = ""
    content: bytes = CONTENT
    etag: str | None = None
    behaviours: list[Behaviour] = field(default_factory=lambda: [Behaviour()])
    requests: list[str | None] = field(default_factory=list)

    def will(self, *behaviours: Behaviour) -> None:
        self.behaviours = list(behaviours)


def handler_of(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            server.requests.append(asked)
            behaviour = server.behaviours.pop(0) if len(server.behaviours) > 1 else server.behaviours[0]
            time.sleep(behaviour.delay_s)
            if behaviour.raw is not None:
                self.wfile.write(behaviour.raw)
                self.close_connection = True
                return
            is_same = self.headers.get("If-Range") in (None, server.etag)
            start = int(re.sub(r"\D", "", asked)) if asked and behaviour.ranges and is_same else 0
            content = bytes(len(server.content)) if behaviour.wrong else server.content
            body = content[start:] + bytes(behaviour.extra)
            status = 206 if start and behaviour.status == 200 else behaviour.status
            if start >= len(content) and asked:
                status, body = 416, b""
            self.send_response(status)
            if server.etag is not None:
                self.send_header("ETag", server.etag)
            if status == 206:
                begins = start + (7 if behaviour.range_lie else 0)
                self.send_header("Content-Range", f"bytes {begins}-{len(content) - 1}/{len(content)}")
            if behaviour.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                body = b"%x\r\n%s\r\n" % (len(body), body) + (b"" if behaviour.cut else b"0\r\n\r\n")
            else:
                self.send_header("Content-Length", str(len(body) if behaviour.length is None else behaviour.length))
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            try:
                if behaviour.drip:
                    for byte in body[:40]:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        time.sleep(0.02)
                    return
                self.wfile.write(body if behaviour.cut is None else body[: behaviour.cut])
            except OSError:
                pass  # the client had enough

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "_FIRST_PAUSE_S", 0.001)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    found = Server()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(found)) as running:
        found.url = f"http://127.0.0.1:{running.server_address[1]}/sets/pets.zip"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield found
        running.shutdown()
        thread.join()


def fetch(server: Server, folder: Path, *, size: int | None = len(CONTENT), sha256: str | None = SHA256) -> Path:
    return download.fetch(Archive(server.url, size, sha256), folder)


def refusal(server: Server, folder: Path, **known: int | str | None) -> str:
    """The one line; and no file has the final name."""
    with pytest.raises(DataError) as caught:
        fetch(server, folder, **known)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    assert not [name for name in files_below(folder) if name.endswith("/pets.zip")]
    prefix, suffix = f"--data: {server.url} could not be downloaded (", "); give a zip archive or a folder that is on"
    assert text.startswith(prefix)
    assert suffix in text
    return text.removeprefix(prefix).partition(suffix)[0]


def test_a_whole_download(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = download.fetch(
        Archive(server.url, len(CONTENT), SHA256), tmp_path, on_progress=lambda *progress: seen.append(progress)
    )
    assert path.name == "pets.zip"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {name.rpartition("/")[2] for name in files_below(path.parent)} == {"pets.zip", ".lock"}


def test_it_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    path = fetch(server, tmp_path)
    server.will(Behaviour(status=500))
    assert fetch(server, tmp_path) == path
    assert server.requests == [None]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("cut", [1, 1000, len(CONTENT) // 2, len(CONTENT) - 1])
def test_a_cut_connection_is_resumed(cut: int, known: bool, server: Server, tmp_path: Path) -> None:
    server.will(Behaviour(cut=cut), Behaviour())
    size, sha256 = (len(CONTENT), SHA256) if known else (None, None)
    assert fetch(server, tmp_path, size=size, sha256=sha256).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={cut}-"]


def test_cut_again_and_again(server: Server, tmp_path: Path) -> None:
    server.will(*[Behaviour(cut=len(CONTENT) // 10)] * 4, Behaviour())
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == f"bytes={4 * (len(CONTENT) // 10)}-"


def test_a_server_without_ranges_sends_it_again(server: Server, tmp_path: Path) -> None:
    server.will(Behaviour(cut=1000), Behaviour(ranges=False))
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_later_call_goes_on(server: Server, tmp_path: Path) -> None:
    server.will(Behaviour(cut=70_000), Behaviour(status=503))
    assert refusal(server, tmp_path) == "the server says 503 Service Unavailable"
    server.will(Behaviour())
    server.requests.clear()
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == ["bytes=70000-"]


@pytest.mark.parametrize("etag", ['"first"', 'W/"first"', None])
def test_a_file_that_is_another_by_now_is_fetched_from_its_beginning(
    etag: str | None, server: Server, tmp_path: Path
) -> None:
    server.etag = etag
    server.will(Behaviour(cut=1000), Behaviour(status=503))
    refusal(server, tmp_path, size=None, sha256=None)
    later = CONTENT[:500] + bytes(len(CONTENT) - 500)
    server.content, server.etag = later, etag and etag.replace("first", "second")
    server.will(Behaviour())
    found = fetch(server, tmp_path, size=None, sha256=None).read_bytes()
    # Without a strong name of its state the server cannot tell, and only a known sha256 would.
    assert (found == later) == (etag == '"first"')
    assert not [name for name in files_below(tmp_path) if name.endswith(".etag")]


def test_wrong_bytes_are_never_taken(server: Server, tmp_path: Path) -> None:
    server.will(Behaviour(wrong=True))
    zeros = hashlib.sha256(bytes(len(CONTENT))).hexdigest()
    assert refusal(server, tmp_path) == f"its sha256 is {zeros}, expected {SHA256}"
    assert len(server.requests) == download.ATTEMPTS
    server.will(Behaviour())
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_wrong_bytes_once_are_fetched_again(server: Server, tmp_path: Path) -> None:
    server.will(Behaviour(wrong=True), Behaviour())
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_half_of_it_wrong(server: Server, tmp_path: Path) -> None:
    """The first half from one version, the second from another: the checksum tells, and it is fetched whole."""
    server.will(Behaviour(cut=1_000_000), Behaviour(wrong=True), Behaviour())
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1000000-", None]


@pytest.mark.parametrize(
    ("behaviour", "known", "expected"),
    [
        (Behaviour(length=10**12), False, "the server offers 1,000,000,000,000 bytes, more than 68,719,476,736"),
        (Behaviour(length=5), True, "the server offers 5 bytes, expected 2,097,152"),
        (Behaviour(extra=100), True, "the server offers 2,097,252 bytes, expected 2,097,152"),
        (Behaviour(chunked=True, extra=100), True, "the server sent more than 2,097,152 bytes"),
        (Behaviour(status=404), True, "the server says 404 Not Found"),
        (Behaviour(status=403), True, "the server says 403 Forbidden"),
    ],
)
def test_what_another_attempt_would_not_cure(
    behaviour: Behaviour, known: bool, expected: str, server: Server, tmp_path: Path
) -> None:
    server.will(behaviour)
    size, sha256 = (len(CONTENT), SHA256) if known else (None, None)
    assert refusal(server, tmp_path, size=size, sha256=sha256) == expected
    assert len(server.requests) == 1


def test_a_length_that_is_too_large(server: Server, tmp_path: Path) -> None:
    server.will(Behaviour(length=len(CONTENT) + 100))
    assert refusal(server, tmp_path, size=None, sha256=None) in (
        "the connection broke",
        "the server has no more bytes than are here, and they are not the archive",
    )


def test_another_range_than_asked_for(server: Server, tmp_path: Path) -> None:
    server.will(Behaviour(cut=1000), Behaviour(range_lie=True))
    assert refusal(server, tmp_path) == "the server sent another range than it was asked for"


@pytest.mark.parametrize("cut", [None, 1000])
def test_without_a_length(cut: int | None, server: Server, tmp_path: Path) -> None:
    server.will(Behaviour(chunked=True, cut=cut), Behaviour(chunked=True, ranges=False))
    assert fetch(server, tmp_path, size=None, sha256=None).read_bytes() == CONTENT


def test_a_server_that_does_not_answer(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_TIMEOUT_S", 0.1)
    server.will(Behaviour(delay_s=0.4))
    assert refusal(server, tmp_path) == "no answer for 0.1 s"


def test_a_server_that_drips(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.will(Behaviour(drip=True))
    assert re.fullmatch(r"\d+ bytes in 0 s are too slow", refusal(server, tmp_path))


def test_no_network_is_one_line_that_names_the_alternatives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_FIRST_PAUSE_S", 0.001)
    with pytest.raises(DataError) as caught:
        download.fetch(Archive("http://127.0.0.1:9/pets.zip?key=secret", None, None), tmp_path)
    assert str(caught.value) == (
        "--data: http://127.0.0.1:9/pets.zip could not be downloaded (no connection; is there a network?); "
        "give a zip archive or a folder that is on this machine, or 'drawn' for the built-in data"
    )


def test_two_at_once_download_it_once(server: Server, tmp_path: Path) -> None:
    server.will(Behaviour(delay_s=0.2))
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(server, tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 3
    assert server.requests == [None]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/a/pets.zip?x=1#y", "pets.zip"),
        ("https://host/", "archive.zip"),
        ("https://host", "archive.zip"),
        ("https://host/a/..%2f..%2fetc%2fpasswd", "passwd"),
        ("https://host/.bashrc", "bashrc"),
        ("https://host/%1b[2J.zip", "__2J.zip"),
        ("https://host/" + "a" * 300 + ".zip", "a" * 96 + ".zip"),
    ],
)
def test_file_names_are_plain(url: str, name: str) -> None:
    assert download.file_name(url) == name


def test_a_digest_in_the_address(server: Server, tmp_path: Path) -> None:
    assert download.fetch(Archive(f"{server.url}#sha256={SHA256}", None, None), tmp_path).is_file()
    with pytest.raises(DataError, match="its sha256 is"):
        download.fetch(Archive(f"{server.url}#sha256={'0' * 64}", None, None), tmp_path)
    with pytest.raises(DataError, match="must be 64 digits"):
        download.fetch(Archive(f"{server.url}#sha256=xyz", None, None), tmp_path)


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match=r"^data\.cache_dir: .* cannot be written \(Not a directory\); set another$"):
        fetch(server, tmp_path / "file")


def answer(status: str, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status.encode(), *headers, b"", b""])


NONSENSE = {
    "a redirection to nowhere": answer("302 x", b"Location: http://[::1", b"Content-Length: 0"),
    "a redirection in no encoding": answer("302 x", b"Location: http://a/\xff\xfe", b"Content-Length: 0"),
    "a redirection to a file": answer("302 x", b"Location: file:///etc/passwd", b"Content-Length: 0"),
    "a redirection to itself": answer("302 x", b"Location: /sets/pets.zip", b"Content-Length: 0"),
    "two lengths": answer("200 OK", b"Content-Length: 5", b"Content-Length: 7"),
    "no content": answer("204 No Content"),
    "not modified": answer("304 Not Modified"),
    "no HTTP": b"\0\1\2 hello\r\n\r\n",
    "a long header": answer("200 OK", b"X: " + b"a" * 70_000),
    "hundreds of headers": answer("200 OK", *(b"X%d: a" % number for number in range(300))),
    "a chunk without length": answer("200 OK", b"Transfer-Encoding: chunked") + b"zz\r\nabc",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_answers_that_make_no_sense(kind: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    server.will(Behaviour(raw=NONSENSE[kind]))
    assert survived("downloads, nonsense", lambda: fetch(server, tmp_path, size=None, sha256=None)) is None
    assert refusal(server, tmp_path, size=None, sha256=None)


@pytest.mark.parametrize("length", [b"\xb2", b"9" * 5000, b"-5", b""])
def test_lengths_that_are_none_are_not_believed(length: bytes, server: Server, tmp_path: Path) -> None:
    server.will(Behaviour(raw=answer("200 OK", b"Content-Length: " + length) + CONTENT))
    assert fetch(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "url", ["http://", "https:///x.zip", "http://[::1", "http://localhost:99999/x.zip", "https://user@/x.zip"]
)
def test_what_is_no_address(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no address, expected https://host/name\.zip; give a zip archive"):
        download.fetch(Archive(url, None, None), tmp_path)
    assert not files_below(tmp_path)


def test_what_is_no_archive_is_not_kept(server: Server, tmp_path: Path) -> None:
    """A page that asks to log in would otherwise be found in the cache for ever."""
    content = write_zip(tmp_path / "pets.zip", pets(train=4, validation=2)).read_bytes()
    overrides = {"data.source": server.url, "data.cache_dir": str(tmp_path / "cache"), "data.image_size": 16}
    settings = config.load(base=quickstart(), overrides=overrides).data
    server.content = b"<html>Please log in</html>"
    with pytest.raises(DataError, match=rf"^--data: what came from {server.url} is not kept: is no readable zip"):
        data.load(settings)
    server.content = content
    assert len(data.load(settings).test.labels) == 6


def test_a_data_set_by_url_and_by_name(server: Server, tmp_path: Path) -> None:
    content = write_zip(tmp_path / "pets.zip", pets(train=4, validation=2)).read_bytes()
    server.content = content
    digest = hashlib.sha256(content).hexdigest()
    published = {"my_pets": {"url": server.url, "bytes": len(content), "sha256": digest}}
    base = {"data.cache_dir": str(tmp_path / "cache"), "data.image_size": 16, "data.published": published}
    by_name = data.load(config.load(base=quickstart(), overrides={**base, "data.source": "my_pets"}).data)
    by_url = data.load(config.load(base=quickstart(), overrides={**base, "data.source": f"{server.url}?key=1"}).data)
    assert by_name.fingerprint == by_url.fingerprint
    assert (by_name.name, by_url.name) == ("pets.zip", "pets.zip")
    server.will(Behaviour(status=500))  # from here on offline
    assert data.load(config.load(base=quickstart(), overrides={**base, "data.source": "my_pets"}).data).skipped == ()
    assert len(server.requests) == 2


@pytest.mark.parametrize("with_sha256", [True, False])
def test_a_published_set_with_a_key_is_gone_on_with(with_sha256: bool, server: Server, tmp_path: Path) -> None:
    """study.json has no key; the file of settings of this machine has, and nothing is asked for again."""
    server.content = content = write_zip(tmp_path / "pets.zip", pets(train=4, validation=2)).read_bytes()
    digest = hashlib.sha256(content).hexdigest() if with_sha256 else None
    published = {"pets": {"url": f"{server.url}?key=1", "bytes": None, "sha256": digest}}
    base = {"data.cache_dir": str(tmp_path / "cache"), "data.image_size": 16}
    begun = config.load(base=quickstart(), overrides={**base, "data.published": published, "data.source": "pets"})
    first = data.load(begun.data)
    source = origins.with_key(begun.data)
    resumed = config.load(base=config.from_dict(portable(begun.as_dict())), overrides={**base, "data.source": source})
    server.will(Behaviour(status=403))
    assert data.load(resumed.data).fingerprint == first.fingerprint
    assert len(server.requests) == 1
    assert origins.with_key(quickstart().data) == "drawn"
    assert origins.with_key(quickstart(data__source="cats_and_dogs_filtered").data) == "cats_and_dogs_filtered"


@pytest.mark.parametrize(
    ("archive", "expected"),
    [
        ({"url": "ftp://host/x.zip", "bytes": 1, "sha256": None}, "url must begin with https:// or http://"),
        ({"url": "https://host/x.zip", "bytes": 0, "sha256": None}, "bytes must be at least 1, got 0"),
        ({"url": "https://host/x.zip", "bytes": 1, "sha256": "ABC"}, "sha256 must be 64 digits 0-9 and a-f, got 'ABC'"),
        ({"url": "https://host/x.zip", "bytes": 1}, "sha256: missing"),
    ],
)
def test_published_sets_are_checked(archive: dict[str, object], expected: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        config.load(base=quickstart(), overrides={"data.published": {"pets": archive}})
    assert str(caught.value).startswith("data.published.pets.")
    assert expected in str(caught.value)
