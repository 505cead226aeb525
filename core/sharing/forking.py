"""A session of one's own from somebody else's: from a link or from a bundle."""

import re
from pathlib import Path

from ..progress import SILENT, Progress
from ..store import Session, Workspace
from .importing import import_bundle
from .links import fork_link

__all__ = ["fork", "token_of"]

_TOKEN = re.compile(r"[?&]token=([A-Za-z0-9_-]+)")


def token_of(link: str) -> str:
    """The token of a link, given as its address or as the token alone."""
    found = _TOKEN.search(link)
    return found.group(1) if found else link.strip()


def fork(
    workspace: Workspace, source: str | Path, *, name: str = "", owner: str = "", progress: Progress = SILENT
) -> Session:
    """A new session from a link of this workspace (address or token), or from a bundle (a ``Path``).

    It has the model, the data by reference, the plans, and the variants with their weights; ``Session.lineage`` says
    where they come from. The original is not touched.

    Raises:
        StoreError: when there is no such report or bundle, or its owner did not allow forks.
    """
    if isinstance(source, Path):
        return import_bundle(workspace, source, name=name, owner=owner, how="fork", progress=progress)
    return fork_link(workspace, token_of(source), name=name, owner=owner)
