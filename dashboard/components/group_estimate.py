"""What stays of the whole model under a plan that removes units of groups: figures with what they were before."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.analysis.expectation import expectation
from core.methods import METHODS
from core.planning.bytes import dense_file
from core.planning.latency import LatencyProfile, uneven_layers
from core.pruning.plan import Plan
from dashboard.components.badges import number_html, numbers
from dashboard.components.format import MINUS, count, escape, macs, milliseconds, percent, size, whole
from dashboard.components.group_preview import EXACT, GroupPreview
from dashboard.components.plan_score import Expected

__all__ = ["draw_group_estimate"]


def draw_group_estimate(
    shown: GroupPreview,
    plan: Plan,
    *,
    expected: Expected,
    dense_sizes: Mapping[str, Any],
    latency: LatencyProfile | None,
) -> None:
    """Figures with what they were before, then what to expect of the speed; or why the plan is impossible."""
    if shown.left is None:
        st.error(
            f"**This plan is not possible.** {escape(shown.problem or '', markdown=True)}", icon=":material/block:"
        )
        return
    dense, left = shown.dense, shown.left
    exact = plan.method == EXACT and shown.note is None
    known: bool | None = None if exact else False
    before = dense_sizes.get("dense_bytes")
    after = dense_file(left.parameters, dense.parameters, dense_sizes)
    figures = [] if expected.figure is None else [expected.figure]
    figures += [
        number_html("Parameters", count(left.parameters), measured=known, note=_from(count, dense, left, "parameters")),
        number_html("MACs", macs(left.macs), measured=known, note=_from(macs, dense, left, "macs")),
    ]
    if before and after is not None:
        note = f"from {size(before)}{_less(before, after)}"
        figures.append(number_html("Dense file", size(after), measured=False, note=note))
    if latency is not None:
        figures.append(_latency_figure(latency, latency(left)))
    figures.append(
        number_html("Groups that shrink", whole(shown.shrinking), measured=known, note=f"of {len(shown.rows)}")
    )
    numbers(figures)
    with st.container(border=True, key="plan-expectation"):
        st.markdown(f":material/speed: {escape(expectation(plan, removes='units'), markdown=True)}")
    uneven = uneven_layers(dense, left) if latency is not None else 0
    for note in (*expected.notes, *_uneven(uneven), *_limits(shown, plan)):
        st.caption(escape(note, markdown=True))


def _latency_figure(latency: LatencyProfile, found_ms: float) -> str:
    spread = latency.error * found_ms
    return number_html(
        "Latency, one image",
        milliseconds(found_ms),
        measured=False,
        interval=f"± {milliseconds(spread)} between timed shapes",
        note=f"from {milliseconds(latency.dense_ms)}{_less(latency.dense_ms, found_ms)}; ONNX Runtime, "
        f"{latency.threads} thread, this machine",
    )


def _uneven(layers: int) -> list[str]:
    return (
        []
        if not layers
        else [
            f"{layers} layers keep channel numbers that are no multiples of 8: the network will be slower than its "
            "layers alone tell. “Round channels to” 8 in the method's settings avoids it."
        ]
    )


def _from(words: Any, dense: Any, left: Any, name: str) -> str:
    before, after = getattr(dense, name), getattr(left, name)
    return f"from {words(before)}{_less(before, after)}"


def _less(before: float, after: float) -> str:
    return f", {MINUS}{percent(1 - after / before)}" if before and after < before else ", unchanged"


def _limits(shown: GroupPreview, plan: Plan) -> list[str]:
    """What these figures rest on."""
    if shown.note is not None:
        return [shown.note]
    if plan.method != EXACT:
        return [
            f"Estimated as {METHODS[EXACT].title} would remove; {METHODS[plan.method].title} decides in its course."
        ]
    return ["Counted on the groups themselves: the run gives exactly these parameters and MACs."]
