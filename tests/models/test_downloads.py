"""Downloads from a server in this process: whole files only, checked, cancellable, and quick to say offline."""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.errors import Cancelled, ModelError
from core.models.downloads import fetch, reachable
from core.progress import Progress

from ..patience import patient

BODY = bytes(range(256)) * 5000
DIGITS = hashlib.sha256(BODY).hexdigest()[:8]


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        with suppress(ConnectionError):  # somebody who cancels is gone
            self.wfile.write(BODY[: len(BODY) // 2] if "broken" in self.path else BODY)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_file_arrives_whole_and_progress_is_told(server: str, tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []

    class Watcher(Progress):
        def update(self, done: float, total: float, message: str = "") -> None:
            told.append((done, total))

    target = tmp_path / "deep" / f"net-{DIGITS}.pth"
    assert fetch(f"{server}/net", target, progress=Watcher()).read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY))
    assert leftovers(tmp_path) == [target.name]


def test_present_file_is_not_fetched(tmp_path: Path) -> None:
    target = tmp_path / "net.pth"
    target.write_bytes(b"here")
    assert fetch("http://127.0.0.1:9/net.pth", target).read_bytes() == b"here"


@pytest.mark.parametrize(
    ("path", "name", "words"),
    [
        ("/net", "net-00000000.pth", "incomplete or damaged"),
        ("/broken", "net.pth", "incomplete or damaged|broke off"),
        ("/missing", "net.pth", "broke off: HTTP Error 404"),
    ],
)
def test_wrong_bytes_leave_nothing_behind(server: str, tmp_path: Path, path: str, name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        fetch(server + path, tmp_path / name)
    assert leftovers(tmp_path) == []


def test_cancel_leaves_nothing_behind(server: str, tmp_path: Path) -> None:
    class Impatient(Progress):
        def check(self) -> None:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch(f"{server}/net", tmp_path / "net.pth", progress=Impatient())
    assert leftovers(tmp_path) == []


def test_no_server_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no connection to 127\.0\.0\.1\. Put the file into .*random weights"):
        fetch("http://127.0.0.1:9/net.pth", tmp_path / "net.pth")


def test_a_name_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = threading.Event()

    def hang(*_: object, **__: object) -> None:
        given_up.wait(20)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", hang)
    before = time.monotonic()
    assert not reachable("http://weights.invalid/net.pth", seconds=0.2)
    assert time.monotonic() - before < patient(10)
    given_up.set()
