"""FPGM: units near the geometric median of their group can be replaced by the others (He et al., CVPR 2019)."""

from typing import TYPE_CHECKING

import numpy as np

from ..criteria.base import CalibrationContext
from .base import GROUP_CRITERIA, GroupCriterion, Scores, along, parameters_of, per_unit, weight_members

if TYPE_CHECKING:
    from ...comb.groups import Comb

__all__ = ["Fpgm"]


@GROUP_CRITERIA.register("fpgm")
class Fpgm(GroupCriterion):
    """Geometric median: units that resemble all others matter least."""

    title = "Geometric median (FPGM)"
    reduction = "mean over the weights that make the units of the summed distance to all other units"

    @classmethod
    def score(cls, found: "Comb", context: CalibrationContext) -> Scores:
        """Σ_v ‖w_u − w_v‖ over the output rows of each creating weight, divided by its mean, averaged over members."""
        import torch

        parameters = parameters_of(found)
        scores: Scores = {}
        for group in found.groups:
            members = [m for m in group.members if m.creates and m.tensor in parameters]
            values = []
            for member in members or list(weight_members(group, parameters)):
                owned = torch.from_numpy(np.flatnonzero(member.unit_of_index >= 0))
                rows = along(parameters[member.tensor].detach(), member.dim).float()
                distances = torch.zeros(len(rows), dtype=torch.float64)
                own = rows[owned.to(rows.device)]
                distances[owned] = torch.cdist(own, own).sum(1).double().cpu()
                summed = per_unit(distances, member, group.units)
                values.append(summed / (summed.mean() or 1.0))
            scores[group.name] = np.mean(values, axis=0)
        return scores
