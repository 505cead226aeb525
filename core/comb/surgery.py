"""Removing units for good: tensors are sliced; constants in the graph and attributes of layers follow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ..errors import PlanError
from ..models.assembly import place_tensor
from ..models.traced import TracedModel
from .axes import Axis, flat, is_free
from .groups import Comb

__all__ = ["Removal", "Survivors", "remove"]

Removal = Mapping[str, Sequence[int]]
"""Group name → units to remove. JSON-serialisable: together with the dense model it describes the pruned one."""


class Survivors:
    """Which indices remain after a removal.

    Raises:
        PlanError: for an unknown group, a unit out of range, or a group of which nothing would remain.
    """

    def __init__(self, found: Comb, removal: Removal) -> None:
        self._variables = found.reader.variables
        self._removed: set[int] = set()
        self._gone: dict[int, bool] = {}
        names = {group.name: group for group in found.groups}
        for name, units in removal.items():
            if name not in names:
                known = ", ".join(list(names)[:5])
                raise PlanError(f"There is no group “{name}” in this model; its groups are {known}, ….")
            group = names[name]
            wrong = [unit for unit in units if not 0 <= unit < group.units]
            if wrong:
                raise PlanError(f"Group “{name}” has units 0 to {group.units - 1}; got {wrong[0]}.")
            if len(set(units)) >= group.units:
                raise PlanError(f"At least one of the {group.units} units of “{name}” must stay; keep one or more.")
            self._removed.update(found.leaves[name][list(set(units))].tolist())

    def keep(self, axis: Axis) -> np.ndarray:
        """``bool [size]``: which indices of the axis remain."""
        values = flat(axis, self._variables)
        return np.fromiter((not self._is_gone(v) for v in values.tolist()), dtype=bool, count=len(values))

    def count(self, axis: Axis) -> int:
        """Number of remaining indices; dimensions stay rectangular, so it is a product over factors."""
        total = 1
        for factor in axis:
            if factor.variables is None:
                total *= factor.size
            else:
                total *= sum(not self._is_gone(v) for v in factor.variables.tolist())
        return total

    def _is_gone(self, variable: int) -> bool:
        known = self._gone.get(variable)
        if known is None:
            known = any(leaf in self._removed for leaf in self._variables.leaves(variable))
            self._gone[variable] = known
        return known


def remove(found: Comb, removal: Removal) -> TracedModel:
    """A new model without the units; the one that was combed is not touched.

    Raises:
        PlanError: see ``Survivors``.
    """
    survivors = Survivors(found, removal)
    reader = found.reader
    pruned = found.model.clone()
    _slice_tensors(pruned.graph_module, reader.tensors, survivors)
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
    for target, place, value, axis in reader.constants:
        if not survivors.keep(axis).all():
            _set_argument(nodes[target], place, value)
    pruned.graph_module.graph.lint()
    pruned.graph_module.recompile()
    return pruned


def _slice_tensors(module: nn.Module, axes: Mapping[str, list[Axis | None]], survivors: Survivors) -> None:
    aliases: dict[int, list[str]] = {}
    tensors: dict[str, Tensor] = {}
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    for name, tensor in named:
        aliases.setdefault(id(tensor), []).append(name)
        tensors[name] = tensor
    for names in aliases.values():
        known = next((name for name in names if name in axes), None)
        if known is None:
            continue
        tensor = tensors[known]
        smaller = tensor.detach()
        for dim, axis in enumerate(axes[known]):
            if axis is not None and is_free(axis):
                kept = survivors.keep(axis)
                if not kept.all():
                    smaller = smaller.index_select(dim, torch.from_numpy(np.flatnonzero(kept)).to(tensor.device))
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
