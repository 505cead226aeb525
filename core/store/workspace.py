"""The workspace: one folder with the database, the artifacts, the log and the lock of the server."""

import json
import logging
import os
import re
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import platformdirs
from sqlalchemy import select

from ..errors import StoreError
from .artifacts import Artifacts
from .checkpoint_folders import CheckpointFolders
from .connection import new_id, now
from .database import Store
from .files import file_errors, write_atomically
from .lock import ServerLock
from .presence import VERSION_FILE, Presence
from .tables import metadata

__all__ = ["WORKSPACE_VERSION", "Workspace", "default_folder", "log"]

WORKSPACE_VERSION = 1
ENVIRONMENT = "ESPALIER_WORKSPACE"
DATABASE_URL = "ESPALIER_DATABASE_URL"
LOG_BYTES = 2_000_000

_DATABASE = "espalier.sqlite"

_TOLD = "espalier-stderr"
_ARTIFACT_ID = re.compile(r"\b[0-9a-f]{64}\b")
# What was used within the last hour is not collected: a job may be about to write the row that names it.
_GRACE_S = 3600.0

log = logging.getLogger("espalier")


def default_folder() -> Path:
    """The one rule: ESPALIER_WORKSPACE when it is set, else ``espalier`` in the user's data folder."""
    chosen = os.environ.get(ENVIRONMENT)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("espalier", appauthor=False))


class Workspace:
    """An open workspace. Open it with ``Workspace.open``; ``store`` holds rows, ``artifacts`` files, and
    ``checkpoints`` what stopped jobs go on from.

    ``notice`` is a sentence for the person when something was repaired while opening, else None.
    """

    def __init__(self, folder: Path, *, store: Store, artifacts: Artifacts, notice: str | None = None) -> None:
        self.folder = folder
        self.store = store
        self.artifacts = artifacts
        self.checkpoints = CheckpointFolders(folder / "checkpoints")
        self.notice = notice
        self.lock = ServerLock(folder / "server.lock")
        self._presence = Presence(folder / _DATABASE)
        self._presence.remember()

    @classmethod
    def open(cls, path: str | Path | None = None) -> "Workspace":
        """Open the workspace in ``path`` (default: ``default_folder()``), creating what is missing.

        Any number of processes may have it open; only a server's runner takes ``lock``.

        Raises:
            StoreError: when the folder cannot be written (path and reason), or a newer version made it.
        """
        folder = (Path(path).expanduser() if path is not None else default_folder()).absolute()
        with file_errors("create the workspace folder", folder):
            folder.mkdir(parents=True, exist_ok=True)
        _check_version(folder)
        _check_writable(folder)
        store, notice = Store.open(folder / _DATABASE, url=os.environ.get(DATABASE_URL))
        if notice:
            log.warning(notice)
        return cls(folder, store=store, artifacts=Artifacts(folder / "artifacts"), notice=notice)

    def check(self) -> None:
        """Nothing while the workspace is where it was opened; cheap enough for every page.

        Raises:
            StoreError: when its folder or its database is gone, or was replaced by another one.
        """
        self._presence.check()

    def close(self) -> None:
        """Free the lock and close the database."""
        self.lock.release()
        self.store.close()

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def log_to_file(self) -> None:
        """Send the log of this process to ``espalier.log`` (rotating); called by the server, once."""
        path = str(self.folder / "espalier.log")
        if any(getattr(handler, "baseFilename", None) == path for handler in log.handlers):
            return
        with file_errors("write the log", Path(path)):
            handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=2, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        if not any(handler.get_name() == _TOLD for handler in log.handlers):
            # Whoever started the server is told, too: the file may be what is gone.
            told = logging.StreamHandler()
            told.set_name(_TOLD)
            told.setLevel(logging.ERROR)
            told.setFormatter(logging.Formatter("Espalier: %(message)s"))
            log.addHandler(told)

    def collect_garbage(self, *, older_than_s: float = _GRACE_S) -> int:
        """Delete models, data sets, artifacts and checkpoints that nobody uses any more.

        An artifact is in use when any row names it; what is younger than ``older_than_s`` stays. Checkpoints are in use
        until their job is done or deleted.

        Returns:
            The number of artifacts and checkpoint folders that were deleted.
        """
        self.store.delete_unused(older_than_s=older_than_s)
        self.artifacts.remove_leftovers()
        removed = self.artifacts.remove_all_but(self._used_artifacts(), older_than_s=older_than_s)
        return removed + self.remove_checkpoints()

    def remove_checkpoints(self) -> int:
        """Delete the checkpoints of jobs that are done or deleted; returns of how many jobs."""
        # Folders first: a job that begins in between has its row before it has a folder.
        folders = self.checkpoints.job_ids()
        gone = folders - self.store.unfinished_jobs()
        for job_id in gone:
            self.checkpoints.remove(job_id)
        return len(gone)

    def _used_artifacts(self) -> set[str]:
        used: set[str] = set()
        with self.store.engine.connect() as connection:
            for table in metadata.sorted_tables:
                for row in connection.execute(select(table)).mappings():
                    # Uploaded checkpoints are named by a path inside a spec, exports by a result: look everywhere.
                    used.update(_ARTIFACT_ID.findall(json.dumps(dict(row), default=str)))
        return used


def _check_version(folder: Path) -> None:
    file = folder / VERSION_FILE
    if not file.exists():
        body: dict[str, Any] = {"format": "espalier-workspace", "version": WORKSPACE_VERSION, "created": str(now())}
        write_atomically(file, json.dumps(body, indent=2).encode())
        return
    with file_errors("read", file):
        text = file.read_text(encoding="utf-8")
    try:
        body = json.loads(text)
        version = int(body["version"])
    except (ValueError, KeyError, TypeError):
        raise StoreError(
            f"{file} is not the version file of an Espalier workspace; choose another folder with --workspace, "
            "or delete the file if the folder is yours."
        ) from None
    if version > WORKSPACE_VERSION:
        raise StoreError(
            f"The workspace {folder} was made by a newer Espalier (format {version}, this one reads up to "
            f"{WORKSPACE_VERSION}); update Espalier or choose another folder with --workspace."
        )


def _check_writable(folder: Path) -> None:
    # Asking for permission bits is not enough (read-only mounts, quotas): write.
    probe = folder / f".probe-{new_id()}"
    write_atomically(probe, b"")
    probe.unlink(missing_ok=True)
