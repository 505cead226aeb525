"""Patterns that people type to choose names: regular expressions and globs, refused in one sentence where they fail.

Python's ``re`` tries every way to divide a name among nested repeats, holding the interpreter and with it every session
of the server: such patterns are refused, too.
"""

import fnmatch
import re
from re import _parser  # type: ignore[attr-defined]  # the tree of a pattern; the public API has none
from typing import Any

from core.errors import PlanError

__all__ = ["compiled"]

_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_FEW = 8


def compiled(pattern: str, *, glob: bool = False) -> re.Pattern[str] | None:
    """The pattern ready to ``search`` with, None for an empty one. A ``glob`` (``layer3.*``) fits whole names.

    Raises:
        PlanError: when it is not a regular expression, or repeats what itself repeats or branches.
    """
    if not pattern:
        return None
    if glob:
        return re.compile(rf"\A{fnmatch.translate(pattern)}")
    try:
        tree = _parser.parse(pattern)
        found = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as problem:
        raise PlanError(
            f"“{pattern}” is not a regular expression ({problem}); try for example layer3 or conv1$."
        ) from None
    if _explodes(tree, inside=False):
        raise PlanError(
            f"“{pattern}” repeats something that itself repeats or branches, which can take for ever: repeat one thing."
        )
    return found


def _explodes(tree: Any, *, inside: bool) -> bool:
    """Whether a long repeat holds another repeat or a choice. ``inside``: of a long repeat."""
    for operation, argument in tree:
        name = str(operation)
        repeats = name in _REPEATS
        if inside and ((repeats and argument[0] != argument[1]) or name == "BRANCH"):
            return True
        deeper = inside or (repeats and int(argument[1]) > _FEW)
        if any(_explodes(part, inside=deeper) for part in _parts(argument)):
            return True
    return False


def _parts(argument: Any) -> list[Any]:
    """The patterns inside an operation's argument."""
    if isinstance(argument, _parser.SubPattern):
        return [argument]
    return [part for item in argument for part in _parts(item)] if isinstance(argument, tuple | list) else []
