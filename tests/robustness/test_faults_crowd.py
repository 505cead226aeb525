"""Many people at once: tabs follow a running job, one clicks; the answers come, and the server stays small.

The figures with a real training are those of tests/benchmarks/twenty_sessions.py.
"""

import os
import statistics
import threading
from pathlib import Path

import psutil
import pytest

from core.analysis.machine import available_cores
from core.store import Workspace
from tests.benchmarks.twenty_sessions import Watcher

from .servers import running, serve
from .streamlit_client import Tab


@pytest.mark.slow
@pytest.mark.row("F16")
def test_twenty_people_follow_a_run_and_a_click_is_answered_within_a_second(tmp_path: Path) -> None:
    with serve(tmp_path) as server, Workspace.open(tmp_path) as workspace:
        session = workspace.store.create_session("watched")
        job = server.queue(workspace, "test_count", {"n": 100_000, "pause_s": 0.02}, session.id)
        running(workspace, job)
        end = threading.Event()
        watchers = [Watcher(server, session.id, end) for _ in range(19)]
        for watcher in watchers:
            watcher.start()
        for watcher in watchers:
            assert watcher.ready.wait(300)
        taken = []
        with Tab(server.url, patience_s=120) as tab:
            for n in range(23):
                taken.append(tab.open(("runs", "plan")[n % 2], session=session.id).seconds)
                end.wait(0.3)
        end.set()
        for watcher in watchers:
            watcher.join(60)
            assert watcher.answers_s, "every tab was answered"
        busy = max(1.0, os.getloadavg()[0] / available_cores())
        p95 = statistics.quantiles(taken[3:], n=20)[-1]
        rss_mb = psutil.Process(server.process.pid).memory_info().rss / 2**20
        print(
            f"p50 {statistics.median(taken[3:]):.3f} s, p95 {p95:.3f} s, load {os.getloadavg()[0]:.1f}, {rss_mb:.0f} MB"
        )
        assert p95 < 1.0 * busy, "a second on a machine that does nothing else"
        assert rss_mb < 1000
        workspace.store.request_cancel(job.id)
