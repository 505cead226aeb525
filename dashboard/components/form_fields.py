"""One widget for one field of a settings type; which one follows from the annotation.

``bool`` → toggle, ``int``/``float`` → number, ``Literal``/``Enum`` → menu, tuple or list of names → several from a
menu, of numbers → text with commas, ``X | None`` → the same with an empty state that means “automatic”.
"""

import enum
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

import streamlit as st
from pydantic.fields import FieldInfo

from core.settings import field_label, without_none

__all__ = ["field_default", "widget"]

_EMPTY = "automatic"


def field_default(field: FieldInfo) -> Any:
    """The default value; None for fields that have none."""
    return None if field.is_required() else field.get_default(call_default_factory=True)


def widget(
    name: str,
    field: FieldInfo,
    current: Any,
    *,
    key: str,
    choices: Mapping[str, str] | None = None,
    on_change: Callable[[], None] | None = None,
) -> Any:
    """Draw the widget and return what was entered, not yet validated.

    ``choices``: value → label, for fields of plain text whose values are known (members of a registry).
    """
    kind, optional = without_none(field.annotation)
    label = field_label(name, field)
    shared: dict[str, Any] = {"key": key, "help": field.description, "on_change": on_change}
    options = _options(kind) if choices is None else dict(choices)
    if options:
        return _menu(label, options, current, optional, shared)
    if kind is bool:
        return st.toggle(label, value=bool(current), **shared)
    if kind in (int, float):
        return _number_input(label, kind, field, current, optional, shared)
    if get_origin(kind) in (tuple, list):
        return _sequence(label, kind, current, optional, shared)
    text = st.text_input(label, value="" if current is None else str(current), **shared)
    return (text.strip() or None) if optional else text


def _options(kind: Any) -> dict[str, str]:
    """The values of a ``Literal`` or an enumeration."""
    if get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        names = [str(getattr(option, "value", option)) for option in (get_args(kind) or kind)]
        return dict(zip(names, names, strict=True))
    return {}


def _menu(label: str, options: Mapping[str, str], current: Any, optional: bool, shared: dict[str, Any]) -> Any:
    values: list[str | None] = [*([None] if optional else []), *options]
    chosen = None if current is None else str(getattr(current, "value", current))
    return st.selectbox(
        label,
        values,
        index=values.index(chosen) if chosen in values else 0,
        format_func=lambda value: _EMPTY if value is None else options.get(value, value),
        **shared,
    )


def _number_input(
    label: str, kind: Any, field: FieldInfo, current: Any, optional: bool, shared: dict[str, Any]
) -> int | float | None:
    low, high = _limits(field)
    step, form = (1, None) if kind is int else (_step(field), "%.6g")
    entered: int | float | None = st.number_input(
        label,
        min_value=None if low is None else kind(low),
        max_value=None if high is None else kind(high),
        value=None if current is None else kind(current),
        step=step,
        format=form,
        placeholder=_EMPTY if optional else None,
        **shared,
    )
    return entered


def _limits(field: FieldInfo) -> tuple[float | None, float | None]:
    low = high = None
    for rule in field.metadata:
        low = getattr(rule, "ge", getattr(rule, "gt", low)) if low is None else low
        high = getattr(rule, "le", getattr(rule, "lt", high)) if high is None else high
    return low, high


def _step(field: FieldInfo) -> float:
    """A tenth of the leading digit of the default: 0.001 for a learning rate of 0.01, 0.1 for a temperature of 4."""
    value = field_default(field)
    if not isinstance(value, int | float) or value == 0:
        return 0.01
    return float(10.0 ** (math.floor(math.log10(abs(value))) - 1))


def _sequence(label: str, kind: Any, current: Any, optional: bool, shared: dict[str, Any]) -> Any:
    """Several values: from a menu where they are named, else as text with commas; the type refuses what is wrong."""
    element = next((arg for arg in get_args(kind) if arg is not Ellipsis), str)
    options = _options(element)
    if options:
        return tuple(st.multiselect(label, list(options), default=[str(v) for v in current or ()], **shared))
    shown = ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in current or ())
    text = st.text_input(label, value=shown, placeholder=_EMPTY if optional else "", **shared)
    parts = [part.strip() for part in text.replace(";", ",").split(",") if part.strip()]
    if not parts and optional:
        return None
    return tuple(_number(part) if element in (int, float) else part for part in parts)


def _number(text: str) -> Any:
    """A number where the text is one; else the text, which the settings type refuses in words."""
    for cast in (int, float):
        try:
            return cast(text)
        except ValueError:
            continue
    return text
