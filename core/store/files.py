"""Atomic writes, and what goes wrong with files in words. Every file of a workspace is written through here."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import StoreError

__all__ = ["file_errors", "fsync_folder", "fsync_tree", "write_atomically"]

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and try again",
    errno.EDQUOT: "the disk quota is used up; free some space and try again",
    errno.EROFS: "the file system is read-only; choose another folder with --workspace",
    errno.EACCES: "this user may not write there; change the owner or choose another folder with --workspace",
    errno.EPERM: "this user may not write there; change the owner or choose another folder with --workspace",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENOENT: "it does not exist",
    errno.EMFILE: "too many files are open in this process",
}


@contextmanager
def file_errors(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into one sentence with the path and the reason.

    Raises:
        StoreError: instead of OSError.
    """
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise StoreError(f"Cannot {action} {path}: {reason}.") from error


def fsync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable (a no-op where folders cannot be opened, as on Windows)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def fsync_tree(folder: Path) -> None:
    """Make every file below ``folder`` durable before the folder is renamed into its place."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            fsync_folder(path)
    fsync_folder(folder)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file so that readers see the old bytes or the new ones, never half.

    Raises:
        StoreError: naming the path and the reason (disk full, read-only, …).
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with file_errors("write", path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        fsync_folder(path.parent)
