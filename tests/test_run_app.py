"""Starting and stopping the dashboard's server as a person does."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from .patience import patient

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 120.0


@dataclass
class Server:
    process: "subprocess.Popen[str]"
    url: str
    workspace: Path
    first_paint_s: float

    def get(self, path: str = "/") -> str:
        with urllib.request.urlopen(self.url + path, timeout=30) as response:
            return str(response.read().decode())


def start(*arguments: str, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run_app.py"), "--no-browser", *arguments],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/_stcore/health", timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    workspace = tmp_path_factory.mktemp("server")
    # Started from elsewhere, where another package named "core" lies in wait.
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "core").mkdir()
    (elsewhere / "core" / "__init__.py").write_text("raise RuntimeError('the wrong core')")
    started = time.monotonic()
    with socket.socket() as free:  # tests of other processes start servers, too, and look from 8501 on
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start("--workspace", str(workspace), "--port", str(port), cwd=elsewhere)
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert "http://" in line, process.stderr.read()
    url = next(word for word in line.split() if word.startswith("http://"))
    while not answers(url) and process.poll() is None and time.monotonic() - started < PATIENCE_S:
        time.sleep(0.1)
    yield Server(process, url, workspace, time.monotonic() - started)
    process.kill()
    process.communicate()


def test_it_serves_on_this_machine_only_and_says_where(server: Server) -> None:
    assert "<html" in server.get().lower()
    assert server.url.startswith("http://127.0.0.1:")
    listening = {c.laddr.ip for c in psutil.Process(server.process.pid).net_connections("tcp") if c.status == "LISTEN"}
    assert listening == {"127.0.0.1"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_server_process_has_not_loaded_torch_but_its_worker_may(server: Server) -> None:
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "libtorch" not in maps


@pytest.mark.row("F07")
def test_a_second_server_on_the_workspace_is_refused(server: Server) -> None:
    second = start("--workspace", str(server.workspace))
    _, errors = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 1
    assert f"(process {server.process.pid})" in errors
    assert "Traceback" not in errors


def test_the_command_line_shares_the_workspace(server: Server) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "core", "sessions", "--json", "--workspace", str(server.workspace)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout.strip()) == (0, "[]")


def test_a_port_that_is_taken_is_said_or_passed_over(server: Server, tmp_path: Path) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    wanted = start("--workspace", str(tmp_path), "--port", str(port))
    _, errors = wanted.communicate(timeout=PATIENCE_S)
    assert wanted.returncode == 1
    assert f"port {port}" in errors
    assert "--port" in errors
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8501))
            taken.listen()
        except OSError:
            pass  # somebody has it already, which is just as good
        import run_app

        assert run_app._free_port("127.0.0.1", None) > 8501


@pytest.mark.row("F02")
def test_sigterm_ends_it_within_seconds_with_its_worker(server: Server) -> None:
    children = psutil.Process(server.process.pid).children(recursive=True)
    assert children
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=30) == 0
    assert time.monotonic() - started < patient(10)
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    # The workspace is free again.
    from core.store import Workspace

    with Workspace.open(server.workspace) as workspace:
        workspace.lock.acquire()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--data-root", "/no/such/folder"], "/no/such/folder"),
        (["--models", "/no/such/file.py"], "file.py"),
        (["--device", "abacus"], "abacus"),
        (["--workspace", "/proc/nowhere"], "/proc/nowhere"),
        (["--host", "no-such-host.invalid", "--port", "1234"], "no-such-host.invalid"),
        (["--passphrase-file", "/no/such/passphrase"], "/no/such/passphrase"),
        (["--oidc", "/no/such/secrets.toml"], "espalier[login]"),
        (["--max-jobs-per-person", "0"], "jobs"),
        (["--job-memory", "10"], "1024 MB"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: list[str], word: str, tmp_path: Path) -> None:
    process = start("--workspace", str(tmp_path), *arguments)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert word in errors
    assert errors.startswith("Espalier did not start: ")
    assert "Traceback" not in errors


def test_help_explains_every_option() -> None:
    run = subprocess.run([sys.executable, str(ROOT / "run_app.py"), "--help"], capture_output=True, text=True)
    assert run.returncode == 0
    for option in (
        "--host",
        "--port",
        "--workspace",
        "--models",
        "--data-root",
        "--device",
        "--demo",
        "--no-browser",
        "--passphrase-file",
        "--oidc",
    ):
        assert option in run.stdout
