"""Bundles that somebody made to do harm, or that were damaged on the way (B39, B40, B41): refused, quickly, in words,
with nothing stored and nothing written outside."""

import hashlib
import io
import json
import os
import stat
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import EspalierError, StoreError
from core.sharing.bundle_format import BUNDLE_VERSION
from core.sharing.importing import import_bundle
from core.store import Workspace

Files = dict[str, bytes]


def contents(bundle: Path) -> Files:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def listed(files: Files) -> Files:
    """The files with a manifest that lists them as they are."""
    manifest = json.loads(files["manifest.json"])
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        for name, data in files.items()
        if name != "manifest.json"
    }
    return {**files, "manifest.json": json.dumps(manifest).encode()}


def packed(files: Files, path: Path, *more: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (*files.items(), *more):
            archive.writestr(name, data)
    return path


def snapshot_of(files: Files) -> Any:
    return json.loads(files["session.json"])


@pytest.fixture
def refused(workspace: Workspace, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Import must fail with a sentence, in time, and leave workspace, canary and temporary folder as they were."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_text("untouched")

    def everything() -> list[str]:
        kept = [str(path) for place in (canary, workspace.folder) for path in sorted(place.rglob("*"))]
        return [path for path in kept if not path.endswith(("-wal", "-shm"))]

    before, here = everything(), set(os.listdir("."))

    def attempt(path: Path, words: str = "", *, seconds: float = 5.0) -> str:  # of a processor: others may use it, too
        began = time.process_time()
        with pytest.raises(EspalierError) as error:
            import_bundle(workspace, path)
        assert time.process_time() - began < seconds
        assert words in str(error.value)
        assert str(error.value).endswith(".")
        assert str(tmp_path / "espalier") not in str(error.value)
        return str(error.value)

    yield attempt
    assert everything() == before
    assert set(os.listdir(".")) == here
    assert (canary / "file").read_text() == "untouched"
    assert workspace.store.list_sessions() == []


@pytest.mark.row("B39")
@pytest.mark.parametrize(
    "name",
    [
        "../canary/evil.json",
        "artifacts/../../canary/evil.json",
        f"artifacts/{'a' * 64}/folder/../../../../canary/evil.json",
        "/tmp/evil.json",
        "//host/share/evil.json",
        "..\\canary\\evil.json",
        f"artifacts\\{'a' * 64}\\file.npz",
        "C:\\evil.json",
        "C:evil.json",
        "~/evil.json",
        f"artifacts/{'a' * 64}/folder/CON.json/x.json",
        f"artifacts/{'a' * 64}/folder/sub/x.json",
        f"artifacts/{'A' * 64}/file.npz",
        f"artifacts/{'a' * 64}/file.pt",
        f"artifacts/{'a' * 64}/file.pkl",
        f"artifacts/{'a' * 64}/folder/.hidden.json",
        "evil.py",
        "session.json\0.txt",
        "manifest.json/",
        "sessіon.json",
        "session.json ",
        "x" * 60_000,
    ],
)
def test_names_that_lead_elsewhere(refused: Callable[..., str], bundle: Path, tmp_path: Path, name: str) -> None:
    info = zipfile.ZipInfo("placeholder")
    info.filename = name
    files = contents(bundle)
    refused(packed(files, tmp_path / "b.zip", (info, b"{}")))
    if "\0" not in name:  # Python would not write it
        refused(packed(listed({**files, name: b"{}"}), tmp_path / "c.zip"))


@pytest.mark.row("B39")
def test_links_and_other_things_that_are_no_files(refused: Callable[..., str], bundle: Path, tmp_path: Path) -> None:
    files = contents(bundle)
    name = next(name for name in files if name.endswith("graph.json"))
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR):
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = (kind | 0o777) << 16
        rest = {key: data for key, data in files.items() if key != name}
        refused(packed(rest, tmp_path / "b.zip", (info, b"../../canary/file")), "no regular file")


@pytest.mark.row("B39")
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_occur_twice(refused: Callable[..., str], bundle: Path, tmp_path: Path) -> None:
    files = contents(bundle)
    refused(packed(files, tmp_path / "b.zip", ("session.json", b"{}")), "twice")
    graph = next(name for name in files if name.endswith("graph.json"))
    other = graph.replace("graph.json", "Graph.json")
    refused(packed(files, tmp_path / "c.zip", (other, b"{}")), "twice")


@pytest.mark.row("B40")
def test_bombs_are_refused_from_the_directory(refused: Callable[..., str], bundle: Path, tmp_path: Path) -> None:
    files = contents(bundle)
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr(f"artifacts/{'a' * 64}/file.npz", b"\0" * 30_000_000)
    assert path.stat().st_size < 300_000
    refused(path, "100 times", seconds=1.0)
    # Each entry may be small enough, all together may not.
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w", zipfile.ZIP_STORED) as archive:
        for number in range(20):
            archive.writestr(f"artifacts/{number:064x}/file.npz", b"x" * 1000)
    data = bytearray(many.getvalue())
    place = 0
    while (place := data.find(b"PK\x01\x02", place + 1)) > 0:
        data[place + 20 : place + 28] = struct.pack("<LL", 900_000_000, 900_000_000)
    path.write_bytes(data)
    refused(path)


@pytest.mark.row("B40")
def test_nested_bombs(refused: Callable[..., str], bundle: Path, tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("head.npy", b"\0" * 300_000_000)
    files = contents(bundle)
    name = f"artifacts/{hashlib.sha256(inner.getvalue()).hexdigest()}/file.npz"
    refused(packed(listed({**files, name: inner.getvalue()}), tmp_path / "b.zip"), "MiB")
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("../evil.py", b"")
    name = f"artifacts/{hashlib.sha256(other.getvalue()).hexdigest()}/file.npz"
    refused(packed(listed({**files, name: other.getvalue()}), tmp_path / "c.zip"), "something else than arrays")


@pytest.mark.row("B40")
def test_a_million_entries(refused: Callable[..., str], tmp_path: Path) -> None:
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * 1_000_000
    for promised in (0xFFFF, 10):
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, promised, promised, len(directory), 0, 0)
        (tmp_path / "b.zip").write_bytes(directory + end)
        refused(tmp_path / "b.zip", "at most 5,000 files", seconds=1.0)
    # A directory that fits, but holds more than its end says.
    short = entry * 20_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 10, 10, len(short), 0, 0)
    (tmp_path / "c.zip").write_bytes(short + end)
    refused(tmp_path / "c.zip", "as it says", seconds=2.0)


