"""The drawn network: every layer once, no box over another, no line over a box, forward, the same each time, in linear
work. Over made-up networks of every shape, random graphs with strange names, and real ones."""

import itertools
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from core.analysis.network_flow import ENTRY, flow_of
from core.analysis.network_layout import HEADER_PX, Drawing, lay_out
from core.analysis.network_tree import Network, network_tree, openings, start_of

HOSTILE = ("", ".", "..", "a.", ".a", "<b>x</b>", "%{x}", "a" * 300, "名前", "\u202eabc", "a b", "group ", "-1")
"""Pieces that a person may put into names of modules."""


def described(names: list[str], edges: list[tuple[str, str]], *, norms: tuple[str, ...] = ()) -> dict[str, Any]:
    """The description of a network of convolutions; ``norms``: those of its layers that cannot be pruned."""
    rows = [
        {
            "name": name,
            "kind": "BatchNorm2d" if name in norms else "Conv2d",
            "prunable": name not in norms,
            "weight_shape": [8, 8, 3, 3],
            "output_shape": [8, 4, 4],
            "parameters": 10 + number % 7,
            "macs": 0 if name in norms else 100 * (1 + number % 5),
        }
        for number, name in enumerate(names)
    ]
    return {"layers": rows, "edges": [list(edge) for edge in edges]}


def residual(blocks: int) -> dict[str, Any]:
    """A stem, stages of up to 8 blocks that add to what they read, and a head; each layer reads all that is added."""
    names, edges, stream = ["stem"], [], ["stem"]
    for number in range(blocks):
        one, two = (f"stage{number // 8}.{number % 8}.conv{place}" for place in (1, 2))
        edges += [(source, one) for source in stream] + [(one, two)]
        stream.append(two)
        names += [one, two]
    return described([*names, "head"], [*edges, *((source, "head") for source in stream)])


def dense(layers: int) -> dict[str, Any]:
    """Each layer reads the outputs of all before it."""
    names = [f"features.block{number // 12}.layer{number}" for number in range(layers)]
    return described(names, list(itertools.combinations(names, 2)))


def inception(modules: int) -> dict[str, Any]:
    """Modules of four branches side by side, of different length."""
    names, edges, before = ["stem"], [], ["stem"]
    for number in range(modules):
        ends = []
        for branch, length in enumerate((1, 2, 3, 1)):
            chain = [f"mixed{number}.branch{branch}.{place}" for place in range(length)]
            names += chain
            edges += [(source, chain[0]) for source in before] + list(itertools.pairwise(chain))
            ends.append(chain[-1])
        before = ends
    return described([*names, "head"], [*edges, *((source, "head") for source in before)])


def unet(depth: int) -> dict[str, Any]:
    """An encoder whose every step is read again by the decoder."""
    down, up = [f"down{n}" for n in range(depth)], [f"up{n}" for n in range(depth)]
    steps = [*down, "bottom", *up]
    return described(steps, [*itertools.pairwise(steps), *zip(reversed(down), up, strict=True)])


