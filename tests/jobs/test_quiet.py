"""While one process measures, others wait: across processes, and never for somebody who died."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.jobs.quiet import Quiet, QuietWatch
from core.store.lock import FileLock, ServerLock
from core.store.owner import this_process

from ..patience import patient

HOLD = """
import sys, time
from pathlib import Path
from core.store.lock import FileLock
lock = FileLock(Path(sys.argv[1]))
assert lock.try_acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def other_process_holds(path: Path) -> Iterator[subprocess.Popen[str]]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=Path(__file__).parents[2], **pipes)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def quiet(folder: Path) -> Quiet:
    return Quiet(folder, ServerLock(folder / "server.lock"))


def test_alone_it_is_quiet_at_once(tmp_path: Path) -> None:
    with quiet(tmp_path).asked(0.0) as still:
        assert still
        assert FileLock(tmp_path / "measuring.lock").holder == this_process()
        assert quiet(tmp_path).wanted is None  # by nobody else
    assert FileLock(tmp_path / "measuring.lock").holder is None


def test_another_measurement_is_waited_for_and_a_dead_one_is_not(tmp_path: Path) -> None:
    with other_process_holds(tmp_path / "measuring.lock") as process:
        assert (quiet(tmp_path).wanted or "").split(":")[-2] == str(process.pid)
        with quiet(tmp_path).asked(0.2) as still:
            assert not still
        threading.Timer(0.3, process.kill).start()
        with quiet(tmp_path).asked(10.0) as still:
            assert still
    assert quiet(tmp_path).wanted is None


def test_a_server_says_when_its_work_waits(tmp_path: Path) -> None:
    with other_process_holds(tmp_path / "server.lock"):
        with quiet(tmp_path).asked(0.2) as still:
            assert not still  # it never says so
        (tmp_path / "measuring.still").write_text("host:1:2")
        with quiet(tmp_path).asked(0.2) as still:
            assert not still  # that was for somebody else
        threading.Timer(0.2, lambda: quiet(tmp_path).confirm(this_process())).start()
        with quiet(tmp_path).asked(10.0) as still:
            assert still


def test_work_is_held_as_long_as_another_process_measures(tmp_path: Path) -> None:
    events: list[str] = []

    @contextmanager
    def held(patience_s: float) -> Iterator[bool]:
        events.append("held")
        yield True
        events.append("free")

    watch = QuietWatch(quiet(tmp_path), held, patience_s=1.0, server=True)
    watch.start()
    try:
        with other_process_holds(tmp_path / "measuring.lock") as process:
            _until(lambda: (tmp_path / "measuring.still").exists())
            assert str(process.pid) in (tmp_path / "measuring.still").read_text()
            assert events == ["held"]
        _until(lambda: events == ["held", "free"])
    finally:
        watch.stop()


def test_stopping_does_not_wait_for_the_measurement(tmp_path: Path) -> None:
    @contextmanager
    def held(patience_s: float) -> Iterator[bool]:
        yield True

    watch = QuietWatch(quiet(tmp_path), held, patience_s=1.0, server=True)
    with other_process_holds(tmp_path / "measuring.lock"):
        watch.start()
        _until(lambda: (tmp_path / "measuring.still").exists())
        started = time.monotonic()
        watch.stop()
        assert time.monotonic() - started < patient(2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_not_quiet(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with quiet(tmp_path).asked(0.1) as still:
            assert not still
    finally:
        tmp_path.chmod(0o700)


def test_damaged_marks_mean_nobody(tmp_path: Path) -> None:
    for text in ("", "[", "{}", '{"process": "nonsense"}', '{"process": 3}'):
        (tmp_path / "measuring.lock").write_text(text)
        assert quiet(tmp_path).wanted is None
        with quiet(tmp_path).asked(0.0) as still:
            assert still


def _until(true, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