@pytest.mark.row("B40")
def test_overlapping_entries(refused: Callable[..., str], tmp_path: Path) -> None:
    # Every entry points at the same bytes: 4,000 files for the price of one.
    data = os.urandom(10_000)
    first = f"artifacts/{0:064x}/file.npz".encode()
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, len(data), len(data), len(first), 0) + first
    directory = b""
    for number in range(4000):
        name = f"artifacts/{number:064x}/file.npz".encode()
        sizes = (zipfile.crc32(data), len(data), len(data), len(name), 0, 0, 0, 0, 0, 0)  # type: ignore[attr-defined]
        directory += struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, *sizes) + name
    start = len(local) + len(data)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 4000, 4000, len(directory), start, 0)
    (tmp_path / "b.zip").write_bytes(local + data + directory + end)
    refused(tmp_path / "b.zip")


@pytest.mark.row("B40")
def test_a_full_disk_while_unpacking_is_said(
    refused: Callable[..., str], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", full)
        refused(bundle, "disk is full")


def test_more_bytes_than_promised_are_noticed_while_reading(
    refused: Callable[..., str], bundle: Path, tmp_path: Path
) -> None:
    files = listed(contents(bundle))
    manifest = json.loads(files["manifest.json"])
    name = next(name for name in manifest["files"] if name.endswith(".safetensors"))
    manifest["files"][name]["size_bytes"] = 100
    refused(
        packed({**files, "manifest.json": json.dumps(manifest).encode()}, tmp_path / "b.zip"), "larger than it says"
    )


@pytest.mark.row("B41")
@pytest.mark.parametrize("what", ["session.json", "graph.json", "weights.safetensors", ".npz", ".onnx", "README.txt"])
def test_a_changed_file_has_the_wrong_hash(
    refused: Callable[..., str], bundle: Path, tmp_path: Path, what: str
) -> None:
    files = contents(bundle)
    name = next(name for name in files if name.endswith(what))
    data = bytearray(files[name])
    data[len(data) // 2] ^= 1
    refused(packed({**files, name: bytes(data)}, tmp_path / "b.zip"))
    # With a manifest that was made to fit, the artifact's own name gives it away.
    if name.startswith("artifacts/"):
        refused(packed(listed({**files, name: bytes(data)}), tmp_path / "c.zip"), "SHA-256")


@pytest.mark.row("B41")
def test_a_missing_file_and_one_too_many(refused: Callable[..., str], bundle: Path, tmp_path: Path) -> None:
    files = contents(bundle)
    for name in files:
        rest = {key: data for key, data in files.items() if key != name}
        refused(packed(rest, tmp_path / "b.zip"), "missing")
        if name.startswith("artifacts/") and not name.endswith(".npz"):
            refused(packed(listed(rest), tmp_path / "b.zip"))
    more = f"artifacts/{'a' * 64}/file.npz"
    refused(packed({**files, more: b""}, tmp_path / "b.zip"), "not in its manifest")


def changed(files: Files, change: Callable[[Any], Any]) -> Files:
    body = snapshot_of(files)
    change(body)
    return listed({**files, "session.json": json.dumps(body).encode()})


@pytest.mark.row("B41")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda body: body.update(surprise=1), "surprise"),
        (lambda body: body["variants"][0].update(surprise=1), "surprise"),
        (lambda body: body.update(version=99), "version 99, this is version 1"),
        (lambda body: body.update(models=[]), "models"),
        (lambda body: body["models"][0].update(id="0" * 64), ""),
        (lambda body: body["models"][0].update(artifact="../../etc/passwd"), "artifact"),
        (lambda body: body["models"][0].update(weights_artifact="0" * 64), "missing"),
        (lambda body: body["models"].append({**body["models"][0], "id": "0" * 64}), "contradicts"),
        (lambda body: body["variants"][1].update(parent_id="0" * 16), "contradicts"),
        (lambda body: body["variants"][1].update(id=body["variants"][0]["id"]), "contradicts"),
        (lambda body: body["variants"][1].update(plan=None), "contradicts"),
        (lambda body: body["variants"][1].update(plan={"sparsity": 7}), "sparsity"),
        (lambda body: body["measurements"][0].update(variant_id="0" * 16), "contradicts"),
        (lambda body: body.update(data=None), "contradicts"),
        (lambda body: body["data"].update(description={}), "contradicts"),
        (lambda body: body["plans"].append({"name": "x", "plan": {"method": 3}}), "method"),
        (lambda body: body["plans"].append({"name": "x" * 1000, "plan": {}}), "plans"),
        (
            lambda body: body["data"]["description"].update(thumbnails=[{"image": "https://evil.example/x.png"}]),
            "picture",
        ),
        (
            lambda body: body["data"]["description"].update(thumbnails=['x" onerror="alert(1)']),
            "picture",
        ),
    ],
)
def test_sessions_that_do_not_fit(
    refused: Callable[..., str], bundle: Path, tmp_path: Path, change: Callable[[Any], Any], words: str
) -> None:
    refused(packed(changed(contents(bundle), change), tmp_path / "b.zip"), words)


