"""Matrix products and attention: what is summed over loses the same indices on both sides."""

from typing import Any

from torch import fx

from ..axes import Axis, is_free, length, tie_axes
from ..reader import Constant, Dims, Reader, rule
from .elementwise import broadcast


@rule("matmul")
def matmul(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """``[…, n, k] @ […, k, m]``: k is tied, n and m pass, the leading dimensions are tied."""
    x, y = given["x"], given["y"]
    reason = reader.reason(node, "summed over in a product")
    reader.contract(node, ("args", 0), len(x) - 1, x[-1])
    if len(x) == 1 or len(y) == 1:
        return _with_vector(reader, x, y, reason)
    summed = tie_axes(x[-1], y[-2], reader.variables, reason)
    leading = broadcast(reader, [x[:-2], y[:-2]], reason) if len(x) > 2 or len(y) > 2 else ()
    if leading:
        note_roles(reader, heads=leading, widths=(summed, y[-1]))
    return (*leading, x[-2], y[-1])


def _with_vector(reader: Reader, x: Dims, y: Dims, reason: str) -> Dims:
    tie_axes(x[-1], y[0] if len(y) == 1 else y[-2], reader.variables, reason)
    return (*x[:-1], *(() if len(y) == 1 else (*y[:-2], y[-1])))


def note_roles(reader: Reader, *, heads: Dims, widths: Dims) -> None:
    """In a product of batches (also folded into the examples), remember what are heads and what is width in a head."""
    heads = tuple(axis for axis in heads if is_free(axis))
    if not heads:
        return
    for role, axis in (*(("heads", head) for head in heads), *(("head_width", width) for width in widths)):
        reader.roles[role].extend(factor.variables for factor in axis if factor.variables is not None)


@rule("scaled_dot_product_attention")
def attention(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Queries and keys share their width, all three share the heads; the scale keeps its value."""
    query, key, value = given["query"], given["key"], given["value"]
    reason = reader.reason(node, "attention")
    if given.get("enable_gqa"):
        return reader.unknown(node, given, reader.reason(node, "grouped queries are not understood"))
    width = tie_axes(query[-1], key[-1], reader.variables, reason)
    leading = broadcast(reader, [query[:-2], key[:-2], value[:-2]], reason)
    tokens = tie_axes(key[-2], value[-2], reader.variables, reason)
    for axis in (query[-2], tokens):
        reader.freeze_axis(axis, reader.reason(node, "tokens of an attention"))
    mask = given.get("mask")
    if isinstance(mask, tuple):
        if length(mask[-1]) > 1:
            reader.freeze_axis(mask[-1], reason)
        if length(mask[-2]) > 1:
            reader.freeze_axis(mask[-2], reason)
        if len(mask) > 2:
            leading = broadcast(reader, [leading, mask[:-2]], reason)
    if leading:
        note_roles(reader, heads=leading, widths=(width, value[-1]))
    reader.contract(node, ("args", 0), len(query) - 1, width)
    if given.get("scale") is None and is_free(width):
        reader.constants.append(Constant(node.name, ("kwargs", "scale"), length(width) ** -0.5, width))
    return (*leading, query[-2], value[-1])


@rule("einsum")
def einsum(reader: Reader, node: fx.Node, given: dict[str, Any]) -> Dims:
    """Dimensions of one letter are tied."""
    equation, operands = given["equation"].replace(" ", ""), given["operands"]
    reason = reader.reason(node, f"einsum “{equation}”")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if "." in equation or not arrow or any(len(set(term)) != len(term) for term in terms):
        return reader.unknown(node, given, reason)
    axes: dict[str, Axis] = {}
    for term, dims in zip(terms, operands, strict=True):
        for letter, axis in zip(term, dims, strict=True):
            known = axes.get(letter)
            if known is None or length(known) == 1:
                axes[letter] = axis
            elif length(axis) != 1:
                axes[letter] = tie_axes(known, axis, reader.variables, reason)
    for position, term in enumerate(terms):
        for dim, letter in enumerate(term):
            if letter not in right:
                reader.contract(node, ("args", 1 + position), dim, operands[position][dim])
    _note_einsum_roles(reader, terms, right, axes)
    return tuple(axes[letter] for letter in right)


def _note_einsum_roles(reader: Reader, terms: list[str], right: str, axes: dict[str, Axis]) -> None:
    """In a batched product of two operands the last letter that all share is the heads, the summed one the width."""
    if len(terms) != 2:
        return
    shared = [letter for letter in terms[0] if letter in terms[1] and letter in right]
    summed = [letter for letter in terms[0] if letter in terms[1] and letter not in right]
    own = [letter for letter in terms[1] if letter not in terms[0] and letter in right]
    if shared and len(summed) == 1:
        note_roles(
            reader,
            heads=tuple(axes[letter] for letter in shared),
            widths=tuple(axes[letter] for letter in (*summed, *own[-1:])),
        )
