"""From an older schema of the database to this one: all in one transaction, after a copy was set beside it.

A step changes the tables that exist; tables that are new are made from ``tables.py`` afterwards. A crash in between
leaves the old database, because SQLite (and PostgreSQL) take back table definitions, too.
"""

import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine, inspect, select
from sqlalchemy.engine import Connection

from ..errors import StoreError
from .files import file_errors, fsync_folder
from .tables import SCHEMA_VERSION, meta, metadata

__all__ = ["bring_up_to_date", "copy_beside", "schema_version"]


def schema_version(connection: Connection) -> int:
    """The schema that the database has; 0 when it is empty.

    Raises:
        StoreError: when a newer Espalier made it, or when its version is not a number.
    """
    inspector = inspect(connection)
    found = None
    if inspector.has_table(meta.name):
        found = connection.execute(select(meta.c.value).where(meta.c.key == "schema")).scalar()
    if found is None:
        # The first version made its tables before it wrote the number.
        return 1 if inspector.has_table("sessions") else 0
    if not str(found).isdecimal():
        raise StoreError(
            f"The workspace database says that its format is {str(found)[:20]!r}, which is not a number; choose "
            "another folder with --workspace, or restore a copy."
        )
    if int(found) > SCHEMA_VERSION:
        raise StoreError(
            f"This workspace database was written by a newer Espalier (format {found}, this one reads up to "
            f"{SCHEMA_VERSION}); update Espalier or choose another folder with --workspace."
        )
    return int(found)


def bring_up_to_date(connection: Connection) -> None:
    """Migrate and fill up the tables, inside the transaction of ``connection``, which must hold the write lock."""
    # Asked again, now that nobody else can write: another process may have been faster.
    version = schema_version(connection)
    if version == SCHEMA_VERSION:
        return
    if version:
        for step in range(version, SCHEMA_VERSION):
            _STEPS[step](connection)
    metadata.create_all(connection)
    connection.execute(meta.delete().where(meta.c.key == "schema"))
    connection.execute(meta.insert().values(key="schema", value=str(SCHEMA_VERSION)))


def copy_beside(engine: Engine, file: Path) -> Path | None:
    """A complete copy of the SQLite ``file`` as it is before it is migrated; None when it needs no migration.

    Raises:
        StoreError: when the copy cannot be written; nothing was changed then.
    """
    version = _version(engine)
    if version in (0, SCHEMA_VERSION):
        return None
    copy = file.with_name(f"{file.name}.format-{version}")
    temporary = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}")
    with file_errors("copy the database before it is brought to a newer format, to", copy):
        try:
            # SQLite's own backup sees what is still in the log beside the file; copying bytes would not.
            with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(temporary)) as target:
                source.backup(target)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            if _version(engine) != version:
                # Another process was faster, and has its own copy; this one may show the new format.
                return None
            temporary.replace(copy)
        except sqlite3.Error as error:
            raise StoreError(f"Cannot copy the database before it is brought to a newer format: {error}.") from error
        finally:
            temporary.unlink(missing_ok=True)
    fsync_folder(copy.parent)
    return copy


def _version(engine: Engine) -> int:
    with engine.connect() as connection:
        return schema_version(connection)


def _owners(connection: Connection) -> None:
    """1 → 2: sessions have an owner. Shares, saved plans and views are new tables."""
    connection.exec_driver_sql("ALTER TABLE sessions ADD COLUMN owner TEXT DEFAULT '' NOT NULL")


def _lineages(connection: Connection) -> None:
    """2 → 3: sessions remember what they were made from."""
    connection.exec_driver_sql("ALTER TABLE sessions ADD COLUMN lineage JSON DEFAULT '[]' NOT NULL")


_STEPS: dict[int, Callable[[Connection], None]] = {1: _owners, 2: _lineages}
