"""Removing units for good: tensors are sliced; constants in the graph and attributes of layers follow."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ..models.assembly import place_tensor
from ..models.traced import TracedModel
from .groups import Comb
from .survivors import Removal, Survivors

__all__ = ["Removal", "Survivors", "remove", "sliced"]


def remove(found: Comb, removal: Removal) -> TracedModel:
    """A new model without the units; the one that was combed is not touched.

    Raises:
        PlanError: see ``Survivors``.
    """
    survivors = Survivors(found, removal)
    reader = found.reader
    pruned = found.model.clone()
    _slice_tensors(pruned.graph_module, set(reader.tensors), survivors)
    nodes = {
        old.name: new
        for old, new in zip(found.model.graph_module.graph.nodes, pruned.graph_module.graph.nodes, strict=True)
    }
    for rewrite in reader.rewrites:
        if rewrite.place[0] == "layer":
            layer = pruned.graph_module.get_submodule(rewrite.target)
            _set_attribute(layer, rewrite.place[1:], survivors.count(rewrite.axis))
        else:
            _set_argument(nodes[rewrite.target], rewrite.place, survivors.count(rewrite.axis))
    for constant in reader.constants:
        if not survivors.whole(constant.axis):
            _set_argument(nodes[constant.target], constant.place, constant.value)
    pruned.graph_module.graph.lint()
    pruned.graph_module.recompile()
    return pruned


def sliced(tensor: Tensor, name: str, survivors: Survivors) -> Tensor:
    """What remains of a parameter or buffer, or of a tensor of its shape (an optimizer's state); itself if all does."""
    for dim in range(tensor.ndim):
        kept = survivors.kept(name, dim)
        if kept is not None:
            tensor = tensor.index_select(dim, torch.from_numpy(np.flatnonzero(kept)).to(tensor.device))
    return tensor


def _slice_tensors(module: nn.Module, known: set[str], survivors: Survivors) -> None:
    aliases: dict[int, list[str]] = {}
    tensors: dict[str, Tensor] = {}
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    for name, tensor in named:
        aliases.setdefault(id(tensor), []).append(name)
        tensors[name] = tensor
    for names in aliases.values():
        canonical = next((name for name in names if name in known), None)
        if canonical is None:
            continue
        tensor = tensors[canonical]
        smaller = sliced(tensor.detach(), canonical, survivors)
        if smaller.shape == tensor.shape:
            continue
        value: Tensor = smaller
        if isinstance(tensor, nn.Parameter):
            value = nn.Parameter(smaller, requires_grad=tensor.requires_grad)
        for name in names:
            path, _, leaf = name.rpartition(".")
            persistent = leaf not in module.get_submodule(path)._non_persistent_buffers_set
            place_tensor(module, name, value, persistent=persistent)


def _set_attribute(layer: nn.Module, path: tuple[Any, ...], value: int) -> None:
    name = path[0]
    if not hasattr(layer, name):
        return
    if len(path) == 2:  # one entry of a tuple
        entries = list(getattr(layer, name))
        entries[int(path[1])] = value
        setattr(layer, name, tuple(entries))
    else:
        setattr(layer, name, value)


def _set_argument(node: fx.Node, place: tuple[Any, ...], value: Any) -> None:
    kind, key, *inner = place
    if kind == "args":
        arguments = list(node.args)
        arguments[key] = _replaced(arguments[key], inner, value)
        node.args = tuple(arguments)
    else:
        node.kwargs = {**node.kwargs, key: _replaced(node.kwargs.get(key), inner, value)}


def _replaced(whole: Any, path: Sequence[Any], value: Any) -> Any:
    if not path:
        return value
    head, *rest = path
    if isinstance(whole, slice):
        parts = {"start": whole.start, "stop": whole.stop, "step": whole.step}
        parts[head] = _replaced(parts[head], rest, value)
        return slice(parts["start"], parts["stop"], parts["step"])
    items = list(whole)
    items[head] = _replaced(items[head], rest, value)
    return type(whole)(items) if isinstance(whole, list) else tuple(items)
