"""Whether the workspace is still where it was opened: folders are deleted, and disks unmounted, under running servers.

An open file outlives its name. Without this, a server whose folder was deleted would go on writing into a file that
nobody will ever find, or begin an empty database in its place.
"""

from pathlib import Path

from ..errors import StoreError

__all__ = ["VERSION_FILE", "Presence"]

VERSION_FILE = "espalier.json"


class Presence:
    """The database of a workspace and the version file beside it, as they were when they were first asked about."""

    def __init__(self, database: Path) -> None:
        self._folder = database.parent
        self._database = database
        self._known: dict[Path, tuple[int, ...]] = {}

    def remember(self) -> None:
        """Take what lies there now for what counts; what is known stays known."""
        self._known = self._found() | self._known

    def check(self) -> None:
        """Nothing while all is there that was there; it may go and come back.

        Raises:
            StoreError: when something is gone, or something else lies in its place.
        """
        found = self._found()
        if self._known.items() <= found.items():
            return
        if self._known.keys() - found.keys():
            raise StoreError(
                f"The workspace {self._folder} is gone: it was deleted or moved, or its disk is not mounted. Nothing "
                "is stored meanwhile. Put it back and reload the page, or restart Espalier with another --workspace."
            )
        raise StoreError(
            f"The workspace {self._folder} was replaced by another one while it was open; nothing is stored in it. "
            "Restart Espalier to use it."
        )

    def _found(self) -> dict[Path, tuple[int, ...]]:
        """What lies there. Inodes are used again: the version file, which nobody writes twice, has its time, too."""
        found: dict[Path, tuple[int, ...]] = {}
        for path in (self._database, self._folder / VERSION_FILE):
            try:
                status = path.stat()
            except OSError:
                continue
            found[path] = (status.st_dev, status.st_ino, 0 if path == self._database else status.st_mtime_ns)
        return found
