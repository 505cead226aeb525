"""Faults of the disk and the database: killed writers, full and read-only disks, locks, damage.

A full disk is a small tmpfs, a read-only one a bind mount, both in a namespace of the process that meets them.
"""

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import StoreError
from core.sharing.bundle import export_bundle
from core.store import Session, Workspace
from core.store import tables as tables_module

from .isolated import run_isolated, run_python

ROUNDS = 50


def _with_a_model(workspace: Workspace) -> Session:
    """A session that a bundle can be made of."""
    store, artifacts = workspace.store, workspace.artifacts
    made = {"artifact": artifacts.put_bytes(b"m", ".npz"), "weights_artifact": artifacts.put_bytes(b"w", ".npz")}
    store.add_model(id="1" * 64, name="m", spec={}, description={}, **made)
    session = store.create_session("round")
    return store.set_session_model(session.id, "1" * 64)


def _write_without_end(folder: str, ready: int) -> None:
    """Artifact, row that names it, bundle beside it; over and over, until killed."""
    with Workspace.open(folder) as workspace:
        session = _with_a_model(workspace)
        os.write(ready, b"g")
        while True:
            artifact = workspace.artifacts.put_bytes(os.urandom(60_000), ".npz")
            revision = workspace.store.get_session(session.id).revision
            draft = {"artifact": artifact, "pad": "x" * 20_000}
            workspace.store.save_draft(session.id, draft, revision=revision)
            export_bundle(workspace, session.id, Path(folder) / "session.zip", replace=True)
            (Path(folder) / "reported").write_text(f"{session.id} {revision + 1}")


@pytest.mark.slow
@pytest.mark.row("F03")
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_writer_killed_at_fifty_random_instants_never_leaves_half_of_anything(tmp_path: Path) -> None:
    server = run_python(_FIFTY, str(tmp_path))
    assert server.returncode == 0, server.stderr[-3000:]
    assert server.stdout.split() == ["rounds", str(ROUNDS)]


_FIFTY = f"""
import os, random, sys, time, traceback, zipfile
from pathlib import Path
from core.store import Workspace
from tests.robustness.test_faults_files import _write_without_end

folder, chance = Path(sys.argv[1]), random.Random(7)
for _ in range({ROUNDS}):
    (folder / "reported").unlink(missing_ok=True)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _write_without_end(str(folder), write)
        finally:
            traceback.print_exc()
            os._exit(1)
    os.read(read, 1)
    time.sleep(chance.uniform(0.0, 0.08))
    os.kill(child, 9)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the writer ended by itself"
    for end in (read, write):
        os.close(end)
    with Workspace.open(folder) as workspace:
        assert workspace.notice is None, workspace.notice
        reported = (folder / "reported").read_text().split() if (folder / "reported").exists() else []
        for session in workspace.store.list_sessions():
            if session.draft_plan:
                assert len(session.draft_plan["pad"]) == 20_000
                assert len(workspace.artifacts.read_bytes(session.draft_plan["artifact"])) == 60_000
            if len(reported) == 2 and session.id == reported[0]:
                assert session.revision >= int(reported[1]), "what was reported as saved is there"
        for name in list(workspace.artifacts):
            workspace.artifacts.path(name)
    if (folder / "session.zip").exists():
        with zipfile.ZipFile(folder / "session.zip") as bundle:
            assert bundle.testzip() is None
print("rounds", {ROUNDS})
"""


