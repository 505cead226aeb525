"""A form drawn from a settings type: a new method, criterion or exporter needs no page code.

Titles, descriptions and limits come from pydantic's ``Field``; what is drawn follows from the annotation:
``bool`` → toggle, ``int``/``float`` → number, ``Literal``/``Enum`` → menu, tuple or list of numbers → text,
``X | None`` → the same with an empty state. Every value is validated by the type itself, never by the widget.
"""

import enum
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import streamlit as st
from pydantic.fields import FieldInfo

from core.errors import EspalierError
from core.settings import Settings

from .format import escape

__all__ = ["settings_form"]

S = TypeVar("S", bound=Settings)


def settings_form(
    kind: type[S],
    *,
    key: str,
    value: S | None = None,
    exclude: Collection[str] = (),
    choices: Mapping[str, Collection[str]] | None = None,
    on_change: Callable[[], None] | None = None,
) -> S | None:
    """Draw widgets for the fields of ``kind`` and return validated settings; None, and the reason, when not valid.

    ``exclude``: fields to leave at ``value``. ``choices``: for fields of plain text, the names to choose among (members
    of a registry).
    """
    start = value or kind.model_construct()
    entered: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        current = getattr(start, name, None if field.is_required() else field.get_default(call_default_factory=True))
        if name in exclude or name == "version":
            entered[name] = current
            continue
        entered[name] = _widget(name, field, current, f"{key}-{name}", tuple((choices or {}).get(name, ())), on_change)
    try:
        return kind.parse(entered)
    except EspalierError as error:
        st.error(escape(error, markdown=True))
        return None


def _inner(annotation: Any) -> tuple[Any, bool]:
    """``X | None`` → (X, True)."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return (kinds[0] if len(kinds) == 1 else str), len(kinds) < len(get_args(annotation))
    return annotation, False


def _limits(field: FieldInfo) -> tuple[float | None, float | None]:
    low = high = None
    for rule in field.metadata:
        low = getattr(rule, "ge", getattr(rule, "gt", low)) if low is None else low
        high = getattr(rule, "le", getattr(rule, "lt", high)) if high is None else high
    return low, high


def _widget(
    name: str,
    field: FieldInfo,
    current: Any,
    key: str,
    names: tuple[str, ...],
    on_change: Callable[[], None] | None,
) -> Any:
    label = field.title or name.replace("_", " ").capitalize()
    kind, optional = _inner(field.annotation)
    shared: dict[str, Any] = {"key": key, "help": field.description, "on_change": on_change}
    if get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        names = tuple(str(getattr(option, "value", option)) for option in (get_args(kind) or kind))
    if names:
        current = str(getattr(current, "value", current))
        return st.selectbox(label, names, index=names.index(current) if current in names else 0, **shared)
    if kind is bool:
        return st.toggle(label, value=bool(current), **shared)
    if kind in (int, float):
        low, high = _limits(field)
        cast = kind
        return st.number_input(
            label,
            min_value=None if low is None else cast(low),
            max_value=None if high is None else cast(high),
            value=None if current is None else cast(current),
            step=1 if kind is int else None,
            placeholder="automatic" if optional else None,
            **shared,
        )
    if get_origin(kind) in (tuple, list):
        return _sequence(label, kind, current, optional, shared)
    text = st.text_input(label, value="" if current is None else str(current), **shared)
    return (text.strip() or None) if optional else text


def _sequence(label: str, kind: Any, current: Any, optional: bool, shared: dict[str, Any]) -> Any:
    """Several values as text with commas; the type itself refuses what is not a number."""
    element = next((arg for arg in get_args(kind) if arg is not Ellipsis), str)
    if get_origin(element) is Literal:
        options = [str(option) for option in get_args(element)]
        return tuple(st.multiselect(label, options, default=[str(v) for v in current or ()], **shared))
    shown = ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in current or ())
    text = st.text_input(label, value=shown, placeholder="automatic" if optional else "", **shared)
    parts = [part.strip() for part in text.replace(";", ",").split(",") if part.strip()]
    if not parts and optional:
        return None
    return tuple(_number(part) if element in (int, float) else part for part in parts)


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text
