"""Start the dashboard: ``python run_app.py``. Nothing here imports torch: the first page does not wait for it."""

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from core.access import AccessPolicy

ROOT = Path(__file__).resolve().parent
DEFAULT_PORT = 8501
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the server and serve until Ctrl-C or SIGTERM. Returns the exit code."""
    options = _parser().parse_args(arguments)
    _use_this_checkout()
    from core.errors import EspalierError

    try:
        return _serve(options)
    except EspalierError as error:
        print(f"Espalier did not start: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_app.py",
        description="Espalier in the browser: explore the pruning of neural networks, measure, compare, export.",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, this machine only). With 0.0.0.0 everyone who reaches this "
        "machine can use its processors and see all sessions, unless people log in (see below)",
    )
    parser.add_argument(
        "--port", type=int, help=f"port to listen on (default: {DEFAULT_PORT}, or the next one that is free)"
    )
    parser.add_argument(
        "--workspace",
        type=Path,
        help="folder with all sessions and results (default: ESPALIER_WORKSPACE, else “espalier” in the user's data "
        "folder); created when missing; one server per folder, shared with the command line",
    )
    parser.add_argument(
        "--models",
        action="append",
        default=[],
        metavar="FILE.py[:FUNCTION]",
        help="register your own models: functions in a Python file that return a torch.nn.Module (repeatable). The "
        "file is executed with your rights: name only files that you trust",
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="folder whose subfolders are offered as data sets and checkpoints (repeatable; default: none)",
    )
    parser.add_argument(
        "--only-data-roots",
        action="store_true",
        help="read no other folder that somebody types into the page. Always so with another --host or with a login",
    )
    parser.add_argument(
        "--device", help="where jobs compute: auto, cpu, cuda, cuda:1 (default: ESPALIER_DEVICE, else auto)"
    )
    parser.add_argument(
        "--job-memory",
        type=int,
        metavar="MB",
        help="memory that the process of a job may take; one that needs more fails and says so (default: no limit)",
    )
    parser.add_argument(
        "--demo", action="store_true", help="fill the workspace with a finished example, made by real jobs, once"
    )
    _add_people(parser)
    browser = parser.add_mutually_exclusive_group()
    browser.add_argument("--open", dest="browser", action="store_true", default=None, help="open a browser tab")
    browser.add_argument("--no-browser", dest="browser", action="store_false", help="do not (default without a screen)")
    return parser


def _add_people(parser: argparse.ArgumentParser) -> None:
    people = parser.add_argument_group(
        "several people (default: whoever opens the page is the one person that works here)"
    )
    login = people.add_mutually_exclusive_group()
    login.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="people log in with the passphrase in the first line of this file, and sessions have owners; without the "
        "option, so does the variable ESPALIER_PASSPHRASE",
    )
    login.add_argument(
        "--oidc",
        type=Path,
        metavar="SECRETS.toml",
        help="people log in with an account of the OpenID provider in the section [auth] of this file (see Streamlit's "
        "st.login; needs espalier[login])",
    )
    people.add_argument(
        "--others",
        choices=("view", "refuse"),
        default="view",
        help="what people may do with each other's sessions: look at those whose address they know, or nothing "
        "(default: %(default)s)",
    )
    people.add_argument(
        "--max-jobs-per-person", type=int, default=20, metavar="N", help="that wait or run (default: %(default)s)"
    )
    people.add_argument(
        "--max-uploads-per-person", type=int, default=2000, metavar="MB", help="within 24 hours (default: %(default)s)"
    )


def _use_this_checkout() -> None:
    """Make ``import core`` mean ours; another package of that name may be installed or lie in the current folder."""
    sys.path[:] = [str(ROOT), *(entry for entry in sys.path if entry != str(ROOT))]
    import core

    place = Path(core.__file__ or "").resolve().parent
    if place != ROOT / "core":
        sys.exit(
            f"Espalier needs its own package “core” from {ROOT}, but Python found another one in {place}. "
            "Remove it from PYTHONPATH, or start with a fresh environment: pip install uv && uv run python run_app.py"
        )


def _serve(options: argparse.Namespace) -> int:
    from core.access import read_passphrase
    from core.environment import configure
    from dashboard import backend

    # Read before anything else starts: the passphrase leaves the environment.
    passphrase = None if options.oidc else read_passphrase(options.passphrase_file)
    policy = _policy(options, by_passphrase=passphrase is not None)
    configure(
        workspace=options.workspace,
        data_roots=options.data_root,
        confined=policy.several_people or _is_for_others(options),
        device=options.device,
        job_memory_mb=options.job_memory,
        models=tuple(options.models),
    )
    port = _free_port(options.host, options.port)
    # From here on SIGTERM unwinds; Streamlit installs its own handlers as soon as it serves.
    signal.signal(signal.SIGTERM, _leave)
    try:
        runner = backend.start(policy=policy, passphrase=passphrase)
        if runner.workspace.notice:
            print(runner.workspace.notice, file=sys.stderr)
        if options.demo:
            from core.jobs.demo import seed_demo

            threading.Thread(target=seed_demo, args=(runner,), name="espalier-demo", daemon=True).start()
        print(f"Espalier: http://{_shown(options.host)}:{port}   workspace: {runner.workspace.folder}", flush=True)
        print("Stop with Ctrl-C.", flush=True)
        _run_streamlit(options, port)
    except (KeyboardInterrupt, SystemExit):
        pass
    finally:
        backend.close()
    return 0


def _policy(options: argparse.Namespace, *, by_passphrase: bool) -> "AccessPolicy":
    """How people log in, and what holds for them.

    Raises:
        AccessError: for a wrong limit, or when accounts cannot be used.
    """
    from core.access import AccessPolicy, check_oidc
    from core.errors import AccessError

    if options.oidc is not None:
        options.oidc = check_oidc(options.oidc)
    login = "oidc" if options.oidc is not None else "passphrase" if by_passphrase else "none"
    limits = {"jobs": options.max_jobs_per_person, "uploads_mb": options.max_uploads_per_person}
    return AccessPolicy.parse({"login": login, "others": options.others, "limits": limits}, error=AccessError)


def _is_for_others(options: argparse.Namespace) -> bool:
    """Whether people may reach the page who could not read this machine's files anyway."""
    return options.only_data_roots or options.host not in LOCAL_HOSTS


