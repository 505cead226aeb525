"""The Runs page: queue, history, and what to do about what did not end well."""

from datetime import UTC, datetime, timedelta

import pytest

from core.jobs.kinds import JOB_KINDS, load_kinds
from core.store import Workspace
from core.store.records import Job, JobState
from dashboard.components.jobs import as_it_stands, stands_still
from dashboard.components.runs_data import KIND_WORDS, advice, continues, duration_s, page_of, split_live, summary_line
from dashboard.components.runs_list import partial_words
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.seeding import seed_job, seed_session, sensitivity_result

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def job(kind: str = "prune", state: JobState = JobState.RUNNING, **fields: object) -> Job:
    body = {"id": "j", "session_id": "s", "kind": kind, "title": "Work", "payload": {}, "state": state, "created": NOW}
    return Job.model_validate(body | fields)


class TestWords:
    @pytest.mark.row("B50")
    def test_time_never_runs_backwards(self):
        assert duration_s(job(started=NOW, finished=NOW - timedelta(hours=1))) == 0.0
        assert duration_s(job(state=JobState.QUEUED)) is None
        assert duration_s(job(started=NOW), now=NOW + timedelta(seconds=90)) == 90.0

    def test_one_line_per_state(self):
        line = summary_line(job(started=NOW, message="Pruning", eta_s=12.0), now=NOW + timedelta(seconds=5))
        assert line == "Pruning · for 5 s · about 12 s left"
        assert summary_line(job(state=JobState.QUEUED), ahead=0) == "next in line"
        assert summary_line(job(state=JobState.QUEUED), ahead=2) == "2 ahead in the queue"

    @pytest.mark.parametrize("state", list(JobState))
    def test_every_state_that_is_not_well_has_advice(self, state: JobState):
        needs_advice = state in (JobState.FAILED, JobState.INTERRUPTED)
        for kind in ("open", "sensitivity", "prune", "measure", "export", "something new"):
            assert bool(advice(job(kind, state))) or not needs_advice

    @pytest.mark.parametrize(("method", "said"), [("one_shot", "Resume"), ("dg2pf", "Run it again")])
    def test_only_a_training_is_said_to_lack_a_checkpoint(self, method: str, said: str):
        assert said in (advice(job("prune", JobState.INTERRUPTED, payload={"plan": {"method": method}})) or "")

    def test_only_sensitivity_goes_on_from_what_it_has(self):
        assert continues(job("sensitivity", JobState.INTERRUPTED))
        assert not continues(job("prune", JobState.INTERRUPTED))

    def test_finished_jobs_lead_to_their_result(self):
        assert page_of(job("prune", JobState.DONE)) == ("compare", "Compare it")
        assert page_of(job("prune", JobState.FAILED)) is None

    def test_running_first_then_the_queue_in_order(self):
        jobs = [
            job(id="q2", state=JobState.QUEUED, created=NOW + timedelta(seconds=2)),
            job(id="r"),
            job(id="q1", state=JobState.QUEUED, created=NOW + timedelta(seconds=1)),
            job(id="d", state=JobState.DONE),
        ]
        live, ended = split_live(jobs)
        assert [item.id for item in live] == ["r", "q1", "q2"]
        assert [item.id for item in ended] == ["d"]

    def test_partial_results_in_one_line(self):
        assert "18 cells in 2 layers" in partial_words("sensitivity", sensitivity_result(layers=["stem.conv", "head"]))
        assert partial_words("prune", {}) == ""
        assert partial_words("measure", {"rows": [{}, {}]}) == "So far: 2 latencies."


