"""How long a click takes in the browser while a training runs at full speed, and what that costs the training.

    uv run python -m tests.benchmarks.responsiveness                     # digits_resnet, as shipped
    uv run python -m tests.benchmarks.responsiveness --model cifar/resnet20 --checkpoint resnet20.th \
        --data cifar10 --data-root ../shared/data --json responsiveness.json

One server (``run_app.py``) per number of torch threads; a real Chromium clicks on the Plan page, and a click lasts from
the mouse event until Streamlit has drawn its answer. First idle, then while the worker trains, at each nice level, then
idle again. Between the series nobody clicks, and the speed of training alone is read. Needs chromium and playwright.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from core.store import Workspace
from tests.browser.conftest import ARGUMENTS, CHROMIUM, Visit, serving

PLAN = {
    "method": "one_shot_fine_tune",
    "sparsity": 0.5,
    "name": "load",
    "method_settings": {"tune": {"epochs": 10_000, "learning_rate": 0.001, "schedule": "constant"}},
}

# Clicks a switch, at which the whole page is drawn anew, and waits for the answer: running, then at rest again.
_CLICK = """() => new Promise((resolve, reject) => {
    const app = document.querySelector('[data-testid="stApp"]');
    const state = () => app.getAttribute('data-test-script-state');
    const toggle = document.querySelector('.st-key-plan-check-auto input');
    const start = performance.now();
    let ran = false;
    const look = () => {
        if (state() !== 'notRunning') ran = true;
        else if (ran) return resolve(performance.now() - start);
        if (performance.now() - start > 60000) return reject(new Error('no answer within 60 s'));
        setTimeout(look, 4);
    };
    toggle.click();
    look();
})"""


def main() -> None:
    """Measure and print a table; ``--json`` writes everything that was seen."""
    options = _options()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    rows: list[dict[str, Any]] = []
    for threads in options.threads:
        rows += _at(threads, options)
    for row in rows:
        print(
            f"threads {row['threads']}  {row['state']:16} clicks {row['clicks']:3}  p50 {row['p50_ms']:7.0f} ms  "
            f"p95 {row['p95_ms']:7.0f} ms  training {row['images_per_s'] or 0:8.0f} images/s while clicked, "
            f"{row['images_per_s_alone'] or 0:8.0f} alone, load {row['load']:.1f}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits_resnet")
    parser.add_argument("--checkpoint")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-root")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--nice", type=int, nargs="+", default=[10, 19])
    parser.add_argument("--clicks", type=int, default=40)
    parser.add_argument("--alone-s", type=float, default=10.0, help="seconds in which the speed alone is read")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _at(threads: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="espalier-responsiveness-") as name:
        folder = Path(name)
        session = open_session(folder / "workspace", options)
        environment = {"OMP_NUM_THREADS": str(threads)}
        with serving(folder, environment=environment) as site, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=180_000)
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.set_default_timeout(240_000)
            visit = Visit(page, site)
            visit.go("plan", session=session)
            with Workspace.open(folder / "workspace") as workspace:
                rows = [_series("idle", visit, workspace, None, threads, options)]
                visit.click("Run this plan").settle()
                job = workspace.store.jobs(session)[0].id
                until_training(workspace, job)
                for nice in options.nice:
                    for worker in _workers(folder / "workspace"):
                        worker.nice(nice)
                    rows.append(_series(f"training, nice {nice}", visit, workspace, job, threads, options))
                workspace.store.request_cancel(job)
                while workspace.store.get_job(job).state.live:
                    time.sleep(0.1)
                visit.settle()
                rows.append(_series("idle again", visit, workspace, None, threads, options))
            browser.close()
        return rows


def open_session(folder: Path, options: argparse.Namespace) -> str:
    """A session with model, data and the plan that will train, made by the command line."""
    command = [sys.executable, "-m", "core", "open", options.model, "--data", options.data, "--json"]
    command += ["--workspace", str(folder)]
    for name, value in (("--checkpoint", options.checkpoint), ("--data-root", options.data_root)):
        command += [name, value] if value else []
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    session = str(json.loads(made.stdout)["session_id"])
    with Workspace.open(folder) as workspace:
        workspace.store.save_draft(session, PLAN, revision=workspace.store.get_session(session).revision)
    return session


def _workers(folder: Path) -> list[psutil.Process]:
    """The worker of the work lane of the server on this workspace."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "core.jobs.worker" in line and str(folder) in line and "work" in line:
            found.append(process)
    return found


def until_training(workspace: Workspace, job: str) -> None:
    while not (workspace.store.partial(job) or {}).get("step"):
        found = workspace.store.get_job(job)
        if not found.state.live:
            raise RuntimeError(f"the training ended as {found.state.value}: {found.error}")
        time.sleep(0.2)


def _series(
    state: str, visit: Visit, workspace: Workspace, job: str | None, threads: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Clicks, about two per second, and the speeds of training meanwhile and before."""
    alone = _speed(workspace, job, options.alone_s)
    taken: list[float] = []
    speeds: list[float] = []
    for _ in range(options.clicks + 2):
        taken.append(float(visit.page.evaluate(_CLICK)))
        visit.page.wait_for_timeout(250)
        speeds += _now(workspace, job)
    taken = taken[2:]  # the first ones warm caches up
    return {
        "threads": threads,
        "state": state,
        "clicks": len(taken),
        "p50_ms": statistics.median(taken),
        "p95_ms": statistics.quantiles(taken, n=20)[-1],
        "images_per_s": statistics.median(speeds) if speeds else None,
        "images_per_s_alone": alone,
        "load": os.getloadavg()[0],
        "taken_ms": taken,
    }


def _speed(workspace: Workspace, job: str | None, seconds: float) -> float | None:
    speeds: list[float] = []
    end = time.monotonic() + seconds
    while job is not None and time.monotonic() < end:
        speeds += _now(workspace, job)
        time.sleep(0.5)
    return statistics.median(speeds) if speeds else None


def _now(workspace: Workspace, job: str | None) -> list[float]:
    step = (workspace.store.partial(job) or {}).get("step") if job is not None else None
    return [float(step["images_per_s"])] if step and step.get("images_per_s") else []


if __name__ == "__main__":
    main()
