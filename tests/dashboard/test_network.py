"""The drawn network on the Model page: colours, lighting, hostile names, clicks, and every state the page can be in."""

import math
from typing import Any

import pytest

from core.analysis.network_layout import lay_out
from core.analysis.network_tree import Network, network_tree, openings
from core.pruning.plan import Plan
from core.store import Workspace
from core.store.records import JobState
from dashboard.components.network_canvas import after_click, picked
from dashboard.components.network_coupling import roles_of
from dashboard.components.network_figure import network_figure, titles_of
from dashboard.components.network_paint import INK, Look, _contrast, kind_fill, painted, scale_of, value_of
from dashboard.components.network_text import fitted, width_px
from dashboard.components.network_values import KIND_COLOURS, Colouring, kind_of, sensitivity_of, spec_of

from .conftest import OpenPage, text_of
from .grouped import grouped, seed_groups
from .seeding import LAYERS, model_description, seed_job, seed_sensitivity, seed_session, sensitivity_result

EVIL = "<img src=x onerror=alert(1)>%{x}\u202e`**[a](b)"


def _network(description: dict[str, Any]) -> tuple[Network, dict[str, Any]]:
    return network_tree(description), {str(row["name"]): row for row in description["layers"]}


def _figure(description: dict[str, Any], **more: Any) -> dict[str, Any]:
    network, rows = _network(description)
    drawing = lay_out(network, openings(network)["Layers"])
    return network_figure(network, drawing, Look(rows, "macs", **{"dark": False, **more})).to_plotly_json()


def _bars(figure: dict[str, Any]) -> dict[str, Any]:
    """Layer → its place in the trace of boxes, and that trace."""
    trace = next(t for t in figure["data"] if t["type"] == "bar" and t.get("customdata", [[""]])[0][0] != "open"
                 and "customdata" in t)  # fmt: skip
    return {"trace": trace, **{name: place for place, (_, name) in enumerate(trace["customdata"])}}


class TestColours:
    def test_sensitivity_is_the_loss_at_half(self):
        colouring = sensitivity_of(sensitivity_result())
        assert "50 %" in colouring.title
        assert colouring.measured is True
        first = LAYERS[0]["name"]
        assert colouring.values[first] == pytest.approx(2.4 * 0.5**4)
        assert colouring.of([layer["name"] for layer in LAYERS]) == max(colouring.values.values())
        assert colouring.of(["unknown"]) is None

    def test_a_partial_measurement_colours_what_it_knows(self):
        colouring = sensitivity_of(sensitivity_result(layers=[LAYERS[0]["name"]]))
        assert set(colouring.values) == {LAYERS[0]["name"]}
        assert sensitivity_of({"layers": {}}).values == {}

    def test_shares_of_time_are_added_and_sparsity_is_weighed(self):
        time = Colouring("t", {"a": 0.2, "b": 0.1, "c": math.nan}, "sum", "share", True)
        assert time.of(["a", "b", "c"]) == pytest.approx(0.3)
        assert time.words(0.3) == "30.0 %"
        plan = Colouring("p", {"a": 0.5, "b": 0.0}, "weighted", "share", None, {"a": 30.0, "b": 10.0})
        assert plan.of(["a", "b"]) == pytest.approx(0.375)
        loss = Colouring("l", {}, "max", "loss", True)
        assert (loss.words(0.25), loss.words(-0.25), loss.words(None)) == ("+0.25", "−0.25", "not known")

    def test_kinds_and_shapes(self):
        assert kind_of({"kind": "Conv2d", "weight_shape": [8, 1, 3, 3]}) == "depthwise convolution"
        assert kind_of({"kind": "Conv2d", "weight_shape": [8, 4, 1, 1]}) == "1×1 convolution"
        assert kind_of({"kind": "LayerNorm", "weight_shape": [8]}) == "norm"
        assert kind_of({}) == "other"
        assert spec_of({"kind": "Linear", "weight_shape": [1000, 512]}) == "512 → 1,000"
        assert spec_of({"kind": "Conv2d", "weight_shape": None}) == ""

    @pytest.mark.parametrize("dark", [False, True])
    def test_text_reads_on_every_fill(self, dark: bool):
        network, rows = _network(model_description())
        boxes = [box for box in lay_out(network, frozenset(network.groups)).boxes if not box.opened]
        for share in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
            colouring = Colouring("c", dict.fromkeys(rows, share), "max", "share", True)
            paint = painted(boxes[0], share, 1.0, Look(rows, "macs", dark, colouring))
            assert _contrast(paint.ink, paint.fill) >= 4.5
        for kind in KIND_COLOURS:
            paint = painted(boxes[0], kind, 0.0, Look(rows, "macs", dark))
            assert paint.fill == kind_fill(kind, dark=dark)
            assert _contrast(paint.ink, paint.fill) >= 4.5
        assert _contrast(INK[dark], scale_of(dark=dark)[0][1]) > 4.5


