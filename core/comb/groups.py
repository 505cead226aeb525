"""Groups: what a person can remove from a network, and what goes with it.

A *unit* is a set of indices of parameters that disappear together (a channel through all the layers that a residual
connection joins, an attention head, a neuron). A *group* is a family of units that touch the same dimensions of the
same parameters. Groups come from one exact reading of the graph (``Reader``): an operation that is not understood
freezes what it touches, so less is offered, and nothing is ever wrong.

This is the resolution of dependencies that CPD calls the comb (Schmitt et al., arXiv 2408.03046); the way it is
computed here is our own.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from ..models.shapes import walk
from ..models.traced import TracedModel
from ..models.tracer import BATCH
from . import rules as _rules
from .axes import flat, is_free
from .reader import Reader

__all__ = ["Comb", "Group", "Kind", "Member", "comb"]

assert _rules  # importing the package files every rule

Kind = Literal["channels", "heads", "head_width", "neurons", "embedding"]


@dataclass(frozen=True, eq=False)
class Member:
    """One dimension of one parameter or buffer: ``unit_of_index`` is ``int64 [size]``, −1 without a unit."""

    tensor: str
    dim: int
    unit_of_index: np.ndarray


@dataclass(frozen=True, eq=False)
class Group:
    """Units that can be removed one by one, or (``frozen_reason``) a dimension that cannot be pruned, and why.

    ``name`` is that of the first layer that creates the units; ``normed`` says that a norm takes statistics over them,
    so that removing one changes more than its own contribution.
    """

    name: str
    kind: Kind
    units: int
    members: tuple[Member, ...]
    normed: bool = False
    frozen_reason: str | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that must shrink together, in execution order."""
        return tuple(dict.fromkeys(member.tensor.rpartition(".")[0] or member.tensor for member in self.members))


