"""The Plan page: the draft and its history, edits by slider, cell and bulk, the estimate, and the run."""

import itertools
import json

import pandas as pd
import pytest

from core.errors import PlanError
from core.methods.naming import default_name
from core.planning.bytes import sparse_file
from core.pruning.plan import Plan
from core.store import Workspace
from core.store.records import JobState
from dashboard.components.plan_charts import layer_bars
from dashboard.components.plan_choices import FIXED, PATTERN, PROTECTED, edited_plan, match_items
from dashboard.components.plan_draft import EditHistory, normalised, with_bulk, with_override
from dashboard.components.plan_files import parse_plan_file
from dashboard.components.plan_layers import layer_frame, layer_items
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.seeding import LAYERS, seed_job, seed_sensitivity, seed_session, weights_of_network

NAMES = [layer["name"] for layer in LAYERS]


class TestDraft:
    def test_undo_and_redo_are_inverse(self):
        history, plans = EditHistory(), [Plan(sparsity=s) for s in (0.5, 0.6, 0.7)]
        now = plans[0]
        for later in plans[1:]:
            history.edited(now)
            now = later
        now = history.undo(now)
        assert now == plans[1]
        now = history.redo(now)
        assert now == plans[2]
        now = history.undo(history.undo(now))
        assert now == plans[0]
        history.edited(now)
        assert not history.future

    def test_equal_plans_compare_equal_in_whatever_order_they_were_edited(self):
        one = with_override(with_override(Plan(), "a", 0.1), "b", 0.2)
        other = with_override(with_override(Plan(), "b", 0.2), "a", 0.1)
        assert one == other == normalised(one)

    def test_fixing_a_layer_ends_its_protection_and_the_reverse(self):
        plan = with_bulk(Plan(), ["a", "b"], "protect")
        assert with_override(plan, "a", 0.3).protected == ("b",)
        again = with_bulk(with_override(plan, "a", 0.3), ["a"], "protect")
        assert again.overrides == {}
        assert again.protected == ("a", "b")
        assert with_bulk(again, ["a", "b"], "free") == Plan()
        patterned = with_bulk(plan, ["a"], "pattern", pattern="2:4")
        assert (patterned.patterns, patterned.protected) == ({"a": "2:4"}, ("b",))
        assert with_override(patterned, "a", 0.3).patterns == {}


class TestTable:
    def test_what_nobody_touched_is_unchanged(self):
        plan = Plan(overrides={"head": 0.123456}, protected=("stem.conv",))
        frame = layer_frame(LAYERS, plan, {})
        assert edited_plan(plan, frame, frame.copy(), with_bulk) == plan

    def test_cells_become_overrides_and_protection(self):
        before = layer_frame(LAYERS, Plan(), dict.fromkeys(NAMES, 0.5))
        frame = before.copy()
        frame.loc[frame["layer"] == "head", FIXED] = 37.5
        frame.loc[frame["layer"] == "stem.conv", PROTECTED] = True
        frame.loc[frame["layer"] == "stage2.0.conv1", PATTERN] = "2:4"
        plan = edited_plan(Plan(), before, frame, with_bulk)
        assert plan.overrides == {"head": 0.375}
        assert plan.protected == ("stem.conv",)
        assert plan.patterns == {"stage2.0.conv1": "2:4"}
        back = layer_frame(LAYERS, plan, {})
        cleared = back.copy()
        cleared.loc[:, FIXED] = pd.NA
        cleared.loc[:, PROTECTED] = False
        cleared.loc[:, PATTERN] = None
        assert edited_plan(plan, back, cleared, with_bulk) == Plan()

    @pytest.mark.parametrize("value", [100.0, -1.0, 250.0])
    def test_a_percentage_out_of_range_names_its_layer(self, value: float):
        before = layer_frame(LAYERS, Plan(), {})
        frame = before.copy()
        frame.loc[frame["layer"] == "head", FIXED] = value
        with pytest.raises(PlanError, match="head"):
            edited_plan(Plan(), before, frame, with_bulk)

    def test_layers_outside_the_table_keep_what_they_had(self):
        plan = Plan(overrides={"elsewhere": 0.4}, protected=("gone",))
        frame = layer_frame(LAYERS, plan, {})
        assert edited_plan(plan, frame, frame.copy(), with_bulk) == plan

    def test_bulk_filters(self):
        def matching(**filters) -> list[str]:
            return [item.name for item in match_items(layer_items(LAYERS), **filters)]

        assert matching(kinds=["Linear"]) == ["head"]
        assert matching(stages=["stage3"]) == ["stage3.0.conv1", "stage3.0.conv2"]
        assert matching(pattern=r"conv1$", stages=["stage2"]) == ["stage2.0.conv1", "stage2.1.conv1"]
        with pytest.raises(PlanError, match="regular expression"):
            matching(pattern="conv(")