class TestText:
    @pytest.mark.parametrize("text", ["a", "layer1.0.conv1" * 30, "名前" * 40, "W" * 90, "", "i" * 400])
    @pytest.mark.parametrize("room", [0.0, 8.0, 60.0, 140.0])
    def test_it_never_is_wider_than_its_room(self, text: str, room: float):
        assert width_px(fitted(text, room, 12.0), 12.0) <= room

    def test_what_fits_stays_whole(self):
        assert fitted("layer1.0.conv1", 200.0, 12.0) == "layer1.0.conv1"
        assert fitted("layer1.0.downsample.0", 80.0, 12.0).startswith("layer")

    def test_no_text_leaves_its_box(self):
        for name in ("resnet", "vit"):
            description = grouped(name).description
            network, rows = _network(description)
            drawing = lay_out(network, openings(network)["Layers"])
            shown = network_figure(network, drawing, Look(rows, "macs", False)).to_plotly_json()["data"]
            for trace in (trace for trace in shown if trace.get("mode") == "text"):
                left = trace["textposition"] == "middle right"
                for x, y, text in zip(trace["x"], trace["y"], trace["text"], strict=True):
                    width = width_px(text, trace["textfont"]["size"])
                    ends = (x, x + width) if left else (x - width, x)
                    assert any(
                        box.x <= ends[0] and ends[1] <= box.x + box.width and box.y < y < box.y + box.height
                        for box in drawing.boxes
                    ), text

    def test_bare_numbers_get_the_name_before(self):
        network = network_tree(grouped("resnet").description)
        assert titles_of(network.groups["layer1.0"]) == ("layer1.0", "0")
        assert titles_of(network.leaves["layer1.0.conv1"]) == ("conv1",)
        assert titles_of(network_tree({"layers": [{"name": "0"}]}).leaves["0"])[-1] == "0"


class TestLighting:
    def test_a_group_is_lit_and_everything_else_is_dimmed(self):
        known = grouped("resnet")
        group = known.sheet.group("conv1")
        roles = roles_of(group)
        assert {name for name, role in roles.items() if role == "makes"} == set(group.creators)
        assert set(roles) == set(group.layers)
        figure = _figure(known.description, lit=roles, chosen=("layer", "conv1"))
        bars = _bars(figure)
        line, colours = bars["trace"]["marker"]["line"], bars["trace"]["marker"]["color"]
        for name, role in roles.items():
            if name in bars and role in ("makes", "reads"):
                assert line["width"][bars[name]] > 1.5
                assert not colours[bars[name]].startswith("rgba")
                assert f"{role} the chosen units" in bars["trace"]["hovertext"][bars[name]]
        assert line["width"][bars["conv1"]] == 4.0
        assert colours[bars["linear"]].startswith("rgba") or "linear" in roles
        texts = [text for trace in figure["data"] if trace.get("mode") == "text" for text in trace["text"]]
        assert sum(text.startswith("●") for text in texts) == len(group.creators)

    def test_a_closed_box_is_lit_by_what_is_in_it(self):
        known = grouped("resnet")
        network, rows = _network(known.description)
        drawing = lay_out(network, frozenset())
        look = Look(rows, "macs", False, lit=roles_of(known.sheet.group("layer3.0.conv1")))
        lit = {box.part.name for box in drawing.boxes if painted(box, value_of(box.part, look), 0.0, look).role}
        assert lit == {"layer3"}


