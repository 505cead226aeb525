"""How long a page takes in the browser: first paint, a switch of pages, a slider.

    uv run python -m tests.benchmarks.page_times [--workspace FOLDER] [--rounds 6] [--json page_times.json]

One server and a real Chromium on a finished demo (made anew without ``--workspace``, which takes a minute or two).
*First paint*: from asking for the address until the heading of the page is drawn, the browser knowing the program's
files already. *Switch*: in a visit that began at Start, from the click on a page in the head until nothing that is
drawn of the page changes any more. *Slider*: from the arrow key until then, and until the page's figures answer.
Streamlit itself waits for 0.1 s after a key, in case another one comes; so the times from when the server is asked
stand beside them. The load says what else the machine did.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from tests.browser.conftest import ARGUMENTS, CHROMIUM, PATIENCE_S, Site, Visit, serving
from tests.browser.pictures import finished_demo

PAGES = ("model", "sensitivity", "plan", "runs", "compare", "guide", "present", "start")
SLIDERS = {"start": "Sparsity", "plan": "Sparsity, %"}

_STILL_MS = 500
# In the page: notes when the server is asked, and what was the last change of the picture before it stood still.
_WATCH = """(still) => {
    const app = document.querySelector('[data-testid="stApp"]');
    const watch = window.espWatch = {begun: null, asked: null, answered: null, last: null, done: null};
    const figures = () => [...document.querySelectorAll('.esp-figs')].map((one) => one.textContent).join();
    const before = figures();
    const begin = () => { watch.begun = watch.begun ?? performance.now(); };
    for (const name of ['keydown', 'click']) document.addEventListener(name, begin, {capture: true, once: true});
    // What lies inside a canvas is read out, and never drawn.
    const element = (node) => node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement;
    const shown = (change) => !element(change.target)?.closest('canvas');
    const changed = new MutationObserver((changes) => {
        if (watch.begun === null || !changes.some(shown)) return;
        watch.last = performance.now();
        if (app.getAttribute('data-test-script-state') !== 'notRunning') watch.asked = watch.asked ?? watch.last;
        if (watch.answered === null && ![before, ''].includes(figures())) watch.answered = watch.last;
    });
    changed.observe(app, {attributes: true, childList: true, subtree: true, characterData: true});
    const look = () => {
        const busy = app.getAttribute('data-test-script-state') !== 'notRunning';
        if (watch.last !== null && !busy && performance.now() - watch.last > still) {
            watch.done = watch.last;
            changed.disconnect();
        } else setTimeout(look, 20);
    };
    look();
}"""
_FIRST_PAINT = """() => new Promise((resolve) => {
    const look = () => document.querySelector('[data-testid="stMain"] h1')
        ? resolve(performance.now()) : setTimeout(look, 4);
    look();
})"""


def main() -> None:
    """Measure and print a table; ``--json`` writes every time that was taken."""
    options = _options()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="espalier-pages-") as name:
        folder = Path(name)
        if options.workspace is not None:
            (folder / "workspace").symlink_to(options.workspace.resolve())
        with serving(folder, "--demo") as site:
            taken = _measure(site, finished_demo(site), options.rounds)
    for what, times in taken.items():
        p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
        print(f"{what:36} n {len(times):3}  p50 {statistics.median(times):6.0f} ms  p95 {p95:6.0f} ms")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if options.json:
        options.json.write_text(json.dumps({"load": os.getloadavg()[0], "taken_ms": taken}, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, help="one with a finished demo (default: a new one)")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _measure(site: Site, session: str, rounds: int) -> dict[str, list[float]]:
    """Name of the measurement → milliseconds. A round that nobody counts comes first: it fills the caches."""
    from playwright.sync_api import sync_playwright

    taken: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=180_000)
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        visit = Visit(page, site)
        for number in range(rounds + 1):
            found = {**_paints(visit, session), **_switches(visit, session), **_sliders(visit, session, number)}
            for what, time_ms in found.items() if number else ():
                taken.setdefault(what, []).append(time_ms)
        browser.close()
    switches = [time_ms for what, times in taken.items() if what.startswith("switch") for time_ms in times]
    return {**taken, "switch to any page": switches}


def _paints(visit: Visit, session: str) -> dict[str, float]:
    found = {}
    for name in ("start", "plan", "compare"):
        visit.page.goto(visit.site.address("" if name == "start" else name, session=session), wait_until="commit")
        found[f"first paint, {name}"] = float(visit.page.evaluate(_FIRST_PAINT))
        visit.settle()
    return found


def _switches(visit: Visit, session: str) -> dict[str, float]:
    visit.go("", session=session)  # as a visit begins: what draws charts comes with the first page
    found = {}
    for name in PAGES:
        visit.page.evaluate(_WATCH, _STILL_MS)
        visit.page.locator(".st-key-masthead").get_by_role("link", name=name.capitalize(), exact=True).click()
        found[f"switch to {name}"] = _watched(visit)["done"]
        visit.settle()
    return found


def _sliders(visit: Visit, session: str, number: int) -> dict[str, float]:
    found = {}
    for name, label in SLIDERS.items():
        visit.go("" if name == "start" else name, session=session)
        slider = visit.page.locator('[data-testid="stSlider"]', has_text=label).get_by_role("slider").first
        slider.focus()
        visit.page.evaluate(_WATCH, _STILL_MS)
        visit.page.keyboard.press("ArrowLeft" if number % 2 else "ArrowRight")
        times = _watched(visit)
        found[f"slider on {name}, from the key"] = times["done"]
        found[f"slider on {name}, from the question"] = times["done"] - times["asked"]
        found[f"figures on {name}, from the key"] = times["answered"]
        found[f"figures on {name}, from the question"] = times["answered"] - times["asked"]
        visit.settle()
    return found


def _watched(visit: Visit) -> dict[str, float]:
    """When the server was asked, when figures changed and when all was drawn, in milliseconds after key or click."""
    visit.page.wait_for_function("window.espWatch.done !== null")
    times: dict[str, float | None] = visit.page.evaluate("() => window.espWatch")
    begun = times["begun"] or 0.0
    return {name: time_ms - begun for name, time_ms in times.items() if time_ms is not None}


if __name__ == "__main__":
    main()
