"""Layers or groups: which of them the Sensitivity page is about, and what follows from that."""

from collections.abc import Mapping
from typing import Any, Literal

import streamlit as st

from core.comb.sheet import GroupSheet
from core.errors import ModelError
from core.methods import METHODS
from core.pruning.criteria import CRITERIA
from core.pruning.groups import GROUP_CRITERIA
from core.store.records import Model, Session
from dashboard import stored
from dashboard.components.group_facts import named
from dashboard.components.plan_draft import DraftEditor, draft_of
from dashboard.components.plan_layers import prunable_layers

__all__ = ["Kind", "chosen_kind", "criteria", "groups_to_measure", "kind_of", "pinned", "rows_of"]

Kind = Literal["layers", "groups"]


def groups_to_measure(model: Model) -> GroupSheet | None:
    """The groups that can shrink; None when there are none, or when an older Espalier did not look for them."""
    try:
        sheet = stored.group_sheet(model)
    except ModelError:
        return None
    return sheet if sheet is not None and sheet.groups else None


def chosen_kind(session: Session, sheet: GroupSheet | None) -> Kind:
    """Draw the choice, where there is one; a plan that removes units begins with groups."""
    if sheet is None:
        return "layers"
    method = draft_of(session).method
    chosen = st.segmented_control(
        "What is pruned",
        ("layers", "groups"),
        default="groups" if method in METHODS and METHODS[method].removes == "units" else "layers",
        required=True,
        format_func=lambda kind: "Weights of layers" if kind == "layers" else "Units of groups",
        key="sensitivity-kind",
        label_visibility="collapsed",
    )
    return "groups" if chosen == "groups" else "layers"


def kind_of(settings: Mapping[str, Any]) -> str:
    """What a stored measurement or a job is about; before there were groups all were about layers."""
    return str(settings.get("of") or "layers")


def rows_of(model: Model, sheet: GroupSheet | None, kind: Kind) -> list[str]:
    """The rows of the picture, in execution order."""
    if kind == "groups" and sheet is not None:
        return [group.name for group in sheet.groups]
    return [str(layer["name"]) for layer in prunable_layers(model)]


def criteria(kind: Kind) -> dict[str, str]:
    """The criteria to choose among: name → label."""
    if kind == "groups":
        return {name: GROUP_CRITERIA[name].title for name in GROUP_CRITERIA}
    return {name: name for name in CRITERIA}


def pinned(editor: DraftEditor, sheet: GroupSheet | None) -> dict[str, float]:
    """What the draft pins of the rows of the picture: a layer's own sparsity, or a group's."""
    overrides = editor.plan.overrides
    if sheet is None:
        return dict(overrides)
    return {group.name: overrides[named(group)] for group in sheet.groups if named(group) in overrides}
