"""Weights from files: read by a limited process, never as code; fitted to an architecture, in words.

A checkpoint goes three steps: ``load_checkpoint`` gets a file's tensors by name (core/models/checkpoint_reader.py opens
it, in a process of its own), ``checkpoint_classes`` says what its head was trained for, ``fit_checkpoint`` puts the
tensors into a module or says exactly why they do not fit.
"""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import CheckpointError
from ..progress import SILENT, Progress
from .checkpoint_files import check_count, shown
from .checkpoint_reader import Reading, read_confined
from .unwrapping import without_prefixes

__all__ = ["Checkpoint", "checkpoint_classes", "fit_checkpoint", "head_name", "load_checkpoint", "state_of"]

_HEAD = re.compile(r"(^|\.)(fc|linear|classifier|classif|head|heads|logits|output|last_linear|cls_head)(\.|$)")
_AUXILIARY = re.compile(r"(^|\.)(aux\w*|AuxLogits)(\.|$)")  # heads that exist for training only
_COUNTERS = re.compile(r"(^|\.)(total_ops|total_params|n_averaged|num_batches_tracked)$")  # left by tools, no weights
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, as the architecture would call them, and what was done to get there."""

    state: dict[str, Tensor]
    label: str
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int | None:
        """Number of classes found in the head."""
        return checkpoint_classes(self.state)


def load_checkpoint(path: Path | str, *, progress: Progress = SILENT) -> Checkpoint:
    """Read a ``.pt``/``.pth``/``.th`` state dict or a ``.safetensors`` file; the content decides, not the extension.

    Raises:
        CheckpointError: the file is missing, empty, damaged, too large, or holds code or something else than named
            tensors.
        Cancelled: the person cancelled.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix="espalier-checkpoint-") as folder:
        return state_of(read_confined(path, Path(folder), progress=progress), shown(path.name))


def state_of(reading: Reading, label: str) -> Checkpoint:
    """The tensors of safetensors that were written or found whole by the reader.

    Raises:
        CheckpointError: the header does not describe the content.
    """
    notes = list(reading.notes)
    try:
        with safe_open(reading.weights, framework="pt") as reader:
            stored = list(reader.keys()) if reading.names is None else [str(i) for i in range(len(reading.names))]
            check_count(len(stored), label)
            tensors = [reader.get_tensor(name) for name in stored]
    except (SafetensorError, ValueError, RuntimeError, OSError) as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise CheckpointError(
            f"The checkpoint {label} is damaged or incomplete: its header does not describe its content "
            f"({shown(reason)}). Save or upload it again."
        ) from None
    if not tensors:
        raise CheckpointError(f"The checkpoint {label} holds no tensors.")
    names = without_prefixes(stored, notes) if reading.names is None else list(reading.names)
    return Checkpoint(dict(zip(names, tensors, strict=True)), label, tuple(notes))


def head_name(state: Mapping[str, Tensor]) -> str | None:
    """Name of the weight that makes the class scores: the last one of a usual name, else the last matrix.

    Heads that exist for training only (``aux…``) do not count.
    """
    weights = [name for name, tensor in state.items() if name.endswith("weight") and tensor.ndim in (2, 4)]
    weights = [name for name in weights if not _AUXILIARY.search(name)]
    named = [name for name in weights if _HEAD.search(name)]
    return next(reversed(named or weights), None)


def checkpoint_classes(state: Mapping[str, Tensor]) -> int | None:
    """Number of classes that a state dict was trained for: rows of the head's weight; None when there is no head."""
    name = head_name(state)
    return None if name is None else int(state[name].shape[0])


