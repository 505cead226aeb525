"""Writing a bundle: one session as a file that opens on another machine. Knows no torch."""

import hashlib
import io
import json
import os
import secrets
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreError
from ..store import Workspace
from ..store.artifacts import identity_of
from ..store.files import file_errors, fsync_folder
from .bundle_format import ALLOWED, BUNDLE_VERSION, FORMAT, MANIFEST, README, SESSION, FileEntry, Manifest
from .privacy import own_folders, without_paths
from .snapshot import Snapshot, take_snapshot

__all__ = ["BundleReport", "bundle_bytes", "bundle_name", "export_bundle", "write_bundle"]

# Below the ratio at which a reader would take a file for a bomb.
_RATIO = 50
_EPOCH = (1980, 1, 1, 0, 0, 0)
_TEXT = """This is a session of Espalier, which explores the pruning of neural networks: {name}

Open it on the Start page (“Open a bundle”), with `espalier import THIS.zip`, or in Python:

    import core
    with core.Workspace.open() as workspace:
        session = core.import_bundle(workspace, "THIS.zip")

Models are graph.json and weights.safetensors below artifacts/: data, no code, no pickle. The images of the data set are
not in it, except small ones that were kept to be looked at. session.json names every file; manifest.json has their
SHA-256.
{variants}
"""


@dataclass(frozen=True)
class BundleReport:
    """What was written: number of files and variants, and the bytes of the bundle."""

    name: str
    variants: int
    files: int
    size_bytes: int


def bundle_name(name: str) -> str:
    """A file name made of a session's name: letters, digits, dash and underscore only."""
    label = "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "-" for char in name)
    return f"{'-'.join(filter(None, label.split('-')))[:60] or 'session'}.espalier.zip"


