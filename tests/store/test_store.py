"""The contract of the store: what every backend must do. SQLite runs always; others are added as parameters."""

import threading
from collections.abc import Callable
from datetime import UTC
from typing import Any

import numpy as np
import pytest

from core.errors import StoreError
from core.store import JobState, Model, Session, Store, Variant
from core.store.job_rows import MAX_QUEUED
from core.store.owner import this_process

ME = this_process()
DEAD = "nowhere-such-host:1:1"


def add_model(store: Store, letter: str = "a", **changes: Any) -> Model:
    values: dict[str, Any] = {
        "id": letter * 64,
        "name": "net",
        "spec": {"source": "sample", "name": "net"},
        "description": {"layers": [], "share": float("nan"), "shape": (1, 2)},
        "artifact": "b" * 64,
        "weights_artifact": "c" * 64,
    }
    return store.add_model(**{**values, **changes})


def add_data(store: Store, letter: str = "d") -> str:
    return store.add_dataset(id=letter * 64, name="digits", spec={"source": "digits"}, description={}).id


@pytest.fixture
def filled(store: Store) -> tuple[Session, Variant]:
    model, data = add_model(store), add_data(store)
    session = store.create_session("mine")
    store.set_session_model(session.id, model.id)
    store.set_session_data(session.id, data)
    dense = store.add_variant(
        session_id=session.id, name="dense", model_id=model.id, data_id=data, artifact=model.artifact
    )
    return store.get_session(session.id), dense


