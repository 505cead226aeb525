"""``prune``, ``resume``, ``measure`` and ``export``: making variants, timing them, taking them away."""

import json as json_module
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ExportError, PlanError
from ..pruning.plan import Plan
from ..store import Variant, Workspace
from ..wording import percent
from . import options as o
from .output import note, print_json, print_table
from .work import Target, open_workspace, resume_job, run_job, session_for

__all__ = ["add_to", "read_plan"]

_Variant = Annotated[str, typer.Argument(metavar="VARIANT", help="Id of a variant (see: espalier sessions SESSION).")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(prune)
    app.command()(resume)
    app.command()(measure)
    app.command()(export)


def prune(
    plan: Annotated[str, typer.Argument(metavar="PLAN.json", help="The plan as JSON; “-” reads standard input.")],
    session: Annotated[str | None, typer.Option("--session", help="Id of the session.", show_default=False)] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Or: a model by name, with --data.", show_default=False)
    ] = None,
    data: o.Data = None,
    data_root: o.DataRoot = None,
    checkpoint: o.Checkpoint = None,
    weights: o.Weights = None,
    classes: o.Classes = None,
    input_shape: o.InputShape = None,
    limit: o.Limit = None,
    seed: o.SeedOption = 0,
    name: Annotated[str, typer.Option("--name", help="Label of the variant.", show_default=False)] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest stopped run of this plan, if there is one.")
    ] = False,
    device: o.Device = None,
    models: o.Models = None,
    workspace: o.WorkspaceFolder = None,
    json: o.Json = False,
) -> None:
    """Execute a plan and store the variant, evaluated on the select and test splits."""
    body = read_plan(plan)
    if (session is None) == (model is None):
        raise typer.BadParameter("give either --session, or --model with --data", param_hint="--session")
    target = Target(session or model or "", checkpoint, weights, classes, input_shape, data, data_root, limit, seed)
    with open_workspace(workspace, device=device, models=models) as opened:
        place = opened.store.get_session(session) if session else session_for(opened, target, json=json)
        payload = {"plan": body.to_json(), "name": name}
        title = f"Prune: {name or body.name or body.method}"
        result = run_job(opened, "prune", payload, session=place, title=title, resume=resume)
        _print_variant(opened, opened.store.get_variant(result["variant_id"]), json)


def resume(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Id of a run that was cancelled, interrupted or failed.")],
    device: o.Device = None,
    models: o.Models = None,
    workspace: o.WorkspaceFolder = None,
    json: o.Json = False,
) -> None:
    """Go on with a stopped training from its last checkpoint, to the same result as without the stop."""
    with open_workspace(workspace, device=device, models=models) as opened:
        result = resume_job(opened, job)
        if "variant_id" in result:
            _print_variant(opened, opened.store.get_variant(result["variant_id"]), json)
        elif json:
            print_json(result)


def _print_variant(workspace: Workspace, variant: Variant, json: bool) -> None:
    comparison = _comparison(workspace, variant)
    if json:
        print_json({**variant.model_dump(mode="json"), "comparison": comparison})
        return
    test, sizes = variant.metrics["test"], variant.sizes
    print(f"Variant {variant.id} ({variant.name}) in session {variant.session_id}")
    print(f"  test {test['metric']} {test['score']:.4f} [{test['low']:.4f}, {test['high']:.4f}] on {test['n']} images")
    if comparison:
        print(f"  {comparison['sentence']}")
    print(f"  {sizes['nonzero']:,} of {sizes['parameters']:,} parameters are not zero")
    print(f"  {sizes['dense_bytes']:,} bytes dense, {sizes['sparse_bytes']:,} bytes compressed")


