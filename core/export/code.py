"""“Do it in code”: Python lines that reproduce what a page shows, with the public names of ``core``. Knows no torch.

The lines run as they are: the tests execute every page's. Values that are the defaults are not written.
"""

import ast
from collections.abc import Callable, Mapping
from typing import Any

from ..data.specs import DataSpec
from ..models.specs import ModelSpec
from ..pruning.plan import Plan
from ..registry import Registry
from ..settings import Settings

__all__ = ["CODE_PAGES", "code_for"]

Facts = Mapping[str, Any]

CODE_PAGES: Registry[Callable[[Facts], list[str]]] = Registry("page with code")
"""Page name → function of the facts that returns its lines; what they import from ``core`` is found by reading them."""

WIDTH = 100
DEFAULT_MODEL = {"source": "sample", "name": "digits_resnet"}
DEFAULT_DATA = {"source": "digits"}
_NOT_WRITTEN = ("version", "start")


def code_for(page: str, facts: Facts) -> str:
    """Python source for a page (``start``, ``model``, ``sensitivity``, ``plan``, ``runs``, ``compare``, …).

    Args:
        page: a key of ``CODE_PAGES``.
        facts: what the page shows, each entry optional: ``model`` and ``data`` (specs as JSON), ``plan`` (JSON),
            ``settings`` (of the page's measurement, JSON), ``layer`` (a name), ``session_id``. What is missing is
            replaced by the embedded sample.

    Raises:
        RegistryError: for a page without code.
        PlanError: when a spec, the plan or settings are not valid.
    """
    lines = CODE_PAGES[page](facts)
    return "\n".join([*_imports(lines), "", *lines]) + "\n"


def _imports(lines: list[str]) -> list[str]:
    """The import of every public name of ``core`` that the lines mention."""
    from .. import __all__ as public

    mentioned = {node.id for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.Name)}
    names = sorted(mentioned.intersection(public))
    line = f"from core import {', '.join(names)}"
    return [line] if len(line) <= WIDTH else ["from core import (", *(f"    {name}," for name in names), ")"]


# -- Python for values ------------------------------------------------------------------------------------------------


