"""The Plan page for methods that remove units: groups instead of layers, the real preview, and bad input."""

import json

import pytest

from core.errors import PlanError
from core.methods import METHODS
from core.methods.naming import default_name, effective
from core.methods.one_shot_structured import planned_removal
from core.planning.outlook import untrained
from core.pruning.groups import GROUP_ALLOCATIONS, GROUP_CRITERIA
from core.pruning.plan import Plan
from core.store import Workspace
from core.store.records import JobState
from dashboard.components import plan_check
from dashboard.components.format import count, macs
from dashboard.components.group_edit import group_items, group_table, with_groups
from dashboard.components.group_facts import choices_of, consequences, groups_named, listed, size_words, stay_words
from dashboard.components.group_preview import preview_groups
from dashboard.components.plan_check import same_plan
from dashboard.components.plan_choices import FIXED, PROTECTED, edited_plan, match_items
from dashboard.components.plan_files import parse_plan_file
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.grouped import grouped, seed_groups
from tests.dashboard.seeding import seed_job, seed_session

TRUNK, INNER = "conv1", "layer1.0.conv1"


def _plan(**fields):
    return Plan(method="one_shot_structured", allocation="global", **fields)


def _draft(workspace: Workspace, session) -> Plan:
    return Plan.parse(workspace.store.get_session(session.id).draft_plan or {})


def _words(page) -> str:
    return text_of(page).replace("\\", "")


def _slider(page, word: str):
    return next(item for item in page.slider if word in item.label)


class TestEdits:
    def test_a_layer_stands_for_the_groups_of_its_outputs(self):
        sheet = grouped("vit").sheet
        qkv = "blocks.0.attention.qkv"
        assert {group.kind for group in groups_named(sheet, qkv)} == {"heads", "head_width"}
        assert [group.kind for group in groups_named(sheet, f"group:{qkv}:heads")] == ["heads"]
        assert groups_named(sheet, "group:nowhere") == ()

    def test_an_edit_of_one_group_keeps_what_the_same_name_said_of_others(self):
        sheet = grouped("vit").sheet
        qkv = "blocks.0.attention.qkv"
        plan = _plan(overrides={qkv: 0.5}, protected=("patches",))
        heads = sheet.group(f"{qkv}:heads")
        changed = with_groups(plan, sheet, [heads], "protect")
        assert changed.overrides == {f"group:{qkv}:head_width": 0.5}
        assert set(changed.protected) == {"patches", f"group:{qkv}:heads"}
        fixed, held = choices_of(sheet, changed)
        assert fixed == {f"{qkv}:head_width": 0.5}
        assert held == {f"{qkv}:heads", "patches"}

    def test_fix_protect_and_free_end_where_they_began(self):
        sheet = grouped("resnet").sheet
        plan = _plan()
        for action in ("fix", "protect", "free"):
            plan = with_groups(plan, sheet, sheet.groups, action, 0.25)
        assert plan == _plan()

    def test_an_untouched_table_is_no_edit(self):
        sheet = grouped("resnet").sheet
        plan = _plan(sparsity=0.3, overrides={"layer1.0.conv2": 0.123456}, protected=("group:layer2.0.conv1",))
        table = group_table(sheet, preview_groups(sheet, plan).rows, {})
        assert edited_plan(plan, table.frame, table.frame.copy(), table.write) == plan

    def test_cells_become_groups_in_the_plan(self):
        sheet = grouped("resnet").sheet
        table = group_table(sheet, preview_groups(sheet, _plan()).rows, {})
        frame = table.frame.copy()
        frame.loc[frame["group"] == TRUNK, FIXED] = 25.0
        frame.loc[frame["group"] == INNER, PROTECTED] = True
        plan = edited_plan(_plan(), table.frame, frame, table.write)
        assert plan.overrides == {"group:conv1": 0.25}
        assert plan.protected == ("group:layer1.0.conv1",)
        frame.loc[frame["group"] == TRUNK, FIXED] = 100.0
        with pytest.raises(PlanError, match="conv1"):
            edited_plan(_plan(), table.frame, frame, table.write)

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"kinds": ["heads"]}, 4),
            ({"kinds": ["heads", "neurons"]}, 8),
            ({"stages": ["blocks.0"]}, 3),
            ({"pattern": r"blocks\.[01]\.expand$"}, 2),
            ({"pattern": "blocks.?.expand", "glob": True}, 4),
            ({"pattern": "expand", "glob": True}, 0),
            ({}, 13),
        ],
    )
    def test_filters_match_what_they_say(self, filters, expected):
        stages = {name: ".".join(name.split(".")[:2]) for name in grouped("vit").sheet.prunable}
        assert len(match_items(group_items(grouped("vit").sheet.groups, stages), **filters)) == expected

    @pytest.mark.parametrize("pattern", ["(", "*", "[a", "a{2,1}", "(?P<x"])
    def test_a_pattern_that_is_none_is_one_sentence(self, pattern):
        with pytest.raises(PlanError, match="is not a regular expression"):
            match_items(group_items(grouped("vit").sheet.groups, {}), pattern=pattern)
        match_items(group_items(grouped("vit").sheet.groups, {}), pattern=pattern, glob=True)

    @pytest.mark.parametrize("pattern", ["(.+)+!", "(a|aa)*$", r"(\w+\.?)*!", "(?:x*)*", "((.*)b)+"])
    def test_a_pattern_that_could_take_for_ever_is_refused(self, pattern):
        with pytest.raises(PlanError, match="take for ever"):
            match_items(group_items(grouped("vit").sheet.groups, {}), pattern=pattern)

    @pytest.mark.parametrize("pattern", [r"layer[12]\.\d+\.conv", "(a|b)c", "(conv)+", "x{2}", r"(\d{2}){3}", "a.*b"])
    def test_plain_patterns_are_not(self, pattern):
        match_items(group_items(grouped("vit").sheet.groups, {}), pattern=pattern)


