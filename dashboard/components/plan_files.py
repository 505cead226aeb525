"""A plan as a file: download it, or read one that somebody made."""

import json
from typing import Any

import streamlit as st

from core.errors import PlanError
from core.methods import METHODS
from core.methods.naming import effective
from core.pruning.allocation import ALLOCATIONS
from core.pruning.criteria import CRITERIA
from core.pruning.groups import GROUP_ALLOCATIONS, GROUP_CRITERIA
from core.pruning.plan import Plan
from dashboard.components.format import escape
from dashboard.components.plan_draft import DraftEditor, normalised

__all__ = ["draw_files", "parse_plan_file"]

MAX_BYTES = 1_000_000


def parse_plan_file(body: bytes) -> Plan:
    """A plan from the bytes of a JSON file; a job file with a ``plan`` inside is understood, too.

    Raises:
        PlanError: when the file is empty, too large, not JSON or not a plan; it says which.
    """
    if not body.strip():
        raise PlanError("The file is empty; choose a plan that was saved as JSON.")
    if len(body) > MAX_BYTES:
        raise PlanError(f"A plan file is below 1 MB; this one has {len(body) / 1e6:.1f} MB.")
    try:
        content: Any = json.loads(body.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise PlanError("The file is not JSON; choose a plan that was saved with “Save plan”.") from None
    if isinstance(content, dict) and isinstance(content.get("plan"), dict):
        content = content["plan"]
    if not isinstance(content, dict):
        raise PlanError("The file holds no plan: a plan is a JSON object with fields like “sparsity” and “allocation”.")
    plan = Plan.parse(content)
    units = plan.method in METHODS and METHODS[plan.method].removes == "units"
    for word, registry, name in (
        ("method", METHODS, plan.method),
        ("criterion", GROUP_CRITERIA if units else CRITERIA, effective(plan, "criterion")),
        ("allocation", GROUP_ALLOCATIONS if units else ALLOCATIONS, effective(plan, "allocation")),
    ):
        if name not in registry:
            raise PlanError(f"The plan asks for the {word} “{name}”; this version knows {', '.join(registry)}.")
    METHODS[plan.method].Settings.parse(plan.method_settings)
    return plan


def draw_files(editor: DraftEditor) -> None:
    """The menu with both directions."""
    with st.popover("File", icon=":material/file_save:"):
        st.download_button(
            "Save plan",
            data=json.dumps(editor.plan.to_json(), indent=2),
            file_name="plan.json",
            mime="application/json",
            on_click="ignore",
            icon=":material/download:",
            key="plan-save",
        )
        uploaded = st.file_uploader("Load a plan", type=["json"], key=f"plan-load-{editor.generation}")
        if uploaded is None:
            return
        try:
            loaded = normalised(parse_plan_file(uploaded.getvalue()))
        except PlanError as error:
            st.error(escape(error, markdown=True))
            return
        if loaded == editor.plan:
            st.caption("This is the plan you have.")
        elif editor.edit(lambda _: loaded, redraw=True):
            st.toast("Plan loaded. Undo brings the other one back.", icon=":material/check:")
            st.rerun()