def read_plan(place: str) -> Plan:
    """The plan in a file, or on standard input for “-”; PlanError when it is none."""
    try:
        text = sys.stdin.read() if place == "-" else Path(place).read_text(encoding="utf-8")
        body = json_module.loads(text)
    except OSError as error:
        raise PlanError(f"The plan {place} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise PlanError(f"The plan {place} is not JSON: {error}.") from error
    return Plan.parse(body)


def _comparison(workspace: Workspace, variant: Variant) -> dict[str, Any] | None:
    """The paired comparison with the dense model on the same test images."""
    from ..analysis.evaluation import Evaluation
    from ..analysis.statistics import compare_paired

    dense = next((one for one in workspace.store.variants(variant.session_id) if one.plan is None), None)
    if dense is None or dense.id == variant.id:
        return None
    stored = [artifact for artifact in (dense.evaluation_artifact, variant.evaluation_artifact) if artifact]
    if len(stored) < 2:
        return None
    return compare_paired(*(Evaluation.load(workspace.artifacts.path(artifact)) for artifact in stored)).to_json()


def measure(
    variants: Annotated[list[str], typer.Argument(metavar="VARIANT…", help="Ids of variants of one session.")],
    runtimes: Annotated[
        list[str] | None,
        typer.Option("--runtime", help="onnxruntime, torch, openvino (repeatable; default: the first two)."),
    ] = None,
    batches: Annotated[list[int] | None, typer.Option("--batch", min=1, help="Batch size (repeatable; 1).")] = None,
    threads: Annotated[list[int] | None, typer.Option("--threads", min=1, help="Threads (repeatable; 1).")] = None,
    pairs: Annotated[int, typer.Option("--pairs", help="Interleaved pairs per setting.")] = 30,
    workspace: o.WorkspaceFolder = None,
    json: o.Json = False,
) -> None:
    """Time variants against their dense model, in interleaved pairs on this machine."""
    settings: dict[str, Any] = {"pairs": pairs}
    for key, values in (("runtimes", runtimes), ("batch_sizes", batches), ("threads", threads)):
        if values:
            settings[key] = values
    with open_workspace(workspace) as opened:
        store = opened.store
        session = store.get_session(store.get_variant(variants[0]).session_id)
        payload = {"variant_ids": variants, "settings": settings}
        result = run_job(opened, "measure", payload, session=session, title="Measuring")
        found = [store.get_measurement(measurement) for measurement in result["measurement_ids"]]
        names = {variant.id: variant.name for variant in store.variants(session.id)}
    rows = [row for measurement in found for row in measurement.result["rows"]]
    if json:
        shared = {key: value for key, value in found[0].result.items() if key != "rows"}
        print_json({**shared, "rows": rows, "measurement_ids": result["measurement_ids"]})
        return
    lines = [
        (
            names.get(row["variant"], row["variant"]),
            row["runtime"],
            row["batch"],
            row["threads"],
            row["median_ms"],
            f"{row['ratio']:.2f} [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]" if row.get("ratio") else "",
        )
        for row in rows
    ]
    print_table("Latency", ("variant", "runtime", "batch", "threads", "median ms", "speed-up"), lines)
    print(result["sentence"])


def export(
    variant: _Variant,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The file to write. Default: <variant>.onnx here.", show_default=False),
    ] = None,
    opset: Annotated[int | None, typer.Option("--opset", help="ONNX opset.", show_default=False)] = None,
    fixed_batch: Annotated[
        bool, typer.Option("--fixed-batch", help="One image at a time, no free batch axis.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file when it exists.")] = False,
    workspace: o.WorkspaceFolder = None,
    json: o.Json = False,
) -> None:
    """Write a variant as ONNX, checked against PyTorch; exit code 1 when the check does not pass."""
    settings: dict[str, Any] = {"dynamic_batch": not fixed_batch}
    if opset is not None:
        settings["opset"] = opset
    with open_workspace(workspace) as opened:
        store = opened.store
        session = store.get_session(store.get_variant(variant).session_id)
        if output is not None and output.exists() and not force:
            raise ExportError(f"{output} exists; choose another name or add --force.")
        result = run_job(
            opened, "export", {"variant_id": variant, "settings": settings}, session=session, title="Exporting"
        )
        target = output or Path(result["filename"])
        if target.exists() and not force:
            raise ExportError(f"{target} exists; choose another name with -o, or add --force.")
        _copy(opened.artifacts.path(result["artifact"]), result["filename"], target)
        report = store.get_measurement(result["measurement_id"]).result
    if json:
        print_json({**report, "path": str(target)})
    else:
        size, opset_used = report.get("size_bytes"), report.get("opset")
        print(f"{target}: {size:,} bytes, opset {opset_used}")
        difference, agreement = report.get("max_abs_difference"), report.get("top1_agreement")
        if difference is not None and agreement is not None:  # else a problem below says why it is not known
            same = f"same answer on {percent(agreement)} of {report.get('n')} images"
            print(f"  largest difference to PyTorch {difference:.2e}, {same}")
    for problem in report.get("problems") or ():
        note(f"espalier: {problem}")
    if report.get("passed") is False:
        raise typer.Exit(1)


def _copy(stored: Path, filename: str, target: Path) -> None:
    """The stored file, or the graph and the tensors beside it, whose name the graph holds."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if stored.is_file():
            shutil.copyfile(stored, target)
            return
        if target.name != filename:
            raise ExportError(
                f"This model is too large for one ONNX file: its tensors lie beside the graph, which knows their name. "
                f"Write it as -o {target.with_name(filename)}."
            )
        for path in stored.iterdir():
            shutil.copyfile(path, target.with_name(path.name))
    except OSError as error:
        raise ExportError(f"{target} cannot be written: {error.strerror or error}.") from error