class TestPreview:
    @pytest.mark.parametrize("name", ["resnet", "vit"])
    def test_rows_and_totals_are_the_removal(self, name):
        sheet, plan = grouped(name).sheet, _plan(sparsity=0.4)
        shown = preview_groups(sheet, plan)
        removal, _ = planned_removal(sheet, plan)
        assert {row.group.name: row.removed for row in shown.rows if row.removed} == {
            group: len(units) for group, units in removal.items() if len(units)
        }
        assert shown.left == sheet.counts(removal)
        assert preview_groups(sheet, plan.changed(name="other")) is shown  # counted once

    def test_an_impossible_target_says_the_most(self):
        shown = preview_groups(grouped("resnet").sheet, _plan(sparsity=0.99))
        assert shown.left is None
        assert "is the most" in str(shown.problem)
        assert all(row.removed is None for row in shown.rows)

    def test_a_criterion_on_images_says_what_stands_in(self):
        assert "stands in" in str(preview_groups(grouped("resnet").sheet, _plan(criterion="taylor", sparsity=0.3)).note)

    @pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].removes == "units"])
    def test_every_method_on_units_has_a_preview(self, method):
        plan = Plan(method=method, sparsity=0.3, allocation="erk" if "allocation" not in
                    METHODS[method].Settings.model_fields else "global")  # fmt: skip
        shown = preview_groups(grouped("resnet").sheet, plan)
        assert shown.problem is None
        assert shown.left is not None
        assert shown.left.parameters < shown.dense.parameters
        assert effective(untrained(plan), "criterion") in GROUP_CRITERIA

    def test_protection_names_who_stays_whole_and_why(self):
        (said,) = consequences(grouped("resnet").sheet, _plan(protected=("layer1.1.conv2",)))
        assert said.sentence.startswith("Protecting layer1.1.conv2 also keeps conv1, layer1.0.conv2")
        assert "are added to each other" in said.sentence
        (alone,) = consequences(grouped("resnet").sheet, _plan(overrides={INNER: 0.5}))
        assert "of it alone" in alone.sentence
        (frozen,) = consequences(grouped("resnet").sheet, _plan(protected=("linear",)))
        assert "changes nothing" in frozen.sentence
        assert listed(list("abcdef")) == "a, b, c and 3 more"


