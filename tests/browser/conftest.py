"""The real server and Debian's chromium. Without chromium these tests skip, and say so.

``site`` is a server of ``run_app.py`` on a free port, one for all tests: its workers import torch once. Each test opens
sessions of its own, or only looks at ``demo``. ``visit`` opens pages in a browser that can reach nothing but this
machine and collects whatever goes wrong in them.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT, SHARED_DATA

CHROMIUM = shutil.which("chromium")
# First use imports torch in a worker: seconds on a quiet machine, minutes on a loaded one.
PATIENCE_S = float(os.environ.get("ESPALIER_BROWSER_PATIENCE_S", "240"))
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
]


_STANDS_STILL = """() => {
    const app = document.querySelector('[data-testid="stApp"]');
    return !!app && app.getAttribute('data-test-connection-state') === 'CONNECTED'
        && app.getAttribute('data-test-script-state') === 'notRunning'
        && !document.querySelector('[data-testid="stMain"] [data-stale="true"], [data-testid="stSkeleton"]')
        && !document.querySelector('.esp-plot[aria-busy="true"]');
}"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder, and skip it where there is no chromium."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            # A real browser beside a training on two cores: a journey is tried once more, and both tries are told.
            item.add_marker(pytest.mark.flaky(reruns=1))
            item.add_marker(pytest.mark.timeout(900))
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="chromium is not on PATH: apt-get install chromium"))


@dataclass
class Site:
    """A running server."""

    url: str
    workspace: Path
    log: Path

    def address(self, page: str = "", **parameters: str) -> str:
        """The address of a page."""
        query = urllib.parse.urlencode(parameters)
        return f"{self.url}/{page}" + (f"?{query}" if query else "")


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Site]:
    """Start ``run_app.py`` with its workspace in ``folder``; stop it as Ctrl-C would, and look at how it went."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    site = Site(f"http://127.0.0.1:{port}", folder / "workspace", folder / "server.log")
    command = [sys.executable, str(CHECKOUT / "run_app.py"), "--port", str(port), "--no-browser"]
    command += ["--workspace", str(site.workspace), *arguments]
    # Python keeps its .pyc files: without them every worker compiles torch anew.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with site.log.open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=CHECKOUT, env={**inherited, **(environment or {})}
        )
        try:
            _wait_for(site, server)
            yield site
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(10)
    text = site.log.read_text(errors="replace")
    assert "Traceback" not in text, text[-4000:]


def _wait_for(site: Site, server: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode}: {site.log.read_text()[-3000:]}")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{site.url}/_stcore/health", timeout=2).close()
            return
        time.sleep(0.1)
    raise TimeoutError(f"no answer from {site.url}: {site.log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server for all tests. It offers the real data where they are."""
    offered = ("--data-root", str(SHARED_DATA)) if SHARED_DATA.is_dir() else ()
    with serving(tmp_path_factory.mktemp("site"), *offered) as running:
        yield running


