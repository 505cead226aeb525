"""What people keep under a name: plans, and views of pages for a presentation."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from ..errors import StoreError
from .connection import Rows, clean_name, free_name, new_id, now
from .reading import once
from .records import SavedPlan, View
from .tables import saved_plans, sessions, views

__all__ = ["MAX_KEPT", "KeptRows"]

MAX_KEPT = 200
MAX_KEPT_BYTES = 1_000_000


class KeptRows(Rows):
    """The part of ``Store`` that knows saved plans and views."""

    def save_plan(self, session_id: str, name: str, plan: Mapping[str, Any]) -> SavedPlan:
        """Keep a plan (``Plan.to_json()``) under a name; a name that is taken gets a number.

        Raises:
            StoreError: when the session already keeps ``MAX_KEPT`` plans, or when the plan is unreasonably large.
        """
        with self._write() as connection:
            values = self._kept(connection, saved_plans, session_id, clean_name(name, "Plan"), plan)
            connection.execute(insert(saved_plans).values(plan=dict(plan), **values))
            return SavedPlan.model_validate(self._row(connection, saved_plans, values["id"], "saved plan"))

    @once
    def saved_plans(self, session_id: str) -> list[SavedPlan]:
        """The plans that a session keeps, oldest first."""
        query = select(saved_plans).where(saved_plans.c.session_id == session_id).order_by(saved_plans.c.number)
        with self._read() as connection:
            return [SavedPlan.model_validate(dict(row)) for row in connection.execute(query).mappings()]

    def get_saved_plan(self, plan_id: str) -> SavedPlan:
        """The saved plan with this id, or StoreError."""
        with self._read() as connection:
            return SavedPlan.model_validate(self._row(connection, saved_plans, plan_id, "saved plan"))

    def rename_saved_plan(self, plan_id: str, name: str) -> SavedPlan:
        """The saved plan under a new label."""
        with self._write() as connection:
            return SavedPlan.model_validate(self._rename(connection, saved_plans, plan_id, name, "saved plan"))

    def delete_saved_plan(self, plan_id: str) -> None:
        """Delete a saved plan; what was made from it stays."""
        with self._write() as connection:
            self._row(connection, saved_plans, plan_id, "saved plan")
            connection.execute(delete(saved_plans).where(saved_plans.c.id == plan_id))

    def save_view(self, session_id: str, name: str, body: Mapping[str, Any]) -> View:
        """Keep a view (a page, and what is chosen on it) under a name, behind those that are there.

        Raises:
            StoreError: when the session already keeps ``MAX_KEPT`` views, or when this one is unreasonably large.
        """
        with self._write() as connection:
            values = self._kept(connection, views, session_id, clean_name(name, "View"), body)
            last = connection.scalar(select(func.max(views.c.position)).where(views.c.session_id == session_id))
            position = 0 if last is None else last + 1
            connection.execute(insert(views).values(body=dict(body), position=position, **values))
            return View.model_validate(self._row(connection, views, values["id"], "view"))

    def views(self, session_id: str) -> list[View]:
        """The views of a session in the order in which they are shown."""
        with self._read() as connection:
            return self._views(connection, session_id)

    def get_view(self, view_id: str) -> View:
        """The view with this id, or StoreError."""
        with self._read() as connection:
            return View.model_validate(self._row(connection, views, view_id, "view"))

    def rename_view(self, view_id: str, name: str) -> View:
        """The view under a new label."""
        with self._write() as connection:
            return View.model_validate(self._rename(connection, views, view_id, name, "view"))

    def move_view(self, view_id: str, by: int) -> list[View]:
        """The views of the session after this one was moved by so many places; it stops at both ends."""
        with self._write() as connection:
            session_id = self._row(connection, views, view_id, "view")["session_id"]
            order = [view.id for view in self._views(connection, session_id)]
            place = order.index(view_id)
            order.remove(view_id)
            order.insert(min(max(place + by, 0), len(order)), view_id)
            for position, each in enumerate(order):
                connection.execute(update(views).where(views.c.id == each).values(position=position))
            return self._views(connection, session_id)

    def delete_view(self, view_id: str) -> None:
        """Delete a view; the page that it shows stays."""
        with self._write() as connection:
            self._row(connection, views, view_id, "view")
            connection.execute(delete(views).where(views.c.id == view_id))

    @staticmethod
    def _views(connection: Connection, session_id: str) -> list[View]:
        query = select(views).where(views.c.session_id == session_id).order_by(views.c.position, views.c.number)
        return [View.model_validate(dict(row)) for row in connection.execute(query).mappings()]

    def _kept(
        self, connection: Connection, table: Table, session_id: str, name: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The values that every kept row has, after the checks that hold for all."""
        self._row(connection, sessions, session_id, "session")
        if len(json.dumps(body, default=str)) > MAX_KEPT_BYTES:
            raise StoreError("What is kept under a name must be below 1 MB of JSON; this is larger.")
        taken = connection.scalars(select(table.c.name).where(table.c.session_id == session_id)).all()
        if len(taken) >= MAX_KEPT:
            raise StoreError(f"A session keeps at most {MAX_KEPT} of these; delete some first.")
        return {"id": new_id(), "session_id": session_id, "name": free_name(name, taken), "created": now()}

    def _rename(self, connection: Connection, table: Table, row_id: str, name: str, what: str) -> Mapping[str, Any]:
        """The row under a new label; an empty one changes nothing."""
        row = self._row(connection, table, row_id, what)
        label = clean_name(name, row["name"])
        connection.execute(update(table).where(table.c.id == row_id).values(name=label))
        return {**row, "name": label}
