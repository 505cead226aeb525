"""Which folders of this machine the people at the page may name: all, or only those that the server was started for.

Whoever starts a server for others (another address than this machine's, or a login) or says ``--only-data-roots`` gets
a confined one: paths that somebody types, or that come in a file, must then lie below a data root. The command line
and Python are never confined: they run with the rights of the person who types.

Links inside a data root are followed: whoever may put them there decides where they lead. Knows no torch.
"""

import os
from pathlib import Path

from .errors import EspalierError, StoreError
from .paths import contained

__all__ = ["CONFINED", "DATA_ROOTS", "confined", "data_roots", "reachable"]

DATA_ROOTS = "ESPALIER_DATA_ROOT"  # folders, separated as in PATH
CONFINED = "ESPALIER_CONFINED"


def data_roots() -> tuple[Path, ...]:
    """The folders below which data sets and checkpoints are offered (``run_app.py --data-root``); may be none."""
    named = os.environ.get(DATA_ROOTS, "").split(os.pathsep)
    return tuple(Path(folder).expanduser().resolve() for folder in named if folder.strip())


def confined() -> bool:
    """Whether paths from the page must lie below a data root."""
    return os.environ.get(CONFINED) == "1"


def reachable(path: str | Path, *more: Path, error: type[EspalierError] = StoreError) -> Path:
    """An absolute path as it may be opened here, ``..`` resolved; on a confined server below a data root or ``more``.

    Raises:
        StoreError: (or ``error``) when it is no usable path, or lies elsewhere on a confined server. The message is the
            same whether there is something at that place or not.
    """
    text = str(path)
    if "\0" in text or not text.strip():
        raise error("A path must be some text without null characters; this one is not.")
    place = Path(os.path.normpath(Path(text).expanduser()))
    if not confined():
        return Path(os.path.abspath(place))
    for folder in (*data_roots(), *more):
        if place == folder or folder in place.parents:
            return contained(folder, place.relative_to(folder).as_posix(), error=error)
    raise error(
        "This server reads files only below the folders that it was started for (--data-root); "
        f"“{text[:200]}” is not below one of them."
    )
