"""Read-only links: a frozen report behind a token. Knows no torch; who opens one can only read."""

import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..errors import StoreError
from ..store import Session, Share, Workspace
from .bundle import bundle_name, write_bundle
from .planting import plant
from .snapshot import Snapshot, take_snapshot
from .tokens import hash_of, is_token_of, new_token

__all__ = [
    "NOT_FOUND",
    "NewLink",
    "Report",
    "bundle_file",
    "fork_link",
    "link_address",
    "onnx_file",
    "open_share",
    "revoke",
    "share",
]

NOT_FOUND = "There is no report here. The link may be mistyped or incomplete, or its owner has withdrawn it."
"""The one answer to whatever token does not open a report."""

_FORK = "allow_fork"
_SNAPSHOT = "snapshot"


@dataclass(frozen=True)
class NewLink:
    """A link that was just made. ``token`` is known here and now only: the workspace keeps its hash."""

    share: Share
    token: str


@dataclass(frozen=True)
class Report:
    """What a link shows: the session as it was when the link was made, and what its reader may take away."""

    title: str
    made: datetime
    snapshot: Snapshot
    allow_onnx: bool
    allow_fork: bool


def share(
    workspace: Workspace, session_id: str, *, title: str = "", allow_onnx: bool = False, allow_fork: bool = False
) -> NewLink:
    """Freeze the session as it is now and make a link to it.

    The reader sees plans, sensitivity, variants with their measurements, and images that were kept; the reader can
    neither compute nor write. ``allow_onnx``: exported ONNX files may be downloaded; ``allow_fork``: the reader may
    make a session of their own from it, with the weights, or take it away as a bundle, which is the same as a file.

    Raises:
        StoreError: when the session does not exist or has no model yet, or has too many links.
    """
    snapshot = take_snapshot(workspace, session_id)
    token = new_token()
    made = workspace.store.add_share(
        session_id,
        token_hash=hash_of(token),
        title=title.strip() or snapshot.name,
        body={_SNAPSHOT: snapshot.to_json(), _FORK: allow_fork},
        allow_onnx=allow_onnx,
    )
    return NewLink(made, token)


def link_address(base: str, token: str) -> str:
    """The address of a link below the address of a server ("http://127.0.0.1:8501")."""
    return f"{base.rstrip('/')}/share?token={token}"


def open_share(workspace: Workspace, token: str) -> Report:
    """The report behind a token.

    Raises:
        StoreError: ``NOT_FOUND``, the same for a token that is wrong, revoked, or of a deleted session.
    """
    return _report(_find(workspace, token))


def revoke(workspace: Workspace, link: str) -> Share:
    """Withdraw a link, named by the id of its share or by its token. Nobody can open it any more.

    Raises:
        StoreError: when there is no such link.
    """
    found = workspace.store.find_share(hash_of(link))
    return workspace.store.revoke_share(link if found is None else found.id)


def fork_link(workspace: Workspace, token: str, *, name: str = "", owner: str = "") -> Session:
    """A session of one's own from a report: model, data reference, plans, variants with weights. It is not changed by
    what happens to the original, nor the other way round.

    Raises:
        StoreError: ``NOT_FOUND``, or when the owner did not allow it.
    """
    report = open_share(workspace, token)
    if not report.allow_fork:
        raise StoreError("This report may be read only: its owner did not allow forks.")
    return plant(workspace, report.snapshot, how="fork", name=name, owner=owner, title=report.title)


def onnx_file(workspace: Workspace, token: str, variant_id: str) -> tuple[str, Path]:
    """Name and place of the newest exported ONNX file of a variant, where the link allows to take it away.

    A folder is meant where the tensors lie beside the graph.

    Raises:
        StoreError: ``NOT_FOUND``, also when the owner does not allow it or there is no file.
    """
    report = open_share(workspace, token)
    files = [
        item.result
        for item in report.snapshot.measurements
        if item.variant_id == variant_id and item.kind == "onnx" and item.result.get("artifact")
    ]
    if not report.allow_onnx or not files:
        raise StoreError(NOT_FOUND)
    return str(files[-1].get("filename") or "model.onnx"), workspace.artifacts.path(str(files[-1]["artifact"]))


def bundle_file(workspace: Workspace, token: str) -> tuple[str, bytes]:
    """Name and bytes of the frozen session as a bundle, where the link allows forks.

    Raises:
        StoreError: ``NOT_FOUND``, also when the owner does not allow it; or a stored file is missing.
    """
    report = open_share(workspace, token)
    if not report.allow_fork:
        raise StoreError(NOT_FOUND)
    file = io.BytesIO()
    write_bundle(workspace, report.snapshot, file)
    return bundle_name(report.title), file.getvalue()


def _find(workspace: Workspace, token: str) -> Share:
    # One way for all: a hash, one look into the table, one comparison.
    found = workspace.store.find_share(hash_of(token))
    good = is_token_of(token, found.token_hash if found else "0" * 64)
    if not good or found is None or found.revoked is not None:
        raise StoreError(NOT_FOUND)
    return found


def _report(found: Share) -> Report:
    return Report(
        title=found.title,
        made=found.created,
        snapshot=Snapshot.parse(found.body.get(_SNAPSHOT), error=StoreError),
        allow_onnx=found.allow_onnx,
        allow_fork=bool(found.body.get(_FORK)),
    )
