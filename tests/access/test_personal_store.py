"""What a person may write is decided in core: no page, however it was tampered with, can write for somebody else."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.access.personal import LOOKS, OPEN, OWN, OWN_WAY, PersonalStore
from core.errors import AccessError, StoreError
from core.sharing.bundle import bundle_bytes, export_bundle
from core.sharing.exports import exported_file
from core.store import Store

from .conftest import Town

# Written by the runner and its workers only: they fail closed.
RUNNERS_OWN = {
    "create_job",
    "requeue_job",
    "claim_job",
    "update_job",
    "finish_job",
    "put_partial",
    "recover_jobs",
    "delete_unused",
    "give_session",
}


def public_methods() -> list[str]:
    return [name for name, _ in inspect.getmembers(Store, callable) if not name.startswith("_")]


def test_every_method_of_the_store_is_said_to_be_somebodys() -> None:
    known = [*OWN, *LOOKS, *OPEN, *OWN_WAY, *RUNNERS_OWN]
    assert sorted(known) == sorted(set(known))
    assert set(known) == set(public_methods()), "say in core/access/personal.py who may call the new method"


class Rows:
    """One row of each kind in Bea's session, and a call of every method of ``OWN`` that aims at it."""

    def __init__(self, town: Town) -> None:
        store, session = town.store, town.sessions["Bea"].id
        store.add_model(id="1" * 64, name="m", spec={}, description={}, artifact="a" * 64, weights_artifact="b" * 64)
        store.add_dataset(id="2" * 64, name="d", spec={}, description={})
        variant = store.add_variant(
            session_id=session, name="v", model_id="1" * 64, data_id="2" * 64, artifact="a" * 64
        )
        measurement = store.add_measurement(variant_id=variant.id, kind="onnx", context={}, result={})
        job = store.create_job("test_count", {"n": 1}, owner="p", session_id=session)
        plan = store.save_plan(session, "p", {})
        view = store.save_view(session, "v", {})
        share = store.add_share(session, token_hash="3" * 64, title="s", body={})
        self.ids = {
            "session_id": session,
            "variant_id": variant.id,
            "measurement_id": measurement.id,
            "job_id": job.id,
            "plan_id": plan.id,
            "view_id": view.id,
            "share_id": share.id,
        }

    def call(self, store: Store, name: str) -> Any:
        """Call a method with values that fit its names."""
        method: Callable[..., Any] = getattr(store, name)
        values: dict[str, Any] = {
            **self.ids,
            "name": "hacked",
            "title": "hacked",
            "kind": "test_count",
            "plan": {},
            "body": {},
            "payload": {"n": 2},
            "context": {},
            "result": {},
            "revision": 0,
            "by": 1,
            "lineage": [],
            "owner": "p",
            "token_hash": "4" * 64,
            "artifact": "a" * 64,
            "model_id": "1" * 64,
            "data_id": "2" * 64,
        }
        wanted = {
            key: values[key]
            for key, parameter in inspect.signature(method).parameters.items()
            if (parameter.default is parameter.empty or key in self.ids) and parameter.kind is not parameter.VAR_KEYWORD
        }
        return method(**wanted)


def everything(store: Store) -> str:
    from sqlalchemy import select

    from core.store.tables import metadata

    with store.engine.connect() as connection:
        return repr([connection.execute(select(table)).all() for table in metadata.sorted_tables])


@pytest.mark.parametrize("others", ["view", "refuse"])
def test_nobody_writes_into_the_session_of_another(town: Town, others: str) -> None:
    rows = Rows(town)
    before = everything(town.store)
    ann = town.personal("Ann", others=others)
    for name in OWN:
        with pytest.raises(StoreError if others == "refuse" else AccessError) as refused:
            rows.call(ann, name)
        assert others == "refuse" or "is Bea's" in str(refused.value), name
    assert everything(town.store) == before


def test_its_owner_may(town: Town) -> None:
    rows = Rows(town)
    last = ["delete_jobs", "delete_view", "delete_saved_plan", "revoke_share", "rename_session", "delete_session"]
    for name in [name for name in OWN if name not in ("delete_variant", *last)] + last:
        rows.call(town.personal("Bea"), name)
    assert town.personal("Bea").list_sessions() == []


def test_what_is_the_runners_fails_closed(town: Town) -> None:
    rows = Rows(town)
    store = town.personal("Bea")
    before = everything(town.store)
    calls: dict[str, Callable[[], object]] = {
        # Jobs go through PersonalRunner, which also looks at their payload and at the limits.
        "create_job": lambda: store.create_job("test_count", {}, owner="p", session_id=rows.ids["session_id"]),
        "requeue_job": lambda: store.requeue_job(rows.ids["job_id"], owner="p"),
        "claim_job": lambda: store.claim_job(["test_count"], owner="p"),
        "update_job": lambda: store.update_job(rows.ids["job_id"], done=1.0),
        "finish_job": lambda: store.finish_job(rows.ids["job_id"], store.get_job(rows.ids["job_id"]).state),
        "put_partial": lambda: store.put_partial(rows.ids["job_id"], {}),
        "recover_jobs": lambda: store.recover_jobs(new_owner="me"),
        "delete_unused": lambda: store.delete_unused(older_than_s=0.0),
        "give_session": lambda: store.give_session(rows.ids["session_id"], ""),
    }
    assert set(calls) == RUNNERS_OWN
    for call in calls.values():
        with pytest.raises(AccessError):
            call()
    with pytest.raises(AccessError):
        Store.rename_session(store, rows.ids["session_id"], "round the guard")
    assert everything(town.store) == before


