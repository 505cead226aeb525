"""Write the tensors of an examined checkpoint as safetensors: the only form in which they leave the limited reader.

Numbers are copied from the file as they are; only tensors that do not lie in order (transposed, channels last, sliced)
are gathered, by NumPy, which is imported when there is one. Knows no torch.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from .checkpoint_files import CheckpointFile, damaged
from .torch_pickle import StoredTensor

__all__ = ["write_safetensors"]

_CHUNK_BYTES = 1 << 24


def write_safetensors(file: CheckpointFile, tensors: Iterable[StoredTensor], target: Path) -> None:
    """Write ``tensors`` under the names ``0``, ``1``, … in their order.

    Names given by people stay outside: they need no place in a second header.

    Raises:
        CheckpointError: the file ends before its tensors do.
        OSError: the target cannot be written.
    """
    tensors = list(tensors)
    header: dict[str, object] = {}
    end = 0
    for index, tensor in enumerate(tensors):
        begin, end = end, end + tensor.size_bytes
        header[str(index)] = {"dtype": tensor.kind, "shape": tensor.shape, "data_offsets": (begin, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format wants its numbers aligned
    with file.path.open("rb") as source, target.open("xb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            _copy(file, tensor, source, out)


def _copy(file: CheckpointFile, tensor: StoredTensor, source: BinaryIO, out: BinaryIO) -> None:
    if tensor.numel == 0:
        return
    source.seek(file.storages[tensor.storage.key].offset + tensor.offset * tensor.item_bytes)
    if not tensor.contiguous:
        out.write(_gathered(tensor, _read(source, tensor.extent * tensor.item_bytes, file)))
        return
    missing = tensor.size_bytes
    while missing:
        chunk = _read(source, min(missing, _CHUNK_BYTES), file)
        out.write(chunk)
        missing -= len(chunk)


def _read(source: BinaryIO, size_bytes: int, file: CheckpointFile) -> bytes:
    data = source.read(size_bytes)
    if len(data) != size_bytes:
        raise damaged(file.label, "its numbers end too early")
    return data


def _gathered(tensor: StoredTensor, data: bytes) -> bytes:
    """The numbers of a window that skips or permutes, in reading order; bits are moved, not interpreted."""
    import numpy as np

    numbers = np.frombuffer(data, dtype=np.dtype((np.void, tensor.item_bytes)))
    strides = [stride * tensor.item_bytes for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers, tensor.shape, strides, writeable=False).tobytes()
