"""Faults between browser and server, in real processes: tabs that close, connections that break, a server that stands
still, no internet, leaks. Tabs are websockets (``streamlit_client``): Chromium would show the same and cost far more.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import run_app
from core.store import Job, JobState, Session, Workspace
from dashboard import backend

from .isolated import run_isolated
from .servers import Server, ended, running, serve, until
from .streamlit_client import Tab

PAGES = ("start", "model", "sensitivity", "plan", "runs", "compare", "guide", "share")
LONG = {"n": 3000, "pause_s": 0.02}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("served")) as running_server:
        yield running_server


@pytest.fixture
def workspace(server: Server) -> Iterator[Workspace]:
    with Workspace.open(server.folder) as opened:
        yield opened


@contextlib.contextmanager
def at_work(server: Server, workspace: Workspace) -> Iterator[tuple[Session, Job]]:
    """A session with a job that runs for a minute, cancelled in the end."""
    session = workspace.store.create_session("At work")
    job = server.queue(workspace, "test_count", LONG, session.id)
    running(workspace, job)
    try:
        yield session, job
        assert len(workspace.store.jobs(session.id)) == 1, "no double run"
    finally:
        workspace.store.request_cancel(job.id)
        ended(workspace, job)


@pytest.mark.slow
@pytest.mark.row("F12")
def test_a_tab_that_closes_stops_nothing_and_the_next_one_shows_it(server: Server, workspace: Workspace) -> None:
    with at_work(server, workspace) as (session, job):
        with Tab(server.url) as tab:
            answer = tab.open("runs", session=session.id)
            assert "running" in answer.text
            assert answer.fragments, "the page follows the run"
        done = workspace.store.get_job(job.id).done
        time.sleep(1.5)
        assert workspace.store.get_job(job.id).done > done
        with Tab(server.url) as tab:
            assert "running" in tab.open("runs", session=session.id).text


@pytest.mark.slow
@pytest.mark.row("F13")
def test_a_cut_connection_comes_back_to_its_session(server: Server, workspace: Workspace) -> None:
    with at_work(server, workspace) as (session, job):
        tab = Tab(server.url)
        tab.open("runs", session=session.id)
        tab.cut()
        time.sleep(2.0)
        with Tab(server.url, session=tab.session) as again:
            assert "running" in again.open("runs", session=session.id).text
            assert again.session == tab.session
        assert workspace.store.get_job(job.id).state is JobState.RUNNING


@pytest.mark.slow
@pytest.mark.row("F13")
def test_a_server_that_stands_still_goes_on(server: Server, workspace: Workspace) -> None:
    with at_work(server, workspace) as (session, job), Tab(server.url, patience_s=120) as tab:
        tab.open("runs", session=session.id)
        server.process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(10.0)
            stood = workspace.store.get_job(job.id).done
            assert not server.answers(timeout_s=0.5)
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert "running" in tab.open("runs", session=session.id).text
        until(lambda: workspace.store.get_job(job.id).done > stood)


@pytest.mark.slow
@pytest.mark.row("F12", "F02")
def test_a_restart_shows_what_was_interrupted(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        with serve(tmp_path) as server:
            session = workspace.store.create_session("At work")
            job = server.queue(workspace, "test_count", LONG, session.id)
            running(workspace, job)
            with Tab(server.url) as tab:
                tab.open("runs", session=session.id)
                assert server.stop() < 10, "an open tab and a running job do not keep it"
        assert workspace.store.get_job(job.id).state is JobState.INTERRUPTED
        with serve(tmp_path) as server, Tab(server.url) as tab:
            assert "interrupted" in tab.open("runs", session=session.id).text


@pytest.mark.slow
@pytest.mark.row("B43", "B44")
def test_hostile_addresses_are_nothing(server: Server) -> None:
    with Tab(server.url) as tab:
        for page in PAGES:
            for session in ("../../etc/passwd", "0" * 16, "x" * 50_000, "<script>", "\x00"):
                assert "fault of the program" not in tab.open(page, session=session).text, (page, session[:20])
        assert server.answers()


_NO_INTERNET = """
import fcntl, socket, struct, sys
from pathlib import Path
with socket.socket() as probe:  # bring the loopback of this namespace up
    name = b"lo".ljust(16, bytes(1))
    flags = struct.unpack("16sh", fcntl.ioctl(probe, 0x8913, name + bytes(16))[:18])[1]
    fcntl.ioctl(probe, 0x8914, struct.pack("16sh", b"lo", flags | 1) + bytes(14))
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
except OSError:
    print("no internet")
from tests.robustness.servers import serve
from tests.robustness.streamlit_client import Tab
from tests.robustness.test_faults_server import PAGES
with serve(Path(sys.argv[1])) as server, Tab(server.url) as tab:
    for page in PAGES:
        assert "fault of the program" not in tab.open(page).text, page
    print("pages", len(PAGES))
"""


@pytest.mark.slow
@pytest.mark.row("F18")
def test_without_any_network_but_the_loopback_every_page_is_drawn(tmp_path: Path) -> None:
    run = run_isolated(_NO_INTERNET, str(tmp_path), before="true", network=False)
    assert run.stdout.splitlines() == ["no internet", f"pages {len(PAGES)}"], run.stderr[-3000:]


@pytest.mark.row("F17")
def test_no_source_is_reloaded_and_a_second_start_is_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = run_app._server_options(run_app._parser().parse_args([]), 1)
    assert (options["server.fileWatcherType"], options["server.runOnSave"]) == ("none", False)
    monkeypatch.setenv("ESPALIER_RUNNER", "inline")
    backend.close()
    try:
        first = backend.start(tmp_path / "one")
        assert backend.start(tmp_path / "two") is first is backend.runner()
        assert not (tmp_path / "two").exists()
    finally:
        backend.close()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.row("F20")
def test_two_hundred_visits_and_fifty_jobs_leave_nothing_behind(server: Server, workspace: Workspace) -> None:
    """Streamlit keeps the session of a closed tab for two minutes: that long after the last one is looked."""
    session = workspace.store.create_session("Leaks")
    store = workspace.store

    def visit(times: int) -> None:
        for n in range(times):
            with Tab(server.url) as tab:
                tab.open(PAGES[n % len(PAGES)], session=session.id)

    def work(times: int) -> None:
        jobs = [server.queue(workspace, "test_count", {"n": 3, "which": n}, session.id) for n in range(times)]
        for job in jobs:
            assert ended(workspace, job).state is JobState.DONE
        store.delete_jobs(session.id)

    def seen() -> dict[str, tuple[int, int]]:
        everybody = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
        return {
            "worker" if "core.jobs.worker" in process.cmdline() else "server": (
                process.memory_info().rss,
                process.num_threads(),
            )
            for process in everybody
        }

    visit(40)
    work(10)
    time.sleep(130)
    before = seen()
    visit(200)
    for _ in range(5):
        work(10)
    time.sleep(130)
    after = seen()
    print({name: (before[name], after[name]) for name in before}, "load", os.getloadavg())
    for name, (rss, threads) in before.items():
        assert after[name][0] <= 1.1 * rss, (name, before, after)
        assert after[name][1] <= threads + 1, (name, before, after)
