"""A form drawn from a settings type: a new method, criterion or exporter needs no page code.

Titles, descriptions and limits come from pydantic's ``Field``. A field that is itself a settings type becomes a titled
section, folded; a field “preset” becomes buttons that fill in the others; fields marked
``json_schema_extra={"advanced": True}`` stand in a fold of their own at the end. Every value is validated by the type
itself, never by the widget, and what is wrong is said in one sentence at its field.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

import streamlit as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from core.settings import Settings, field_label, nested_type, without_none

from .form_fields import field_default, widget
from .format import escape, plain, short

__all__ = ["OWN", "PRESET", "problem_sentence", "settings_form"]

S = TypeVar("S", bound=Settings)
PRESET, OWN = "preset", "own"
"""A field of this name is drawn as buttons that fill in the others; “own” is the value that changes nothing."""

_Path = tuple[str, ...]
_Choices = Mapping[str, Collection[str] | Mapping[str, str]]


@dataclass
class _Form:
    """What the drawing functions share: where to write problems, and what the caller asked for."""

    choices: _Choices
    on_change: Callable[[], None] | None
    slots: dict[_Path, Any] = field(default_factory=dict)
    fields: dict[_Path, tuple[str, FieldInfo]] = field(default_factory=dict)


def settings_form(
    kind: type[S],
    *,
    key: str,
    value: S | None = None,
    exclude: Collection[str] = (),
    choices: _Choices | None = None,
    on_change: Callable[[], None] | None = None,
) -> S | None:
    """Draw widgets for the fields of ``kind`` and return validated settings; None, and the reason, when not valid.

    ``exclude``: fields to leave at ``value``. ``choices``: for fields of plain text, here or in a section, the names to
    choose among (members of a registry), or value → label.
    """
    form = _Form(choices or {}, on_change)
    if PRESET not in kind.model_fields:
        return _validated(kind, _draw(kind, value, (), form, key=key, exclude=exclude), form)
    memory = st.session_state.setdefault(f"{key}-filled", {"times": 0, "body": None})
    body, memory["body"] = memory["body"], None
    start = value if body is None else kind.model_validate(body)
    slot = st.container()
    entered = _draw(kind, start, (), form, key=f"{key}-{memory['times']}", exclude={*exclude, PRESET})
    found = _validated(kind, {**entered, PRESET: OWN}, form)
    with slot:
        _presets(kind, found, key, memory)
    return found


def _validated(kind: type[S], entered: Mapping[str, Any], form: _Form) -> S | None:
    """The settings, or None and every problem written where it belongs."""
    rest = st.empty()
    try:
        return kind.model_validate(entered)
    except ValidationError as report:
        left = []
        for item in report.errors(include_url=False):
            path = _known_path(item["loc"], form)
            sentence = problem_sentence(item, form.fields.get(path))
            if path in form.slots:
                form.slots[path].error(escape(sentence, markdown=True))
            else:
                left.append(sentence)
        if left:
            rest.error(escape(" ".join(left), markdown=True))
        return None


def _presets(kind: type[S], found: S | None, key: str, memory: dict[str, Any]) -> None:
    """Buttons that fill the form in; the one whose values are in force is marked.

    A preset is an action, not a state: the fields show what it set, and can be changed afterwards. The widgets of a
    filled form have new keys, because those that a person has touched do not listen any more.
    """
    info = kind.model_fields[PRESET]
    now = found or kind()
    body = now.model_dump()
    by_name = {
        name: now.changed(**{PRESET: name}).model_dump() | {PRESET: OWN}
        for name in get_args(info.annotation)
        if name != OWN
    }
    matching = [name for name, filled in by_name.items() if found is not None and filled == body]
    button = f"{key}-{memory['times']}-{PRESET}-{matching[0] if matching else OWN}"

    def fill() -> None:
        if (chosen := st.session_state[button]) is not None:
            memory.update(times=memory["times"] + 1, body=by_name[chosen])

    st.pills(
        field_label(PRESET, info),
        list(by_name),
        default=matching[0] if matching else None,
        key=button,
        on_change=fill,
        help=info.description,
    )


def problem_sentence(item: Mapping[str, Any], known: tuple[str, FieldInfo] | None = None) -> str:
    """One sentence from one entry of pydantic's report: what must hold, and what came."""
    label = field_label(*known) if known else ""
    rules = item.get("ctx") or {}
    came = item.get("input")
    match item["type"]:
        case "greater_than_equal":
            words = f"must be at least {rules['ge']:g}"
        case "greater_than":
            words = f"must be above {rules['gt']:g}"
        case "less_than_equal":
            words = f"must be at most {rules['le']:g}"
        case "less_than":
            words = f"must be below {rules['lt']:g}"
        case "missing" | "int_type" | "float_type" if came is None or item["type"] == "missing":
            return f"{label or 'A field'} needs a value."
        case "int_parsing" | "int_type" | "int_from_float":
            words = "must be a whole number"
        case "float_parsing" | "float_type":
            words = "must be a number"
        case "value_error":
            return _sentence(str(rules.get("error", item["msg"])))
        case _:
            words = f"does not fit: {item['msg'][:1].lower()}{item['msg'][1:]}"
    shown = f"{came:g}" if isinstance(came, float) else short(plain(came), 40)
    return f"{label or 'This'} {words}; {shown} came."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _known_path(place: tuple[int | str, ...], form: _Form) -> _Path:
    """The field that a problem belongs to; for one element of a tuple that is the tuple."""
    path = tuple(str(part) for part in place)
    while path and path not in form.slots:
        path = path[:-1]
    return path


