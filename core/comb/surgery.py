"""Removing units for good: tensors are sliced; constants in the graph and attributes of layers follow."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

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
    pruned = found.model.clone(_smaller(found.model.graph_module, reader.tensors, survivors))
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


def _smaller(module: nn.Module, known: Iterable[str], survivors: Survivors) -> dict[int, Tensor]:
    """The tensors that lose something, by the ``id`` of the dense ones."""
    tensors: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
    tensors.update(module.named_buffers(remove_duplicate=False))
    found: dict[int, Tensor] = {}
    for name in known:
        tensor = tensors[name]
        smaller = sliced(tensor.detach(), name, survivors)
        if smaller.shape != tensor.shape:
            is_parameter = isinstance(tensor, nn.Parameter)
            found[id(tensor)] = nn.Parameter(smaller, tensor.requires_grad) if is_parameter else smaller
    return found


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
