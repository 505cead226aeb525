"""A workspace with sessions of two people and of nobody."""

from dataclasses import dataclass

import pytest

from core.access import AccessPolicy, Directory, Person, PersonalStore, as_person
from core.store import Session, Store, Workspace

from ..jobs import conftest as _kinds  # noqa: F401 - registers the tiny job kinds


@dataclass
class Town:
    """``view("ann")`` is the store as Ann may use it."""

    workspace: Workspace
    directory: Directory
    people: dict[str, Person]
    sessions: dict[str, Session]

    @property
    def store(self) -> Store:
        return self.workspace.store

    def view(self, name: str, **policy: str) -> Workspace:
        rules = AccessPolicy.model_validate({"login": "passphrase", **policy})
        return as_person(self.workspace, self.people[name], policy=rules, directory=self.directory)

    def personal(self, name: str, **policy: str) -> PersonalStore:
        store = self.view(name, **policy).store
        assert isinstance(store, PersonalStore)
        return store


@pytest.fixture
def town(workspace: Workspace) -> Town:
    directory = Directory(workspace.folder)
    people = {name: directory.log_in(name) for name in ("Ann", "Bea")}
    sessions = {name: workspace.store.create_session(f"{name}’s", owner=person.id) for name, person in people.items()}
    sessions["nobody"] = workspace.store.create_session("The demo")
    return Town(workspace, directory, people, sessions)
