"""What a plan would remove and leave, counted without running it: the ground that a search walks on. Knows no torch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..comb.counting import Counts
from ..comb.sheet import GroupSheet
from ..errors import PlanError
from ..methods import METHODS
from ..methods.one_shot_structured import planned_removal
from ..pruning.estimate import preview
from ..pruning.groups import GROUP_ALLOCATIONS, GROUP_CRITERIA
from ..pruning.groups.budget import Removal
from ..pruning.plan import Plan
from .bytes import dense_file, sparse_file
from .whatif import Effect, effect_of_removal, effect_of_rows

__all__ = ["EXACT", "Costs", "LayerOutlook", "Outlook", "UnitOutlook", "untrained"]

EXACT = "one_shot_structured"
"""The method whose removals a sheet foretells exactly."""


@dataclass(frozen=True)
class Costs:
    """What a plan leaves. ``bytes``: the smaller of the dense and the compressed sparse file; None where not known."""

    parameters: int
    nonzero: int
    macs: int
    bytes: int | None = None
    latency_ms: float | None = None


def untrained(plan: Plan) -> Plan:
    """The plan as it is before training: the one-shot method of its kind, the same settings where both have them.

    Raises:
        PlanError: for a method that removes nothing, or settings that are not valid for the plan's own method.
    """
    if plan.method not in METHODS:
        raise PlanError(f"Unknown method “{plan.method}”; known: {', '.join(METHODS)}.")
    removes = METHODS[plan.method].removes
    if removes == "nothing":
        raise PlanError(f"{METHODS[plan.method].title} removes nothing: choose a method that does.")
    if not METHODS[plan.method].trains:
        return plan
    method = EXACT if removes == "units" else "one_shot"
    fields = METHODS[method].Settings.model_fields
    own = METHODS[plan.method].Settings.parse(plan.method_settings).to_json()
    shared = {name: own[name] for name in own if name in fields}
    if removes == "units":
        # A method without a menu for one of these does not look at what the plan says there.
        if "allocation" not in shared and plan.allocation not in GROUP_ALLOCATIONS:
            shared["allocation"] = "global"
        if "criterion" not in shared and plan.criterion not in GROUP_CRITERIA:
            shared["criterion"] = "magnitude"
    return plan.changed(method=method, method_settings=shared)


class Outlook(ABC):
    """What plans of one kind do to one model."""

    kind: Literal["weights", "units"]

    @abstractmethod
    def effect(self, plan: Plan) -> Effect:
        """What the plan does to each layer or group. PlanError when it is impossible."""

    @abstractmethod
    def costs(self, plan: Plan) -> Costs:
        """What the plan leaves. PlanError when it is impossible."""


class LayerOutlook(Outlook):
    """Plans that set single weights to zero.

    Args:
        weights: layer → ``LayerWeights``.
        description: result of ``describe_model``.
        sizes: bytes of the dense model's files.
        sensitivity: measured curves, for the allocation of that name.
        latency_ms: of the dense model, which zeros do not change.
    """

    kind = "weights"

    def __init__(
        self,
        weights: Mapping[str, Any],
        description: Mapping[str, Any],
        *,
        sizes: Mapping[str, Any],
        sensitivity: Mapping[str, Any] | None = None,
        latency_ms: float | None = None,
    ) -> None:
        self._weights, self._description, self._sizes = weights, description, sizes
        self._sensitivity, self._latency_ms = sensitivity, latency_ms
        self._last: tuple[Plan, dict[str, Any]] | None = None

    def effect(self, plan: Plan) -> Effect:
        """Sparsity and energy of every layer that loses weights."""
        return effect_of_rows(plan, self._preview(plan)["layers"])

    def costs(self, plan: Plan) -> Costs:
        """Zeros shrink the compressed file, and nothing else."""
        totals = self._preview(plan)["totals"]
        nonzero, parameters = int(totals["nonzero_parameters"]), int(totals["parameters"])
        packed, dense = sparse_file(nonzero, parameters, self._sizes), self._sizes.get("dense_bytes")
        size = None if packed is None or dense is None else min(packed, int(dense))
        return Costs(parameters, nonzero, int(totals["macs"]), size, self._latency_ms)

    def _preview(self, plan: Plan) -> dict[str, Any]:
        if self._last is None or self._last[0] != plan:
            self._last = (plan, preview(plan, self._weights, self._description, self._sensitivity))
        return self._last[1]


class UnitOutlook(Outlook):
    """Plans that remove units of groups.

    Args:
        sheet: the groups, with magnitudes.
        sizes: bytes of the dense model's files.
        milliseconds: latency of what a removal leaves, where it is known.
    """

    kind = "units"

    def __init__(
        self,
        sheet: GroupSheet,
        *,
        sizes: Mapping[str, Any],
        milliseconds: Callable[[Counts], float | None] | None = None,
    ) -> None:
        self.sheet, self._sizes, self._milliseconds = sheet, sizes, milliseconds
        self._last: tuple[Plan, Removal] | None = None

    def effect(self, plan: Plan) -> Effect:
        """Sparsity and energy of every group that shrinks."""
        return effect_of_removal(plan, self.sheet, self._removal(plan))

    def costs(self, plan: Plan) -> Costs:
        """Counted exactly, bytes in proportion to parameters."""
        left = self.sheet.counts(self._removal(plan))
        return Costs(
            left.parameters,
            left.parameters,
            left.macs,
            dense_file(left.parameters, self.sheet.dense.parameters, self._sizes),
            None if self._milliseconds is None else self._milliseconds(left),
        )

    def _removal(self, plan: Plan) -> Removal:
        if self._last is None or self._last[0] != plan:
            self._last = (plan, planned_removal(self.sheet, plan)[0])
        return self._last[1]
