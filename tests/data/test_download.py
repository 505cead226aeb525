"""Downloads: from a server on this machine, with a checksum, and quickly refused where there is no connection."""

import gzip
import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.data.download import Archive, fetch_archive, fetch_gzip
from core.data.opening import open_data
from core.errors import DataError
from core.progress import SILENT, Progress

from ..patience import patient


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which a server on this machine publishes it."""
    folder = tmp_path / "published"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Recorder(Progress):
    def __init__(self) -> None:
        self.shares: list[float] = []

    def update(self, done: float, total: float, message: str = "") -> None:
        self.shares.append(done / total)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_gzip_is_unpacked_with_progress(published: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = published
    content = bytes(range(256)) * 5000
    packed = gzip.compress(content, compresslevel=0)
    (folder / "file.gz").write_bytes(packed)
    progress = _Recorder()
    archive = Archive(urls=(f"{address}/missing.gz", f"{address}/file.gz"), md5=md5(packed), title="Numbers")
    fetch_gzip(archive, tmp_path / "deep" / "file", progress=progress)
    assert (tmp_path / "deep" / "file").read_bytes() == content
    assert progress.shares[-1] == 1.0
    assert len(progress.shares) > 4


def test_only_named_members_are_written(published: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = published
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("base/one", "../../escaped", "base/other"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"data"))
    (folder / "a.tgz").write_bytes(buffer.getvalue())
    archive = Archive(urls=(f"{address}/a.tgz",), md5=md5(buffer.getvalue()), title="Pictures")
    target = tmp_path / "target" / "deep"
    fetch_archive(archive, {"base/one": target / "one"}, progress=SILENT)
    assert [path.name for path in (tmp_path / "target").rglob("*")] == ["deep", "one"]
    with pytest.raises(DataError, match=r"must hold “base/two”"):
        fetch_archive(archive, {"base/two": target / "two"}, progress=SILENT)


def test_other_content_is_refused_and_not_kept(published: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = published
    (folder / "file.gz").write_bytes(gzip.compress(b"tampered"))
    archive = Archive(urls=(f"{address}/file.gz",), md5="0" * 32, title="Numbers")
    with pytest.raises(DataError, match="checksum differs"):
        fetch_gzip(archive, tmp_path / "file", progress=SILENT)
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://no-such-host.invalid/x"])
def test_no_connection_fails_quickly_and_says_what_to_do(tmp_path: Path, url: str) -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match=r"Numbers could not be downloaded: .* Check the connection, or put"):
        fetch_gzip(Archive(urls=(url,), md5="0" * 32, title="Numbers"), tmp_path / "file", progress=SILENT)
    assert time.monotonic() - started < patient(15)


def test_nothing_is_downloaded_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_DATA_ROOT", str(tmp_path))
    monkeypatch.setattr("core.data.opening.cache_folder", lambda source: tmp_path / "cache" / source)
    for source in ("cifar10", "mnist"):
        with pytest.raises(DataError, match="was not found below the data root"):
            open_data(source)
    with pytest.raises(DataError, match="“download”"):
        open_data("cifar10")
    assert list(tmp_path.iterdir()) == []


def test_a_published_data_set_is_fetched_and_read(
    published: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    from .builders import build_idx

    folder, address = published
    build_idx(tmp_path / "origin", "mnist", "MNIST")
    resources = []
    for path in sorted((tmp_path / "origin" / "MNIST" / "raw").iterdir()):
        packed = gzip.compress(path.read_bytes())
        (folder / f"{path.name}.gz").write_bytes(packed)
        resources.append((f"{path.name}.gz", md5(packed)))
    monkeypatch.setattr(MNIST, "mirrors", [f"{address}/"])
    monkeypatch.setattr(MNIST, "resources", resources)
    monkeypatch.setenv("ESPALIER_DATA_ROOT", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    splits = open_data("mnist", download=True)
    assert splits.spec.root == "mnist"
    assert splits.fingerprint == open_data("mnist", root=tmp_path / "origin").fingerprint
    assert open_data("mnist").fingerprint == splits.fingerprint
