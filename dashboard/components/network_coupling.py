"""Which layers shrink together, as the drawn network shows it: roles of lit layers, and words for the hover.

Pure functions over a ``GroupSheet``; they know nothing of Streamlit.
"""

from core.comb.sheet import GroupSheet, SheetGroup
from dashboard.components.format import short_path
from dashboard.components.group_facts import listed, size_words

__all__ = ["coupled_words", "group_of_layer", "roles_of"]

_NAME_CHARS = 28


def roles_of(group: SheetGroup) -> dict[str, str]:
    """Layer → what it does in a group: ``makes``, ``reads`` or ``follows``."""
    return (
        dict.fromkeys(group.layers, "follows")
        | dict.fromkeys(group.readers, "reads")
        | dict.fromkeys(group.creators, "makes")
    )


def coupled_words(sheet: GroupSheet | None) -> dict[str, str]:
    """Layer → which others lose outputs with it, in plain text; layers that stand alone or cannot shrink say that."""
    if sheet is None:
        return {}
    found = {layer: "its outputs cannot shrink" for item in sheet.frozen for layer in item.layers}
    return found | {layer: _alone_or_with(group, layer) for group in sheet.groups for layer in group.creators}


def _alone_or_with(group: SheetGroup, layer: str) -> str:
    others = [short_path(name, _NAME_CHARS) for name in group.creators if name != layer]
    if others:
        return f"shrinks together with {listed(others)} ({size_words(group)})"
    readers = [short_path(name, _NAME_CHARS) for name in group.readers]
    read = f"; {listed(readers)} {'reads' if len(readers) == 1 else 'read'} it" if readers else ""
    return f"shrinks alone ({size_words(group)}){read}"


def group_of_layer(sheet: GroupSheet, layer: str) -> SheetGroup | None:
    """The group that a click on a layer means: the one whose units it makes, else the first that holds it between
    makers and readers, else the first that it reads; None where it belongs to none."""
    between = [group for group in sheet.groups if layer in group.layers and layer not in group.readers]
    found = [*sheet.groups_of(layer), *between, *(group for group in sheet.groups if layer in group.readers)]
    return found[0] if found else None
