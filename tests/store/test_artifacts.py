"""Content-addressed files."""

import os
import threading
import time
from pathlib import Path

import pytest

from core.errors import StoreError
from core.store import Artifacts


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def test_bytes_round_trip_under_their_hash(artifacts: Artifacts) -> None:
    first = artifacts.put_bytes(b"weights", ".npz")
    assert artifacts.put_bytes(b"weights", ".npz") == first
    assert artifacts.put_bytes(b"other") != first
    assert artifacts.read_bytes(first) == b"weights"
    assert artifacts.path(first).suffix == ".npz"
    assert artifacts.size_bytes(first) == 7
    assert first in artifacts
    assert len(list(artifacts)) == 2


def test_files_and_folders(artifacts: Artifacts, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "graph.json").write_text("{}")
    (source / "inner" / "weights").write_bytes(b"123")
    folder = artifacts.put_folder(source)
    assert artifacts.put_folder(source) == folder
    assert (artifacts.path(folder) / "inner" / "weights").read_bytes() == b"123"
    assert artifacts.size_bytes(folder) == 5
    (source / "inner" / "weights").rename(source / "inner" / "renamed")
    assert artifacts.put_folder(source) != folder
    file = artifacts.put_file(source / "graph.json")
    assert artifacts.path(file).read_text() == "{}"
    assert (source / "graph.json").exists()


@pytest.mark.row("B21")
@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a" * 63, "A" * 64, "a" * 64 + "/..", "a" * 64])
def test_a_name_that_is_no_stored_hash_never_becomes_a_path(artifacts: Artifacts, name: str) -> None:
    with pytest.raises(StoreError):
        artifacts.path(name)
    assert name not in artifacts


@pytest.mark.row("B21")
@pytest.mark.parametrize("suffix", ["/../../x", ".a/b", ".\x00", "no-dot", "." + "x" * 50])
def test_a_hostile_suffix_is_dropped(artifacts: Artifacts, suffix: str) -> None:
    path = artifacts.path(artifacts.put_bytes(b"x", suffix))
    assert path.name == "file"
    assert artifacts.root in path.parents


def test_the_same_content_from_many_threads(artifacts: Artifacts) -> None:
    ids: list[str] = []
    data = os.urandom(200_000)
    threads = [threading.Thread(target=lambda: ids.append(artifacts.put_bytes(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1
    assert artifacts.read_bytes(ids[0]) == data
    assert list((artifacts.root / "incoming").iterdir()) == []


def test_garbage_is_collected_but_not_what_was_just_used(artifacts: Artifacts) -> None:
    kept, young, old = (artifacts.put_bytes(data) for data in (b"kept", b"young", b"old"))
    past = time.time() - 7200
    for artifact in (kept, old):
        os.utime(artifacts.path(artifact).parent, (past, past))
    assert artifacts.remove_all_but({kept}) == 1
    assert kept in artifacts
    assert young in artifacts
    assert old not in artifacts


def test_storing_again_protects_from_collection(artifacts: Artifacts) -> None:
    artifact = artifacts.put_bytes(b"x")
    os.utime(artifacts.path(artifact).parent, (0, 0))
    artifacts.put_bytes(b"x")
    assert artifacts.remove_all_but(set()) == 0


def test_a_full_disk_is_said_and_leaves_nothing(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="disk is full"):
        artifacts.put_bytes(b"big")
    monkeypatch.undo()
    assert list(artifacts) == []
    assert list((artifacts.root / "incoming").iterdir()) == []
    artifacts.put_bytes(b"big")
