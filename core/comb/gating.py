"""Gates on units in the running network: what a gate of 0 computes is what the network computes without the unit.

A unit's contribution ends where the network sums over its dimension (``Contraction``): a convolution, linear layer or
product. There the input is multiplied by the gates, and a norm that takes statistics over units takes them over the
gated ones. This is the network that ``core.comb.verify`` compares a removal with, made differentiable: nothing is
assumed of activations, biases and norms in between. With all gates at 1 nothing changes; gradients reach every gate.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from .axes import flat, is_free
from .groups import Comb
from .reader import Contraction

__all__ = ["GatedNetwork", "without_gates"]

_FOLDER = "_gates"
_NORMS = (nn.LayerNorm, nn.RMSNorm)


def without_gates(found: Comb) -> dict[str, str]:
    """Groups that cannot be gated exactly, and why: statistics over their units are taken by other than layer norms."""
    reader = found.reader
    blocked: dict[int, str] = {}
    for contraction in reader.contractions:
        if contraction.normed and not _is_norm(found, contraction):
            what = reader.reason(
                contraction.node, "statistics over its units, which gates cannot weigh, are taken here"
            )
            for leaf in np.unique(_leaves(found, contraction)).tolist():
                blocked.setdefault(leaf, what)
    reasons = {}
    for group in found.groups:
        reason = next((blocked[leaf] for leaf in found.leaves[group.name].tolist() if leaf in blocked), None)
        if reason is not None:
            reasons[group.name] = reason
    return reasons


class GatedNetwork:
    """Puts gates into the graph of ``found.model`` until ``remove`` is called.

    Attributes:
        values: ``[1 + units of all gated groups]``, the gates; place 0 stands for everything that is always there, and
            is 1. Set it before each forward; gradients flow into it.
        starts: place of the first unit of each gated group.

    Args:
        found: the groups of the model that runs. Its graph is edited in place; weights and their names stay.
        names: the groups to gate, none of ``without_gates``.
    """

    def __init__(self, found: Comb, names: list[str]) -> None:
        self._module = found.model.graph_module
        self._plain = self._module.graph
        sizes = [len(found.leaves[name]) for name in names]
        self.starts = dict(zip(names, np.cumsum([1, *sizes])[:-1].tolist(), strict=True))
        self._numbers = np.zeros(len(found.reader.variables), dtype=np.int64)
        for name, size in zip(names, sizes, strict=True):
            self._numbers[found.leaves[name]] = self.starts[name] + np.arange(size)
        self.values = torch.ones(1 + sum(sizes), device=found.model.device)
        self._edit(found)

    def remove(self) -> None:
        """Take the gates out: the graph is, object for object, what it was before."""
        self._module.graph = self._plain
        delattr(self._module, _FOLDER)

    def _edit(self, found: Comb) -> None:
        graph = fx.Graph()
        twins: dict[fx.Node, fx.Node] = {}
        graph.output(graph.graph_copy(self._plain, twins))
        layers = nn.ModuleList()
        self._module.add_module(_FOLDER, layers)
        known: dict[tuple[fx.Node, int, bytes], fx.Node] = {}
        norms: dict[fx.Node, list[tuple[int, Tensor]]] = defaultdict(list)

        def call(layer: nn.Module, x: fx.Node, before: fx.Node) -> fx.Node:
            layers.append(layer)
            with graph.inserting_before(before):
                return graph.call_module(f"{_FOLDER}.{len(layers) - 1}", (x,))

        for contraction in found.reader.contractions:
            places = self._numbers[_leaves(found, contraction)]
            if not places.any():
                continue
            index, node = torch.from_numpy(places).to(found.model.device), twins[contraction.node]
            if contraction.normed:
                norms[node].append((contraction.dim, index))
                continue
            _, position = contraction.place
            x: Any = node.args[position]
            key = (x, contraction.dim, places.tobytes())
            if key not in known:
                known[key] = call(_Gate(self, contraction.dim, index), x, node)
            node.update_arg(position, known[key])
        for node, dims in norms.items():
            norm = call(_GatedNorm(self, self._module.get_submodule(str(node.target)), dims), node.args[0], node)  # type: ignore[arg-type]
            node.replace_all_uses_with(norm)
            graph.erase_node(node)
        graph.lint()
        self._module.graph = graph


class _Gate(nn.Module):
    """Multiplies a dimension by its gates; an index of several units (a head and its width) by all of theirs."""

    def __init__(self, network: GatedNetwork, dim: int, index: Tensor) -> None:
        super().__init__()
        self._network, self._dim, self._index = network, dim, index

    def forward(self, x: Tensor) -> Tensor:
        return x * _along(self._network, self._index, self._dim, x)


class _GatedNorm(nn.Module):
    """A layer norm or RMS norm that takes its statistics over open gates."""

    def __init__(self, network: GatedNetwork, norm: nn.Module, dims: list[tuple[int, Tensor]]) -> None:
        super().__init__()
        self._network, self._dims = network, dims
        self._norm = (norm,)  # in a tuple: its parameters stay where they are

    def forward(self, x: Tensor) -> Tensor:
        norm: Any = self._norm[0]
        x = x.float()  # as autocast does with norms
        over = tuple(range(x.ndim - len(norm.normalized_shape), x.ndim))
        gates = x.new_ones(())
        for dim, index in self._dims:
            gates = gates * _along(self._network, index, dim, x)
        gates = gates.expand([x.shape[dim] if dim in over else 1 for dim in range(x.ndim)])
        count = gates.sum(over, keepdim=True)
        if isinstance(norm, nn.LayerNorm):
            x = x - (x * gates).sum(over, keepdim=True) / count
        eps = torch.finfo(x.dtype).eps if norm.eps is None else norm.eps
        x = x * torch.rsqrt((x.square() * gates).sum(over, keepdim=True) / count + eps)
        if norm.weight is not None:
            x = x * norm.weight
        bias = getattr(norm, "bias", None)
        return x if bias is None else x + bias


def _along(network: GatedNetwork, index: Tensor, dim: int, x: Tensor) -> Tensor:
    """The gates of a dimension of ``x``, ready to be multiplied with it."""
    first, *others = index
    gates = network.values[first]
    for row in others:
        gates = gates * network.values[row]
    return gates.to(x.dtype).reshape([-1 if d == dim else 1 for d in range(x.ndim)])


def _leaves(found: Comb, contraction: Contraction) -> np.ndarray:
    """``[k, size]``: the variables that remove each index of the dimension."""
    variables = found.reader.variables
    return variables.leaves(flat(contraction.axis, variables)) if is_free(contraction.axis) else np.zeros((1, 0), int)


def _is_norm(found: Comb, contraction: Contraction) -> bool:
    node = contraction.node
    return node.op == "call_module" and isinstance(found.reader.layer(node), _NORMS)
