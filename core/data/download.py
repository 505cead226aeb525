"""Fetching published data sets: with progress, a checksum, and a quick clear failure without the internet."""

import gzip
import hashlib
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import DataError
from ..progress import Progress

__all__ = ["Archive", "fetch", "fetch_archive", "fetch_gzip"]

TIMEOUT_S = 8.0
BLOCK_BYTES = 1 << 18


@dataclass(frozen=True)
class Archive:
    """A published file: the places to try in turn, its MD5 (as its publisher gives it), and what people call it."""

    urls: tuple[str, ...]
    md5: str
    title: str


def fetch(archive: Archive, target: Path, *, progress: Progress) -> None:
    """Download to ``target``, from the first place that answers with the right content.

    Raises:
        DataError: when no place answers within seconds, or what comes is not what was published.
    """
    problems = []
    for url in archive.urls:
        try:
            _fetch_one(url, target, archive, progress)
        except (urllib.error.URLError, TimeoutError, OSError) as error:
            problems.append(str(getattr(error, "reason", error)))
            continue
        if _md5(target) == archive.md5:
            return
        problems.append("what came is not what was published (checksum differs)")
    raise DataError(
        f"{archive.title} could not be downloaded: {'; '.join(dict.fromkeys(problems))}. Check the connection, or put "
        "the files into a folder and give that folder."
    )


def fetch_archive(archive: Archive, members: Mapping[str, Path], *, progress: Progress) -> None:
    """Download a tar archive and write some of its members, and nothing else, to the places given.

    Raises:
        DataError: see ``fetch``; also when a member is missing.
    """
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch) / "archive"
        fetch(archive, packed, progress=progress)
        with tarfile.open(packed) as tar:
            for name, target in members.items():
                # Members are read as bytes and written by us: nothing in the archive decides on a path.
                try:
                    content = tar.extractfile(name)
                except KeyError:
                    content = None
                if content is None:
                    raise DataError(f"{archive.title} must hold “{name}”; the downloaded archive does not.")
                _write(target, _blocks(content))


def fetch_gzip(archive: Archive, target: Path, *, progress: Progress) -> None:
    """Download a gzip file and write its content to ``target``.

    Raises:
        DataError: see ``fetch``.
    """
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch) / "archive.gz"
        fetch(archive, packed, progress=progress)
        with gzip.open(packed) as content:
            _write(target, _blocks(content))


def _fetch_one(url: str, target: Path, archive: Archive, progress: Progress) -> None:
    progress.update(0, 1, f"Downloading {archive.title}")
    request = urllib.request.Request(url, headers={"User-Agent": "espalier"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer, target.open("wb") as file:
        total = int(answer.headers.get("Content-Length") or 0)
        done = 0
        while block := answer.read(BLOCK_BYTES):
            progress.check()
            file.write(block)
            done += len(block)
            progress.update(done, max(total, done), f"Downloading {archive.title}: {done / 1e6:.0f} MB")


def _blocks(file: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block


def _write(target: Path, blocks: Iterable[bytes]) -> None:
    """Write whole or not at all: a temporary file beside the target is renamed at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
