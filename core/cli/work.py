"""From arguments to specifications and sessions, and running jobs in this process."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from ..data.opening import DATA_SOURCES
from ..data.specs import DataSpec
from ..environment import configure
from ..errors import Cancelled, DataError, EspalierError, ModelError, StoreError
from ..jobs import Runner
from ..models.opening import resolve_model
from ..models.specs import ModelSpec
from ..store import JobState, Session, Workspace
from .output import bar, note

__all__ = ["Target", "data_spec", "find_session", "model_spec", "open_workspace", "run_job", "session_for"]


@dataclass(frozen=True)
class Target:
    """What a command works on: a name of a model or a session, and the options that belong to it."""

    name: str
    checkpoint: Path | None = None
    weights: str | None = None
    classes: int | None = None
    input_shape: str | None = None
    data: str | None = None
    data_root: Path | None = None
    limit: int | None = None
    seed: int = 0


@contextmanager
def open_workspace(
    folder: Path | None, *, device: str | None = None, models: list[str] | None = None
) -> Iterator[Workspace]:
    """The workspace, shared with a dashboard that may be running on it."""
    configure(device=device, models=tuple(models or ()))
    with Workspace.open(folder) as workspace:
        if workspace.notice:
            note(workspace.notice)
        yield workspace


def model_spec(target: Target) -> ModelSpec:
    """The model that a name and its options mean."""
    if target.weights not in (None, "random", "published", "checkpoint"):
        raise ModelError(f"Weights must be random, published or checkpoint; got “{target.weights}”.")
    checkpoint = target.checkpoint.expanduser().absolute() if target.checkpoint else None
    spec = resolve_model(
        target.name,
        checkpoint=checkpoint,
        num_classes=target.classes,
        input_shape=_shape(target.input_shape),
        weights=target.weights,  # type: ignore[arg-type]
    )
    return spec.changed(seed=target.seed)


def data_spec(target: Target) -> DataSpec:
    """The data that the options mean. Their folder is stored with its full path, so that a dashboard finds it too."""
    if target.data is None:
        raise DataError("Name the data with --data (for example --data digits), or give a session.")
    source = DATA_SOURCES[target.data]
    root: str | None = None
    if target.data_root is not None:
        base = target.data_root.expanduser().absolute()
        found = source.find(base) if base.is_dir() else []
        root = str(base / (found[0].root or "") if found else base)
    return DataSpec(source=target.data, root=root, limit=target.limit, seed=target.seed)


def find_session(workspace: Workspace, name: str) -> Session | None:
    """The session with this id (16 hexadecimal digits), or None when the text is no such id."""
    if len(name) != 16 or any(char not in "0123456789abcdef" for char in name):
        return None
    try:
        return workspace.store.get_session(name)
    except StoreError:
        return None


def session_for(workspace: Workspace, target: Target, *, json: bool) -> Session:
    """The session that is named, or a new one in which the named model and data are opened."""
    found = find_session(workspace, target.name)
    if found is not None:
        return found
    model, data = model_spec(target), data_spec(target)
    session = workspace.store.create_session(f"{model.name} on {data.source}")
    try:
        run_job(workspace, "open", {"model": model.to_json(), "data": data.to_json()}, session=session, title="Opening")
    except BaseException:
        # A session in which nothing could be opened is of no use to anybody.
        workspace.store.delete_session(session.id)
        raise
    if not json:
        note(f"Session {session.id} ({session.name})")
    return workspace.store.get_session(session.id)


def run_job(
    workspace: Workspace, kind: str, payload: Mapping[str, Any], *, session: Session | None, title: str
) -> dict[str, Any]:
    """Run a job in this process and return its result; Ctrl-C cancels it in order.

    Raises:
        EspalierError: with the job's sentence when it failed.
        Cancelled: after Ctrl-C.
    """
    store = workspace.store
    with Runner(workspace, mode="inline") as runner, bar(title) as show:
        job = runner.submit(kind, payload, session_id=session.id if session else None, title=title)
        try:
            while job.state.live:
                job = runner.wait(job.id, timeout_s=0.2)
                show({"done": job.done, "total": job.total, "message": job.message})
        except KeyboardInterrupt:
            runner.cancel(job.id)
            job = runner.wait(job.id, timeout_s=10.0)
            raise Cancelled from None
    if job.state is JobState.CANCELLED:
        raise Cancelled
    if job.state is not JobState.DONE:
        if os.environ.get("ESPALIER_DEBUG") and job.traceback:
            note(job.traceback)
        raise EspalierError(job.error or f"{title} ended as {job.state.value}.")
    result = dict(store.get_job(job.id).result or {})
    for sentence in result.get("notes") or ():
        note(f"Note: {sentence}")
    return result


def _shape(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise typer.BadParameter("must be channels,height,width, for example 3,224,224", param_hint="--input")
    channels, height, width = (int(part) for part in parts)
    return channels, height, width