_FULL = """
import os, sys
from pathlib import Path
from core.errors import StoreError
from core.sharing.bundle import export_bundle
from core.store import Workspace
from tests.robustness.test_faults_files import _with_a_model

folder = Path(sys.argv[1])
ballast = folder / "ballast"
with Workspace.open(folder / "workspace") as workspace:
    store, artifacts = workspace.store, workspace.artifacts
    session = _with_a_model(workspace)
    before = list(artifacts)
    kept = artifacts.put_bytes(b"kept" * 1000)
    saved = store.save_draft(session.id, {"note": "kept"}, revision=0)
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == 28, error

    def refused(what, act):
        try:
            act()
        except StoreError as error:
            assert "disk is full" in str(error) and "free some space" in str(error), f"{what}: {error}"
            return
        raise AssertionError(f"{what} was not refused")

    big = {"note": "x" * 600_000}
    refused("upload", lambda: artifacts.put_bytes(os.urandom(200_000)))
    refused("commit", lambda: store.save_draft(session.id, big, revision=saved.revision))
    refused("bundle", lambda: export_bundle(workspace, session.id, folder / "session.zip"))
    refused("second workspace", lambda: Workspace.open(folder / "other"))
    # What was there is there, and can be read meanwhile.
    assert store.get_session(session.id) == saved
    assert artifacts.read_bytes(kept) == b"kept" * 1000
    assert sorted(artifacts) == sorted([*before, kept]), "nothing half-written is listed"
    assert list((workspace.folder / "artifacts" / "incoming").iterdir()) == []
    ballast.unlink()
    # Room again: everything works, without a restart.
    assert store.save_draft(session.id, big, revision=saved.revision).revision == saved.revision + 1
    artifacts.put_bytes(os.urandom(200_000))
    export_bundle(workspace, session.id, folder / "session.zip")
with Workspace.open(folder / "workspace") as workspace:
    assert workspace.notice is None
    assert len(workspace.store.get_session(session.id).draft_plan["note"]) == 600_000
print("survived")
"""


@pytest.mark.row("F04")
def test_a_full_disk_is_said_loses_nothing_and_heals(tmp_path: Path) -> None:
    run = run_isolated(_FULL, str(tmp_path), before=f"mount -t tmpfs -o size=6m none {tmp_path}")
    assert (run.returncode, run.stdout.strip()) == (0, "survived"), run.stderr[-3000:]


_OPEN = """
import sys
from core.errors import StoreError
from core.store import Workspace
try:
    Workspace.open(sys.argv[1]).close()
except StoreError as error:
    print(error)
else:
    print("opened")
"""


@pytest.mark.row("F05")
class TestFolders:
    def test_a_read_only_file_system(self, tmp_path: Path) -> None:
        Workspace.open(tmp_path).close()
        before = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path}"
        run = run_isolated(_OPEN, str(tmp_path), before=before)
        assert str(tmp_path) in run.stdout, run.stderr
        assert "read-only" in run.stdout

    def test_it_becomes_read_only_while_it_is_open(self, tmp_path: Path) -> None:
        code = (
            "import subprocess, sys\n"
            "from core.errors import StoreError\n"
            "from core.store import Workspace\n"
            "workspace = Workspace.open(sys.argv[1])\n"
            "session = workspace.store.create_session('kept')\n"
            "workspace.store.close()\n"
            "subprocess.run(['mount', '-o', 'remount,bind,ro', sys.argv[1]], check=True)\n"
            "for write in (lambda: workspace.store.rename_session(session.id, 'x'),\n"
            "              lambda: workspace.artifacts.put_bytes(b'new')):\n"
            "    try:\n"
            "        write()\n"
            "    except StoreError as error:\n"
            "        print(error)\n"
        )
        run = run_isolated(code, str(tmp_path), before=f"mount --bind {tmp_path} {tmp_path}")
        assert run.returncode == 0, run.stderr[-3000:]
        lines = run.stdout.splitlines()
        assert len(lines) == 2
        assert all("written" in line or "writing" in line or "read-only" in line for line in lines), lines

    def test_a_missing_folder_is_made_and_one_that_is_a_file_refused(self, tmp_path: Path) -> None:
        Workspace.open(tmp_path / "deep" / "down").close()
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match=r"not a folder|File exists"):
            Workspace.open(tmp_path / "file")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
    def test_the_folder_of_somebody_else(self) -> None:
        code = _OPEN.replace("try:", "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\ntry:")
        with tempfile.TemporaryDirectory() as foreign:  # what pytest makes nobody else may enter
            Path(foreign).chmod(0o755)
            run = run_python(code, foreign)
        assert "may not write there" in run.stdout, run.stderr[-2000:]
        assert foreign in run.stdout


_LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


