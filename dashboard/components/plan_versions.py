"""Named versions of the plan: keep the draft under a name, take one up again, rename or delete it."""

import streamlit as st

from core.errors import EspalierError, StoreError
from core.pruning.plan import Plan
from core.store.records import SavedPlan
from dashboard import backend
from dashboard.components.format import ago, escape, short
from dashboard.components.plan_draft import DraftEditor, normalised
from dashboard.components.plan_run import default_name

__all__ = ["draw_versions", "version_plan"]

_PICKED = "plan-version"


def version_plan(version: SavedPlan) -> Plan:
    """The plan that was kept.

    Raises:
        PlanError: when this Espalier cannot read it.
    """
    return normalised(Plan.parse(version.plan))


def draw_versions(editor: DraftEditor) -> None:
    """The menu: a name and “Keep”, and the versions that are there, newest first."""
    versions = list(reversed(backend.store().saved_plans(editor.session.id)))
    with st.popover(f"Versions · {len(versions)}" if versions else "Versions", icon=":material/bookmark:"):
        _keep(editor, versions)
        if versions:
            _take_up(editor, versions)


def _keep(editor: DraftEditor, versions: list[SavedPlan]) -> None:
    plan = editor.plan
    name = st.text_input(
        "Keep this plan as",
        placeholder=plan.name or default_name(plan),
        max_chars=120,
        key=f"plan-version-name-{len(versions)}",
    )
    same = next((one for one in versions if one.plan == plan.to_json()), None)
    if st.button("Keep this version", icon=":material/bookmark_add:", key="plan-version-keep", disabled=bool(same)):
        try:
            kept = backend.store().save_plan(
                editor.session.id, name.strip() or plan.name or default_name(plan), plan.to_json()
            )
        except StoreError as error:
            st.error(escape(error, markdown=True))
            return
        st.session_state[_PICKED] = kept.id
        st.rerun()
    if same is not None:
        st.caption(f"This plan is kept already, as “{escape(short(same.name, 40), markdown=True)}”.")


def _take_up(editor: DraftEditor, versions: list[SavedPlan]) -> None:
    by_id = {version.id: version for version in versions}
    if st.session_state.get(_PICKED) not in by_id:
        st.session_state.pop(_PICKED, None)
    picked = by_id[
        st.selectbox(
            "Versions of this session",
            list(by_id),
            format_func=lambda one: f"{short(by_id[one].name, 36)} · {ago(by_id[one].created)}",
            key=_PICKED,
        )
    ]
    with st.container(horizontal=True):
        if st.button("Load it", icon=":material/open_in_browser:", key="plan-version-load", disabled=editor.conflict):
            try:
                loaded = version_plan(picked)
            except EspalierError as error:
                st.error(escape(error, markdown=True))
                return
            editor.edit(lambda _: loaded, redraw=True)
            st.toast("Version loaded. Undo brings the other plan back.", icon=":material/check:")
            st.rerun()
        asked = f"plan-version-delete-{picked.id}"
        if not st.session_state.get(asked):
            if st.button("Delete …", icon=":material/delete:", key=f"{asked}-ask"):
                st.session_state[asked] = True
                st.rerun()
        elif st.button("Delete it for good", type="primary", key=f"{asked}-yes"):
            backend.store().delete_saved_plan(picked.id)
            del st.session_state[asked]
            st.rerun()
    renamed = st.text_input("Rename to", value=picked.name, max_chars=120, key=f"plan-version-rename-{picked.id}")
    if renamed.strip() and renamed.strip() != picked.name:
        backend.store().rename_saved_plan(picked.id, renamed)
        st.rerun()
