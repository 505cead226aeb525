"""What a plan takes from every group: the real thing, not an estimate, kept per model and plan."""

import functools
from dataclasses import dataclass

from core.comb.counting import Counts
from core.comb.sheet import GroupSheet, SheetGroup
from core.errors import EspalierError
from core.methods import METHODS
from core.methods.one_shot_structured import planned_removal
from core.planning.outlook import EXACT, untrained
from core.planning.whatif import Effect, effect_of_removal
from core.pruning.groups.budget import Removal
from core.pruning.plan import Plan
from dashboard.components.group_facts import choices_of

__all__ = ["EXACT", "GroupPreview", "GroupRow", "preview_groups"]


@dataclass(frozen=True)
class GroupRow:
    """One group under a plan. ``removed`` is None where the plan is impossible; shares are of the dense model."""

    group: SheetGroup
    removed: int | None
    fixed: float | None
    protected: bool
    left_out: bool
    parameters_share: float
    macs_share: float

    @property
    def kept(self) -> int:
        """Units that stay."""
        return self.group.units - (self.removed or 0)

    @property
    def sparsity(self) -> float:
        """Fraction of the units that goes."""
        return (self.removed or 0) / self.group.units

    @property
    def state(self) -> str:
        """Who decides about this group."""
        if self.protected:
            return "protected"
        return "fixed by you" if self.fixed is not None else "kind left out" if self.left_out else "allocated"


@dataclass(frozen=True)
class GroupPreview:
    """What stays of the whole model under a plan; ``problem`` is the sentence that says why it is impossible."""

    rows: tuple[GroupRow, ...]
    dense: Counts
    left: Counts | None
    problem: str | None
    note: str | None
    """Says what stands in for scores that look at data; None where the preview is exact."""
    effect: Effect | None
    """What an estimate of the score starts from; None for an impossible plan."""

    @property
    def shrinking(self) -> int:
        """Groups that lose something."""
        return sum(bool(row.removed) for row in self.rows)


def preview_groups(sheet: GroupSheet, plan: Plan) -> GroupPreview:
    """The preview of a plan; equal plans are counted once."""
    return _preview(sheet, plan.changed(name="").model_dump_json())


@functools.lru_cache(maxsize=64)
def _preview(sheet: GroupSheet, text: str) -> GroupPreview:
    plan = Plan.model_validate_json(text)
    removal: Removal | None = None
    problem = note = None
    try:
        one_shot = untrained(plan)
        removal, note = planned_removal(sheet, one_shot)
        kinds = tuple(getattr(METHODS[EXACT].Settings.parse(one_shot.method_settings), "kinds", ()))
    except EspalierError as error:
        problem, kinds = str(error), tuple({group.kind for group in sheet.groups})
    fixed, held = choices_of(sheet, plan)
    dense = sheet.dense
    rows = []
    for group in sheet.groups:
        removed = None if removal is None else len(removal.get(group.name, ()))
        rows.append(
            GroupRow(
                group=group,
                removed=removed,
                fixed=fixed.get(group.name),
                protected=group.name in held,
                left_out=group.kind not in kinds and group.name not in fixed,
                parameters_share=(removed or 0) * group.unit_parameters / max(1, dense.parameters),
                macs_share=(removed or 0) * group.unit_macs / max(1, dense.macs),
            )
        )
    left = None if removal is None else sheet.counts(removal)
    effect = None if removal is None else effect_of_removal(plan, sheet, removal)
    return GroupPreview(tuple(rows), dense, left, problem, note, effect)
