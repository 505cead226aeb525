"""Turns: people alternate, each person's jobs keep their order, one person sees a plain queue."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import StoreError
from core.store import Job, JobState, Store, Workspace
from core.store.fair_queue import Waiting, fair_order

START = datetime(2026, 1, 1, tzinfo=UTC)
people = st.sampled_from(["", "ann", "bea", "cem"])


@given(owners=st.lists(people, max_size=30), served=st.dictionaries(people, st.integers(0, 1000)))
def test_everybody_is_served_in_turns_and_in_order(owners: list[str], served: dict[str, int]) -> None:
    waiting = [Waiting(str(number), number, person) for number, person in enumerate(owners)]
    order = fair_order(waiting, {person: START + timedelta(seconds=s) for person, s in served.items()})
    assert sorted(order, key=int) == [job.id for job in waiting]
    for person in set(owners):
        mine = [job for job in order if owners[int(job)] == person]
        assert mine == sorted(mine, key=int)
        # Before the n-th job of one person nobody else has had more than n.
        for turn, job in enumerate(mine):
            before = order[: order.index(job)]
            for other in set(owners) - {person}:
                assert sum(owners[int(b)] == other for b in before) <= turn + 1


def test_twenty_jobs_of_one_person_delay_another_by_one(workspace: Workspace) -> None:
    store = workspace.store
    first, second = (store.create_session(name, owner=name) for name in ("ann", "bea"))
    many = [create(store, first.id, n) for n in range(20)]
    one = create(store, second.id, 0)
    assert store.queue_position(one.id) == 1
    assert store.queue_position(many[1].id) == 2
    taken = []
    while (job := store.claim_job(["test"], owner="p")) is not None:
        taken.append(job.id)
        assert store.queue_position(job.id) == 0
    assert taken == [many[0].id, one.id, *(job.id for job in many[1:])]
    # Who was served last waits, also behind somebody who came later.
    later, earlier = create(store, first.id, 99), create(store, second.id, 99)
    assert store.jobs(states=[JobState.QUEUED]) == [earlier, later]
    assert [store.queue_position(job.id) for job in (later, earlier)] == [1, 0]


@pytest.mark.row("B47")
def test_the_21st_job_of_a_person_is_refused_whatever_the_session(workspace: Workspace) -> None:
    store = workspace.store
    sessions = [store.create_session(f"{n}", owner="ann").id for n in range(3)]
    for n in range(20):
        create(store, sessions[n % 3], n, most_per_person=20)
    twin = create(store, sessions[0], 0, most_per_person=20)
    assert len(store.jobs()) == 20, "the same work again is the same job, and no job too many"
    assert twin.state is JobState.QUEUED
    with pytest.raises(StoreError, match="20 of your jobs wait or run already, and 20 are allowed per person here"):
        create(store, sessions[1], 77, most_per_person=20)
    other = store.create_session("other", owner="bea")
    assert create(store, other.id, 0, most_per_person=20).state is JobState.QUEUED


def create(store: Store, session_id: str, n: int, *, most_per_person: int | None = None) -> Job:
    return store.create_job("test", {"n": n}, owner="p", session_id=session_id, most_per_person=most_per_person)