def _draw(
    kind: type[Settings], value: Any, path: _Path, form: _Form, *, key: str, exclude: Collection[str] = ()
) -> dict[str, Any]:
    """The fields of one type, in its order: plain ones, the advanced ones in a fold, then the sections."""
    entered: dict[str, Any] = {}
    plain_fields: list[tuple[str, FieldInfo, Any]] = []
    advanced: list[tuple[str, FieldInfo, Any]] = []
    sections: list[tuple[str, FieldInfo, Any]] = []
    for name, info in kind.model_fields.items():
        current = field_default(info) if value is None else getattr(value, name, field_default(info))
        if name in exclude or name == "version":
            entered[name] = current
        elif nested_type(info) is not None:
            sections.append((name, info, current))
        else:
            (advanced if _is_advanced(info) else plain_fields).append((name, info, current))
    for name, info, current in plain_fields:
        entered[name] = _field(name, info, current, path, form, key)
    if advanced:
        with st.expander("Advanced", key=f"{key}-advanced"):
            for name, info, current in advanced:
                entered[name] = _field(name, info, current, path, form, key)
    for name, info, current in sections:
        entered[name] = _section(name, info, current, path, form, key)
    return entered


def _is_advanced(info: FieldInfo) -> bool:
    extra = info.json_schema_extra
    return isinstance(extra, Mapping) and bool(extra.get("advanced"))


def _field(name: str, info: FieldInfo, current: Any, path: _Path, form: _Form, key: str) -> Any:
    names = form.choices.get(name)
    choices = names if names is None or isinstance(names, Mapping) else dict(zip(names, names, strict=True))
    entered = widget(name, info, current, key=f"{key}-{name}", choices=choices, on_change=form.on_change)
    form.slots[(*path, name)] = st.empty()
    form.fields[(*path, name)] = (name, info)
    return entered


def _section(name: str, info: FieldInfo, current: Any, path: _Path, form: _Form, key: str) -> Any:
    """A titled fold with the fields of a nested type; with a switch where the type may be left out."""
    kind, optional = nested_type(info), without_none(info.annotation)[1]
    assert kind is not None
    label, key = field_label(name, info), f"{key}-{name}"
    with st.expander(label, key=f"{key}-section"):
        if info.description:
            st.caption(escape(info.description, markdown=True))
        if optional and not st.toggle(f"Use {label.lower()}", value=current is not None, key=f"{key}-used"):
            return None
        entered = _draw(kind, current, (*path, name), form, key=key)
        form.slots[(*path, name)] = st.empty()
        form.fields[(*path, name)] = (name, info)
    return entered
