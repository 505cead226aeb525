"""Removal variables: which indices of which tensors disappear together.

Every index of a prunable dimension carries one variable, an integer. Three facts about variables are collected while
the graph is read:

- *tie*: two variables are the same (an addition removes the same channels from both sides);
- *either*: a variable is defined as an OR of two others (index (h, d) of a merged dimension goes when head h or width
  d goes);
- *frozen*: the variable is never removed, for a reason that can be told.

Variable 0 is "not removable" (batch, space, time); it is the neutral element of OR. What remains at the end, the
free classes, are the units that a person can remove. All work is done on whole arrays of variables.
"""

import numpy as np

__all__ = ["NEVER", "VarArray", "Variables"]

NEVER = 0
_FREE, _FROZEN, _DEFINED = 0, 1, 2

VarArray = np.ndarray
"""``int64 [size]``: one variable per index of a dimension."""


class Variables:
    """A union-find over variables with definitions by OR and with frozen classes."""

    def __init__(self) -> None:
        self._count = 1
        self._parent = np.zeros(1024, dtype=np.int64)
        self._state = np.zeros(1024, dtype=np.int8)  # of roots
        self._why = np.zeros(1024, dtype=np.int64)  # of frozen roots: number of the reason
        self._first = np.zeros(1024, dtype=np.int64)  # of defined roots: removed when this one is …
        self._second = np.zeros(1024, dtype=np.int64)  # … or that one
        self._state[NEVER] = _FROZEN
        self._reasons: dict[str, int] = {"": 0}
        self._splits: dict[tuple[bytes, int], tuple[VarArray, VarArray]] = {}
        self._merges: dict[tuple[bytes, bytes], VarArray] = {}

    def __len__(self) -> int:
        return self._count

    def fresh(self, count: int) -> VarArray:
        """``count`` new variables, shape ``[count]``."""
        first, self._count = self._count, self._count + count
        if self._count > len(self._parent):
            size = max(self._count, 2 * len(self._parent))
            for name in ("_parent", "_state", "_why", "_first", "_second"):
                old = getattr(self, name)
                new = np.zeros(size, dtype=old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)
        made = np.arange(first, self._count, dtype=np.int64)
        self._parent[made] = made
        return made

    def roots(self, variables: VarArray) -> VarArray:
        """The class of every variable, same shape."""
        parent = self._parent
        found = parent[variables]
        while True:
            above = parent[found]
            if np.array_equal(above, found):
                break
            found = above
        parent[variables] = found
        return found

    def leaves(self, variables: VarArray) -> np.ndarray:
        """The free classes whose removal removes each variable, outermost factor first.

        Returns:
            ``int64 [k, size]``; unused places at the end of a column are 0, as is the whole column of a variable that
            is never removed.
        """
        todo, done = [self.roots(variables)], []
        while todo:
            column = todo.pop(0)
            defined = self._state[column] == _DEFINED
            if defined.any():
                first = np.where(defined, self.roots(self._first[column]), column)
                second = np.where(defined, self.roots(self._second[column]), NEVER)
                todo[:0] = [first, second]
            else:
                done.append(np.where(self._state[column] == _FREE, column, NEVER))
        return _packed(np.stack(done))

    def reason(self, variables: VarArray) -> str:
        """Why the first frozen one of these variables is frozen; empty when none is, or none has a reason."""
        roots = self.roots(variables)
        numbers = self._why[roots[self._state[roots] == _FROZEN]]
        numbers = numbers[numbers > 0]
        return "" if not len(numbers) else next(text for text, number in self._reasons.items() if number == numbers[0])

    def freeze(self, variables: VarArray, reason: str) -> None:
        """Never remove these variables; a variable that was frozen before keeps its first reason."""
        while len(variables):
            roots = np.unique(self.roots(np.asarray(variables, dtype=np.int64)))
            roots = roots[self._state[roots] != _FROZEN]
            defined = roots[self._state[roots] == _DEFINED]
            self._state[roots] = _FROZEN
            self._why[roots] = self._reasons.setdefault(reason, len(self._reasons))
            variables = np.concatenate([self._first[defined], self._second[defined]])  # an OR is false when all are

    def tie(self, first: VarArray, second: VarArray, reason: str) -> None:
        """Index by index, both are removed or neither. ``reason`` tells why, should one have to be frozen."""
        if first is second:
            return
        if first.shape != second.shape:
            self.freeze(np.concatenate([first.ravel(), second.ravel()]), reason)
            return
        a, b = first, second
        while True:  # every round joins or freezes something, until nothing is left to do
            a, b = self.roots(a), self.roots(b)
            frozen_a, frozen_b = self._state[a] == _FROZEN, self._state[b] == _FROZEN
            open_pairs = (a != b) & ~(frozen_a & frozen_b)
            if not open_pairs.any():
                return
            one_frozen = open_pairs & (frozen_a | frozen_b)
            if one_frozen.any():
                pairs = np.concatenate([a[one_frozen], b[one_frozen]])
                self.freeze(pairs, self.reason(pairs) or reason)
                continue
            a, b = a[open_pairs], b[open_pairs]
            a, b = self._join(a, b, reason)

    def _join(self, a: VarArray, b: VarArray, reason: str) -> tuple[VarArray, VarArray]:
        """Join pairs of different classes, none of them frozen; returns the pairs that need another round."""
        defined_a, defined_b = self._state[a] == _DEFINED, self._state[b] == _DEFINED
        free = ~defined_a & ~defined_b
        if free.any():
            self._parent[np.maximum(a, b)[free]] = np.minimum(a, b)[free]
            return a, b
        one = defined_a ^ defined_b
        if one.any():
            done = self._define(np.where(defined_a, b, a)[one], np.where(defined_a, a, b)[one], reason)
            keep = np.ones(len(a), dtype=bool)
            keep[np.flatnonzero(one)[done]] = False
            return a[keep], b[keep]
        leaves_a, leaves_b = self.leaves(a), self.leaves(b)
        alike = (leaves_a > 0).sum(0) == (leaves_b > 0).sum(0)
        if not alike.all():  # two incompatible factorings of one dimension: sound is to keep it whole
            self.freeze(np.concatenate([a[~alike], b[~alike]]), reason)
            return a, b
        for left, right in zip(leaves_a, leaves_b, strict=False):  # equal parts make equal ORs
            self.tie(left, right, reason)
        a, b = self.roots(a), self.roots(b)
        both = (self._state[a] == _DEFINED) & (self._state[b] == _DEFINED)
        self._parent[np.maximum(a, b)[both]] = np.minimum(a, b)[both]
        return a, b

    def _define(self, free: VarArray, defined: VarArray, reason: str) -> VarArray:
        """Let free classes be the ORs that they are tied to; returns which pairs (bool) are settled for good."""
        leaves = self.leaves(defined)
        settled = np.zeros(len(free), dtype=bool)
        if not np.isin(free, leaves).any():
            self._parent[free] = defined  # a class that occurs twice meets its second definition in the next round
            return settled
        index = 0  # the first pair alone: it may change what the others are made of
        own = leaves[:, index] == free[index]
        if own.any():  # x = x OR y holds when y never goes
            self.freeze(leaves[:, index][~own], reason)
            settled[index] = True
        else:
            self._parent[free[index]] = defined[index]
        return settled

    def split(self, variables: VarArray, outer: int, reason: str) -> tuple[VarArray, VarArray]:
        """Factor a dimension of ``outer × inner`` indices: variables of the rows ``[outer]`` and columns ``[inner]``.

        Only whole rows and whole columns can go then, so that the dimension stays a rectangle.
        """
        inner = len(variables) // outer
        if outer == 1:
            return np.zeros(1, dtype=np.int64), variables
        if inner == 1:
            return variables, np.zeros(1, dtype=np.int64)
        roots = self.roots(variables)
        key = (roots.tobytes(), outer)
        if key not in self._splits:
            rows, columns = self.fresh(outer), self.fresh(inner)
            self.tie(variables, self.merge(rows, columns), reason)
            self._splits[key] = self._splits[(self.roots(variables).tobytes(), outer)] = rows, columns
        return self._splits[key]

    def merge(self, outer: VarArray, inner: VarArray) -> VarArray:
        """Variables of a merged dimension: index (i, j) goes when i or j goes. Shape ``[len(outer) · len(inner)]``."""
        if not inner.any():
            return np.repeat(outer, len(inner))
        if not outer.any():
            return np.tile(inner, len(outer))
        outer, inner = self.roots(outer), self.roots(inner)
        key = (outer.tobytes(), inner.tobytes())
        known = self._merges.get(key)
        if known is None:
            first, second = np.repeat(outer, len(inner)), np.tile(inner, len(outer))
            result = np.where(self._state[first] == _FROZEN, second, first)
            made = (self._state[first] != _FROZEN) & (self._state[second] != _FROZEN) & (first != second)
            fresh = self.fresh(int(made.sum()))
            self._state[fresh], self._first[fresh], self._second[fresh] = _DEFINED, first[made], second[made]
            result[made] = fresh
            known = self._merges[key] = result
        return known


def _packed(columns: np.ndarray) -> np.ndarray:
    """Move the zeros of every column to its end, drop doubles and rows without anything."""
    if len(columns) == 1:
        return columns
    for later in range(1, len(columns)):
        for earlier in range(later):
            columns[later][columns[later] == columns[earlier]] = NEVER
    order = np.argsort(columns == NEVER, axis=0, kind="stable")
    packed = np.take_along_axis(columns, order, axis=0)
    return packed[: max(1, int((packed != NEVER).any(axis=1).sum()))]