class TestPage:
    def test_empty_names_the_next_action(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        assert "Nothing has run yet" in text_of(open_page("runs", session=seeded.session.id))

    def test_queue_and_history(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        partial = sensitivity_result(layers=["stem.conv", "head"])
        seed_job(served, seeded.session, "prune", JobState.DONE, title="Prune: LAMP 60 %", result={"variant_id": "v"})
        seed_job(served, seeded.session, "sensitivity", JobState.RUNNING, title="Sensitivity", partial=partial)
        seed_job(served, seeded.session, "prune", JobState.QUEUED, title="Prune: LAMP 90 %")
        text = text_of(open_page("runs", session=seeded.session.id))
        for words in ("running", "waiting", "done", "18 cells in 2 layers", "about 1 min 14 s left", "next in line"):
            assert words in text

    @pytest.mark.parametrize("page", ["runs", "compare"])
    def test_work_beside_a_measurement_waits(self, served: Workspace, open_page: OpenPage, page: str):
        seeded = seed_session(served)
        measuring = seed_job(served, seeded.session, "measure", JobState.RUNNING, title="Latency")
        working = seed_job(served, seeded.session, "prune", JobState.RUNNING, title="Prune")
        assert "waits while time is measured" in text_of(open_page(page, session=seeded.session.id))
        assert stands_still(working)
        line = summary_line(as_it_stands(working), now=working.started + timedelta(seconds=5))
        assert line == "waits while time is measured · for 5 s"
        assert not stands_still(measuring)
        served.store.finish_job(measuring.id, JobState.DONE)
        assert not stands_still(working)

    def test_a_failed_run_says_what_to_do_and_keeps_its_traceback_in_a_drawer(
        self, served: Workspace, open_page: OpenPage
    ):
        seeded = seed_session(served)
        seed_job(
            served,
            seeded.session,
            "prune",
            JobState.FAILED,
            title="Prune: LAMP 90 %",
            error="The layer “head” has weights that are not finite.",
            traceback="Traceback (most recent call last): …",
        )
        page = open_page("runs", session=seeded.session.id)
        assert any("not finite" in item.value for item in page.error)
        assert any("Technical details" in item.label for item in page.expander)
        assert "Change the plan" in text_of(page)

    def test_cancel(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        waiting = seed_job(served, seeded.session, "prune", JobState.QUEUED, title="Prune")
        page = open_page("runs", session=seeded.session.id)
        page.button(key=f"run-cancel-{waiting.id}").click().run()
        assert served.store.get_job(waiting.id).state is JobState.CANCELLED

    @pytest.mark.parametrize(
        ("state", "label"),
        [(JobState.INTERRUPTED, "Resume"), (JobState.CANCELLED, "Resume"), (JobState.DONE, "Run again")],
    )
    def test_again_submits_the_same_payload(self, served: Workspace, open_page: OpenPage, state: JobState, label: str):
        seeded = seed_session(served)
        payload = {"settings": {"images": 123}}
        old = seed_job(served, seeded.session, "sensitivity", state, title="Sensitivity", payload=payload)
        page = open_page("runs", session=seeded.session.id)
        button = page.button(key=f"run-again-{old.id}")
        assert button.label == label
        button.click().run()
        jobs = served.store.jobs(seeded.session.id)
        assert [item.payload for item in jobs] == [payload, payload]
        assert jobs[0].id != old.id

    @pytest.mark.row("B12")
    def test_hostile_titles_are_text(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        seed_job(served, seeded.session, "prune", JobState.DONE, title="<script>alert(1)</script> [x](javascript:1)")
        page = open_page("runs", session=seeded.session.id)
        assert not any("](javascript" in item.value for item in page.markdown)

    def test_history_is_filtered_and_paged(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        for number in range(18):
            seed_job(served, seeded.session, "prune", JobState.DONE, title=f"Prune {number}")
        seed_job(served, seeded.session, "export", JobState.DONE, title="ONNX: x")
        page = open_page("runs", session=seeded.session.id)
        assert len([b for b in page.button if b.key and b.key.startswith("run-again-")]) == 15
        page.button(key="runs-more").click().run()
        assert len([b for b in page.button if b.key and b.key.startswith("run-again-")]) == 19


def test_every_kind_of_work_has_a_word() -> None:
    load_kinds()
    ours = [kind for kind in JOB_KINDS if JOB_KINDS[kind].__module__.startswith("core.")]
    assert set(ours) == set(KIND_WORDS)
