"""No path of this machine leaves it: of folders and files only the last name is kept."""

import os
import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..data.roots import data_root

__all__ = ["own_folders", "without_paths"]

# At least two levels, so that “MACs/image” and “/stem” are none; neither the inside of an address nor of base64.
_PATH = re.compile(r"""(?<![\w.:/\\+=-])(?:~|[A-Za-z]:)?(?:[\\/][^\s\\/"'“”<>|*?:;,()\[\]]+){2,}[\\/]?""")
_WHOLE = re.compile(r"(?:~?/|[A-Za-z]:[\\/]|\\\\)[^\n]*")


def own_folders(*more: str | Path | None) -> tuple[str, ...]:
    """Folders that say something about this machine, and ``more``; the longest first."""
    known = [Path.home(), Path.cwd(), tempfile.gettempdir(), data_root(), *more]
    found = {str(folder).rstrip("/\\") for folder in known if folder and os.path.isabs(folder)}
    return tuple(sorted((folder for folder in found if len(folder) > 1), key=len, reverse=True))


def without_paths(value: Any, folders: Collection[str] = ()) -> Any:
    """``value`` (JSON) with every absolute path in its texts cut down to its last name.

    ``folders`` (see ``own_folders``) are found inside texts even where their names hold spaces.
    """
    if isinstance(value, Mapping):
        return {key: without_paths(item, folders) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item, folders) for item in value]
    if not isinstance(value, str) or value.startswith("data:"):
        return value
    for folder in folders:
        value = value.replace(folder, _last_name(folder))
    if _WHOLE.fullmatch(value):
        return _last_name(value)
    return _PATH.sub(lambda found: _last_name(found.group()), value)


def _last_name(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
