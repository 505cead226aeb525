"""The tables, and the engine that opens them: SQLite in WAL mode, or any database that SQLAlchemy knows by URL."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    event,
)
from sqlalchemy.engine import Connection

from .presence import Presence

__all__ = [
    "SCHEMA_VERSION",
    "datasets",
    "job_partials",
    "jobs",
    "measurements",
    "meta",
    "metadata",
    "models",
    "open_engine",
    "saved_plans",
    "sensitivities",
    "sessions",
    "shares",
    "variants",
    "views",
]

SCHEMA_VERSION = 3
BUSY_TIMEOUT_S = 30.0

metadata = MetaData()


class UtcTime(TypeDecorator[datetime]):
    """A datetime with timezone UTC, whatever the database remembers of zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _number() -> Column[int]:
    # Order of creation: clocks step back, counters do not.
    return Column("number", Integer, primary_key=True, autoincrement=True)


def _id() -> Column[str]:
    return Column("id", String(64), nullable=False, unique=True)


def _time(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, UtcTime, nullable=nullable)


def _json(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, JSON(none_as_null=True), nullable=nullable)


def _session() -> Column[str]:
    return Column("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False, index=True)


meta = Table("meta", metadata, Column("key", String(32), primary_key=True), Column("value", String(64), nullable=False))

models = Table(
    "models",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    _json("spec"),
    _json("description"),
    Column("artifact", String(64), nullable=False),
    Column("weights_artifact", String(64), nullable=False),
    _time("created"),
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    _json("spec"),
    _json("description"),
    _time("created"),
)

sessions = Table(
    "sessions",
    metadata,
    _number(),
    _id(),
    Column("name", Text, nullable=False),
    Column("model_id", ForeignKey("models.id", ondelete="SET NULL")),
    Column("data_id", ForeignKey("datasets.id", ondelete="SET NULL")),
    _json("draft_plan"),
    Column("revision", Integer, nullable=False),
    _time("created"),
    _time("updated"),
    # Since schema 2 and 3, and last: where migrations put them.
    Column("owner", Text, nullable=False, server_default=""),
    Column("lineage", JSON(none_as_null=True), nullable=False, server_default="[]"),
)

jobs = Table(
    "jobs",
    metadata,
    _number(),
    _id(),
    Column("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), index=True),
    Column("kind", String(32), nullable=False),
    Column("title", Text, nullable=False),
    _json("payload"),
    Column("payload_hash", String(64), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("done", Float, nullable=False, default=0.0),
    Column("total", Float, nullable=False, default=0.0),
    Column("message", Text, nullable=False, default=""),
    Column("eta_s", Float),
    _json("result", nullable=True),
    Column("error", Text),
    Column("traceback", Text),
    Column("owner", Text, nullable=False),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    _time("created"),
    _time("started", nullable=True),
    _time("finished", nullable=True),
    _time("heartbeat", nullable=True),
)

job_partials = Table(
    "job_partials",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    _json("body"),
    _time("updated"),
)

variants = Table(
    "variants",
    metadata,
    _number(),
    _id(),
    _session(),
    Column("name", Text, nullable=False),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("data_id", ForeignKey("datasets.id"), nullable=False),
    Column("parent_id", ForeignKey("variants.id", ondelete="SET NULL")),
    # Not a foreign key: the history of jobs may be cleared while variants stay.
    Column("job_id", String(64)),
    _json("plan", nullable=True),
    Column("artifact", String(64), nullable=False),
    Column("evaluation_artifact", String(64)),
    _json("metrics"),
    _json("sizes"),
    _json("layers"),
    _time("created"),
)

measurements = Table(
    "measurements",
    metadata,
    _number(),
    _id(),
    Column("variant_id", ForeignKey("variants.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    _json("context"),
    _json("result"),
    _time("created"),
)

sensitivities = Table(
    "sensitivities",
    metadata,
    _number(),
    _id(),
    Column("key", String(64), nullable=False, unique=True),
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), nullable=False),
    Column("data_id", ForeignKey("datasets.id", ondelete="CASCADE"), nullable=False),
    _json("settings"),
    _json("result"),
    Column("complete", Boolean, nullable=False),
    _time("created"),
    Index("ix_sensitivities_model_data", "model_id", "data_id"),
)

shares = Table(
    "shares",
    metadata,
    _number(),
    _id(),
    # SHA-256 of the token: who reads the database cannot open its links.
    Column("token_hash", String(64), nullable=False, unique=True),
    _session(),
    Column("title", Text, nullable=False),
    _json("body"),
    Column("artifact", String(64)),
    Column("allow_onnx", Boolean, nullable=False),
    _time("created"),
    _time("revoked", nullable=True),
)

saved_plans = Table(
    "saved_plans",
    metadata,
    _number(),
    _id(),
    _session(),
    Column("name", Text, nullable=False),
    _json("plan"),
    _time("created"),
)

views = Table(
    "views",
    metadata,
    _number(),
    _id(),
    _session(),
    Column("name", Text, nullable=False),
    _json("body"),
    Column("position", Integer, nullable=False),
    _time("created"),
)


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: tuples as lists, numpy numbers as numbers, NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return plain(value.tolist())
    return str(value)


def _dumps(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


def open_engine(url: str | None, file: Path) -> Engine:
    """An engine on ``url`` (ESPALIER_DATABASE_URL), or on the SQLite file of the workspace. Creates no tables."""
    if url:
        engine = create_engine(url, json_serializer=_dumps, pool_pre_ping=True)
    else:
        engine = create_engine(
            f"sqlite:///{file}", json_serializer=_dumps, connect_args={"timeout": BUSY_TIMEOUT_S}, pool_size=10
        )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    if not url:
        _stay_with(engine, Presence(file))
    return engine


def _stay_with(engine: Engine, database: Presence) -> None:
    """Refuse new and kept connections as soon as the file is no longer the one that the first connection opened."""

    def before(*_arguments: Any) -> None:
        database.check()

    def after(*_arguments: Any) -> None:
        database.remember()

    event.listen(engine, "do_connect", before)
    event.listen(engine, "connect", after)
    event.listen(engine, "checkout", before)


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver shall not open transactions by itself: a writer takes its lock at BEGIN (see _begin_sqlite).
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        # NORMAL in WAL mode: a killed process loses nothing; a power cut may lose the last moments, never the file.
        "synchronous=NORMAL",
        "foreign_keys=ON",
        f"busy_timeout={int(BUSY_TIMEOUT_S * 1000)}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns into a writer fails at once when another writer was faster; a writer that says so waits.
    writes = connection.get_execution_options().get("espalier_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
