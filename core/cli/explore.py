"""``models``, ``inspect``, ``open`` and ``sensitivity``: what there is, and what a model is like."""

from typing import Annotated, Any

import typer

from ..analysis.sensitivity import SensitivitySettings
from ..environment import configure
from ..models.sources import MODEL_SOURCES
from ..progress import Progress
from ..store import Workspace
from ..wording import percent
from . import options as o
from .output import bar, note, print_json, print_table
from .work import Target, find_session, model_spec, open_workspace, run_job, session_for

__all__ = ["add_to"]

_Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A name (resnet56, torchvision/resnet18) or a session id.")
]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(models)
    app.command()(inspect)
    app.command(name="open")(open_)
    app.command()(sensitivity)


def models(
    source: Annotated[str | None, typer.Option("--source", help="Only this source.", show_default=False)] = None,
    models: o.Models = None,
    json: o.Json = False,
) -> None:
    """List the models that can be opened by name."""
    configure(models=tuple(models or ()))
    chosen = [source] if source is not None else list(MODEL_SOURCES)
    found: list[dict[str, Any]] = []
    for key in chosen:
        member = MODEL_SOURCES[key]
        reason = member.unavailable()
        if reason is not None:
            if source is not None or key != "python":
                note(f"{key}: {reason}")
            continue
        found += [{"source": key, "name": name, "weights": list(member.weights(name))} for name in member.names()]
    if json:
        print_json(found)
    else:
        rows = [(f"{item['source']}/{item['name']}", ", ".join(item["weights"])) for item in found]
        print_table(f"{len(rows)} models", ("model", "weights"), rows)


def inspect(
    model: _Model,
    checkpoint: o.Checkpoint = None,
    weights: o.Weights = None,
    classes: o.Classes = None,
    input_shape: o.InputShape = None,
    seed: o.SeedOption = 0,
    models: o.Models = None,
    workspace: o.WorkspaceFolder = None,
    json: o.Json = False,
) -> None:
    """Show the layers of a model: shapes, parameters, multiply-accumulates. Stores nothing."""
    target = Target(model, checkpoint, weights, classes, input_shape, seed=seed)
    description = _described(target, workspace, models)
    if json:
        print_json(description)
        return
    rows = [
        (
            layer["name"],
            layer["kind"],
            "×".join(map(str, layer["weight_shape"] or [])),
            "×".join(map(str, layer["output_shape"])),
            layer["parameters"],
            layer["macs"],
            "yes" if layer["prunable"] else "",
        )
        for layer in description["layers"]
    ]
    columns = ("layer", "type", "weight", "output", "parameters", "MACs", "prunable")
    shape = "×".join(map(str, description["input_shape"]))
    title = (
        f"{description['name']}: {description['task']}, input {shape}, {description['num_classes']} classes, "
        f"{description['parameters']:,} parameters, {description['macs']:,} MACs per image"
    )
    print_table(title, columns, rows)
    for sentence in description.get("notes") or ():
        print(f"Note: {sentence}")


def _described(target: Target, folder: Any, models: list[str] | None) -> dict[str, Any]:
    with open_workspace(folder, models=models) as workspace:
        session = find_session(workspace, target.name)
        if session is not None and session.model_id is not None:
            return dict(workspace.store.get_model(session.model_id).description)
    spec = model_spec(target)
    from ..analysis.describe import describe_model
    from ..models.opening import open_model

    with bar(f"Opening {spec.name}") as show:
        return describe_model(open_model(spec, progress=_Shown(show)))


class _Shown(Progress):
    def __init__(self, show: Any) -> None:
        self._show = show

    def update(self, done: float, total: float, message: str = "") -> None:
        self._show({"done": done, "total": total, "message": message})


