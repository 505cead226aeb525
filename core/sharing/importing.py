"""Opening a bundle as a session: what a limited process has read and checked is stored."""

import tempfile
from pathlib import Path

from ..errors import StoreError
from ..progress import SILENT, Progress
from ..store import Session, Workspace
from .bundle_reader import read_confined
from .planting import plant
from .reading import ARTIFACTS

__all__ = ["import_bundle"]


def import_bundle(
    workspace: Workspace,
    path: str | Path,
    *,
    name: str = "",
    owner: str = "",
    how: str = "import",
    into: str | None = None,
    progress: Progress = SILENT,
) -> Session:
    """A new session from a bundle: models, variants with their weights, measurements, plans and views.

    What needs no data works at once. Data of a source that is part of Espalier are found; for others the session asks
    for their folder, and takes only those with the fingerprint that the bundle names. ``into``: the id of an empty
    session that is filled instead of a new one.

    Raises:
        StoreError: when the bundle is hostile, damaged, not whole, of a newer version, or takes more memory or time
            than any honest one of its size; nothing is stored then.
        ModelError: when a model in it cannot be loaded.
        Cancelled: the person cancelled.
    """
    progress.update(0, 2, "Checking every file and loading the models")
    with tempfile.TemporaryDirectory(prefix="espalier-") as temporary:
        folder = Path(temporary)
        snapshot = read_confined(Path(path).expanduser(), folder, progress=progress)
        progress.update(1, 2, "Storing")
        for place in sorted((folder / ARTIFACTS).iterdir()):
            progress.check()
            _store(workspace, place)
        session = plant(workspace, snapshot, how=how, name=name, owner=owner, title=snapshot.name, into=into)
    progress.update(2, 2, "Done")
    return session


def _store(workspace: Workspace, place: Path) -> None:
    """Store one artifact. The process that unpacked it is not trusted either: no links, and content of that name."""
    if any(path.is_symlink() for path in (place, *place.rglob("*"))):
        raise StoreError(f"The bundle's artifact {place.name[:12]}… is a link; it is not stored.")
    (content,) = place.iterdir()
    put = workspace.artifacts.put_folder if content.is_dir() else workspace.artifacts.put_file
    if put(content) != place.name:
        raise StoreError(f"The bundle's artifact {place.name[:12]}… is not named by the SHA-256 of its content.")
