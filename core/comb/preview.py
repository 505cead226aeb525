"""What a removal leaves, counted without touching a tensor: parameters, MACs and shapes in milliseconds.

The counts equal those of ``core.analysis.cost`` on the pruned model exactly: the same products are counted over the
surviving indices of the same dimensions.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import fx, nn

from ..models.tracer import BATCH
from ..models.vocabulary import arguments, name_of
from .axes import Axis, length
from .groups import Comb
from .reader import Dims
from .survivors import Removal

__all__ = ["Preview", "Previewer", "preview"]

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_MULTIPLY = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.Bilinear, *_TRANSPOSED)


@dataclass(frozen=True)
class Preview:
    """What would remain: parameters (shared ones once), MACs of one example, and each layer's weight and MACs."""

    parameters: int
    macs: int
    weight_shapes: dict[str, tuple[int, ...]]
    layer_macs: dict[str, int]


class Previewer:
    """Counts many removals from one model; making one costs some milliseconds, each count about one."""

    def __init__(self, found: Comb) -> None:
        self.found = found
        variables = found.reader.variables
        free: dict[int, tuple[Any, np.ndarray]] = {}  # factors that can shrink, and what removes their indices
        self._products = list(_products(found))
        axes = [axis for _, terms in self._products for product in terms for axis in product]
        for factor in (factor for axis in axes for factor in axis):
            if factor.variables is not None and id(factor) not in free:
                leaves = variables.leaves(factor.variables)
                if leaves.any():
                    free[id(factor)] = factor, leaves
        self._factors = free
        module = found.model.graph_module
        self._parameters: list[tuple[str, tuple[int, ...]]] = [
            (name, tuple(parameter.shape)) for name, parameter in module.named_parameters()
        ]
        self._canonical = {name: found.reader.canonical(name) for name, _ in self._parameters}
        self.dense = self({})

    def __call__(self, removal: Removal) -> Preview:
        """Count what remains. Unlike ``Survivors`` this does not check the removal."""
        gone = np.zeros(len(self.found.reader.variables), dtype=bool)
        for name, units in removal.items():
            gone[self.found.leaves[name][np.asarray(units, dtype=np.int64)]] = True
        counts: dict[int, int] = {}

        def count(axis: Axis) -> int:
            total = 1
            for factor in axis:
                known = counts.get(id(factor))
                if known is None:
                    own = self._factors.get(id(factor))
                    known = factor.size if own is None else factor.size - int(gone[own[1]].any(axis=0).sum())
                    known = counts[id(factor)] = known // BATCH if known % BATCH == 0 else known
                total *= known
            return total

        layers: dict[str, int] = {}
        macs = 0
        for layer, terms in self._products:
            cost = sum(math.prod(map(count, product)) for product in terms)
            macs += cost
            if layer:
                layers[layer] = layers.get(layer, 0) + cost
        parameters, shapes = 0, {}
        for name, shape in self._parameters:
            kept = []
            for dim, size in enumerate(shape):
                columns = self.found.columns.get((self._canonical[name], dim))
                kept.append(size if columns is None else size - int(gone[columns].any(axis=0).sum()))
            parameters += math.prod(kept)
            if name.endswith(".weight"):
                shapes[name.removesuffix(".weight")] = tuple(kept)
        return Preview(parameters, macs, shapes, layers)


def preview(found: Comb, removal: Removal) -> Preview:
    """Count what a removal leaves. For many of them make one ``Previewer``."""
    return Previewer(found)(removal)


_Terms = list[list[Axis]]
"""A sum of products of the lengths of axes."""


def _products(found: Comb) -> Iterator[tuple[str, _Terms]]:
    """Every node that multiplies: its layer's name (empty for functions), and its MACs."""
    reader = found.reader
    for node in found.model.graph_module.graph.nodes:
        if node.op == "call_module":
            layer = reader.layer(node)
            if isinstance(layer, _MULTIPLY):
                x, weight = reader.values[node.args[0]], reader.tensor(f"{node.target}.weight")
                yield str(node.target), _layer_terms(layer, x, weight, reader.values[node])
        elif node.op == "call_function" and name_of(node.target) in _FUNCTIONS:
            given = {key: _axes(value, reader.values) for key, value in arguments(node).items()}
            yield "", _FUNCTIONS[name_of(node.target)](given, reader.values[node])


def _axes(value: Any, values: dict[fx.Node, Any]) -> Any:
    if isinstance(value, fx.Node):
        return values[value]
    return tuple(_axes(item, values) for item in value) if isinstance(value, tuple | list) else value


def _layer_terms(layer: nn.Module, x: Dims, weight: Dims, out: Dims) -> _Terms:
    if isinstance(layer, nn.Linear):
        return [[*out, x[-1]]]
    if isinstance(layer, _TRANSPOSED):
        return [[*x, *weight[1:]]]  # each input is spread over (outputs of its group) × kernel
    return [[*out, *weight[1:]]]  # each output sums over (inputs of its group) × kernel


def _attention(given: dict[str, Any], out: Dims) -> _Terms:
    query, key, value = given["query"], given["key"], given["value"]
    pairs = [*query[:-1], key[-2]]
    return [[*pairs, query[-1]], [*pairs, value[-1]]]


def _einsum(given: dict[str, Any], out: Dims) -> _Terms:
    """Operands are contracted from left to right; what neither later operands nor the output need is summed away."""
    left, _, right = given["equation"].replace(" ", "").partition("->")
    operands: tuple[Dims, ...] = given["operands"]
    terms = left.split(",")
    ranks = [len(dims) - len(term.replace("...", "")) for term, dims in zip(terms, operands, strict=True)]
    spread = "".join(chr(0x100 + index) for index in range(max(ranks)))
    named = [
        term.replace("...", spread[len(spread) - rank :] if rank else "")
        for term, rank in zip(terms, ranks, strict=True)
    ]
    joined = "".join(named)
    result = (
        right.replace("...", spread)
        if "->" in given["equation"]
        else "".join(letter for letter in joined if joined.count(letter) == 1)
    )
    axes: dict[str, Axis] = {}
    for term, dims in zip(named, operands, strict=True):
        for letter, axis in zip(term, dims, strict=True):
            if letter not in axes or length(axes[letter]) == 1:
                axes[letter] = axis
    products: _Terms = []
    held = set(named[0])
    for index, term in enumerate(named[1:], start=1):
        both = held | set(term)
        needed = set(result).union(*named[index + 1 :])
        if held & set(term) or both - needed:
            products.append([axes[letter] for letter in sorted(both)])
        held = both & needed
    return products


_FUNCTIONS: dict[str, Callable[[dict[str, Any], Dims], _Terms]] = {
    "linear": lambda given, out: [[*out, given["x"][-1]]],
    "bilinear": lambda given, out: [[*out, given["x"][-1], given["y"][-1]]],
    "matmul": lambda given, out: [[*out, given["x"][-1]]],
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    **{f"conv{n}d": lambda given, out: [[*out, *given["weight"][1:]]] for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": lambda given, out: [[*given["x"], *given["weight"][1:]]] for n in (1, 2, 3)},
}
