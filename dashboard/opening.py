"""Starting a session: the files a person may give, and the job that opens a model with its data."""

import os
from pathlib import Path
from typing import NoReturn

from core.data.roots import data_roots
from core.data.specs import DataSpec
from core.errors import CheckpointError
from core.models.specs import ModelSpec

from . import backend, state

__all__ = [
    "CHECKPOINT_SUFFIXES",
    "UPLOAD_MB",
    "begin",
    "checkpoints_below",
    "data_label",
    "keep_upload",
    "server_checkpoints",
    "start_opening",
]

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".th", ".safetensors")
UPLOAD_MB = 500
"""The most that one upload may have. The server refuses more before it reaches a page, and says so in the uploader."""
_FILES_AT_MOST = 200
_DEPTH = 4


def keep_upload(name: str, data: bytes) -> Path:
    """Store an uploaded checkpoint under the hash of its content and return where it lies.

    The name is only a label: its ending is checked, the rest of it never reaches the file system. Whether the content
    is a checkpoint is found out by the worker that reads it.

    Raises:
        CheckpointError: when the file is empty, too large or ends in something else than ``CHECKPOINT_SUFFIXES``.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in CHECKPOINT_SUFFIXES:
        known = ", ".join(CHECKPOINT_SUFFIXES)
        raise CheckpointError(
            f"A checkpoint must end in {known}; this file ends in “{suffix or 'nothing'}”. "
            "Save the weights with torch.save(model.state_dict(), 'weights.pt') and upload that file."
        )
    if not data:
        raise CheckpointError("The file is empty; upload it again.")
    if len(data) > UPLOAD_MB * 2**20:
        raise CheckpointError(
            f"An upload may have at most {UPLOAD_MB} MB; this file has {len(data) / 2**20:.0f} MB. Put larger files "
            "below a data root of the server, or open them from Python."
        )
    backend.count_upload(len(data))
    artifacts = backend.workspace().artifacts
    return artifacts.path(artifacts.put_bytes(data, suffix))


def server_checkpoints() -> list[tuple[Path, Path]]:
    """Checkpoint files below the data roots of this server, each with its data root."""
    return [(file, root) for root in data_roots() for file in checkpoints_below(root)]


def checkpoints_below(base: Path) -> list[Path]:
    """Checkpoint files below a folder, at most 200, at most four folders deep, sorted by path."""
    found: list[Path] = []
    for folder, folders, files in os.walk(base):
        here = Path(folder)
        depth = len(here.relative_to(base).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < _DEPTH else []
        found += [here / name for name in sorted(files) if Path(name).suffix.lower() in CHECKPOINT_SUFFIXES]
        if len(found) >= _FILES_AT_MOST:
            break
    return found[:_FILES_AT_MOST]


def data_label(data: DataSpec) -> str:
    """The data in the name of a session: their folder without the way to it, else their kind."""
    return Path(data.root).name if data.root else data.source


def start_opening(model: ModelSpec, data: DataSpec, *, name: str, upload: str | None = None) -> str:
    """Create a session, start the job that opens model and data in it, and return the session's id.

    ``upload``: what the person calls an uploaded checkpoint.
    """
    session = backend.store().create_session(name)
    backend.runner().submit(
        "open",
        {"model": model.to_json(), "data": data.to_json(), "upload": upload},
        session_id=session.id,
        title=f"Opening {model.name} with {data_label(data)}",
    )
    return session.id


def begin(model: ModelSpec, data: DataSpec, *, name: str, upload: str | None = None) -> NoReturn:
    """Create a session, start opening, and go to its Model page, which shows the progress."""
    state.open_session(start_opening(model, data, name=name, upload=upload))
