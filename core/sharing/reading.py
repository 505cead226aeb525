"""Reading a bundle, which anybody may have written: everything is checked before anything is believed.

The models are loaded once to see that they are what the bundle says, so this is work for a process of its own: see
``bundle_reader``.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import EspalierError, StoreError
from ..paths import contained
from ..progress import SILENT, Progress
from ..pruning.plan import Plan
from ..store.artifacts import identity_of
from ..store.files import file_errors
from .archive import Archive, open_archive
from .bundle_format import ALLOWED, MANIFEST, SESSION, Manifest, read_manifest
from .privacy import without_paths
from .snapshot import SNAPSHOT_VERSION, ModelPart, Snapshot

__all__ = ["ARTIFACTS", "TEXT_BYTES", "read_bundle"]

ARTIFACTS = "artifacts"
TEXT_BYTES = 64 * 2**20
"""As large as a text in a bundle may be, the session among them."""
_ARRAY_BYTES = 256 * 2**20
# What pages and jobs read of data without asking whether it is there.
_DESCRIBED = {"task", "counts", "input_shape", "mean", "std", "num_classes"}
_PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]*")


def read_bundle(path: Path, folder: Path, *, progress: Progress = SILENT) -> Snapshot:
    """The session in a bundle; its artifacts are unpacked below ``folder / ARTIFACTS``, each named by its id.

    Raises:
        StoreError: when the bundle is hostile, damaged, not whole, or of a newer version.
        ModelError: when a model in it cannot be loaded.
    """
    with open_archive(path, allowed=ALLOWED) as archive:
        manifest = read_manifest(archive.read(MANIFEST, most_bytes=TEXT_BYTES))
        _check_files(manifest, archive)
        snapshot = _read_snapshot(archive.read(SESSION, most_bytes=TEXT_BYTES))
        _unpack(archive, manifest, folder, progress)
    artifacts = _artifacts(folder)
    _check_references(snapshot, artifacts)
    return _checked_models(snapshot, artifacts, progress)


def _check_files(manifest: Manifest, archive: Archive) -> None:
    listed, there = set(manifest.files) | {MANIFEST}, archive.names
    for word, names in (("is missing", listed - there), ("is not in its manifest", there - listed)):
        if names:
            raise StoreError(f"The bundle is not whole: “{min(names)[:120]}” {word}.")


def _read_snapshot(data: bytes) -> Snapshot:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"The session in the bundle is not JSON ({str(error)[:80]}).") from None
    version = body.get("version") if isinstance(body, dict) else None
    if isinstance(version, int) and version > SNAPSHOT_VERSION:
        raise StoreError(
            f"The session in this bundle was made with version {version}, this is version {SNAPSHOT_VERSION}; update "
            "Espalier to open it."
        )
    # Paths of another machine mean nothing here, and a hostile one shall not be followed.
    try:
        return Snapshot.parse(without_paths(body), error=StoreError)
    except RecursionError:
        raise StoreError("The session in the bundle is nested too deeply.") from None


def _unpack(archive: Archive, manifest: Manifest, folder: Path, progress: Progress) -> None:
    """Write every artifact below ``folder``, counting bytes, and compare the SHA-256 of all files."""
    for name, entry in manifest.files.items():
        progress.check()
        digest, seen = hashlib.sha256(), 0
        target = contained(folder, name)
        with file_errors("unpack the bundle into", folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            file = target.open("xb")
        with file_errors("unpack the bundle into", folder), file:
            for chunk in archive.chunks(name, most_bytes=entry.size_bytes):
                digest.update(chunk)
                seen += len(chunk)
                file.write(chunk)
        if digest.hexdigest() != entry.sha256 or seen != entry.size_bytes:
            raise StoreError(f"“{name}” is not what the manifest says (wrong SHA-256); the bundle is damaged.")
        if target.suffix == ".npz":
            _check_arrays(target, name)


def _check_arrays(path: Path, name: str) -> None:
    """An npz is a zip file, too: it may not unpack to more than fits."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as arrays:
            entries = arrays.infolist()
            if len(entries) > 1000 or sum(entry.file_size for entry in entries) > _ARRAY_BYTES:
                raise StoreError(f"The arrays in “{name}” would need more than {_ARRAY_BYTES >> 20} MiB.")
            if any(not entry.filename.endswith(".npy") for entry in entries):
                raise StoreError(f"“{name}” holds something else than arrays.")
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise StoreError(f"The arrays in “{name}” are damaged ({error}).") from None