class TestEstimate:
    def test_bytes_are_those_of_the_dense_file_at_sparsity_0_and_fall(self):
        sizes = {"dense_bytes": 4000, "sparse_bytes": 3700}
        estimates = [sparse_file(kept, 1000, sizes) for kept in (1000, 500, 100, 0)]
        assert estimates[0] == 3700
        assert all(later < earlier for earlier, later in itertools.pairwise(estimates))
        assert sparse_file(500, 1000, {}) is None

    def test_bars_show_what_stays_and_what_goes(self):
        plan = Plan(protected=("stem.conv",), overrides={"head": 0.5}, patterns={"stage1.0.conv1": "2:4"})
        planned = dict.fromkeys(NAMES, 0.8) | {"stem.conv": 0.0, "head": 0.5}
        shown = layer_bars(LAYERS, plan, planned, by_size=False)
        assert {trace.name for trace in shown.data} == {
            "stays · allocated",
            "stays · fixed by you",
            "stays · N:M pattern",
            "stays · protected",
            "removed",
        }
        assert sum(sum(trace.x) for trace in shown.data) == pytest.approx(100 * len(NAMES))


class TestFiles:
    def test_a_plan_survives_the_round_trip(self):
        plan = Plan(sparsity=0.8123, overrides={"head": 0.1}, protected=("stem.conv",), name="mine")
        assert parse_plan_file(json.dumps(plan.to_json()).encode()) == plan
        assert parse_plan_file(json.dumps({"plan": plan.to_json(), "name": "x"}).encode("utf-8-sig")) == plan

    @pytest.mark.row("B33")
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"", "empty"),
            (b"\x00\xff\xfe", "not JSON"),
            (b"[1, 2]", "no plan"),
            (b'{"sparsity": 1.0}', "sparsity"),
            (b'{"sparsity": -0.1}', "sparsity"),
            (b'{"sparsity": "0,5"}', "sparsity"),
            (b'{"sparsity": NaN}', "sparsity"),
            (b'{"version": 99}', "version"),
            (b'{"method": "magic"}', "magic"),
            (b'{"method_settings": {"epochs": 3}}', "epochs"),
            (b" " * 10 + b"1" * 1_100_000, "1 MB"),
            (b"[" * 100_000, "not JSON"),
        ],
    )
    def test_bad_files_are_refused_in_words(self, body: bytes, words: str):
        with pytest.raises(PlanError, match=words):
            parse_plan_file(body)


