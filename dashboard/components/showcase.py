"""The newest finished result on the Start page: a sentence, accuracy against cost, an instant slider."""

from dataclasses import dataclass

import streamlit as st

from core.errors import EspalierError
from core.jobs.demo import demo_session
from core.planning.whatif import effect_of_rows
from core.pruning.estimate import preview
from core.pruning.plan import Plan
from core.store.records import Model, Session
from dashboard import backend, state, stored

from .badges import number_html, numbers
from .charts import draw
from .compare_charts import ScatterPoint, scatter_figure
from .compare_data import LatencyRow, Row, rows_of
from .format import count, escape, milliseconds, percent, short, size, speedup, unbroken, whole
from .plan_score import band_words, basis_for
from .showcase_story import draw_check, draw_file, draw_link, draw_why

__all__ = ["Showcase", "find_showcase", "show"]

_LOOKED_AT = 20
_LATENCY, _SIZE = "Latency", "File size"


@dataclass(frozen=True)
class Showcase:
    """A session with at least one pruned variant, and its variants as rows, dense first."""

    session: Session
    model: Model
    rows: list[Row]


def find_showcase() -> Showcase | None:
    """The last used session that has something to show: one's own, else one that belongs to nobody, else the demo."""
    store = backend.store()
    own = store.list_sessions()
    others = [session for session in store.list_sessions(owner="") if session not in own]
    demo = demo_session(backend.workspace())
    for session in [*[*own, *others][:_LOOKED_AT], *([demo] if demo is not None else ())]:
        if not session.model_id:
            continue
        variants = store.variants(session.id)
        if any(variant.plan is not None and variant.metrics.get("test") for variant in variants):
            model = store.get_model(session.model_id)
            measurements = {variant.id: store.measurements(variant.id) for variant in variants}
            rows = rows_of(variants, measurements, macs=model.description.get("macs"))
            return Showcase(session, model, rows)
    return None


def show(case: Showcase) -> None:
    """Draw the sentence, the picture and the slider."""
    st.html(f'<p class="esp-lede">{unbroken(escape(_sentence(case)))}</p>')
    picture, slider = st.columns([3, 2], gap="large")
    with picture:
        _scatter(case)
        with st.container(horizontal=True, gap="small"):
            if st.button("Open this session", key="showcase-open", icon=":material/arrow_forward:"):
                state.open_session(case.session.id, page="compare")
            draw_file(case.session, _smallest(case.rows).variant)
            draw_link(case.session)
    with slider:
        st.header("And at another sparsity?", anchor=False)
        st.fragment(_slider)(case)


def _smallest(rows: list[Row]) -> Row:
    pruned = [row for row in rows if not row.dense and row.score is not None]
    return min(pruned, key=lambda row: row.nonzero if row.nonzero is not None else float("inf"))


def _sentence(case: Showcase) -> str:
    dense = next((row for row in case.rows if row.dense), None)
    row = _smallest(case.rows)
    removed = f"{percent(row.sparsity, 0)} of the weights of {short(case.model.name)} removed"
    scored = f"{percent(row.score)} {row.metric}"
    if dense and dense.score is not None:
        same = percent(dense.score) == percent(row.score)
        scored = f"the same {scored}" if same else f"{scored} instead of {percent(dense.score)}"
    latency = _shared_latency(case.rows).get(row.variant.id)
    faster = ""
    if latency is not None and latency.ratio and latency.verdict == "faster":
        least = f", at least {speedup(latency.ratio_low)}" if latency.ratio_low else ""
        faster = f" and {speedup(latency.ratio)} the speed{least}"
    measured = f"measured on {whole(row.n)} test images"
    return f"{short(row.variant.name, 40)}: {removed}, {scored}{faster}; {measured}."


def _shared_latency(rows: list[Row]) -> dict[str, LatencyRow]:
    """Latencies under the setting that most variants were measured in, ONNX Runtime first; empty below two variants."""
    settings = [latency.setting for row in rows for latency in row.latency]
    if not settings:
        return {}
    best = max(dict.fromkeys(settings), key=lambda s: (settings.count(s), s.startswith("onnx")))
    found = {row.variant.id: latency for row in rows if (latency := row.latency_at(best)) is not None}
    return found if len(found) > 1 else {}


