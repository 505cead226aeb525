"""A small file format for sparse weights: exact, compressed, and safe to read from strangers.

Layout (little endian)::

    8 bytes   magic  b"ESPALIER"
    4 bytes   length of the header (uint32)
    header    JSON: {"version": 1, "payload_bytes": int, "tensors": [...], "aliases": {name: name}}
    rest      one zstd frame (with checksum) holding the concatenated encodings of all tensors

Each entry of ``tensors`` is ``{"name", "dtype", "shape", "encoding", "nonzero", "bytes"}``; the encoding, whichever
compresses best, is one of

* ``dense``: all values;
* ``bitmask``: one bit per value (big-endian within a byte), then the values whose bit pattern is not zero;
* ``gaps``: one byte per value: how many zeros precede it; byte 255 means "255 zeros, no value yet"; then the values.

Values are stored as byte planes (all first bytes, then all second bytes, …): exponents compress, mantissas do not, and
apart the file is 10 % smaller than mixed. Bit patterns decide, not numbers: −0.0 counts as a value, so that every
weight comes back bit for bit. No torch here.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zstandard

from ..errors import CheckpointError

__all__ = ["RawTensor", "decode", "encode", "read_sparse", "write_sparse"]

MAGIC = b"ESPALIER"
VERSION = 1
LEVEL = 7
MAX_HEADER_BYTES = 32 << 20
MAX_TENSORS = 10_000
MAX_DIMENSIONS = 8
DTYPE_BYTES = {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2, "int16": 2}
DTYPE_BYTES |= {"int8": 1, "uint8": 1, "bool": 1}
ESCAPE = 255


@dataclass(frozen=True)
class RawTensor:
    """A tensor as bit patterns: ``words`` is a flat array of unsigned integers as wide as the dtype."""

    dtype: str
    shape: tuple[int, ...]
    words: np.ndarray


def _word_type(dtype: str) -> np.dtype[Any]:
    return np.dtype(f"<u{DTYPE_BYTES[dtype]}")


def _planes(words: np.ndarray) -> bytes:
    return words.view(np.uint8).reshape(-1, words.itemsize).T.tobytes()


def _words(planes: memoryview, word: np.dtype[Any]) -> np.ndarray:
    return np.frombuffer(planes, np.uint8).reshape(word.itemsize, -1).T.copy().view(word).reshape(-1)


def _gaps(kept: np.ndarray) -> bytes:
    """Bytes that say how many zeros precede each kept index; ``kept`` is sorted."""
    gaps = np.diff(kept, prepend=-1) - 1
    escapes, rest = np.divmod(gaps, ESCAPE)
    lengths = escapes + 1
    stream = np.full(int(lengths.sum()), ESCAPE, np.uint8)
    stream[np.cumsum(lengths) - 1] = rest
    return stream.tobytes()


def encode(tensor: RawTensor) -> tuple[str, int, bytes]:
    """Encoding, number of values kept and bytes of one tensor, in the encoding that compresses best."""
    kept = np.flatnonzero(tensor.words)
    values = _planes(tensor.words[kept])
    # the values are the same in both, so only the places are compressed to find the better one
    places = {"bitmask": np.packbits(tensor.words != 0).tobytes(), "gaps": _gaps(kept)}
    compress = zstandard.ZstdCompressor(level=3).compress
    sizes = {encoding: len(compress(data)) for encoding, data in places.items()}
    best = min(sizes, key=sizes.__getitem__)
    if sizes[best] + len(values) >= tensor.words.nbytes:
        return "dense", int(kept.size), _planes(tensor.words)
    return best, int(kept.size), places[best] + values


def write_sparse(path: Path, tensors: Mapping[str, RawTensor], *, aliases: Mapping[str, str] | None = None) -> int:
    """Write tensors (and names that share another's values) to ``path``; returns the file's size in bytes."""
    entries, blobs = [], []
    for name, tensor in tensors.items():
        encoding, nonzero, data = encode(tensor)
        entries.append(
            {"name": name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
            | {"encoding": encoding, "nonzero": nonzero, "bytes": len(data)}
        )
        blobs.append(data)
    payload = b"".join(blobs)
    header = {"version": VERSION, "payload_bytes": len(payload), "tensors": entries, "aliases": dict(aliases or {})}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    frame = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(payload)
    content = MAGIC + len(text).to_bytes(4, "little") + text + frame
    path.write_bytes(content)
    return len(content)


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"“{path.name}” cannot be read as a sparse weights file: {why}. Export it again.")


class _Entry(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]
    encoding: str
    nonzero: int
    length: int


def _check_entry(path: Path, entry: Any) -> _Entry:
    """One header entry, with every type, range and product checked before anything is allocated."""
    if not isinstance(entry, dict):
        raise _damaged(path, "a tensor's description is not an object")
    name, dtype, encoding, shape = (entry.get(key) for key in ("name", "dtype", "encoding", "shape"))
    nonzero: Any = entry.get("nonzero")
    length: Any = entry.get("bytes")
    if not isinstance(name, str) or not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise _damaged(path, "a tensor has no name or an unknown type")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(_is_count(n) for n in shape):
        raise _damaged(path, "a tensor's shape is not a short list of counts")
    if not _is_count(nonzero) or not _is_count(length) or nonzero > math.prod(shape):
        raise _damaged(path, "a tensor's lengths are not counts, or more values are kept than its shape holds")
    if encoding not in ("dense", "bitmask", "gaps"):
        raise _damaged(path, f"the encoding “{str(encoding)[:20]}” is not known")
    return _Entry(name, dtype, tuple(shape), encoding, nonzero, length)


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**48


def decode(encoding: str, dtype: str, shape: tuple[int, ...], nonzero: int, data: memoryview) -> RawTensor:
    """The tensor that ``encode`` was given.

    Raises:
        ValueError: when the bytes do not fit the shape and the number of kept values.
    """
    word = _word_type(dtype)
    size = math.prod(shape)
    if encoding == "dense":
        if len(data) != size * word.itemsize:
            raise ValueError("the dense values have the wrong length")
        return RawTensor(dtype, shape, _words(data, word))
    split = len(data) - nonzero * word.itemsize
    if split < 0:
        raise ValueError("kept values are missing")
    places = np.frombuffer(data[:split], np.uint8)
    if encoding == "bitmask":
        if places.size != (size + 7) // 8:
            raise ValueError("the bitmask has the wrong length")
        bits = np.unpackbits(places)
        if bits[size:].any():
            raise ValueError("the bitmask points outside the tensor")
        kept = np.flatnonzero(bits[:size])
    else:
        is_value = places != ESCAPE
        kept = (np.cumsum(np.where(is_value, places.astype(np.int64) + 1, ESCAPE)) - 1)[is_value]
        if kept.size and kept[-1] >= size:
            raise ValueError("a position points outside the tensor")
    if kept.size != nonzero:
        raise ValueError("positions and values differ in number")
    words = np.zeros(size, word)
    words[kept] = _words(data[split:], word)
    return RawTensor(dtype, shape, words)


def read_sparse(path: Path, *, max_bytes: int = 4 << 30) -> tuple[dict[str, RawTensor], dict[str, str]]:
    """Tensors and aliases of a file written by ``write_sparse``; at most ``max_bytes`` are ever allocated for tensors.

    Raises:
        CheckpointError: when the file is empty, damaged, hostile, too large, or made by a newer version.
    """
    if path.stat().st_size > max_bytes + MAX_HEADER_BYTES:
        raise _damaged(path, f"it is larger than the allowed {max_bytes:,} bytes")
    content = path.read_bytes()
    if not content:
        raise _damaged(path, "the file is empty")
    start = len(MAGIC) + 4
    if len(content) < start or content[: len(MAGIC)] != MAGIC:
        raise _damaged(path, "it does not begin like one")
    header_bytes = int.from_bytes(content[len(MAGIC) : start], "little")
    if header_bytes > min(MAX_HEADER_BYTES, len(content) - start):
        raise _damaged(path, "its header is longer than the file allows")
    try:
        header = json.loads(content[start : start + header_bytes])
    except (ValueError, RecursionError):
        raise _damaged(path, "its header is not JSON") from None
    if not isinstance(header, dict) or not isinstance(header.get("tensors"), list):
        raise _damaged(path, "its header lists no tensors")
    if header.get("version") != VERSION:
        found = str(header.get("version"))[:20]
        raise CheckpointError(f"“{path.name}” has format version {found}; this Espalier reads version {VERSION}.")
    return _read_tensors(path, header, memoryview(content)[start + header_bytes :], max_bytes)


def _read_tensors(
    path: Path, header: dict[str, Any], frame: memoryview, max_bytes: int
) -> tuple[dict[str, RawTensor], dict[str, str]]:
    if len(header["tensors"]) > MAX_TENSORS:
        raise _damaged(path, f"it lists more than {MAX_TENSORS:,} tensors")
    entries = [_check_entry(path, entry) for entry in header["tensors"]]
    needed = sum(DTYPE_BYTES[entry.dtype] * math.prod(entry.shape) for entry in entries)
    payload_bytes = sum(entry.length for entry in entries)
    claimed = max(needed, payload_bytes)
    if claimed > max_bytes:
        raise _damaged(path, f"its tensors need {claimed:,} bytes, more than the allowed {max_bytes:,}")
    if len({entry.name for entry in entries}) != len(entries):
        raise _damaged(path, "two tensors have the same name")
    try:
        # the frame's own claim is checked first: zstandard allocates what the frame claims
        if zstandard.frame_content_size(frame) != payload_bytes or header.get("payload_bytes") != payload_bytes:
            raise _damaged(path, "its payload has another length than its header says")
        payload = memoryview(zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False))
    except zstandard.ZstdError:
        raise _damaged(path, "its payload is damaged") from None
    tensors: dict[str, RawTensor] = {}
    offset = 0
    for name, dtype, shape, encoding, nonzero, length in entries:
        try:
            tensors[name] = decode(encoding, dtype, shape, nonzero, payload[offset : offset + length])
        except ValueError as problem:
            raise _damaged(path, f"tensor “{name[:80]}”: {problem}") from None
        offset += length
    aliases = header.get("aliases", {})
    named = isinstance(aliases, dict) and all(isinstance(other, str) for other in aliases.values())
    if not named or any(other not in tensors or name in tensors for name, other in aliases.items()):
        raise _damaged(path, "a shared name points nowhere")
    return tensors, aliases
