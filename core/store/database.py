"""The store: everything that pages and workers know of each other. Rows here, arrays in ``Artifacts``."""

from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from .connection import in_words, now
from .job_rows import JobRows
from .kept_rows import KeptRows
from .migrations import bring_up_to_date, copy_beside, schema_version
from .result_rows import ResultRows
from .session_rows import SessionRows
from .share_rows import ShareRows
from .tables import SCHEMA_VERSION, open_engine
from .tried_rows import TriedRows

__all__ = ["Store"]


class Store(SessionRows, ResultRows, JobRows, TriedRows, KeptRows, ShareRows):
    """Sessions, models, data sets, variants, measurements, sensitivities, jobs, what people keep and what they share,
    in SQLite or by a database URL.

    Every method is one transaction and may be called from any thread. Unknown ids raise StoreError.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        with self._read() as connection:
            version = schema_version(connection)
        if version != SCHEMA_VERSION:
            with self._write() as connection:
                bring_up_to_date(connection)

    @classmethod
    def open(cls, file: Path, *, url: str | None = None) -> tuple["Store", str | None]:
        """The store in ``file`` (or at ``url``), and a notice for the person when the file was damaged or old.

        Raises:
            StoreError: when it cannot be opened, or was written by a newer version.
        """
        if url:
            return cls(open_engine(url, file)), None
        notice = _set_aside_if_damaged(file)
        engine = open_engine(None, file)
        try:
            copy = copy_beside(engine, file)
        except SQLAlchemyError as error:
            raise in_words(error) from error
        if copy is not None:
            notice = f"The database was brought to format {SCHEMA_VERSION}; a copy of the old one is {copy.name}."
        return cls(engine), notice

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def _set_aside_if_damaged(file: Path) -> str | None:
    if not file.exists() or file.stat().st_size == 0:
        return None
    engine = open_engine(None, file)
    try:
        with engine.connect() as connection:
            damaged = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar() != "ok"
    except DatabaseError as error:
        cause = str(error.orig).lower()
        damaged = "malformed" in cause or "not a database" in cause
        if not damaged:
            raise in_words(error) from error
    finally:
        engine.dispose()
    if not damaged:
        return None
    aside = file.with_name(f"{file.name}.damaged-{now():%Y%m%d-%H%M%S}")
    file.rename(aside)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            file.with_name(file.name + suffix).rename(aside.with_name(aside.name + suffix))
    return f"The database was damaged; it was set aside as {aside.name} and a new, empty one was started."
