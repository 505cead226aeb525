"""Random: the control that every other criterion must beat."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .base import CRITERIA, CalibrationContext, Criterion

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Random"]


@CRITERIA.register("random")
class Random(Criterion):
    """Random: a control. What another criterion gains over it is what the criterion is worth."""

    title = "Random (control)"

    @classmethod
    def score(cls, model: Any, layer_names: Sequence[str], context: CalibrationContext) -> dict[str, "Tensor"]:
        """Uniform in [0, 1); each layer is seeded by its name, so that which layers are pruned changes no draw."""
        import torch

        modules, scores = model.prunable(), {}
        for name in layer_names:
            digest = hashlib.sha256(f"{context.seed}:{name}".encode()).digest()
            draw = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
            weight = modules[name].weight
            scores[name] = torch.rand(weight.shape, generator=draw).to(weight.device)
        return scores
