"""The one workspace, store and runner of this server process, shared by all its browser sessions.

Where people log in, ``workspace``, ``store`` and ``runner`` are those of the person at this browser: what they may not
do is refused in core, whatever a page shows.

Held in plain globals of this small module, not in ``st.cache_resource``: that is keyed by the source of a function,
and an edit of it would make a second runner beside the first. Keep this module free of anything that changes.
"""

import atexit
import os
import threading
from pathlib import Path
from typing import Literal

from core.access import AccessPolicy, Door, Passphrase, PersonalStore
from core.jobs import Runner
from core.jobs.personal import PersonalRunner
from core.store import Store, Workspace
from dashboard import visitor

__all__ = ["check", "close", "count_upload", "door", "runner", "start", "store", "workspace"]

RUNNER_MODE = "ESPALIER_RUNNER"

_lock = threading.RLock()
_workspace: Workspace | None = None
_runner: Runner | None = None
_door: Door | None = None


def start(
    folder: str | Path | None = None,
    *,
    mode: Literal["process", "inline"] | None = None,
    policy: AccessPolicy | None = None,
    passphrase: Passphrase | None = None,
) -> Runner:
    """Open the workspace and start its runner, the server's own; a no-op when both run.

    ``mode`` defaults to ESPALIER_RUNNER ("inline" in tests of pages), else "process". ``policy``: how people log in;
    default: not at all.

    Raises:
        StoreError: when the folder cannot be written or another server uses it.
        AccessError: when people shall log in by a passphrase and there is none.
    """
    global _workspace, _runner, _door
    with _lock:
        if _runner is None:
            opened = Workspace.open(folder)
            chosen = mode or ("inline" if os.environ.get(RUNNER_MODE) == "inline" else "process")
            try:
                if policy is not None and policy.several_people:
                    _door = Door(opened.folder, policy, passphrase=passphrase)
                _runner = Runner(opened, mode=chosen).start()
            except BaseException:
                opened.close()
                raise
            _workspace = opened
            atexit.register(close)
        return _runner


def close() -> None:
    """Stop the runner and close the workspace; the next use opens them again."""
    global _workspace, _runner, _door
    with _lock:
        atexit.unregister(close)
        if _runner is not None:
            _runner.close()
        if _workspace is not None:
            _workspace.close()
        _workspace = _runner = _door = None


def check() -> None:
    """Raises StoreError when the workspace is gone (see ``Workspace.check``): before a page draws half of what it
    shows."""
    start().workspace.check()


def door() -> Door | None:
    """Where people log in: what they log in by; else None."""
    start()
    return _door


def count_upload(size_bytes: int) -> None:
    """Count what the person at this browser is about to store.

    Raises:
        AccessError: when it is more than they may.
    """
    opened = workspace().store
    if _door is not None and isinstance(opened, PersonalStore):
        _door.uploads.take(opened.person, size_bytes)


def runner() -> Runner | PersonalRunner:
    """The runner, started by the first use."""
    started = start()
    return started if _door is None else PersonalRunner(started, workspace(), limits=_door.policy.limits)


def workspace() -> Workspace:
    """The workspace, opened by the first use."""
    opened = start().workspace
    return opened if _door is None else _door.view(opened, visitor.person(_door))


def store() -> Store:
    """The store of the workspace."""
    return workspace().store