def _run_streamlit(options: argparse.Namespace, port: int) -> None:
    from dashboard.theme import STREAMLIT_OPTIONS
    from dashboard.web import serve

    serve({**STREAMLIT_OPTIONS, **_server_options(options, port)})


def _server_options(options: argparse.Namespace, port: int) -> dict[str, Any]:
    """What keeps the server private, quiet and quick."""
    from dashboard.opening import UPLOAD_MB

    local = options.host in LOCAL_HOSTS
    return {
        "server.address": options.host,
        "server.port": port,
        "server.headless": not _wants_browser(options.browser),
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.maxUploadSize": UPLOAD_MB,
        "server.enableXsrfProtection": True,
        "server.enableCORS": True,
        # Against DNS rebinding: a foreign page must not reach a local server under its own name.
        **({"server.allowedHosts": list(LOCAL_HOSTS)} if local else {}),
        **({"secrets.files": [str(options.oidc)]} if options.oidc else {}),
        "browser.serverAddress": _shown(options.host),
        "browser.gatherUsageStats": False,
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
        "client.toolbarMode": "minimal",
        # A full garbage collection after every rerun would hold the interpreter: seconds, once torch is imported.
        "runner.postScriptGC": False,
        "runner.magicEnabled": False,
        "global.developmentMode": False,
        # A view that is put back chooses before its page is drawn, and the page says what is chosen otherwise.
        "global.disableWidgetStateDuplicationWarning": True,
        "logger.hideWelcomeMessage": True,
    }


def _wants_browser(choice: bool | None) -> bool:
    if choice is not None:
        return choice
    has_screen = sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    return has_screen and sys.stdout.isatty()


def _shown(host: str) -> str:
    return "localhost" if host in ("0.0.0.0", "::") else host


def _free_port(host: str, wanted: int | None) -> int:
    """The wanted port, or the first free one from 8501 on.

    Raises:
        StoreError: when the wanted port is taken or may not be used.
    """
    from core.errors import StoreError

    for port in [wanted] if wanted is not None else range(DEFAULT_PORT, DEFAULT_PORT + 100):
        problem = _bind_problem(host, port)
        if problem is None:
            return port
    if wanted is not None:
        raise StoreError(f"port {wanted} on {host} cannot be used ({problem}); choose another one with --port.")
    raise StoreError(f"no port from {DEFAULT_PORT} to {DEFAULT_PORT + 99} is free on {host}; choose one with --port.")


def _bind_problem(host: str, port: int) -> str | None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # As the server itself does: a port whose last connection is just closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
