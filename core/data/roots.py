"""Where data may lie: the data roots of this server, and the folder that a specification means."""

from pathlib import Path

from ..errors import DataError
from ..paths import contained
from ..reach import confined, data_roots, reachable

__all__ = ["cache_folder", "data_root", "data_roots", "resolve_folder"]


def data_root() -> Path | None:
    """The first of the data roots, to which stored specifications are relative; or None."""
    return next(iter(data_roots()), None)


def cache_folder(source: str) -> Path:
    """Where downloads go when no folder is named and there is no writable data root."""
    import platformdirs

    return Path(platformdirs.user_cache_path("espalier")) / "data" / source


def resolve_folder(root: str) -> Path:
    """The folder that ``DataSpec.root`` means.

    With data roots, a relative path lies below one of them (the first that has such a folder) and may not leave it;
    without one it is relative to the working folder, as in any program. An absolute path is taken as it is, unless the
    server is confined to its data roots.

    Raises:
        DataError: when a path leaves the data roots, or is not a usable path at all.
    """
    if "\0" in root or not root.strip():
        raise DataError("The folder of a data set must be a path; it is empty or contains a null character.")
    bases = data_roots()
    if Path(root).expanduser().is_absolute():
        return reachable(root, error=DataError)
    if bases:
        places = [contained(base, root, error=DataError) for base in bases]
        return next((place for place in places if place.is_dir()), places[0])
    if confined():
        raise DataError("This server was started without data folders (--data-root); choose data that need none.")
    return reachable(root, error=DataError)