def test_names_are_text_in_the_picture():
    description = model_description()
    layers = [{**row, "name": f"{EVIL}.{number}", "kind": EVIL} for number, row in enumerate(description["layers"])]
    figure = _figure({**description, "layers": layers, "edges": []})
    for trace in figure["data"]:
        for key in ("text", "hovertext"):
            for text in trace.get(key) or ():
                assert "<img" not in text
                assert "%{" not in text
                assert "\u202e" not in text


@pytest.mark.parametrize(
    ("event", "found"),
    [
        ({"selection": {"points": [{"customdata": ["layer", "conv1"]}]}}, ("layer", "conv1")),
        ({"selection": {"points": [{"customdata": {"0": "open", "1": "layer1"}}]}}, ("open", "layer1")),
        ({"selection": {"points": []}}, None),
        ({"selection": {"points": [{"x": 3}]}}, None),
        ({"selection": {"points": [{"customdata": ["alone"]}]}}, None),
        ({"selection": None}, None),
        (None, None),
        ({}, None),
    ],
)
def test_clicks_are_read(event: Any, found: Any):
    assert picked(event) == found


def test_a_click_opens_closes_and_chooses():
    network = network_tree(grouped("resnet").description)
    opened = frozenset({"layer1"})
    assert after_click(network, opened, "group", "layer2") == ("group", "layer2", frozenset({"layer1", "layer2"}))
    assert after_click(network, opened, "open", "layer1") == ("group", "layer1", frozenset())
    assert after_click(network, opened, "layer", "layer1.0.conv1") == ("layer", "layer1.0.conv1", opened)
    assert after_click(network, opened, "layer", "gone") is None
    assert after_click(network, opened, "group", "layer1.0.conv1") is None
    assert after_click(network, opened, "<script>", "layer1") is None


# -- the page ---------------------------------------------------------------------------------------------------------


def _words(page: Any) -> str:
    return text_of(page).replace("\\", "")


def _open(open_page: OpenPage, session_id: str) -> Any:
    return open_page("model", session=session_id, view="drawing")


def _menu(page: Any) -> Any:
    return next(item for item in page.selectbox if item.label == "Layer or part")


def _plan(workspace: Workspace, session_id: str) -> Plan:
    return Plan.parse(workspace.store.get_session(session_id).draft_plan or {})


def test_the_table_is_seen_first_and_the_drawing_on_demand(served: Workspace, open_page: OpenPage):
    session = seed_session(served).session
    page = open_page("model", session=session.id)
    assert "Layer or part" not in _words(page)
    page = _open(open_page, session.id)
    words = _words(page)
    assert "Click a box to open it" in words
    assert "Coupled groups" in words
    assert "convolution" in words


def test_picking_a_layer_shows_why_and_reaches_the_draft(served: Workspace, open_page: OpenPage):
    session = seed_groups(served, "resnet")
    page = _open(open_page, session.id)
    _menu(page).set_value("layer layer2.0.conv2").run()
    words = _words(page)
    assert "are added to each other" in words
    assert "makes the chosen units" in words
    assert "Weights that fall" in words
    page.button(key="fix-layer2.0.conv2").click().run()
    assert _plan(served, session.id).overrides == {"layer2.0.conv2": 0.5}


def test_picking_a_part_opens_what_is_around_it_and_plans_all_of_it(served: Workspace, open_page: OpenPage):
    session = seed_groups(served, "resnet")
    page = _open(open_page, session.id)
    _menu(page).set_value("group layer3").run()
    assert f"{len(network_tree(grouped('resnet').description).groups['layer3'].layers)} layers" in _words(page)
    page.button(key="network-protect-layer3").click().run()
    inside = [name for name in grouped("resnet").weights if name.startswith("layer3.")]
    assert set(_plan(served, session.id).protected) == set(inside)
    assert f"keeps {len(inside)} dense" in _words(page)
    page.button(key="network-fix-layer3").click().run()
    assert _plan(served, session.id).overrides == dict.fromkeys(inside, 0.5)
    page.button(key="network-free-layer3").click().run()
    assert _plan(served, session.id).overrides == {}


