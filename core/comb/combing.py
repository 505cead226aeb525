"""``comb``: from variables on the tensors of a model to groups of units."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, fx, nn

from ..models.shapes import walk
from ..models.traced import TracedModel
from ..models.tracer import BATCH
from . import rules as _rules
from .axes import flat, is_free
from .groups import Comb, Group, Kind, Member
from .reader import Reader

__all__ = ["comb"]

assert _rules  # importing the package files every rule

_Where = tuple[tuple[str, int], ...]
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS_OF_EMBEDDINGS = (nn.LayerNorm, nn.RMSNorm, nn.Embedding)
_OF_CHANNELS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
ALL_OR_NONE = "its channels depend on each other: all or none"
_FACTORS = ("blocks", "channels")  # names of an outer and an inner factor of one dimension


def comb(model: TracedModel) -> Comb:
    """Find the groups of a traced model. The model is only read, and must not change while the result is used."""
    reader = _reader(model)
    reader.read()
    return _Collector(model, reader).collect()


def _reader(model: TracedModel) -> Reader:
    return Reader(model, {node: _shape(value) for node, value in walk(model, batch=BATCH).items()})


def _shape(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, tuple | list):
        return tuple(_shape(item) for item in value)
    if isinstance(value, dict):
        return tuple(_shape(item) for item in value.values())
    return value


class _Collector:
    """Sorts units by the dimensions that they touch."""

    def __init__(self, model: TracedModel, reader: Reader) -> None:
        self.model = model
        self.reader = reader
        self.variables = reader.variables
        self.layers = dict(model.graph_module.named_modules())
        self.parameters = {name for name, _ in model.graph_module.named_parameters(remove_duplicate=False)}

    def collect(self) -> Comb:
        seen: dict[int, np.ndarray] = {}  # a convolution's channels and those of its norm are one axis: read once
        columns: dict[tuple[str, int], np.ndarray] = {}
        for tensor, dim, axis in self._in_order():
            if id(axis) not in seen and is_free(axis):
                seen[id(axis)] = self.variables.leaves(flat(axis, self.variables))
            if id(axis) in seen:
                columns[(tensor, dim)] = seen[id(axis)]
        parts = {what: self.variables.leaves(values) for what, values in self.reader.parts.items()}
        groups, units, used = [], {}, dict[str, int]()
        for where, role, normed, leaves in self._families(columns):
            for suffix, members, mine in self._rectangular(where, leaves, columns):
                kind = self._kind(members, role)
                base = self._name(members)
                name = f"{base}:{role or suffix}" if role or suffix else base
                used[name] = used.get(name, 0) + 1
                name = name if used[name] == 1 else f"{name}#{used[name]}"
                if len(mine) == 1 or not any(member.tensor in self.parameters for member in members):
                    continue  # no choice: what must stay as a whole, and constants without weights; both keep a name
                units[name] = mine
                groups.append(Group(name, kind, len(mine), members, normed=normed))
        return Comb(self.model, tuple(groups), tuple(self._frozen(columns, units)), self.reader, units, columns, parts)

    def _in_order(self) -> list[tuple[str, int, Any]]:
        """Dimensions of tensors in execution order of their first use."""
        order: dict[str, None] = {}
        for node in self.model.graph_module.graph.nodes:
            if node.op == "get_attr":
                order.setdefault(str(node.target))
            elif node.op == "call_module":
                layer = self.layers[str(node.target)]
                for name in [
                    n for kind in (layer._parameters, layer._buffers) for n, t in kind.items() if t is not None
                ]:
                    order.setdefault(f"{node.target}.{name}")
        axes = self.reader.tensors
        return [(name, dim, axis) for name in order for dim, axis in enumerate(axes.get(name, ())) if axis is not None]

    def _families(self, columns: dict[tuple[str, int], np.ndarray]) -> Iterable[tuple[_Where, str, bool, np.ndarray]]:
        """Free variables that touch the same dimensions, with one role, in order of first appearance."""
        count = len(self.variables)
        signature = np.zeros(count, dtype=np.int64)  # number of the set of axes that a variable touches
        first = np.full((count, 2), -1, dtype=np.int64)  # where it appears first: dimension, index
        where: list[tuple[int, ...]] = [()]  # axes of each signature
        known: dict[tuple[int, int], int] = {}
        places: dict[int, list[int]] = {}  # a convolution's channels and those of its norm are one axis
        axes: list[np.ndarray] = []
        for number, leaves in enumerate(columns.values()):
            if places.setdefault(id(leaves), []) == []:
                axes.append(leaves)
            places[id(leaves)].append(number)
        for number, leaves in enumerate(axes):
            found, positions = np.unique(leaves, return_index=True)
            found, positions = found[found > 0], positions[found > 0] % leaves.shape[1]
            new = first[found, 0] < 0
            first[found[new], 0] = places[id(leaves)][0]
            first[found[new], 1] = positions[new]
            own = signature[found]
            for before in np.unique(own).tolist():
                after = known.setdefault((before, number), len(where))
                if after == len(where):
                    where.append((*where[before], number))
                signature[found[own == before]] = after
        role = np.zeros(count, dtype=np.int64)
        names = ["", *self.reader.roles]
        for position in range(len(names) - 1, 0, -1):  # the first role wins
            for values in self.reader.roles[names[position]]:
                role[self.variables.leaves(values)] = position
        normed = np.zeros(count, dtype=np.int64)
        for values in self.reader.normed:
            normed[self.variables.leaves(values)] = 1
        free = np.flatnonzero(signature)
        free = free[np.lexsort((free, first[free, 1], first[free, 0]))]
        if not len(free):
            return
        keys = (signature[free] * len(names) + role[free]) * 2 + normed[free]
        values, appeared, family = np.unique(keys, return_index=True, return_inverse=True)
        members = np.split(free[np.argsort(family, kind="stable")], np.cumsum(np.bincount(family))[:-1])
        order = list(columns)
        for index in np.argsort(appeared).tolist():
            rest, is_normed = divmod(int(values[index]), 2)
            number, position = divmod(rest, len(names))
            touched = sorted(place for axis in where[number] for place in places[id(axes[axis])])
            yield tuple(order[place] for place in touched), names[position], bool(is_normed), members[index]

    def _rectangular(
        self, where: _Where, leaves: np.ndarray, columns: dict[tuple[str, int], np.ndarray]
    ) -> list[tuple[str, tuple[Member, ...], np.ndarray]]:
        """The family as it is; or, where an index belongs to two of its units, its outer and its inner factors."""
        members = self._members(where, leaves, columns)
        if members is not None:
            return [("", members, leaves)]
        inside = np.zeros(len(self.variables), dtype=bool)
        inside[leaves] = True
        place = next(place for place in where if (inside[columns[place]].sum(axis=0) > 1).any())
        column, rank = columns[place], np.zeros(len(self.variables), dtype=np.int64)
        own = inside[column]
        for row in range(1, len(column)):
            later = column[row][own[row]]
            rank[later] = np.maximum(rank[later], own[:row].sum(axis=0)[own[row]])
        result = []
        for number, value in enumerate(np.unique(rank[leaves]).tolist()):
            part = leaves[rank[leaves] == value]
            members = self._members(where, part, columns)
            if members is None:  # an index would still belong to two units: such a family is not offered
                self.variables.freeze(part, "its units overlap")
            else:
                result.append((_FACTORS[min(number, 1)], members, part))
        return result

    def _members(
        self, where: _Where, leaves: np.ndarray, columns: dict[tuple[str, int], np.ndarray]
    ) -> tuple[Member, ...] | None:
        number = np.full(len(self.variables), -1, dtype=np.int64)
        number[leaves] = np.arange(len(leaves))
        members = []
        numbered: dict[int, np.ndarray] = {}
        for name, dim in where:
            column = columns[(name, dim)]
            if id(column) not in numbered:
                units = number[column]
                if len(units) > 1 and ((units >= 0).sum(axis=0) > 1).any():
                    return None
                numbered[id(column)] = units.max(axis=0)
            owner = self._owner(name)
            out = 1 if isinstance(owner, _TRANSPOSED) else 0
            creates = name.endswith("weight") and dim == out and isinstance(owner, (nn.Linear, *_OF_CHANNELS[:6]))
            members.append(Member(name, dim, numbered[id(column)], creates))
        return tuple(members)

    def _kind(self, members: tuple[Member, ...], role: str) -> Kind:
        if role:
            return role  # type: ignore[return-value]
        owners = [self._owner(member.tensor) for member in members]
        if any(isinstance(owner, _NORMS_OF_EMBEDDINGS) for owner in owners):
            return "embedding"
        if any(isinstance(owner, _OF_CHANNELS) for owner in owners):
            return "channels"
        return "neurons" if any(isinstance(owner, nn.Linear) for owner in owners) else "channels"

    def _owner(self, tensor: str) -> nn.Module:
        return self.layers[tensor.rpartition(".")[0]]

    def _name(self, members: tuple[Member, ...]) -> str:
        member = next((member for member in members if member.creates), None)
        member = member or next((m for m in members if m.dim == 0 and m.tensor.endswith("weight")), members[0])
        return member.tensor.removesuffix(".weight")

    def _frozen(self, columns: dict[tuple[str, int], np.ndarray], units: dict[str, np.ndarray]) -> list[Group]:
        """Output dimensions of layers of which nothing can be removed."""
        offered = np.zeros(len(self.variables), dtype=bool)
        for leaves in units.values():
            offered[leaves] = True
        found = []
        for name, layer in self.model.prunable().items():
            tensor = self.reader.canonical(f"{name}.weight")
            axis = self.reader.produce(tensor, 0)
            column = columns.get((tensor, 0))
            if column is not None and offered[column].any():
                continue
            values = flat(axis, self.variables)
            reason = self.variables.reason(values) or ("it has a single channel" if len(values) == 1 else None)
            kind: Kind = "neurons" if isinstance(layer, nn.Linear) else "channels"
            members = (Member(f"{name}.weight", 0, np.full(len(values), -1, dtype=np.int64), True),)
            found.append(Group(name, kind, 0, members, frozen_reason=reason))
        if any(group.frozen_reason is None for group in found):
            found = self._explained(found)
        return found

    def _explained(self, frozen: list[Group]) -> list[Group]:
        """Say which operation made channels depend on each other: a second reading that watches them."""
        reader = _reader(self.model)
        watched = {group.members[0].tensor for group in frozen if group.frozen_reason is None}
        reasons = dict.fromkeys(watched, ALL_OR_NONE)

        def watch(node: fx.Node) -> None:
            for tensor in sorted(watched):
                axis = reader.produce(tensor, 0) if reader.tensors[reader.canonical(tensor)][0] is not None else None
                if axis is not None and len(np.unique(reader.variables.leaves(reader.flat(axis))[0])) == 1:
                    reasons[tensor] = reader.reason(node, ALL_OR_NONE)
                    watched.remove(tensor)

        reader.read(watch)
        return [
            replace(group, frozen_reason=reasons[group.members[0].tensor]) if group.frozen_reason is None else group
            for group in frozen
        ]