def test_a_model_under_a_name_that_is_not_its_fingerprint(
    refused: Callable[..., str], bundle: Path, tmp_path: Path
) -> None:
    def change(body: Any) -> None:
        for part in (*body["models"], *body["variants"]):
            for key in ("id", "model_id"):
                if part.get(key) == body["models"][0]["id"] and part is not body["models"][0]:
                    part[key] = "f" * 64
        body["models"][0]["id"] = "f" * 64

    refused(packed(changed(contents(bundle), change), tmp_path / "b.zip"), "other fingerprint")


@pytest.mark.row("B41")
@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({"version": BUNDLE_VERSION + 1}, f"made with bundle version {BUNDLE_VERSION + 1}"),
        ({"version": 0}, "damaged"),
        ({"version": "1"}, "damaged"),
        ({"version": True}, "damaged"),
        ({"format": "other"}, "not a bundle of Espalier"),
        ({"surprise": 1}, "surprise"),
        ({"files": []}, "files"),
        ({"files": {"session.json": {"sha256": "x", "size_bytes": -1}}}, "sha256"),
    ],
)
def test_manifests_of_others(
    refused: Callable[..., str], bundle: Path, tmp_path: Path, manifest: dict[str, Any], words: str
) -> None:
    files = contents(bundle)
    body = json.dumps({**json.loads(files["manifest.json"]), **manifest}).encode()
    said = refused(packed({**files, "manifest.json": body}, tmp_path / "b.zip"), words)
    if manifest.get("version") == BUNDLE_VERSION + 1:
        assert f"this is version {BUNDLE_VERSION}" in said


