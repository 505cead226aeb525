"""What a checkpoint file is, judged by its content, and whether it is whole. Knows no torch and executes nothing.

PyTorch checks neither the checksums of its zip archives nor the size of what it is asked to build; this does.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

from ..errors import CheckpointError
from .pickle_reader import Persistent, Pickle, read_pickle
from .torch_pickle import Storage, storage_of

__all__ = ["MAX_TENSORS", "CheckpointFile", "Span", "check_count", "damaged", "examine", "shown"]

MAX_TENSORS = 10_000
_MAX_HEADER_BYTES = 8_000_000  # safetensors: 10,000 tensors take about 1 MB
_MAX_PICKLE_BYTES = 32_000_000
_MAX_ZIP_ENTRIES = 4 * MAX_TENSORS
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's number, as any pickle protocol writes it
_USE_INSTEAD = "Save the weights with torch.save(model.state_dict(), 'weights.pt') or as .safetensors, and use that."

_OTHER_FORMATS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"\x89HDF", "an HDF5 file (.h5, Keras)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"GGUF", "a GGUF file"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7-zip archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive; unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with “git lfs pull”"),
    (b"<", "a web page or XML text, perhaps an error page saved under this name; download the file again"),
)

Kind = Literal["zip", "legacy", "safetensors"]


@dataclass(frozen=True)
class Span:
    """Where the numbers of a storage lie in the file, in bytes."""

    offset: int
    size_bytes: int


@dataclass(frozen=True)
class CheckpointFile:
    """A file that is whole and of sane size, and what its table of contents says; of safetensors only that."""

    path: Path
    kind: Kind
    size_bytes: int
    content: Any = None  # plain values, ``Made`` and ``Named`` objects: see pickle_reader
    names: tuple[str, ...] = ()  # Python objects that the pickle refers to
    storages: Mapping[str, Span] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The file's name for messages."""
        return shown(self.path.name)


def shown(name: object, *, limit: int = 80) -> str:
    """A name from a file, safe and short enough for a message: control and direction characters escaped, in quotes."""
    text = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(name))
    return f"“{text}”" if len(text) <= limit else f"“{text[: limit - 1]}…”"


def check_count(count: int, label: str) -> None:
    """Refuse more tensors than any real checkpoint has.

    Raises:
        CheckpointError: there are more than ``MAX_TENSORS``.
    """
    if count > MAX_TENSORS:
        raise CheckpointError(f"The checkpoint {label} holds {count:,} tensors; at most {MAX_TENSORS:,} are read.")


def examine(path: Path) -> CheckpointFile:
    """Recognise a checkpoint file and check that it is whole and of sane size.

    Raises:
        CheckpointError: the file is missing, empty, damaged, too large, or no checkpoint; says which and what to do.
    """
    label = shown(path.name)
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise CheckpointError(f"The checkpoint {label} cannot be read: {error.strerror or error}.") from None
    if not head:
        raise CheckpointError(f"The checkpoint {label} is empty (0 bytes). Save or upload it again.")
    if head.startswith(b"PK"):
        return _examine_zip(path, size_bytes)
    if head[0] == 0x80:
        return _examine_pickle(path, size_bytes)
    if head[8:9] == b"{" or path.suffix.lower() == ".safetensors":
        return _examine_safetensors(path, size_bytes, head)
    raise CheckpointError(f"{label} is not a checkpoint but {_other_format(head)}. {_USE_INSTEAD}")


def _other_format(head: bytes) -> str:
    for magic, words in _OTHER_FORMATS:
        if head.startswith(magic):
            return words
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head[:1] == b"\x08" and head[2:3] in (b"\x12", b"\x3a"):  # its version, then its producer or its graph
        return "an ONNX model, which Espalier writes but does not open"
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return "a text file"
    return "a file of unknown content"


def damaged(label: str, what: str) -> CheckpointError:
    """The error for a file that is not what it was when it was written."""
    return CheckpointError(f"The checkpoint {label} is damaged or incomplete: {what}. Save or upload it again.")


