"""``sessions`` and ``doctor``: what is stored, and whether all is well."""

from typing import Annotated, Any

import typer

from ..store import Session, Workspace
from .options import Json, WorkspaceFolder
from .output import print_json, print_table
from .work import open_workspace

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(sessions)
    app.command()(doctor)


def sessions(
    session: Annotated[
        str | None, typer.Argument(help="Show the variants of this session.", show_default=False)
    ] = None,
    workspace: WorkspaceFolder = None,
    json: Json = False,
) -> None:
    """List the sessions of the workspace, or the variants of one."""
    with open_workspace(workspace) as opened:
        if session is not None:
            _show_one(opened, opened.store.get_session(session), json)
            return
        found = [_summary(opened, item) for item in opened.store.list_sessions()]
    if json:
        print_json(found)
    elif not found:
        print(f"No sessions in {opened.folder}. Begin with: espalier open digits_resnet --data digits")
    else:
        rows = [
            (item["id"], item["name"], item["model"], item["data"], item["variants"], item["updated"][:16])
            for item in found
        ]
        print_table(
            f"Sessions in {opened.folder}", ("session", "name", "model", "data", "variants", "used (UTC)"), rows
        )


def _summary(workspace: Workspace, session: Session) -> dict[str, Any]:
    store = workspace.store
    return {
        "id": session.id,
        "name": session.name,
        "model": store.get_model(session.model_id).name if session.model_id else None,
        "data": store.get_dataset(session.data_id).name if session.data_id else None,
        "variants": len(store.variants(session.id)),
        "updated": session.updated.isoformat(),
    }


def _show_one(workspace: Workspace, session: Session, json: bool) -> None:
    variants = workspace.store.variants(session.id)
    if json:
        body = [variant.model_dump(mode="json", exclude={"layers"}) for variant in variants]
        print_json({**_summary(workspace, session), "variants": body})
        return
    rows = []
    for variant in variants:
        test = variant.metrics.get("test") or {}
        sizes = variant.sizes
        rows.append(
            (
                variant.id,
                variant.name,
                variant.plan["sparsity"] if variant.plan else None,
                test.get("score"),
                test.get("low"),
                test.get("high"),
                sizes.get("nonzero"),
                sizes.get("sparse_bytes"),
            )
        )
    columns = ("variant", "name", "sparsity", "test", "low", "high", "non-zero", "compressed bytes")
    print_table(f"{session.name} ({session.id})", columns, rows)


def doctor(workspace: WorkspaceFolder = None, json: Json = False) -> None:
    """Check packages, devices and the workspace; exit code 1 when something is wrong."""
    from ..doctor import examine

    report = examine(workspace)
    if json:
        print_json(report)
    else:
        _print_report(report)
    if not report["ok"]:
        raise typer.Exit(1)


def _print_report(report: dict[str, Any]) -> None:
    rows = [(name, version or "missing", "") for name, version in report["versions"].items()]
    rows += [
        (name, item["version"] or "not installed", item["without"] or "") for name, item in report["optional"].items()
    ]
    print_table(
        f"Espalier {report['espalier']}, Python {report['python']}", ("package", "version", "consequence"), rows
    )
    machine, torch = report["machine"], report["torch"] or {}
    place = report["workspace"]
    free = place["free_bytes"]
    facts = [
        ("processor", f"{machine['cpu']}, {machine['cores']:g} cores ({', '.join(machine['features']) or 'no AVX'})"),
        ("devices", ", ".join(torch.get("devices", [])) or "unknown"),
        ("threads per job", machine["worker_threads"]),
        ("workspace", place["folder"]),
        ("writable", place["writable"]),
        ("free disk", "unknown" if free is None else f"{free / 1e9:.1f} GB"),
        ("data roots", ", ".join(report["data_roots"]) or "none"),
    ]
    print_table("This machine", ("what", "value"), facts)
    for problem in report["problems"]:
        print(f"Problem: {problem}")
    print("All is well." if report["ok"] else f"{len(report['problems'])} problem(s) found.")