def test_who_may_look(town: Town) -> None:
    rows = Rows(town)
    for name in LOOKS:
        rows.call(town.personal("Ann", others="view"), name)
        rows.call(town.personal("Bea", others="refuse"), name)
        with pytest.raises(StoreError):
            rows.call(town.personal("Ann", others="refuse"), name)


def test_who_looks_takes_no_weights_away(town: Town, tmp_path: Path) -> None:
    ids = {name: session.id for name, session in town.sessions.items()}
    made = town.store.get_measurement(Rows(town).ids["measurement_id"])
    for take in (
        lambda: bundle_bytes(town.view("Ann"), ids["Bea"]),
        lambda: export_bundle(town.view("Ann"), ids["Bea"], tmp_path / "bea.zip"),
        lambda: exported_file(town.view("Ann"), made),
    ):
        with pytest.raises(AccessError, match="Bea's: you may look at it, not take its models away"):
            take()
    with pytest.raises(StoreError, match="There is no session"):
        bundle_bytes(town.view("Ann", others="refuse"), ids["Bea"])
    assert list(tmp_path.glob("*.zip")) == []
    for mine in (ids["Ann"], ids["nobody"]):
        town.personal("Ann").check_take(mine)


def test_a_refused_session_reads_like_one_that_is_not_there(town: Town) -> None:
    store = town.personal("Ann", others="refuse")
    answers = []
    for session_id in (town.sessions["Bea"].id, "0" * 16):
        with pytest.raises(StoreError) as refused:
            store.get_session(session_id)
        answers.append(str(refused.value).replace(session_id, "ID"))
    assert answers[0] == answers[1]
    assert store.get_session(town.sessions["nobody"].id).name == "The demo"


def test_lists_show_ones_own(town: Town) -> None:
    Rows(town)
    ann, bea = town.personal("Ann"), town.personal("Bea")
    assert [session.id for session in ann.list_sessions()] == [town.sessions["Ann"].id]
    assert [session.id for session in ann.list_sessions(owner=town.people["Bea"].id)] == [town.sessions["Ann"].id]
    assert [session.id for session in ann.list_sessions(owner="")] == [town.sessions["nobody"].id]
    assert (len(ann.jobs()), len(bea.jobs())) == (0, 1)
    assert (ann.variants_on("2" * 64), len(bea.variants_on("2" * 64))) == ([], 1)


def test_what_one_makes_is_ones_own(town: Town) -> None:
    ann = town.personal("Ann")
    session = ann.create_session("mine", owner=town.people["Bea"].id)
    assert session.owner == town.people["Ann"].id
    assert ann.rename_session(session.id, "still mine").name == "still mine"
    assert ann.owns(session.id)


def test_what_belongs_to_nobody_can_be_looked_at(town: Town) -> None:
    ann, demo = town.personal("Ann"), town.sessions["nobody"].id
    assert ann.get_session(demo).owner == ""
    with pytest.raises(AccessError, match="belongs to nobody"):
        ann.rename_session(demo, "mine now")


def test_shared_rows_stay_as_they_are(town: Town) -> None:
    Rows(town)
    store = town.personal("Ann")
    model = store.add_model(
        id="1" * 64, name="evil", spec={}, description={}, artifact="e" * 64, weights_artifact="e" * 64
    )
    assert (model.name, model.artifact) == ("m", "a" * 64)
    assert store.add_dataset(id="2" * 64, name="evil", spec={}, description={}).name == "d"
    ids = {"model_id": "1" * 64, "data_id": "2" * 64, "settings": {}, "complete": True}
    assert store.put_sensitivity(key="k", result={"first": 1}, **ids).result == {"first": 1}
    assert store.put_sensitivity(key="k", result={"second": 2}, **ids).result == {"first": 1}


def test_closing_the_view_of_a_person_closes_nothing(town: Town) -> None:
    town.workspace.lock.acquire()
    town.view("Ann").close()
    assert town.workspace.lock.held
    assert town.store.list_sessions()


def test_a_personal_store_is_a_store() -> None:
    for name in public_methods():
        ours, theirs = inspect.signature(getattr(PersonalStore, name)), inspect.signature(getattr(Store, name))
        if name not in OWN_WAY:
            assert ours == theirs, name
