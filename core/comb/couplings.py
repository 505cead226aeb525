"""Why the layers of a group shrink together: the operations where their units meet, as sentences with source lines."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import fx, nn

from ..models.vocabulary import name_of
from .groups import Comb, Group
from .sheet import Coupling, Reason

__all__ = ["couplings"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_REASONS: dict[str, Reason] = {
    "add": "addition",
    "sub": "addition",
    "mul": "multiplication",
    "truediv": "multiplication",
    "cat": "concatenation",
    "stack": "concatenation",
    "scaled_dot_product_attention": "attention",
    "matmul": "product",
    "einsum": "product",
}
_VERBS: dict[Reason, str] = {
    "addition": "are added to each other",
    "multiplication": "are multiplied with each other",
    "attention": "meet in one attention",
    "product": "are multiplied as matrices",
    "joined": "are joined",
}
_NAMED_AT_MOST = 4
_Makers = dict[int, str]
"""Number of a group → the last layer that made or joined its units on the way to a value: chains stay readable."""


def couplings(found: Comb) -> dict[str, tuple[Coupling, ...]]:
    """Group name → why its layers go together, in execution order, one sentence for each set of layers."""
    carried = _Carried(found)
    result: dict[str, dict[tuple[str, tuple[str, ...]], Coupling]] = {group.name: {} for group in found.groups}
    makers: dict[fx.Node, _Makers] = {}
    order: dict[str, int] = {}  # of layers and parameters, by first use
    for node in found.model.graph_module.graph.nodes:
        inputs = [makers[before] for before in node.all_input_nodes]
        own = carried.groups(node)
        name = str(node.target) if node.op in ("call_module", "get_attr") else ""
        order.setdefault(name, len(order))
        created = own if node.op == "get_attr" else carried.created.get(name, frozenset())
        makers[node] = {}
        for number in own:
            operands = [before[number] for before in inputs if number in before]
            for coupling in _at_node(node, found.groups[number], operands, carried):
                result[found.groups[number].name].setdefault((coupling.reason, coupling.layers), coupling)
            if number in created:
                makers[node][number] = name
            elif operands:
                makers[node][number] = max(operands, key=order.__getitem__)
    return {name: tuple(items.values()) for name, items in result.items()}


class _Carried:
    """Which groups a node's value carries, and which a layer creates."""

    def __init__(self, found: Comb) -> None:
        self._found = found
        self._group_of = np.full(len(found.reader.variables), -1, dtype=np.int64)
        for number, group in enumerate(found.groups):
            self._group_of[found.leaves[group.name]] = number
        self._known: dict[int, tuple[frozenset[int], Any]] = {}
        self.layers = dict(found.model.graph_module.named_modules())
        self.created: dict[str, set[int]] = {}
        for number, group in enumerate(found.groups):
            for member in group.members:
                if member.creates:
                    self.created.setdefault(member.layer, set()).add(number)

    def groups(self, node: fx.Node) -> frozenset[int]:
        """Numbers of the groups in any dimension of the node's value."""
        return frozenset().union(*(self._of(values) for values in _variables(self._found.reader.values.get(node))))

    def depthwise(self, node: fx.Node) -> bool:
        """Whether the node filters channels in groups of their own."""
        layer = self.layers.get(str(node.target)) if node.op == "call_module" else None
        return isinstance(layer, _CONVOLUTIONS) and layer.groups > 1

    def _of(self, values: np.ndarray) -> frozenset[int]:
        if id(values) not in self._known:
            leaves = self._found.reader.variables.leaves(values)
            numbers = np.unique(self._group_of[leaves[leaves < len(self._group_of)]])
            self._known[id(values)] = frozenset(numbers[numbers >= 0].tolist()), values
        return self._known[id(values)][0]


def _variables(value: Any) -> Iterator[np.ndarray]:
    """Arrays of variables in the axes of a value, however nested."""
    if isinstance(value, tuple):
        for item in value:
            yield from _variables(item)
    elif getattr(value, "variables", None) is not None:
        yield value.variables


def _at_node(node: fx.Node, group: Group, operands: list[str], carried: _Carried) -> Iterator[Coupling]:
    """The coupling of one group that happens at this node, if any; ``operands`` are the makers of what comes in."""
    where = f" ({node.meta['source']})" if node.meta.get("source") else ""
    makers = tuple(dict.fromkeys(operands))
    if carried.depthwise(node):
        others = tuple(name for name in makers if name != node.target)
        if others:
            text = f"“{node.target}” filters every channel by itself: it loses those that {_named(others)} loses."
            yield Coupling("depthwise", text, (*others, str(node.target)))
        return
    if node.op != "call_function":
        return
    reason = _REASONS.get(name_of(node.target), "joined")
    if reason == "concatenation" and makers:
        verb = "is" if len(makers) == 1 else "are"
        text = f"{_named(makers)} {verb} put beside other channels{where}: what reads them all loses these."
        yield Coupling(reason, text, makers)
    elif len(makers) > 1:
        if reason == "product" and group.kind in ("heads", "head_width"):
            reason = "attention"
        text = f"{_named(makers)} {_VERBS[reason]}{where}: they lose the same {_WORDS[group.kind]}."
        yield Coupling(reason, text, makers)


_WORDS = {
    "channels": "channels",
    "heads": "heads",
    "head_width": "dimensions of each head",
    "neurons": "neurons",
    "embedding": "dimensions of the embedding",
}


def _named(layers: tuple[str, ...]) -> str:
    names = [f"“{name}”" for name in layers]
    if len(names) > _NAMED_AT_MOST:
        names = [*names[: _NAMED_AT_MOST - 1], f"{len(names) - _NAMED_AT_MOST + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
