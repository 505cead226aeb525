"""Fields that the settings of several methods and measurements have, with what a person sees of them."""

from typing import Annotated, Literal

from pydantic import Field

from ..comb.kinds import Kind

__all__ = ["CalibrationImages", "Kinds", "MinKeep", "RecalibrationImages", "RoundTo", "UnitBudget"]

CalibrationImages = Annotated[
    int, Field(ge=1, le=10_000, title="Images for the criterion", description="For criteria that look at data.")
]
RecalibrationImages = Annotated[int, Field(ge=2, le=100_000, title="Images for recalibration")]
UnitBudget = Annotated[
    Literal["parameters", "macs", "channels", "latency"],
    Field(
        title="Sparsity counts",
        description="What the plan's sparsity is a fraction of: parameters, MACs, channels (heads, neurons) or latency "
        "in ONNX Runtime, predicted from layers timed on this machine.",
    ),
]
RoundTo = Annotated[
    int,
    Field(
        ge=1,
        le=1024,
        title="Round channels to",
        description="Channels that stay are multiples of this. Kernels like 8, or 16 with AVX-512.",
    ),
]
MinKeep = Annotated[float, Field(ge=0.0, lt=1.0, title="Keep at least", description="Part of every group.")]
Kinds = Annotated[tuple[Kind, ...], Field(title="Kinds of groups that may shrink")]
