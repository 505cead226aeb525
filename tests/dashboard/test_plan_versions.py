"""Versions of a plan, another plan beside it, a variant to start from, and the question about speed."""

import pytest

from core.jobs.lineage import DESCRIPTION
from core.planning.faster import speed_questions
from core.pruning.plan import Plan
from core.store import Workspace
from core.store.records import JobState
from dashboard import stored
from dashboard.components.plan_diff import diff_figure, foresee
from dashboard.components.plan_speed import speed_frame
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.grouped import grouped, seed_groups
from tests.dashboard.seeding import LAYERS, seed_job, seed_session

NAMES = [layer["name"] for layer in LAYERS]


def _draft(workspace: Workspace, session) -> Plan:
    return Plan.parse(workspace.store.get_session(session.id).draft_plan or {})


def _words(page) -> str:
    return text_of(page).replace("\\", "")


class TestVersions:
    def test_keep_change_and_take_up_again(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        served.store.save_draft(seeded.session.id, {"sparsity": 0.7}, revision=seeded.session.revision)
        page = open_page("plan", session=seeded.session.id)
        page.text_input(key="plan-version-name-0").set_value("gentle").run()
        page.button(key="plan-version-keep").click().run()
        (kept,) = served.store.saved_plans(seeded.session.id)
        assert (kept.name, Plan.parse(kept.plan).sparsity) == ("gentle", 0.7)
        assert page.button(key="plan-version-keep").disabled
        assert "kept already" in _words(page)
        next(item for item in page.slider if item.label == "Sparsity, %").set_value(90.0).run()
        assert not page.button(key="plan-version-keep").disabled
        page.button(key="plan-version-load").click().run()
        assert _draft(served, seeded.session).sparsity == 0.7
        page.button(key="plan-undo").click().run()
        assert _draft(served, seeded.session).sparsity == 0.9
        assert not page.exception

    def test_names_are_given_changed_and_deleted_after_a_question(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("plan", session=seeded.session.id)
        page.button(key="plan-version-keep").click().run()
        (kept,) = served.store.saved_plans(seeded.session.id)
        assert kept.name == "LAMP 50 %"
        page.text_input(key=f"plan-version-rename-{kept.id}").set_value("<b>mine</b>").run()
        assert served.store.get_saved_plan(kept.id).name == "<b>mine</b>"
        page.button(key=f"plan-version-delete-{kept.id}-ask").click().run()
        assert served.store.saved_plans(seeded.session.id)
        page.button(key=f"plan-version-delete-{kept.id}-yes").click().run()
        assert served.store.saved_plans(seeded.session.id) == []
        assert not page.exception

    def test_a_version_that_cannot_be_read_says_so(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        served.store.save_plan(seeded.session.id, "from the future", {"version": 99})
        page = open_page("plan", session=seeded.session.id)
        page.button(key="plan-version-load").click().run()
        assert any("update Espalier" in item.value for item in page.error)
        assert not page.exception


class TestDifference:
    def test_the_draft_beside_a_variant(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("plan", session=seeded.session.id)
        page.run()
        menu = page.selectbox(key="plan-diff-with")
        assert [option for option in menu.options if "LAMP 90" in option]
        menu.set_value(next(option for option in menu.options if "LAMP 90" in option)).run()
        words = _words(page)
        assert "Sparsity: 90 % → 50 %." in words
        assert "before" in words
        assert "Smallest file" in words
        assert not page.exception

    def test_bars_stand_for_layers_that_differ_alone(self, served: Workspace):
        seeded = seed_session(served)
        model = served.store.get_model(seeded.model_id)
        plain, other = (
            foresee(plan, model, sheet=None, sizes={"dense_bytes": 4000, "sparse_bytes": 3700})
            for plan in (Plan(allocation="uniform"), Plan(allocation="uniform", overrides={"head": 0.9}))
        )
        picture = diff_figure(NAMES, plain.removed, other.removed)
        assert picture is not None
        assert [trace.name for trace in picture.data] == ["the other plan", "this plan"]
        assert list(picture.layout.yaxis.ticktext) == ["head"]
        assert [round(trace.x[0]) for trace in picture.data] == [50, 90]
        assert diff_figure(NAMES, plain.removed, plain.removed) is None
        assert other.costs is not None
        assert plain.costs is not None
        assert other.costs.nonzero < plain.costs.nonzero
        assert other.costs.macs == plain.costs.macs

    def test_plans_over_groups_and_over_weights_meet_in_their_layers(self, served: Workspace):
        session = seed_groups(served, "resnet")
        model = served.store.get_model(session.model_id or "")
        sheet = grouped("resnet").sheet
        units = foresee(Plan(method="cpd", sparsity=0.4), model, sheet=sheet, sizes={})
        weights = foresee(Plan(sparsity=0.4), model, sheet=sheet, sizes={})
        nothing = foresee(Plan(method="dense_trained"), model, sheet=sheet, sizes={})
        assert set(units.removed) == set(weights.removed) == set(nothing.removed)
        assert units.costs is not None
        assert weights.costs is not None
        assert units.costs.macs < weights.costs.macs
        assert not any(nothing.removed.values())

    def test_an_impossible_plan_has_a_reason_instead(self, served: Workspace):
        seeded = seed_session(served)
        model = served.store.get_model(seeded.model_id)
        assert "nowhere" in (foresee(Plan(overrides={"nowhere": 0.5}), model, sheet=None, sizes={}).problem or "")
        assert "not known" in (foresee(Plan(method="cpd"), model, sheet=None, sizes={}).problem or "")


class TestStart:
    def test_a_variant_is_read_first_then_planned_from(self, served: Workspace, open_page: OpenPage):
        session = seed_groups(served, "resnet", {"sparsity": 0.3})
        variant = next(one for one in served.store.variants(session.id) if one.plan is not None)
        page = open_page("plan", session=session.id)
        menu = next(item for item in page.selectbox if item.label == "Start from")
        seed_job(served, session, "describe", JobState.RUNNING, payload={"variant_id": variant.id})
        menu.set_value(variant.id).run()
        assert _draft(served, session).start == variant.id
        assert "Reading the layers and groups" in _words(page)
        served.store.add_measurement(
            variant_id=variant.id, kind=DESCRIPTION, context={}, result={"model_id": session.model_id}
        )
        page.run()
        assert "Groups that shrink" in _words(page)
        assert "model = prune(model, data, plan).model" in page.code[-1].value
        page.button(key="plan-undo").click().run()
        assert _draft(served, session).start == ""

    def test_a_start_that_is_gone_can_be_left(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        served.store.save_draft(seeded.session.id, {"start": "f" * 16}, revision=seeded.session.revision)
        page = open_page("plan", session=seeded.session.id)
        assert any("not in this session any more" in item.value for item in page.warning)
        assert page.button(key="plan-run-button").disabled
        page.button(key="plan-start-dense").click().run()
        assert _draft(served, seeded.session).start == ""
        assert not page.button(key="plan-run-button").disabled


def _result(sentence: str = "Zeros do not.", **more) -> dict:
    row = {"runtime": "onnxruntime", "ratio": 0.98, "low": 0.93, "high": 1.04, "noise_low": 0.97, "noise_high": 1.02}
    row |= {"rounds": 12, "dense_ms": 1.234, "layers": ["head"], "verdict": "no difference shown"}
    rows = [{**row, "candidate": name} for name in ("channels", "zeros", "pattern")]
    return {"sentence": sentence, "rows": rows, "problems": ["OpenVINO is not installed."], "cpu": "Example CPU",
            "threads": 1, "work_share": 0.4, "busy": False} | more  # fmt: skip


class TestSpeed:
    def payload(self, served: Workspace, seeded, plan: Plan) -> dict:
        model = served.store.get_model(seeded.model_id)
        questions = speed_questions(plan, model.description, weights=stored.weight_statistics(model))
        return {"questions": [question.to_json() for question in questions], "start": ""}

    def test_asking_queues_one_measurement(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("plan", session=seeded.session.id)
        page.button(key="plan-speed-ask").click().run()
        (job,) = [job for job in served.store.jobs(seeded.session.id) if job.kind == "probe"]
        assert job.payload == self.payload(served, seeded, Plan())
        assert len(job.payload["questions"]) == 3

    def test_the_answer_belongs_to_its_plan(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        payload = self.payload(served, seeded, Plan())
        seed_job(served, seeded.session, "probe", JobState.DONE, payload=payload, result=_result())
        page = open_page("plan", session=seeded.session.id)
        words = _words(page)
        for said in ("Zeros do not.", "Example CPU", "1 thread", "40 %", "OpenVINO is not installed."):
            assert said in words
        assert "earlier state" not in words
        next(item for item in page.slider if item.label == "Sparsity, %").set_value(90.0).run()
        assert "earlier state" in _words(page)

    def test_a_busy_machine_is_said(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        payload = self.payload(served, seeded, Plan())
        busy = _result(busy=True, busy_sentence="This machine was busy.")
        seed_job(served, seeded.session, "probe", JobState.DONE, payload=payload, result=busy)
        assert any("was busy" in item.value for item in open_page("plan", session=seeded.session.id).warning)

    @pytest.mark.parametrize("draft", [{"sparsity": 0.0}, {"method": "dense_trained"}, {"overrides": {"head": 0.9999}}])
    def test_nothing_is_asked_where_nothing_can_be_answered(self, served: Workspace, open_page: OpenPage, draft):
        seeded = seed_session(served)
        served.store.save_draft(seeded.session.id, draft, revision=seeded.session.revision)
        page = open_page("plan", session=seeded.session.id)
        assert not [item for item in page.button if item.key == "plan-speed-ask"]

    def test_the_table_knows_runtimes_that_are_gone(self):
        rows = [{**row, "runtime": "abacus"} for row in _result()["rows"]]
        frame = speed_frame(rows)
        assert list(frame["runtime"]) == ["abacus"] * 3
        assert list(frame["method"]) == ["fewer channels", "zeros anywhere", "2:4 zeros"]
