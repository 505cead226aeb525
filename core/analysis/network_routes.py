"""Lines between the boxes of one part of a drawing: straight in a lane, past other boxes on a rail, between columns.

A part is drawn as rows from top to bottom, broken into columns where it is tall. Lines run only where no box is: in the
gaps between rows, below a box in its own lane, on *rails* right of the boxes of a column, in the *gutters* between
columns and above all columns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .network_flow import ENTRY, Flow

__all__ = ["GAP_PX", "TRACK_PX", "Column", "Line", "Point", "Routes", "Spot", "draw_routes", "gap_px", "plan_routes"]

Point = tuple[float, float]

GAP_PX = 16.0
"""Between two rows, where one joint lies."""
JOINT_PX = 6.0
"""More for each further joint in a gap."""
TRACK_PX = 7.0
"""Between parallel lines."""
_CLEARANCE_PX = 9.0


@dataclass(frozen=True)
class Line:
    """A polyline; ``arrow``: it ends at a box. ``back``: it leads against the order of execution."""

    points: tuple[Point, ...]
    arrow: bool = False
    back: bool = False


@dataclass(frozen=True)
class Spot:
    """Where lines enter and leave a box: x of both, its top and bottom, and those of its row."""

    enter_x: float
    leave_x: float
    top: float
    bottom: float
    row_top: float
    row_bottom: float


@dataclass
class Column:
    """Rows ``first`` … ``last`` of a part. ``left``, ``right``: of its boxes; then come rails, then the gutter."""

    first: int
    last: int
    left: float = 0.0
    right: float = 0.0
    rails: int = 0
    gutters: int = 0

    @property
    def rail_px(self) -> float:
        """Width that the rails need."""
        return _CLEARANCE_PX + (self.rails - 1) * TRACK_PX if self.rails else 0.0

    @property
    def gutter_px(self) -> float:
        """Width that the gutter needs where lines run in it."""
        return _CLEARANCE_PX + self.gutters * TRACK_PX if self.gutters else 0.0

    def rail_x(self, track: int) -> float:
        """Where a rail runs."""
        return self.right + _CLEARANCE_PX + track * TRACK_PX

    def gutter_x(self, track: int) -> float:
        """Where a line in the gutter runs."""
        return self.right + self.rail_px + _CLEARANCE_PX + track * TRACK_PX


@dataclass(frozen=True)
class _Link:
    """One line to a joint, or back to a box: from a box or ``ENTRY`` (``box``), or from another joint."""

    joint: int | None
    box: int | None
    source: int | None
    to_box: int | None = None


@dataclass
class Routes:
    """Which track each line takes; ``tops``: how many lines run above all columns."""

    columns: Sequence[Column]
    rails: dict[_Link, int] = field(default_factory=dict)
    gutters: dict[tuple[_Link, int], int] = field(default_factory=dict)
    tops: dict[_Link, int] = field(default_factory=dict)

    def column(self, row: int) -> int:
        """Number of the column of a row; what lies below all rows belongs to the last column."""
        return next((n for n, column in enumerate(self.columns) if row <= column.last), len(self.columns) - 1)


def _links(flow: Flow, without: frozenset[int]) -> Iterator[_Link]:
    """All lines to joints; the joints in ``without`` do not continue another one here."""
    for number, joint in enumerate(flow.joints):
        for box in joint.direct:
            yield _Link(number, box, None)
        if joint.above is not None and number not in without:
            yield _Link(number, None, joint.above)
    for box, target in flow.back:
        yield _Link(None, box, None, target)


def _ends(flow: Flow, link: _Link) -> tuple[int, int]:
    """The rows between which a line runs: the one it starts above or (a box) in, and the one it ends above."""
    start = flow.joints[link.source].row if link.source is not None else 0
    if link.box is not None and link.box != ENTRY:
        start = flow.row[link.box]
    end = flow.joints[link.joint].row if link.joint is not None else flow.row[link.to_box or 0]
    return start, end


def _straight(flow: Flow, link: _Link) -> bool:
    """Whether the line runs down its own lane."""
    if link.joint is None or link.box is None:
        return False
    joint = flow.joints[link.joint]
    return joint.row == 0 if link.box == ENTRY else not flow.long(link.box, joint)


def plan_routes(flow: Flow, columns: Sequence[Column], without: frozenset[int] = frozenset()) -> Routes:
    """Give every line its tracks, short lines the inner ones, and tell the columns how many there are."""
    routes = Routes(columns)
    taken: dict[int, list[list[tuple[int, int]]]] = {}
    for link in sorted(_links(flow, without), key=lambda link: (_length(flow, link), _ends(flow, link))):
        start, end = _span(flow, link)
        first, last = (routes.column(row) for row in _ends(flow, link))
        if first == last and _straight(flow, link):
            continue
        if first == last:
            tracks = taken.setdefault(first, [])
            free = (n for n, spans in enumerate(tracks) if all(end <= a or b <= start for a, b in spans))
            track = next(free, len(tracks))
            tracks[track:] = [[*(tracks[track] if track < len(tracks) else []), (start, end)], *tracks[track + 1 :]]
            routes.rails[link] = track
            columns[first].rails = len(tracks)
            continue
        used = {first, last - 1 if last > first else last}
        for number in used:
            routes.gutters[link, number] = columns[number].gutters
            columns[number].gutters += 1
        if len(used) > 1:
            routes.tops[link] = len(routes.tops)
    return routes


def _length(flow: Flow, link: _Link) -> int:
    start, end = _span(flow, link)
    return end - start


def _span(flow: Flow, link: _Link) -> tuple[int, int]:
    """The gaps, numbered by the row below, between which a line runs beside the rows."""
    start, end = _ends(flow, link)
    start += link.box is not None and link.box != ENTRY
    return min(start, end), max(start, end)


def draw_routes(
    flow: Flow,
    routes: Routes,
    spots: Sequence[Spot],
    joints: Sequence[Point],
    *,
    entry: Point,
    leaving: Point | None,
    top: float,
    without: frozenset[int] = frozenset(),
) -> list[Line]:
    """All lines as polylines. ``joints``: where each joint lies; ``top``: above it run the lines over all columns."""
    lines = []
    for link in _links(flow, without):
        lines.append(_line(flow, routes, link, spots, joints, entry, top))
    for box, number in enumerate(flow.joint_of):
        if number is not None:
            x, y = joints[number]
            spot = spots[box]
            lines.append(Line(_tidy([(x, y), (spot.enter_x, y), (spot.enter_x, spot.top)]), arrow=True))
    if flow.leaving is not None and leaving is not None:
        x, y = joints[flow.leaving]
        lines.append(Line(_tidy([(x, y), (leaving[0], y), leaving])))
    return lines


def _line(
    flow: Flow,
    routes: Routes,
    link: _Link,
    spots: Sequence[Spot],
    joints: Sequence[Point],
    entry: Point,
    top: float,
) -> Line:
    back = link.joint is None
    start = [joints[link.source]] if link.source is not None else [entry]
    if link.box is not None and link.box != ENTRY:
        start = [(spots[link.box].leave_x, spots[link.box].bottom)]
    if link.joint is not None:
        end = [joints[link.joint]]
    else:
        target = spots[link.to_box or 0]
        end = [(target.enter_x, target.row_top - _CLEARANCE_PX / 2), (target.enter_x, target.top)]
    x, y = start[-1]
    first, last = (routes.column(row) for row in _ends(flow, link))
    if link not in routes.rails and (link, first) not in routes.gutters:
        return Line(_tidy([*start, (x, end[0][1]), *end]))
    if link.source is None:  # out of a box, or of the top of the part, into the gap below it
        y = (spots[link.box].row_bottom if link.box not in (None, ENTRY) else y) + GAP_PX / 2 - 2.0
        start.append((x, y))
    if link in routes.rails:
        rail = routes.columns[first].rail_x(routes.rails[link])
        return Line(_tidy([*start, (rail, y), (rail, end[0][1]), *end]), arrow=back, back=back)
    out = routes.columns[first].gutter_x(routes.gutters[link, first])
    if link not in routes.tops:
        return Line(_tidy([*start, (out, y), (out, end[0][1]), *end]), arrow=back, back=back)
    number = last - 1 if last > first else last
    into = routes.columns[number].gutter_x(routes.gutters[link, number])
    over = top - routes.tops[link] * TRACK_PX
    return Line(_tidy([*start, (out, y), (out, over), (into, over), (into, end[0][1]), *end]), arrow=back, back=back)


def _tidy(points: Sequence[Point]) -> tuple[Point, ...]:
    """Without repeated points and without points in the middle of a straight stretch."""
    kept: list[Point] = []
    for point in points:
        if kept and point == kept[-1]:
            continue
        if len(kept) > 1 and any(kept[-2][axis] == kept[-1][axis] == point[axis] for axis in (0, 1)):
            kept.pop()
        kept.append(point)
    return tuple(kept)


def gap_px(joints: int) -> float:
    """Height of the gap above a row: room for its joints."""
    return GAP_PX + JOINT_PX * max(0, joints - 1)
