"""A plan as sentences, for people who do not have the program before them. Knows no torch."""

import re
from collections.abc import Mapping
from typing import Any

from ..methods import METHODS, Method
from ..pruning.plan import Plan

__all__ = ["plan_sentences"]

_NAMED = 12
_MARK = re.compile(r" ?\[[PCD]\]")
_UNITS = {
    "macs": "multiply–accumulate operations",
    "parameters": "parameters",
    "latency": "latency",
    "channels": "channels",
}


def plan_sentences(body: Mapping[str, Any]) -> list[str]:
    """What the plan (``Plan.to_json()``) asks for, in order: method, amount, exceptions, settings.

    Raises:
        PlanError: when this is no plan that this version reads.
    """
    plan = Plan.parse(dict(body))
    if plan.method not in METHODS:
        return [f"Method: {plan.method}, which this version does not know.", *_settings(plan), _seed(plan)]
    method = METHODS[plan.method]
    # The marks of METHODS.md mean nothing to somebody who has only the report or the card.
    said = [f"Method: {method.title} ({_MARK.sub('', method.provenance).rstrip('.')})."]
    if method.removes == "nothing":
        return [*said, *_settings(plan), _seed(plan)]
    said.append(_amount(plan, method))
    if plan.start:
        said.append("It starts from another pruned variant, not from the dense model.")
    if plan.overrides:
        said.append(f"Fixed: {_listed([f'{name} at {100 * share:.0f} %' for name, share in plan.overrides.items()])}.")
    if plan.patterns:
        said.append(f"Patterns: {_listed([f'{name} {pattern}' for name, pattern in plan.patterns.items()])}.")
    if plan.protected:
        said.append(f"Left dense: {_listed(list(plan.protected))}.")
    return [*said, *_settings(plan), _seed(plan)]


def _amount(plan: Plan, method: type[Method]) -> str:
    """How much was to go, and where the plan has a say in it, by what."""
    budget = _in_force(plan, method, "budget")
    words = [f"It was to remove {100 * plan.sparsity:.1f} % of the {_UNITS.get(str(budget), 'prunable weights')}"]
    for field, said in (("allocation", "divided by"), ("criterion", "chosen by")):
        value = _in_force(plan, method, field)
        # Methods that remove units decide by themselves, unless their settings leave it to the plan.
        if value is not None or method.removes == "weights":
            words.append(f"{said} “{getattr(plan, field) if value in (None, 'plan') else value}”")
    return f"{', '.join(words)}."


def _in_force(plan: Plan, method: type[Method], field: str) -> Any:
    """A method's setting: as the plan has it, else its default; None where the method has no such setting."""
    fields = method.Settings.model_fields
    return plan.method_settings.get(field, fields[field].default) if field in fields else None


def _settings(plan: Plan) -> list[str]:
    flat = _flat(plan.method_settings)
    return [f"Settings: {_listed([f'{name} = {value}' for name, value in flat.items()])}."] if flat else []


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def _seed(plan: Plan) -> str:
    return f"Seed {plan.seed}."


def _listed(words: list[str]) -> str:
    more = len(words) - _NAMED
    return ", ".join(words[:_NAMED]) + (f" and {more} more" if more > 0 else "")
