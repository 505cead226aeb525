"""Whose turn it is: people take turns, and each person's jobs run in the order in which they were asked for."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

__all__ = ["Place", "Waiting", "fair_order"]


class Waiting(NamedTuple):
    """A job that waits. ``number`` grows with its creation; ``person`` is the owner of its session."""

    id: str
    number: int
    person: str


class Place(NamedTuple):
    """A live job in the queue of the server: whose it is and of what kind, and nothing else of it."""

    job_id: str
    person: str
    kind: str
    running: bool
    eta_s: float | None


def fair_order(waiting: Iterable[Waiting], last_start: Mapping[str, datetime]) -> list[str]:
    """The ids of the jobs in the order in which they will run, if nobody asks for anything else meanwhile.

    Round robin: one job of each person per round, so that twenty jobs of one person delay another one's first job by
    one job and not by twenty. Who was served longest ago begins; who was never served comes first, by first request.
    With one person this is first in, first out.

    ``last_start``: when a job of each person was last started.
    """
    lines: dict[str, list[Waiting]] = defaultdict(list)
    for job in sorted(waiting, key=lambda job: job.number):
        lines[job.person].append(job)
    people = sorted(
        lines,
        key=lambda person: (
            person in last_start,
            last_start[person].timestamp() if person in last_start else 0.0,
            lines[person][0].number,
        ),
    )
    rounds = max((len(line) for line in lines.values()), default=0)
    return [lines[person][turn].id for turn in range(rounds) for person in people if turn < len(lines[person])]
