"""The one rule for paths that somebody else wrote: they stay below the folder that they are meant for."""

import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from .errors import EspalierError, StoreError

__all__ = ["contained"]

_LONGEST = 1000


def contained(folder: Path, relative: str, *, error: type[EspalierError] = StoreError) -> Path:
    """``folder / relative``, which is ``folder`` itself or below it.

    Applied where the path is used, after everything was decoded. What any system would take as absolute (``/x``,
    ``\\\\host``, ``C:``) is refused on all of them; ``..`` may not lead out, with either kind of slash.

    Raises:
        StoreError: (or ``error``) when the path leads out of the folder, or is no usable path at all.
    """
    if not relative.strip() or "\0" in relative or len(relative) > _LONGEST:
        raise error("A path must be between 1 and 1,000 characters, without null characters; this one is not.")
    windows = PureWindowsPath(relative)
    absolute = windows.drive or windows.root or PurePosixPath(relative).is_absolute()
    depth = 0
    for part in re.split(r"[/\\]", relative):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            break
    if absolute or depth < 0:
        raise error(f"The path “{relative[:200]}” leads out of its folder; it must stay below it.")
    return Path(os.path.normpath(folder / relative))
