"""Opening, locking, refusing and repairing a workspace; other processes, and kill -9."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import StoreError
from core.store import Workspace
from core.store.workspace import WORKSPACE_VERSION, default_folder

ROOT = Path(__file__).resolve().parents[2]


def run_python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / "new" / "place") as workspace:
        session = workspace.store.create_session("kept")
        artifact = workspace.artifacts.put_bytes(b"kept")
    with Workspace.open(tmp_path / "new" / "place") as workspace:
        assert workspace.store.get_session(session.id) == session
        assert workspace.artifacts.read_bytes(artifact) == b"kept"


def test_the_default_folder_follows_one_rule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ESPALIER_WORKSPACE", str(tmp_path / "chosen"))
    assert default_folder() == tmp_path / "chosen"
    monkeypatch.delenv("ESPALIER_WORKSPACE")
    assert default_folder().name == "espalier"


@pytest.mark.row("F05")
def test_a_folder_that_cannot_be_written_is_refused_with_path_and_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file.*not a folder|file.*File exists"):
        Workspace.open(tmp_path / "file" / "inside")
    with pytest.raises(StoreError, match="/proc/espalier"):
        Workspace.open("/proc/espalier")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="may not write"):
        Workspace.open(tmp_path)


def test_a_newer_workspace_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "espalier.json"
    text = json.dumps({"format": "espalier-workspace", "version": WORKSPACE_VERSION + 1})
    file.write_text(text)
    with pytest.raises(StoreError, match="newer"):
        Workspace.open(tmp_path)
    assert file.read_text() == text
    assert not (tmp_path / "espalier.sqlite").exists()


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace, workspace.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '99'")
    with pytest.raises(StoreError, match="newer"):
        Workspace.open(tmp_path)


@pytest.mark.parametrize("damage", ["noise", "truncated"])
@pytest.mark.row("F06")
def test_a_damaged_database_is_set_aside_and_said(tmp_path: Path, damage: str) -> None:
    with Workspace.open(tmp_path) as workspace:
        for n in range(50):
            workspace.store.create_session(f"session {n} " + "x" * 100)
    file = tmp_path / "espalier.sqlite"
    content = file.read_bytes()
    file.write_bytes(random.Random(0).randbytes(len(content)) if damage == "noise" else content[: len(content) // 3])
    with Workspace.open(tmp_path) as workspace:
        assert workspace.notice is not None
        assert "damaged" in workspace.notice
        assert workspace.store.list_sessions() == []
        workspace.store.create_session("works again")
    assert len(list(tmp_path.glob("espalier.sqlite.damaged-*"))) == 1
    with Workspace.open(tmp_path) as workspace:
        assert workspace.notice is None


@pytest.mark.row("F07")
def test_one_server_per_folder_and_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time; from core.store import Workspace\n"
        "workspace = Workspace.open(sys.argv[1]); workspace.lock.acquire(); print('locked', flush=True); time.sleep(60)"
    )
    with run_python(code, str(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with Workspace.open(tmp_path) as workspace:
            with pytest.raises(StoreError, match=rf"process {process.pid}\)"):
                workspace.lock.acquire()
            workspace.store.create_session("the command line may write meanwhile")
            process.send_signal(signal.SIGKILL)
            process.wait()
            workspace.lock.acquire()
            assert workspace.lock.held


def test_two_processes_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    code = (
        "import sys; from core.store import Workspace\n"
        "store = Workspace.open(sys.argv[1]).store\n"
        "for n in range(100): store.create_session(f'{sys.argv[2]} {n}')"
    )
    Workspace.open(tmp_path).close()
    processes = [run_python(code, str(tmp_path), name) for name in ("a", "b")]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    with Workspace.open(tmp_path) as workspace:
        names = {session.name for session in workspace.store.list_sessions(limit=1000)}
    assert names == {f"{letter} {n}" for letter in "ab" for n in range(100)}


@pytest.mark.row("F03")
def test_kill_9_while_writing_leaves_a_workspace_that_opens(tmp_path: Path) -> None:
    # Each round writes an artifact and the row that names it: afterwards every row's artifact must be complete.
    code = (
        "import os, sys; from core.store import Workspace\n"
        "workspace = Workspace.open(sys.argv[1]); session = workspace.store.create_session('round')\n"
        "print('go', flush=True)\n"
        "while True:\n"
        "    data = os.urandom(100_000)\n"
        "    artifact = workspace.artifacts.put_bytes(data)\n"
        "    revision = workspace.store.get_session(session.id).revision\n"
        "    workspace.store.save_draft(session.id, {'artifact': artifact, 'pad': 'x' * 20_000}, revision=revision)\n"
    )
    chance = random.Random(1)
    for _ in range(6):
        with run_python(code, str(tmp_path)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "go\n"
            time.sleep(chance.uniform(0.01, 0.15))
            process.kill()
            process.wait()
        with Workspace.open(tmp_path) as workspace:
            assert workspace.notice is None
            for session in workspace.store.list_sessions():
                if session.draft_plan:
                    assert len(session.draft_plan["pad"]) == 20_000
                    assert len(workspace.artifacts.read_bytes(session.draft_plan["artifact"])) == 100_000


def test_garbage_collection_keeps_what_any_row_names(workspace: Workspace) -> None:
    store, artifacts = workspace.store, workspace.artifacts
    model, weights, upload, exported, shared, planned, lost = (
        artifacts.put_bytes(name) for name in (b"m", b"w", b"u", b"e", b"s", b"p", b"lost")
    )
    row = store.add_model(
        id="1" * 64,
        name="m",
        # An uploaded checkpoint is named by its path only.
        spec={"checkpoint": str(artifacts.path(upload))},
        description={},
        artifact=model,
        weights_artifact=weights,
    )
    data = store.add_dataset(id="2" * 64, name="d", spec={}, description={})
    session = store.create_session()
    store.set_session_model(session.id, row.id)
    variant = store.add_variant(session_id=session.id, name="v", model_id=row.id, data_id=data.id, artifact=model)
    store.add_measurement(variant_id=variant.id, kind="onnx", context={}, result={"artifact": exported})
    store.add_share(session.id, token_hash="3" * 64, title="s", body={"variants": []}, artifact=shared)
    store.save_plan(session.id, "p", {"method_settings": {"teacher_folder": f"artifact:{planned}"}})
    assert workspace.collect_garbage() == 0
    assert workspace.collect_garbage(older_than_s=0) == 1
    assert lost not in artifacts
    store.delete_session(session.id)
    assert workspace.collect_garbage(older_than_s=0) == 6
    assert list(artifacts) == []
    with pytest.raises(StoreError):
        store.get_model(row.id)


class TestGone:
    """The folder of an open workspace is deleted, moved or replaced: nothing is begun anew in its place."""

    def test_a_folder_that_goes_is_missed_and_one_that_comes_back_is_used_again(self, tmp_path: Path) -> None:
        here, away = tmp_path / "work", tmp_path / "away"
        with Workspace.open(here) as opened:
            opened.store.create_session("kept")
            here.rename(away)
            for use in (opened.check, opened.store.list_sessions, lambda: opened.store.create_session("lost")):
                with pytest.raises(StoreError, match="is gone: it was deleted or moved"):
                    use()
            with pytest.raises(StoreError, match="does not exist"):
                opened.artifacts.put_bytes(b"lost")
            assert not here.exists()
            away.rename(here)
            opened.check()
            opened.store.create_session("again")
            assert {session.name for session in opened.store.list_sessions()} == {"kept", "again"}

    @pytest.mark.parametrize("whole", [True, False], ids=["the folder", "the database"])
    def test_another_one_in_its_place_is_not_written(self, tmp_path: Path, whole: bool) -> None:
        with Workspace.open(tmp_path / "work") as opened:
            opened.store.create_session("gone")
            if whole:
                shutil.rmtree(opened.folder)
            else:
                for file in opened.folder.glob("espalier.sqlite*"):
                    file.unlink()
            with pytest.raises(StoreError, match="is gone"):
                opened.store.list_sessions()
            with Workspace.open(tmp_path / "work") as other:
                assert other.store.list_sessions() == []
            # A disk that is mounted again, or a copy put back, is another file; a new one may get the old number.
            os.utime(tmp_path / "work" / "espalier.json", ns=(1, 1))
            for use in (opened.check, opened.store.list_sessions):
                with pytest.raises(StoreError, match="was replaced by another one"):
                    use()
