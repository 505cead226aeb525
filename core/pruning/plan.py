"""The plan: what is to be pruned, how much, how. Knows no torch; pages edit it, jobs execute a frozen copy of it."""

import json
from typing import Any, Self

from pydantic import Field, field_validator

from ..errors import EspalierError, PlanError
from ..settings import Settings
from .patterns import pattern_of

__all__ = ["PLAN_VERSION", "Plan"]

PLAN_VERSION = 2
"""2: ``patterns`` and ``start``. Plans of version 1 are read; they have neither."""
_CHARACTERS_AT_MOST = 4_000_000


class Plan(Settings):
    """A frozen, serialisable plan. Sparsity is the fraction removed, at least 0 and below 1, everywhere.

    ``overrides`` fixes the sparsity of single layers; ``patterns`` gives layers an N:M pattern such as “2:4” (see
    ``core.pruning.patterns``); ``protected`` layers stay dense; the remaining, free layers share what is needed to
    reach ``sparsity`` over all of them. ``start`` is the id of the variant that the plan starts from; empty: the dense
    model. ``method_settings`` are validated by the method's own settings type.
    """

    version: int = Field(default=PLAN_VERSION, ge=1, le=PLAN_VERSION)
    name: str = Field(default="", max_length=120, title="Name")
    method: str = Field(default="one_shot", title="Method")
    sparsity: float = Field(default=0.5, ge=0.0, lt=1.0, title="Sparsity")
    criterion: str = Field(default="magnitude", title="Criterion")
    allocation: str = Field(default="lamp", title="Allocation")
    overrides: dict[str, float] = Field(default_factory=dict, title="Sparsity of single layers")
    patterns: dict[str, str] = Field(default_factory=dict, title="N:M patterns of single layers")
    protected: tuple[str, ...] = Field(default=(), title="Protected layers")
    start: str = Field(default="", max_length=80, title="Starts from the variant")
    method_settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, title="Seed")

    @property
    def settled(self) -> frozenset[str]:
        """Names that take no part in sharing ``sparsity``: fixed, patterned and protected ones."""
        return frozenset((*self.overrides, *self.patterns, *self.protected))

    @property
    def removes_nothing(self) -> bool:
        """Whether the plan asks for no removal at all."""
        return self.sparsity == 0.0 and not any(self.overrides.values()) and not self.patterns

    @classmethod
    def parse(cls, body: Any, *, error: type[EspalierError] = PlanError) -> Self:
        """As ``Settings.parse``; a plan of a newer Espalier is refused as such, before its fields are judged."""
        version = body.get("version") if isinstance(body, dict) else None
        if isinstance(version, int) and version > PLAN_VERSION:
            raise error(
                f"This plan was made with plan version {version}, and this Espalier reads up to version "
                f"{PLAN_VERSION}: update Espalier to open it."
            )
        return super().parse(body, error=error)

    def to_text(self) -> str:
        """The plan as a JSON file, for download and version control."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_text(cls, text: str | bytes) -> Self:
        """Read what ``to_text`` wrote.

        Raises:
            PlanError: when it is no JSON object, too long, of a newer version, or out of range (names each field).
        """
        if len(text) > _CHARACTERS_AT_MOST:
            raise PlanError(f"A plan has at most {_CHARACTERS_AT_MOST:,} characters; this file has {len(text):,}.")
        try:
            body = json.loads(text)
        except (ValueError, RecursionError) as problem:
            raise PlanError(f"A plan is a JSON file, and this is not JSON: {str(problem)[:120]}.") from None
        if not isinstance(body, dict):
            raise PlanError(f"A plan is a JSON object with fields such as “sparsity”; got a {type(body).__name__}.")
        return cls.parse(body)

    @field_validator("version")
    @classmethod
    def _as_this_version(cls, version: int) -> int:
        return PLAN_VERSION

    @field_validator("patterns")
    @classmethod
    def _known_patterns(cls, patterns: dict[str, str]) -> dict[str, str]:
        return {layer: str(pattern_of(text)) for layer, text in patterns.items()}

    @field_validator("protected")
    @classmethod
    def _once_each(cls, protected: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(protected))

    @field_validator("overrides")
    @classmethod
    def _in_range(cls, overrides: dict[str, float]) -> dict[str, float]:
        for layer, sparsity in overrides.items():
            if not 0.0 <= sparsity < 1.0:
                raise ValueError(f"the sparsity of {layer} must be at least 0 and below 1")
        return overrides
