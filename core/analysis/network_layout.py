"""A network as a drawing: boxes inside boxes, rows from top to bottom, columns where a part is tall. In pixels.

Every open part is laid out by itself and becomes one rectangle of the part around it, so boxes never overlap and
nothing is drawn over a box; the work is linear in the number of boxes and edges but for the sets of
``core.analysis.network_flow``. The same network gives the same drawing.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from .network_flow import ENTRY, Flow, flow_of
from .network_routes import GAP_PX, TRACK_PX, Column, Line, Point, Spot, draw_routes, gap_px, plan_routes
from .network_tree import Network, Part

__all__ = ["HEADER_PX", "Box", "Drawing", "lay_out"]

HEADER_PX = 22.0
"""Height of the title of an open part."""
_WIDTH_PX, _NARROW_PX = 158.0, 118.0
_LANES_WIDE = 2
_LAYER_PX = (22.0, 18.0)  # lowest, and how much more the largest has
_GROUP_PX = (36.0, 16.0)
_PAD_PX = 9.0
_LANE_GAP_PX = 12.0
_COLUMN_GAP_PX = 16.0
_LEAST_TALL_PX = 150.0
_TALL_PX = (340.0, 420.0, 500.0, 580.0)
_OVERFULL = 1.2
"""A column may be so many times as high as it should before it is broken."""


@dataclass(frozen=True)
class Box:
    """A part on the drawing: left, top, width and height. ``opened``: its parts lie inside, below its title."""

    part: Part
    x: float
    y: float
    width: float
    height: float
    depth: int
    opened: bool = False


@dataclass(frozen=True, eq=False)
class Drawing:
    """``boxes`` from the outside in; ``joints`` are the points where several lines meet."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    joints: tuple[Point, ...]


def lay_out(network: Network, opened: frozenset[str], *, size: str = "macs", width_px: float = 700.0) -> Drawing:
    """Draw a network with these groups open (a group inside one that is closed stays hidden).

    ``size``: what the height of a box stands for, ``macs`` or ``parameters`` (its area grows with the square root).
    The drawing is as low as ``width_px`` allows; a network that is still wider is wider.
    """
    plan = _Plan(network, opened, size)
    tile = plan.tile(network.root, _TALL_PX[0], depth=0)
    for tall_px in _TALL_PX[1:]:
        if tile.width > width_px * tall_px / _TALL_PX[0] and tall_px < _TALL_PX[-1]:
            continue  # far from fitting
        if tile.width > width_px:
            tile = plan.tile(network.root, tall_px, depth=0)
    ink = _Ink([], [], [])
    tile.draw(ink, 0.0, 0.0)
    return Drawing(tile.width, tile.height, tuple(ink.boxes), tuple(ink.lines), tuple(ink.joints))


class _Ink(NamedTuple):
    """What is drawn, in absolute places."""

    boxes: list[Box]
    lines: list[Line]
    joints: list[Point]


class _Tile:
    """The rectangle of one part; lines enter it at ``enter_x`` and leave at ``leave_x``, from its left."""

    def __init__(self, part: Part, width: float, height: float, depth: int) -> None:
        self.part, self.depth = part, depth
        self.width, self.height = width, height
        self.enter_x = self.leave_x = width / 2

    def draw(self, ink: _Ink, x: float, y: float) -> None:
        """Draw it with its upper left corner at x, y."""
        ink.boxes.append(Box(self.part, x, y, self.width, self.height, self.depth))