@dataclass
class Visit:
    """One visitor's page. ``page`` is Playwright's; ``problems`` is what went wrong in the browser so far."""

    page: Any
    site: Site
    problems: list[str] = field(default_factory=list)

    def go(self, page: str = "", **parameters: str) -> "Visit":
        """Open an address and wait until the page stands still."""
        self.page.goto(self.site.address(page, **parameters), wait_until="commit")
        return self.settle()

    def settle(self, *, still_s: float = 0.4) -> "Visit":
        """Wait until the page is drawn, connected, and no script has run for ``still_s``."""
        self.page.locator('[data-testid="stMain"] .esp-brand').wait_for()
        end, since = time.monotonic() + PATIENCE_S, None
        while time.monotonic() < end:
            now = time.monotonic()
            if not self.page.evaluate(_STANDS_STILL):
                since = None
            elif since is None:
                since = now
            elif now - since >= still_s:
                self.problems += self.page.evaluate(_UNSPACED)
                return self
            self.page.wait_for_timeout(50)
        raise TimeoutError(f"the page at {self.page.url} does not come to rest")

    def sees(self, text: "str | re.Pattern[str]", *, timeout_s: float = PATIENCE_S) -> Any:
        """Wait until ``text`` can be read."""
        found = self.page.get_by_text(text).first
        found.wait_for(timeout=timeout_s * 1000)
        return found

    def click(self, label: str) -> "Visit":
        """Click a button."""
        self.page.get_by_role("button", name=label, exact=True).first.click()
        return self

    def slide(self, label: str, value: float) -> "Visit":
        """Move a slider with the arrow keys until it stands at ``value`` and the page has answered.

        Keys pressed while an answer is being drawn may be lost; so look, and press again.
        """
        self.settle()
        slider = self.page.locator('[data-testid="stSlider"]', has_text=label).get_by_role("slider").first
        slider.focus()
        step = float(slider.get_attribute("step") or 1)
        for _ in range(20):
            missing = round((value - float(slider.input_value())) / step)
            if missing == 0:
                return self
            for _ in range(min(abs(missing), 50)):
                slider.press("ArrowRight" if missing > 0 else "ArrowLeft")
            self.page.wait_for_timeout(300)  # Streamlit waits 200 ms for more keys
            self.settle()
        raise TimeoutError(f"the slider “{label}” does not reach {value}")

    @property
    def session_id(self) -> str | None:
        """The session that the address names."""
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.page.url).query)
        return query.get("session", [None])[0]

    @property
    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        main = "document.querySelector('[data-testid=stMain]')"
        return int(self.page.evaluate(f"{main}.scrollWidth - {main}.clientWidth"))

    def shot(self, name: str) -> None:
        """With ``ESPALIER_BROWSER_SHOTS=1``: a picture of the whole page in ``screenshots/`` (ignored by git)."""
        if os.environ.get("ESPALIER_BROWSER_SHOTS") != "1":
            return
        height = self.page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        size = self.page.viewport_size
        self.page.set_viewport_size({"width": size["width"], "height": min(max(height + 20, size["height"]), 6000)})
        self.page.wait_for_timeout(400)
        place = CHECKOUT / "screenshots" / f"{name}.png"
        place.parent.mkdir(exist_ok=True)
        self.page.screenshot(path=str(place))
        self.page.set_viewport_size(size)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One browser for all tests; each visitor gets a context of their own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=180_000)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def demo(site: Site, chromium: Any) -> str:
    """The id of a session opened by the one click, with its model measured."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_S * 1000)
    visitor = Visit(context.new_page(), site).go()
    visitor.click("Use the demo")
    visitor.page.wait_for_url("**/model?session=*")
    visitor.sees("Dense accuracy, test split")
    session_id = visitor.session_id
    context.close()
    assert session_id
    return session_id


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Visit]]:
    """``visit(site)``: a new visitor. Fails at the end when a page logged an error or asked for another host."""
    visits: list[Visit] = []

    def new(site: Site, *, width: int = 1280, height: int = 900, scheme: str = "light") -> Visit:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
        )
        context.set_default_timeout(PATIENCE_S * 1000)
        visitor = Visit(context.new_page(), site)
        page = visitor.page
        page.on("pageerror", lambda error: visitor.problems.append(f"script error: {error}"))
        page.on("console", lambda message: _note_console(visitor, message))
        page.on("request", lambda request: _note_request(visitor, request))
        visits.append(visitor)
        return visitor

    yield new
    problems = [problem for visitor in visits for problem in visitor.problems]
    for visitor in visits:
        visitor.page.context.close()
    assert not problems, problems


_UNSPACED = r"""() => [...document.querySelectorAll(".esp-plot text")].map((text) => text.textContent)
    .filter((text) => /\d%/.test(text)).map((text) => `a chart says “${text}” without a space`)"""


def _note_console(visitor: Visit, message: Any) -> None:
    where = (message.location or {}).get("url", "")
    # A deep link makes Streamlit's client look for its server below the page's path first: normal.
    probing = "/_stcore/" in where and "404" in message.text
    if message.type == "error" and not probing:
        visitor.problems.append(f"console: {message.text} ({where})")


def _note_request(visitor: Visit, request: Any) -> None:
    parts = urllib.parse.urlparse(request.url)
    if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("127.0.0.1", "localhost"):
        visitor.problems.append(f"asked another host: {request.url}")
