"""Reading and writing rows: one transaction per call, and database errors in words."""

import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, Engine, RowMapping, Table, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from ..errors import StoreError
from .reading import forget

__all__ = ["Rows", "clean_name", "free_name", "in_words", "new_id", "now"]

MAX_NAME = 120


def new_id() -> str:
    """An unguessable id of 16 hexadecimal digits."""
    return secrets.token_hex(8)


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def clean_name(name: str, default: str) -> str:
    """A label as it is stored: one line, no control characters, at most 120 characters. Never a path."""
    words = "".join(char if char.isprintable() else " " for char in name).split()
    label = " ".join(words) or default
    return label if len(label) <= MAX_NAME else label[: MAX_NAME - 1] + "…"


def free_name(name: str, taken: Collection[str]) -> str:
    """``name``, with a number behind it when it is taken."""
    number = 2
    free = name
    while free in taken:
        free = f"{name} ({number})"
        number += 1
    return free


class Rows:
    """Base of the parts of ``Store``: transactions on one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        try:
            with self.engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise in_words(error) from error

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        try:
            with self.engine.connect().execution_options(espalier_write=True) as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise in_words(error) from error
        finally:
            forget()

    def _row(self, connection: Connection, table: Table, value: str, what: str) -> Mapping[str, Any]:
        """The row with this id.

        Raises:
            StoreError: when there is none.
        """
        row = connection.execute(select(table).where(_id_column(table) == value)).mappings().one_or_none()
        if row is None:
            raise StoreError(f"There is no {what} “{value[:40]}” in this workspace; it may have been deleted.")
        return as_fields(row)


def as_fields(row: RowMapping) -> dict[str, Any]:
    """A row as keywords of its record."""
    return dict(row)


def _id_column(table: Table) -> Column[Any]:
    return table.c["id"]


def in_words(error: SQLAlchemyError) -> StoreError:
    cause = str(getattr(error, "orig", None) or error)
    lower = cause.lower()
    if "locked" in lower or "busy" in lower:
        return StoreError("The workspace is busy: another process has been writing for 30 seconds. Try again.")
    if "disk is full" in lower or "disk i/o" in lower:
        return StoreError("The workspace cannot be written: the disk is full or failing; free some space.")
    if "readonly" in lower or "read-only" in lower or "unable to open" in lower:
        return StoreError(f"The workspace database cannot be opened for writing ({cause}); check the folder's owner.")
    if "foreign key" in lower:
        return StoreError("What this result belongs to was deleted meanwhile; nothing was stored.")
    if "malformed" in lower or "not a database" in lower:
        return StoreError("The workspace database is damaged; restart: a copy is set aside and a new one started.")
    return StoreError(f"The workspace database refused: {cause.splitlines()[0]}.")
