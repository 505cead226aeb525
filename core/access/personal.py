"""The store as one person may use it: pages get this one, so that hiding a button is never what protects a session.

Reading and writing are checked here, before the store does anything, and what is not listed as a person's to write
fails closed: ``PersonalStore`` has no way to write but through a checked method.
"""

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy.engine import Connection

from ..errors import AccessError, StoreError
from ..store import Dataset, Job, JobState, Model, Sensitivity, Session, Store, Workspace
from ..store.connection import Rows
from .directory import Directory
from .people import GUEST, Person
from .policy import AccessPolicy

__all__ = ["LOOKS", "OPEN", "OWN", "OWN_WAY", "PersonalStore", "as_person"]

# Which session a call concerns, by the argument that names it.
_SUBJECTS: dict[str, Callable[[Store, str], str | None]] = {
    "session_id": lambda _store, value: value,
    "variant_id": lambda store, value: store.get_variant(value).session_id,
    "measurement_id": lambda store, value: store.get_variant(store.get_measurement(value).variant_id).session_id,
    "job_id": lambda store, value: store.get_job(value).session_id,
    "plan_id": lambda store, value: store.get_saved_plan(value).session_id,
    "view_id": lambda store, value: store.get_view(value).session_id,
    "share_id": lambda store, value: store.get_share(value).session_id,
}

OWN = {
    "rename_session": "session_id",
    "delete_session": "session_id",
    "set_session_model": "session_id",
    "set_session_data": "session_id",
    "set_session_lineage": "session_id",
    "save_draft": "session_id",
    "add_variant": "session_id",
    "rename_variant": "variant_id",
    "delete_variant": "variant_id",
    "add_measurement": "variant_id",
    "request_cancel": "job_id",
    "delete_jobs": "session_id",
    "save_plan": "session_id",
    "rename_saved_plan": "plan_id",
    "delete_saved_plan": "plan_id",
    "save_view": "session_id",
    "rename_view": "view_id",
    "move_view": "view_id",
    "delete_view": "view_id",
    "add_share": "session_id",
    "revoke_share": "share_id",
}
"""Methods that write into a session, and the argument that names it: only its owner may call them."""

LOOKS = {
    "get_session": "session_id",
    "get_variant": "variant_id",
    "dense_variant": "session_id",
    "variants": "session_id",
    "get_measurement": "measurement_id",
    "measurements": "variant_id",
    "get_job": "job_id",
    "partial": "job_id",
    "partial_time": "job_id",
    "get_saved_plan": "plan_id",
    "saved_plans": "session_id",
    "get_view": "view_id",
    "views": "session_id",
    "get_share": "share_id",
    "shares": "session_id",
}
"""Methods that read a session; where others are refused, only its owner may call them."""

OPEN = {
    # Named by the hash of their content: whoever knows the name has the content.
    "get_model",
    "get_dataset",
    "get_sensitivity",
    "find_sensitivity",
    "sensitivities",
    "earlier_results",
    # Named by the hash of a secret.
    "find_share",
    # A number, yes or no, and bare ids; of the queue nothing but whose turn it is.
    "queue",
    "queue_position",
    "should_stop",
    "unfinished_jobs",
    # Closing is the server's own matter: it does nothing here.
    "close",
    "open",
}
"""Methods that everybody may call."""

OWN_WAY = {
    "check_take",
    "create_session",
    "list_sessions",
    "jobs",
    "add_model",
    "add_dataset",
    "put_sensitivity",
    "variants_on",
    "training_results",
}
"""Methods that mean something else for a person; see ``PersonalStore``."""


