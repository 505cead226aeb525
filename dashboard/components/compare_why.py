"""Why one variant is faster than another, or is not: layer by layer, from times that were measured."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.analysis.runtimes.base import runtime_title
from core.analysis.speed_difference import LayerDifference, SpeedDifference
from core.errors import EspalierError
from core.store.records import Measurement, Model, Session, Variant
from dashboard import state
from dashboard.components.badges import known_html, number_html, numbers
from dashboard.components.charts import ACCENT, MUTED, draw
from dashboard.components.compare_data import Row
from dashboard.components.fold import fold
from dashboard.components.format import ago, chart_text, escape, milliseconds, percent, short, unbroken
from dashboard.components.jobs import job_banner, latest_job, submit
from dashboard.components.paired_bars import paired_bars
from dashboard.components.presenter import presenting
from dashboard.components.tables import download_csv, table

__all__ = ["counted", "draw_why", "stored_difference", "why_figure", "why_frame", "work_figure"]

_KIND = "speed_difference"
_MOST_BARS = 14
_FEW_LAYERS = 16
By = Literal["stages", "layers"]


def draw_why(
    rows: Sequence[Row], session: Session, model: Model, measurements: Mapping[str, Sequence[Measurement]]
) -> None:
    """The section: two variants, the sentence, the bars, the table; a button that measures what is missing."""
    known = any(item.kind == _KIND for items in measurements.values() for item in items)
    if len(rows) < 2 or (presenting() and not known):
        return
    st.header("Why is it faster, or not?", anchor=False)
    by_id = {row.variant.id: row.variant for row in rows}
    before, after = _choose(by_id)
    job = latest_job(session.id, _KIND)
    if job is not None and job.state.live:
        job_banner(job, key="why")
        st.caption("Nothing else computes meanwhile. Leave the machine alone for honest numbers.")
        return
    if before.id == after.id:
        st.caption("Choose two different variants.")
        return
    kept = stored_difference(measurements.get(after.id, ()), before.id)
    found = None
    if kept is not None:
        try:
            found = SpeedDifference.from_json(kept.result)
        except EspalierError as error:
            st.error(escape(error, markdown=True))
    if kept is not None and found is not None:
        _show(found, before, after, kept)
    else:
        _not_yet(counted(before, after, model.description), before, after)
    if job is not None and found is None:
        job_banner(job, key="why-ended")
    label = "Measure again" if found is not None else "Time both, layer by layer"
    kind: Any = "secondary" if found is not None else "primary"
    if st.button(label, icon=":material/timer:", key="why-start", type=kind):
        payload = {"before": before.id, "after": after.id}
        submit(_KIND, payload, session=session, title=f"Why {short(after.name, 40)} is faster, or not")
        st.rerun()


def _choose(by_id: Mapping[str, Variant]) -> tuple[Variant, Variant]:
    """The two variants: dense and the newest, or what the address names."""
    ids = list(by_id)

    def choice(label: str, parameter: str, key: str, start: str) -> Variant:
        wanted = state.requested_id(parameter)
        chosen = st.selectbox(
            label,
            ids,
            index=ids.index(wanted if wanted is not None and wanted in by_id else start),
            format_func=lambda chosen: short(by_id[chosen].name, 60),
            key=key,
        )
        return by_id[chosen]

    left, right = st.columns(2)
    with left:
        before = choice("From", "before", "why-before", ids[0])
    with right:
        after = choice("To", "after", "why-after", ids[-1])
    return before, after


def stored_difference(measurements: Sequence[Measurement], before: str) -> Measurement | None:
    """The newest measurement of a variant against the variant ``before``."""
    mine = (item for item in measurements if item.kind == _KIND and item.context.get("before") == before)
    return max(mine, key=lambda item: item.created, default=None)


def counted(before: Variant, after: Variant, description: Mapping[str, Any]) -> list[LayerDifference]:
    """The prunable layers of two variants with what is known without timing: shapes, MACs and zeros. Times are 0."""
    sides = [{str(layer["name"]): layer for layer in variant.layers} for variant in (before, after)]

    def of(row: Mapping[str, Any], layer: Mapping[str, Any] | None) -> tuple[tuple[int, ...], int, float]:
        dense = tuple(row.get("weight_shape") or ())
        shape = tuple((layer or {}).get("kept_shape") or dense)
        macs = round(int(row.get("macs") or 0) * math.prod(shape) / max(1, math.prod(dense)))
        removed, size = int((layer or {}).get("removed") or 0), int((layer or {}).get("size") or 0)
        return shape, macs, removed / size if size and shape == dense else 0.0

    found = []
    for row in description.get("layers", ()):
        name = str(row["name"])
        if row.get("prunable"):
            (one, macs, zeros), (other, less, more) = of(row, sides[0].get(name)), of(row, sides[1].get(name))
            found.append(
                LayerDifference(name, str(row.get("stage") or ""), one, other, macs, less, zeros, more, 0.0, 0.0)
            )
    return found


def _not_yet(layers: Sequence[LayerDifference], before: Variant, after: Variant) -> None:
    """What can be said without timing: exact counts, and that they are not milliseconds."""
    work = sum(layer.before_macs for layer in layers), sum(layer.after_macs for layer in layers)
    smaller = sum(layer.smaller for layer in layers)
    if work[0] == work[1] and not smaller:
        said = "Every layer has the same shape in both, so both do the same work; only weights differ."
    else:
        less = 1.0 - work[1] / work[0] if work[0] else 0.0
        said = (
            f"“{short(after.name, 60)}” does {percent(abs(less))} {'less' if less >= 0 else 'more'} work (MACs) than "
            f"“{short(before.name, 60)}”; {smaller} of {len(layers)} layers differ in shape."
        )
    st.html(f'<p class="esp-lede">{unbroken(escape(said))} MACs are no milliseconds: nothing was timed yet.</p>')
    if work[0] != work[1]:
        picture, left_out = work_figure(layers, before.name, after.name)
        draw(
            picture,
            key="why-work",
            alt=f"Two bars per layer: MACs in {short(before.name, 40)} and in {short(after.name, 40)}; the table below "
            "has the numbers",
        )
        if left_out:
            st.caption(f"The {_MOST_BARS} layers with the largest differences; {left_out} more are in the table.")
    _fold_table(layers, timed=False)


def _show(found: SpeedDifference, before: Variant, after: Variant, kept: Measurement) -> None:
    """The sentence, the two times, the bars and the table."""
    said = found.sentence(short(before.name, 60), short(after.name, 60))
    st.html(f'<p class="esp-lede">{known_html(True)} {unbroken(escape(said))}</p>')
    title = runtime_title(found.runtime)
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    numbers(
        [
            number_html(short(before.name, 40), milliseconds(found.before_ms), note="whole network"),
            number_html(short(after.name, 40), milliseconds(found.after_ms), note="whole network"),
            number_html(
                "Speed-up",
                f"{found.ratio:.2f}×",
                interval=f"95 % interval {found.ratio_low:.2f} to {found.ratio_high:.2f}",
            ),
            number_html(
                "In no single layer", _signed_ms(found.rest_ms), measured=None, note="what is left of the difference"
            ),
        ]
    )
    if found.busy:
        st.warning("The machine was busy while measuring: repeat it when it is quiet.", icon=":material/warning:")
    start: By = "layers" if len(found.layers) <= _FEW_LAYERS else "stages"
    by: Any = st.segmented_control(
        "Bars", ("stages", "layers"), default=start, required=True, key="why-by", label_visibility="collapsed"
    )
    picture, left_out = why_figure(found, by, before.name, after.name)
    draw(
        picture,
        key="why-bars",
        alt=f"Two bars for each of the {by}: milliseconds in {short(before.name, 40)} and in {short(after.name, 40)}; "
        "the table below has the numbers",
    )
    more = f" The {_MOST_BARS} with the largest differences are shown, {left_out} more are in the table." * bool(
        left_out
    )
    st.caption(
        escape(
            f"Measured {ago(kept.created)} in {title}, one image, {threads}, on {found.machine}: both networks in "
            "interleaved pairs, then each layer alone with its own weights, bias and ReLU; a layer that is equal in "
            f"both is timed once.{more}",
            markdown=True,
        )
    )
    _fold_table(found.layers, timed=True)


def why_figure(found: SpeedDifference, by: By, before: str, after: str) -> tuple[go.Figure, int]:
    """Two bars, before and after, for every stage or layer in the order of the network; and how many are left out."""
    times: dict[str, tuple[float, float]] = {}
    for layer in found.layers:
        name = layer.stage if by == "stages" else layer.name
        old, new = times.get(name, (0.0, 0.0))
        times[name] = old + layer.before_ms, new + layer.after_ms
    return _bars(times, before, after, title="milliseconds, each layer alone", unit="ms", factor=1.0)


def work_figure(layers: Sequence[LayerDifference], before: str, after: str) -> tuple[go.Figure, int]:
    """The same with MACs, which are exact, while there are no times."""
    work = {layer.name: (float(layer.before_macs), float(layer.after_macs)) for layer in layers}
    return _bars(work, before, after, title="million MACs, not time", unit="MMACs", factor=1e-6)


def _bars(
    pairs: Mapping[str, tuple[float, float]], before: str, after: str, *, title: str, unit: str, factor: float
) -> tuple[go.Figure, int]:
    """The pairs that differ most, in their order."""
    largest = sorted(pairs, key=lambda name: -abs(pairs[name][0] - pairs[name][1]))[:_MOST_BARS]
    names = [name for name in pairs if name in largest]
    figure = paired_bars(
        names,
        [
            (chart_text(before, 30), [pairs[name][0] for name in names], MUTED),
            (chart_text(after, 30), [pairs[name][1] for name in names], ACCENT),
        ],
        x_title=title,
        hover_names=[chart_text(name, 60) for name in names],
        hover_unit=unit,
        factor=factor,
        hover_format=".3f",
    )
    return figure, len(pairs) - len(names)


def why_frame(layers: Sequence[LayerDifference], *, timed: bool) -> pd.DataFrame:
    """One row per layer, in the order of the network; times only where they were measured."""
    frame = pd.DataFrame(
        {
            "layer": [layer.name for layer in layers],
            "stage": [layer.stage for layer in layers],
            "channels before": [_channels(layer.before_shape) for layer in layers],
            "channels after": [_channels(layer.after_shape) for layer in layers],
            "MACs before": [layer.before_macs for layer in layers],
            "MACs after": [layer.after_macs for layer in layers],
            "zeros before": [layer.before_zeros for layer in layers],
            "zeros after": [layer.after_zeros for layer in layers],
        }
    )
    if timed:
        frame["ms before"] = [layer.before_ms for layer in layers]
        frame["ms after"] = [layer.after_ms for layer in layers]
        frame["saved ms"] = [layer.saved_ms for layer in layers]
    return frame


def _channels(shape: Sequence[int]) -> str:
    """Inputs → outputs, as far as the layer has them."""
    return " → ".join(f"{size:,}" for size in reversed(shape[:2])) if shape else "–"


def _signed_ms(value_ms: float) -> str:
    return milliseconds(value_ms) if abs(value_ms) >= 5e-4 else "0 ms"


def _fold_table(layers: Sequence[LayerDifference], *, timed: bool) -> None:
    fold(
        f"All {len(layers)} layers", lambda: _table(layers, timed=timed), key="why-table-open", icon=":material/table:"
    )


def _table(layers: Sequence[LayerDifference], *, timed: bool) -> None:
    number = st.column_config.NumberColumn
    share = {"format": "percent", "help": "Share of its weights that are zero", "width": "small"}
    columns = {
        "layer": st.column_config.TextColumn("Layer", width="medium"),
        "stage": st.column_config.TextColumn("Stage", width="small"),
        "channels before": st.column_config.TextColumn("Channels before", help="Inputs → outputs"),
        "channels after": st.column_config.TextColumn("Channels after", help="Inputs → outputs"),
        "MACs before": number(format="localized"),
        "MACs after": number(format="localized"),
        "zeros before": number("Zeros before", **share),  # type: ignore[arg-type]
        "zeros after": number("Zeros after", **share),  # type: ignore[arg-type]
        "ms before": number(format="%.3f", help="Measured, the layer alone"),
        "ms after": number(format="%.3f", help="Measured, the layer alone"),
        "saved ms": number("Saved, ms", format="%.3f"),
    }
    frame = why_frame(layers, timed=timed)
    table(
        frame,
        key="why-table",
        alt=f"{len(frame)} layers with channels, MACs and zeros" + (" and times" if timed else ""),
        columns=columns,
    )
    download_csv(frame, "why")
