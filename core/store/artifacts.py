"""Content-addressed files and folders: weights, arrays, exports. Rows of the database name them by their SHA-256.

Layout: ``<root>/ab/<sha256>/file<suffix>`` or ``<root>/ab/<sha256>/folder/…``. An artifact is written beside its place
and renamed into it, so that a listed artifact is always complete, whatever was killed when.
"""

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from ..errors import StoreError
from ..paths import contained
from .files import file_errors, fsync_folder, fsync_tree

__all__ = ["Artifacts", "identity_of"]

_ID = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,16}){0,3}")
_CHUNK = 1 << 20
_STALE_S = 24 * 3600.0


class Artifacts:
    """The artifact store below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._temporary = root / "incoming"
        # Artifacts whose content was compared with their name, and how their files looked then.
        self._verified: dict[str, tuple[tuple[str, int, int], ...]] = {}
        with file_errors("create the artifact folder", root):
            self._temporary.mkdir(parents=True, exist_ok=True)

    def put_bytes(self, data: bytes, suffix: str = "") -> str:
        """Store ``data`` and return its id (SHA-256 in hex). ``suffix`` (".npz") only names the file.

        Raises:
            StoreError: when the disk is full or read-only.
        """

        def write(file: Path) -> None:
            with file.open("wb") as out:
                out.write(data)

        return self._put_file(hashlib.sha256(data).hexdigest(), suffix, write)

    def put_file(self, source: Path, suffix: str | None = None) -> str:
        """Store a copy of a file and return its id; ``suffix`` defaults to the suffix of the file."""
        return self._put_file(
            identity_of(source), source.suffix if suffix is None else suffix, lambda file: _copy_file(source, file)
        )

    def put_folder(self, source: Path) -> str:
        """Store a copy of a folder (relative names and bytes make its id) and return the id."""

        def write(place: Path) -> None:
            shutil.copytree(source, place / "folder")

        return self._put(identity_of(source), write)

    def path(self, artifact: str) -> Path:
        """Where the file or folder lies. Treat it as read-only: its name is the hash of its content.

        The content is compared with the name when it is first asked for in this process, and whenever a file looks
        different since: a damaged file gives an error and never a wrong number.

        Raises:
            StoreError: when there is no such artifact, or it is damaged.
        """
        place = self._content(artifact)
        if place is None:
            raise StoreError(f"The stored file {artifact[:12]}… is missing from {self.root}; make its result again.")
        if not self._intact(artifact, place):
            raise StoreError(
                f"The stored file {artifact[:12]}… is damaged: its content is not what was stored in {self.root}. "
                "Check the disk and make its result again."
            )
        return place

    def __contains__(self, artifact: str) -> bool:
        return _ID.fullmatch(artifact) is not None and self._place(artifact).is_dir()

    def read_bytes(self, artifact: str) -> bytes:
        """The bytes of a stored file."""
        path = self.path(artifact)
        with file_errors("read", path):
            return path.read_bytes()

    def size_bytes(self, artifact: str) -> int:
        """Bytes on disk of a stored file or folder."""
        path = self.path(artifact)
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size

    def __iter__(self) -> Iterator[str]:
        for place in self.root.glob("[0-9a-f][0-9a-f]/*"):
            if _ID.fullmatch(place.name):
                yield place.name

    def remove_all_but(self, keep: Collection[str], *, older_than_s: float = 3600.0) -> int:
        """Delete artifacts that are not in ``keep`` and return how many.

        Those used in the last ``older_than_s`` seconds stay: a job may be about to write the row that names them.
        """
        limit = time.time() - older_than_s
        removed = 0
        for artifact in list(self):
            place = self._place(artifact)
            if artifact not in keep and place.stat().st_mtime <= limit:
                shutil.rmtree(place, ignore_errors=True)
                removed += 1
        return removed

    def remove_leftovers(self) -> None:
        """Delete half-written files that killed processes left a day ago or earlier."""
        for path in self._temporary.iterdir():
            if path.stat().st_mtime < time.time() - _STALE_S:
                shutil.rmtree(path, ignore_errors=True)

    def _content(self, artifact: str) -> Path | None:
        place = self._place(artifact)
        if (place / "folder").is_dir():
            return place / "folder"
        return next(iter(place.glob("file*")), None)

    def _intact(self, artifact: str, content: Path) -> bool:
        with file_errors("read", content):
            looks = _looks(content)
            if self._verified.get(artifact) != looks:
                if identity_of(content) != artifact:
                    self._verified.pop(artifact, None)
                    return False
                self._verified[artifact] = looks
        return True

    def _place(self, artifact: str) -> Path:
        if not _ID.fullmatch(artifact):
            raise StoreError("A stored file is named by 64 hexadecimal digits; this name is not one.")
        return contained(self.root, f"{artifact[:2]}/{artifact}")

    def _put_file(self, artifact: str, suffix: str, write: Callable[[Path], None]) -> str:
        if not _SUFFIX.fullmatch(suffix):
            suffix = ""
        return self._put(artifact, lambda place: write(place / f"file{suffix}"))

    def _put(self, artifact: str, write: Callable[[Path], None]) -> str:
        place = self._place(artifact)
        if self._touch(place):
            content = self._content(artifact)
            if content is not None and self._intact(artifact, content):
                return artifact
            # What lies there is damaged: it makes room for what it should be.
            with file_errors("store a file in", self.root):
                place.rename(self._temporary / f"damaged-{secrets.token_hex(8)}")
        if not place.is_dir():
            temporary = self._temporary / secrets.token_hex(8)
            with file_errors("store a file in", self.root):
                try:
                    temporary.mkdir()  # no parents: a workspace that is gone is not begun anew
                    write(temporary)
                    fsync_tree(temporary)
                    place.parent.mkdir(exist_ok=True)
                    self._rename(temporary, place)
                finally:
                    shutil.rmtree(temporary, ignore_errors=True)
        return artifact

    def _rename(self, temporary: Path, place: Path) -> None:
        try:
            temporary.rename(place)
        except OSError:
            # Another thread or process stored the same content first.
            if not self._touch(place):
                raise
        fsync_folder(place.parent)

    @staticmethod
    def _touch(place: Path) -> bool:
        """Whether the artifact is there; marks it as used now, which protects it from being collected."""
        try:
            os.utime(place)
        except OSError:
            return False
        return True


def identity_of(path: Path) -> str:
    """The id that a file or folder has as an artifact, wherever it is stored."""
    with file_errors("read", path):
        if path.is_file():
            return _hash_file(path)
        digest = hashlib.sha256(b"folder\n")
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{_hash_file(file)}\n".encode())
        return digest.hexdigest()


def _looks(content: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of the files: what changes when one is written again."""
    files = [content] if content.is_file() else sorted(file for file in content.rglob("*") if file.is_file())
    return tuple((file.name, found.st_size, found.st_mtime_ns) for file in files for found in (file.stat(),))


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
