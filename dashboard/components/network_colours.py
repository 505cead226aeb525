"""Where the colours of a drawn network come from, and the legend that says what they mean."""

import functools

from core.analysis.network_layout import Drawing
from core.pruning.estimate import weights_only_sensitivity
from core.pruning.plan import Plan
from core.store.records import Model, Session
from dashboard import backend, stored
from dashboard.components.badges import known_html
from dashboard.components.format import escape
from dashboard.components.group_preview import preview_groups
from dashboard.components.network_paint import Look, kind_fill, scale_of, top_of, value_of
from dashboard.components.network_values import KIND_COLOURS, Colouring, planned_of_groups, sensitivity_of
from dashboard.components.plan_controls import removes_units
from dashboard.components.plan_estimate import preview_of, usable_sensitivity
from dashboard.components.plan_layers import prunable_layers, weight_count

__all__ = ["COLOURS", "colouring_of", "legend_html"]

COLOURS = {"kind": "kind", "sensitivity": "sensitivity", "time": "time", "sparsity": "planned sparsity"}
"""What the colours can mean."""


def colouring_of(
    colour: str, session: Session, model: Model, plan: Plan, times: dict[str, float] | None
) -> Colouring | None:
    """The numbers behind a colour; None for the kinds of layers, and while no time has been measured."""
    if colour == "sensitivity":
        found = stored.best_sensitivity(session)
        if found is not None and found.result.get("layers"):
            return sensitivity_of(found.result)
        return _of_weights(model.id, str(backend.workspace().folder))
    if colour == "time" and times is not None:
        return Colouring("Share of the measured time", times, "sum", "share", True)
    if colour == "sparsity":
        return _planned(session, model, plan)
    return None


@functools.lru_cache(maxsize=8)
def _of_weights(model_id: str, _workspace: str) -> Colouring:
    """The estimate that needs no measurement."""
    model = backend.store().get_model(model_id)
    return sensitivity_of(weights_only_sensitivity(stored.weight_statistics(model)))


def _planned(session: Session, model: Model, plan: Plan) -> Colouring:
    """The share of its weights that the draft takes from each layer; empty for an impossible plan."""
    values: dict[str, float] = {}
    if removes_units(plan.method):
        sheet = stored.group_sheet(model)
        shown = preview_groups(sheet, plan) if sheet is not None and sheet.groups else None
        if shown is not None and shown.left is not None:
            values = planned_of_groups(shown.left, shown.dense)
    else:
        values = preview_of(plan, model, usable_sensitivity(session, plan)).planned
    weights = {str(layer["name"]): float(weight_count(layer)) for layer in prunable_layers(model)}
    return Colouring("Weights that the draft plan removes", values, "weighted", "share", None, weights)


def legend_html(drawing: Drawing, look: Look, *, lit: bool) -> str:
    """What the colours mean, in one line of HTML, and what the signs of lit layers mean."""
    parts = []
    if look.colouring is None:
        shown = {value_of(box.part, look) for box in drawing.boxes if not box.opened}
        for kind in (kind for kind in KIND_COLOURS if kind in shown):
            parts.append(f'<span><i style="background:{kind_fill(kind, dark=look.dark)}"></i>{escape(kind)}</span>')
    else:
        stops = ", ".join(f"{colour} {round(100 * place)}%" for place, colour in scale_of(dark=look.dark))
        top = top_of(drawing, look)
        least = look.colouring.words(0.0)
        most = look.colouring.words(top) if top > 0 else "nothing known" if not look.colouring.values else least
        parts.append(f"<b>{escape(look.colouring.title)}</b> {known_html(look.colouring.measured)}")
        parts.append(
            f'<span>{escape(least)} <i class="scale" style="background:linear-gradient(90deg, {stops})"></i> '
            f"{escape(most)}</span>"
        )
    if lit:
        parts.append("<span>● makes the chosen units</span><span>○ reads them</span><span>· between</span>")
    return f'<div class="esp-legend">{"".join(parts)}</div>'