def export_bundle(workspace: Workspace, session_id: str, path: str | Path, *, replace: bool = False) -> BundleReport:
    """Write the session with its models, variants, measurements, plans and views to ``path``.

    Raises:
        AccessError: when the session is somebody else's.
        StoreError: when the session has no model, a stored file is missing, ``path`` exists (and not ``replace``), or
            it cannot be written.
    """
    workspace.store.check_take(session_id)
    target = Path(path).expanduser()
    if target.exists() and not replace:
        raise StoreError(f"{target} exists; choose another name, or say that it may be replaced.")
    snapshot = take_snapshot(workspace, session_id)
    with file_errors("write the bundle", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with temporary.open("wb") as file:
                files = write_bundle(workspace, snapshot, file)
                file.flush()
                os.fsync(file.fileno())
                size_bytes = file.tell()
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        fsync_folder(target.parent)
    return BundleReport(snapshot.name, len(snapshot.variants), files, size_bytes)


def bundle_bytes(workspace: Workspace, session_id: str) -> bytes:
    """The bundle of a session, for a page that hands it out.

    Raises:
        AccessError: when the session is somebody else's.
        StoreError: when it has no model, or a stored file is missing.
    """
    workspace.store.check_take(session_id)
    file = io.BytesIO()
    write_bundle(workspace, take_snapshot(workspace, session_id), file)
    return file.getvalue()


def write_bundle(workspace: Workspace, snapshot: Snapshot, file: io.BufferedIOBase | io.BufferedWriter) -> int:
    """Write the bundle of a snapshot into an open binary file; returns the number of its files. Whether it may be taken
    away is for the caller to ask."""
    with tempfile.TemporaryDirectory(prefix="espalier-") as folder:
        named, body = _gathered(workspace, snapshot, Path(folder))
        texts = {SESSION: body.encode(), README: _readme(Snapshot.parse(json.loads(body))).encode()}
        entries = {
            name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
            for name, data in texts.items()
        }
        for name, place in named.items():
            if not ALLOWED.fullmatch(name):
                raise StoreError(f"The stored file “{place.name[:80]}” has no place in a bundle.")
            entries[name] = FileEntry(sha256=identity_of(place), size_bytes=place.stat().st_size)
        manifest = Manifest(
            format=FORMAT,
            version=BUNDLE_VERSION,
            espalier=snapshot.espalier,
            created=snapshot.taken.isoformat(),
            files=entries,
        )
        texts = {MANIFEST: json.dumps(manifest.to_json(), indent=1).encode(), **texts}
        try:
            with zipfile.ZipFile(file, "w", allowZip64=False) as archive:
                for name, data in texts.items():
                    _write_text(archive, name, data)
                for name, place in named.items():
                    _write_file(archive, name, place)
        except zipfile.LargeZipFile:
            raise StoreError("A bundle is at most 2 GiB large; this session has more. Export fewer variants.") from None
    return len(named) + len(texts)


def _gathered(workspace: Workspace, snapshot: Snapshot, folder: Path) -> tuple[dict[str, Path], str]:
    """The files of all artifacts by their names in the bundle, and the snapshot that names them."""
    missing = [name for name, artifact in snapshot.saved_models() if artifact not in workspace.artifacts]
    if missing:
        raise StoreError(f"The files of “{missing[0]}” are missing from the workspace; a bundle cannot be made.")
    folders = own_folders(workspace.folder)
    body = json.dumps(snapshot.to_json(), ensure_ascii=False, allow_nan=False)
    named: dict[str, Path] = {}
    for artifact in sorted(name for name in snapshot.artifact_names() if name in workspace.artifacts):
        place = _cleaned(workspace.artifacts.path(artifact), folder / artifact, folders)
        identity = identity_of(place)
        body = body.replace(artifact, identity)
        for relative, path in _files(place):
            named[f"artifacts/{identity}/{relative}"] = path
    return named, body


def _files(place: Path) -> Iterator[tuple[str, Path]]:
    if place.is_file():
        yield place.name, place
        return
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        yield f"folder/{path.relative_to(place).as_posix()}", path


def _cleaned(place: Path, copy: Path, folders: tuple[str, ...]) -> Path:
    """The artifact itself, or a copy without paths of this machine where there are some in it."""
    graph = place / "graph.json"
    if graph.is_file():
        body = json.loads(graph.read_text(encoding="utf-8"))
        clean = {**body, **{key: without_paths(body[key], folders) for key in ("origin", "sources") if key in body}}
        if clean == body:
            return place
        copy.mkdir()
        for path in place.iterdir():
            if path != graph:
                (copy / path.name).symlink_to(path.absolute())
        (copy / graph.name).write_text(json.dumps(clean, ensure_ascii=False, allow_nan=False), encoding="utf-8")
        return copy
    onnx_file = place if place.suffix == ".onnx" else None
    if onnx_file is not None and any(folder.encode() in onnx_file.read_bytes() for folder in folders):
        copy.mkdir()
        _clean_onnx(onnx_file, copy / onnx_file.name, folders)
        return copy / onnx_file.name
    return place


def _clean_onnx(source: Path, target: Path, folders: tuple[str, ...]) -> None:
    """A copy of an ONNX file whose remarks name no path; what it computes is untouched."""
    import onnx

    model = onnx.load(str(source))
    for holder in (model, model.graph, *model.graph.node):
        holder.doc_string = without_paths(holder.doc_string, folders)
        for entry in holder.metadata_props:
            entry.value = without_paths(entry.value, folders)
    onnx.save(model, str(target))


def _write_text(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as trial:
        trial.writestr(name, data)
    small = packed.tell() * _RATIO > len(data)
    info = zipfile.ZipInfo(name, _EPOCH)
    archive.writestr(info, data, zipfile.ZIP_DEFLATED if small else zipfile.ZIP_STORED)


def _write_file(archive: zipfile.ZipFile, name: str, place: Path) -> None:
    """Arrays and weights as they are: they are packed already, or hardly shrink; zeros would shrink suspiciously."""
    if name.endswith(".json"):
        _write_text(archive, name, place.read_bytes())
        return
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    info.file_size = place.stat().st_size
    with place.open("rb") as source, archive.open(info, "w") as target:
        while chunk := source.read(1 << 20):
            target.write(chunk)


def _readme(snapshot: Snapshot) -> str:
    lines = [f"  {variant.name}: artifacts/{variant.artifact}/" for variant in snapshot.variants]
    return _TEXT.format(name=snapshot.name, variants="\n".join(["", "Variants:", *lines]) if lines else "")
