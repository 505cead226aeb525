"""Wanda: weights and activations (Sun et al., ICLR 2024)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .base import CRITERIA, CalibrationContext, Criterion

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Wanda"]


@CRITERIA.register("wanda")
class Wanda(Criterion):
    """Wanda |w|·‖x‖₂: a weight matters as much as the activations it multiplies; compared inside each output row.

    S_ij = |W_ij|·‖X_j‖₂ (eq. 1). For convolutions X is the unfolded input, so that j runs over input channel and
    kernel position. Differs from the paper: the paper prunes language models uniformly; here any allocation may set
    the layers' totals, and convolutions are covered.
    """

    title = "Wanda (needs data)"
    needs_data = True
    scope = "row"

    @classmethod
    def score(cls, model: Any, layer_names: Sequence[str], context: CalibrationContext) -> dict[str, "Tensor"]:
        """|w|·‖x‖₂ in float32; a layer that the calibration images never reach scores 0 everywhere."""
        import torch

        from ..activations import input_energy

        modules = model.prunable()
        energy = input_energy(model, layer_names, context)
        scores = {}
        for name in layer_names:
            weight = modules[name].weight.detach()
            norms = energy[name].sqrt().to(torch.float32)  # [G, I/G, *kernel]: one input group per block of rows
            rows_per_group = weight.shape[0] // norms.shape[0]
            scores[name] = weight.abs().float() * norms.repeat_interleave(rows_per_group, dim=0)
        return scores
