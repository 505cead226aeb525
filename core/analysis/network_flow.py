"""How values flow between the boxes of one part of a network: joints, rows and lanes, for drawing.

Boxes have numbers 0 … n − 1 in execution order; ``ENTRY`` stands for what comes in from outside. Boxes that take in
the same values share one *joint*, the point where these meet (an addition, a concatenation, or just a line). A joint
whose values include all those of another joint is drawn as a continuation of that one: the chain of joints of a
residual or a dense network is one line past its blocks instead of a line for each pair of layers. Every step is
linear in the number of boxes and edges, but for the search of the joint to continue, which compares sets as bit masks.

The rows and lanes are those of a layered drawing (Sugiyama, Tagawa, Toda: Methods for visual understanding of
hierarchical system structures, 1981) whose order within a row is execution order: it needs no crossing minimisation.
"""

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ENTRY", "Flow", "Joint", "flow_of"]

ENTRY = -1
_LONG_ROWS = 6
"""An edge over more rows gets no lane of its own: it goes beside all lanes."""


@dataclass(frozen=True)
class Joint:
    """Where values meet. ``direct``: boxes (or ``ENTRY``) that lead here; ``above``: the joint that it continues.

    ``row``: the joint lies above the boxes of this row.
    """

    direct: tuple[int, ...]
    above: int | None
    row: int


@dataclass(frozen=True)
class Flow:
    """``joint_of``, ``row`` and ``lane`` have one entry per box; ``leaving`` is the joint of what goes out, if any.

    ``back``: edges against the order of execution, between boxes whose layers run alternately; they take no part.
    """

    joints: tuple[Joint, ...]
    joint_of: tuple[int | None, ...]
    leaving: int | None
    row: tuple[int, ...]
    lane: tuple[int, ...]
    rows: int
    back: tuple[tuple[int, int], ...]

    def long(self, box: int, joint: Joint) -> bool:
        """Whether the edge from a box to a joint goes beside the lanes."""
        return joint.row - self.row[box] > _LONG_ROWS


def flow_of(count: int, edges: Sequence[tuple[int, int]], leaving: Sequence[int] = ()) -> Flow:
    """The flow between ``count`` boxes.

    ``edges`` are pairs of boxes, or of ``ENTRY`` and a box; ``leaving`` the boxes (or ``ENTRY``) whose values go out.
    """
    forward = {edge for edge in edges if edge[0] < edge[1]}
    back = tuple(sorted({edge for edge in edges if edge[0] > edge[1]}))
    masks = [0] * count
    for source, target in forward:
        masks[target] |= 1 << (source + 1)
    out = sum(1 << (box + 1) for box in set(leaving))
    rows = _rows(masks, out)
    depth = max(rows, default=-1) + 1
    known: dict[int, int] = {}
    joints: list[Joint] = []
    for mask in sorted({mask for mask in masks if mask}, key=lambda mask: (mask.bit_count(), mask)):
        joints.append(_joint(mask, known, joints, _row_below(mask, rows)))
        known[mask] = len(joints) - 1
    joint_of = tuple(known.get(mask) for mask in masks)
    if out:
        joints.append(_joint(out, known, joints, depth))
    rows = _late_sources(rows, joint_of, joints)
    lanes = _lanes(rows, joints, joint_of)
    return Flow(tuple(joints), joint_of, len(joints) - 1 if out else None, tuple(rows), tuple(lanes), depth, back)


def _bits(mask: int) -> list[int]:
    """Numbers of the set bits, ascending."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


def _row_below(mask: int, rows: Sequence[int]) -> int:
    """The row under everything in the mask; ``ENTRY`` lies above row 0."""
    return max((rows[bit - 1] + 1 if bit else 0) for bit in _bits(mask))


def _rows(masks: Sequence[int], out: int) -> list[int]:
    """The longest path that leads to each box; boxes that no line touches come last, one below the other."""
    known: dict[int, int] = {}
    rows: list[int] = []
    for mask in masks:
        if mask not in known:
            known[mask] = _row_below(mask, rows) if mask else 0
        rows.append(known[mask])
    read = functools.reduce(operator.or_, masks, out)
    loose = [box for box, mask in enumerate(masks) if not mask and not read >> (box + 1) & 1]
    below = max((row for box, row in enumerate(rows) if masks[box] or read >> (box + 1) & 1), default=-1) + 1
    for number, box in enumerate(loose):
        rows[box] = below + number
    return rows


def _joint(mask: int, known: dict[int, int], joints: Sequence[Joint], row: int) -> Joint:
    """The joint of a set of values above ``row``: it continues the largest joint further up whose values it has."""
    above = next((other for other in reversed(known) if other & mask == other and joints[known[other]].row < row), 0)
    return Joint(tuple(box - 1 for box in _bits(mask & ~above)), known.get(above), row)


def _late_sources(rows: Sequence[int], joint_of: Sequence[int | None], joints: Sequence[Joint]) -> list[int]:
    """Boxes that nothing feeds move down to the row above what reads them."""
    needed: dict[int, int] = {}
    for joint in joints:
        for box in joint.direct:
            needed[box] = min(needed.get(box, joint.row), joint.row)
    return [max(row, needed.get(box, 1) - 1) if joint_of[box] is None else row for box, row in enumerate(rows)]


def _lanes(rows: Sequence[int], joints: Sequence[Joint], joint_of: Sequence[int | None]) -> list[int]:
    """A lane for each box: that of the boxes before it where it is free, else the first free one."""
    until = list(rows)  # the last row in which a box or the line below it needs its lane
    for joint in joints:
        for box in joint.direct:
            if box != ENTRY and joint.row - rows[box] <= _LONG_ROWS:
                until[box] = max(until[box], joint.row - 1)
    read = {box for joint in joints for box in joint.direct}
    lanes = [0] * len(rows)
    busy: list[int] = []
    for box in sorted(range(len(rows)), key=lambda box: (rows[box], box not in read, box)):
        number = joint_of[box]
        before = [] if number is None else [lanes[other] for other in joints[number].direct if other != ENTRY]
        free = [lane for lane, row in enumerate(busy) if row < rows[box]]
        wished = min(before, default=0)
        lane = wished if wished in free else min(free, default=len(busy))
        busy[lane:] = [until[box], *busy[lane + 1 :]]
        lanes[box] = lane
    return lanes
