"""Keeping still for each other: while one process measures, every other Espalier process on the workspace waits.

Who measures holds the file ``measuring.lock``. Runners look at it twice a second: while another process holds it their
work waits at its next check, and the server writes ``measuring.still`` to say so. A process that dies holds nothing.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ..errors import StoreError
from ..store.files import write_atomically
from ..store.lock import FileLock
from ..store.owner import this_process
from ..store.workspace import log

__all__ = ["Quiet", "QuietWatch"]

_LOOK_S = 0.5


class Quiet:
    """The marks in one workspace folder. ``server``: its server lock, which may be held by this or another process."""

    def __init__(self, folder: Path, server: FileLock) -> None:
        self._folder, self._server = folder, server
        self._still = folder / "measuring.still"

    @contextmanager
    def asked(self, patience_s: float) -> Iterator[bool]:
        """Ask for quiet inside the block.

        Yields:
            Whether it is quiet: nobody else measures, and a server of another process has said that its work waits.
            False when either did not happen in time; the block runs all the same, and has to say so.
        """
        lock = FileLock(self._folder / "measuring.lock")
        deadline = time.monotonic() + patience_s
        try:
            yield self._taken(lock, deadline) and self._confirmed(deadline)
        finally:
            lock.release()

    @staticmethod
    def _taken(lock: FileLock, deadline: float) -> bool:
        try:
            while not lock.try_acquire():
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.1)
        except StoreError as error:
            log.warning("Others cannot be asked to wait for a measurement: %s", error)
            return False
        return True

    def _confirmed(self, deadline: float) -> bool:
        """Whether the server, if there is one in another process, keeps still for this process."""
        while (holder := self._server.holder) is not None and holder != this_process():
            if _text(self._still) == this_process():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    @property
    def wanted(self) -> str | None:
        """The other process that measures now, or None."""
        holder = FileLock(self._folder / "measuring.lock").holder
        return None if holder == this_process() else holder

    def confirm(self, measurer: str) -> None:
        """Say that this process keeps still for the one that measures."""
        try:
            write_atomically(self._still, measurer.encode())
        except StoreError as error:
            log.warning("A measurement of another process cannot be told that work waits: %s", error)


class QuietWatch:
    """A thread that holds a runner's work while another process measures.

    ``held``: keeps the work still inside its block, and yields whether it is. ``server``: whether to say so.
    """

    def __init__(
        self, quiet: Quiet, held: Callable[[float], AbstractContextManager[bool]], *, patience_s: float, server: bool
    ) -> None:
        self._quiet, self._held, self._patience_s, self._server = quiet, held, patience_s, server
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="espalier-quiet", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; work that waits goes on."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(2.0)

    def _loop(self) -> None:
        while not self._ended.wait(_LOOK_S):
            measurer = self._quiet.wanted
            if measurer is None:
                continue
            log.info("Another process measures (%s): work waits.", measurer)
            with self._held(self._patience_s) as still:
                if still and self._server:
                    self._quiet.confirm(measurer)
                while self._quiet.wanted == measurer and not self._ended.wait(_LOOK_S):
                    pass


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
