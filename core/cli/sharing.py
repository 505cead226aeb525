"""``share``, ``revoke``, ``fork``, ``bundle``, ``import`` and ``card``: taking results to other people."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import StoreError
from ..sharing import bundle as bundles
from ..sharing import card as cards
from ..sharing import forking, importing, links
from ..store import Session, Workspace
from ..store.files import write_atomically
from .options import Json, WorkspaceFolder
from .output import print_json, print_table
from .work import open_workspace

__all__ = ["add_to"]

_Session = Annotated[str, typer.Argument(metavar="SESSION", help="Id of a session (see: espalier sessions).")]
_Name = Annotated[str, typer.Option("--name", help="Label of the new session.", show_default=False)]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite the file when it exists.")]
_SERVER = "http://127.0.0.1:8501"


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(share)
    app.command()(revoke)
    app.command()(fork)
    app.command()(bundle)
    app.command("import")(import_)
    app.command()(card)


def share(
    session: _Session,
    title: Annotated[str, typer.Option("--title", help="What the report is called.", show_default=False)] = "",
    allow_onnx: Annotated[bool, typer.Option("--allow-onnx", help="Readers may download ONNX files.")] = False,
    allow_fork: Annotated[
        bool, typer.Option("--allow-fork", help="Readers may take it along with its weights, as a fork or a bundle.")
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="Make none: list the links of the session.")] = False,
    server: Annotated[str, typer.Option("--server", help="Address of the dashboard that readers reach.")] = _SERVER,
    workspace: WorkspaceFolder = None,
    json: Json = False,
) -> None:
    """Freeze a session as a report and make a read-only link to it."""
    with open_workspace(workspace) as opened:
        if show:
            _list(opened, opened.store.get_session(session), json)
            return
        made = links.share(opened, session, title=title, allow_onnx=allow_onnx, allow_fork=allow_fork)
    address = links.link_address(server, made.token)
    if json:
        print_json({"id": made.share.id, "title": made.share.title, "token": made.token, "address": address})
    else:
        print(address)
        print(f"It is shown this once. Withdraw it with: espalier revoke {made.share.id}")


def _list(workspace: Workspace, session: Session, json: bool) -> None:
    found = [
        item.model_dump(mode="json", exclude={"body", "token_hash"}) for item in workspace.store.shares(session.id)
    ]
    if json:
        print_json(found)
        return
    rows = [
        (item["id"], item["title"], item["created"][:16], "withdrawn" if item["revoked"] else "open") for item in found
    ]
    print_table(f"Links of {session.name}", ("link", "title", "made (UTC)", ""), rows)


def revoke(
    link: Annotated[str, typer.Argument(metavar="LINK", help="Id of a link, its address or its token.")],
    workspace: WorkspaceFolder = None,
    json: Json = False,
) -> None:
    """Withdraw a link: nobody can open it any more."""
    with open_workspace(workspace) as opened:
        found = links.revoke(opened, forking.token_of(link))
    if json:
        print_json({"id": found.id, "title": found.title, "revoked": str(found.revoked)})
    else:
        print(f"Withdrawn: {found.title}")


def fork(
    source: Annotated[str, typer.Argument(metavar="LINK", help="A link, its token, or the file of a bundle.")],
    name: _Name = "",
    workspace: WorkspaceFolder = None,
    json: Json = False,
) -> None:
    """Make a session of your own from a link of this workspace, or from a bundle."""
    place = Path(source).expanduser()
    with open_workspace(workspace) as opened:
        session = forking.fork(opened, place if place.suffix == ".zip" or place.is_file() else source, name=name)
        _print_session(opened, session, json)


def bundle(
    session: _Session,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The file. Default: <session>.espalier.zip here.", show_default=False),
    ] = None,
    force: _Force = False,
    workspace: WorkspaceFolder = None,
    json: Json = False,
) -> None:
    """Write a session as one file that opens on another machine, without the model's code."""
    with open_workspace(workspace) as opened:
        target = output or Path(bundles.bundle_name(opened.store.get_session(session).name))
        report = bundles.export_bundle(opened, session, target, replace=force)
    if json:
        print_json(
            {"path": str(target), "files": report.files, "variants": report.variants, "bytes": report.size_bytes}
        )
    else:
        print(f"{target}: {report.variants} variants, {report.size_bytes:,} bytes")


def import_(
    file: Annotated[Path, typer.Argument(metavar="BUNDLE.zip", help="A bundle that Espalier wrote.")],
    name: _Name = "",
    workspace: WorkspaceFolder = None,
    json: Json = False,
) -> None:
    """Open a bundle as a new session. It is read as data, never as code, and checked before anything is stored."""
    with open_workspace(workspace) as opened:
        _print_session(opened, importing.import_bundle(opened, file, name=name), json)


def _print_session(workspace: Workspace, session: Session, json: bool) -> None:
    away = session.data_id is not None and workspace.store.get_dataset(session.data_id).description.get("away", False)
    if json:
        print_json({**session.model_dump(mode="json"), "data_away": bool(away)})
        return
    print(f"Session {session.id} ({session.name})")
    if away:
        print("Its data did not travel along: open them from their folder on the Compare page to go on measuring.")


def card(
    variant: Annotated[
        str, typer.Argument(metavar="VARIANT", help="Id of a variant (see: espalier sessions SESSION).")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The file, .md or .html. Default: print Markdown.", show_default=False),
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="HTML instead of Markdown.")] = False,
    force: _Force = False,
    workspace: WorkspaceFolder = None,
    json: Json = False,
) -> None:
    """Write the model card of a variant."""
    with open_workspace(workspace) as opened:
        made = cards.model_card(opened, variant)
    as_html = html or (output is not None and output.suffix.lower() in (".html", ".htm"))
    text = made.html if as_html else made.markdown
    if output is not None:
        if output.exists() and not force:
            raise StoreError(f"{output} exists; choose another name or add --force.")
        write_atomically(output, text.encode())
    if json:
        print_json({"title": made.title, "path": str(output) if output else None, "text": text})
    elif output is None:
        print(text, end="")
    else:
        print(f"{output}: {made.title}")
