"""Which data sets lie below a folder. Knows no torch, opens no large file: pages call it at once."""

from pathlib import Path

from .folders import folders_below
from .sources import DATA_SOURCES
from .specs import DataSpec

__all__ = ["discover_data"]


def discover_data(root: Path | str) -> list[DataSpec]:
    """Specifications of the data sets at or below ``root`` (three levels deep), with roots relative to it.

    A folder counts for the first source that recognises it, and folders inside a data set are not looked at.
    """
    base = Path(root).expanduser().resolve()
    found: list[DataSpec] = []

    def recognised(folder: Path) -> bool:
        for key, source in DATA_SOURCES.items():
            if source.needs_folder and source.matches(folder):
                found.append(DataSpec(source=key, root=folder.relative_to(base).as_posix()))
                return True
        return False

    folders_below(base, recognised)
    return found
