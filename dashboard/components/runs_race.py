"""Race: several training runs on one axis, by epoch or by seconds, and the numbers behind the curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.store.records import Job, Variant
from dashboard import backend
from dashboard.components.charts import DASHES, MUTED, PALETTE, SYMBOLS, draw, faded, figure, per_cent, settled
from dashboard.components.format import NOTHING, duration, escape, interval, percent, short
from dashboard.components.runs_data import STATE_WORDS
from dashboard.components.runs_training import history_of, progress_mark
from dashboard.components.tables import table
from dashboard.components.training_data import best_epoch, elapsed_s, epochs_of, line, metric_of, trains
from dashboard.following import follow
from dashboard.made_once import made_once

__all__ = ["default_choice", "draw_race", "race_figure", "race_rows"]

_MOST = len(PALETTE)
_BANDS = 3


def draw_race(jobs: Sequence[Job], *, poll_s: float | None) -> bool:
    """Choose runs and see them together; draws nothing, and says so, before two runs have an epoch to show."""
    runs = [job for job in jobs if trains(job) and epochs_of(history_of(job.id) or {})]
    if len(runs) < 2:
        return False
    st.header("Race", anchor=False)
    names = {job.id: _label(job) for job in runs}
    chosen = st.multiselect(
        "Runs",
        [job.id for job in runs],
        default=default_choice(runs),
        format_func=lambda job_id: names.get(job_id, "?"),
        max_selections=_MOST,
        key="race-runs",
        label_visibility="collapsed",
        placeholder="Choose runs to draw on one axis",
    )
    by = st.segmented_control(
        "Along",
        ("epoch", "seconds"),
        default="epoch",
        required=True,
        format_func=lambda name: "by epoch" if name == "epoch" else "by seconds of training",
        key="race-by",
        label_visibility="collapsed",
    )
    if chosen:
        live = any(job.state.live for job in runs if job.id in chosen)
        follow(_follow, every_s=poll_s if live else None)(tuple(chosen), str(by))
    return True


def default_choice(runs: Sequence[Job]) -> list[str]:
    """The newest race, when there is one; else the newest runs of the same sparsity as the newest one, or, where it has
    no such rival, the two newest."""
    race = next((job.payload["race"] for job in runs if job.payload.get("race")), None)
    if race is not None:
        return [job.id for job in runs if job.payload.get("race") == race][:_MOST]
    target = _plan(runs[0]).get("sparsity")
    alike = [job.id for job in runs if _plan(job).get("sparsity") == target][:4]
    return alike if len(alike) > 1 else [job.id for job in runs[:2]]


def _follow(chosen: tuple[str, ...], by: str) -> None:
    with st.container(key="race"):
        found = [backend.store().get_job(job_id) for job_id in chosen]
        histories = {job.id: history_of(job.id) or {} for job in found}
        names = _distinct({job.id: _label(job) for job in found})
        alt = f"Score on the selection split of {len(found)} runs by {by}"
        marks = tuple((job_id, names[job_id], progress_mark(history)) for job_id, history in histories.items())
        draw(_figure(marks, by), key=f"race-{by}", alt=alt)
        variants = {item.job_id: item for item in backend.store().variants(str(found[0].session_id))}
        frame = pd.DataFrame(race_rows(found, histories, names, variants))
        table(frame, key="race-table", alt="The runs of the race in numbers")
        st.caption(
            "The selection split chose the restored epoch, so it flatters every run a little: judge by the test split, "
            "and by its paired differences on the Compare page."
        )


@made_once(16)
def _figure(marks: tuple[tuple[str, str, Any], ...], by: str) -> go.Figure:
    histories = {job_id: history_of(job_id) or {} for job_id, _, _ in marks}
    return settled(race_figure(histories, {job_id: name for job_id, name, _ in marks}, by=by))


def race_figure(histories: Mapping[str, Mapping[str, Any]], names: Mapping[str, str], *, by: str) -> go.Figure:
    """The score on the selection split of every run; intervals while there are few, the dense model as a line."""
    first: Mapping[str, Any] = next(iter(histories.values()), {})
    shown = figure(height=380, x_title="epoch" if by == "epoch" else "seconds of training", legend=True, y_percent=True)
    for index, (job_id, history) in enumerate(histories.items()):
        found = line(history, "select_score", low="select_low", high="select_high")
        clock = elapsed_s(history)
        x = [float(epoch) if by == "epoch" else clock[epoch] for epoch in found.epochs]
        colour = PALETTE[index % len(PALETTE)]
        if found.low and len(histories) <= _BANDS:
            shown.add_trace(
                go.Scatter(
                    x=[*x, *reversed(x)],
                    y=[*found.high, *reversed(found.low)],
                    mode="lines",
                    fill="toself",
                    fillcolor=faded(colour, 0.10),
                    line={"width": 0},
                    hoverinfo="skip",
                    showlegend=False,
                )
            )
        best = best_epoch(history)
        at = best["epoch"] if best is not None else None
        shown.add_trace(
            go.Scatter(
                x=x,
                y=found.values,
                name=escape(names[job_id]),
                mode="lines+markers",
                line={"color": colour, "width": 2.2, "dash": DASHES[index % len(DASHES)]},
                marker={
                    "symbol": SYMBOLS[index % len(SYMBOLS)],
                    "size": [11 if epoch == at else 5 for epoch in found.epochs],
                },
                customdata=[[epoch, clock[epoch]] for epoch in found.epochs],
                hovertemplate=f"%{{y:{per_cent(2)}}}, epoch %{{customdata[0]}}, %{{customdata[1]:,.0f}} s",
            )
        )
    dense = first.get("dense_score")
    if isinstance(dense, int | float):
        shown.add_hline(y=dense, line={"color": MUTED, "width": 1.5, "dash": "dash"}, layer="below")
        shown.add_annotation(
            text=f"dense {percent(dense)}",
            xref="paper",
            x=1,
            y=dense,
            xanchor="right",
            yanchor="bottom",
            showarrow=False,
            font={"size": 11},
        )
    metric = metric_of(first)
    shown.update_yaxes(title={"text": f"{metric}, selection split"}, fixedrange=True)
    shown.update_xaxes(rangemode="tozero")
    shown.update_layout(
        hovermode="closest",
        margin={"l": 8, "r": 12, "t": 44, "b": 8},
    )
    return shown


def race_rows(
    jobs: Sequence[Job],
    histories: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, str],
    variants: Mapping[str | None, Variant],
) -> list[dict[str, str | int]]:
    """One row per run: where it stands, its best score on select, its score on test, and what it cost."""
    rows: list[dict[str, str | int]] = []
    for job in jobs:
        history = histories[job.id]
        done, best = epochs_of(history), best_epoch(history) or {}
        variant = variants.get(job.id)
        test: Mapping[str, Any] = variant.metrics.get("test") or {} if variant is not None else {}
        rows.append(
            {
                "run": names[job.id],
                "state": STATE_WORDS[job.state][0],
                "epochs": len(done),
                "sparsity": percent(done[-1].get("sparsity")) if done else NOTHING,
                "best on select": percent(best.get("select_score")),
                "in epoch": str(best.get("epoch", NOTHING)),
                "test": percent(test.get("score"), 2),
                "95 % interval": interval(test.get("low"), test.get("high")),
                "training took": duration(max(elapsed_s(history).values(), default=0.0)),
            }
        )
    return rows


def _label(job: Job) -> str:
    title = str(job.payload.get("name") or _plan(job).get("name") or job.title)
    return short(title, 44)


def _distinct(names: Mapping[str, str]) -> dict[str, str]:
    """The names, with a number where two runs have the same."""
    seen: dict[str, int] = {}
    made = {}
    for job_id, name in names.items():
        seen[name] = seen.get(name, 0) + 1
        made[job_id] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return made


def _plan(job: Job) -> Mapping[str, Any]:
    return job.payload.get("plan") or {}