def test_a_whole_group_is_protected_where_the_method_removes_units(served: Workspace, open_page: OpenPage):
    session = seed_groups(served, "resnet", plan={})
    page = _open(open_page, session.id)
    _menu(page).set_value("layer layer1.0.conv1").run()
    button = next(item for item in page.button if item.label.startswith("Protect all"))
    button.click().run()
    assert _plan(served, session.id).protected == ("group:layer1.0.conv1",)
    assert any(item.label.startswith("Free all") for item in page.button)


def test_a_stale_draft_is_not_overwritten(served: Workspace, open_page: OpenPage):
    session = seed_groups(served, "resnet")
    page = _open(open_page, session.id)
    _menu(page).set_value("group layer3").run()
    changed = served.store.save_draft(session.id, Plan(sparsity=0.9).to_json(), revision=session.revision)
    page.button(key="network-fix-layer3").click().run()
    assert "changed elsewhere" in _words(page)
    assert served.store.get_session(session.id).revision == changed.revision


@pytest.mark.parametrize("name", ["vit", "flat"])
def test_other_networks_are_drawn(name: str, served: Workspace, open_page: OpenPage):
    session = seed_groups(served, name)
    page = _open(open_page, session.id)
    for layer in list(grouped(name).weights)[-1:]:
        _menu(page).set_value(f"layer {layer}").run()
        assert "cannot shrink" in _words(page) or "output of the network" in _words(page)


def test_colours_say_where_they_come_from(served: Workspace, open_page: OpenPage):
    seeded = seed_session(served)
    page = _open(open_page, seeded.session.id)

    def colour(name: str) -> str:
        page.segmented_control(key="network-colour").set_value(name).run()
        return _words(page)

    assert "estimated" in colour("sensitivity")
    seed_sensitivity(served)
    assert "Loss gained when pruned alone to 50 %" in colour("sensitivity")
    assert "Measure the time per layer" in colour("time")
    shares = {layer["name"]: 0.05 for layer in LAYERS} | {"other": 0.4}
    served.store.add_measurement(variant_id=seeded.dense.id, kind="layer_times", context={}, result={"shares": shares})
    assert "Share of the measured time" in colour("time")
    assert "Weights that the draft plan removes" in colour("sparsity")


def test_an_impossible_plan_still_draws(served: Workspace, open_page: OpenPage):
    session = seed_session(served).session
    served.store.save_draft(session.id, {"overrides": {"head": 0.9999}}, revision=session.revision)
    page = _open(open_page, session.id)
    page.segmented_control(key="network-colour").set_value("sparsity").run()
    assert "nothing known" in _words(page)


def test_levels_open_the_drawing(served: Workspace, open_page: OpenPage):
    session = seed_groups(served, "resnet")
    page = _open(open_page, session.id)
    detail = next(item for item in page.segmented_control if item.label == "Show")
    for level in ("Stages", "Blocks", "Layers"):
        detail = next(item for item in page.segmented_control if item.label == "Show")
        detail.set_value(level).run()
        assert next(item for item in page.segmented_control if item.label == "Show").value == level
    next(item for item in page.segmented_control if item.label == "Show").set_value("Stages").run()
    _menu(page).set_value("layer layer1.1.conv2").run()  # hidden so far: what is around it opens
    assert next(item for item in page.segmented_control if item.label == "Show").value is None


def test_without_a_model_the_page_says_what_is_going_on(served: Workspace, open_page: OpenPage):
    session = served.store.create_session("new")
    seed_job(served, session, "open", JobState.FAILED, title="Opening resnet56", error="It does not fit.")
    assert "Opening resnet56" in _words(_open(open_page, session.id))
    assert "Nothing is open yet" in _words(open_page("model", view="drawing"))


def test_a_view_that_does_not_exist_is_ignored(served: Workspace, open_page: OpenPage):
    session = seed_session(served).session
    page = open_page("model", session=session.id, view="<script>")
    assert "Weights that fall" in _words(page)
