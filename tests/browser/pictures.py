"""The pictures of the README, made from the demo in the real browser.

    uv run python -m tests.browser.pictures [--workspace FOLDER]

Starts a server with ``--demo`` (about a minute until the demo is made; a workspace that has one is quicker), opens five
pages at 1280 pixels and writes them to ``dashboard/assets`` with 128 colours, below 100 kB each.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from core.jobs.demo import demo_session
from core.store import Workspace

from .conftest import ARGUMENTS, CHROMIUM, PATIENCE_S, Site, Visit, serving

ASSETS = Path(__file__).resolve().parents[2] / "dashboard" / "assets"
WIDTH_PX = 1280
PICTURES = {
    "start": ("", 760),
    "network": ("model", 900),
    "sensitivity": ("sensitivity", 900),
    "plan": ("plan", 900),
    "compare": ("compare", 840),
}
"""Name → page and height in pixels."""


def main() -> None:
    """Serve the demo and take the pictures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--workspace", type=Path, help="one with a finished demo (default: a new one)")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if given.workspace is not None:
            (place / "workspace").symlink_to(given.workspace.resolve())
        with serving(place, "--demo") as site:
            _take(site, finished_demo(site))


def finished_demo(site: Site) -> str:
    """The id of the demo session, once nothing of it is under way any more."""
    end = time.monotonic() + 5 * PATIENCE_S
    while time.monotonic() < end:
        with Workspace.open(site.workspace) as workspace:
            session = demo_session(workspace)
            store = workspace.store
            variants = store.variants(session.id) if session is not None else []
            # The ONNX file is the last that is made.
            if session is not None and any(store.measurements(item.id, "onnx") for item in variants):
                return session.id
        time.sleep(2.0)
    raise TimeoutError("the demo was not finished in time")


def _take(site: Site, session_id: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=180_000)
        for name, (page, height) in PICTURES.items():
            context = browser.new_context(
                viewport={"width": WIDTH_PX, "height": height}, color_scheme="light", reduced_motion="reduce"
            )
            context.set_default_timeout(PATIENCE_S * 1000)
            visitor = Visit(context.new_page(), site)
            parameters = {"session": session_id} if page else {}
            visitor.go(page, **parameters, **({"view": "drawing"} if name == "network" else {}))
            visitor.page.wait_for_timeout(1500)
            _save(visitor.page, ASSETS / f"{name}.png")
            context.close()
        browser.close()


def _save(page: Any, file: Path) -> None:
    page.screenshot(path=str(file))
    with Image.open(file) as picture:
        # This way of choosing the 128 keeps colours of few pixels, such as those of marks; k-means keeps the paper's.
        colours = picture.convert("RGB").quantize(128, method=Image.Quantize.MAXCOVERAGE, kmeans=1)
        colours.save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