def _examine_zip(path: Path, size_bytes: int) -> CheckpointFile:
    """PyTorch's format since 1.6: a zip archive whose members are stored uncompressed."""
    label = shown(path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            pickle_member = _pickle_member(members, label)
            _check_sizes(members, size_bytes, label)
            unchecked = _check_crc(archive, members, label)
            if pickle_member.file_size > _MAX_PICKLE_BYTES:
                raise CheckpointError(
                    f"The table of contents of {label} has {pickle_member.file_size / 1e6:.0f} MB, far more than any "
                    f"checkpoint needs, so it was not read. {_USE_INSTEAD}"
                )
            table = read_pickle(BytesIO(archive.read(pickle_member)))
            _check_byte_order(archive, pickle_member, label)
        storages = _zip_storages(path, members, pickle_member)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError):
        raise damaged(label, "its archive cannot be read to the end") from None
    notes = ("The file carries no checksums, so damage to it could not be detected.",) if unchecked else ()
    return CheckpointFile(path, "zip", size_bytes, table.value, table.names, storages, notes)


def _zip_storages(path: Path, members: list[zipfile.ZipInfo], pickle_member: zipfile.ZipInfo) -> dict[str, Span]:
    """Where each ``…/data/<key>`` lies: behind a header of its own, whose length the directory does not know."""
    folder = pickle_member.filename.removesuffix("data.pkl") + "data/"
    found = {}
    with path.open("rb") as stream:
        for member in members:
            if member.filename.startswith(folder):
                stream.seek(member.header_offset)
                header = stream.read(30)
                if header[:4] != b"PK\3\4":
                    raise zipfile.BadZipFile
                offset = stream.tell() + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:], "little")
                found[member.filename.removeprefix(folder)] = Span(offset, member.file_size)
    return found


def _check_byte_order(archive: zipfile.ZipFile, pickle_member: zipfile.ZipInfo, label: str) -> None:
    name = pickle_member.filename.removesuffix("data.pkl") + "byteorder"
    if name in archive.namelist() and archive.getinfo(name).file_size < 100 and archive.read(name).strip() != b"little":
        raise CheckpointError(
            f"{label} was saved on a machine with another order of bytes. Save it there as .safetensors, and use that."
        )


def _pickle_member(members: list[zipfile.ZipInfo], label: str) -> zipfile.ZipInfo:
    """The member that lists the tensors; refuses archives of other kinds with their name."""
    names = [member.filename for member in members]
    parts = {part for name in names[:2000] for part in name.split("/")}
    if "constants.pkl" in parts and "code" in parts:
        raise CheckpointError(
            f"{label} is a TorchScript archive: it holds a program, not only weights. "
            "Load it where it was made and save the weights with torch.save(model.state_dict(), 'weights.pt')."
        )
    if "archive_format" in parts:
        raise CheckpointError(f"{label} is an exported program (.pt2), not a checkpoint. {_USE_INSTEAD}")
    if any(name.endswith((".h5", ".keras")) for name in names):
        raise CheckpointError(f"{label} is a Keras model; only PyTorch weights can be read. {_USE_INSTEAD}")
    found = [member for member in members if member.filename.endswith("/data.pkl") and member.filename.count("/") == 1]
    if len(found) != 1 or len(set(names)) != len(names):
        raise CheckpointError(
            f"{label} is a zip archive, but not one that PyTorch wrote. If weights are inside, unpack it."
        )
    return found[0]


def _check_sizes(members: list[zipfile.ZipInfo], size_bytes: int, label: str) -> None:
    if len(members) > _MAX_ZIP_ENTRIES:
        raise CheckpointError(f"{label} has {len(members):,} parts; at most {MAX_TENSORS:,} tensors are read.")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError(
            f"{label} is compressed, which PyTorch never does itself. Load it with torch and save it again."
        )
    if sum(member.file_size for member in members) > size_bytes:
        raise damaged(label, "its parts claim more bytes than the file has")


def _check_crc(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], label: str) -> bool:
    """Compare every part with its checksum; True when some have none (``torch.serialization.set_crc32_options``)."""
    unchecked = False
    for member in members:
        if member.CRC == 0 and member.file_size:
            unchecked = True
            member.CRC = None  # type: ignore[assignment]  # zipfile then reads it without comparing
            continue
        try:
            with archive.open(member) as part:
                while part.read(1 << 20):
                    pass
        except zipfile.BadZipFile:
            raise damaged(label, "a checksum differs, so at least one weight is wrong") from None
    return unchecked


