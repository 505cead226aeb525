"""The Model page's coupled groups: the map, one group up close, what cannot shrink; and Compare's channels."""

import dataclasses
import itertools

import pytest

from core.comb.sheet import GroupSheet
from core.store import Workspace
from dashboard.components.compare_channels import channel_rows, channels_figure, proof_of
from dashboard.components.group_charts import chain_figure, group_bars, lanes, map_figure
from dashboard.components.group_map import group_list, summary
from dashboard.components.group_preview import preview_groups
from dashboard.components.group_why import story
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.grouped import grouped, seed_groups
from tests.dashboard.seeding import seed_session
from tests.dashboard.test_plan_groups import _plan

NAMES = ("resnet", "vit")


def _words(page) -> str:
    return text_of(page).replace("\\", "")


def _sheet(name: str) -> GroupSheet:
    return grouped(name).sheet


@pytest.mark.parametrize("name", NAMES)
def test_the_map_shows_every_layer_of_every_group_once(name):
    sheet = _sheet(name)
    drawn = [
        tuple(point)
        for trace in map_figure(sheet).data
        for point in (trace.customdata if trace.customdata is not None else ())
    ]
    expected = [
        (layer, group.name)
        for group in sheet.groups
        for layer in (*group.creators, *group.readers)
        if layer in sheet.prunable
    ]
    frozen = [(layer, "") for item in sheet.frozen for layer in item.layers]
    assert sorted(drawn) == sorted([*expected, *frozen])


@pytest.mark.parametrize("name", NAMES)
def test_lanes_never_overlap(name):
    rows = {layer: number for number, layer in enumerate(_sheet(name).prunable)}
    spans = {}
    for group in _sheet(name).groups:
        mine = [rows[layer] for layer in (*group.creators, *group.readers) if layer in rows]
        spans[group.name] = min(mine), max(mine)
    found = lanes(spans)
    for one, other in itertools.combinations(spans, 2):
        if found[one] == found[other]:
            assert spans[one][1] < spans[other][0] or spans[other][1] < spans[one][0]


@pytest.mark.parametrize("name", NAMES)
def test_everything_has_a_story_and_a_picture(name):
    sheet = _sheet(name)
    for group in sheet.groups:
        assert f"{len(group.layers)} layers shrink together" in story(sheet, f"group:{group.name}", group)
        assert len(chain_figure(sheet, group.name).data[-1].y) >= len(group.creators)
    for layer in sheet.prunable:
        group = next(iter(sheet.groups_of(layer)), None)
        assert layer in story(sheet, layer, group) or group is not None
    assert str(len(sheet.groups)) in summary(sheet)
    assert list(group_list(sheet)["group"]) == [group.name for group in sheet.groups]


@pytest.mark.row("B12")
def test_names_are_text_in_every_picture():
    evil = "<img src=x onerror=alert(1)>"
    sheet = _sheet("resnet")
    first = sheet.groups[0]
    named = dataclasses.replace(first, name=evil)
    hostile = dataclasses.replace(sheet, groups=(named, *sheet.groups[1:]))
    pictures = [
        map_figure(hostile),
        chain_figure(hostile, evil),
        group_bars(preview_groups(sheet, _plan()).rows, unit="share"),
    ]
    for picture in pictures:
        shown = picture.to_plotly_json()
        texts = [str(shown["layout"]["yaxis"]["ticktext"])]
        texts += [str(trace.get(key)) for trace in shown["data"] for key in ("hovertext", "text")]
        assert not any("<img" in text for text in texts)


def test_the_page_lights_the_chosen_group_and_says_why(served: Workspace, open_page: OpenPage):
    session = seed_groups(served, "resnet")
    page = open_page("model", session=session.id)
    words = _words(page)
    assert "Coupled groups" in words
    assert "hold" in words
    assert "are added to each other" in words
    menu = next(item for item in page.selectbox if item.label == "Group or layer")
    assert menu.value == "group:conv1"  # the one that ties most layers
    menu.set_value("linear").run()
    assert "output of the network" in _words(page)
    page.session_state["model-map"] = {"selection": {"points": [{"customdata": ["layer2.0.conv1", "layer2.0.conv1"]}]}}
    page.run()
    assert next(item for item in page.selectbox if item.label == "Group or layer").value == "group:layer2.0.conv1"
    assert "Traceback" not in words


def test_models_without_groups_or_without_a_sheet_say_so(served: Workspace, open_page: OpenPage):
    assert "Nothing can shrink in this model" in _words(open_page("model", session=seed_groups(served, "flat").id))
    assert "are not known yet" in _words(open_page("model", session=seed_session(served).session.id))


SHAPES = {"a": [16, 3, 3, 3], "b": [10, 16]}
ROWS = (
    {"name": "a", "size": 432, "removed": 108, "kept_shape": [12, 3, 3, 3], "groups": ["a"]},
    {"name": "b", "size": 160, "removed": 40, "kept_shape": [10, 12], "groups": []},
)


class TestChannels:
    def test_channels_before_and_after(self):
        rows = channel_rows(ROWS, SHAPES)
        assert [(name, before[0], after[0]) for name, before, after, _ in rows] == [("a", 16, 12), ("b", 10, 10)]
        picture = channels_figure(rows)
        assert "16 → 12 outputs" in picture.data[0].hovertext[0]
        assert "16 → 12 inputs" in picture.data[0].hovertext[1]

    def test_masks_have_no_channels_to_show(self):
        assert channel_rows([{"name": "a", "size": 432, "removed": 100}], SHAPES) == []
        assert channel_rows(ROWS, {}) == []

    def test_the_proof_is_found_among_notes(self):
        assert proof_of(["40 % went.", "Verified: it computes the same."]) == "Verified: it computes the same."
        assert proof_of(["40 % went."]) is None
