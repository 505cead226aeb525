"""Weights from files: ``weights_only=True`` or safetensors, never code; unwrapped, checked and fitted, in words.

A checkpoint goes three steps: ``load_checkpoint`` reads a file into tensors by name, ``checkpoint_classes`` says what
its head was trained for, ``fit_checkpoint`` puts the tensors into a module or says exactly why they do not fit.
"""

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import CheckpointError
from .checkpoint_files import MAX_TENSORS, CheckpointFile, examine, shown

__all__ = ["Checkpoint", "checkpoint_classes", "fit_checkpoint", "head_name", "load_checkpoint"]

_RECIPE = "Save only the weights: torch.save(model.state_dict(), 'weights.pt')."
_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "net_state_dict",
    "model_state",
    "module",
    "params",
    "weights",
    "state_dict_ema",
    "model_ema",
    "ema",
)
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


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a ``.pt``/``.pth``/``.th`` state dict or a ``.safetensors`` file; the content decides, not the extension.

    Raises:
        CheckpointError: the file is missing, empty, damaged, holds code or something else than named tensors.
    """
    file = examine(Path(path))
    notes = list(file.notes)
    content = _read_safetensors(file) if file.kind == "safetensors" else _read_torch(file)
    state = _checked(_unwrapped(content, file.label, notes), file)
    return Checkpoint(_without_prefixes(state, notes), file.label, tuple(notes))


def _read_torch(file: CheckpointFile) -> Any:
    if any(name.startswith("torch.nn.modules.") for name in file.names):
        raise CheckpointError(
            f"The checkpoint {file.label} holds a whole pickled model, which is code and is never run here. {_RECIPE}"
        )
    try:
        # An open file, because torch would judge a path by its extension.
        with warnings.catch_warnings(), file.path.open("rb") as stream:
            warnings.simplefilter("ignore", UserWarning)  # on sparse and quantized tensors, which are refused below
            return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = [name for name in file.names if not name.startswith(("torch.", "collections.", "_codecs."))]
        if not code:
            raise _damaged(file) from error
        names = ", ".join(shown(name) for name in code[:3])
        raise CheckpointError(
            f"The checkpoint {file.label} contains code or Python objects ({names}) and was not loaded. {_RECIPE}"
        ) from None
    except MemoryError:
        raise CheckpointError(f"Not enough memory to load the checkpoint {file.label}.") from None
    except Exception as error:  # torch raises nearly anything on damaged files: OSError, RuntimeError, KeyError, …
        raise _damaged(file) from error


def _read_safetensors(file: CheckpointFile) -> dict[str, Tensor]:
    try:
        with safe_open(file.path, framework="pt") as reader:
            names = list(reader.keys())
            _check_count(len(names), file)
            return {name: reader.get_tensor(name) for name in names}
    except (SafetensorError, ValueError, RuntimeError, OSError) as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise CheckpointError(
            f"The checkpoint {file.label} is damaged or incomplete: its header does not describe its content "
            f"({shown(reason)}). Save or upload it again."
        ) from None


def _damaged(file: CheckpointFile) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint {file.label} is damaged or incomplete: PyTorch cannot read it to the end. "
        "Save or upload it again."
    )


def _check_count(count: int, file: CheckpointFile) -> None:
    if count > MAX_TENSORS:
        raise CheckpointError(f"The checkpoint {file.label} holds {count:,} tensors; at most {MAX_TENSORS:,} are read.")


def _unwrapped(content: Any, label: str, notes: list[str]) -> Mapping[Any, Any]:
    """Descend through ``{"state_dict": …}`` and the like; at most four levels."""
    for _ in range(4):
        if not isinstance(content, Mapping):
            break
        inner = next((key for key in _WRAPPERS if isinstance(content.get(key), Mapping) and content[key]), None)
        if inner is None:
            break
        others = [shown(key) for key in content if key != inner]
        beside = f"; {', '.join(others[:4])}{' …' if len(others) > 4 else ''} beside it were not used" if others else ""
        notes.append(f"The weights were taken from {shown(inner)} inside the file{beside}.")
        content = content[inner]
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"The checkpoint {label} must hold tensors by name; it holds a {type(content).__name__}. {_RECIPE}"
        )
    if not content:
        raise CheckpointError(f"The checkpoint {label} holds no tensors. {_RECIPE}")
    return content


def _checked(content: Mapping[Any, Any], file: CheckpointFile) -> dict[str, Tensor]:
    """Names must be strings and values dense tensors no larger than what the file holds for them."""
    _check_count(len(content), file)
    strange = [key for key, value in content.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if strange:
        listed = ", ".join(f"{shown(key)} ({type(content[key]).__name__})" for key in strange[:5])
        raise CheckpointError(
            f"The checkpoint {file.label} must hold tensors by name; {len(strange)} of its {len(content)} entries are "
            f"something else: {listed}. {_RECIPE}"
        )
    total_bytes = 0
    for name, tensor in content.items():
        _check_kind(name, tensor, file)
        claimed_bytes = tensor.numel() * tensor.element_size()
        total_bytes += claimed_bytes
        if claimed_bytes > tensor.untyped_storage().nbytes() or total_bytes > 4 * file.size_bytes + 2**24:
            raise CheckpointError(
                f"The tensor {shown(name)} of {file.label} claims {_size(claimed_bytes)} that are not in the file "
                f"({_size(file.size_bytes)}): it repeats a few numbers. Save it with tensor.contiguous()."
            )
    return {name: tensor.detach() for name, tensor in content.items()}


def _check_kind(name: str, tensor: Tensor, file: CheckpointFile) -> None:
    if tensor.is_meta:
        problem = "has no values (it lies on the meta device); materialise the model before saving it"
    elif tensor.is_quantized:
        problem = "is quantized; save the model before quantization"
    elif tensor.layout is not torch.strided:
        problem = "is sparse; save it with tensor.to_dense()"
    else:
        return
    raise CheckpointError(f"The tensor {shown(name)} of {file.label} {problem}.")


def _size(size_bytes: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.3g} {unit}"
    return f"{size_bytes} bytes"


def _without_prefixes(state: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Names without what DataParallel (``module.``) and torch.compile (``_orig_mod.``) put in front of them."""
    for prefix, origin in (("_orig_mod.", "torch.compile"), ("module.", "DataParallel"), ("_orig_mod.", "")):
        if prefix == "_orig_mod." and any(prefix in name for name in state):
            renamed = {name.replace(prefix, ""): tensor for name, tensor in state.items()}
        elif all(name.startswith(prefix) for name in state):
            renamed = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        else:
            continue
        if len(renamed) == len(state):
            state = renamed
            notes.append(f"The prefix “{prefix}” ({origin}) was removed from the names.")
    return state


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