class PersonalStore(Store):
    """``store`` in the hands of ``person``. Sessions that are made here are theirs; lists show their own.

    Raises:
        AccessError: from every method that would change somebody else's session, or something that is no session.
        StoreError: where others are refused, somebody else's session is not there at all.
    """

    def __init__(self, store: Store, person: Person, *, policy: AccessPolicy, directory: Directory) -> None:
        Rows.__init__(self, store.engine)
        self._store = store
        self._policy = policy
        self._directory = directory
        self.person = person

    def owns(self, session_id: str | None) -> bool:
        """Whether the session is this person's."""
        return session_id is not None and self._store.get_session(session_id).owner == self.person.id

    def check_own(self, session_id: str | None) -> None:
        """Raises AccessError unless the session is this person's."""
        self.check_look(session_id)
        if session_id is None:
            raise AccessError("What belongs to no session can only be changed by who runs this server.")
        owner = self._store.get_session(session_id).owner
        if owner != self.person.id:
            whose = f"is {self._directory.name(owner)}'s" if owner else "belongs to nobody"
            raise AccessError(f"This session {whose}: you may look at it, not change it. Begin a session of your own.")

    def check_look(self, session_id: str | None) -> None:
        """Raises StoreError, as if it did not exist, when the session must not be seen by this person."""
        if session_id is None or (self._policy.others == "view" and self.person != GUEST):
            return
        owner = self._store.get_session(session_id).owner
        if owner != self.person.id and (owner or self.person == GUEST):
            raise StoreError(f"There is no session “{session_id[:40]}” in this workspace; it may have been deleted.")

    def check_take(self, session_id: str) -> None:
        """Raises AccessError when the session is somebody else's: who may look at it may not have its weights."""
        self.check_look(session_id)
        owner = self._store.get_session(session_id).owner
        if owner and owner != self.person.id:
            raise AccessError(
                f"This session is {self._directory.name(owner)}'s: you may look at it, not take its models away. Ask "
                "for a link that allows it."
            )

    def create_session(self, name: str = "", owner: str = "", **values: Any) -> Session:
        """A new session of this person, whatever ``owner`` says."""
        self._check_known()
        return self._store.create_session(name, self.person.id, **values)

    def list_sessions(self, *, owner: str | None = None, limit: int = 200) -> list[Session]:
        """The sessions of this person, last used first; with ``owner=""`` those that belong to nobody."""
        nobodys = owner == "" and self.person != GUEST
        return self._store.list_sessions(owner="" if nobodys else self.person.id, limit=limit)

    def jobs(
        self, session_id: str | None = None, states: Collection[JobState] | None = None, limit: int = 100
    ) -> list[Job]:
        """The jobs of one session that may be seen, or of all sessions of this person, newest first."""
        if session_id is not None:
            self.check_look(session_id)
            return self._store.jobs(session_id, states, limit)
        mine = {session.id for session in self._store.list_sessions(owner=self.person.id, limit=10_000)}
        return [job for job in self._store.jobs(None, states, limit) if job.session_id in mine]

    def add_model(self, *, id: str, **values: Any) -> Model:
        """Store a model that is new here; one that is there already stays as it is, because others may use it."""
        self._check_known()
        try:
            return self._store.get_model(id)
        except StoreError:
            return self._store.add_model(id=id, **values)

    def add_dataset(self, *, id: str, name: str, spec: Mapping[str, Any], description: Mapping[str, Any]) -> Dataset:
        """Store a data set that is new here; one that is there already stays as it is."""
        self._check_known()
        try:
            return self._store.get_dataset(id)
        except StoreError:
            return self._store.add_dataset(id=id, name=name, spec=spec, description=description)

    def put_sensitivity(self, *, key: str, **values: Any) -> Sensitivity:
        """Store a sensitivity that is new here; one that is there already stays as it is."""
        self._check_known()
        found = self._store.find_sensitivity(key)
        return found if found is not None else self._store.put_sensitivity(key=key, **values)

    def variants_on(self, data_id: str, *, limit: int = 100, owner: str | None = None) -> list[tuple[str, str, str]]:
        """As in the store, of this person's sessions only."""
        return self._store.variants_on(data_id, limit=limit, owner=self.person.id)

    def training_results(
        self, model_id: str, *, limit: int = 30, owner: str | None = None
    ) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """As in the store, of this person's sessions only."""
        return self._store.training_results(model_id, limit=limit, owner=self.person.id)

    def _check_known(self) -> None:
        if self.person == GUEST:
            raise AccessError("Log in first.")

    def close(self) -> None:
        """Nothing: the connections are the server's."""

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        # Checked methods write through ``self._store``: who comes here was not checked.
        raise AccessError("This is not for the people of this server to change.")
        yield  # pragma: no cover - makes this a generator


def _checked(name: str, argument: str, *, own: bool) -> Callable[..., Any]:
    """The method of the store behind the question whose session it concerns."""
    method = getattr(Store, name)
    signature = inspect.signature(method)

    @functools.wraps(method)
    def call(self: PersonalStore, *args: Any, **kwargs: Any) -> Any:
        value = signature.bind(self, *args, **kwargs).arguments.get(argument)
        session_id = None if value is None else _SUBJECTS[argument](self._store, value)
        (self.check_own if own else self.check_look)(session_id)
        return method(self._store, *args, **kwargs)

    return call


for _name, _argument in OWN.items():
    setattr(PersonalStore, _name, _checked(_name, _argument, own=True))
for _name, _argument in LOOKS.items():
    setattr(PersonalStore, _name, _checked(_name, _argument, own=False))


def as_person(workspace: Workspace, person: Person, *, policy: AccessPolicy, directory: Directory) -> Workspace:
    """The workspace as this person may use it: its store is a ``PersonalStore``; closing it closes nothing."""
    store = PersonalStore(workspace.store, person, policy=policy, directory=directory)
    return Workspace(workspace.folder, store=store, artifacts=workspace.artifacts, notice=workspace.notice)
