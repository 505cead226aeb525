"""Magnitude: small weights matter least."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .base import CRITERIA, CalibrationContext, Criterion

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Magnitude"]


@CRITERIA.register("magnitude")
class Magnitude(Criterion):
    """Magnitude |w|: needs no data, and is hard to beat."""

    title = "Magnitude"

    @classmethod
    def score(cls, model: Any, layer_names: Sequence[str], context: CalibrationContext) -> dict[str, "Tensor"]:
        """|w| in float32 (half precision is widened)."""
        modules = model.prunable()
        return {name: modules[name].weight.detach().abs().float() for name in layer_names}
