"""Sessions: a person's model, data and draft plan."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection

from ..errors import StoreError
from .connection import Rows, clean_name, new_id, now
from .reading import once
from .records import Session
from .tables import datasets, models, sessions

__all__ = ["SessionRows"]

MAX_DRAFT_BYTES = 1_000_000


class SessionRows(Rows):
    """The part of ``Store`` that knows sessions."""

    def create_session(self, name: str = "", owner: str = "", *, lineage: Sequence[Mapping[str, Any]] = ()) -> Session:
        """A new, empty session; ``name`` is only a label (one line, 120 characters at most), ``owner`` whose it is,
        ``lineage`` what it comes from."""
        time, label = now(), clean_name(name, "Untitled")
        origins = [dict(step) for step in lineage]
        session = Session(id=new_id(), name=label, created=time, updated=time, owner=owner, lineage=origins)
        with self._write() as connection:
            connection.execute(insert(sessions).values(session.model_dump()))
        return session

    @once
    def get_session(self, session_id: str) -> Session:
        """The session with this id.

        Raises:
            StoreError: when it does not exist.
        """
        with self._read() as connection:
            return self._session(connection, session_id)

    def check_take(self, session_id: str) -> None:
        """Raises AccessError unless whoever uses this store may take weights of the session away. Here: everybody."""

    def list_sessions(self, *, owner: str | None = None, limit: int = 200) -> list[Session]:
        """The sessions of one person, or all, last used first."""
        query = select(sessions).order_by(sessions.c.updated.desc(), sessions.c.number.desc()).limit(limit)
        if owner is not None:
            query = query.where(sessions.c.owner == owner)
        with self._read() as connection:
            return [Session.model_validate(dict(row)) for row in connection.execute(query).mappings()]

    def rename_session(self, session_id: str, name: str) -> Session:
        """The session under a new label."""
        return self._change_session(session_id, name=clean_name(name, "Untitled"))

    def give_session(self, session_id: str, owner: str) -> Session:
        """The session in the hands of another person ("": nobody)."""
        return self._change_session(session_id, owner=owner)

    def delete_session(self, session_id: str) -> None:
        """Delete a session with its jobs, variants and measurements. ``Workspace.collect_garbage`` frees the files."""
        with self._write() as connection:
            self._session(connection, session_id)
            connection.execute(delete(sessions).where(sessions.c.id == session_id))

    def set_session_model(self, session_id: str, model_id: str | None) -> Session:
        """The session with another model."""
        return self._change_session(session_id, model_id=model_id)

    def set_session_data(self, session_id: str, data_id: str | None) -> Session:
        """The session with other data."""
        return self._change_session(session_id, data_id=data_id)

    def set_session_lineage(self, session_id: str, lineage: Sequence[Mapping[str, Any]]) -> Session:
        """The session with what it comes from, the first first."""
        return self._change_session(session_id, lineage=[dict(step) for step in lineage])

    def save_draft(self, session_id: str, plan: Mapping[str, Any], *, revision: int) -> Session:
        """Store the draft plan if nobody stored another one since ``revision`` was read; the revision grows by one.

        Raises:
            StoreError: "changed elsewhere" when ``revision`` is old, or when the draft is unreasonably large.
        """
        if len(json.dumps(plan, default=str)) > MAX_DRAFT_BYTES:
            raise StoreError("A draft plan must be below 1 MB of JSON; this one is larger.")
        with self._write() as connection:
            changed = connection.execute(
                update(sessions)
                .where(sessions.c.id == session_id, sessions.c.revision == revision)
                .values(draft_plan=dict(plan), revision=revision + 1, updated=now())
            )
            session = self._session(connection, session_id)
            if changed.rowcount == 0:
                raise StoreError(
                    f"This plan was changed elsewhere (revision {session.revision}, yours was {revision}); "
                    "reload to see it, then repeat your edit."
                )
            return session

    def _change_session(self, session_id: str, **values: Any) -> Session:
        with self._write() as connection:
            if values.get("model_id") is not None:
                self._row(connection, models, values["model_id"], "model")
            if values.get("data_id") is not None:
                self._row(connection, datasets, values["data_id"], "data set")
            connection.execute(update(sessions).where(sessions.c.id == session_id).values(updated=now(), **values))
            return self._session(connection, session_id)

    def _session(self, connection: Connection, session_id: str) -> Session:
        return Session.model_validate(self._row(connection, sessions, session_id, "session"))
