"""The newest finished result on the Start page: a sentence, accuracy against cost, an instant slider."""

from dataclasses import dataclass

import streamlit as st

from core.errors import EspalierError
from core.pruning.estimate import preview
from core.pruning.plan import Plan
from core.store.records import Model, Session
from dashboard import backend, state, stored

from .badges import number_html, numbers
from .charts import draw
from .compare_charts import ScatterPoint, scatter_figure
from .compare_data import LatencyRow, Row, rows_of
from .format import count, escape, milliseconds, percent, short, size, whole

__all__ = ["Showcase", "find_showcase", "show"]

_LOOKED_AT = 20


@dataclass(frozen=True)
class Showcase:
    """A session with at least one pruned variant, and its variants as rows, dense first."""

    session: Session
    model: Model
    rows: list[Row]


def find_showcase() -> Showcase | None:
    """The last used session that has something to show."""
    store = backend.store()
    for session in store.list_sessions()[:_LOOKED_AT]:
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
    st.html(f'<p class="esp-lede">{escape(_sentence(case))}</p>')
    picture, slider = st.columns([3, 2], gap="large")
    with picture:
        _scatter(case)
        if st.button("Open this session", key="showcase-open", icon=":material/arrow_forward:"):
            state.open_session(case.session.id, page="compare")
    with slider:
        st.subheader("And at another sparsity?", anchor=False)
        st.fragment(_slider)(case)


def _smallest(rows: list[Row]) -> Row:
    pruned = [row for row in rows if not row.dense and row.score is not None]
    return min(pruned, key=lambda row: row.nonzero if row.nonzero is not None else float("inf"))


def _sentence(case: Showcase) -> str:
    dense = next((row for row in case.rows if row.dense), None)
    row = _smallest(case.rows)
    removed = f"{percent(row.sparsity, 0)} of the weights of {short(case.model.name)} removed"
    before = f" instead of {percent(dense.score)}" if dense and dense.score is not None else ""
    return f"{removed}: {percent(row.score)} {row.metric}{before}, measured on {whole(row.n)} test images."


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
    points = []
    for row in case.rows:
        latency = latencies.get(row.variant.id)
        cost = latency.median_ms if latency else None if latencies else row.sparse_bytes
        if row.score is None or cost is None:
            continue
        shown = milliseconds(cost) if latency else size(cost)
        points.append(
            ScatterPoint(
                variant_id=row.variant.id,
                name=row.variant.name,
                dense=row.dense,
                cost=cost if latency else cost / 1000,
                cost_low=latency.low_ms if latency else None,
                cost_high=latency.high_ms if latency else None,
                score=row.score,
                low=row.low,
                high=row.high,
                hover=f"<b>{escape(row.variant.name)}</b><br>{percent(row.score)} · {shown}",
            )
        )
    if len(points) < 2:
        st.caption("Measure a second variant to see accuracy against cost here.")
        return
    metric = case.rows[0].metric
    setting = next(iter(latencies.values())).setting if latencies else ""
    cost_title = f"median latency, ms ({setting})" if latencies else "compressed file, kB"
    figure = scatter_figure(points, metric=metric, cost_title=cost_title, line=False)
    figure.update_layout(height=360)
    # Variants of similar cost stand above one another: labels beside the interval bars, in the free half, by turns.
    figure.update_traces(textposition="middle right", cliponaxis=False, selector={"mode": "markers+text"})
    figure.update_xaxes(range=[0, 1.35 * max(point.cost_high or point.cost for point in points)])
    said = "; ".join(f"{short(point.name, 30)} {percent(point.score)}" for point in points)
    draw(figure, key="showcase-scatter", alt=f"{metric} against {cost_title}: {said}.")


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
        "Weights that stay", count(totals["nonzero_parameters"]), measured=None, note="of all parameters"
    )
    if estimate.get("score") is not None:
        expected = number_html(
            f"Expected {estimate.get('metric') or 'accuracy'}",
            percent(estimate["score"]),
            measured=False,
            interval=(estimate["score_low"], estimate["score_high"]),
            note=estimate["basis"],
        )
    else:
        expected = number_html(
            "Weight energy removed",
            percent(estimate["energy_removed"]),
            measured=False,
            note="from the weights alone; measure the sensitivity for an accuracy",
        )
    numbers([kept, expected])
    st.caption("Zeros alone do not make dense kernels faster; they make the compressed file smaller.")
