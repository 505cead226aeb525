"""What a training method is going to do, drawn before the run: sparsity by epoch, stages, and how long it may take."""

from collections.abc import Sequence

import plotly.graph_objects as go
import streamlit as st

from core.errors import EspalierError
from core.jobs.forecast import Forecast, forecast
from core.jobs.kinds.prune import TEACHER
from core.methods import METHODS, Course
from core.pruning.plan import Plan
from core.store.records import Session
from dashboard import backend, state
from dashboard.components.badges import number_html, numbers
from dashboard.components.charts import ACCENT, WARNING, draw, figure, per_cent
from dashboard.components.format import chart_text, duration, escape, percent, short, whole
from dashboard.components.training_charts import shade_stages
from dashboard.components.training_data import Span

__all__ = ["course_figure", "course_of", "draw_course", "teachers"]

_POINTS = 400
"""As many as a line of this width can show."""


def course_of(plan: Plan) -> Course | None:
    """The course of the plan; None for methods that do not train, and while their settings are not valid."""
    try:
        return METHODS[plan.method].course(plan) if plan.method in METHODS else None
    except EspalierError:
        return None


def teachers(session: Session) -> dict[str, str]:
    """Stored models that may teach in this session, as a plan names them → what they are called."""
    if session.data_id is None:
        return {}
    found: dict[str, str] = {}
    for owner, name, artifact in backend.store().variants_on(session.data_id):
        found.setdefault(f"{TEACHER}{artifact}", name if owner == session.name else f"{name} · {short(owner, 24)}")
    return found


def draw_course(plan: Plan, session: Session) -> None:
    """The picture, the epochs and the forecast. Draws nothing for a plan without a course."""
    course = course_of(plan)
    if course is None:
        return
    st.header("Course of the run", anchor=False)
    stages = ", then ".join(f"{name.lower()}" for name, _ in course.stages)
    draw(
        course_figure(course, plan.sparsity),
        key="plan-course",
        alt=f"Sparsity by epoch over {course.epochs} epochs at most: {stages}; it ends at {percent(plan.sparsity)}",
    )
    said = _forecast(plan, course, session)
    figures = [
        number_html("Epochs at most", whole(course.epochs), measured=None, note=_stage_words(course)),
    ]
    if said is not None:
        figures.append(
            number_html(
                "Duration at most",
                duration(said.seconds).replace(" ", "\u00a0"),
                measured=False,
                note=f"{whole(said.images_per_epoch)} images per epoch at {whole(said.images_per_s)} images/s",
            )
        )
    numbers(figures)
    if said is not None:
        st.caption(escape(f"Speed: {said.origin}. Early stopping makes it shorter.", markdown=True))
    else:
        st.caption("How long it takes is not known yet: no speed was measured on this machine.")
    st.caption("The estimate of the plan is of pruning alone: what training wins back, only the run shows.")


def _stage_words(course: Course) -> str:
    return " + ".join(f"{epochs} {escape(name.lower())}" for name, epochs in course.stages)


def _forecast(plan: Plan, course: Course, session: Session) -> Forecast | None:
    dense = state.dense_variant(session)
    if dense is None or session.data_id is None:
        return None
    store = backend.store()
    return forecast(store, plan, course, data=store.get_dataset(session.data_id), dense=dense)


def _drawn(levels: Sequence[float]) -> list[int]:
    """The epochs that the line needs: all of a few hundred, else those in which a level ends, evenly thinned out."""
    last = len(levels) - 1
    if last <= _POINTS:
        return list(range(last + 1))
    ends = [0, *(epoch for epoch in range(1, last) if levels[epoch + 1] != levels[epoch])]
    return [*ends[:: -(-len(ends) // _POINTS)], last]


def course_figure(course: Course, target: float) -> go.Figure:
    """Planned sparsity at the end of every epoch, stages shaded, the exact end marked."""
    # Before the first epoch nothing is hidden, except by methods that prune first and train then.
    planned: Sequence[float] = [0.0, *course.sparsity]
    epochs = _drawn(planned)
    levels = [planned[epoch] for epoch in epochs]
    fig = figure(height=230, x_title="epoch")
    spans, first = [], 1
    for name, count in course.stages:
        spans.append(Span(name, first, first + count - 1))
        first += count
    shade_stages(fig, spans, names=False)
    for span in spans:
        fig.add_annotation(
            text=chart_text(span.name, 30),
            x=(span.first + span.last) / 2,
            y=1.0,
            yref="paper",
            yanchor="bottom",
            showarrow=False,
            font={"size": 11},
        )
    fig.add_trace(
        go.Scatter(
            x=epochs,
            y=levels,
            mode="lines+markers" if len(epochs) <= 40 else "lines",
            line={"color": ACCENT, "width": 2.4, "shape": "vh"},
            marker={"size": 4},
            hovertemplate=f"end of epoch %{{x}}: %{{y:{per_cent(2)}}} removed<extra></extra>",
        )
    )
    fig.add_trace(
        go.Scatter(
            x=[epochs[-1]],
            y=[levels[-1]],
            mode="markers+text",
            marker={"size": 10, "color": WARNING, "symbol": "diamond"},
            text=[percent(levels[-1], 2)],
            textposition="bottom left",
            hovertemplate=f"the end, exactly: %{{y:{per_cent(4)}}}<extra></extra>",
        )
    )
    top = max(target, *planned)
    fig.update_xaxes(range=[0, epochs[-1] * 1.03 + 0.2], tickformat="d")
    fig.update_yaxes(range=[0, max(0.1, 1.1 * top)], nticks=5, tickformat=per_cent())
    fig.update_layout(margin={"l": 8, "r": 12, "t": 26, "b": 8})
    return fig
