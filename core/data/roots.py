"""Where data may lie: the data root of this server, and the folder that a specification means."""

import os
from pathlib import Path

from ..errors import DataError
from ..paths import contained

__all__ = ["DATA_ROOT_VARIABLE", "cache_folder", "data_root", "resolve_folder"]

DATA_ROOT_VARIABLE = "ESPALIER_DATA_ROOT"


def data_root() -> Path | None:
    """The folder below which relative paths of data sets lie (``run_app.py --data-root``), or None."""
    configured = os.environ.get(DATA_ROOT_VARIABLE)
    return Path(configured).expanduser().resolve() if configured else None


def cache_folder(source: str) -> Path:
    """Where downloads go when no folder is named and there is no writable data root."""
    import platformdirs

    return Path(platformdirs.user_cache_path("espalier")) / "data" / source


def resolve_folder(root: str) -> Path:
    """The folder that ``DataSpec.root`` means.

    With a data root, a relative path lies below it and may not leave it; without one it is relative to the working
    folder, as in any program. An absolute path is taken as it is: pages offer only what ``discover_data`` found.

    Raises:
        DataError: when a relative path leaves the data root, or is not a usable path at all.
    """
    if "\0" in root or not root.strip():
        raise DataError("The folder of a data set must be a path; it is empty or contains a null character.")
    path = Path(root).expanduser()
    base = data_root()
    if path.is_absolute():
        return Path(os.path.normpath(path))
    if base is None:
        return Path(os.path.abspath(path))
    return contained(base, root, error=DataError)
