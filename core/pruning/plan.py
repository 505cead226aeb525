"""The plan: what is to be pruned, how much, how. Knows no torch; pages edit it, jobs execute a frozen copy of it."""

from typing import Any

from pydantic import Field, field_validator

from ..settings import Settings

__all__ = ["PLAN_VERSION", "Plan"]

PLAN_VERSION = 1


class Plan(Settings):
    """A frozen, serialisable plan. Sparsity is the fraction removed, at least 0 and below 1, everywhere.

    ``overrides`` fixes the sparsity of single layers; ``protected`` layers stay dense; the remaining layers share what
    is needed to reach ``sparsity`` over all layers that are neither protected nor overridden.
    ``method_settings`` are validated by the method's own settings type.
    """

    version: int = Field(default=PLAN_VERSION, ge=1, le=PLAN_VERSION)
    name: str = Field(default="", max_length=120, title="Name")
    method: str = Field(default="one_shot", title="Method")
    sparsity: float = Field(default=0.5, ge=0.0, lt=1.0, title="Sparsity")
    criterion: str = Field(default="magnitude", title="Criterion")
    allocation: str = Field(default="lamp", title="Allocation")
    overrides: dict[str, float] = Field(default_factory=dict, title="Sparsity of single layers")
    protected: tuple[str, ...] = Field(default=(), title="Protected layers")
    method_settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, title="Seed")

    @field_validator("overrides")
    @classmethod
    def _in_range(cls, overrides: dict[str, float]) -> dict[str, float]:
        for layer, sparsity in overrides.items():
            if not 0.0 <= sparsity < 1.0:
                raise ValueError(f"the sparsity of {layer} must be at least 0 and below 1")
        return overrides