class _Plan:
    """The network with some groups open: who is drawn where is decided part by part."""

    def __init__(self, network: Network, opened: frozenset[str], size: str) -> None:
        self._opened = opened
        self._edges: dict[Part, list[tuple[int, int]]] = {}
        self._leaving: dict[Part, set[int]] = {}
        self._contract(network)
        self._flows: dict[Part, tuple[Flow, frozenset[int]]] = {}
        self._plan_flows(network.root, through=False)
        shown = [part for part in network.root.walk() if part is not network.root and not self.open(part)]
        self._cost = {part.key: network.cost(part, size) for part in shown}
        self._most = max((self._cost[part.key] for part in self._visible(network.root)), default=0)

    def open(self, part: Part) -> bool:
        """Whether the parts inside are drawn."""
        return bool(part.parts) and part.name in self._opened

    def _visible(self, part: Part) -> list[Part]:
        return [one for inside in part.parts for one in (self._visible(inside) if self.open(inside) else [inside])]

    def _contract(self, network: Network) -> None:
        """Edges between layers → edges between the boxes of each open part, and what enters and leaves it."""
        way: dict[str, tuple[tuple[Part, int], ...]] = {}
        parts: list[tuple[Part, tuple[tuple[Part, int], ...]]] = [(network.root, ())]
        while parts:
            part, around = parts.pop()
            for number, inside in enumerate(part.parts):
                here = (*around, (part, number))
                if self.open(inside):
                    parts.append((inside, here))
                else:
                    way.update(dict.fromkeys(inside.layers, here))
        for source, target in network.edges:
            one, other = way[source], way[target]
            same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
            if same is None:
                continue
            self._edges.setdefault(one[same][0], []).append((one[same][1], other[same][1]))
            for part, number in one[same + 1 :]:
                self._leaving.setdefault(part, set()).add(number)
            for part, number in other[same + 1 :]:
                self._edges.setdefault(part, []).append((ENTRY, number))

    def _plan_flows(self, part: Part, *, through: bool) -> None:
        """The flow in a part and in all open parts within. ``through``: what comes in also goes out beside its boxes.

        Where a line would run past an open part, from what it reads to what it makes, that line is drawn inside it:
        an open residual block shows its own shortcut.
        """
        leaving = sorted(self._leaving.get(part, ())) + ([ENTRY] if through else [])
        flow = flow_of(len(part.parts), self._edges.get(part, ()), leaving)
        inside = set()
        for number, one in enumerate(part.parts):
            if not self.open(one):
                continue
            above = flow.joint_of[number]
            after = [n for n, joint in enumerate(flow.joints) if number in joint.direct]
            passes = above is not None and bool(after)
            passes = passes and all(flow.joints[n].above == above and flow.joints[n].direct == (number,) for n in after)
            inside |= set(after) if passes else set()
            self._plan_flows(one, through=passes)
        self._flows[part] = flow, frozenset(inside)

    def tile(self, part: Part, tall_px: float, *, depth: int) -> _Tile:
        """Lay out an open part and everything in it, at most about ``tall_px`` high where it can be broken."""
        flow, without = self._flows[part]
        room = max(_LEAST_TALL_PX, tall_px - HEADER_PX - 2 * _PAD_PX)
        wide = _WIDTH_PX if max(flow.lane, default=0) < _LANES_WIDE else _NARROW_PX
        tiles = [
            self.tile(one, room, depth=depth + 1) if self.open(one) else self._closed(one, wide, depth + 1)
            for one in part.parts
        ]
        return _OpenTile(part, depth, tiles, flow, without, room)

    def _closed(self, part: Part, width: float, depth: int) -> _Tile:
        share = self._cost[part.key] / self._most if self._most else 0.0
        least, more = _GROUP_PX if part.parts else _LAYER_PX
        return _Tile(part, width, round(least + more * math.sqrt(share)), depth)


def _columns(flow: Flow, heights: Sequence[float], room: float) -> list[Column]:
    """Break the rows where they are higher than ``room``, at about equal heights and where only one line crosses."""
    joints = [0] * (len(heights) + 1)
    change = [0] * (len(heights) + 2)  # in the number of lines from above a row to below it
    for joint in flow.joints:
        joints[joint.row] += 1
        for box in joint.direct:
            if box != ENTRY:
                change[flow.row[box] + 1] += 1
                change[joint.row + 1] -= 1
    full = [gap_px(number) + height for number, height in zip(joints, heights, strict=False)]
    total = sum(full)
    if total <= _OVERFULL * room:
        return [Column(0, len(heights) - 1)]
    blocks: list[tuple[int, float]] = []  # rows that stay together: the first of them, and their height
    for row, crossing in enumerate(itertools.accumulate(change[: len(heights)])):
        if blocks and crossing > 1 and blocks[-1][1] < room:
            blocks[-1] = (blocks[-1][0], blocks[-1][1] + full[row])
        else:
            blocks.append((row, full[row]))
    low, high = max(height for _, height in blocks), total
    count = max(2, len(_filled(blocks, max(low, _OVERFULL * room))))
    while high - low > 1.0:  # the lowest columns of which there are not more than ``count``
        middle = (low + high) / 2
        low, high = (low, middle) if len(_filled(blocks, middle)) <= count else (middle, high)
    firsts = _filled(blocks, high)
    return [Column(first, last - 1) for first, last in itertools.pairwise([*firsts, len(heights)])]


def _filled(blocks: Sequence[tuple[int, float]], most: float) -> list[int]:
    """The rows in which columns begin when each is filled up to ``most``."""
    firsts, height = [], math.inf
    for row, full in blocks:
        if height + full > most:
            firsts.append(row)
            height = 0.0
        height += full
    return firsts