def open_(
    model: _Model,
    data: o.Data = None,
    data_root: o.DataRoot = None,
    checkpoint: o.Checkpoint = None,
    weights: o.Weights = None,
    classes: o.Classes = None,
    input_shape: o.InputShape = None,
    limit: o.Limit = None,
    seed: o.SeedOption = 0,
    name: Annotated[str | None, typer.Option("--name", help="Label of the session.", show_default=False)] = None,
    device: o.Device = None,
    models: o.Models = None,
    workspace: o.WorkspaceFolder = None,
    json: o.Json = False,
) -> None:
    """Open a model and data in a new session, and evaluate the dense model."""
    target = Target(model, checkpoint, weights, classes, input_shape, data, data_root, limit, seed)
    with open_workspace(workspace, device=device, models=models) as opened:
        session = session_for(opened, target, json=json)
        if name:
            session = opened.store.rename_session(session.id, name)
        _print_session(opened, session.id, json)


def _print_session(workspace: Workspace, session_id: str, json: bool) -> None:
    store = workspace.store
    session = store.get_session(session_id)
    dense = store.variants(session_id)[0]
    if json:
        print_json(
            {
                "session_id": session.id,
                "name": session.name,
                "model_id": session.model_id,
                "data_id": session.data_id,
                "dense_variant_id": dense.id,
                "metrics": dense.metrics,
                "sizes": dense.sizes,
            }
        )
        return
    rows = [
        (split, item["metric"], item["score"], item["low"], item["high"], item["n"], item["loss"])
        for split, item in dense.metrics.items()
    ]
    columns = ("split", "metric", "score", "low", "high", "images", "loss")
    print_table(f"Session {session.id} ({session.name}): the dense model", columns, rows)


def sensitivity(
    model: _Model,
    data: o.Data = None,
    data_root: o.DataRoot = None,
    checkpoint: o.Checkpoint = None,
    weights: o.Weights = None,
    classes: o.Classes = None,
    input_shape: o.InputShape = None,
    limit: o.Limit = None,
    seed: o.SeedOption = 0,
    images: Annotated[int, typer.Option("--images", min=1, help="Images of the select split.")] = 1000,
    criterion: Annotated[
        str, typer.Option("--criterion", help="magnitude, wanda or random; for groups also taylor, fpgm, ….")
    ] = "magnitude",
    groups: Annotated[
        bool, typer.Option("--groups", help="Remove units of one group at a time, not weights of one layer.")
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Every cell on all images, in float32: several times as long.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="A cell stops when more images would move its score by less.")
    ] = 0.01,
    precision: Annotated[str, typer.Option("--precision", help="auto, float32 or bfloat16.")] = "auto",
    device: o.Device = None,
    models: o.Models = None,
    workspace: o.WorkspaceFolder = None,
    json: o.Json = False,
) -> None:
    """Measure how much each layer, or group, suffers at each sparsity. What was measured is not measured again."""
    target = Target(model, checkpoint, weights, classes, input_shape, data, data_root, limit, seed)
    settings = {"images": images, "criterion": criterion, "seed": seed, "of": "groups" if groups else "layers"}
    settings |= {"exact": exact, "tolerance": tolerance, "precision": precision}
    SensitivitySettings.parse(settings)  # before a model is opened for nothing
    with open_workspace(workspace, device=device, models=models) as opened:
        session = session_for(opened, target, json=json)
        result = run_job(opened, "sensitivity", {"settings": settings}, session=session, title="Sensitivity")
        found = opened.store.get_sensitivity(result["sensitivity_id"])
    if json:
        print_json({"session_id": session.id, "sensitivity_id": found.id, **found.result})
        return
    kind = found.result.get("kind", "layers")
    curves = found.result[kind]
    levels = [point["sparsity"] for point in next(iter(curves.values()), [])]
    rows = [(name, *(_added(point) for point in points)) for name, points in curves.items()]
    dense = found.result["dense"]
    seen = [point["n"] for points in curves.values() for point in points]
    title = (
        f"Added loss by sparsity, {found.result['n']} images, of which a cell saw {sum(seen) / max(1, len(seen)):.0f} "
        f"on average (dense: {found.result['metric']} {dense['score']:.4g}, loss {dense['loss']:.4g})"
    )
    print_table(title, (kind.removesuffix("s"), *(percent(level, 0) for level in levels)), rows)
    for sentence in found.result.get("notes") or ():
        print(f"Note: {sentence}")


def _added(point: dict[str, Any]) -> str:
    return "not finite" if point["dloss"] is None else f"{point['dloss']:+.3f}"