def _python(value: Any) -> str:
    """``repr`` with double quotes where that needs no escapes. Like ``repr`` it escapes what cannot be seen."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_python(key)}: {_python(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, tuple):
        return (
            "(" + "".join(f"{_python(entry)}, " for entry in value).removesuffix(" " if len(value) == 1 else ", ") + ")"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_python, value)) + "]"
    text = repr(value)
    return f'"{text[1:-1]}"' if isinstance(value, str) and '"' not in text and "'" not in text[1:-1] else text


def _call(start: str, arguments: list[str], *, end: str = ")") -> list[str]:
    """``start(arguments)`` on one line, or one argument per line where that is too long."""
    line = start + ", ".join(arguments) + end
    return [line] if len(line) <= WIDTH else [start, *(f"    {argument}," for argument in arguments), end]


def _changed(settings: Settings, *, without: tuple[str, ...] = ()) -> list[str]:
    """``name=value`` for every field that is not at its default."""
    return [
        f"{name}={_python(getattr(settings, name))}"
        for name, field in type(settings).model_fields.items()
        if name not in without and getattr(settings, name) != field.get_default(call_default_factory=True)
    ]


def _plan(facts: Facts) -> Plan:
    return Plan.parse(dict(facts.get("plan") or {}))


# -- parts of several pages -------------------------------------------------------------------------------------------


def _open_model(facts: Facts) -> list[str]:
    spec = ModelSpec.parse(dict(facts.get("model") or DEFAULT_MODEL))
    if spec.seed:  # a field that open_model has no keyword for: the whole specification is written
        return _call("model = open_model(ModelSpec(", _changed(spec), end="))")
    arguments = [_python(f"{spec.source}/{spec.name}")]
    if spec.checkpoint is not None:
        arguments.append(f"checkpoint={_python(spec.checkpoint)}")
    elif spec.weights != "published":
        arguments.append(f"weights={_python(spec.weights)}")
    return _call("model = open_model(", arguments + _changed(spec, without=("source", "name", "weights", "checkpoint")))


def _open_both(facts: Facts) -> list[str]:
    spec = DataSpec.parse(dict(facts.get("data") or DEFAULT_DATA))
    arguments = [_python(spec.source), *_changed(spec, without=("source",))]
    return [*_open_model(facts), *_call("data = fit_data(open_data(", arguments, end="), model)")]


def _prune(facts: Facts) -> list[str]:
    """Lines that make ``plan`` and ``result``, measuring the sensitivity first where the allocation wants it.

    ``before`` of the facts: the plans of the variants that this one starts from, oldest first.
    """
    plan, lines = _plan(facts), _open_both(facts)
    for body in facts.get("before") or ():
        lines += _call("plan = Plan(", _changed(Plan.parse(body), without=_NOT_WRITTEN))
        lines += ["model = prune(model, data, plan).model"]
    lines += _call("plan = Plan(", _changed(plan, without=_NOT_WRITTEN))
    if plan.allocation == "sensitivity":
        lines += ["sensitivity = measure_sensitivity(model, data)"]
        return [*lines, "result = prune(model, data, plan, sensitivity=sensitivity)"]
    return [*lines, "result = prune(model, data, plan)"]


# -- pages ------------------------------------------------------------------------------------------------------------


@CODE_PAGES.register("start")
def _start_page(facts: Facts) -> list[str]:
    """A network with its data, and the figure that everything is compared with."""
    return [*_open_both(facts), "print(evaluate(model, data).summary())", "print(sizes(model))"]


@CODE_PAGES.register("model")
def _model_page(facts: Facts) -> list[str]:
    """The layers of the model and their weights."""
    layer = facts.get("layer")
    return [
        *_open_model(facts),
        "for layer in layer_table(model):",
        '    print(f"{layer.name:32} {layer.kind:12} {layer.parameters:>12,} {layer.macs:>14,} MACs")',
        "",
        "weights = weight_statistics(model)",
        f"chosen = weights[{_python(layer) if layer else 'next(iter(weights))'}]",
        "cut = chosen.threshold_for(0.5)",
        'print(f"{chosen.name}: |w| <= {cut:.4g} removes half of it,")',
        'print(f"and {chosen.channels_below(cut)} whole output channels fall")',
        "",
        "for group in find_groups(model).groups:",
        '    print(f"{group.name:32} {group.units:>5} {group.kind}, {len(group.layers)} layers shrink together")',
    ]


@CODE_PAGES.register("sensitivity")
def _sensitivity_page(facts: Facts) -> list[str]:
    """What pruning each layer alone costs."""
    from ..analysis.sensitivity import SensitivitySettings

    asked = SensitivitySettings.parse(dict(facts.get("settings") or {}))
    changed = _changed(asked)
    settings = _call("settings = SensitivitySettings(", changed) if changed else []
    return [
        *_open_both(facts),
        *settings,
        f"result = measure_sensitivity(model, data{', settings' if changed else ''})",
        f'for name, curve in result["{asked.of}"].items():',
        "    print(f\"{name:32}\", *(f\"{point['sparsity']:.0%}: {point['score']:.3f}\" for point in curve))",
    ]


@CODE_PAGES.register("plan")
def _plan_page(facts: Facts) -> list[str]:
    """What the plan removes from each layer."""
    return [
        *_prune(facts),
        "for row in result.layers:",
        "    print(f\"{row['name']:32} {row['removed']:>10,} of {row['size']:>10,} removed\")",
        *_channels(facts),
    ]


def _channels(facts: Facts) -> list[str]:
    """For methods that remove units: the shapes that are left, and what the method has to say, the proof included."""
    from ..methods import METHODS

    plan = _plan(facts)
    if plan.method not in METHODS or METHODS[plan.method].removes != "units":
        return []
    return [
        "for row in result.layers:",
        "    print(f\"{row['name']:32} {row['kept_shape']} stays; groups {', '.join(row['groups'])}\")",
        'print(*result.notes, sep="\\n")',
    ]


@CODE_PAGES.register("runs")
def _runs_page(facts: Facts) -> list[str]:
    """The run of a plan; without one, the jobs of the session and what became of them."""
    session = facts.get("session_id")
    if facts.get("plan") or not session:
        return [*_prune(facts), "print(evaluate(result.model, data).summary())"]
    return [
        "workspace = Workspace.open()",
        f"for job in workspace.store.jobs(session_id={_python(session)}):",
        '    print(f"{job.kind:12} {job.state:12} {job.title}", job.error or "")',
        f"for variant in workspace.store.variants({_python(session)}):",
        '    print(f"{variant.name:32}", variant.metrics.get("test", {}).get("score"), variant.sizes)',
    ]


@CODE_PAGES.register("compare")
def _compare_page(facts: Facts) -> list[str]:
    """The pruned model against the dense one: quality, bytes, speed, and the ONNX file."""
    from ..analysis.latency import LatencySettings

    arguments = ["models", 'reference="dense"']
    changed = _changed(LatencySettings.parse(dict(facts.get("settings") or {})))
    if changed:
        arguments.append(f"settings=LatencySettings({', '.join(changed)})")
    return [
        *_prune(facts),
        "print(compare(evaluate(model, data), evaluate(result.model, data)).sentence)",
        "print(sizes(model), sizes(result.model))",
        "",
        'models = {"dense": model, "pruned": result.model}',
        *_call("latency = measure_latency(", arguments),
        'print(latency["sentence"])',
        'print(why_faster(model, result.model).sentence("dense", "pruned"))',
        'labels = {"plan": plan.to_json()}',
        'report = export_onnx(result.model, "pruned.onnx", splits=data, metadata=labels)',
        'print(report["passed"], report["max_abs_difference"], report["top1_agreement"])',
    ]


@CODE_PAGES.register("present")
def _present_page(facts: Facts) -> list[str]:
    """The views that were kept: name, page, and what was chosen there; without a session, every session's."""
    session = facts.get("session_id")
    chosen = _python(session) if session else "session.id"
    lines = [f"for view in workspace.store.views({chosen}):", '    print(f"{view.name:32}", view.body)']
    if not session:
        found = ["sessions = workspace.store.list_sessions()", 'print(f"{len(sessions)} sessions")']
        found += ["for session in sessions:", "    print(session.name)"]
        lines = [*found, *(f"    {line}" for line in lines)]
    return ["workspace = Workspace.open()", *lines]


@CODE_PAGES.register("guide")
def _guide_page(facts: Facts) -> list[str]:
    """The tour of the guide: the cost of a plan, and what it bought."""
    return [
        *_prune(facts),
        "dense, pruned = evaluate(model, data), evaluate(result.model, data)",
        "print(compare(dense, pruned).sentence)",
        "print(sizes(model), sizes(result.model))",
        'print(will_it_be_faster(model, plan)["sentence"])',
    ]


@CODE_PAGES.register("share")
def _share_page(facts: Facts) -> list[str]:
    """A variant of a report, made again from its plan."""
    return [*_prune(facts), "print(evaluate(result.model, data).summary())"]
