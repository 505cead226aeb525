"""How long an answer takes, and what it costs in memory, while a run trains and many people have pages open.

    uv run python -m tests.benchmarks.twenty_sessions                    # 20 sessions, 60 clicks
    uv run python -m tests.benchmarks.twenty_sessions --sessions 50 --json twenty.json

One server (``run_app.py``) whose worker trains. The people are tabs that speak Streamlit's websocket without a browser:
all but one have the Runs page open, which follows the training as often as a browser would be told to; one clicks on
the Plan page, about twice a second, and an answer lasts until the server has sent all of it. What a browser needs to
draw it comes on top (tests/benchmarks/responsiveness.py clicks in Chromium). First without the others, then with them;
between the two nobody clicks, and what the followers cost is read.
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from core.analysis.machine import available_cores, cpu_name
from core.store import Workspace
from tests.robustness.servers import Server, serve
from tests.robustness.streamlit_client import Tab

from .responsiveness import PLAN, open_session, until_training

_MB = 1 << 20


class Watcher(threading.Thread):
    """A tab that has the Runs page open and follows it, until ``stop`` is set."""

    def __init__(self, server: Server, session: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._server, self._session, self._end = server, session, stop
        self.ready = threading.Event()
        self.answers_s: list[float] = []

    def run(self) -> None:
        with Tab(self._server.url, patience_s=300) as tab:
            fragments = tab.open("runs", session=self._session).fragments
            self.ready.set()
            due = _from_now(fragments)
            while due:
                fragment = min(due, key=lambda name: due[name])
                if self._end.wait(max(0.0, due[fragment] - time.monotonic())):
                    return
                answer = tab.poll(fragment, "runs", session=self._session)
                self.answers_s.append(answer.seconds)
                due[fragment] = time.monotonic() + fragments[fragment]
                if answer.fragments:  # the whole page was drawn anew
                    fragments = answer.fragments
                    due = _from_now(fragments)


def _from_now(fragments: dict[str, float]) -> dict[str, float]:
    """When each fragment is asked for next."""
    return {name: time.monotonic() + interval for name, interval in fragments.items()}


def main() -> None:
    """Measure and print; ``--json`` writes everything that was seen."""
    options = _options()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="espalier-twenty-") as name:
        folder = Path(name)
        session = open_session(folder, options)
        with serve(folder, OMP_NUM_THREADS=str(options.threads)) as server, Workspace.open(folder) as workspace:
            job = server.queue(workspace, "prune", {"plan": PLAN, "name": "load"}, session)
            until_training(workspace, job.id)
            rows = [_series("1 session", server, session, options)]
            stop = threading.Event()
            watchers = [Watcher(server, session, stop) for _ in range(options.sessions - 1)]
            for watcher in watchers:
                watcher.start()
            for watcher in watchers:
                watcher.ready.wait(300)
            cost = _cost(server, options.alone_s)
            rows.append(_series(f"{options.sessions} sessions", server, session, options))
            rows[-1]["cpu_per_follower"] = cost / max(1, len(watchers))
            rows[-1]["images_per_s"] = _speed(workspace, job.id)
            stop.set()
            for watcher in watchers:
                watcher.join(60)
            polls = [seconds for watcher in watchers for seconds in watcher.answers_s]
            rows[-1]["polls"] = {"n": len(polls), **_percentiles(polls)}
            workspace.store.request_cancel(job.id)
    _print(rows, options)
    if options.json:
        options.json.write_text(json.dumps({"machine": _machine(), "rows": rows}, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--clicks", type=int, default=60)
    parser.add_argument("--alone-s", type=float, default=15.0, help="seconds in which nobody clicks")
    parser.add_argument("--threads", type=int, default=available_cores(), help="of the training")
    parser.add_argument("--model", default="digits_resnet")
    parser.add_argument("--checkpoint")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-root")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _series(state: str, server: Server, session: str, options: argparse.Namespace) -> dict[str, Any]:
    """Clicks on the Plan page, and what the processes hold afterwards."""
    taken: list[float] = []
    with Tab(server.url, patience_s=300) as tab:
        for _ in range(options.clicks + 3):
            taken.append(tab.open("plan", session=session).seconds)
            time.sleep(0.4)
    return {
        "state": state,
        "clicks": {"n": options.clicks, **_percentiles(taken[3:])},
        "memory_mb": _memory(server),
    } | {"load": os.getloadavg()[0]}


def _cost(server: Server, seconds: float) -> float:
    """Processor seconds of the server per second, while people follow the training and nobody clicks.

    A machine that is busy otherwise makes answers slower, and hardly changes this.
    """
    process = psutil.Process(server.process.pid)
    began, before = time.monotonic(), process.cpu_times()
    time.sleep(seconds)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (time.monotonic() - began)


def _percentiles(seconds: list[float]) -> dict[str, float]:
    return {
        "p50_ms": 1000 * statistics.median(seconds),
        "p95_ms": 1000 * statistics.quantiles(seconds, n=20)[-1],
        "most_ms": 1000 * max(seconds),
    }


def _memory(server: Server) -> dict[str, float]:
    main = psutil.Process(server.process.pid)
    workers = [child for child in main.children(recursive=True) if "core.jobs.worker" in child.cmdline()]
    return {
        "server": main.memory_info().rss / _MB,
        "workers": sum(worker.memory_info().rss for worker in workers) / _MB,
    }


def _speed(workspace: Workspace, job: str) -> float | None:
    step = (workspace.store.partial(job) or {}).get("step") or {}
    return step.get("images_per_s")


def _machine() -> dict[str, Any]:
    return {"cpu": cpu_name(), "cores": available_cores(), "memory_gb": psutil.virtual_memory().total / 2**30}


def _print(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    machine = _machine()
    print(f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB; training with {options.threads}")
    for row in rows:
        clicks, memory = row["clicks"], row["memory_mb"]
        print(
            f"{row['state']:12}  clicks {clicks['n']}  p50 {clicks['p50_ms']:5.0f} ms  p95 {clicks['p95_ms']:5.0f} ms  "
            f"server {memory['server']:5.0f} MB  worker {memory['workers']:5.0f} MB  load {row['load']:.1f}"
        )
    polls = rows[-1]["polls"]
    print(f"polls of the others: {polls['n']}, p50 {polls['p50_ms']:.0f} ms, p95 {polls['p95_ms']:.0f} ms")
    print(f"processor time of the server per follower: {1000 * rows[-1]['cpu_per_follower']:.1f} ms per second")
    grown = rows[1]["memory_mb"]["server"] - rows[0]["memory_mb"]["server"]
    print(f"memory per session: {grown / max(1, options.sessions - 1):.1f} MB")


if __name__ == "__main__":
    main()
