"""The server lock of a workspace: one server (runner) per folder; the command line may share the folder with it."""

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

__all__ = ["ServerLock"]


class ServerLock:
    """A lock file that names its process. The kernel frees it when the process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def acquire(self) -> None:
        """Take the lock; a no-op when this object holds it.

        Raises:
            StoreError: naming the process that holds it, or why the file cannot be written.
        """
        if self._file is not None:
            return
        with file_errors("lock the workspace with", self.path):
            file = self.path.open("a+", encoding="utf-8")
        try:
            if not _try_lock(file):
                file.seek(0)
                raise StoreError(
                    f"The workspace {self.path.parent} is in use by another Espalier server{_pid(file.read())}. "
                    "Stop that one, or choose another folder with --workspace."
                )
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "process": this_process()}))
            file.flush()
        except BaseException:
            file.close()
            raise
        self._file = file

    def release(self) -> None:
        """Free the lock; a no-op when it is not held."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


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


def _pid(text: str) -> str:
    pid = _read(text).get("pid")
    return f" (process {pid})" if pid else ""
