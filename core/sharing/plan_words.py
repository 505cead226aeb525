"""A plan as sentences, for people who do not have the program before them. Knows no torch."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from ..methods import METHODS, Method
from ..methods.naming import own_default, title_of
from ..pruning.plan import Plan
from ..settings import field_label, nested_type
from ..wording import inside

__all__ = ["plan_sentences"]

_NAMED = 12
_MARK = re.compile(r" ?\[[PCD](, [PCD])*\]")
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
        return [f"Method: {plan.method}, which this version does not know.", *_settings(plan, {}), _seed(plan)]
    method = METHODS[plan.method]
    # The marks of METHODS.md mean nothing to somebody who has only the report or the card.
    said = [f"Method: {method.title} ({_MARK.sub('', method.provenance).rstrip('.')})."]
    if method.removes == "nothing":
        return [*said, *_settings(plan, method.Settings.model_fields), _seed(plan)]
    said.append(_amount(plan, method))
    if plan.start:
        said.append("It starts from another pruned variant, not from the dense model.")
    if plan.overrides:
        said.append(f"Fixed: {_listed([f'{name} at {100 * share:.0f} %' for name, share in plan.overrides.items()])}.")
    if plan.patterns:
        said.append(f"Patterns: {_listed([f'{name} {pattern}' for name, pattern in plan.patterns.items()])}.")
    if plan.protected:
        said.append(f"Left dense: {_listed(list(plan.protected))}.")
    return [*said, *_settings(plan, method.Settings.model_fields), _seed(plan)]


def _amount(plan: Plan, method: type[Method]) -> str:
    """How much was to go, and where the plan has a say in it, by what."""
    budget = plan.method_settings.get("budget", own_default(plan.method, "budget"))
    words = [f"It was to remove {100 * plan.sparsity:.1f} % of the {_UNITS.get(str(budget), 'prunable weights')}"]
    for field, said in (("allocation", "divided by"), ("criterion", "chosen by")):
        # Methods that remove units decide by themselves, unless their settings leave it to the plan.
        if own_default(plan.method, field) is not None or method.removes == "weights":
            words.append(f"{said} “{title_of(plan, field)}”")
    return f"{', '.join(words)}."


def _settings(plan: Plan, fields: Mapping[str, FieldInfo]) -> list[str]:
    """Settings that the plan names itself, by what the form calls them; a section of them is a sentence of its own."""
    single: dict[str, Any] = {}
    sections: list[str] = []
    for name, value in plan.method_settings.items():
        if isinstance(value, Mapping):
            kind = nested_type(fields[name]) if name in fields else None
            own = _valued(value, kind.model_fields if kind is not None else {})
            sections.append(f"{_label(name, fields)}: {own}.")
        else:
            single[name] = value
    return [*([f"Settings: {_valued(single, fields)}."] if single else []), *sections]


def _valued(settings: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> str:
    return _listed([f"{inside(_label(name, fields))} = {_value(value)}" for name, value in settings.items()], "; ")


def _label(name: str, fields: Mapping[str, FieldInfo]) -> str:
    return field_label(name, fields[name]) if name in fields else name


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return " · ".join(map(_value, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _seed(plan: Plan) -> str:
    return f"Seed {plan.seed}."


def _listed(words: list[str], between: str = ", ") -> str:
    more = len(words) - _NAMED
    return between.join(words[:_NAMED]) + (f" and {more} more" if more > 0 else "")
