"""What earlier jobs measured of a model on its data: estimates learn from it, and searches do not measure it again."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import and_, or_, select

from .connection import Rows
from .records import JobState
from .tables import job_partials, jobs, sessions

__all__ = ["TriedRows"]


class TriedRows(Rows):
    """The part of ``Store`` that looks back over the jobs of a model."""

    def earlier_results(
        self, kinds: Collection[str], *, model_id: str, data_id: str | None = None, limit: int = 40
    ) -> list[dict[str, Any]]:
        """Results of the newest jobs of these kinds on a model (and its data), in whatever session, newest first.

        A job that was stopped gives what it published last; one that published nothing is left out. Clearing a
        session's history forgets them.
        """
        query = (
            select(jobs.c.result, job_partials.c.body)
            .join(sessions, jobs.c.session_id == sessions.c.id)
            .outerjoin(job_partials, and_(job_partials.c.job_id == jobs.c.id, jobs.c.result.is_(None)))
            .where(
                jobs.c.kind.in_(kinds),
                sessions.c.model_id == model_id,
                jobs.c.state != JobState.QUEUED.value,
                or_(jobs.c.result.is_not(None), job_partials.c.body.is_not(None)),
            )
            .order_by(jobs.c.number.desc())
            .limit(limit)
        )
        if data_id is not None:
            query = query.where(sessions.c.data_id == data_id)
        with self._read() as connection:
            return [dict(result or body) for result, body in connection.execute(query)]