def _examine_pickle(path: Path, size_bytes: int) -> CheckpointFile:
    """PyTorch's format before 1.6: three short pickles, the table of contents, a list of storages, raw numbers."""
    label = shown(path.name)
    with path.open("rb") as stream:
        beginning = BytesIO(stream.read(_MAX_PICKLE_BYTES))
        if _LEGACY_MAGIC not in beginning.getbuffer()[:32].tobytes():
            raise _plain_pickle(read_pickle(beginning).names, label)
        _, _, system, table, keys = (read_pickle(beginning) for _ in range(5))
        if isinstance(system.value, dict) and system.value.get("little_endian") is False:
            raise CheckpointError(
                f"{label} was saved on a machine with another order of bytes. Save it there as .safetensors, and use "
                "that."
            )
        stream.seek(beginning.tell())
        storages = _legacy_storages(stream, table, keys.value, size_bytes, label)
    names = tuple(dict.fromkeys((*system.names, *table.names, *keys.names)))
    return CheckpointFile(path, "legacy", size_bytes, table.value, names, storages)


def _plain_pickle(names: tuple[str, ...], label: str) -> CheckpointError:
    code = [name for name in names if not name.startswith(("collections.", "numpy.", "torch."))]
    contents = f" with code ({', '.join(map(shown, code[:3]))})" if code else ""
    return CheckpointError(
        f"{label} is a plain Python pickle{contents}, not a checkpoint; it was not loaded. {_USE_INSTEAD}"
    )


def _legacy_storages(stream: BinaryIO, table: Pickle, keys: Any, size_bytes: int, label: str) -> dict[str, Span]:
    """The storages follow each other in the order of ``keys``, each behind its number of items."""
    item_bytes = {}
    for reference in table.references:
        if isinstance(reference.identity, tuple) and reference.identity[:1] == ("module",):
            continue  # the source of a pickled class; its name is refused later
        storage = _described(reference, label)
        item_bytes[storage.key] = storage.item_bytes
    found: dict[str, Span] = {}
    for key in keys if isinstance(keys, list) else []:
        count = int.from_bytes(stream.read(8), "little")
        span = Span(stream.tell(), count * item_bytes.get(str(key), 1))
        if span.offset + span.size_bytes > size_bytes:
            raise damaged(label, "its numbers end too early")
        found[str(key)] = span
        stream.seek(span.size_bytes, 1)
    return found


def _described(reference: Persistent, label: str) -> Storage:
    try:
        return storage_of(reference)
    except ValueError as error:
        raise damaged(label, f"its table of contents has {error}") from None


def _examine_safetensors(path: Path, size_bytes: int, head: bytes) -> CheckpointFile:
    """The header's length comes first and is checked before anything of that size is read."""
    label = shown(path.name)
    header_bytes = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{":
        raise damaged(label, f"it is not a safetensors file but {_other_format(head)}")
    if header_bytes > size_bytes - 8:
        raise damaged(label, f"its header claims {header_bytes:,} bytes and the file has {size_bytes:,}")
    if header_bytes > _MAX_HEADER_BYTES:
        raise CheckpointError(
            f"The header of {label} has {header_bytes / 1e6:.0f} MB; {MAX_TENSORS:,} tensors, the most that are read, "
            "need about 1 MB."
        )
    with path.open("rb") as stream:
        stream.seek(8)
        header = stream.read(header_bytes)
    try:
        # Only to find names that occur twice, which the library lets pass; names and offsets come from the library.
        named = json.loads(header, object_pairs_hook=_unique)
    except _DuplicateNameError as error:
        raise CheckpointError(f"{label} names {shown(error)} twice, so it is not clear which is meant.") from None
    except (ValueError, RecursionError):
        raise damaged(label, "its header is not valid") from None
    check_count(len(named) - ("__metadata__" in named), label)
    return CheckpointFile(path, "safetensors", size_bytes)


class _DuplicateNameError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _DuplicateNameError(name)
        found[name] = value
    return found
