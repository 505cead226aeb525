"""What a removal leaves, counted without touching a tensor: parameters, MACs and shapes in milliseconds.

The counts equal those of ``core.analysis.cost`` on the pruned model exactly: the same products are counted over the
surviving indices of the same dimensions.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import fx, nn

from ..models.tracer import BATCH
from ..models.vocabulary import arguments, name_of
from .axes import Axis, Factor, length
from .counting import WHOLE, Counter, Counts
from .groups import Comb
from .reader import Dims
from .survivors import Removal

__all__ = ["Previewer", "preview"]

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_MULTIPLY = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.Bilinear, *_TRANSPOSED)


class Previewer:
    """Counts many removals from one model; making one costs some milliseconds, each count about one."""

    def __init__(self, found: Comb) -> None:
        self.found = found
        self.starts: dict[str, int] = {}
        """Number of the first unit of each group, as ``counter`` numbers them."""
        products = list(_products(found))  # reads tensors that the graph did not: the last variables come up here
        numbers = np.zeros(len(found.reader.variables), dtype=np.int32)
        units = 0
        for group in found.groups:
            self.starts[group.name] = units + 1
            numbers[found.leaves[group.name]] = np.arange(units + 1, units + 1 + group.units)
            units += group.units
        self.counter = _counter(found, products, _Columns(numbers), units)
        self.dense = self({})

    def gone(self, removal: Removal) -> np.ndarray:
        """``bool [units + 1]``: which units go."""
        gone = np.zeros(self.counter.units + 1, dtype=bool)
        for name, units in removal.items():
            gone[self.starts[name] + np.asarray(units, dtype=np.int64)] = True
        return gone

    def __call__(self, removal: Removal) -> Counts:
        """Count what remains. Unlike ``Survivors`` this does not check the removal."""
        return self.counter.count(self.gone(removal))


def preview(found: Comb, removal: Removal) -> Counts:
    """Count what a removal leaves. For many of them make one ``Previewer``."""
    return Previewer(found)(removal)


class _Columns:
    """The distinct columns of units, each once."""

    def __init__(self, numbers: np.ndarray) -> None:
        self._numbers = numbers
        self._known: dict[tuple[tuple[int, ...], bytes], int] = {}
        self.arrays: list[np.ndarray] = []

    def number(self, leaves: np.ndarray) -> int:
        """The column of an array of variables; ``WHOLE`` where no unit ever goes."""
        column = self._numbers[leaves]
        column = np.atleast_2d(column[column.any(axis=1)])
        if not column.size:
            return WHOLE
        key = column.shape, column.tobytes()
        if key not in self._known:
            self._known[key] = len(self.arrays)
            self.arrays.append(column)
        return self._known[key]


def _counter(found: Comb, products: "list[tuple[str, _Terms]]", columns: _Columns, units: int) -> Counter:
    reader = found.reader
    factors: dict[int, tuple[int, Factor]] = {}
    sizes: list[tuple[int, int]] = []

    def number(factor: Factor) -> int:
        if id(factor) not in factors:
            factors[id(factor)] = len(sizes), factor
            if factor.variables is None:
                sizes.append((factor.size // BATCH if factor.size % BATCH == 0 else factor.size, WHOLE))
            else:
                sizes.append((factor.size, columns.number(reader.variables.leaves(factor.variables))))
        return factors[id(factor)][0]

    counted = tuple(
        (layer, tuple(tuple(tuple(map(number, axis)) for axis in product) for product in terms))
        for layer, terms in products
    )
    parameters = []
    for name, parameter in found.model.graph_module.named_parameters():
        own = [found.columns.get((reader.canonical(name), dim)) for dim in range(parameter.ndim)]
        dims = zip(parameter.shape, own, strict=True)
        parameters.append((name, tuple((size, WHOLE if c is None else columns.number(c)) for size, c in dims)))
    places = [(tensor, columns.number(leaves)) for (tensor, _), leaves in found.columns.items()]
    places += [(what, columns.number(leaves)) for what, leaves in found.parts.items()]
    return Counter(
        units=units,
        columns=tuple(columns.arrays),
        factors=tuple(sizes),
        products=counted,
        parameters=tuple(parameters),
        places=tuple((what, column) for what, column in places if column != WHOLE),
    )


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
