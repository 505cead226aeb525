"""Reading a zip file that may be hostile: everything is judged from its directory before anything is unpacked.

Python's ``zipfile`` is shown a file only after its end record was found to promise few entries, and no file is
unpacked under a name that the archive chose freely. Bytes are counted while they are read.
"""

import re
import stat
import struct
import unicodedata
import zipfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import StoreError

__all__ = ["MAX_ARCHIVE_BYTES", "MAX_RATIO", "Archive", "open_archive"]

MAX_ARCHIVE_BYTES = 2**31
MAX_UNPACKED_BYTES = 2**32
MAX_RATIO = 100
MAX_ENTRIES = 5_000
MAX_DIRECTORY_BYTES = 2**20

_END = struct.Struct("<4s4H2LH")
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 1
_NO_MEMORY = "Error -4"  # of zlib
_CHUNK = 1 << 20


class Archive:
    """An open archive whose entries are all regular files with allowed names."""

    def __init__(self, file: zipfile.ZipFile, entries: Collection[zipfile.ZipInfo]) -> None:
        self._file = file
        self._entries = {entry.filename: entry for entry in entries}

    @property
    def names(self) -> set[str]:
        """The names of the files."""
        return set(self._entries)

    def chunks(self, name: str, *, most_bytes: int) -> Iterator[bytes]:
        """The bytes of a file; StoreError as soon as there are more than ``most_bytes``, or when they are damaged."""
        if name not in self._entries:
            raise StoreError(f"The bundle is not whole: “{name[:120]}” is missing.")
        seen = 0
        try:
            with self._file.open(self._entries[name]) as source:
                while chunk := source.read(_CHUNK):
                    seen += len(chunk)
                    if seen > most_bytes:
                        raise StoreError(f"“{name[:120]}” in the bundle is larger than it says; it is not opened.")
                    yield chunk
        except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, struct.error) as error:
            raise StoreError(f"“{name[:120]}” in the bundle is damaged ({error}); get the file again.") from None
        except Exception as error:
            if type(error).__module__ != "zlib":
                raise
            if _NO_MEMORY in str(error):
                raise MemoryError from None
            raise StoreError(f"“{name[:120]}” in the bundle is damaged ({error}); get the file again.") from None

    def read(self, name: str, *, most_bytes: int) -> bytes:
        """A small file, whole."""
        return b"".join(self.chunks(name, most_bytes=most_bytes))


@contextmanager
def open_archive(path: Path, *, allowed: re.Pattern[str]) -> Iterator[Archive]:
    """The archive, after every entry was judged by its directory record; ``allowed`` matches whole names.

    Raises:
        StoreError: saying what is wrong with it. Nothing was unpacked then.
    """
    with ExitStack() as opened:
        try:
            raw = opened.enter_context(path.open("rb"))
            promised, directory = _end_record(raw)
            raw.seek(0)
            file = opened.enter_context(zipfile.ZipFile(raw))
            entries = file.infolist()
            if len(entries) != promised:
                raise StoreError("The bundle's directory does not hold as many files as it says; it is damaged.")
            _check(entries, raw, directory=directory, allowed=allowed)
        except FileNotFoundError:
            raise StoreError(f"There is no bundle at {path}.") from None
        except (zipfile.BadZipFile, struct.error, OSError, ValueError, NotImplementedError) as error:
            raise StoreError(f"This file is not a bundle, or it is damaged ({error}).") from None
        yield Archive(file, entries)


def _end_record(raw: BinaryIO) -> tuple[int, int]:
    """Number of entries and place of the directory, as the end of the file promises them."""
    size = raw.seek(0, 2)
    if size == 0:
        raise StoreError("This file is empty; a bundle is a .zip file that Espalier wrote.")
    if size > MAX_ARCHIVE_BYTES:
        raise StoreError(f"A bundle is at most {MAX_ARCHIVE_BYTES >> 30} GiB large; this file has {size:,} bytes.")
    raw.seek(max(0, size - _END.size))
    tail = raw.read()
    if len(tail) < _END.size or not tail.startswith(b"PK\x05\x06"):
        raise StoreError("This file is not a bundle: a bundle is a .zip file that Espalier wrote, with nothing behind.")
    _, disk, first_disk, here, entries, length, start, comment = _END.unpack(tail)
    if disk or first_disk or here != entries or comment:
        raise StoreError("This file is not a bundle: its end is not as Espalier writes it.")
    if entries > MAX_ENTRIES or length > MAX_DIRECTORY_BYTES:
        raise StoreError(f"A bundle has at most {MAX_ENTRIES:,} files; this one promises {entries:,} or more.")
    if start + length + _END.size != size:
        raise StoreError("This file is not a bundle: its directory is not where it says.")
    return entries, start


def _check(entries: list[zipfile.ZipInfo], raw: BinaryIO, *, directory: int, allowed: re.Pattern[str]) -> None:
    seen: set[str] = set()
    for entry in entries:
        _check_name(entry, seen, allowed)
        _check_kind(entry)
        if entry.file_size > MAX_RATIO * entry.compress_size:
            raise StoreError(
                f"“{_shown(entry)}” would grow to more than {MAX_RATIO} times its packed size; no bundle of ours does."
            )
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        raise StoreError(f"A bundle unpacks to at most {MAX_UNPACKED_BYTES >> 30} GiB; this one says more.")
    _check_places(entries, raw, directory)


def _check_name(entry: zipfile.ZipInfo, seen: set[str], allowed: re.Pattern[str]) -> None:
    # zipfile cuts names at null characters and turns slashes: what is judged is what the file says.
    name = entry.orig_filename
    if name != entry.filename or not allowed.fullmatch(name):
        raise StoreError(
            f"A bundle does not hold files named “{_shown(entry)}”; it is not opened, and nothing was unpacked."
        )
    folded = unicodedata.normalize("NFKC", name).casefold()
    if folded in seen:
        raise StoreError(f"The bundle holds “{_shown(entry)}” twice (perhaps in other letters); it is not opened.")
    seen.add(folded)


def _check_kind(entry: zipfile.ZipInfo) -> None:
    mode = entry.external_attr >> 16
    if entry.is_dir() or (mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode)):
        raise StoreError(f"“{_shown(entry)}” in the bundle is a link or no regular file; it is not opened.")
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise StoreError(f"“{_shown(entry)}” is encrypted or packed in a way that bundles are not.")


def _check_places(entries: list[zipfile.ZipInfo], raw: BinaryIO, directory: int) -> None:
    """Entries lie one behind the other: overlapping ones would let few bytes unpack to many."""
    end = 0
    for entry in sorted(entries, key=lambda item: item.header_offset):
        raw.seek(entry.header_offset)
        header = raw.read(_LOCAL.size)
        if len(header) != _LOCAL.size or not header.startswith(b"PK\x03\x04"):
            raise StoreError(f"“{_shown(entry)}” is not where the bundle says; it is damaged.")
        *_, name_length, extra_length = _LOCAL.unpack(header)
        if entry.header_offset < end:
            raise StoreError(f"“{_shown(entry)}” overlaps another file of the bundle; it is not opened.")
        end = entry.header_offset + _LOCAL.size + name_length + extra_length + entry.compress_size
    if end > directory:
        raise StoreError("A file of the bundle overlaps its directory; it is not opened.")


def _shown(entry: zipfile.ZipInfo) -> str:
    return "".join(char if char.isprintable() else "?" for char in entry.orig_filename[:120])
