"""The layers of a network as a tree of named parts, for drawing: stages hold blocks, blocks hold layers.

Works on the JSON of ``describe_model`` alone, so a server without torch can use it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

__all__ = ["Network", "Part", "network_tree", "openings", "start_of"]

_CLEAR = 30
"""A drawing with at most so many boxes is taken in at a glance."""
_LARGEST_SHARE = 0.75
"""A stage that holds more of the layers than this says nothing about the network: it is opened at once."""
_DEEPEST = 24
"""Steps of a name that make groups; what follows is one step."""
_TITLES = ("Stages", "Blocks", "Layers")


@dataclass(frozen=True, eq=False)
class Part:
    """A layer with the norms and parameters that belong to it (``parts`` is empty), or a named group of parts.

    ``name`` is the dotted name of the layer or group, ``label`` what remains of it inside the part around it, and
    ``layers`` are all layers in it, in execution order; of a layer with its norms and parameters the layer comes first.
    """

    name: str
    label: str
    layers: tuple[str, ...]
    parts: tuple["Part", ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Tells a group from a layer of the same name."""
        return ("group" if self.parts else "layer"), self.name

    def walk(self) -> Iterator["Part"]:
        """This part and all parts in it."""
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass(frozen=True, eq=False)
class Network:
    """``root`` holds everything; ``edges`` lead from layer to layer; ``macs`` and ``parameters`` are by layer."""

    root: Part
    edges: tuple[tuple[str, str], ...]
    macs: Mapping[str, int]
    parameters: Mapping[str, int]

    @cached_property
    def groups(self) -> dict[str, Part]:
        """All groups by name, without the root."""
        return {part.name: part for part in self.root.walk() if part.parts and part is not self.root}

    @cached_property
    def leaves(self) -> dict[str, Part]:
        """The part with its norms that each layer is drawn in."""
        return {layer: part for part in self.root.walk() if not part.parts for layer in part.layers}

    def cost(self, part: Part, size: str) -> int:
        """MACs or parameters (``size``) of a part."""
        known = self.macs if size == "macs" else self.parameters
        return sum(known[layer] for layer in part.layers)


@dataclass
class _Branch:
    """A node of the tree of dotted names while it is built."""

    layer: str | None = None
    below: dict[str, "_Branch"] = field(default_factory=dict)


def network_tree(description: Mapping[str, Any]) -> Network:
    """The tree of a model's description.

    Norms and the like join the layer before them where it alone feeds them; a parameter that the forward uses directly
    (a class token, a position embedding) joins the layer that runs next.
    """
    rows = {str(row["name"]): row for row in description.get("layers", ())}
    edges = tuple((a, b) for a, b in map(tuple, description.get("edges") or ()) if a in rows and b in rows and a != b)
    units = _units(rows, edges)
    top = _Branch()
    for name in units:
        branch = top
        for step in name.split(".", _DEEPEST):
            branch = branch.below.setdefault(step, _Branch())
        branch.layer = name
    order = {name: number for number, name in enumerate(rows)}
    root = Part("", "", tuple(rows), _ordered(_parts(top, None, None, units), order))
    macs = {name: int(row.get("macs") or 0) for name, row in rows.items()}
    return Network(root, edges, macs, {name: int(row.get("parameters") or 0) for name, row in rows.items()})


def _units(rows: Mapping[str, Any], edges: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Head layer → the layers drawn with it, itself first."""
    before: dict[str, list[str]] = {}
    for source, target in edges:
        before.setdefault(target, []).append(source)
    wired = {layer for edge in edges for layer in edge}
    head: dict[str, str] = {}
    units: dict[str, list[str]] = {}
    loose: list[str] = []
    for name, row in rows.items():
        if name not in wired and row.get("kind") == "Parameter":
            loose.append(name)
            continue
        feeding = before.get(name, [])
        ahead = head.get(feeding[0]) if len(feeding) == 1 else None
        if ahead is not None and not row.get("prunable") and _parent(name) == _parent(ahead):
            head[name] = ahead
            units[ahead].append(name)
        else:
            head[name] = name
            units[name] = [name, *loose]
            loose = []
    if loose and units:
        units[next(reversed(units))] += loose
    return units or {name: [name] for name in loose}


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _parts(branch: _Branch, path: str | None, around: str | None, units: Mapping[str, list[str]]) -> list[Part]:
    """The parts below a branch; a group that holds nothing but one part is left out.

    ``path``: the dotted name of the branch, ``around``: that of the group around it; None at the root, because the
    steps of a name may be empty.
    """
    result = []
    for step, below in branch.below.items():
        here = step if path is None else f"{path}.{step}"
        single = below.layer is None and len(below.below) == 1
        if single:
            result += _parts(below, here, around, units)
            continue
        if below.layer is not None:
            result.append(Part(below.layer, _label(below.layer, around), tuple(units[below.layer])))
        if below.below:
            inside = _parts(below, here, here, units)
            result.append(Part(here, _label(here, around), (), tuple(inside)))
    return result


def _label(name: str, around: str | None) -> str:
    return name if around is None else name[len(around) + 1 :]


def _ordered(parts: Sequence[Part], order: Mapping[str, int]) -> tuple[Part, ...]:
    """Parts by the first layer that runs in them, and groups with the layers that are in them."""
    filled = []
    for part in parts:
        inside = _ordered(part.parts, order)
        layers = [layer for one in inside for layer in one.layers] if inside else part.layers
        ran = sorted(layers, key=order.__getitem__) if inside else layers
        filled.append(Part(part.name, part.label, tuple(ran), inside))
    return tuple(sorted(filled, key=lambda part: order[part.layers[0]]))


def openings(network: Network) -> dict[str, frozenset[str]]:
    """How far a network can be opened, coarse to fine: title → names of the groups that are open.

    The coarsest is the first depth at which no box holds most of the layers; the finest shows every layer. The last
    one that is clear at a glance is where a drawing starts: see ``start_of``.
    """
    depths = [frozenset[str]()]
    boxes = [list(network.root.parts)]
    while any(part.parts for part in boxes[-1]):
        depths.append(depths[-1] | {part.name for part in boxes[-1] if part.parts})
        boxes.append([one for part in boxes[-1] for one in (part.parts or (part,))])
    most = _LARGEST_SHARE * len(network.root.layers)
    spread = (depth for depth, parts in enumerate(boxes) if max((len(p.layers) for p in parts), default=0) <= most)
    first = next(spread, len(boxes) - 1)
    chosen = sorted({first, min(first + 1, len(boxes) - 1), len(boxes) - 1})
    titles = _TITLES if len(chosen) == len(_TITLES) else (_TITLES[0], _TITLES[-1])[-len(chosen) :]
    return {title: depths[depth] for title, depth in zip(titles, chosen, strict=True)}


def start_of(network: Network) -> str:
    """Title of the finest opening with few enough boxes to take in at a glance."""
    known = openings(network)
    clear = [title for title, opened in known.items() if _boxes(network.root, opened) <= _CLEAR]
    return clear[-1] if clear else next(iter(known))


def _boxes(part: Part, opened: frozenset[str]) -> int:
    """Boxes that are drawn for what is in a part."""
    return sum(_boxes(one, opened) if one.parts and one.name in opened else 1 for one in part.parts)
