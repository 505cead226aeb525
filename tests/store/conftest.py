"""The same tests on PostgreSQL: ESPALIER_TEST_POSTGRES=postgresql+psycopg://user:password@host pytest tests/store

The user must be allowed to create databases; each test gets one of its own.
"""

import os
import secrets
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, make_url, text

from core.store import Store, Workspace

SERVER = os.environ.get("ESPALIER_TEST_POSTGRES")
ABOUT_FILES = {"test_migrations", "test_workspace"}


@pytest.fixture(autouse=True)
def _on_postgres(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not SERVER:
        yield
        return
    if request.module.__name__.rpartition(".")[2] in ABOUT_FILES:
        pytest.skip("about the SQLite file of a workspace")
    name = f"espalier_{secrets.token_hex(6)}"
    server = create_engine(make_url(SERVER).set(database="postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(SERVER).set(database=name)
    monkeypatch.setenv("ESPALIER_DATABASE_URL", url.render_as_string(hide_password=False))
    yield
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture
def store(workspace: Workspace) -> Store:
    return workspace.store
