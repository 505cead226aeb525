"""What a search may be asked. Knows no torch: pages draw forms from it."""

from typing import Literal

from pydantic import Field, model_validator

from ..settings import Settings
from .families import Cost

__all__ = ["Goal", "SearchSettings"]

Goal = Literal["smallest", "fastest", "front"]


class SearchSettings(Settings):
    """A search over plans.

    ``smallest``: the lowest ``cost`` that still keeps the score. ``fastest``: the highest score within ``within_ms``
    and ``within_bytes``. ``front``: several plans between much and little, none of them beaten by another.
    """

    goal: Goal = Field(default="smallest", title="Goal")
    cost: Cost = Field(default="bytes", title="What is to be small")
    keep: float | None = Field(
        default=None, ge=0.0, le=1.0, title="Score to keep", description="On the selection split, as a fraction."
    )
    lose: float | None = Field(
        default=None, ge=0.0, le=1.0, title="Points to lose at most", description="Against the dense model; a fraction."
    )
    sure: bool = Field(
        default=False,
        title="Also at the lower end of the interval",
        description="The paired 95 % interval of the difference to the dense model must keep the score, too.",
    )
    within_ms: float | None = Field(default=None, gt=0.0, title="Milliseconds at most")
    within_bytes: int | None = Field(default=None, ge=1, title="Bytes at most")
    images: int = Field(
        default=1000, ge=2, le=100_000, title="Images per measurement", description="Of the selection split."
    )
    evaluations: int = Field(
        default=24, ge=1, le=500, title="Measurements at most", description="Each prunes a copy and measures it."
    )
    tolerance: float = Field(
        default=0.01, gt=0.0, lt=1.0, title="Stop when the amount is known to", description="As a fraction removed."
    )
    sampler: Literal["curves", "optuna"] = Field(
        default="curves",
        title="Where points come from",
        description="“curves”: plans of the families, from little to much. “optuna”: after those, a multi-objective "
        "sampler over the sparsities of stages or groups (needs the extra “search”).",
    )
    seed: int = Field(default=0, ge=0, title="Seed")

    @model_validator(mode="after")
    def _one_target(self) -> "SearchSettings":
        if self.goal == "smallest" and (self.keep is None) == (self.lose is None):
            raise ValueError("say either what to keep or what may be lost, and not both")
        if self.goal == "fastest" and self.within_ms is None and self.within_bytes is None:
            raise ValueError("say within how many milliseconds or bytes")
        return self
