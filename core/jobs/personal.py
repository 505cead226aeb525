"""The runner as one person may use it."""

from collections.abc import Mapping
from typing import Any

from ..access import Limits, PersonalStore
from ..store import Job, Workspace
from .runner import Runner

__all__ = ["PersonalRunner"]


class PersonalRunner:
    """Submits, stops and resumes jobs in this person's sessions, within the limits; see ``Runner`` for the methods.

    Raises:
        AccessError: for jobs of other people's sessions.
    """

    def __init__(self, runner: Runner, workspace: Workspace, *, limits: Limits) -> None:
        self._runner = runner
        self._limits = limits
        self.workspace = workspace

    @property
    def warm(self) -> bool:
        """Whether a job would start at once."""
        return self._runner.warm

    def submit(
        self, kind: str, payload: Mapping[str, Any], *, session_id: str | None = None, title: str | None = None
    ) -> Job:
        """Queue a job in a session of this person.

        Raises:
            AccessError: when the session, or a variant that the job would write to, is not theirs.
            StoreError: when they have as many jobs as they may.
        """
        self._store.check_own(session_id)
        for variant_id in _variants_in(payload):
            # Jobs add their measurements to the variants that the payload names.
            self._store.check_own(self._store.get_variant(variant_id).session_id)
        most = self._limits.jobs
        return self._runner.submit(kind, payload, session_id=session_id, title=title, most_per_person=most)

    def cancel(self, job_id: str) -> Job:
        """Stop a job of this person."""
        self._store.check_own(self._store.get_job(job_id).session_id)
        return self._runner.cancel(job_id)

    def resume(self, job_id: str) -> Job:
        """Put a stopped job of this person back into the queue."""
        self._store.check_own(self._store.get_job(job_id).session_id)
        return self._runner.resume(job_id, most_per_person=self._limits.jobs)

    def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """The job once it has ended, or as it stands after ``timeout_s`` seconds."""
        self._store.get_job(job_id)
        return self._runner.wait(job_id, timeout_s)

    def queue_position(self, job: Job) -> int:
        """How many jobs will run before this one, other people's included."""
        return self._runner.queue_position(job)

    @property
    def _store(self) -> PersonalStore:
        store = self.workspace.store
        assert isinstance(store, PersonalStore)
        return store


def _variants_in(payload: Any) -> list[str]:
    """Every variant that a payload names, at any depth."""
    if isinstance(payload, Mapping):
        several = payload.get("variant_ids")
        named = [payload.get("variant_id"), *(several if isinstance(several, list | tuple) else [several])]
        deeper = [found for value in payload.values() for found in _variants_in(value)]
        return [*(name for name in named if isinstance(name, str)), *deeper]
    if isinstance(payload, list | tuple):
        return [found for value in payload for found in _variants_in(value)]
    return []
