"""The drawn network on the Plan page: a click, the menu, the table and the address choose one and the same thing."""

from typing import Any

import pytest

from core.pruning.plan import Plan
from core.store import Workspace
from dashboard.components.network_coupling import coupled_words, group_of_layer

from .conftest import OpenPage, text_of
from .grouped import grouped, seed_groups
from .seeding import seed_session

EVIL = "<script>alert(1)</script>"


def _plan(workspace: Workspace, session_id: str) -> Plan:
    return Plan.parse(workspace.store.get_session(session_id).draft_plan or {})


def test_hover_words_name_who_shrinks_together():
    sheet = grouped("resnet").sheet
    words = coupled_words(sheet)
    assert words["layer1.0.conv1"] == "shrinks alone (16 channels); layer1.0.conv2 reads it"
    assert "shrinks together with" in words["layer2.0.conv2"]
    assert words["linear"] == "its outputs cannot shrink"
    assert coupled_words(None) == {}


def test_every_layer_of_a_group_means_a_group():
    sheet = grouped("vit").sheet
    for group in sheet.groups:
        for layer in group.layers:
            assert group_of_layer(sheet, layer) in sheet.groups
    assert group_of_layer(sheet, EVIL) is None


def test_menu_table_and_address_choose_a_group(served: Workspace, open_page: OpenPage):
    session = seed_groups(served, "resnet", plan={"method": "one_shot_structured", "sparsity": 0.4})
    page = open_page("plan", session=session.id)
    words = text_of(page)
    assert "makes the chosen units" in words
    assert "Weights that the draft plan removes" in words
    assert "layer" not in page.query_params
    page.selectbox(key="plan-group").set_value("layer2.0.conv1").run()
    assert page.query_params["layer"] == "layer2.0.conv1"
    page = open_page("plan", session=session.id, layer="group:layer3.0.conv1")
    assert page.selectbox(key="plan-group").value == "group:layer3.0.conv1"
    groups = [group.name for group in grouped("resnet").sheet.groups]
    row = groups.index("layer1.0.conv1")
    page.session_state["plan-groups-0-0-0"] = {
        "edited_rows": {row: {"shown": True}},
        "added_rows": [],
        "deleted_rows": [],
    }
    page.run()
    assert page.selectbox(key="plan-group").value == "group:layer1.0.conv1"
    assert _plan(served, session.id).overrides == {}  # looking changes nothing
    assert not page.exception


def test_a_layer_is_chosen_fixed_protected_and_freed(served: Workspace, open_page: OpenPage):
    session = seed_session(served).session
    page = open_page("plan", session=session.id, layer="stage2.0.conv1")
    assert page.selectbox(key="plan-layer").value == "stage2.0.conv1"

    def widget(kind: str, start: str) -> Any:
        return next(item for item in getattr(page, kind) if str(item.key).startswith(start))

    widget("slider", "plan-layer-share-").set_value(70.0).run()
    assert _plan(served, session.id).overrides == {"stage2.0.conv1": 0.7}
    assert "fixed by you" in text_of(page)
    widget("toggle", "plan-layer-protect-").set_value(True).run()
    assert _plan(served, session.id).protected == ("stage2.0.conv1",)
    page.button(key="plan-layer-free").click().run()
    assert _plan(served, session.id).protected == ()
    assert not page.exception


@pytest.mark.parametrize("wanted", [EVIL, "x" * 5000, "group:nothing"])
def test_what_the_address_invents_is_no_choice(wanted: str, served: Workspace, open_page: OpenPage):
    session = seed_session(served).session
    page = open_page("plan", session=session.id, layer=wanted)
    assert page.selectbox(key="plan-layer").value != wanted
    assert EVIL not in text_of(page)
