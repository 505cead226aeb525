"""``search``: find a plan from the command line, and write it as a file that ``espalier prune`` runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import PlanError
from ..planning.settings import SearchSettings
from ..planning.words import cost_words
from ..pruning.plan import Plan
from ..wording import percent
from . import options as o
from .output import note, print_json, print_table
from .results import read_plan
from .work import Target, open_workspace, run_job, session_for

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(search)


def search(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model by name (with --data), or a session's id.")],
    keep: Annotated[
        float | None, typer.Option("--keep", min=0, max=1, help="Score to keep, as a fraction.", show_default=False)
    ] = None,
    lose: Annotated[
        float | None, typer.Option("--lose", min=0, max=1, help="Or: how much it may lose at most.", show_default=False)
    ] = None,
    within_ms: Annotated[
        float | None, typer.Option("--within-ms", help="Milliseconds of one image at most.", show_default=False)
    ] = None,
    within_bytes: Annotated[
        int | None, typer.Option("--within-bytes", min=1, help="Bytes of the file at most.", show_default=False)
    ] = None,
    front: Annotated[bool, typer.Option("--front", help="Several plans from little to much removed.")] = False,
    cost: Annotated[str, typer.Option("--cost", help="What is to be small: bytes, parameters, macs or ms.")] = "bytes",
    plan: Annotated[
        str | None,
        typer.Option("--plan", metavar="PLAN.json", help="Method, and what is fixed or protected.", show_default=False),
    ] = None,
    images: Annotated[int, typer.Option("--images", min=2, help="Images per measurement.")] = 1000,
    evaluations: Annotated[int, typer.Option("--evaluations", min=1, help="Measurements at most.")] = 24,
    sampler: Annotated[str, typer.Option("--sampler", help="Of a front: curves or optuna.")] = "curves",
    sure: Annotated[bool, typer.Option("--sure", help="Also at the lower end of the 95 % interval.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the best plan to this file.", show_default=False)
    ] = None,
    data: o.Data = None,
    data_root: o.DataRoot = None,
    checkpoint: o.Checkpoint = None,
    weights: o.Weights = None,
    classes: o.Classes = None,
    input_shape: o.InputShape = None,
    limit: o.Limit = None,
    seed: o.SeedOption = 0,
    device: o.Device = None,
    models: o.Models = None,
    workspace: o.WorkspaceFolder = None,
    json: o.Json = False,
) -> None:
    """Find the smallest model that keeps a score, or the best one within limits; every plan is really measured."""
    settings = _settings(
        keep=keep,
        lose=lose,
        within_ms=within_ms,
        within_bytes=within_bytes,
        front=front,
        cost=cost,
        images=images,
        evaluations=evaluations,
        sampler=sampler,
        sure=sure,
    )
    base = read_plan(plan) if plan else _default(settings)
    target = Target(model, checkpoint, weights, classes, input_shape, data, data_root, limit, seed)
    with open_workspace(workspace, device=device, models=models) as opened:
        session = session_for(opened, target, json=json)
        payload = {"plan": base.to_json(), "settings": settings.to_json()}
        result = run_job(opened, "search", payload, session=session, title="Searching")
    if output is not None and result["best"] is not None:
        _write(Plan.parse(result["plans"][result["best"]]["plan"]), output)
    if json:
        print_json(result)
    else:
        _print(result)
    if result["best"] is None and settings.goal != "front":
        raise typer.Exit(1)


def _settings(*, front: bool, within_ms: float | None, within_bytes: int | None, **given: Any) -> SearchSettings:
    goal = "front" if front else "fastest" if within_ms is not None or within_bytes is not None else "smallest"
    if within_ms is not None and given["cost"] == "bytes" and within_bytes is None:
        given["cost"] = "ms"
    body = {"goal": goal, "within_ms": within_ms, "within_bytes": within_bytes, **given}
    return SearchSettings.parse({name: value for name, value in body.items() if value is not None})


def _default(settings: SearchSettings) -> Plan:
    """Zeros save bytes only: what counts MACs or milliseconds removes whole units."""
    if settings.cost in ("macs", "ms") or settings.within_ms is not None:
        return Plan(method="one_shot_structured", allocation="global")
    return Plan()


def _print(result: dict[str, Any]) -> None:
    rows = []
    for number, body in enumerate(result["plans"]):
        measured = body["measured"]
        marks = [
            "best" if number == result["best"] else "keeps" if body["kept"] else "",
            "on the front" if number in result["front"] else "",
        ]
        rows.append(
            (
                number + 1,
                body["family"],
                "" if body["t"] is None else percent(body["t"]),
                f"{measured['score']:.4f} [{measured['low']:.4f}, {measured['high']:.4f}]",
                cost_words({**measured, **body}, result["dense"], result["target"]["cost"]),
                ", ".join(filter(None, marks)),
            )
        )
    print_table("Measured plans", ("plan", "family", "amount", "score (select)", "cost", ""), rows)
    print(result["sentence"])


def _write(plan: Plan, file: Path) -> None:
    try:
        file.write_text(plan.to_text(), encoding="utf-8")
    except OSError as error:
        raise PlanError(f"The plan cannot be written to {file}: {error.strerror or error}.") from error
    note(f"The best plan is in {file}; run it with: espalier prune {file} --session …")
