"""``people`` and ``give``: who works in this workspace, and whose a session is. For who runs the server."""

from collections import Counter
from typing import Annotated

import typer

from ..access import Directory, Person
from ..errors import AccessError
from .options import Json, WorkspaceFolder
from .output import note, print_json, print_table
from .work import open_workspace

__all__ = ["add_to"]

NOBODY = "nobody"


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(people)
    app.command()(give)


def people(workspace: WorkspaceFolder = None, json: Json = False) -> None:
    """List the people who have logged in, and how many sessions they own."""
    with open_workspace(workspace) as opened:
        owned = Counter(session.owner for session in opened.store.list_sessions(limit=100_000))
        known = Directory(opened.folder).people()
    found = [{"id": person.id, "name": person.name, "sessions": owned.pop(person.id, 0)} for person in known]
    if json:
        print_json({"people": found, "nobody": owned.get("", 0)})
        return
    rows = [(str(item["id"]), str(item["name"]), str(item["sessions"])) for item in found]
    print_table(f"{len(rows)} people", ("person", "name", "sessions"), rows)
    note(f"{owned.get('', 0)} sessions belong to nobody.")


def give(
    session: Annotated[str, typer.Argument(help="The session.")],
    person: Annotated[str, typer.Argument(help="Id of a person, a name that only one has, or “nobody”.")],
    workspace: WorkspaceFolder = None,
    json: Json = False,
) -> None:
    """Give a session to a person, who may change it from then on."""
    with open_workspace(workspace) as opened:
        owner = "" if person == NOBODY else _person(Directory(opened.folder), person).id
        given = opened.store.give_session(session, owner)
    if json:
        print_json({"id": given.id, "owner": given.owner})
    else:
        print(f"“{given.name}” belongs to {person} now.")


def _person(directory: Directory, wanted: str) -> Person:
    """The one person with this id or name.

    Raises:
        AccessError: when there is none, or several have the name.
    """
    found = [one for one in directory.people() if wanted == one.id or wanted.casefold() == one.name.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(one.id for one in found)
        raise AccessError(f"{len(found)} people are called “{wanted}”: name one by id ({ids}).")
    raise AccessError(f"Nobody called “{wanted}” has logged in here; “espalier people” lists who has.")