class TestStore:
    """Every record comes back as it went in, and every rule of the contract holds."""

    def test_sessions_round_trip(self, store: Store) -> None:
        session = store.create_session("  my\nfirst \x00 session ")
        assert session.name == "my first session"
        assert store.get_session(session.id) == session
        assert session.created.tzinfo is UTC
        assert store.rename_session(session.id, "x" * 500).name == "x" * 119 + "…"
        assert store.rename_session(session.id, "").name == "Untitled"
        assert store.rename_session(session.id, "<b>é😀</b>").name == "<b>é😀</b>"

    def test_last_used_session_comes_first(self, store: Store) -> None:
        first, second = store.create_session("1"), store.create_session("2")
        assert [session.id for session in store.list_sessions()] == [second.id, first.id]
        store.save_draft(first.id, {"sparsity": 0.5}, revision=0)
        assert [session.id for session in store.list_sessions()] == [first.id, second.id]

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.get_session("0" * 16),
            lambda store: store.rename_session("0" * 16, "x"),
            lambda store: store.delete_session("0" * 16),
            lambda store: store.save_draft("0" * 16, {}, revision=0),
            lambda store: store.set_session_model("0" * 16, None),
            lambda store: store.get_model("x"),
            lambda store: store.get_dataset("x"),
            lambda store: store.get_variant("x"),
            lambda store: store.variants("x") or store.rename_variant("x", "y"),
            lambda store: store.delete_variant("x"),
            lambda store: store.get_measurement("x"),
            lambda store: store.get_sensitivity("x"),
            lambda store: store.get_job("../../etc"),
            lambda store: store.request_cancel("x"),
            lambda store: store.create_job("open", {}, owner=ME, session_id="x"),
            lambda store: store.save_plan("x", "plan", {}),
            lambda store: store.get_saved_plan("x"),
            lambda store: store.rename_saved_plan("x", "plan"),
            lambda store: store.delete_saved_plan("x"),
            lambda store: store.save_view("x", "view", {}),
            lambda store: store.rename_view("x", "view"),
            lambda store: store.move_view("x", 1),
            lambda store: store.delete_view("x"),
            lambda store: store.add_share("x", token_hash="0" * 64, title="", body={}),
            lambda store: store.get_share("x"),
            lambda store: store.revoke_share("x"),
            lambda store: store.add_measurement(variant_id="x", kind="latency", context={}, result={}),
        ],
    )
    def test_unknown_ids_are_refused_in_words(self, store: Store, call: Callable[[Store], Any]) -> None:
        with pytest.raises(StoreError) as error:
            call(store)
        assert str(error.value).endswith(".")
        assert "sqlalchemy" not in str(error.value).lower()

    @pytest.mark.row("B46")
    def test_a_stale_draft_is_refused_and_the_newer_one_stays(self, store: Store) -> None:
        session = store.create_session()
        assert store.save_draft(session.id, {"sparsity": 0.5}, revision=0).revision == 1
        with pytest.raises(StoreError, match="changed elsewhere"):
            store.save_draft(session.id, {"sparsity": 0.9}, revision=0)
        kept = store.get_session(session.id)
        assert kept.draft_plan == {"sparsity": 0.5}
        assert store.save_draft(session.id, {"sparsity": 0.9}, revision=kept.revision).revision == 2

    def test_a_huge_draft_is_refused(self, store: Store) -> None:
        session = store.create_session()
        with pytest.raises(StoreError, match="1 MB"):
            store.save_draft(session.id, {"overrides": "x" * 2_000_000}, revision=0)

    def test_json_columns_take_what_numerics_produce(self, store: Store) -> None:
        model = add_model(store, description={"a": np.float32(0.5), "b": np.arange(3), "c": float("inf"), 4: (1,)})
        assert model.description == {"a": 0.5, "b": [0, 1, 2], "c": None, "4": [1]}

    def test_the_same_content_is_stored_once_and_refreshed(self, store: Store) -> None:
        first = add_model(store)
        again = add_model(store, name="better name")
        assert (again.id, again.name, again.created) == (first.id, "better name", first.created)

    def test_variants_come_in_order_and_names_stay_different(
        self, store: Store, filled: tuple[Session, Variant]
    ) -> None:
        session, dense = filled
        values = {"model_id": dense.model_id, "data_id": dense.data_id, "artifact": dense.artifact}
        for _ in range(3):
            store.add_variant(session_id=session.id, name="LAMP", parent_id=dense.id, plan={"sparsity": 0.5}, **values)
        assert [item.name for item in store.variants(session.id)] == ["dense", "LAMP", "LAMP (2)", "LAMP (3)"]
        assert store.get_variant(dense.id) == dense

    def test_what_others_are_compared_against_cannot_be_deleted(
        self, store: Store, filled: tuple[Session, Variant]
    ) -> None:
        session, dense = filled
        child = store.add_variant(
            session_id=session.id,
            name="child",
            model_id=dense.model_id,
            data_id=dense.data_id,
            artifact=dense.artifact,
            parent_id=dense.id,
        )
        with pytest.raises(StoreError, match="child"):
            store.delete_variant(dense.id)
        store.delete_variant(child.id)
        store.delete_variant(dense.id)
        assert store.variants(session.id) == []

    def test_measurements(self, store: Store, filled: tuple[Session, Variant]) -> None:
        _, dense = filled
        first = store.add_measurement(variant_id=dense.id, kind="latency", context={"t": 1}, result={"ms": 1.5})
        store.add_measurement(variant_id=dense.id, kind="onnx", context={}, result={})
        assert store.measurements(dense.id, "latency") == [first] == [store.get_measurement(first.id)]
        assert len(store.measurements(dense.id)) == 2

    def test_a_sensitivity_is_replaced_by_key(self, store: Store, filled: tuple[Session, Variant]) -> None:
        session, _ = filled
        assert session.model_id is not None
        assert session.data_id is not None
        parts: dict[str, Any] = {"key": "e" * 64, "model_id": session.model_id, "data_id": session.data_id}
        half = store.put_sensitivity(**parts, settings={}, result={"layers": {}}, complete=False)
        full = store.put_sensitivity(**parts, settings={}, result={"layers": {"a": []}}, complete=True)
        assert half.id == full.id
        assert store.get_sensitivity("e" * 64).complete
        assert store.sensitivities(session.model_id, session.data_id) == [full]
        assert store.find_sensitivity("nothing") is None

    def test_plans_are_kept_under_names_that_stay_different(self, store: Store) -> None:
        session = store.create_session()
        plan = {"sparsity": 0.5, "notes": "é"}
        first = store.save_plan(session.id, " half\n", plan)
        assert store.save_plan(session.id, "half", {}).name == "half (2)"
        assert (first.name, first.plan) == ("half", plan)
        assert store.get_saved_plan(first.id) == first
        assert store.rename_saved_plan(first.id, "  ").name == "half"
        assert store.rename_saved_plan(first.id, "better").name == "better"
        assert [kept.name for kept in store.saved_plans(session.id)] == ["better", "half (2)"]
        store.delete_saved_plan(first.id)
        assert [kept.name for kept in store.saved_plans(session.id)] == ["half (2)"]
        with pytest.raises(StoreError, match="1 MB"):
            store.save_plan(session.id, "huge", {"overrides": "x" * 2_000_000})

    def test_the_number_of_kept_plans_is_bounded(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("core.store.kept_rows.MAX_KEPT", 2)
        session, other = store.create_session(), store.create_session()
        for _ in range(2):
            store.save_plan(session.id, "", {})
        with pytest.raises(StoreError, match="at most 2"):
            store.save_plan(session.id, "third", {})
        store.save_plan(other.id, "first", {})

    def test_views_keep_their_order(self, store: Store) -> None:
        session, other = store.create_session(), store.create_session()
        views = [store.save_view(session.id, name, {"page": name}) for name in "abc"]
        store.save_view(other.id, "x", {})

        def names() -> list[str]:
            return [view.name for view in store.views(session.id)]

        store.move_view(views[2].id, -1)
        assert names() == ["a", "c", "b"]
        store.move_view(views[0].id, -5)
        assert names() == ["a", "c", "b"]
        store.move_view(views[0].id, 9)
        assert names() == ["c", "b", "a"]
        store.delete_view(views[1].id)
        store.save_view(session.id, "d", {})
        assert names() == ["c", "a", "d"]
        assert store.rename_view(views[2].id, "last").name == "last"
        assert store.views(session.id)[0].body == {"page": "c"}

    def test_shares_are_found_by_the_hash_of_their_token(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        session = store.create_session()
        share = store.add_share(
            session.id, token_hash="a" * 64, title="One\nreport", body={"variants": []}, allow_onnx=True
        )
        assert (share.title, share.allow_onnx, share.revoked) == ("One report", True, None)
        assert store.find_share("a" * 64) == share
        assert store.find_share("b" * 64) is None
        with pytest.raises(StoreError):
            store.add_share(session.id, token_hash="a" * 64, title="same token", body={})
        revoked = store.revoke_share(share.id)
        assert revoked.revoked is not None
        assert store.revoke_share(share.id) == revoked
        assert store.shares(session.id) == [revoked]
        monkeypatch.setattr("core.store.share_rows.MAX_SHARES", 1)
        store.add_share(session.id, token_hash="c" * 64, title="", body={})
        with pytest.raises(StoreError, match="at most 1"):
            store.add_share(session.id, token_hash="d" * 64, title="", body={})
        store.delete_session(session.id)
        assert store.find_share("c" * 64) is None

    def test_deleting_a_session_deletes_what_is_its_own(self, store: Store, filled: tuple[Session, Variant]) -> None:
        session, dense = filled
        job = store.create_job("open", {}, owner=ME, session_id=session.id)
        store.put_partial(job.id, {"a": 1})
        measurement = store.add_measurement(variant_id=dense.id, kind="onnx", context={}, result={})
        kept = store.save_plan(session.id, "plan", {})
        view = store.save_view(session.id, "view", {})
        store.delete_session(session.id)
        for gone in (
            lambda: store.get_variant(dense.id),
            lambda: store.get_job(job.id),
            lambda: store.get_measurement(measurement.id),
            lambda: store.get_saved_plan(kept.id),
            lambda: store.delete_view(view.id),
        ):
            with pytest.raises(StoreError):
                gone()
        assert store.partial(job.id) is None
        assert store.get_model(dense.model_id)

    def test_a_job_runs_through_its_states(self, store: Store) -> None:
        job = store.create_job("open", {"a": (1, 2)}, owner=ME, title="Open")
        assert (job.state, job.payload, job.result) == (JobState.QUEUED, {"a": [1, 2]}, None)
        claimed = store.claim_job(["open"], owner=ME)
        assert claimed is not None
        assert claimed.id == job.id
        assert claimed.state is JobState.RUNNING
        assert store.claim_job(["open"], owner=ME) is None
        assert store.update_job(job.id, done=1.0, total=4.0, message="half", eta_s=2.0)
        running = store.get_job(job.id)
        assert (running.done, running.total, running.message, running.eta_s) == (1.0, 4.0, "half", 2.0)
        store.finish_job(job.id, JobState.DONE, result={"x": 1})
        done = store.get_job(job.id)
        assert (done.state, done.done, done.result, done.eta_s) == (JobState.DONE, 4.0, {"x": 1}, None)
        # What has ended stays as it ended.
        store.finish_job(job.id, JobState.FAILED, error="late")
        assert store.request_cancel(job.id).state is JobState.DONE

    def test_jobs_of_others_and_other_kinds_are_not_claimed(self, store: Store) -> None:
        store.create_job("open", {}, owner=DEAD)
        store.create_job("export", {}, owner=ME)
        assert store.claim_job(["open"], owner=ME) is None

    def test_the_oldest_job_is_claimed_first(self, store: Store) -> None:
        jobs = [store.create_job("open", {"n": n}, owner=ME) for n in range(3)]
        assert store.queue_position(jobs[2].id) == 2
        assert [job.id for job in store.jobs(limit=2)] == [jobs[2].id, jobs[1].id]
        claimed = [store.claim_job(["open"], owner=ME) for _ in range(3)]
        assert [job.id for job in claimed if job] == [job.id for job in jobs]

    @pytest.mark.row("B47")
    def test_a_second_submission_returns_the_live_job(self, store: Store, filled: tuple[Session, Variant]) -> None:
        session, _ = filled
        first = store.create_job("prune", {"plan": {"b": 1, "a": 2}}, owner=ME, session_id=session.id)
        twin = store.create_job("prune", {"plan": {"a": 2, "b": 1}}, owner=ME, session_id=session.id)
        other = store.create_job("prune", {"plan": {"a": 3}}, owner=ME, session_id=session.id)
        elsewhere = store.create_job("prune", {"plan": {"b": 1, "a": 2}}, owner=ME)
        assert twin.id == first.id
        assert len({first.id, other.id, elsewhere.id}) == 3
        store.request_cancel(first.id)
        assert store.create_job("prune", first.payload, owner=ME, session_id=session.id).id != first.id

    @pytest.mark.row("B47")
    def test_the_queue_of_a_session_is_bounded(self, store: Store) -> None:
        for n in range(MAX_QUEUED):
            store.create_job("prune", {"n": n}, owner=ME)
        with pytest.raises(StoreError, match="20 jobs"):
            store.create_job("prune", {"n": "more"}, owner=ME)

    def test_cancel(self, store: Store) -> None:
        waiting = store.create_job("open", {"n": 1}, owner=ME)
        assert store.request_cancel(waiting.id).state is JobState.CANCELLED
        running = store.create_job("open", {"n": 2}, owner=ME)
        store.claim_job(["open"], owner=ME)
        assert not store.should_stop(running.id)
        assert store.request_cancel(running.id).state is JobState.RUNNING
        assert store.should_stop(running.id)
        assert store.update_job(running.id, done=1.0) is False
        assert store.should_stop("gone")

    def test_partials_are_apart_and_replaced(self, store: Store) -> None:
        job = store.create_job("sensitivity", {}, owner=ME)
        assert store.partial(job.id) is None
        store.put_partial(job.id, {"layers": {"a": [1.0, float("nan")]}})
        store.put_partial(job.id, {"layers": {"a": [2.0]}})
        assert store.partial(job.id) == {"layers": {"a": [2.0]}}
        store.put_partial("gone", {"a": 1})

    def test_jobs_of_a_dead_process_become_interrupted(self, store: Store) -> None:
        running = store.create_job("open", {"n": 1}, owner=DEAD)
        store.claim_job(["open"], owner=DEAD)
        queued = store.create_job("open", {"n": 2}, owner=DEAD)
        mine = store.create_job("open", {"n": 3}, owner=ME)
        store.claim_job(["open"], owner=ME)
        # A dead process on this machine: its pid is not taken, or was taken at another time.
        host = ME.rsplit(":", 2)[0]
        reused = store.create_job("prune", {}, owner=f"{host}:1:1")
        store.claim_job(["prune"], owner=f"{host}:1:1")
        with store.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE jobs SET heartbeat = '2020-01-01 00:00:00'")
        interrupted = store.recover_jobs(new_owner=ME)
        assert {job.id for job in interrupted} == {running.id, reused.id}
        assert store.get_job(running.id).state is JobState.INTERRUPTED
        assert store.get_job(mine.id).state is JobState.RUNNING
        claimed = store.claim_job(["open"], owner=ME)
        assert claimed is not None
        assert claimed.id == queued.id

    def test_many_threads_lose_no_write(self, store: Store) -> None:
        session = store.create_session()
        errors: list[BaseException] = []

        def write() -> None:
            done = 0
            while done < 10:
                revision = store.get_session(session.id).revision
                try:
                    store.save_draft(session.id, {"n": revision}, revision=revision)
                    done += 1
                except StoreError as error:
                    if "changed elsewhere" not in str(error):
                        errors.append(error)
                        return

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert store.get_session(session.id).revision == 40
