"""Locks of a workspace: one server (runner) per folder, which the command line may share; one measurement at a time."""

import json
import os
from pathlib import Path
from typing import IO, Any

from ..errors import StoreError
from .files import file_errors
from .owner import is_alive, this_process

try:
    import fcntl
except ImportError:  # Windows: the recorded process is looked up instead
    fcntl = None  # type: ignore[assignment]

__all__ = ["FileLock", "ServerLock"]


class FileLock:
    """A lock file that names its process. The kernel frees it when the process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    @property
    def holder(self) -> str | None:
        """The process that holds the lock (see ``owner.this_process``); None when nobody alive does."""
        try:
            process = _read(self.path.read_text(encoding="utf-8")).get("process")
        except OSError:
            return None
        return str(process) if process and is_alive(str(process)) else None

    def try_acquire(self) -> bool:
        """Take the lock unless somebody holds it; True, too, when this object does.

        Raises:
            StoreError: why the file cannot be written.
        """
        if self._file is not None:
            return True
        with file_errors("lock the workspace with", self.path):
            file = self.path.open("a+", encoding="utf-8")
        try:
            if not _try_lock(file):
                file.close()
                return False
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "process": this_process()}))
            file.flush()
        except BaseException:
            file.close()
            raise
        self._file = file
        return True

    def release(self) -> None:
        """Free the lock; a no-op when it is not held."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


class ServerLock(FileLock):
    """The lock of the one server of a workspace."""

    def acquire(self) -> None:
        """Take the lock; a no-op when this object holds it.

        Raises:
            StoreError: naming the process that holds it, or why the file cannot be written.
        """
        if not self.try_acquire():
            raise StoreError(
                f"The workspace {self.path.parent} is in use by another Espalier server{_pid(self.path)}. "
                "Stop that one, or choose another folder with --workspace."
            )


def _try_lock(file: IO[str]) -> bool:
    if fcntl is None:
        file.seek(0)
        owner = _read(file.read()).get("process")
        return owner is None or not is_alive(str(owner))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _pid(path: Path) -> str:
    with file_errors("read", path):
        pid = _read(path.read_text(encoding="utf-8")).get("pid")
    return f" (process {pid})" if pid else ""
