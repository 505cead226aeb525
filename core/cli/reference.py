"""``reference``: everything that can be chosen, as Markdown, read off registries, settings and commands themselves."""

import inspect
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic_core import PydanticUndefined
from typer.main import get_command

from ..registry import Registry
from ..settings import Settings, nested_type

__all__ = ["add_to", "reference_text"]

_COMMAND = "espalier reference"


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""

    @app.command()
    def reference() -> None:
        """Print every method, criterion, setting, source, runtime and command, as Markdown."""
        typer.echo(reference_text(app), nl=False)


def reference_text(app: typer.Typer) -> str:
    """REFERENCE.md, complete: the same for the same program."""
    return "\n".join([*_head(), *_methods(), *_families(), *_jobs(), *_commands(app)]).rstrip() + "\n"


def _head() -> Iterator[str]:
    yield "# Reference"
    yield ""
    yield f"Everything that can be chosen. Written by `{_COMMAND} > REFERENCE.md` from the program itself: do not edit."
    yield ""


def _methods() -> Iterator[str]:
    from ..methods import METHODS

    yield "## Methods"
    yield ""
    yield "`Plan(method=…, method_settings={…})`; the Plan page draws a form from the same settings."
    yield ""
    shared: dict[str, type[Settings]] = {}
    for name, method in METHODS.items():
        what = {"weights": "single weights", "units": "whole units of groups", "nothing": "nothing"}[method.removes]
        yield f"### `{name}`: {method.title}"
        yield ""
        yield f"{_first(method)} Removes {what}{', and trains' if method.trains else ', without training'}."
        yield ""
        yield method.provenance
        yield ""
        yield from _fields(method.Settings, shared)
    for title, kind in shared.items():
        yield f"### {title}"
        yield ""
        yield _first(kind)
        yield ""
        yield from _fields(kind, {})


def _families() -> Iterator[str]:
    from ..analysis.runtimes import LATENCY_RUNTIMES
    from ..data.sources import DATA_SOURCES
    from ..models.sources import MODEL_SOURCES
    from ..pruning.allocation import ALLOCATIONS
    from ..pruning.criteria import CRITERIA
    from ..pruning.groups import GROUP_ALLOCATIONS, GROUP_CRITERIA
    from ..pruning.schedules import SCHEDULES

    families: dict[str, tuple[str, Registry[Any]]] = {
        "Criteria of weights": ("which weights of a layer go first", CRITERIA),
        "Allocations to layers": ("how the cut is shared by layers", ALLOCATIONS),
        "Criteria of units": ("which units of a group go first", GROUP_CRITERIA),
        "Allocations to groups": ("how the cut is shared by groups", GROUP_ALLOCATIONS),
        "Schedules": ("how sparsity rises over a run", SCHEDULES),
        "Model sources": ("where networks come from", MODEL_SOURCES),
        "Data sources": ("where images come from", DATA_SOURCES),
        "Latency runtimes": ("what runs a network when it is timed", LATENCY_RUNTIMES),
    }
    for title, (purpose, registry) in families.items():
        yield f"## {title}"
        yield ""
        yield f"{purpose[0].upper()}{purpose[1:]}."
        yield ""
        yield "| name | title | what it does |"
        yield "|---|---|---|"
        for name, member in registry.items():
            yield f"| `{name}` | {_cell(getattr(member, 'title', name))} | {_cell(registry.summary(name))} |"
        yield ""


def _jobs() -> Iterator[str]:
    from ..analysis.latency import LatencySettings
    from ..analysis.sensitivity import SensitivitySettings
    from ..export.onnx_settings import OnnxSettings
    from ..pruning.plan import Plan

    yield "## Settings outside methods"
    yield ""
    kinds: dict[str, type[Settings]] = {
        "Plan": Plan,
        "Sensitivity": SensitivitySettings,
        "Latency": LatencySettings,
        "ONNX export": OnnxSettings,
    }
    for title, kind in kinds.items():
        yield f"### {title} (`core.{kind.__name__}`)"
        yield ""
        yield from _fields(kind, {})


def _commands(app: typer.Typer) -> Iterator[str]:
    yield "## Commands"
    yield ""
    group: Any = get_command(app)
    for name, command in sorted(group.commands.items()):
        yield f"### `espalier {name}`"
        yield ""
        yield _sentence(command.help or "")
        yield ""
        rows = [_parameter(parameter) for parameter in command.params if parameter.name != "help"]
        if rows:
            yield "| | |"
            yield "|---|---|"
            yield from rows
            yield ""


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        label = f"`{(parameter.name or '').upper()}`"
    else:
        label = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
    return f"| {label} | {_cell(getattr(parameter, 'help', None) or '')} |"


def _fields(kind: type[Settings], shared: dict[str, type[Settings]]) -> Iterator[str]:
    """One row per field; nested settings are put into ``shared`` and named here only."""
    if not kind.model_fields:
        yield "No settings."
        yield ""
        return
    yield "| setting | default | allowed | |"
    yield "|---|---|---|---|"
    for name, field in kind.model_fields.items():
        if name == "version":  # of the format: nobody chooses it
            continue
        nested = nested_type(field)
        words = ". ".join(part.rstrip(".") for part in (field.title, field.description) if part)
        if nested is not None:
            shared[nested.__name__.removesuffix("Settings") + " settings"] = nested
            words = f"{words}: see “{nested.__name__.removesuffix('Settings')} settings” below"
        yield f"| `{name}` | {_value(field.default)} | {_cell(_allowed(field))} | {_cell(words + '.')} |"
    yield ""


def _value(default: Any) -> str:
    """A default as code; of nested settings what differs from their own defaults."""
    if isinstance(default, Settings):
        own = type(default).model_fields
        changed = {name: value for name, value in default if value != own[name].default}
        return ", ".join(f"`{name}={value}`" for name, value in changed.items())
    if default is PydanticUndefined or default is None or default in ("", ()) or default == {}:
        return ""
    return f"`{', '.join(map(str, default)) if isinstance(default, tuple) else default}`"


def _allowed(field: Any) -> str:
    """Choices of a Literal, or the bounds of a number."""
    choices = _choices(field.annotation)
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {getattr(item, key):g}"
        for item in field.metadata
        for key, sign in signs.items()
        if getattr(item, key, None) is not None
    ]
    return ", ".join(bounds)


def _choices(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for part in get_args(annotation) if (found := _choices(part))), ())


def _first(member: Any) -> str:
    return _sentence(inspect.getdoc(member) or "")


def _sentence(text: str) -> str:
    """The first paragraph as one line."""
    return re.sub(r"\s+", " ", text.strip().split("\n\n")[0])


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").strip()