@dataclass(frozen=True, eq=False)
class Comb:
    """All groups of a model, with what surgery needs to know."""

    model: TracedModel
    groups: tuple[Group, ...]
    frozen: tuple[Group, ...]
    reader: Reader
    leaves: dict[str, np.ndarray] = field(default_factory=dict)

    def group(self, name: str) -> Group:
        """The group of this name.

        Raises:
            KeyError: when there is none.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(name)


def comb(model: TracedModel) -> Comb:
    """Find the groups of a traced model. The model is only read."""
    values = walk(model, batch=BATCH)
    reader = Reader(model, {node: _shape(value) for node, value in values.items()})
    reader.read()
    return _Collector(model, reader).collect()


def _shape(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, tuple | list):
        return tuple(_shape(item) for item in value)
    return value


class _Collector:
    """From variables on tensors to groups."""

    def __init__(self, model: TracedModel, reader: Reader) -> None:
        self.model = model
        self.reader = reader
        self.variables = reader.variables
        self._known: dict[int, tuple[int, ...]] = {}

    def leaves_of(self, variable: int) -> tuple[int, ...]:
        found = self._known.get(variable)
        if found is None:
            found = self._known[variable] = self.variables.leaves(variable)
        return found

    def collect(self) -> Comb:
        dims = [
            (name, dim, flat(axis, self.variables))
            for name, dim, axis in self._in_order()
            if axis is not None and is_free(axis)
        ]
        touched: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for name, dim, values in dims:
            for leaf in dict.fromkeys(leaf for v in dict.fromkeys(values.tolist()) for leaf in self.leaves_of(v)):
                touched[leaf].append((name, dim))
        roles = {
            role: {leaf for values in found for v in values.tolist() for leaf in self.leaves_of(v)}
            for role, found in self.reader.roles.items()
        }
        normed = {leaf for values in self.reader.normed for v in values.tolist() for leaf in self.leaves_of(v)}
        families: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for leaf, where in touched.items():
            role = next((role for role, leaves in roles.items() if leaf in leaves), "")
            families[(tuple(where), role, leaf in normed)].append(leaf)
        arrays = {(name, dim): values for name, dim, values in dims}
        groups, units = [], {}
        used: dict[str, int] = {}
        for (where, role, is_normed), leaves in families.items():
            members = self._members(where, leaves, arrays)
            if members is None:
                continue
            kind = self._kind(where, role)
            name = self._name(where, kind)
            used[name] = used.get(name, 0) + 1
            if used[name] > 1:
                name = f"{name}#{used[name]}"
            units[name] = np.asarray(leaves, dtype=np.int64)
            groups.append(Group(name, kind, len(leaves), members, normed=is_normed))
        return Comb(self.model, tuple(groups), tuple(self._frozen()), self.reader, units)

    def _in_order(self) -> list[tuple[str, int, Any]]:
        """Dimensions of tensors in execution order of their first use."""
        order: dict[str, None] = {}
        module = self.model.graph_module
        for node in module.graph.nodes:
            if node.op == "get_attr":
                order.setdefault(str(node.target))
            elif node.op == "call_module":
                layer = module.get_submodule(str(node.target))
                for name, _ in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
                    order.setdefault(f"{node.target}.{name}")
        return [(name, dim, axis) for name in order for dim, axis in enumerate(self.reader.tensors.get(name, ()))]

    def _members(
        self, where: tuple[tuple[str, int], ...], leaves: list[int], arrays: dict[tuple[str, int], np.ndarray]
    ) -> tuple[Member, ...] | None:
        number = {leaf: unit for unit, leaf in enumerate(leaves)}
        members = []
        for name, dim in where:
            values = arrays[(name, dim)].tolist()
            unit_of_index = np.full(len(values), -1, dtype=np.int64)
            for index, variable in enumerate(values):
                mine = [number[leaf] for leaf in self.leaves_of(variable) if leaf in number]
                if len(mine) > 1:
                    return None  # one index would belong to two units: such a family is not offered
                if mine:
                    unit_of_index[index] = mine[0]
            members.append(Member(name, dim, unit_of_index))
        return tuple(members)

    def _kind(self, where: tuple[tuple[str, int], ...], role: str) -> Kind:
        if role:
            return role  # type: ignore[return-value]
        owners = [self._owner(name) for name, _ in where]
        if any(isinstance(owner, nn.LayerNorm | nn.RMSNorm | nn.Embedding) for owner in owners):
            return "embedding"
        if any(isinstance(owner, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.BatchNorm2d) for owner in owners):
            return "channels"
        return "neurons" if any(isinstance(owner, nn.Linear) for owner in owners) else "channels"

    def _owner(self, tensor: str) -> nn.Module:
        return self.model.graph_module.get_submodule(tensor.rpartition(".")[0])

    def _name(self, where: tuple[tuple[str, int], ...], kind: str) -> str:
        creators = [name for name, dim in where if dim == 0 and name.endswith("weight")]
        tensor = (creators or [where[0][0]])[0]
        layer = tensor.removesuffix(".weight")
        return f"{layer}:{kind}" if kind in ("heads", "head_width") else layer

    def _frozen(self) -> list[Group]:
        """Output dimensions of layers of which nothing can be removed."""
        found = []
        for name, layer in self.model.prunable().items():
            axis = self.reader.produce(f"{name}.weight", 0)
            values = flat(axis, self.variables)
            if any(self.leaves_of(v) for v in dict.fromkeys(values.tolist())):
                continue
            reasons = [self.variables.reason(v) for v in dict.fromkeys(values.tolist())]
            reason = next((reason for reason in reasons if reason), "") or "it has a single channel"
            kind: Kind = "neurons" if isinstance(layer, nn.Linear) else "channels"
            members = (Member(f"{name}.weight", 0, np.full(len(values), -1, dtype=np.int64)),)
            found.append(Group(name, kind, 0, members, frozen_reason=reason))
        return found