class TestPage:
    def test_looking_at_a_plan_is_no_edit(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("plan", session=seeded.session.id)
        page.run()
        assert served.store.get_session(seeded.session.id).revision == seeded.session.revision
        assert page.button(key="plan-undo").disabled
        assert page.button(key="plan-reset").disabled

    def test_without_measurement_the_estimate_says_weights_only(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        text = text_of(open_page("plan", session=seeded.session.id))
        assert "Weight energy removed" in text
        assert "zeros do not make dense kernels faster" in text

    def test_with_measurement_the_score_is_estimated_with_an_interval(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        seed_sensitivity(served)
        text = text_of(open_page("plan", session=seeded.session.id))
        assert "Expected accuracy" in text
        assert "estimated, n = " in text
        assert "80 % band" in text

    def test_slider_and_field_follow_each_other_and_the_draft(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("plan", session=seeded.session.id)
        _slider(page).set_value(80.0).run()
        assert _field(page).value == 80.0
        assert served.store.get_session(seeded.session.id).draft_plan["sparsity"] == 0.8
        _field(page).set_value(83.5).run()
        assert _slider(page).value == 83.5
        page.button(key="plan-undo").click().run()
        assert served.store.get_session(seeded.session.id).draft_plan["sparsity"] == 0.8
        assert _slider(page).value == 80.0
        page.button(key="plan-redo").click().run()
        assert served.store.get_session(seeded.session.id).draft_plan["sparsity"] == 0.835
        page.button(key="plan-reset").click().run()
        assert served.store.get_session(seeded.session.id).draft_plan["sparsity"] == 0.5
        assert not page.exception

    def test_a_cell_edit_is_saved_and_shown(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("plan", session=seeded.session.id)
        page.session_state["plan-layers-0-0-0"] = {
            "edited_rows": {0: {PROTECTED: True}, 11: {FIXED: 25.0}},
            "added_rows": [],
            "deleted_rows": [],
        }
        page.run()
        draft = served.store.get_session(seeded.session.id).draft_plan
        assert draft["protected"] == ["stem.conv"]
        assert draft["overrides"] == {"head": 0.25}

    def test_bulk_edit(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("plan", session=seeded.session.id)
        page.multiselect(key="plan-bulk-stages").set_value(["stage3"]).run()
        page.segmented_control(key="plan-bulk-action").set_value("protect").run()
        page.button(key="plan-bulk-apply").click().run()
        draft = served.store.get_session(seeded.session.id).draft_plan
        assert draft["protected"] == ["stage3.0.conv1", "stage3.0.conv2"]

    def test_patterns_in_bulk_leave_layers_alone_that_cannot(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("plan", session=seeded.session.id)
        page.segmented_control(key="plan-bulk-action").set_value("pattern").run()
        assert "2 of them cannot" in text_of(page)  # the first layer and the depthwise one read one channel
        page.button(key="plan-bulk-apply").click().run()
        draft = Plan.parse(served.store.get_session(seeded.session.id).draft_plan)
        assert set(draft.patterns) == set(NAMES) - {"stem.conv", "stage1.1.depthwise"}
        assert not page.exception
        assert "have tensor cores for exactly 2:4" in text_of(page).replace("\\", "")

    def test_a_pattern_that_a_layer_cannot_have_is_refused_in_its_cell(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("plan", session=seeded.session.id)
        page.session_state["plan-layers-0-0-0"] = {
            "edited_rows": {0: {PATTERN: "2:4"}},
            "added_rows": [],
            "deleted_rows": [],
        }
        page.run()
        refusals = [item.value.replace("\\", "").replace("\u2060", "") for item in page.error]
        assert any("cannot be pruned 2:4" in refusal for refusal in refusals)
        assert served.store.get_session(seeded.session.id).revision == seeded.session.revision

    def test_the_list_of_protected_layers_can_be_edited(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        draft = {"protected": ["stem.conv"], "overrides": {"head": 0.3}}
        served.store.save_draft(seeded.session.id, draft, revision=seeded.session.revision)
        page = open_page("plan", session=seeded.session.id)
        held = next(item for item in page.multiselect if item.label == "Protected layers")
        assert held.value == ["stem.conv"]
        held.set_value(["head"]).run()
        plan = Plan.parse(served.store.get_session(seeded.session.id).draft_plan)
        assert plan.protected == ("head",)
        assert plan.overrides == {}
        page.button(key="plan-undo").click().run()
        assert next(item for item in page.multiselect if item.label == "Protected layers").value == ["stem.conv"]

    @pytest.mark.row("B33")
    def test_an_impossible_target_names_the_nearest_and_cannot_run(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        overrides = {"head": 0.9999}
        served.store.save_draft(seeded.session.id, {"overrides": overrides}, revision=seeded.session.revision)
        page = open_page("plan", session=seeded.session.id)
        assert any("most that is possible" in item.value for item in page.error)
        assert page.button(key="plan-run-button").disabled

    @pytest.mark.row("B47")
    def test_run_submits_the_plan_once(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("plan", session=seeded.session.id)
        _slider(page).set_value(80.0).run()
        page.button(key="plan-run-button").click().run()
        jobs = [job for job in served.store.jobs(seeded.session.id) if job.kind == "prune"]
        assert len(jobs) == 1
        assert jobs[0].payload["name"] == "LAMP 80 %"
        assert Plan.parse(jobs[0].payload["plan"]).sparsity == 0.8

    def test_a_method_that_removes_units_promises_nothing_and_runs(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        plan = Plan(method="one_shot_structured", sparsity=0.5)
        served.store.save_draft(seeded.session.id, plan.to_json(), revision=seeded.session.revision)
        page = open_page("plan", session=seeded.session.id)
        assert "go for good" in text_of(page)
        assert "zeros do not make dense kernels faster" not in text_of(page)
        page.button(key="plan-run-button").click().run()
        assert not page.exception
        (job,) = [job for job in served.store.jobs(seeded.session.id) if job.kind == "prune"]
        assert Plan.parse(job.payload["plan"]) == plan

    @pytest.mark.row("B34")
    def test_without_data_the_button_says_why(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        served.store.set_session_data(seeded.session.id, None)
        page = open_page("plan", session=seeded.session.id)
        assert page.button(key="plan-run-button").disabled
        assert "Open data on the Start page" in text_of(page)

    @pytest.mark.row("B46")
    def test_a_change_in_another_tab_is_not_overwritten(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("plan", session=seeded.session.id)
        served.store.save_draft(seeded.session.id, {"sparsity": 0.3}, revision=seeded.session.revision)
        _slider(page).set_value(90.0).run()
        assert served.store.get_session(seeded.session.id).draft_plan["sparsity"] == 0.3
        assert "changed elsewhere" in text_of(page)
        assert page.button(key="plan-run-button").disabled
        page.button(key="plan-reload").click().run()
        assert _slider(page).value == 30.0
        assert "changed elsewhere" not in text_of(page)

    @pytest.mark.row("B34")
    def test_layers_of_another_model_are_dropped_on_request(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        draft = {"overrides": {"features.0": 0.5, "head": 0.2}}
        served.store.save_draft(seeded.session.id, draft, revision=seeded.session.revision)
        page = open_page("plan", session=seeded.session.id)
        assert any("does not have" in item.value for item in page.warning)
        page.button(key="plan-drop-unknown").click().run()
        assert served.store.get_session(seeded.session.id).draft_plan["overrides"] == {"head": 0.2}

    def test_the_last_run_is_told(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        served.store.save_draft(seeded.session.id, {"sparsity": 0.8}, revision=seeded.session.revision)
        ran = {"plan": Plan(sparsity=0.8).to_json()}
        seed_job(served, seeded.session, "prune", JobState.DONE, title="Prune: LAMP 80 %", payload=ran)
        page = open_page("plan", session=seeded.session.id)
        assert any("is done" in item.value for item in page.success)
        _slider(page).set_value(70.0).run()
        assert not any("is done" in item.value for item in page.success), "another plan has not run"

    @pytest.mark.row("B49")
    def test_a_draft_of_another_time_does_not_break_the_page(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        draft = {"sparsity": 7, "unknown": True}
        served.store.save_draft(seeded.session.id, draft, revision=seeded.session.revision)
        assert _slider(open_page("plan", session=seeded.session.id)).value == 50.0


def test_default_names_say_what_matters():
    assert default_name(Plan(sparsity=0.8)) == "LAMP 80 %"
    assert default_name(Plan(sparsity=0.5, allocation="global", criterion="wanda")) == "Global 50 %, Wanda"
    assert default_name(Plan(overrides={"head": 0.1})) == "LAMP 50 %, 1 fixed"
    assert default_name(Plan(patterns={"head": "2:4", "stem": "1:4"})) == "LAMP 50 %, 1:4 and 2:4 in 2"


def test_the_frame_shows_no_number_where_nothing_is_fixed():
    frame = layer_frame(LAYERS, Plan(), {})
    assert pd.isna(frame[FIXED]).all()
    assert set(weights_of_network()) == set(frame["layer"])


def _slider(page):
    return next(item for item in page.slider if item.label == "Sparsity, %")


def _field(page):
    return next(item for item in page.number_input if item.label == "Sparsity, exactly, %")
