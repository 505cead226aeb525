"""``faster``, ``plans`` and ``weights``: will a plan pay here, which plans are kept, and weights as files."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import EspalierError, ExportError, PlanError, StoreError
from ..pruning.plan import Plan
from ..store import SavedPlan, Variant, Workspace
from . import options as o
from .output import note, print_json, print_table
from .results import read_plan
from .work import open_workspace, run_job

__all__ = ["add_to"]

_SUFFIXES = (".sparse", ".safetensors")


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(faster)
    app.command()(plans)
    app.command()(weights)


def faster(
    plan: Annotated[str, typer.Argument(metavar="PLAN.json", help="The plan as JSON; “-” reads standard input.")],
    session: Annotated[str, typer.Option("--session", help="Id of the session with the model.")],
    runtimes: Annotated[
        list[str] | None,
        typer.Option("--runtime", help="onnxruntime, openvino, torch (repeatable; default: all).", show_default=False),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads.")] = 1,
    seconds: Annotated[float, typer.Option("--seconds", help="Time for measuring.")] = 1.6,
    workspace: o.WorkspaceFolder = None,
    json: o.Json = False,
) -> None:
    """Will it be faster here? Time the plan's largest layers on this machine; nothing is pruned."""
    from ..jobs.lineage import DESCRIPTION, start_of
    from ..planning.faster import speed_questions

    body = read_plan(plan)
    settings: dict[str, Any] = {"threads": threads, "budget_s": seconds}
    if runtimes:
        settings["runtimes"] = runtimes
    with open_workspace(workspace) as opened:
        place = opened.store.get_session(session)
        dense = next((one for one in opened.store.variants(place.id) if one.plan is None), None)
        if dense is None:
            raise EspalierError("Open a model and data in this session first.")
        start = start_of(opened.store, body, dense)
        model_id = dense.model_id
        if start.plan is not None:
            named = opened.store.measurements(start.id, kind=DESCRIPTION)
            variant = {"variant_id": start.id}
            found = named[-1].result if named else run_job(opened, "describe", variant, session=place, title="Reading")
            model_id = str(found["model_id"])
        asked = speed_questions(body, **_known(opened, model_id))
        if not asked:
            raise PlanError("This plan changes no layer: there is nothing to time.")
        payload: dict[str, Any] = {
            "questions": [one.to_json() for one in asked],
            "start": body.start,
            "settings": settings,
        }
        result = run_job(opened, "probe", payload, session=place, title="Timing layers")
    if json:
        print_json(result)
        return
    rows = [
        (row["runtime"], row["candidate"], row["ratio"], row["low"], row["high"], row["verdict"], row["rounds"])
        for row in result["rows"]
    ]
    title = f"{len(result['layers'])} largest layers alone, {result['threads']} thread(s), {result['cpu']}"
    print_table(title, ("runtime", "what", "speed-up", "low", "high", "says", "rounds"), rows)
    print(result["sentence"])
    for sentence in (result.get("busy_sentence"), *result["problems"]):
        if sentence:
            note(f"Note: {sentence}")


def _known(workspace: Workspace, model_id: str) -> dict[str, Any]:
    """What questions about a model's layers are made of."""
    from ..analysis.weights import load_weight_statistics
    from ..comb.sheet import FILE_NAME, GroupSheet

    model = workspace.store.get_model(model_id)
    sheet = workspace.artifacts.path(model.artifact) / FILE_NAME
    return {
        "description": model.description,
        "weights": load_weight_statistics(workspace.artifacts.path(model.weights_artifact)),
        "sheet": GroupSheet.load(sheet) if sheet.is_file() else None,
    }


def plans(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="Id of the session.")],
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="PLAN.json", help="Keep this plan.", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Its name.", show_default=False)] = "",
    show: Annotated[
        str | None, typer.Option("--show", metavar="NAME", help="Print a version as JSON.", show_default=False)
    ] = None,
    diff: Annotated[
        list[str] | None,
        typer.Option("--diff", metavar="NAME", help="Compare two versions, or one with the draft (repeatable)."),
    ] = None,
    delete: Annotated[
        str | None, typer.Option("--delete", metavar="NAME", help="Delete a version.", show_default=False)
    ] = None,
    workspace: o.WorkspaceFolder = None,
    json: o.Json = False,
) -> None:
    """List the named versions of a session's plan; keep, show, compare and delete them."""
    from ..planning.differences import plan_differences

    with open_workspace(workspace) as opened:
        store = opened.store
        place = store.get_session(session)
        if keep is not None:
            kept = store.save_plan(place.id, name or Path(keep).stem, read_plan(keep).to_json())
            note(f"Kept as “{kept.name}”.")
        versions = store.saved_plans(place.id)
        if delete is not None:
            store.delete_saved_plan(_named(versions, delete).id)
            versions = store.saved_plans(place.id)
        if show is not None:
            print_json(_named(versions, show).plan)
            return
        if diff:
            if len(diff) > 2:
                raise typer.BadParameter("give one name, or two", param_hint="--diff")
            pair = [Plan.parse(_named(versions, one).plan) for one in diff]
            before, after = (*pair, Plan.parse(place.draft_plan or {}))[:2]
            said = plan_differences(before, after)
            if json:
                print_json(said)
            else:
                print("\n".join(said) or "Both plans do the same.")
            return
    if json:
        print_json([version.model_dump(mode="json") for version in versions])
        return
    rows = [(one.name, one.plan.get("method"), one.plan.get("sparsity"), str(one.created)[:16]) for one in versions]
    print_table(f"{len(rows)} versions in {place.name}", ("name", "method", "sparsity", "kept (UTC)"), rows)


def _named(versions: list[SavedPlan], name: str) -> SavedPlan:
    found = [version for version in versions if name in (version.id, version.name)]
    if not found:
        known = ", ".join(f"“{version.name}”" for version in versions) or "none yet"
        raise StoreError(f"There is no version “{name}” in this session; there are: {known}.")
    return found[-1]


def weights(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Id of a variant, or a file written by this command.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file to write: .sparse (compressed) or .safetensors.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file when it exists.")] = False,
    workspace: o.WorkspaceFolder = None,
    json: o.Json = False,
) -> None:
    """Write a variant's weights as one compressed sparse file, or restore them from one, bit for bit."""
    from safetensors.torch import save_file

    from ..export.sizes import load_sparse, save_state

    if output.suffix not in _SUFFIXES:
        raise ExportError(f"The file must end in {' or '.join(_SUFFIXES)}; got “{output.name}”.")
    if output.exists() and not force:
        raise ExportError(f"{output} exists; choose another name or add --force.")
    if Path(source).suffix == ".sparse":
        if not Path(source).is_file():
            raise ExportError(f"There is no file {source}.")
        state = load_sparse(source)
    else:
        with open_workspace(workspace) as opened:
            state = _state(opened, opened.store.get_variant(source))
    try:
        if output.suffix == ".sparse":
            save_state(state, output)
        else:
            # safetensors refuses names that share memory
            save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, output)
        size = output.stat().st_size
    except OSError as error:
        raise ExportError(f"{output} cannot be written: {error.strerror or error}.") from error
    if json:
        print_json({"path": str(output), "size_bytes": size, "tensors": len(state)})
    else:
        print(f"{output}: {size:,} bytes, {len(state)} tensors")


def _state(workspace: Workspace, variant: Variant) -> dict[str, Any]:
    from ..models.traced import TracedModel

    return dict(TracedModel.load(workspace.artifacts.path(variant.artifact)).state_dict())
