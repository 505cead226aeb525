"""How long work reports where it stands, and learns that it should stop or wait.

Core functions take ``progress: Progress = SILENT`` and know nothing of jobs, threads or screens.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["SILENT", "Progress"]


class Progress:
    """The silent listener; jobs and the command line override its three methods."""

    def update(self, done: float, total: float, message: str = "") -> None:
        """Say that ``done`` of ``total`` units of work are complete, and what is being done (one short phrase)."""

    def publish(self, partial: Mapping[str, Any]) -> None:
        """Hand out a JSON-serialisable partial result, complete in itself: it replaces the previous one."""

    def check(self) -> None:
        """Call once per batch. Waits while a measurement has paused training.

        Raises:
            Cancelled: when the person cancelled the work.
        """


SILENT = Progress()
