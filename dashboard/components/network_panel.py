"""What was picked on the drawn network: its facts, what shrinks with it and why, and what can be done with it."""

import streamlit as st

from core.analysis.network_tree import Network, Part
from core.comb.sheet import GroupSheet, SheetGroup
from core.store.records import Model, Session
from dashboard import backend, state, stored
from dashboard.components.badges import number_html, numbers
from dashboard.components.format import count, escape, macs, percent, plain, shape
from dashboard.components.group_edit import with_groups
from dashboard.components.group_facts import choices_of, size_words
from dashboard.components.group_panel import CHOICE
from dashboard.components.group_why import draw_reasons, story
from dashboard.components.layer_panel import layer_panel
from dashboard.components.network_values import spec_of
from dashboard.components.plan_controls import removes_units
from dashboard.components.plan_draft import DraftEditor, with_bulk
from dashboard.components.plan_layer_panel import LAYER

__all__ = ["draw_part", "draw_start"]


def draw_start(network: Network) -> None:
    """Nothing is picked yet: how to."""
    st.caption(
        "Click a box to open it, the title of an open one to close it, and a layer to see its weights and everything "
        "that must shrink with it. A box is the taller the more work (or parameters) it holds; where it holds several "
        "kinds of layers, it has the colour of the one that does most of its work."
    )
    numbers([number_html("Layers", str(len(network.root.layers)), measured=None, note="norms and biases included")])


def draw_part(
    session: Session, model: Model, network: Network, part: Part, sheet: GroupSheet | None, group: SheetGroup | None
) -> None:
    """The panel of a picked layer or group of layers."""
    _facts(model, network, part)
    name = part.layers[0]
    if part.parts:
        _bulk(session, model, part)
        return
    if sheet is not None:
        _coupled(session, sheet, name, group)
    if name in stored.weight_statistics(model):
        _ways(name)
        st.fragment(layer_panel)(session.id, model, name)


def _facts(model: Model, network: Network, part: Part) -> None:
    row = next(row for row in model.description["layers"] if row["name"] == part.layers[0])
    if part.parts:
        words = f"{len(part.layers)} layers"
    else:
        beside = [f"with {', '.join(part.layers[1:])}"] if part.layers[1:] else []
        words = " · ".join([str(row["kind"]), spec_of(row), f"output {shape(row['output_shape'])}", *beside])
    st.markdown(f"**`{plain(part.name).replace('`', '')}`** · {escape(words, markdown=True)}")
    total = {size: max(1, network.cost(network.root, size)) for size in ("macs", "parameters")}
    own = {size: network.cost(part, size) for size in total}
    numbers(
        [
            number_html(
                "Work", macs(own["macs"]), measured=None, note=f"{percent(own['macs'] / total['macs'])} of all"
            ),
            number_html(
                "Parameters",
                count(own["parameters"]),
                measured=None,
                note=f"{percent(own['parameters'] / total['parameters'])} of all",
            ),
        ]
    )


def _coupled(session: Session, sheet: GroupSheet, name: str, group: SheetGroup | None) -> None:
    """What shrinks with a layer, and why."""
    st.markdown(escape(story(sheet, name, group), markdown=True))
    if group is None:
        return
    draw_reasons(group)
    editor = DraftEditor(session)
    if not removes_units(editor.plan.method) or editor.conflict:
        return
    held = group.name in choices_of(sheet, editor.plan)[1]
    words = f"{'Free' if held else 'Protect'} all {size_words(group)}"
    if st.button(words, key=f"network-group-{editor.generation}-{group.name}", icon=":material/shield:"):
        editor.edit(lambda plan: with_groups(plan, sheet, [group], "free" if held else "protect"), redraw=True)
        st.rerun()


def _ways(name: str) -> None:
    """To the pages on which one goes on with this layer."""
    with st.container(horizontal=True, gap="small"):
        if st.button("Set its sparsity on Plan", key="network-to-plan", icon=":material/tune:"):
            st.session_state[CHOICE] = st.session_state[LAYER] = name
            state.go("plan")
        if st.button("Open in Sensitivity", key="network-to-sensitivity", icon=":material/show_chart:"):
            st.session_state["sensitivity-layers"] = [name]
            state.go("sensitivity")


def _bulk(session: Session, model: Model, part: Part) -> None:
    """The draft plan for all layers of a part at once."""
    known = stored.weight_statistics(model)
    layers = [name for name in part.layers if name in known]
    editor = DraftEditor(backend.store().get_session(session.id))
    if not layers:
        st.caption("Nothing in it can be pruned.")
        return
    if editor.conflict:
        st.warning("The draft plan was changed elsewhere, in another tab or by someone with this link.")
        if st.button("Reload the draft", key="network-reload"):
            editor.reload()
            st.rerun()
        return
    share = st.slider("Sparsity for all of them", 0.0, 99.0, 50.0, step=0.5, format="%.1f %%", key="network-share")
    with st.container(horizontal=True, gap="small"):
        for action, words in (("fix", f"Fix {len(layers)} layers"), ("protect", "Protect all"), ("free", "Free all")):
            kind = "primary" if action == "fix" else "secondary"
            if st.button(words, key=f"network-{action}-{part.name}", type=kind):  # type: ignore[arg-type]
                editor.edit(lambda plan, do=action: with_bulk(plan, layers, do, share / 100.0), redraw=True)  # type: ignore[misc]
                st.rerun()
    fixed = sum(name in editor.plan.overrides for name in layers)
    held = sum(name in editor.plan.protected for name in layers)
    if fixed or held:
        st.caption(f"The draft plan fixes {fixed} of these {len(layers)} layers and keeps {held} dense.")
