"""True bytes of true files: what a variant weighs on disk, dense and compressed.

Weights stay fp32 and exact. Unstructured zeros save nothing in a dense file, some bytes in a zipped one, and more in a
file that knows of zeros: all three are written and measured, so that the comparison is fair.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import zstandard
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import ExportError
from ..pruning.patterns import Pattern, fulfils
from .sparse_file import DTYPE_BYTES, LEVEL, RawTensor, read_sparse, write_sparse

if TYPE_CHECKING:
    from ..models.traced import TracedModel

__all__ = ["file_sizes", "load_sparse", "save_sparse", "save_state"]

_DTYPES = {name: getattr(torch, name) for name in DTYPE_BYTES}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
# numpy has no bfloat16 and torch few unsigned types: integers of the same width carry the bit patterns between them
_CARRIERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _unique(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors as contiguous CPU copies with each shared one once, and the other names that share it."""
    seen: dict[tuple[object, ...], str] = {}
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), str(tensor.device))
        if tensor.numel() and key in seen:
            aliases[name] = seen[key]
            continue
        seen[key] = name
        tensors[name] = tensor.detach().cpu().contiguous()
    return tensors, aliases


def _raw(name: str, tensor: Tensor) -> RawTensor:
    if tensor.dtype not in _NAMES:
        raise ExportError(f"Weights must be real numbers or integers; “{name}” is {tensor.dtype}. Convert it first.")
    words = tensor.reshape(-1).view(_CARRIERS[tensor.element_size()]).numpy()
    return RawTensor(_NAMES[tensor.dtype], tuple(tensor.shape), words.view(f"<u{tensor.element_size()}"))


def save_sparse(model: "TracedModel | nn.Module", path: Path | str) -> int:
    """Write all parameters and buffers of ``model`` to one compressed file; returns its size in bytes.

    The file holds weights only, bit for bit; its layout is described in ``core/export/sparse_file.py``.

    Raises:
        ExportError: for tensors that are no real numbers (complex, quantised).
    """
    return save_state(model.state_dict(), path)


def save_state(state: Mapping[str, Tensor], path: Path | str) -> int:
    """As ``save_sparse``, for tensors by name."""
    tensors, aliases = _unique(state)
    return write_sparse(Path(path), {name: _raw(name, tensor) for name, tensor in tensors.items()}, aliases=aliases)


def load_sparse(path: Path | str, *, max_bytes: int = 4 << 30) -> dict[str, Tensor]:
    """The state dict of a file written by ``save_sparse``, exact; safe to call on files of strangers.

    Raises:
        CheckpointError: when the file is empty, damaged, hostile, made by a newer version, or needs over ``max_bytes``.
    """
    raw, aliases = read_sparse(Path(path), max_bytes=max_bytes)
    state = {}
    for name, tensor in raw.items():
        carrier = _CARRIERS[tensor.words.itemsize]
        words = torch.from_numpy(tensor.words.view(f"<i{tensor.words.itemsize}")).to(carrier)
        state[name] = words.view(_DTYPES[tensor.dtype]).reshape(tensor.shape)
    return state | {name: state[other] for name, other in aliases.items()}


def file_sizes(model: "TracedModel | nn.Module") -> dict[str, int]:
    """Bytes of real files of this model's weights, and what is in them.

    Returns:
        ``dense_bytes`` (safetensors), ``dense_zstd_bytes`` (the same file through zstd), ``sparse_bytes`` (the file of
        ``save_sparse``, same zstd level), ``parameters`` and ``nonzero`` (each shared parameter counted once),
        ``pattern_layers`` (weights whose zeros fulfil 2:4) and ``pattern_bytes``: the dense file with half the values
        of these and a 2-bit index for each, which is how sparse tensor cores hold them (counted, no file).

    Raises:
        ExportError: for tensors that are no real numbers.
    """
    tensors, _ = _unique(model.state_dict())
    with tempfile.TemporaryDirectory(prefix="espalier-sizes-") as folder:
        dense, sparse = Path(folder) / "dense.safetensors", Path(folder) / "weights.sparse"
        sparse_bytes = save_sparse(model, sparse)
        save_file(tensors, dense)
        content = dense.read_bytes()
    patterned = [tensor for tensor in tensors.values() if _fulfils_2_4(tensor)]
    spared = sum(tensor.numel() * tensor.element_size() // 2 - tensor.numel() // 8 for tensor in patterned)
    parameters = list({id(parameter): parameter for _, parameter in model.named_parameters()}.values())
    return {
        "dense_bytes": len(content),
        "dense_zstd_bytes": len(zstandard.ZstdCompressor(level=LEVEL).compress(content)),
        "sparse_bytes": sparse_bytes,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "nonzero": sum(int(torch.count_nonzero(parameter.detach())) for parameter in parameters),
        "pattern_layers": len(patterned),
        "pattern_bytes": len(content) - spared,
    }


def _fulfils_2_4(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.ndim > 1 and fulfils(Pattern(2, 4), (tensor != 0).numpy())
