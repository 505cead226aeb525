"""A database that an older version wrote opens with every row; a crash in between leaves the old one."""

import gzip
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect

from core.errors import StoreError
from core.store import Store, Workspace
from core.store.tables import SCHEMA_VERSION

ROOT = Path(__file__).resolve().parents[2]
# Made with the code at d25892f: digits_resnet opened, its sensitivity, one prune, latency and an ONNX export.
OLD = Path(__file__).parent / "data" / "schema-1.sqlite.gz"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A workspace folder with a real database of schema 1."""
    folder = tmp_path / "old"
    folder.mkdir()
    with gzip.open(OLD) as packed, (folder / "espalier.sqlite").open("wb") as file:
        shutil.copyfileobj(packed, file)
    return folder


def rows(file: Path) -> dict[str, list[dict[str, object]]]:
    """Every row of every table, without what only describes the format."""
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: [dict(row) for row in connection.execute(f'SELECT * FROM "{table}"')]
            for table in tables
            if table not in ("meta", "sqlite_sequence")
        }


def version(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()[0])


def test_every_row_of_the_old_database_survives(old: Path) -> None:
    file = old / "espalier.sqlite"
    before = rows(file)
    assert all(before[table] for table in ("sessions", "models", "datasets", "variants", "measurements", "jobs"))
    with Workspace.open(old) as workspace:
        assert workspace.notice is not None
        assert "format-1" in workspace.notice
        store = workspace.store
        sessions = store.list_sessions()
        assert [(session.owner, session.lineage) for session in sessions] == [("", []), ("", [])]
        full = next(session for session in sessions if session.model_id)
        assert full.draft_plan == {"sparsity": 0.7}
        dense, half = store.variants(full.id)
        assert store.dense_variant(full.id) == dense
        assert half.parent_id == dense.id
        assert {item.kind for variant in (dense, half) for item in store.measurements(variant.id)} == {
            "latency",
            "onnx",
        }
        assert store.sensitivities(dense.model_id, dense.data_id)
        store.save_plan(full.id, "kept", half.plan or {})
        assert store.create_session("new", owner="ada").owner == "ada"
    after = rows(file)
    for table, found in before.items():
        added = {"owner": "", "lineage": "[]"} if table == "sessions" else {}
        assert all({**row, **added} in after[table] for row in found), table
    assert version(file) == str(SCHEMA_VERSION)
    # The copy is the old database, whole.
    assert rows(old / "espalier.sqlite.format-1") == before
    assert version(old / "espalier.sqlite.format-1") == "1"
    with Workspace.open(old) as workspace:
        assert workspace.notice is None


def test_every_version_on_the_way_is_brought_up_to_date(old: Path) -> None:
    # Schema 2 was never released, but workspaces of people who follow the code have it.
    with closing(sqlite3.connect(old / "espalier.sqlite")) as connection:
        connection.execute("ALTER TABLE sessions ADD COLUMN owner TEXT DEFAULT '' NOT NULL")
        connection.execute("UPDATE sessions SET owner = 'ada'")
        connection.execute("UPDATE meta SET value = '2'")
        connection.commit()
    with Workspace.open(old) as workspace:
        assert [(session.owner, session.lineage) for session in workspace.store.list_sessions()] == [("ada", [])] * 2
    assert version(old / "espalier.sqlite.format-2") == "2"


def test_a_migrated_database_has_the_tables_of_a_fresh_one(old: Path, tmp_path: Path) -> None:
    with Workspace.open(old) as migrated, Workspace.open(tmp_path / "fresh") as fresh:
        one, other = inspect(migrated.store.engine), inspect(fresh.store.engine)
        assert set(one.get_table_names()) == set(other.get_table_names())
        for table in other.get_table_names():
            ours, theirs = (
                {column["name"]: (str(column["type"]), column["nullable"], column["default"]) for column in columns}
                for columns in (one.get_columns(table), other.get_columns(table))
            )
            assert ours == theirs
            assert one.get_indexes(table) == other.get_indexes(table)
            assert one.get_foreign_keys(table) == other.get_foreign_keys(table)


def test_an_error_in_the_middle_leaves_the_old_database(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(old / "espalier.sqlite")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # The column is added by then, the tables are not.
        patch.setattr("core.store.migrations.metadata.create_all", fail)
        with pytest.raises(KeyboardInterrupt):
            Workspace.open(old)
    assert rows(old / "espalier.sqlite") == before
    assert version(old / "espalier.sqlite") == "1"
    with Workspace.open(old) as workspace:
        assert len(workspace.store.list_sessions()) == len(before["sessions"])


@pytest.mark.parametrize("moment", ["metadata.create_all", "meta.insert"])
def test_kill_9_in_the_middle_leaves_the_old_database(old: Path, moment: str) -> None:
    code = (
        "import os, signal, sys\n"
        "from core.store import Workspace, migrations\n"
        f"migrations.{moment} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Workspace.open(sys.argv[1])"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(old)], cwd=ROOT, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert version(old / "espalier.sqlite") == "1"
    with Workspace.open(old) as workspace:
        assert len(workspace.store.list_sessions()) == 2
    assert version(old / "espalier.sqlite") == str(SCHEMA_VERSION)


def test_a_full_disk_while_copying_changes_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="disk is full"):
        Store.open(old / "espalier.sqlite")
    monkeypatch.undo()
    assert version(old / "espalier.sqlite") == "1"
    assert [path.name for path in old.iterdir() if "format" in path.name] == []


def test_many_open_an_old_database_at_once(old: Path) -> None:
    errors: list[BaseException] = []

    def open_it() -> None:
        try:
            store, _ = Store.open(old / "espalier.sqlite")
            store.create_session("after")
            store.close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert version(old / "espalier.sqlite.format-1") == "1"
    with Workspace.open(old) as workspace:
        assert len(workspace.store.list_sessions()) == 8


@pytest.mark.parametrize(("found", "words"), [("99", "newer"), ("-1", "not a number"), ("two", "not a number")])
def test_another_format_is_refused_and_left_alone(old: Path, found: str, words: str) -> None:
    file = old / "espalier.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE meta SET value = ?", (found,))
        connection.commit()
    before = rows(file)
    with pytest.raises(StoreError, match=words):
        Workspace.open(old)
    assert rows(file) == before
    assert not list(old.glob("*.format-*"))


def test_tables_without_a_number_are_of_the_first_format(old: Path) -> None:
    # The first version wrote its tables, then the number: killed in between, it left this.
    with closing(sqlite3.connect(old / "espalier.sqlite")) as connection:
        connection.execute("DELETE FROM meta")
        connection.commit()
    with Workspace.open(old) as workspace:
        assert len(workspace.store.list_sessions()) == 2
