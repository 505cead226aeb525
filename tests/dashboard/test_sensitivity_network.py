"""The drawn network on the Sensitivity page: the result's colours; clicks, table and address show curves."""

import pytest
import streamlit as st

from core.analysis.network_layout import lay_out
from core.analysis.network_tree import network_tree
from core.store import Workspace
from dashboard.components.network_paint import Look, painted
from dashboard.components.network_values import sensitivity_of
from dashboard.components.sensitivity_curves import CURVES, LIT, show_curve_of_row
from dashboard.components.sensitivity_network import _pick
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.grouped import grouped, seed_groups
from tests.dashboard.seeding import LAYERS, model_description, seed_sensitivity, seed_session

NAMES = [layer["name"] for layer in LAYERS]
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict:
    kept: dict = {}
    monkeypatch.setattr(st, "session_state", kept)
    monkeypatch.setattr(st, "toast", lambda words: kept.setdefault("toast", words))
    return kept


def test_groups_colour_the_layers_that_make_their_units():
    group = {"sparsity": 0.5, "dloss": 0.3, "score": 0.9}
    result = {"kind": "groups", "groups": {"a": [group]}, "dense": {"loss": 0.1, "score": 0.95}}
    colouring = sensitivity_of(result, {"a": ("conv1", "conv2"), "b": ("conv3",)})
    assert colouring.values == {"conv1": 0.3, "conv2": 0.3}
    assert "its group" in colouring.title


def test_curves_have_the_colour_of_the_edge_of_their_box():
    description = model_description()
    network, rows = network_tree(description), {row["name"]: row for row in description["layers"]}
    look = Look(rows, "macs", False, marked={"stage2.0.conv1": "#123456"})
    paints = [painted(box, None, 0.0, look) for box in lay_out(network, frozenset()).boxes]
    assert {paint.box.part.name for paint in paints if paint.edge == "#123456"} == {"stage2"}


def test_a_click_shows_a_curve_and_takes_it_away(state: dict):
    state[CURVES] = ["head"]
    _pick(None, NAMES, "stem.conv")
    assert (state[CURVES], state[LIT]) == (["stem.conv", "head"], "stem.conv")
    _pick(None, NAMES, "stem.conv")
    assert state[CURVES] == ["head"]
    _pick(None, NAMES, EVIL)
    assert state[CURVES] == ["head"]
    assert "<" not in state["toast"].replace("\\<", "").replace("&lt;", "")


def test_a_click_on_any_layer_of_a_group_shows_the_group(state: dict):
    sheet = grouped("resnet").sheet
    rows = [group.name for group in sheet.groups]
    _pick(sheet, rows, "layer2.0.conv2")
    assert state[CURVES] == [sheet.groups_of("layer2.0.conv2")[0].name]


def test_a_row_of_the_table_shows_its_curve(state: dict):
    state["t"] = {"selection": {"rows": [2]}}
    show_curve_of_row("t", ["a", "b", "c"])
    assert state[CURVES] == ["c"]
    state["t"] = {"selection": {"rows": [9]}}
    show_curve_of_row("t", ["a"])
    assert state[CURVES] == ["c"]


def test_the_drawing_and_the_address(served: Workspace, open_page: OpenPage):
    session = seed_session(served).session
    seed_sensitivity(served)
    page = open_page("sensitivity", session=session.id, layer="stage3.0.conv2", **{"sensitivity-view": "network"})
    assert page.multiselect(key=CURVES).value[0] == "stage3.0.conv2"
    words = text_of(page)
    assert "Loss gained when pruned alone to 50 %" in words
    assert "Click a layer to see its curve" in words
    page.multiselect(key=CURVES).set_value(["head"]).run()
    assert page.query_params["layer"] == "head"
    page.segmented_control(key="sensitivity-network-colour").set_value("time").run()
    assert "Measure the time per layer" in text_of(page)
    assert not page.exception


def test_hostile_choices_in_the_address_are_none(served: Workspace, open_page: OpenPage):
    session = seed_session(served).session
    page = open_page("sensitivity", session=session.id, layer=EVIL, **{"sensitivity-view": EVIL})
    assert EVIL not in text_of(page)
    assert EVIL not in page.multiselect(key=CURVES).value


def test_groups_are_drawn_before_anything_is_measured(served: Workspace, open_page: OpenPage):
    session = seed_groups(served, "vit", plan={"method": "one_shot_structured"})
    page = open_page("sensitivity", session=session.id, **{"sensitivity-view": "network"})
    words = text_of(page)
    assert "Scores of the units lost" in words
    assert "estimated" in words
