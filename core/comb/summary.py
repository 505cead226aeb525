"""From the groups of a traced model to the sheet that pages work with."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .couplings import couplings
from .groups import Comb, Group
from .preview import Previewer
from .sheet import GroupSheet, SheetFrozen, SheetGroup

__all__ = ["summarise"]


def summarise(
    found: Comb, scores: Mapping[str, Mapping[str, np.ndarray]] | None = None, *, explain: bool = True
) -> GroupSheet:
    """The sheet of a combed model.

    Args:
        found: the groups.
        scores: criterion → group → ``[units]``, for criteria that need no data.
        explain: say why layers shrink together; what only counts and chooses does without.
    """
    why = couplings(found) if explain else {}
    groups = tuple(_group(group, found) for group in found.groups)
    sheet = GroupSheet(
        groups,
        tuple(SheetFrozen(g.name, g.kind, g.frozen_reason or "", g.layers) for g in found.frozen),
        tuple(found.model.prunable()),
        Previewer(found).counter,
        dict(scores or {}),
    )
    dense = sheet.dense
    costed = []
    for group in groups:
        less = sheet.counts({group.name: [0]})
        costed.append(
            replace(
                group,
                couplings=why.get(group.name, ()),
                unit_parameters=dense.parameters - less.parameters,
                unit_macs=dense.macs - less.macs,
            )
        )
    return replace(sheet, groups=tuple(costed))


def _group(group: Group, found: Comb) -> SheetGroup:
    creators = tuple(dict.fromkeys(member.layer for member in group.members if member.creates))
    weights = set(found.model.prunable())
    readers = tuple(
        dict.fromkeys(
            member.layer
            for member in group.members
            if not member.creates and member.tensor.endswith(".weight") and member.layer in weights
        )
    )
    return SheetGroup(
        name=group.name,
        kind=group.kind,
        units=group.units,
        width=_width(group),
        normed=group.normed,
        members=len(group.members),
        layers=group.layers,
        creators=creators,
        readers=tuple(name for name in readers if name not in creators),
    )


def _width(group: Group) -> int:
    """Output channels of the layers that make it which one unit stands for."""
    members = [member for member in group.members if member.creates] or list(group.members)
    return max(1, *(int((member.unit_of_index >= 0).sum()) // group.units for member in members))
