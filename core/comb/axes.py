"""An axis: one dimension of one tensor in the graph, as a product of factors with or without removal variables.

``[N, heads × width]`` has the axes ``(Factor(N),)`` and ``(Factor(heads, rows), Factor(width, columns))``. Factors
without variables (batch, space, tokens) may be as long as they like; only factors with variables hold arrays.
"""

from dataclasses import dataclass

import numpy as np

from .variables import VarArray, Variables

__all__ = [
    "FOLDED",
    "MOST",
    "Axis",
    "Factor",
    "flat",
    "freeze_axis",
    "is_free",
    "length",
    "plain",
    "regroup",
    "tie_axes",
]

MOST = 1 << 22
"""Longest axis that is ever written out index by index; one that holds the batch is longer, and is kept whole then."""

FOLDED = "it is folded into the examples of a batch"


@dataclass(frozen=True, eq=False)
class Factor:
    """``size`` indices; ``variables`` is ``[size]``, or None when none of them can ever be removed."""

    size: int
    variables: VarArray | None = None


Axis = tuple[Factor, ...]


def plain(size: int) -> Axis:
    """An axis that has nothing to remove."""
    return (Factor(size),)


def length(axis: Axis) -> int:
    """Number of indices."""
    total = 1
    for factor in axis:
        total *= factor.size
    return total


def is_free(axis: Axis) -> bool:
    """Whether any index carries a variable."""
    return any(factor.variables is not None for factor in axis)


def freeze_axis(axis: Axis, variables: Variables, reason: str) -> None:
    """Never remove anything from this dimension."""
    for factor in axis:
        if factor.variables is not None:
            variables.freeze(factor.variables, reason)


def flat(axis: Axis, variables: Variables, folded: str = FOLDED) -> VarArray:
    """Variables of every index of the axis, factors merged; zeros for an axis without variables.

    An axis of more than ``MOST`` indices (heads folded into the batch) is frozen instead of written out, for the reason
    ``folded``.
    """
    if len(axis) == 1 and axis[0].variables is not None:
        return axis[0].variables
    if not is_free(axis) or length(axis) > MOST:
        freeze_axis(axis, variables, folded)
        return np.broadcast_to(np.zeros(1, dtype=np.int64), (length(axis),))
    result: VarArray | None = None
    for factor in axis:
        if factor.size == 1 and factor.variables is None and len(axis) > 1:
            continue
        own = factor.variables if factor.variables is not None else np.zeros(factor.size, dtype=np.int64)
        result = own if result is None else variables.merge(result, own)
    return result if result is not None else np.zeros(1, dtype=np.int64)


def regroup(factors: list[Factor], sizes: list[int], variables: Variables, reason: str) -> list[Axis]:
    """Deal ``factors`` (row-major, as in a reshape) out to axes of the given ``sizes``, splitting factors as needed.

    Where the sizes cut through a factor unevenly the factors involved are frozen.
    """
    for factor in factors:
        if factor.size == 1 and factor.variables is not None:  # the only index of a dimension always stays
            variables.freeze(factor.variables, f"the only channel; {reason}")
    remaining = [factor for factor in reversed(factors) if factor.size != 1]
    axes: list[Axis] = []
    for position, size in enumerate(sizes):
        taken: list[Factor] = []
        product = 1
        while product < size and remaining:
            factor = remaining.pop()
            need = size // product
            if size % product == 0 and need % factor.size == 0:
                taken.append(factor)
                product *= factor.size
            elif size % product == 0 and factor.size % need == 0:
                outer, inner = _split(factor, need, variables, reason)
                taken.append(outer)
                remaining.append(inner)
                product *= need
            else:
                return _frozen(axes, sizes[position:], [*taken, factor, *remaining], variables, reason)
        if product != size:
            return _frozen(axes, sizes[position:], [*taken, *remaining], variables, reason)
        axes.append(tuple(taken) or plain(1))
    return axes


def _split(factor: Factor, outer: int, variables: Variables, reason: str) -> tuple[Factor, Factor]:
    inner = factor.size // outer
    if factor.variables is None:
        return Factor(outer), Factor(inner)
    rows, columns = variables.split(factor.variables, outer, reason)
    return Factor(outer, rows if rows.any() else None), Factor(inner, columns if columns.any() else None)


def _frozen(axes: list[Axis], sizes: list[int], factors: list[Factor], variables: Variables, reason: str) -> list[Axis]:
    freeze_axis(tuple(factors), variables, reason)
    return [*axes, *(plain(size) for size in sizes)]


def tie_axes(first: Axis, second: Axis, variables: Variables, reason: str) -> Axis:
    """Both axes lose the same indices from now on; returns the axis of the result.

    A side without variables freezes the other.
    """
    if first is second:
        return first
    if not is_free(first) and not is_free(second):
        return first
    if not is_free(first) or not is_free(second):
        freeze_axis(first, variables, reason)
        freeze_axis(second, variables, reason)
        return first
    aligned = _aligned(first, second, variables, reason)
    if aligned is None:
        whole = flat(first, variables, reason), flat(second, variables, reason)
        variables.tie(*whole, reason)
        return (Factor(len(whole[0]), whole[0]),) if whole[0].any() else plain(len(whole[0]))
    result = []
    for a, b in aligned:
        if a.variables is not None and b.variables is not None:
            variables.tie(a.variables, b.variables, reason)
        else:
            variables.freeze(a.variables if a.variables is not None else _or_empty(b.variables), reason)
        result.append(a if a.variables is not None else b)
    return tuple(result)


def _or_empty(values: VarArray | None) -> VarArray:
    return np.zeros(0, dtype=np.int64) if values is None else values


def _aligned(first: Axis, second: Axis, variables: Variables, reason: str) -> list[tuple[Factor, Factor]] | None:
    """Factors of both sides cut at the same places; None where the cuts do not nest."""
    left = [factor for factor in reversed(first) if factor.size != 1]
    right = [factor for factor in reversed(second) if factor.size != 1]
    if not left and not right:
        return None
    pairs = []
    while left and right:
        a, b = left.pop(), right.pop()
        if a.size > b.size and a.size % b.size == 0:
            a, rest = _split(a, b.size, variables, reason)
            left.append(rest)
        elif b.size > a.size and b.size % a.size == 0:
            b, rest = _split(b, a.size, variables, reason)
            right.append(rest)
        elif a.size != b.size:
            return None
        pairs.append((a, b))
    return None if left or right else pairs
