"""Several methods or schedules at the same budget: the same sparsity, seed and number of epochs, one plan each."""

from collections.abc import Sequence
from typing import Any

from ..errors import PlanError
from ..methods import METHODS
from ..pruning.plan import Plan
from ..pruning.schedules import SCHEDULES
from ..settings import Settings
from ..training.settings import StageSettings

__all__ = ["race_plans", "racers", "schedules_of"]

_SHARED = ("training", "distillation")


def racers() -> list[str]:
    """The methods that can race: those that train."""
    return [name for name, method in METHODS.items() if method.trains]


def schedules_of(method: str) -> tuple[str, ...]:
    """The sparsity schedules that a method can follow; none where it does everything at once."""
    return tuple(SCHEDULES) if "schedule" in METHODS[method].Settings.model_fields else ()


def race_plans(
    base: Plan, methods: Sequence[str], *, epochs: int, schedules: Sequence[str] = ()
) -> list[tuple[str, Plan]]:
    """A name and a plan for each method, and for each of ``schedules`` where the method follows one.

    Each trains exactly ``epochs`` epochs over all its stages, without early stopping; stages share them as they do by
    default. The method of ``base`` keeps its settings, and all take over its data, batches and, where ``base`` chose
    them, its distillation.

    Raises:
        PlanError: when a method has more stages than there are epochs, or there is nothing to race.
    """
    if not methods:
        raise PlanError("Choose at least one method to race.")
    made = []
    for method in methods:
        chosen: list[str | None] = [item for item in schedules if item in schedules_of(method)]
        made += [(_name(method, item), _plan(base, method, item, epochs)) for item in chosen or [None]]
    return made


def _name(method: str, schedule: str | None) -> str:
    title = METHODS[method].title.split(" · ")[0]
    return f"{title}, {schedule}" if schedule else title


def _plan(base: Plan, method: str, schedule: str | None, epochs: int) -> Plan:
    kind = METHODS[method].Settings
    body: dict[str, Any] = dict(base.method_settings) if method == base.method else _shared(base, kind)
    settings = kind.parse(body).model_dump()
    if schedule is not None:
        settings["schedule"] = schedule
    if "tail_epochs" in settings:
        settings["tail_epochs"] = 0
    stages = [name for name, field in kind.model_fields.items() if field.annotation is StageSettings]
    for name, share in zip(stages, _shares([settings[name]["epochs"] for name in stages], epochs), strict=True):
        settings[name] |= {"epochs": share, "patience": 0}
    plan = base.changed(method=method, method_settings=kind.parse(settings).to_json())
    course = METHODS[method].course(plan)
    if course is None or course.epochs != epochs:
        raise PlanError(f"“{METHODS[method].title}” cannot be given exactly {epochs} epochs; leave it out of the race.")
    return plan


def _shared(base: Plan, kind: type[Settings]) -> dict[str, Any]:
    return {
        name: base.method_settings[name]
        for name in _SHARED
        if name in base.method_settings and name in kind.model_fields
    }


def _shares(usual: Sequence[int], epochs: int) -> list[int]:
    """``epochs`` divided like ``usual``, at least one each, exactly used up."""
    if epochs < len(usual):
        raise PlanError(f"A race needs at least {len(usual)} epochs: one per stage.")
    shares, left, weight = [], epochs, sum(usual)
    for index, part in enumerate(usual):
        after = len(usual) - index - 1
        share = left if after == 0 else min(left - after, max(1, round(left * part / max(1, weight))))
        shares.append(share)
        left, weight = left - share, weight - part
    return shares