def _artifacts(folder: Path) -> dict[str, Path]:
    """The artifacts that were unpacked, by id; the id must be the SHA-256 of the content."""
    found: dict[str, Path] = {}
    for place in sorted((folder / ARTIFACTS).glob("*")):
        content = sorted(place.iterdir())
        if len(content) != 1:
            raise StoreError(f"The bundle's artifact {place.name[:12]}… must be one file or one folder.")
        if identity_of(content[0]) != place.name:
            raise StoreError(f"The bundle's artifact {place.name[:12]}… is not named by the SHA-256 of its content.")
        found[place.name] = content[0]
    return found


def _check_references(snapshot: Snapshot, artifacts: dict[str, Path]) -> None:
    named = snapshot.saved_models()
    named += [(part.name, part.weights_artifact) for part in snapshot.models]
    named += [(part.name, part.evaluation_artifact) for part in snapshot.variants if part.evaluation_artifact]
    named += [
        (item.kind, str(item.result["artifact"])) for item in snapshot.measurements if item.result.get("artifact")
    ]
    for name, artifact in named:
        if artifact not in artifacts:
            raise StoreError(f"The bundle is not whole: files of “{name[:60]}” are missing.")
    ids, models = [part.id for part in snapshot.variants], {part.id for part in snapshot.models}
    wrong = (
        len(set(ids)) != len(ids)
        or len({part.artifact for part in snapshot.models}) != len(snapshot.models)
        or len([part for part in snapshot.variants if part.plan is None]) > 1
        or any(part.parent_id is not None and part.parent_id not in ids for part in snapshot.variants)
        or any(part.model_id not in models for part in snapshot.variants)
        or any(item.variant_id not in ids for item in snapshot.measurements)
        or (bool(ids) and snapshot.data is None)
        or (snapshot.data is not None and bool(_DESCRIBED - snapshot.data.description.keys()))
    )
    if wrong:
        raise StoreError("The session in the bundle contradicts itself: its variants and measurements do not fit.")
    for part in snapshot.variants:
        if part.plan is not None:
            Plan.parse(part.plan, error=StoreError)
    for kept in snapshot.plans:
        Plan.parse(kept.plan, error=StoreError)
    for picture in _pictures(snapshot):
        if not _PICTURE.fullmatch(picture):
            raise StoreError("A picture in the bundle is not a PNG inside it; it is not opened.")


def _pictures(snapshot: Snapshot) -> Iterator[str]:
    thumbnails: Any = snapshot.data.description.get("thumbnails") if snapshot.data else None
    for item in thumbnails or ():
        yield str(item.get("image") if isinstance(item, dict) else item)


def _checked_models(snapshot: Snapshot, artifacts: dict[str, Path], progress: Progress) -> Snapshot:
    """Every model loads, and those that rows are named by have that fingerprint; what pages say of them is read off the
    models themselves, whatever the bundle says."""
    from ..analysis.describe import describe_model
    from ..models.traced import TracedModel

    rows = {part.artifact: part for part in snapshot.models}
    checked: set[str] = set()
    described: dict[str, ModelPart] = {}
    for name, artifact in snapshot.saved_models():
        progress.check()
        if artifact in checked:
            continue
        checked.add(artifact)
        try:
            model = TracedModel.load(artifacts[artifact])
        except EspalierError as error:
            # The folder was a temporary one: its name says nothing.
            text = str(error).replace(str(artifacts[artifact]), "the bundle")
            raise type(error)(f"The model of “{name[:60]}” cannot be loaded: {text}") from None
        if artifact not in rows:
            continue
        part = rows[artifact]
        if model.fingerprint() != part.id:
            raise StoreError(f"The model “{part.name[:60]}” is not the one that the bundle names (other fingerprint).")
        described[artifact] = part.changed(description=describe_model(model))
    return snapshot.changed(models=tuple(described[part.artifact] for part in snapshot.models))
