"""Real jobs on the sample network of handwritten digits, each waited for to its end."""

from collections.abc import Mapping
from typing import Any

from core.jobs import Runner
from core.store import Job, JobState, Session

__all__ = ["DATA", "MODEL", "opened", "result", "run"]

MODEL = {"source": "sample", "name": "digits_resnet"}
DATA = {"source": "digits", "limit": 120}
PATIENCE_S = 300.0


def run(runner: Runner, kind: str, payload: Mapping[str, Any], session: Session) -> Job:
    """The job as it ended, well or not."""
    return runner.wait(runner.submit(kind, payload, session_id=session.id).id, timeout_s=PATIENCE_S)


def result(runner: Runner, kind: str, payload: Mapping[str, Any], session: Session) -> dict[str, Any]:
    """What the job gave; fails with its error when it did not end well."""
    job = run(runner, kind, payload, session)
    assert job.state is JobState.DONE, f"{job.error}\n{job.traceback}"
    assert job.result is not None
    return job.result


def opened(runner: Runner, *, model: Mapping[str, Any] = MODEL, data: Mapping[str, Any] = DATA) -> Session:
    """A session with a model and data."""
    session = runner.workspace.store.create_session(str(data["source"]))
    result(runner, "open", {"model": model, "data": data}, session)
    return runner.workspace.store.get_session(session.id)
