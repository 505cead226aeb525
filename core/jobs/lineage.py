"""Where a plan starts: at the dense model, or at a variant that is to be pruned further. Knows no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import PlanError, StoreError
from ..pruning.plan import Plan
from ..store import Store, Variant

__all__ = ["DESCRIPTION", "line_of", "rows_since_dense", "start_of"]

DESCRIPTION = "description"
"""Kind of the measurement that names the model row of a variant: what pages need to plan from it."""


def start_of(store: Store, plan: Plan, dense: Variant) -> Variant:
    """The variant that a plan starts from: ``dense``, or the one that it names.

    Raises:
        PlanError: when that one is gone, or belongs to another session.
    """
    if not plan.start or plan.start == dense.id:
        return dense
    try:
        start = store.get_variant(plan.start)
    except StoreError:
        start = None
    if start is None or start.session_id != dense.session_id:
        raise PlanError(
            "The variant that this plan starts from is not in this session any more: choose another, or the dense "
            "model."
        )
    return start


def line_of(store: Store, variant: Variant) -> list[Variant]:
    """The variants that this one was made from, oldest first, itself the last; without the dense model."""
    line: list[Variant] = []
    while variant.plan is not None and variant not in line:
        line.insert(0, variant)
        if variant.parent_id is None:
            break
        try:
            variant = store.get_variant(variant.parent_id)
        except StoreError:  # an ancestor was deleted: the line begins after it
            break
    return line


def rows_since_dense(
    before: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], nonzero: Mapping[str, int]
) -> list[dict[str, Any]]:
    """What a variant of a variant lost of the dense model, layer by layer.

    Args:
        before: the rows of the variant that was pruned further, see ``Variant.layers``.
        rows: those of the new one, which count from that variant.
        nonzero: weights of the result that are not 0, per layer.
    """
    known = {row["name"]: row for row in before}
    joined = []
    for row in rows:
        first = known.get(row["name"])
        if first is None or not first.get("removed"):
            joined.append(dict(row))
            continue
        size, kept = int(first["size"]), nonzero[row["name"]]
        shape = row.get("kept_shape") or first.get("kept_shape")
        gone_channels = int(first.get("channels") or 0) - int(row.get("channels") or 0)
        joined.append(
            {
                **row,
                "size": size,
                "removed": size - kept,
                "nonzero": kept,
                "sparsity": (size - kept) / size if size else 0.0,
                "channels": first.get("channels"),
                "empty_channels": int(row.get("empty_channels") or 0) + gone_channels,
                "energy_removed": 1.0
                - (1.0 - float(first.get("energy_removed") or 0.0)) * (1.0 - float(row.get("energy_removed") or 0.0)),
                **({"kept_shape": shape, "groups": row.get("groups") or first.get("groups") or []} if shape else {}),
            }
        )
    return joined
