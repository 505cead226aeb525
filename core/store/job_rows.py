"""Jobs: rows that pages read, the runner writes, and both may ask to stop."""

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from ..errors import StoreError
from .connection import Rows, new_id, now
from .fair_queue import Place, Waiting, fair_order
from .owner import is_alive
from .reading import once
from .records import Job, JobState
from .tables import job_partials, jobs, plain, sessions

__all__ = ["MAX_QUEUED", "JobRows"]

MAX_QUEUED = 20

_COLUMNS = [jobs.c[name] for name in Job.model_fields]
_LIVE = (JobState.QUEUED.value, JobState.RUNNING.value)


def _of_session(session_id: str | None) -> ColumnElement[bool]:
    return jobs.c.session_id.is_(None) if session_id is None else jobs.c.session_id == session_id


class JobRows(Rows):
    """The part of ``Store`` that knows jobs."""

    def create_job(
        self,
        kind: str,
        payload: Mapping[str, Any],
        *,
        owner: str,
        session_id: str | None = None,
        title: str = "",
        most_per_person: int | None = None,
    ) -> Job:
        """Queue a job, to be run by the process ``owner`` (see ``core.store.owner``).

        A job of the same session, kind and payload that is still queued or running is returned instead of a second one.

        Raises:
            StoreError: when 20 jobs of this session wait already, when the owner of the session has
                ``most_per_person`` jobs that wait or run, or when the session does not exist.
        """
        body = plain(payload)
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        with self._write() as connection:
            twin = self._twin(connection, session_id, kind, digest)
            if twin is not None:
                return self._job(connection, twin)
            self._check_room(connection, session_id, most_per_person)
            values = {
                "id": new_id(),
                "session_id": session_id,
                "kind": kind,
                "title": title or kind.capitalize(),
                "payload": body,
                "payload_hash": digest,
                "state": JobState.QUEUED.value,
                "owner": owner,
                "created": now(),
            }
            connection.execute(insert(jobs).values(values))
            return self._job(connection, values["id"])

    @once
    def get_job(self, job_id: str) -> Job:
        """The job with this id, or StoreError."""
        with self._read() as connection:
            return self._job(connection, job_id)

    @once
    def jobs(
        self, session_id: str | None = None, states: Collection[JobState] | None = None, limit: int = 100
    ) -> list[Job]:
        """The jobs of one session (or of all), newest first."""
        query = select(*_COLUMNS).order_by(jobs.c.number.desc()).limit(limit)
        if session_id is not None:
            query = query.where(jobs.c.session_id == session_id)
        if states is not None:
            query = query.where(jobs.c.state.in_([JobState(state).value for state in states]))
        with self._read() as connection:
            return [Job.model_validate(dict(row)) for row in connection.execute(query).mappings()]

    def queue_position(self, job_id: str, kinds: Collection[str] | None = None) -> int:
        """How many jobs that wait will run before this one (of these kinds, else of all); 0 when it does not wait."""
        with self._read() as connection:
            order = self._queue(connection, kinds)
        return order.index(job_id) if job_id in order else 0

    def queue(self) -> list[Place]:
        """What runs, and what waits in the order in which it will run, of everybody."""
        person = func.coalesce(sessions.c.owner, "").label("person")
        query = (
            select(jobs.c.id, person, jobs.c.kind, jobs.c.state, jobs.c.eta_s)
            .select_from(jobs.outerjoin(sessions, jobs.c.session_id == sessions.c.id))
            .where(jobs.c.state.in_(_LIVE))
            .order_by(jobs.c.started)
        )
        with self._read() as connection:
            places = [
                Place(row.id, row.person, row.kind, row.state == JobState.RUNNING.value, row.eta_s)
                for row in connection.execute(query)
            ]
            order = self._queue(connection, None)
        waiting = {place.job_id: place for place in places if not place.running}
        return [*(place for place in places if place.running), *(waiting[job] for job in order if job in waiting)]

    def partial(self, job_id: str) -> dict[str, Any] | None:
        """The last partial result that the job published, or None."""
        with self._read() as connection:
            body = connection.execute(select(job_partials.c.body).where(job_partials.c.job_id == job_id)).scalar()
        return dict(body) if body is not None else None

    def training_results(
        self, model_id: str, *, limit: int = 30, owner: str | None = None
    ) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Plan and result of the newest finished pruning jobs on this model, in whatever session (of one owner)."""
        query = (
            select(jobs.c.payload, jobs.c.result)
            .join(sessions, jobs.c.session_id == sessions.c.id)
            .where(jobs.c.kind == "prune", jobs.c.state == JobState.DONE.value, sessions.c.model_id == model_id)
            .order_by(jobs.c.number.desc())
            .limit(limit)
        )
        if owner is not None:
            query = query.where(sessions.c.owner == owner)
        with self._read() as connection:
            return [
                (dict(payload.get("plan") or {}), dict(result or {})) for payload, result in connection.execute(query)
            ]

    def partial_time(self, job_id: str) -> datetime | None:
        """When the partial result was last written, or None: a cheap question for those who have read it before."""
        with self._read() as connection:
            return connection.execute(
                select(job_partials.c.updated).where(job_partials.c.job_id == job_id)
            ).scalar_one_or_none()

    def put_partial(self, job_id: str, partial: Mapping[str, Any]) -> None:
        """Replace the partial result of a job; ignored when the job was deleted."""
        with self._write() as connection:
            values = {"body": dict(partial), "updated": now()}
            changed = connection.execute(update(job_partials).where(job_partials.c.job_id == job_id).values(**values))
            if changed.rowcount == 0 and self._exists(connection, job_id):
                connection.execute(insert(job_partials).values(job_id=job_id, **values))

    def claim_job(self, kinds: Collection[str], *, owner: str) -> Job | None:
        """Take the next queued job of these kinds that belongs to ``owner`` and mark it running, or None.

        People take turns, see ``core.store.fair_queue``.
        """
        with self._write() as connection:
            order = self._queue(connection, kinds, owner=owner)
            if not order:
                return None
            job_id, time = order[0], now()
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(state=JobState.RUNNING.value, started=time, heartbeat=time, message="Starting")
            )
            return self._job(connection, job_id)

    def update_job(self, job_id: str, **progress: Any) -> bool:
        """Write progress (``done``, ``total``, ``message``, ``eta_s``) and a heartbeat of a running job.

        Returns:
            Whether the job should go on: False when a person cancelled it, or it is gone.
        """
        with self._write() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id, jobs.c.state == JobState.RUNNING.value)
                .values(heartbeat=now(), **progress)
            )
            return not self._must_stop(connection, job_id)

    def should_stop(self, job_id: str) -> bool:
        """Whether a person cancelled the job, or it is gone."""
        with self._read() as connection:
            return self._must_stop(connection, job_id)

    def finish_job(
        self,
        job_id: str,
        state: JobState,
        *,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
        traceback: str | None = None,
        message: str | None = None,
    ) -> None:
        """Write how a live job ended; a job that has ended already is left as it is."""
        values: dict[str, Any] = {
            "state": state.value,
            "result": None if result is None else dict(result),
            "error": error,
            "traceback": traceback,
            "finished": now(),
            "eta_s": None,
        }
        if message is not None:
            values["message"] = message
        if state is JobState.DONE:
            values["done"] = jobs.c.total
        with self._write() as connection:
            connection.execute(update(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(_LIVE)).values(**values))

    def request_cancel(self, job_id: str) -> Job:
        """Ask a job to stop: a queued one is cancelled at once, a running one at its next check.

        A job that has ended is left as it is. Raises StoreError for an unknown id.
        """
        with self._write() as connection:
            job = self._job(connection, job_id)
            if job.state is JobState.QUEUED:
                values = {"state": JobState.CANCELLED.value, "finished": now(), "message": "Cancelled while waiting"}
                connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))
            elif job.state is JobState.RUNNING:
                connection.execute(
                    update(jobs).where(jobs.c.id == job_id).values(cancel_requested=True, message="Cancelling")
                )
            return self._job(connection, job_id)

    def requeue_job(self, job_id: str, *, owner: str, most_per_person: int | None = None) -> Job:
        """Put a job that was stopped back into the queue, as the same row; its partial result stays.

        Raises:
            StoreError: when the job is live or done, the same work is live already, or too many jobs wait.
        """
        with self._write() as connection:
            job = self._job(connection, job_id)
            if job.state.live or job.state is JobState.DONE:
                raise StoreError(f"“{job.title}” is {job.state.value}: there is nothing to resume.")
            row = connection.execute(select(jobs.c.payload_hash).where(jobs.c.id == job_id)).scalar_one()
            if self._twin(connection, job.session_id, job.kind, row) is not None:
                raise StoreError(f"The same work as “{job.title}” waits or runs already; wait for it or cancel it.")
            self._check_room(connection, job.session_id, most_per_person)
            values = {"state": JobState.QUEUED.value, "owner": owner, "cancel_requested": False, "message": ""}
            empty = dict.fromkeys(("error", "traceback", "finished", "started", "eta_s", "heartbeat"))
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values, **empty))
            return self._job(connection, job_id)

    def unfinished_jobs(self) -> set[str]:
        """The ids of all jobs that are not done: those that may still go on from a checkpoint."""
        with self._read() as connection:
            return set(connection.scalars(select(jobs.c.id).where(jobs.c.state != JobState.DONE.value)))

    def recover_jobs(self, *, new_owner: str | None = None) -> list[Job]:
        """After a crash: running jobs of dead processes become interrupted.

        Queued ones of dead processes are given to ``new_owner``, so that a restart of the server loses nothing.

        Returns:
            The jobs that were marked interrupted.
        """
        query = select(jobs.c.id, jobs.c.owner, jobs.c.heartbeat, jobs.c.state).where(jobs.c.state.in_(_LIVE))
        interrupted: list[Job] = []
        with self._write() as connection:
            for job_id, owner, heartbeat, state in connection.execute(query).all():
                if owner == new_owner or is_alive(owner, heartbeat=heartbeat):
                    continue
                if state == JobState.QUEUED.value:
                    if new_owner is not None:
                        connection.execute(update(jobs).where(jobs.c.id == job_id).values(owner=new_owner))
                    continue
                values = {
                    "state": JobState.INTERRUPTED.value,
                    "finished": now(),
                    "eta_s": None,
                    "error": "The server was stopped while this job ran; start it again.",
                }
                connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))
                interrupted.append(self._job(connection, job_id))
        return interrupted

    def delete_jobs(self, session_id: str) -> int:
        """Clear the history: delete the ended jobs of a session and return how many."""
        with self._write() as connection:
            ended = jobs.c.session_id == session_id, jobs.c.state.not_in(_LIVE)
            return connection.execute(delete(jobs).where(*ended)).rowcount

    @staticmethod
    def _twin(connection: Connection, session_id: str | None, kind: str, payload_hash: str) -> str | None:
        """A live job of the same session, kind and payload."""
        query = select(jobs.c.id).where(
            _of_session(session_id),
            jobs.c.kind == kind,
            jobs.c.payload_hash == payload_hash,
            jobs.c.state.in_(_LIVE),
            jobs.c.cancel_requested.is_(False),
        )
        return connection.execute(query).scalar()

    @staticmethod
    def _queue(connection: Connection, kinds: Collection[str] | None, *, owner: str | None = None) -> list[str]:
        """The ids of the jobs that wait, in the order in which they will run."""
        person = func.coalesce(sessions.c.owner, "").label("person")
        all_jobs = jobs.outerjoin(sessions, jobs.c.session_id == sessions.c.id)
        fits = [] if kinds is None else [jobs.c.kind.in_(kinds)]
        query = select(jobs.c.id, jobs.c.number, person).select_from(all_jobs)
        query = query.where(jobs.c.state == JobState.QUEUED.value, *fits)
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        waiting = [Waiting(*row) for row in connection.execute(query)]
        starts = select(person, func.max(jobs.c.started).label("last")).select_from(all_jobs).group_by(person)
        starts = starts.where(jobs.c.started.is_not(None), *fits)
        if len({job.person for job in waiting}) < 2:
            return fair_order(waiting, {})
        return fair_order(waiting, {row.person: row.last for row in connection.execute(starts)})

    @staticmethod
    def _check_room(connection: Connection, session_id: str | None, most_per_person: int | None) -> None:
        query = select(func.count()).where(_of_session(session_id), jobs.c.state == JobState.QUEUED.value)
        if (connection.scalar(query) or 0) >= MAX_QUEUED:
            raise StoreError(f"{MAX_QUEUED} jobs of this session wait already; cancel some or wait for them.")
        if most_per_person is None or session_id is None:
            return
        person = select(sessions.c.owner).where(sessions.c.id == session_id).scalar_subquery()
        query = select(func.count()).select_from(jobs.join(sessions, jobs.c.session_id == sessions.c.id))
        mine = connection.scalar(query.where(sessions.c.owner == person, jobs.c.state.in_(_LIVE))) or 0
        if mine >= most_per_person:
            raise StoreError(
                f"{mine} of your jobs wait or run already, and {most_per_person} are allowed per person here; cancel "
                "some or wait for them."
            )

    def _job(self, connection: Connection, job_id: str) -> Job:
        return Job.model_validate(self._row(connection, jobs, job_id, "job"))

    @staticmethod
    def _exists(connection: Connection, job_id: str) -> bool:
        return connection.execute(select(jobs.c.id).where(jobs.c.id == job_id)).scalar() is not None

    @staticmethod
    def _must_stop(connection: Connection, job_id: str) -> bool:
        cancelled = connection.execute(select(jobs.c.cancel_requested).where(jobs.c.id == job_id)).scalar()
        return cancelled is None or bool(cancelled)
