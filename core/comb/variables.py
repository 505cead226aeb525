"""Removal variables: which indices of which tensors disappear together.

Every index of a prunable dimension carries one variable, an integer. Three facts about variables are collected while
the graph is read:

- *tie*: two variables are the same (an addition removes the same channels from both sides);
- *either*: a variable is defined as an OR of others (index (h, d) of a merged dimension goes when head h or width d
  goes);
- *frozen*: the variable is never removed, for a reason that can be told.

Variable 0 is "not removable" (batch, space, time); it is the neutral element of OR. What remains at the end, the
free classes, are the units that a person can remove.
"""

from collections.abc import Iterable

import numpy as np

__all__ = ["NEVER", "VarArray", "Variables"]

NEVER = 0

VarArray = np.ndarray
"""``int64 [size]``: one variable per index of a dimension."""


class Variables:
    """A union-find over variables with definitions by OR and with frozen classes."""

    def __init__(self) -> None:
        self._parent: list[int] = [0]
        self._parts: dict[int, tuple[int, ...]] = {}  # class → the classes whose OR it is
        self._either: dict[tuple[int, ...], int] = {}
        self._frozen: dict[int, str] = {NEVER: ""}
        self._splits: dict[tuple[bytes, int], tuple[VarArray, VarArray]] = {}

    def fresh(self, count: int) -> VarArray:
        """``count`` new variables, shape ``[count]``."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count, dtype=np.int64)

    def find(self, variable: int) -> int:
        """The class of a variable."""
        parent = self._parent
        root = variable
        while parent[root] != root:
            root = parent[root]
        while parent[variable] != root:
            parent[variable], variable = root, parent[variable]
        return root

    def leaves(self, variable: int) -> tuple[int, ...]:
        """The free classes whose removal removes this variable, outermost factor first; empty when never removed."""
        found: list[int] = []
        self._collect(self.find(variable), found)
        return tuple(dict.fromkeys(found))

    def _collect(self, root: int, found: list[int]) -> None:
        parts = self._parts.get(root)
        if parts is not None:
            for part in parts:
                self._collect(self.find(part), found)
        elif root not in self._frozen:
            found.append(root)

    def reason(self, variable: int) -> str | None:
        """Why a class is frozen; None for a free one."""
        return self._frozen.get(self.find(variable))

    def either(self, parts: Iterable[int]) -> int:
        """The variable that is removed when any of ``parts`` is. ``NEVER`` is neutral; the order of parts is kept."""
        key = tuple(dict.fromkeys(root for root in map(self.find, parts) if root != NEVER))
        if not key:
            return NEVER
        if len(key) == 1:
            return key[0]
        if key not in self._either:
            variable = int(self.fresh(1)[0])
            self._parts[variable] = key
            self._either[key] = variable
        return self._either[key]

    def freeze(self, variables: VarArray | Iterable[int], reason: str) -> None:
        """Never remove these variables; a variable that was frozen before keeps its first reason."""
        for variable in _plain(variables):
            root = self.find(variable)
            if root in self._frozen:
                continue
            self._frozen[root] = reason
            # an OR is never true only when none of its parts is
            self.freeze(self._parts.get(root, ()), reason)

    def tie(self, first: VarArray, second: VarArray, reason: str) -> None:
        """Index by index, both are removed or neither. ``reason`` tells why, should one have to be frozen."""
        if first is second:
            return
        if first.shape != second.shape:
            self.freeze(np.concatenate([first.ravel(), second.ravel()]), reason)
            return
        for a, b in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True):
            self._tie(a, b, reason)

    def _tie(self, a: int, b: int, reason: str) -> None:
        a, b = self.find(a), self.find(b)
        if a == b:
            return
        if a in self._frozen or b in self._frozen:
            told = self._frozen.get(a) or self._frozen.get(b) or reason
            self.freeze((a, b), told)
            if NEVER not in (a, b):
                self._join(a, b)
            return
        parts_a, parts_b = self._parts.get(a), self._parts.get(b)
        if parts_a is None and parts_b is None:
            self._join(a, b)
        elif parts_a is None or parts_b is None:
            free, defined = (a, b) if parts_a is None else (b, a)
            leaves = self.leaves(defined)
            if free in leaves:  # x = x OR y holds when y never goes
                self.freeze([leaf for leaf in leaves if leaf != free], reason)
            if self.find(free) != self.find(defined):
                self._join(defined, free)
        else:
            leaves_a, leaves_b = self.leaves(a), self.leaves(b)
            if len(leaves_a) == len(leaves_b):
                for leaf_a, leaf_b in zip(leaves_a, leaves_b, strict=True):
                    self._tie(leaf_a, leaf_b, reason)
            else:  # two incompatible factorings of one dimension: sound is to keep it whole
                self.freeze((a, b), reason)
            if self.find(a) != self.find(b):
                self._join(a, b)

    def _join(self, keep: int, other: int) -> None:
        self._parent[other] = keep
        if other in self._frozen:
            self._frozen.setdefault(keep, self._frozen[other])
        if other in self._parts and keep not in self._parts:
            self._parts[keep] = self._parts[other]

    def split(self, variables: VarArray, outer: int, reason: str) -> tuple[VarArray, VarArray]:
        """Factor a dimension of ``outer × inner`` indices: variables of the rows ``[outer]`` and columns ``[inner]``.

        Only whole rows and whole columns can go then, so that the dimension stays a rectangle.
        """
        inner = len(variables) // outer
        if outer == 1:
            return np.zeros(1, dtype=np.int64), variables
        if inner == 1:
            return variables, np.zeros(1, dtype=np.int64)
        key = (variables.tobytes(), outer)
        if key not in self._splits:
            rows, columns = self.fresh(outer), self.fresh(inner)
            product = [self.either((row, column)) for row in rows.tolist() for column in columns.tolist()]
            self.tie(variables, np.asarray(product, dtype=np.int64), reason)
            self._splits[key] = rows, columns
        return self._splits[key]

    def merge(self, outer: VarArray, inner: VarArray) -> VarArray:
        """Variables of a merged dimension: index (i, j) goes when i or j goes. Shape ``[len(outer) · len(inner)]``."""
        if not inner.any():
            return np.repeat(outer, len(inner))
        if not outer.any():
            return np.tile(inner, len(outer))
        return np.asarray([self.either((i, j)) for i in outer.tolist() for j in inner.tolist()], dtype=np.int64)


def _plain(variables: VarArray | Iterable[int]) -> list[int]:
    return variables.ravel().tolist() if isinstance(variables, np.ndarray) else list(variables)
