"""What a plan leaves to its method, and what it is called when nobody names it. Knows no torch."""

from typing import Any

from ..pruning.allocation import ALLOCATIONS
from ..pruning.criteria import CRITERIA
from ..pruning.groups import GROUP_ALLOCATIONS, GROUP_CRITERIA
from ..pruning.plan import Plan
from .base import METHODS

__all__ = ["default_name", "effective", "own_default", "title_of"]

_LAYERS: dict[str, Any] = {"allocation": ALLOCATIONS, "criterion": CRITERIA}
_GROUPS: dict[str, Any] = {"allocation": GROUP_ALLOCATIONS, "criterion": GROUP_CRITERIA}


def default_name(plan: Plan) -> str:
    """What a variant is called when nobody names it: ``LAMP 80 %``, ``Groups: Global 50 %, Taylor``, ``CPD 50 %``."""
    units = plan.method in METHODS and METHODS[plan.method].removes == "units"
    trains = plan.method in METHODS and METHODS[plan.method].trains
    parts = [METHODS[plan.method].title.split(" · ")[0] if trains else "Groups" if units else ""]
    if not units or own_default(plan.method, "allocation") is not None:  # else the method shares the cut itself
        parts = [f"{parts[0]}: " if parts[0] else "", title_of(plan, "allocation")]
    name = f"{''.join(parts)} {100 * plan.sparsity:g} %"
    ranks = not units or own_default(plan.method, "criterion") is not None
    if ranks and effective(plan, "criterion") != "magnitude":
        name += f", {title_of(plan, 'criterion').split(' ')[0]}"
    if plan.patterns:
        kinds = sorted(set(plan.patterns.values()))
        name += f", {' and '.join(kinds)} in {len(plan.patterns)}"
    return name + (f", {len(plan.overrides)} fixed" if plan.overrides else "")


def title_of(plan: Plan, field: str) -> str:
    """The menu's name of the ``allocation`` or ``criterion`` in force; its own name where no menu has it."""
    units = plan.method in METHODS and METHODS[plan.method].removes == "units"
    known = (_GROUPS if units else _LAYERS)[field]
    name = effective(plan, field)
    return str(known[name].title) if name in known else name


def effective(plan: Plan, field: str) -> str:
    """The criterion or allocation in force: that of the method's settings, unless they leave it to the plan."""
    own = plan.method_settings.get(field, own_default(plan.method, field))
    return str(getattr(plan, field) if own in (None, "plan") else own)


def own_default(method: str, field: str) -> str | None:
    """What a method's settings choose where nobody does: “plan” leaves it to the plan; None: it has no such choice."""
    fields = METHODS[method].Settings.model_fields if method in METHODS else {}
    return str(fields[field].default) if field in fields else None