def strange(seed: int) -> dict[str, Any]:
    """A random graph, with strange names, layers that nothing feeds, and edges against the order."""
    draw = random.Random(seed)
    pieces = [*HOSTILE, "conv", "0", "1", "2", "block"]
    names = list(
        dict.fromkeys(".".join(draw.choices(pieces, k=draw.randint(1, 4))) for _ in range(draw.randint(1, 60)))
    )
    edges = [
        (draw.choice(names), draw.choice(names))
        if draw.random() < 0.05
        else tuple(names[place] for place in sorted(draw.choices(range(len(names)), k=2)))
        for _ in range(draw.randint(0, 3 * len(names)))
    ]
    return described(names, edges, norms=tuple(draw.sample(names, len(names) // 4)))  # type: ignore[arg-type]


MADE: dict[str, Callable[[], dict[str, Any]]] = {
    "residual": lambda: residual(20),
    "dense": lambda: dense(36),
    "inception": lambda: inception(6),
    "unet": lambda: unet(9),
    "chain": lambda: described([str(n) for n in range(70)], list(itertools.pairwise(str(n) for n in range(70)))),
    "wide": lambda: described([f"h{n}" for n in range(30)], [("h0", f"h{n}") for n in range(1, 30)]),
    "without lines": lambda: described([f"layer{n}" for n in range(40)], []),
    "deep": lambda: described([".".join("a" * n) + ".w" for n in range(1, 60)] + [".".join("b" * 5000)], []),
    "one": lambda: described(["only"], []),
    "none": lambda: described([], []),
    **{f"strange {seed}": (lambda seed=seed: strange(seed)) for seed in range(20)},
}


def all_drawings(description: Mapping[str, Any]) -> list[tuple[Network, frozenset[str], Drawing]]:
    network = network_tree(description)
    some = frozenset(list(network.groups)[::2])
    return [(network, opened, lay_out(network, opened)) for opened in (*openings(network).values(), some)]


@pytest.mark.parametrize("name", MADE)
def test_every_layer_is_drawn_once(name: str):
    description = MADE[name]()
    for network, opened, drawing in all_drawings(description):
        drawn = [layer for box in drawing.boxes if not box.opened for layer in box.part.layers]
        assert sorted(drawn) == sorted(row["name"] for row in description["layers"])
        assert {box.part.name for box in drawing.boxes if box.opened} <= opened
        assert sum(network.cost(part, "macs") for part in network.root.parts) == network.cost(network.root, "macs")


@pytest.mark.parametrize("name", MADE)
def test_boxes_lie_beside_each_other_or_inside(name: str):
    for _, _, drawing in all_drawings(MADE[name]()):
        for box in drawing.boxes:
            assert box.x >= 0
            assert box.y >= 0
            assert box.x + box.width <= drawing.width
            assert box.y + box.height <= drawing.height
        for one, other in itertools.combinations(drawing.boxes, 2):
            beside = one.x + one.width <= other.x or other.x + other.width <= one.x
            below = one.y + one.height <= other.y or other.y + other.height <= one.y
            if not beside and not below:
                outer, inner = (one, other) if one.depth < other.depth else (other, one)
                assert outer.opened
                assert outer.x < inner.x
                assert inner.x + inner.width < outer.x + outer.width
                assert outer.y + HEADER_PX <= inner.y
                assert inner.y + inner.height <= outer.y + outer.height
                assert set(inner.part.layers) <= set(outer.part.layers)


@pytest.mark.parametrize("name", MADE)
def test_lines_run_straight_and_over_no_box(name: str):
    for _, _, drawing in all_drawings(MADE[name]()):
        closed = [box for box in drawing.boxes if not box.opened]
        for line in drawing.lines:
            for (ax, ay), (bx, by) in itertools.pairwise(line.points):
                assert abs(ax - bx) < 1e-6 or abs(ay - by) < 1e-6
                left, right, top, bottom = min(ax, bx), max(ax, bx), min(ay, by), max(ay, by)
                assert left >= 0
                assert top >= 0
                assert right <= drawing.width
                assert bottom <= drawing.height
                for box in closed:
                    inside = left < box.x + box.width - 1 and right > box.x + 1
                    inside = inside and top < box.y + box.height - 1 and bottom > box.y + 1
                    assert not inside, (line, box.part.name)


@pytest.mark.parametrize("name", MADE)
def test_values_flow_downwards(name: str):
    description = MADE[name]()
    order = {row["name"]: number for number, row in enumerate(description["layers"])}
    edges = [(order[a], order[b]) for a, b in description["edges"] if a != b]
    flow = flow_of(len(order), edges)
    for box, number in enumerate(flow.joint_of):
        reading = {a for a, b in edges if b == box and a < b}
        assert reading == (set() if number is None else _values(flow.joints, number))
        assert all(flow.row[source] < flow.row[box] for source in reading)
        assert number is None or flow.joints[number].row == flow.row[box]
    assert set(flow.back) == {(a, b) for a, b in edges if a > b}
    places = list(zip(flow.row, flow.lane, strict=True))
    assert len(places) == len(set(places))


def _values(joints: Any, number: int) -> set[int]:
    """Everything that meets in a joint, followed up to the first one."""
    joint = joints[number]
    assert joint.above is None or joints[joint.above].row < joint.row
    return set(joint.direct) | (set() if joint.above is None else _values(joints, joint.above))


def test_a_residual_stream_is_one_line_past_its_blocks():
    description = residual(8)
    network = network_tree(description)
    drawing = lay_out(network, frozenset({"stage0"}))
    # 36 edges of additions become, for each block, one line past it; the head's edge and the entry come on top.
    assert len(drawing.lines) < 4 * 8
    order = ["stem", *(f"stage0.{n}" for n in range(8))]
    edges = [(a, b) for b in range(1, len(order)) for a in range(b)]
    flow = flow_of(len(order), edges)
    assert [len(joint.direct) for joint in flow.joints] == [1] * 8


def test_an_open_residual_block_shows_its_shortcut_inside():
    network = network_tree(residual(3))
    flat = lay_out(network, frozenset({"stage0"}))
    opened = lay_out(network, frozenset({"stage0", "stage0.1"}))
    inside = next(box for box in opened.boxes if box.part.name == "stage0.1")
    joints = [
        (x, y)
        for x, y in opened.joints
        if inside.x < x < inside.x + inside.width and inside.y < y < inside.y + inside.height
    ]
    assert len(joints) == 1
    assert len(opened.joints) == len(flat.joints)


def test_branches_lie_side_by_side_and_meet():
    network = network_tree(inception(1))
    drawing = lay_out(network, frozenset({"mixed0"}))
    branches = [box for box in drawing.boxes if box.part.name.startswith("mixed0.branch")]
    assert len({round(box.x) for box in branches}) == 4
    assert flow_of(5, [(0, n) for n in range(1, 5)]).row == (0, 1, 1, 1, 1)


def test_layers_that_no_line_touches_lie_below_each_other():
    drawing = lay_out(network_tree(described([f"layer{n}" for n in range(6)], [])), frozenset())
    assert len({box.x for box in drawing.boxes}) == 1
    flow = flow_of(4, [(1, 3)])
    assert flow.row == (2, 0, 3, 1)


def test_a_drawing_does_not_depend_on_chance():
    description = inception(3)
    shuffled = {**description, "edges": random.Random(0).sample(description["edges"], len(description["edges"]))}
    for (_, _, one), (_, _, other) in zip(all_drawings(description), all_drawings(shuffled), strict=True):
        assert [(box.part.name, box.x, box.y, box.width, box.height) for box in one.boxes] == [
            (box.part.name, box.x, box.y, box.width, box.height) for box in other.boxes
        ]
        assert one.lines == other.lines
        assert one.joints == other.joints


def test_norms_and_loose_parameters_join_a_layer():
    description = described(
        ["token", "a.conv", "a.norm", "b.norm", "b.conv"],
        [("a.conv", "a.norm"), ("a.norm", "b.norm"), ("b.norm", "b.conv")],
        norms=("a.norm", "b.norm"),
    )
    description["layers"][0]["kind"] = "Parameter"
    network = network_tree(description)
    assert network.leaves["a.norm"].layers == ("a.conv", "token", "a.norm")
    assert network.leaves["token"].name == "a.conv"
    assert network.leaves["b.norm"].layers == ("b.norm",)  # of another part than the layer before it


def test_openings_go_from_stages_to_layers():
    network = network_tree(residual(20))
    assert list(openings(network)) == ["Stages", "Blocks", "Layers"]
    assert openings(network)["Stages"] == frozenset()
    assert openings(network)["Layers"] == frozenset(network.groups)
    assert start_of(network) == "Blocks"
    assert start_of(network_tree(described(["only"], []))) == "Layers"


@pytest.mark.parametrize("size", ["macs", "parameters"])
def test_a_larger_layer_is_taller(size: str):
    network = network_tree(residual(4))
    boxes = [box for box in lay_out(network, frozenset(network.groups), size=size).boxes if not box.opened]
    by_cost = sorted(boxes, key=lambda box: network.cost(box.part, size))
    assert all(one.height <= other.height for one, other in itertools.pairwise(by_cost))
    assert by_cost[0].height < by_cost[-1].height


def test_nothing_to_draw_is_an_empty_drawing():
    drawing = lay_out(network_tree({}), frozenset())
    assert drawing.boxes == ()
    assert flow_of(0, [], []).joints == ()
    assert flow_of(1, [(ENTRY, 0)], [0]).leaving == 1


def _calls(make: Callable[[int], dict[str, Any]], count: int) -> tuple[int, int]:
    """Calls of functions that laying out takes, and the size of the network: layers and edges."""
    description = make(count)
    calls = 0

    def counted(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        network = network_tree(description)
        lay_out(network, frozenset(network.groups))
    finally:
        sys.setprofile(before)
    return calls, len(description["layers"]) + len(description["edges"])


@pytest.mark.parametrize("make", [residual, inception, unet])
def test_the_work_grows_with_layers_and_edges_only(make: Callable[[int], dict[str, Any]]):
    small, small_size = _calls(make, 20)
    large, large_size = _calls(make, 80)
    assert large / small < 1.8 * large_size / small_size


def test_a_very_large_network_takes_few_operations():
    calls, _ = _calls(dense, 120)  # 7,140 edges
    assert calls < 300_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnet50", "resnet152", "densenet201", "mobilenet_v3_small", "vit_b_16", "deeplabv3_mobilenet_v3_large"]
)
def test_real_networks(name: str, monkeypatch: pytest.MonkeyPatch):
    from core.analysis.describe import describe_model
    from core.models.opening import open_model

    model = open_model(f"torchvision/{name}", weights="random")
    monkeypatch.setitem(MADE, name, lambda: describe_model(model))
    for check in (
        test_every_layer_is_drawn_once,
        test_boxes_lie_beside_each_other_or_inside,
        test_lines_run_straight_and_over_no_box,
        test_values_flow_downwards,
    ):
        check(name)
