"""From arguments to specifications and sessions, and running jobs in this process."""

import os
from collections.abc import Callable, Iterator, Mapping
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
from ..jobs.resuming import STOPPED, resumable
from ..models.opening import resolve_model
from ..models.specs import ModelSpec
from ..store import Job, JobState, Session, Workspace
from ..store.tables import plain
from ..wording import percent
from .output import bar, note

__all__ = [
    "Target",
    "data_spec",
    "find_session",
    "model_spec",
    "open_workspace",
    "resume_job",
    "run_job",
    "session_for",
    "training_line",
]


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
    workspace: Workspace,
    kind: str,
    payload: Mapping[str, Any],
    *,
    session: Session | None,
    title: str,
    resume: bool = False,
) -> dict[str, Any]:
    """Run a job in this process and return its result; Ctrl-C cancels it in order.

    ``resume``: go on with the newest job of the same payload that was stopped and has a checkpoint, if there is one.

    Raises:
        EspalierError: with the job's sentence when it failed.
        Cancelled: after Ctrl-C.
    """

    def begin(runner: Runner) -> Job:
        stopped = _stopped(workspace, kind, payload, session) if resume else None
        if stopped is not None:
            return runner.resume(stopped.id)
        return runner.submit(kind, payload, session_id=session.id if session else None, title=title)

    return _follow(workspace, begin, title)


def resume_job(workspace: Workspace, job_id: str) -> dict[str, Any]:
    """Go on with a stopped job from its checkpoint, in this process; as ``run_job``.

    Raises:
        StoreError: when there is no such job, or it has no checkpoint.
    """
    # A job whose process was killed still reads “running”: nobody was left to write how it ended.
    workspace.store.recover_jobs()
    title = workspace.store.get_job(job_id).title
    return _follow(workspace, lambda runner: runner.resume(job_id), title)


def _stopped(workspace: Workspace, kind: str, payload: Mapping[str, Any], session: Session | None) -> Job | None:
    workspace.store.recover_jobs()
    found = workspace.store.jobs(session_id=session.id if session else None, states=STOPPED)
    return next(
        (job for job in found if job.kind == kind and job.payload == plain(payload) and resumable(workspace, job)), None
    )


def _follow(workspace: Workspace, begin: Callable[[Runner], Job], title: str) -> dict[str, Any]:
    """Run the job that ``begin`` queues, show its progress on a terminal, and return its result."""
    store = workspace.store
    with Runner(workspace, mode="inline") as runner, bar(title) as show:
        job = begin(runner)
        seen: tuple[Any, str] = (None, "")
        try:
            while job.state.live:
                job = runner.wait(job.id, timeout_s=0.2)
                written = store.partial_time(job.id)
                if written != seen[0]:
                    seen = (written, training_line(store.partial(job.id) or {}))
                message = f"{job.message} · {seen[1]}" if seen[1] else job.message
                show({"done": job.done, "total": job.total, "message": message})
        except KeyboardInterrupt:
            runner.cancel(job.id)
            job = runner.wait(job.id, timeout_s=10.0)
            if resumable(workspace, job):
                note(f"Stopped. Go on with: espalier resume {job.id}")
            raise Cancelled from None
    if job.state is JobState.CANCELLED:
        raise Cancelled
    if job.state is not JobState.DONE:
        if os.environ.get("ESPALIER_DEBUG") and job.traceback:
            note(job.traceback)
        if resumable(workspace, job):
            note(f"Its checkpoint is kept; go on with: espalier resume {job.id}")
        raise EspalierError(job.error or f"{title} ended as {job.state.value}.")
    result = dict(store.get_job(job.id).result or {})
    for sentence in result.get("notes") or ():
        note(f"Note: {sentence}")
    return result


def training_line(history: Mapping[str, Any]) -> str:
    """Where a training stands, for one line of a terminal: loss, score, sparsity, speed. Empty for other work."""
    if history.get("kind") != "training":
        return ""
    last: Mapping[str, Any] = (history.get("epochs") or [{}])[-1]
    now: Mapping[str, Any] = history.get("step") or last
    words = []
    if isinstance(now.get("loss"), int | float):
        words.append(f"loss {now['loss']:.3g}")
    if isinstance(last.get("select_score"), int | float):
        words.append(f"{history.get('metric', 'score')} {percent(last['select_score'])}")
    if isinstance(last.get("sparsity"), int | float):
        words.append(f"sparsity {percent(last['sparsity'])}")
    if isinstance(now.get("images_per_s"), int | float):
        words.append(f"{now['images_per_s']:,.0f} images/s")
    return " · ".join(words)


def _shape(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise typer.BadParameter("must be channels,height,width, for example 3,224,224", param_hint="--input")
    channels, height, width = (int(part) for part in parts)
    return channels, height, width
