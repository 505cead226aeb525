"""The one workspace, store and runner of this server process, shared by all its browser sessions.

Held in plain globals of this small module, not in ``st.cache_resource``: that is keyed by the source of a function,
and an edit of it would make a second runner beside the first. Keep this module free of anything that changes.
"""

import atexit
import os
import threading
from pathlib import Path
from typing import Literal

from core.jobs import Runner
from core.store import Store, Workspace

__all__ = ["close", "runner", "start", "store", "workspace"]

RUNNER_MODE = "ESPALIER_RUNNER"

_lock = threading.RLock()
_workspace: Workspace | None = None
_runner: Runner | None = None


def start(folder: str | Path | None = None, *, mode: Literal["process", "inline"] | None = None) -> Runner:
    """Open the workspace and start its runner; a no-op when both run.

    ``mode`` defaults to ESPALIER_RUNNER ("inline" in tests of pages), else "process".

    Raises:
        StoreError: when the folder cannot be written or another server uses it.
    """
    global _workspace, _runner
    with _lock:
        if _runner is None:
            opened = Workspace.open(folder)
            chosen = mode or ("inline" if os.environ.get(RUNNER_MODE) == "inline" else "process")
            try:
                _runner = Runner(opened, mode=chosen).start()
            except BaseException:
                opened.close()
                raise
            _workspace = opened
            atexit.register(close)
        return _runner


def close() -> None:
    """Stop the runner and close the workspace; the next use opens them again."""
    global _workspace, _runner
    with _lock:
        atexit.unregister(close)
        if _runner is not None:
            _runner.close()
        if _workspace is not None:
            _workspace.close()
        _workspace = _runner = None


def runner() -> Runner:
    """The runner, started by the first use."""
    return start()


def workspace() -> Workspace:
    """The workspace, opened by the first use."""
    return start().workspace


def store() -> Store:
    """The store of the workspace."""
    return workspace().store