class _OpenTile(_Tile):
    """An open part: the tiles of its parts in rows and columns. The outermost part has neither frame nor title."""

    def __init__(
        self,
        part: Part,
        depth: int,
        tiles: Sequence[_Tile],
        flow: Flow,
        without: frozenset[int],
        room: float,
    ) -> None:
        super().__init__(part, 0.0, 0.0, depth)
        self._tiles, self._flow, self._without = tiles, flow, without
        self._heights = [0.0] * flow.rows
        for row, tile in zip(flow.row, tiles, strict=True):
            self._heights[row] = max(self._heights[row], tile.height)
        self._routes = plan_routes(flow, _columns(flow, self._heights, room), without)
        self._corners: list[Point] = [(0.0, 0.0)] * len(tiles)
        self._joints: list[Point] = [(0.0, 0.0)] * len(flow.joints)
        self._header = HEADER_PX if depth else 0.0
        self._top = self._header + len(self._routes.tops) * TRACK_PX
        self._fill()

    def draw(self, ink: _Ink, x: float, y: float) -> None:
        if self.depth:
            ink.boxes.append(Box(self.part, x, y, self.width, self.height, self.depth, opened=True))
        spots = []
        for tile, row, (left, above) in zip(self._tiles, self._flow.row, self._corners, strict=True):
            tile.draw(ink, x + left, y + above)
            middle, half = above + tile.height / 2, self._heights[row] / 2
            ends = above, above + tile.height, middle - half, middle + half
            spots.append(Spot(left + tile.enter_x, left + tile.leave_x, *ends))
        lines = draw_routes(
            self._flow,
            self._routes,
            spots,
            self._joints,
            entry=(self.enter_x, self._header),
            leaving=(self.leave_x, self.height),
            top=self._top,
            without=self._without,
        )
        ink.lines.extend(Line(tuple((a + x, b + y) for a, b in one.points), one.arrow, one.back) for one in lines)
        for number, joint in enumerate(self._flow.joints):
            if len(joint.direct) + (joint.above is not None and number not in self._without) > 1:
                ink.joints.append((self._joints[number][0] + x, self._joints[number][1] + y))

    def _fill(self) -> None:
        """Find the places of tiles and joints, and the size of it all."""
        left, low = _PAD_PX, self._top
        ports: list[float] = []
        for column in self._routes.columns:
            spines = self._spines(column, left)
            ports.append(spines.get(0, left))
            low = max(low, self._fill_column(column, spines))
            left = column.right + column.rail_px + column.gutter_px + _COLUMN_GAP_PX
        self.width = left - _COLUMN_GAP_PX + _PAD_PX
        self.height = low + (GAP_PX if self.depth else _PAD_PX)
        self.enter_x, self.leave_x = ports[0], ports[-1]
        if self._flow.leaving is not None:
            self._joints[self._flow.leaving] = self.leave_x, low + GAP_PX / 2

    def _spines(self, column: Column, left: float) -> dict[int, float]:
        """Lane → x of the lines into its boxes; says where the boxes of the column end."""
        before: dict[int, float] = {}
        behind: dict[int, float] = {}
        for row, lane, tile in zip(self._flow.row, self._flow.lane, self._tiles, strict=True):
            if column.first <= row <= column.last:
                before[lane] = max(before.get(lane, 0.0), tile.enter_x)
                behind[lane] = max(behind.get(lane, 0.0), tile.width - tile.enter_x)
        spines, x = {}, left
        for lane in sorted(before):
            spines[lane] = x + before[lane]
            x = spines[lane] + behind[lane] + _LANE_GAP_PX
        column.left, column.right = left, max(left, x - _LANE_GAP_PX)
        return spines

    def _fill_column(self, column: Column, spines: Mapping[int, float]) -> float:
        """Put the tiles and joints of a column in their places; returns where it ends."""
        y = self._top
        for row in range(column.first, column.last + 1):
            joints = self._joints_above[row]
            gap = gap_px(len(joints))
            for number, joint in enumerate(joints):
                x = spines[min(self._flow.lane[box] for box in self._readers[joint])]
                self._joints[joint] = x, y + gap * (number + 1) / (len(joints) + 1)
            y += gap
            for box in self._rows[row]:
                tile = self._tiles[box]
                above = y + (self._heights[row] - tile.height) / 2
                self._corners[box] = spines[self._flow.lane[box]] - tile.enter_x, above
            y += self._heights[row]
        return y

    @cached_property
    def _rows(self) -> list[list[int]]:
        rows: list[list[int]] = [[] for _ in range(self._flow.rows)]
        for box, row in enumerate(self._flow.row):
            rows[row].append(box)
        return rows

    @cached_property
    def _joints_above(self) -> list[list[int]]:
        rows: list[list[int]] = [[] for _ in range(self._flow.rows + 1)]
        for number, joint in enumerate(self._flow.joints):
            rows[joint.row].append(number)
        return rows

    @cached_property
    def _readers(self) -> dict[int, list[int]]:
        readers: dict[int, list[int]] = {}
        for box, read in enumerate(self._flow.joint_of):
            if read is not None:
                readers.setdefault(read, []).append(box)
        return readers