@pytest.mark.parametrize("name", ["manifest.json", "session.json"])
@pytest.mark.parametrize("data", [b"", b"nothing", b"[" * 100_000, b"null", b'{"a": NaN}', b"\xff\xfe"])
def test_json_that_is_none(refused: Callable[..., str], bundle: Path, tmp_path: Path, name: str, data: bytes) -> None:
    files = contents(bundle)
    files = {**files, name: data} if name == "manifest.json" else listed({**files, name: data})
    refused(packed(files, tmp_path / "b.zip"))


@pytest.mark.row("B41")
@pytest.mark.parametrize("kind", ["empty", "png", "text", "truncated", "appended", "prefixed", "folder", "nothing"])
def test_files_that_are_no_bundle(refused: Callable[..., str], bundle: Path, tmp_path: Path, kind: str) -> None:
    whole = bundle.read_bytes()
    data = {
        "empty": b"",
        "png": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        "text": b"hello" * 100,
        "truncated": whole[: len(whole) // 2],
        "appended": whole + b"more",
        "prefixed": b"MZ" * 100 + whole,
    }
    path = tmp_path / "b.zip"
    if kind == "folder":
        path.mkdir()
    elif kind != "nothing":
        path.write_bytes(data[kind])
    refused(path)


def test_encrypted_and_strangely_packed_files(refused: Callable[..., str], bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, data in contents(bundle).items():
            archive.writestr(name, data)
    refused(path, "packed in a way")
    data = bytearray(packed(contents(bundle), path).read_bytes())
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refused(path, "encrypted")


@pytest.mark.row("B41")
def test_flipped_bytes_never_do_more_than_be_refused(
    workspace: Workspace, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Models are not loaded here: that their loader refuses damage is tested beside it.
    import random

    chance, whole = random.Random(3), bundle.read_bytes()
    monkeypatch.setattr("core.sharing.reading._checked_models", lambda snapshot, *_: snapshot)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(3):
            data[chance.choice([chance.randrange(len(data)), chance.randrange(len(data) - 4000, len(data))])] ^= (
                1 << chance.randrange(8)
            )
        (tmp_path / "b.zip").write_bytes(data)
        try:
            session = import_bundle(workspace, tmp_path / "b.zip")
        except StoreError:
            continue
        # Flags and times of the directory say nothing about the content.
        workspace.store.delete_session(session.id)
