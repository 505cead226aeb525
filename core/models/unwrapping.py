"""From what a checkpoint file holds to its tensors by name: wrappers and prefixes removed, everything checked.

Works on descriptions (``StoredTensor``), so that nothing is allocated for what a file only claims. Knows no torch.
"""

from collections.abc import Mapping
from typing import Any

from ..errors import CheckpointError
from .checkpoint_files import CheckpointFile, check_count, damaged, shown
from .pickle_reader import kind_of
from .torch_pickle import StoredTensor, is_inert, is_tensor, stored_tensor

__all__ = ["tensors_of", "without_prefixes"]

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
_SLACK_BYTES = 2**24


def tensors_of(file: CheckpointFile, notes: list[str]) -> dict[str, StoredTensor]:
    """The tensors of a pickled checkpoint under their names as saved; ``notes`` get what was unwrapped.

    Raises:
        CheckpointError: the file holds code, a whole model, or something else than dense tensors by name.
    """
    _check_names(file)
    content = _unwrapped(file.content, file.label, notes)
    check_count(len(content), file.label)
    strange = [key for key, value in content.items() if not isinstance(key, str) or not is_tensor(value)]
    if strange:
        listed = ", ".join(f"{shown(_key(key))} ({_kind(content[key])})" for key in strange[:5])
        raise CheckpointError(
            f"The checkpoint {file.label} must hold tensors by name; {len(strange)} of its {len(content)} entries are "
            f"something else: {listed}. {_RECIPE}"
        )
    tensors: dict[str, StoredTensor] = {}
    total_bytes = 0
    for name, value in content.items():
        tensors[name] = tensor = _checked(name, value, file)
        total_bytes += tensor.size_bytes
        if tensor.size_bytes > tensor.storage.size_bytes or total_bytes > 4 * file.size_bytes + _SLACK_BYTES:
            raise CheckpointError(
                f"The tensor {shown(name)} of {file.label} claims {_size(tensor.size_bytes)} that are not in the file "
                f"({_size(file.size_bytes)}): it repeats a few numbers. Save it with tensor.contiguous()."
            )
    return tensors


def without_prefixes(names: list[str], notes: list[str]) -> list[str]:
    """Names without what DataParallel (``module.``) and torch.compile (``_orig_mod.``) put in front of them."""
    for prefix, origin in (("_orig_mod.", "torch.compile"), ("module.", "DataParallel"), ("_orig_mod.", "")):
        if prefix == "_orig_mod." and any(prefix in name for name in names):
            renamed = [name.replace(prefix, "") for name in names]
        elif all(name.startswith(prefix) for name in names):
            renamed = [name.removeprefix(prefix) for name in names]
        else:
            continue
        if len(set(renamed)) == len(names):
            names = renamed
            notes.append(f"The prefix “{prefix}” ({origin}) was removed from the names.")
    return names


def _check_names(file: CheckpointFile) -> None:
    """Nothing in the file is ever run; a file that asks for it is refused all the same."""
    if any(name.startswith("torch.nn.modules.") for name in file.names):
        raise CheckpointError(
            f"The checkpoint {file.label} holds a whole pickled model, which is code and is never run here. {_RECIPE}"
        )
    code = [name for name in file.names if not is_inert(name)]
    if code:
        names = ", ".join(shown(name) for name in code[:3])
        raise CheckpointError(
            f"The checkpoint {file.label} contains code or Python objects ({names}) and was not loaded. {_RECIPE}"
        )


def _unwrapped(content: Any, label: str, notes: list[str]) -> Mapping[Any, Any]:
    """Descend through ``{"state_dict": …}`` and the like; at most four levels."""
    for _ in range(4):
        if not isinstance(content, Mapping):
            break
        inner = next((key for key in _WRAPPERS if isinstance(content.get(key), Mapping) and content[key]), None)
        if inner is None:
            break
        others = [shown(_key(key)) for key in content if key != inner]
        beside = f"; {', '.join(others[:4])}{' …' if len(others) > 4 else ''} beside it were not used" if others else ""
        notes.append(f"The weights were taken from {shown(inner)} inside the file{beside}.")
        content = content[inner]
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"The checkpoint {label} must hold tensors by name; it holds a {_kind(content)}. {_RECIPE}"
        )
    if not content:
        raise CheckpointError(f"The checkpoint {label} holds no tensors. {_RECIPE}")
    return content


def _checked(name: str, value: Any, file: CheckpointFile) -> StoredTensor:
    """The description of a dense tensor whose numbers are in the file."""
    try:
        tensor = stored_tensor(value)
    except (ValueError, TypeError, IndexError):
        raise damaged(file.label, f"its tensor {shown(name)} is not described in full") from None
    if isinstance(tensor, str):
        raise CheckpointError(f"The tensor {shown(name)} of {file.label} {tensor}.")
    span = file.storages.get(tensor.storage.key)
    if span is None or span.size_bytes < tensor.storage.size_bytes:
        raise damaged(file.label, f"the numbers of the tensor {shown(name)} are missing")
    if (tensor.offset + tensor.extent) * tensor.item_bytes > tensor.storage.size_bytes:
        raise damaged(file.label, f"the tensor {shown(name)} reaches beyond its numbers")
    return tensor


def _key(key: Any) -> str:
    """A dictionary key for a message; nested ones, which may unfold without end, by their kind."""
    return str(key) if isinstance(key, str | int | float | bytes) else kind_of(key)


def _kind(value: Any) -> str:
    return "Tensor" if is_tensor(value) else kind_of(value)


def _size(size_bytes: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.3g} {unit}"
    return f"{size_bytes} bytes"
