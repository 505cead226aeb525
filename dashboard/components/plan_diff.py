"""The draft beside another plan: what is different in words, figures before and after, and a pair of bars per layer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.comb.sheet import GroupSheet
from core.errors import EspalierError
from core.methods import METHODS
from core.methods.one_shot_structured import planned_removal
from core.planning.differences import plan_differences
from core.planning.outlook import Costs, LayerOutlook, Outlook, UnitOutlook, untrained
from core.planning.whatif import Basis, foreseen
from core.pruning.estimate import preview
from core.pruning.plan import Plan
from core.store.records import Model, Session
from dashboard import backend, stored
from dashboard.components.badges import number_html, numbers
from dashboard.components.charts import ACCENT, draw, faded
from dashboard.components.fold import fold
from dashboard.components.format import count, escape, macs, percent, short, size
from dashboard.components.paired_bars import paired_bars
from dashboard.components.plan_draft import DraftEditor, normalised

__all__ = ["Foreseen", "diff_figure", "draw_diff", "foresee"]

_TALL_PX = 520


@dataclass(frozen=True)
class Foreseen:
    """What a plan would do: the share of each layer's weights that goes, what is left of the whole, an estimate.

    ``problem`` says why the plan is impossible; the rest is empty then.
    """

    removed: Mapping[str, float]
    costs: Costs | None = None
    score: float | None = None
    problem: str | None = None


def foresee(
    plan: Plan,
    model: Model,
    *,
    sheet: GroupSheet | None,
    sizes: Mapping[str, Any],
    sensitivity: Mapping[str, Any] | None = None,
    basis: Basis | None = None,
) -> Foreseen:
    """What a plan would do to a model, from what is stored of it."""
    try:
        if plan.method in METHODS and METHODS[plan.method].removes == "nothing":
            plan = plan.changed(method="one_shot", sparsity=0.0, overrides={}, patterns={}, method_settings={})
        start = untrained(plan)
        units = METHODS[start.method].removes == "units"
        outlook: Outlook
        if units:
            if sheet is None:
                return Foreseen({}, problem="The groups of this model are not known yet.")
            outlook = UnitOutlook(sheet, sizes=sizes)
            left = sheet.counts(planned_removal(sheet, start)[0]).weight_shapes
            whole = sheet.dense.weight_shapes
            removed = {name: 1.0 - _size(left[name]) / max(1, _size(whole[name])) for name in sheet.prunable}
        else:
            weights = stored.weight_statistics(model)
            outlook = LayerOutlook(weights, model.description, sizes=sizes, sensitivity=sensitivity)
            rows = preview(start, weights, model.description, sensitivity)["layers"]
            removed = {str(row["name"]): float(row["sparsity"]) for row in rows}
        said = basis.estimate(outlook.effect(start)) if basis is not None and foreseen(plan) else None
        return Foreseen(removed, outlook.costs(start), None if said is None else said.band.score)
    except EspalierError as error:
        return Foreseen({}, problem=str(error))


def _size(shape: Sequence[int]) -> int:
    product = 1
    for part in shape:
        product *= int(part)
    return product


def draw_diff(
    editor: DraftEditor,
    session: Session,
    model: Model,
    *,
    sheet: GroupSheet | None,
    sizes: Mapping[str, Any],
    sensitivity: Mapping[str, Any] | None,
    basis: Basis | None,
) -> None:
    """Folded until somebody asks: which plan to hold the draft against, and what is different."""

    def look(plan: Plan) -> Foreseen:
        return foresee(plan, model, sheet=sheet, sizes=sizes, sensitivity=sensitivity, basis=basis)

    fold(
        "Compare with another plan",
        lambda: _differences(editor, session, model, look),
        key="plan-diff",
        icon=":material/difference:",
    )


def _differences(editor: DraftEditor, session: Session, model: Model, look: Callable[[Plan], Foreseen]) -> None:
    others = _others(editor, session)
    if not others:
        st.caption("Keep a version or run a plan first: then there is something to compare with.")
        return
    label = st.selectbox("Compare this plan with", list(others), key="plan-diff-with")
    try:
        other = normalised(Plan.parse(others[label]))
    except EspalierError as error:
        st.error(escape(error, markdown=True))
        return
    said = plan_differences(other, editor.plan)
    if not said:
        st.caption("Both plans do the same.")
        return
    st.markdown("\n".join(f"- {escape(sentence, markdown=True)}" for sentence in said))
    if other.start != editor.plan.start:
        st.caption("They start from different networks: layers and figures are not put side by side.")
        return
    before, after = (look(plan) for plan in (other, editor.plan))
    for which, one in (("other", before), ("present", after)):
        if one.problem is not None:
            st.error(escape(f"The {which} plan is not possible: {one.problem}", markdown=True))
    if before.costs is None or after.costs is None:
        return
    _figures(before, after)
    names = [str(row["name"]) for row in model.description["layers"] if row.get("prunable")]
    picture = diff_figure(names, before.removed, after.removed)
    if picture is None:
        st.caption("Every layer loses the same share.")
        return
    tall = picture.layout.height > _TALL_PX
    with st.container(height=_TALL_PX if tall else "content", border=False, key="plan-diff-box"):
        draw(picture, key="plan-diff-chart", alt="Two bars per layer: what the other plan removes, and this one")


def _others(editor: DraftEditor, session: Session) -> dict[str, Any]:
    """Label → plan as JSON: kept versions, plans of variants, the draft before the last edit."""
    store, found = backend.store(), {}
    if editor.history.past:
        found["the plan before the last edit"] = editor.history.past[-1]
    for version in reversed(store.saved_plans(session.id)):
        found[f"version “{short(version.name, 40)}”"] = version.plan
    for variant in store.variants(session.id):
        if variant.plan is not None:
            found[f"variant “{short(variant.name, 40)}”"] = variant.plan
    return found


def _figures(before: Foreseen, after: Foreseen) -> None:
    old, new = before.costs, after.costs
    assert old is not None
    assert new is not None
    figures = []
    if before.score is not None or after.score is not None:
        figures.append(
            number_html("Expected score", percent(after.score), measured=False, note=f"before {percent(before.score)}")
        )
    words: list[tuple[str, Any, float | None, float | None]] = [
        ("Non-zero parameters", count, old.nonzero, new.nonzero),
        ("MACs", macs, old.macs, new.macs),
        ("Smallest file", size, old.bytes, new.bytes),
    ]
    for label, word, was, now in words:
        figures.append(number_html(label, word(now), measured=False, note=f"before {word(was)}"))
    numbers(figures)


def diff_figure(names: Sequence[str], before: Mapping[str, float], after: Mapping[str, float]) -> go.Figure | None:
    """Two bars per layer that differs, in execution order; None where none does."""
    rows = [name for name in names if abs(before.get(name, 0.0) - after.get(name, 0.0)) > 5e-4]
    if not rows:
        return None

    return paired_bars(
        rows,
        [
            ("the other plan", [before.get(name, 0.0) for name in rows], faded(ACCENT, 0.35)),
            ("this plan", [after.get(name, 0.0) for name in rows], ACCENT),
        ],
        x_title="share of the layer's weights that goes, %",
        hover_names=[escape(name) for name in rows],
        hover_unit="% removed",
    )