def _locked(folder: Path, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _LOCK, str(folder / "espalier.sqlite"), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


@pytest.mark.row("F06")
class TestDatabase:
    def test_another_process_writes_for_a_while(self, tmp_path: Path) -> None:
        with Workspace.open(tmp_path) as workspace:
            session = workspace.store.create_session("before")
            with _locked(tmp_path, 1.5) as process:
                assert workspace.store.get_session(session.id) == session, "reading does not wait"
                started = time.monotonic()
                assert workspace.store.rename_session(session.id, "after").name == "after"
                assert time.monotonic() - started > 0.5
                process.wait()

    def test_another_process_writes_for_too_long(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables_module, "BUSY_TIMEOUT_S", 0.5)  # 30 s otherwise
        with Workspace.open(tmp_path) as workspace:
            session = workspace.store.create_session("before")
            with _locked(tmp_path, 60.0) as process:
                with pytest.raises(StoreError, match=r"busy.*Try again"):
                    workspace.store.rename_session(session.id, "after")
                process.kill()
            assert workspace.store.rename_session(session.id, "after").name == "after"

    @pytest.mark.slow
    def test_thirty_seconds_are_waited_for(self, tmp_path: Path) -> None:
        with Workspace.open(tmp_path) as workspace:
            session = workspace.store.create_session("before")
            with _locked(tmp_path, 25.0) as process:
                assert workspace.store.rename_session(session.id, "after").name == "after"
                process.wait()

    def test_the_log_of_the_database_is_lost(self, tmp_path: Path) -> None:
        code = (
            "import os, sys; from core.store import Workspace\n"
            "workspace = Workspace.open(sys.argv[1])\n"
            "for n in range(200): workspace.store.create_session(f'session {n} ' + 'x' * 500)\n"
            "os._exit(0)"
        )
        assert run_python(code, str(tmp_path)).returncode == 0
        log = tmp_path / "espalier.sqlite-wal"
        assert log.exists()
        log.unlink()
        (tmp_path / "espalier.sqlite-shm").unlink()
        with Workspace.open(tmp_path) as workspace:
            assert len(workspace.store.list_sessions(limit=1000)) <= 200
            workspace.store.create_session("works")

    def test_half_of_the_log_is_lost(self, tmp_path: Path) -> None:
        code = (
            "import os, sys; from core.store import Workspace\n"
            "workspace = Workspace.open(sys.argv[1])\n"
            "for n in range(50): workspace.store.create_session(f'session {n} ' + 'x' * 500)\n"
            "os._exit(0)"
        )
        assert run_python(code, str(tmp_path)).returncode == 0
        log = tmp_path / "espalier.sqlite-wal"
        log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
        (tmp_path / "espalier.sqlite-shm").unlink()
        with Workspace.open(tmp_path) as workspace:
            names = [session.name for session in workspace.store.list_sessions(limit=1000)]
            assert sorted(names) == sorted(
                f"session {n} " + "x" * (120 - len(f"session {n} ") - 1) + "…" for n in range(len(names))
            )
            assert workspace.notice is None

    def test_a_damaged_page_inside_is_found_and_the_copy_is_kept(self, tmp_path: Path) -> None:
        with Workspace.open(tmp_path) as workspace:
            for n in range(300):
                workspace.store.create_session(f"session {n} " + "x" * 100)
        file = tmp_path / "espalier.sqlite"
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = bytearray(file.read_bytes())
        middle = len(content) // 2 // 4096 * 4096
        content[middle : middle + 4096] = random.Random(0).randbytes(4096)
        file.write_bytes(content)
        with Workspace.open(tmp_path) as workspace:
            assert workspace.notice is not None
            assert "set aside" in workspace.notice
            workspace.store.create_session("works")
        (aside,) = tmp_path.glob("espalier.sqlite.damaged-*")
        assert aside.read_bytes() == bytes(content)


@pytest.mark.row("F06")
@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_a_damaged_artifact_is_said_and_never_a_wrong_number(tmp_path: Path, folder: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "weights").write_bytes(bytes(range(256)) * 100)

    def put(workspace: Workspace) -> str:
        artifacts = workspace.artifacts
        return artifacts.put_folder(source) if folder else artifacts.put_file(source / "weights", ".npz")

    with Workspace.open(tmp_path / "workspace") as workspace:
        artifact = put(workspace)
        path = workspace.artifacts.path(artifact)
        file = path / "weights" if folder else path
        content = bytearray(file.read_bytes())
        content[1000] ^= 1
        file.write_bytes(content)
        for _ in range(2):
            with pytest.raises(StoreError, match=r"damaged.*make its result again"):
                workspace.artifacts.path(artifact)
        assert put(workspace) == artifact, "made again, it is whole again"
        path = workspace.artifacts.path(artifact)
        assert (path / "weights" if folder else path).read_bytes() == (source / "weights").read_bytes()


def test_threads_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:

        def write(letter: str) -> None:
            for n in range(25):
                workspace.store.create_session(f"{letter} {n}")

        threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(workspace.store.list_sessions(limit=1000)) == 100
