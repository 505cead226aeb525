"""Norm scale: channels that their norm multiplies by little matter least ("Network Slimming", Liu 2017)."""

from typing import TYPE_CHECKING

import numpy as np

from ..criteria.base import CalibrationContext
from .base import GROUP_CRITERIA, GroupCriterion, Scores, parameters_of, per_unit
from .magnitude import root_mean_square

if TYPE_CHECKING:
    from ...comb.groups import Comb

__all__ = ["NormScale"]


@GROUP_CRITERIA.register("bn_scale")
class NormScale(GroupCriterion):
    """Norm scale |γ|: of batch, layer, group and instance norms; groups without a norm fall back on magnitude."""

    title = "Norm scale"
    reduction = "mean of |γ| over the norms of the group; magnitude (L2) where it has none"

    @classmethod
    def score(cls, found: "Comb", context: CalibrationContext) -> Scores:
        """|γ| per unit; every group divided by its mean, so that the fallback can be compared."""
        from torch import nn
        from torch.nn.modules.batchnorm import _NormBase

        parameters = parameters_of(found)
        layers = dict(found.model.graph_module.named_modules())
        norms = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
        scores = root_mean_square(found)
        for group in found.groups:
            scales = []
            for member in group.members:
                if isinstance(layers.get(member.layer), norms) and member.tensor.endswith("weight"):
                    sizes = np.bincount(member.unit_of_index[member.unit_of_index >= 0], minlength=group.units)
                    total = per_unit(parameters[member.tensor].abs(), member, group.units)
                    scales.append(total / np.maximum(sizes, 1))
            if scales:
                scores[group.name] = np.mean(scales, axis=0)
        return {name: values / (values.mean() or 1.0) for name, values in scores.items()}
