"""Jobs of several people: each their own, in turns, and not too many."""

import threading
from collections.abc import Iterator

import pytest

from core.access import Limits
from core.errors import AccessError, StoreError
from core.jobs import Runner
from core.jobs.personal import PersonalRunner
from core.store import JobState

from .conftest import Town


@pytest.fixture
def runner(town: Town) -> Iterator[Runner]:
    with Runner(town.workspace, mode="inline") as started:
        yield started


def of(town: Town, runner: Runner, name: str, *, jobs: int = 20, **policy: str) -> PersonalRunner:
    return PersonalRunner(runner, town.view(name, **policy), limits=Limits(jobs=jobs))


@pytest.mark.row("F11")
def test_the_job_of_another_can_be_seen_but_not_stopped_or_started(town: Town, runner: Runner) -> None:
    ann, bea = (of(town, runner, name) for name in ("Ann", "Bea"))
    job = bea.submit("test_count", {"n": 1000, "pause_s": 0.01}, session_id=town.sessions["Bea"].id)
    for attempt in (ann.cancel, ann.resume):
        with pytest.raises(AccessError, match="is Bea's"):
            attempt(job.id)
    with pytest.raises(AccessError):
        ann.submit("test_count", {"n": 1}, session_id=town.sessions["Bea"].id)
    with pytest.raises(AccessError, match="no session"):
        ann.submit("test_count", {"n": 1})
    assert town.store.get_job(job.id).state.live
    bea.cancel(job.id)
    assert bea.wait(job.id, timeout_s=20).state is JobState.CANCELLED
    assert bea.cancel(job.id).state is JobState.CANCELLED, "twice is as good as once"


@pytest.mark.row("B47")
def test_a_double_click_and_two_tabs_are_one_job_and_the_21st_is_refused(town: Town, runner: Runner) -> None:
    ann, bea = (of(town, runner, name, jobs=21) for name in ("Ann", "Bea"))
    session = town.sessions["Ann"].id
    running = ann.submit("test_count", {"n": 1000, "pause_s": 0.01}, session_id=session)
    found: list[str] = []

    def click(tab: PersonalRunner) -> None:
        found.append(tab.submit("test_count", {"n": 1000, "pause_s": 0.01}, session_id=session).id)

    tabs = [threading.Thread(target=click, args=(of(town, runner, "Ann", jobs=21),)) for _ in range(8)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert found == [running.id] * 8
    last = [ann.submit("test_count", {"n": n}, session_id=session) for n in range(20)][-1]
    assert ann.queue_position(last) >= 18
    with pytest.raises(StoreError, match="cancel some or wait"):
        ann.submit("test_count", {"n": 99}, session_id=session)
    one = bea.submit("test_count", {"n": 5}, session_id=town.sessions["Bea"].id)
    assert bea.queue_position(one) <= 1, "somebody else's twenty jobs delay hers by one"
    ann.cancel(running.id)
    assert bea.wait(one.id, timeout_s=30).state is JobState.DONE
    assert ann.wait(last.id, timeout_s=30).state is JobState.DONE


def test_where_others_are_refused_their_jobs_are_not_there(town: Town, runner: Runner) -> None:
    bea = of(town, runner, "Bea")
    job = bea.submit("test_count", {"n": 2}, session_id=town.sessions["Bea"].id)
    for attempt in (of(town, runner, "Ann", others="refuse").cancel, of(town, runner, "Ann", others="refuse").wait):
        with pytest.raises(StoreError, match="There is no"):
            attempt(job.id)
    assert bea.wait(job.id, timeout_s=20).state is JobState.DONE


def test_a_job_in_ones_own_session_does_not_reach_into_another(town: Town, runner: Runner) -> None:
    store, bea = town.store, town.sessions["Bea"].id
    store.add_model(id="1" * 64, name="m", spec={}, description={}, artifact="a" * 64, weights_artifact="b" * 64)
    store.add_dataset(id="2" * 64, name="d", spec={}, description={})
    made = {"name": "v", "model_id": "1" * 64, "data_id": "2" * 64, "artifact": "a" * 64}
    theirs, own = (store.add_variant(session_id=town.sessions[name].id, **made).id for name in ("Bea", "Ann"))
    ann = of(town, runner, "Ann")
    for payload in (
        {"variant_id": theirs},
        {"variant_ids": [own, theirs]},
        {"deep": [{"variant_ids": (theirs,)}]},
    ):
        with pytest.raises(AccessError, match="is Bea's"):
            ann.submit("test_count", {"n": 1, **payload}, session_id=town.sessions["Ann"].id)
    for payload in ({"variant_ids": [own]}, {"variant_id": own}, {"variant_ids": None}):
        job = ann.submit("test_count", {"n": 1, **payload}, session_id=town.sessions["Ann"].id)
        assert ann.wait(job.id, timeout_s=20).state is JobState.DONE
    assert store.jobs(bea) == []
