"""What changed from one plan to another, in words. Knows no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo

from ..errors import EspalierError
from ..methods import METHODS
from ..pruning.plan import Plan
from ..settings import Settings

__all__ = ["plan_differences"]

_NAMED = 3


def plan_differences(before: Plan, after: Plan) -> list[str]:
    """One sentence per thing that is different, the weightiest first; empty for plans that do the same.

    The plans' own names do not matter. Settings that are not written count as their defaults.
    """
    said = []
    if before.start != after.start:
        said.append(f"Starts from {_start(after)} instead of {_start(before)}.")
    if before.method != after.method:
        said.append(f"Method: {_title(before.method)} → {_title(after.method)}.")
    if before.sparsity != after.sparsity:
        said.append(f"Sparsity: {100 * before.sparsity:.6g} % → {100 * after.sparsity:.6g} %.")
    for field, label in (("allocation", "Allocation"), ("criterion", "Criterion"), ("seed", "Seed")):
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            said.append(f"{label}: {old} → {new}.")
    said += _choices("fixed", before.overrides, after.overrides, lambda value: f"{100 * value:g} %")
    said += _choices("given a pattern", before.patterns, after.patterns, str)
    said += _choices("protected", dict.fromkeys(before.protected, True), dict.fromkeys(after.protected, True), None)
    if before.method == after.method:
        said += _settings(before, after)
    return said


def _start(plan: Plan) -> str:
    return f"the variant {plan.start[:8]}" if plan.start else "the dense model"


def _title(method: str) -> str:
    return METHODS[method].title if method in METHODS else method


def _choices(word: str, before: Mapping[str, Any], after: Mapping[str, Any], shown: Any) -> list[str]:
    """Names that gained, lost or changed a choice."""
    gained = [name for name in after if name not in before]
    lost = [name for name in before if name not in after]
    changed = [name for name in after if name in before and after[name] != before[name]]

    def listed(names: Sequence[str], values: Mapping[str, Any] | None) -> str:
        parts = [f"{name} ({shown(values[name])})" if shown and values else name for name in names[:_NAMED]]
        return ", ".join(parts) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")

    said = []
    if gained:
        said.append(f"Newly {word}: {listed(gained, after)}.")
    if lost:
        said.append(f"No longer {word}: {listed(lost, None)}.")
    if changed:
        moves = [f"{name} {shown(before[name])} → {shown(after[name])}" for name in changed[:_NAMED]]
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        said.append(f"Otherwise {word}: {', '.join(moves)}{more}.")
    return said


def _settings(before: Plan, after: Plan) -> list[str]:
    """Settings of the method, by the titles that forms show."""
    if before.method not in METHODS or before.method_settings == after.method_settings:
        return []
    kind = METHODS[before.method].Settings
    try:
        old, new = kind.parse(before.method_settings), kind.parse(after.method_settings)
    except EspalierError:
        return ["The settings of the method are different."]
    return [f"{path}: {_value(a)} → {_value(b)}." for path, a, b in _leaves(old, new)]


def _leaves(old: Settings, new: Settings, path: str = "") -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for name, info in type(old).model_fields.items():
        a, b = getattr(old, name), getattr(new, name)
        label = f"{path}{_label(name, info)}"
        if isinstance(a, Settings) and type(a) is type(b):
            found += _leaves(a, b, f"{label} › ")
        elif a != b:
            found.append((label, a, b))
    return found


def _label(name: str, info: FieldInfo) -> str:
    return info.title or name.replace("_", " ").capitalize()


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None or value == "" else str(value)