def fit_checkpoint(module: nn.Module, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Put a checkpoint's tensors into ``module``, in place, all or nothing.

    float64, float16 and bfloat16 become the module's type; anything else must have it already.

    Returns:
        Sentences about what was done: prefixes removed, types converted, tensors ignored, NaN or infinite weights.

    Raises:
        CheckpointError: tensors are missing, not expected, of another shape or of a type that cannot be converted.
    """
    wanted = module.state_dict()
    notes: list[str] = []
    state = _best_names(checkpoint.state, wanted, notes)
    missing = [name for name in wanted if name not in state and not _optional(name, wanted[name])]
    unexpected = [name for name in state if name not in wanted]
    ignored = [name for name in unexpected if _AUXILIARY.search(name) or _COUNTERS.search(name)]
    unexpected = [name for name in unexpected if name not in set(ignored)]
    reshaped = [name for name in wanted if name in state and state[name].shape != wanted[name].shape]
    if missing or unexpected or reshaped:
        raise CheckpointError(_misfit(checkpoint, wanted, state, missing, unexpected, reshaped))
    if ignored:
        notes.append(f"{len(ignored)} tensors that only training needs were ignored, as {shown(ignored[0])}.")
    fitted = _converted({name: state[name] for name in wanted if name in state}, wanted, checkpoint.label, notes)
    _warn_of_nonfinite(fitted, notes)
    module.load_state_dict(fitted, strict=False)
    return tuple(notes)


def _optional(name: str, tensor: Tensor) -> bool:
    """Counters and index tables, which the architecture fills itself."""
    return bool(_COUNTERS.search(name)) or not (tensor.is_floating_point() or tensor.is_complex())


def _best_names(state: dict[str, Tensor], wanted: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Drop a first name part that all tensors share (Lightning's ``model.``) when more names fit without it."""
    first = next(iter(state)).partition(".")[0] + "."
    if sum(name in wanted for name in state) == 0 and all(name.startswith(first) for name in state):
        shorter = {name.removeprefix(first): tensor for name, tensor in state.items()}
        if any(name in wanted for name in shorter):
            notes.append(f"The prefix {shown(first)} was removed from the names.")
            return shorter
    return state


def _misfit(
    checkpoint: Checkpoint,
    wanted: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    missing: list[str],
    unexpected: list[str],
    reshaped: list[str],
) -> str:
    """All that is wrong, five names of each kind, and what to do."""
    parts = []
    if reshaped:
        shapes = [
            f"{shown(name)} {list(state[name].shape)} must be {list(wanted[name].shape)}" for name in reshaped[:5]
        ]
        parts.append(f"{_count(reshaped)} another shape: {'; '.join(shapes)}{_more(reshaped)}")
    if missing:
        parts.append(f"{_count(missing, 'is', 'are')} missing: {_listed(missing)}")
    if unexpected:
        parts.append(f"{_count(unexpected, 'is', 'are')} not expected: {_listed(unexpected)}")
    head = head_name(wanted)
    layer = (head or "").rpartition(".")[0]
    if (
        head
        and reshaped
        and not missing
        and not unexpected
        and all(name.rpartition(".")[0] == layer for name in reshaped)
    ):
        advice = f"Only the head differs: set the number of classes to {state[head].shape[0]}."
    else:
        advice = "Choose the architecture that these weights were trained with."
    return f"The checkpoint {checkpoint.label} does not fit the architecture. {'. '.join(parts)}. {advice}"


def _count(names: list[str], one: str = "has", many: str = "have") -> str:
    return f"1 tensor {one}" if len(names) == 1 else f"{len(names)} tensors {many}"


def _more(names: list[str]) -> str:
    return f"; and {len(names) - 5} more" if len(names) > 5 else ""


def _listed(names: list[str]) -> str:
    return ", ".join(shown(name) for name in names[:5]) + _more(names)


def _converted(
    state: dict[str, Tensor], wanted: Mapping[str, Tensor], label: str, notes: list[str]
) -> dict[str, Tensor]:
    """Tensors in the module's types; only conversions that keep the meaning, each one told."""
    result: dict[str, Tensor] = {}
    told: dict[tuple[torch.dtype, torch.dtype], str] = {}
    for name, tensor in state.items():
        target = wanted[name].dtype
        if tensor.dtype != target:
            if not _convertible(tensor, target):
                raise CheckpointError(
                    f"The tensor {shown(name)} of the checkpoint {label} has the type {_type(tensor.dtype)}; the "
                    f"architecture needs {_type(target)}, and converting would change the weights. "
                    "Save the model in floating point, unquantized."
                )
            told.setdefault((tensor.dtype, target), name)
        result[name] = tensor.to(target)
    notes += [
        f"Weights were converted from {_type(a)} to {_type(b)} ({shown(name)} …)." for (a, b), name in told.items()
    ]
    return result


def _convertible(tensor: Tensor, target: torch.dtype) -> bool:
    if target in _FLOATS:
        return tensor.dtype in _FLOATS
    # Counters: averaged or half-precision checkpoints hold them as floats, others in another integer type.
    integral = not tensor.is_complex() and bool((tensor.to(torch.float64).frac() == 0).all())
    return integral and torch.equal(tensor.to(target).to(tensor.dtype), tensor)


def _type(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _warn_of_nonfinite(state: Mapping[str, Tensor], notes: list[str]) -> None:
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in broken))
    if layers:
        number = "1 layer" if len(layers) == 1 else f"{len(layers)} layers"
        notes.append(f"Warning: NaN or infinite weights in {number}: {_listed(layers)}.")
