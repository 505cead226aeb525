"""Coupled groups in words: what they are called, who is in them, what a name in a plan means, what a protection costs.

Pure functions over a ``GroupSheet``; they know nothing of Streamlit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.comb.sheet import GroupSheet, SheetGroup
from core.pruning.plan import Plan
from dashboard.components.format import whole

__all__ = [
    "KINDS",
    "Consequence",
    "choices_of",
    "consequences",
    "groups_named",
    "known_names",
    "left_out",
    "listed",
    "named",
    "role_of",
    "size_words",
    "unit_word",
    "unknown_names",
]

KINDS = {
    "channels": "channels",
    "heads": "heads",
    "head_width": "head width",
    "neurons": "neurons",
    "embedding": "embedding",
}
"""Kinds of groups, in the order of menus."""

_PREFIX = "group:"


def named(group: SheetGroup) -> str:
    """The name under which a plan speaks of a group, and only of it: many groups are called like a layer."""
    return f"{_PREFIX}{group.name}"


def size_words(group: SheetGroup, units: int | None = None) -> str:
    """How many units, in words: ``16 channels``, ``6 heads``, ``head width 12``, ``72 embedding channels``. How many
    rows a head has is not said: where query, key and value are one matrix they are three times its width."""
    count = group.units if units is None else units
    if group.kind == "head_width":
        return f"head width {whole(count)}"
    if group.kind == "heads":
        return f"{whole(count)} {'head' if count == 1 else 'heads'}"
    word = {"channels": "channel", "neurons": "neuron", "embedding": "embedding channel"}[group.kind]
    wide = f" of {whole(group.width)}" if group.width > 1 else ""
    return f"{whole(count)} {word}{'' if count == 1 else 's'}{wide}"


def stay_words(group: SheetGroup, kept: int) -> str:
    """How many of the group's units stay, in words: ``3 of 6 heads stay``, ``head width 8 of 12 stays``."""
    if group.kind == "head_width":
        return f"head width {whole(kept)} of {whole(group.units)} stays"
    return f"{whole(kept)} of {whole(group.units)} {KINDS[group.kind]}{' channels' * (group.kind == 'embedding')} stay"


def unit_word(group: SheetGroup) -> str:
    """One unit of the group."""
    return {"head_width": "dimension of every head", "heads": "head", "embedding": "embedding channel"}.get(
        group.kind, group.kind.removesuffix("s")
    )


def listed(names: Sequence[str], most: int = 4) -> str:
    """``a, b and c``; with more than ``most`` names ``a, b, c and 12 more``."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))


def role_of(group: SheetGroup, layer: str) -> str:
    """What happens to a layer when the group shrinks: it makes fewer, it reads fewer, or it follows what is between."""
    return "makes" if layer in group.creators else "reads" if layer in group.readers else "follows"


def _layers(sheet: GroupSheet) -> set[str]:
    return {*sheet.prunable, *(layer for group in sheet.groups for layer in group.layers)}


def known_names(sheet: GroupSheet) -> set[str]:
    """Every name that a plan for a method on groups may use."""
    return _layers(sheet) | {name for group in sheet.groups for name in (group.name, named(group))}


def groups_named(sheet: GroupSheet, name: str) -> tuple[SheetGroup, ...]:
    """What a name in a plan means: the one group, or all groups over the outputs of a layer; none when unknown."""
    if name not in _layers(sheet):
        return tuple(group for group in sheet.groups if group.name == name.removeprefix(_PREFIX))
    return sheet.groups_of(name)


def unknown_names(plan: Plan, known: set[str]) -> list[str]:
    """Names in the plan's overrides, patterns and protections that are not known, in order, each once."""
    return [name for name in dict.fromkeys((*plan.overrides, *plan.patterns, *plan.protected)) if name not in known]


def choices_of(sheet: GroupSheet, plan: Plan) -> tuple[dict[str, float], set[str]]:
    """Group name → the sparsity that the plan fixes, and the groups that it protects; protection wins."""
    held = {group.name for name in plan.protected for group in groups_named(sheet, name)}
    fixed: dict[str, float] = {}
    for name, ratio in plan.overrides.items():
        for group in groups_named(sheet, name):
            if group.name not in held:
                fixed.setdefault(group.name, ratio)
    return fixed, held


@dataclass(frozen=True)
class Consequence:
    """What a name in the plan does beyond itself. ``others`` are layers whose outputs share its fate."""

    name: str
    protected: bool
    others: tuple[str, ...]
    why: str
    units: str

    @property
    def sentence(self) -> str:
        """For a person, before anything runs."""
        name = self.name.removeprefix(_PREFIX)
        if not self.units:
            return f"{'Protecting' if self.protected else 'Fixing'} {name} changes nothing: {self.why}"
        if not self.others:
            return f"{'Protecting' if self.protected else 'Fixing'} {name} concerns {self.units} of it alone."
        kept = f"Protecting {name} also keeps {listed(self.others)} whole"
        fixed = f"Fixing {name} also fixes {listed(self.others)}"
        return f"{kept if self.protected else fixed}, because {self.why}"


def consequences(sheet: GroupSheet, plan: Plan) -> list[Consequence]:
    """Everything that protections and fixed sparsities of this plan mean for other layers; protections first."""
    frozen = {layer: item.reason for item in sheet.frozen for layer in item.layers}
    result = []
    names = [(name, True) for name in plan.protected]
    names += [(name, False) for name, ratio in plan.overrides.items() if ratio > 0 and name not in plan.protected]
    for name, protected in names:
        groups = groups_named(sheet, name)
        own = name.removeprefix(_PREFIX)
        if not groups:
            if own in frozen:
                result.append(Consequence(name, protected, (), f"it cannot shrink anyway ({frozen[own]}).", ""))
            continue
        others = dict.fromkeys(layer for group in groups for layer in group.creators if layer != own)
        units = " and ".join(size_words(group) for group in groups)
        result.append(Consequence(name, protected, tuple(others), _why(groups, own), units))
    return result


def _why(groups: Sequence[SheetGroup], layer: str) -> str:
    """The first sentence that names the layer; else the group's first; as the end of a sentence."""
    couplings = [coupling for group in groups for coupling in group.couplings if len(coupling.layers) > 1]
    mine = [coupling for coupling in couplings if layer in coupling.layers] or couplings
    if not mine:
        return "their channels are one and the same."
    text = mine[0].text.rstrip(".")
    more = len(couplings) - 1
    return f"{text}{f' (and {more} more such links)' if more > 0 else ''}."


def left_out(sheet: GroupSheet, kinds: Sequence[str]) -> Mapping[str, int]:
    """Kinds that the method's settings leave out → how many groups stay whole because of that."""
    counts: dict[str, int] = {}
    for group in sheet.groups:
        if group.kind not in kinds:
            counts[group.kind] = counts.get(group.kind, 0) + 1
    return counts