def _scatter(case: Showcase) -> None:
    latencies = _shared_latency(case.rows)
    axes = [*([_LATENCY] if latencies else []), _SIZE]
    axis = axes[0]
    if len(axes) > 1:
        axis = st.segmented_control("Against", axes, default=_LATENCY, required=True, key="showcase-axis") or _LATENCY
    points = _latency_points(case.rows, latencies) if axis == _LATENCY else _size_points(case.rows)
    if len(points) < 2:
        st.caption("Measure a second variant to see accuracy against cost here.")
        return
    metric = case.rows[0].metric
    cost_title = "median latency, ms" if axis == _LATENCY else "compressed file, kB"
    figure = scatter_figure(points, metric=metric, cost_title=cost_title, line=False)
    figure.update_layout(height=340)
    said = "; ".join(f"{short(point.name, 30)} {percent(point.score)}" for point in points)
    draw(figure, key="showcase-scatter", alt=f"{metric} against {cost_title}: {said}.")
    setting = f" Latency: {next(iter(latencies.values())).setting}." if axis == _LATENCY else ""
    st.caption(f"Bars: 95 % intervals.{setting}")


def _latency_points(rows: list[Row], latencies: dict[str, LatencyRow]) -> list[ScatterPoint]:
    points = []
    for row in rows:
        latency = latencies.get(row.variant.id)
        if latency is not None:
            points += _point(row, latency.median_ms, milliseconds(latency.median_ms), latency.low_ms, latency.high_ms)
    return points


def _size_points(rows: list[Row]) -> list[ScatterPoint]:
    return [
        point
        for row in rows
        if row.sparse_bytes is not None
        for point in _point(row, row.sparse_bytes / 1000, size(row.sparse_bytes))
    ]


def _point(
    row: Row, cost: float, shown: str, low: float | None = None, high: float | None = None
) -> list[ScatterPoint]:
    """The row as a point; no point where its score is not known."""
    if row.score is None:
        return []
    return [
        ScatterPoint(
            variant_id=row.variant.id,
            name=row.variant.name,
            dense=row.dense,
            cost=cost,
            cost_low=low,
            cost_high=high,
            score=row.score,
            low=row.low,
            high=row.high,
            hover=f"<b>{escape(row.variant.name)}</b><br>{percent(row.score)} · {shown}",
        )
    ]


def _slider(case: Showcase) -> None:
    """Everything here is an estimate from stored measurements: it must answer while the hand is still on the slider."""
    sparsity = st.slider("Sparsity", 0, 98, 80, format="%d %%", key=f"showcase-sparsity-{case.session.id}")
    sensitivity = stored.best_sensitivity(case.session)
    curves = sensitivity.result if sensitivity else None
    plan = Plan(sparsity=sparsity / 100, allocation="lamp")
    try:
        answer = preview(plan, stored.weight_statistics(case.model), case.model.description, curves)
    except EspalierError as error:
        st.warning(escape(error, markdown=True))
        return
    totals, estimate = answer["totals"], answer["estimate"]
    kept = number_html(
        "Parameters that stay",
        count(totals["nonzero_parameters"]),
        f"of {count(totals['parameters'])}",
        measured=None,
    )
    basis = basis_for(case.session, case.model, plan)
    said = None if basis is None else basis.estimate(effect_of_rows(plan, answer["layers"]))
    if said is not None:
        expected = number_html(
            f"Expected {said.metric}",
            percent(said.band.score),
            measured=False,
            interval=band_words(said),
            note="measured sensitivity and weights" if said.curves else "weights and measured plans",
        )
    else:
        expected = number_html(
            "Weight energy removed",
            percent(estimate["energy_removed"]),
            measured=False,
            note="from the weights alone; measure the sensitivity for an accuracy",
        )
    numbers([kept, expected])
    with st.container(horizontal=True, gap="small"):
        draw_why(answer["layers"], curves)
        draw_check(case.session, plan, case.rows[0].metric)
    st.caption(
        "Single weights, at once, shared by LAMP. Zeros alone do not make dense kernels faster; they make the "
        "compressed file smaller."
    )
