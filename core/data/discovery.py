"""Which data sets lie below a folder. Knows no torch, opens no large file: pages call it at once."""

from pathlib import Path

from .sources import DATA_SOURCES
from .sources.base import folders_below
from .specs import DataSpec

__all__ = ["discover_data"]


def discover_data(root: Path | str) -> list[DataSpec]:
    """Specifications of the data sets at or below ``root`` (three levels deep), with roots relative to it.

    A folder counts for the first source that recognises it, and folders inside a data set are not looked at.
    """
    base = Path(root).expanduser().resolve()
    found: list[tuple[Path, DataSpec]] = []
    for folder in folders_below(base):
        if any(known in folder.parents for known, _ in found):
            continue
        for key, source in DATA_SOURCES.items():
            if source.needs_folder and source.matches(folder):
                found.append((folder, DataSpec(source=key, root=folder.relative_to(base).as_posix())))
                break
    return [spec for _, spec in found]