class TestPage:
    def test_controls_and_table_belong_to_groups(self, served: Workspace, open_page: OpenPage):
        session = seed_groups(served, "resnet", {"sparsity": 0.3})
        page = open_page("plan", session=session.id)
        sheet = grouped("resnet").sheet
        options = {item.label: item.options for item in page.selectbox}
        assert options["Allocation"] == [GROUP_ALLOCATIONS[name].title for name in GROUP_ALLOCATIONS]
        assert options["Criterion"] == [GROUP_CRITERIA[name].title for name in GROUP_CRITERIA]
        left = sheet.counts(planned_removal(sheet, _plan(sparsity=0.3))[0])
        words = _words(page)
        for text in (count(left.parameters), count(sheet.dense.parameters), macs(left.macs).split()[0]):
            assert text in words
        assert "exactly these parameters" in words
        assert _draft(served, session) == _plan(sparsity=0.3)  # looking at it is no edit

    def test_the_slider_fixes_a_group_and_the_others_make_up_for_it(self, served: Workspace, open_page: OpenPage):
        session = seed_groups(served, "resnet", {"sparsity": 0.3})
        page = open_page("plan", session=session.id)
        _slider(page, "that stay in conv1").set_value(8).run()
        assert _draft(served, session).overrides == {"group:conv1": 0.5}
        words = _words(page)
        assert "8 of 16 channels stay** (fixed by you)" in words
        assert "Fixing conv1 also fixes layer1.0.conv2" in words
        next(item for item in page.toggle if item.label == "Protect").set_value(True).run()
        assert _draft(served, session).protected == ("group:conv1",)
        assert "also keeps layer1.0.conv2" in _words(page)
        page.button(key="plan-undo").click().run()
        page.button(key="plan-undo").click().run()
        assert _draft(served, session).overrides == {}

    def test_a_layer_shows_its_group_and_a_frozen_one_its_reason(self, served: Workspace, open_page: OpenPage):
        session = seed_groups(served, "vit", {"sparsity": 0.2})
        page = open_page("plan", session=session.id)
        menu = next(item for item in page.selectbox if item.label == "Group or layer")
        menu.set_value("blocks.1.contract").run()
        words = _words(page)
        assert "loses inputs when blocks.1.expand shrinks" in words
        assert "are added to each other" in words
        next(item for item in page.selectbox if item.label == "Group or layer").set_value("head").run()
        assert "output of the network" in _words(page)

    def test_bulk_edit_counts_applies_and_can_be_undone(self, served: Workspace, open_page: OpenPage):
        session = seed_groups(served, "vit", {"sparsity": 0.2})
        page = open_page("plan", session=session.id)
        page.multiselect(key="plan-bulk-kinds").set_value(["heads"]).run()
        assert "4 of 13 groups" in _words(page)
        page.number_input(key="plan-bulk-percent").set_value(50.0)
        page.button(key="plan-bulk-apply").click().run()
        assert len(_draft(served, session).overrides) == 4
        page.button(key="plan-undo").click().run()
        assert _draft(served, session).overrides == {}
        page.text_input(key="plan-bulk-pattern").set_value("(").run()
        assert any("is not a regular expression" in item.value.replace("\\", "") for item in page.error)

    def test_menus_write_the_plan_also_where_its_settings_had_chosen(self, served: Workspace, open_page: OpenPage):
        settings = {"criterion": "fpgm", "min_keep": 0.2}
        session = seed_groups(served, "resnet", {"sparsity": 0.2, "method_settings": settings})
        page = open_page("plan", session=session.id)
        menu = next(item for item in page.selectbox if item.label == "Criterion")
        assert menu.value == "fpgm"
        menu.set_value("magnitude_l1").run()
        plan = _draft(served, session)
        assert effective(plan, "criterion") == "magnitude_l1"
        assert plan.method_settings["min_keep"] == 0.2

    def test_a_weights_plan_becomes_one_for_groups_and_back(self, served: Workspace, open_page: OpenPage):
        session = seed_groups(served, "resnet")
        page = open_page("plan", session=session.id)
        menu = next(item for item in page.selectbox if item.label == "Method")
        menu.set_value("one_shot_structured").run()
        assert "Groups that shrink" in _words(page)
        _slider(page, "that stay in conv1").set_value(12).run()
        next(item for item in page.selectbox if item.label == "Method").set_value("one_shot").run()
        words = _words(page)
        assert "this method knows layers only: group:conv1" in words
        assert "Non-zero parameters" not in words
        page.button(key="plan-drop-unknown").click().run()
        assert "Non-zero parameters" in _words(page)

    @pytest.mark.parametrize(
        ("plan", "said"),
        [
            ({"sparsity": 0.99}, "is the most"),
            ({"sparsity": 0.3, "method_settings": {"round_to": 512}}, "no group can shrink"),
            ({"sparsity": 0.3, "overrides": {"group:nowhere": 0.5}}, "no group or layer named “group:nowhere”"),
            ({"sparsity": 0.3, "overrides": {"linear": 0.5}}, "it is an output of the network"),
            ({"sparsity": 0.3, "overrides": {"conv1": 0.5, "layer1.0.conv2": 0.25}}, "give both the same"),
            ({"sparsity": 0.3, "protected": [f"group:{g}" for g in ("conv1",)],
              "method_settings": {"kinds": ["heads"]}}, "nothing is left to reach the target"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_is_one_sentence_and_does_not_run(self, served: Workspace, open_page: OpenPage, plan, said):
        session = seed_groups(served, "resnet", plan)
        page = open_page("plan", session=session.id)
        assert any(said in item.value.replace("\\", "") for item in page.error), [item.value for item in page.error]
        assert page.button(key="plan-run-button").disabled
        assert page.button(key="plan-check-start").disabled

    @pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].removes == "units"])
    def test_every_method_on_units_has_its_page(self, served: Workspace, open_page: OpenPage, method):
        session = seed_groups(served, "resnet", {"method": method, "sparsity": 0.3})
        page = open_page("plan", session=session.id)
        assert "Groups that shrink" in _words(page)
        assert not page.error
        menus = {item.label for item in page.selectbox}
        assert ("Criterion" in menus) == ("criterion" in METHODS[method].Settings.model_fields)

    def test_unknown_groups_can_be_dropped(self, served: Workspace, open_page: OpenPage):
        session = seed_groups(served, "resnet", {"sparsity": 0.3, "overrides": {"group:nowhere": 0.5, "conv1": 0.25}})
        page = open_page("plan", session=session.id)
        assert any("does not have" in item.value for item in page.warning)
        page.button(key="plan-drop-unknown").click().run()
        assert _draft(served, session).overrides == {"conv1": 0.25}
        assert not page.error

    def test_a_model_without_a_group_says_why(self, served: Workspace, open_page: OpenPage):
        session = seed_groups(served, "flat", {"sparsity": 0.3})
        page = open_page("plan", session=session.id)
        words = _words(page)
        assert "Nothing can shrink in this model" in words
        assert "output of the network" in words
        assert page.button(key="plan-run-button").disabled

    def test_a_model_of_an_older_version_offers_to_find_the_groups(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        served.store.save_draft(seeded.session.id, {"method": "one_shot_structured"}, revision=seeded.session.revision)
        page = open_page("plan", session=seeded.session.id)
        button = next(item for item in page.button if item.label == "Find the groups")
        button.click().run()
        assert not page.exception
        (job,) = [job for job in served.store.jobs(seeded.session.id) if job.kind == "groups"]
        assert job.session_id == seeded.session.id

    def test_a_check_is_shown_with_its_n_and_goes_stale(self, served: Workspace, open_page: OpenPage):
        session = seed_groups(served, "resnet", {"sparsity": 0.3})
        result = {"metric": "accuracy", "n": 256, "score": 0.871, "low": 0.82, "high": 0.91}
        result |= {"dense_score": 0.9, "difference": -0.029, "plan": _plan(sparsity=0.3).to_json()}
        payload = {"plan": _plan(sparsity=0.3, name="x").to_json(), "images": 256}
        seed_job(served, session, "check", JobState.DONE, title="Check", result=result, payload=payload)
        page = open_page("plan", session=session.id)
        words = _words(page)
        for text in ("87.1 %", "n = 256", "82.0–91.0 %", "dense 90.0 %", "−2.9 points"):
            assert text in words
        assert "Of an earlier plan" not in words
        _slider(page, "Sparsity, %").set_value(35.0).run()
        assert "Of an earlier plan" in _words(page)

    def test_the_button_checks_this_plan(self, served: Workspace, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(plan_check, "REST_S", 0.0)
        session = seed_groups(served, "resnet", {"sparsity": 0.3})
        page = open_page("plan", session=session.id)
        page.button(key="plan-check-start").click().run()
        (job,) = [job for job in served.store.jobs(session.id) if job.kind == "check"]
        assert same_plan(_plan(sparsity=0.3), job.payload["plan"])
        assert job.payload["images"] == 256
        page.toggle(key="plan-check-auto").set_value(True).run()
        assert len([job for job in served.store.jobs(session.id) if job.kind == "check"]) == 1  # it is of this plan
        _slider(page, "Sparsity, %").set_value(35.0).run()
        newest = next(job for job in served.store.jobs(session.id) if job.kind == "check")
        assert Plan.parse(newest.payload["plan"]).sparsity == 0.35


def test_what_stays_is_said_in_units_of_the_group():
    groups = {group.kind: group for group in grouped("vit").sheet.groups}
    assert stay_words(groups["heads"], 3) == f"3 of {groups['heads'].units} heads stay"
    assert size_words(groups["heads"]) == f"{groups['heads'].units} heads"
    assert stay_words(groups["head_width"], 8) == f"head width 8 of {groups['head_width'].units} stays"
    assert stay_words(groups["neurons"], 40) == f"40 of {groups['neurons'].units} neurons stay"
    assert stay_words(groups["embedding"], 40) == f"40 of {groups['embedding'].units} embedding channels stay"


def test_files_with_group_criteria_load_and_others_are_refused():
    plan = _plan(criterion="taylor", overrides={"group:conv1": 0.5})
    assert parse_plan_file(json.dumps(plan.to_json()).encode()) == plan
    with pytest.raises(PlanError, match="wanda"):
        parse_plan_file(json.dumps(_plan(criterion="wanda").to_json()).encode())
    with pytest.raises(PlanError, match="taylor"):
        parse_plan_file(json.dumps(Plan(criterion="taylor").to_json()).encode())


def test_names_of_variants_say_that_groups_shrank():
    assert default_name(_plan(sparsity=0.4)) == "Groups: Global 40 %"
    assert default_name(_plan(sparsity=0.4, criterion="taylor")) == "Groups: Global 40 %, Taylor"
    assert default_name(Plan(method="cpd", sparsity=0.4)) == "CPD 40 %, Fisher"
    assert default_name(Plan(method="seap", sparsity=0.4, criterion="random")) == "SEAP 40 %"
