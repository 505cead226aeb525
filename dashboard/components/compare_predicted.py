"""Predicted beside measured latency, for variants whose run timed layers: how right was it?"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from core.errors import StoreError
from core.store.records import Variant
from dashboard import backend
from dashboard.components.compare_data import LatencyRow, Row
from dashboard.components.cut_data import costs_of
from dashboard.components.format import NOTHING, milliseconds, percent, span, speedup
from dashboard.components.runs_training import history_of
from dashboard.components.tables import table
from dashboard.components.training_data import epochs_of

__all__ = ["Prediction", "draw_predicted", "predicted_of", "predicted_rows"]

_RUNTIME = "onnxruntime"


@dataclass(frozen=True)
class Prediction:
    """Milliseconds of one image in ONNX Runtime, as the run saw them; ``dense_ms`` None where it does not tell."""

    milliseconds: float
    dense_ms: float | None
    threads: int = 1


def draw_predicted(rows: Sequence[Row]) -> None:
    """The table; nothing where no run predicted a latency."""
    known = [(row, found) for row in rows if not row.dense and (found := predicted_of(row.variant)) is not None]
    if not known:
        return
    shown = pd.DataFrame(predicted_rows(known, rows))
    st.markdown("**Predicted and measured**")
    table(shown, key="latency-predicted", alt="Predicted and measured latency of variants that were pruned for it")
    st.caption(
        "Predicted from layers timed one by one on this machine, when the plan ran; measured on the whole network, in "
        "ONNX Runtime, one image at a time. “of” is the dense network at that time. Where the two "
        "differ, the measured one is right."
    )


def predicted_of(variant: Variant) -> Prediction | None:
    """What the run that made the variant predicted of its result; None where it timed no layers."""
    if variant.job_id is None:
        return None
    with contextlib.suppress(StoreError):  # the history may have been cleared
        found = (backend.store().get_job(variant.job_id).result or {}).get("latency")
        if isinstance(found, Mapping) and isinstance(found.get("predicted_ms"), int | float):
            return Prediction(float(found["predicted_ms"]), found.get("dense_ms"), int(found.get("threads") or 1))
        return _of_history(history_of(variant.job_id) or {})
    return None


def _of_history(history: Mapping[str, Any]) -> Prediction | None:
    """What a training predicted of the epoch whose state is its result."""
    restored = history.get("restored_epoch")
    rows = [row for row in epochs_of(history) if not restored or row["epoch"] <= restored]
    costs = costs_of({**history, "epochs": rows}).get("milliseconds")
    return None if costs is None else Prediction(costs[1], costs[0])


def predicted_rows(known: Sequence[tuple[Row, Prediction]], rows: Sequence[Row]) -> list[dict[str, str]]:
    """One line per variant; what was not measured says so."""
    dense = next((row for row in rows if row.dense), None)
    found = []
    for row, prediction in known:
        measured = _measured(row, prediction.threads)
        base = _measured(dense, prediction.threads) if dense is not None else None
        dense_ms = prediction.dense_ms if prediction.dense_ms is not None else base.median_ms if base else None
        error = NOTHING if measured is None else _error(prediction.milliseconds, measured.median_ms)
        found.append(
            {
                "variant": row.variant.name,
                "predicted": milliseconds(prediction.milliseconds) + _of(prediction.dense_ms),
                "measured": "not yet: measure below"
                if measured is None
                else _spread(measured) + _of(base.median_ms if base else None),
                "prediction is": error,
                "predicted speed-up": speedup(dense_ms / prediction.milliseconds if dense_ms else None),
                "measured speed-up": NOTHING if measured is None else _ratio(measured),
            }
        )
    return found


def _measured(row: Row, threads: int) -> LatencyRow | None:
    mine = (item for item in row.latency if item.runtime == _RUNTIME and item.batch == 1 and item.threads == threads)
    return next(mine, None)


def _error(predicted_ms: float, measured_ms: float) -> str:
    if not measured_ms > 0:
        return NOTHING
    share = predicted_ms / measured_ms - 1
    return f"{percent(abs(share), 0)} too {'high' if share > 0 else 'low'}" if abs(share) >= 0.005 else "right"


def _of(dense_ms: float | None) -> str:
    return "" if dense_ms is None else f" of {milliseconds(dense_ms)}"


def _spread(latency: LatencyRow) -> str:
    if latency.low_ms is None or latency.high_ms is None:
        return milliseconds(latency.median_ms)
    return f"{milliseconds(latency.median_ms)} [{span(latency.low_ms, latency.high_ms)}]"


def _ratio(latency: LatencyRow) -> str:
    if latency.ratio_low is None or latency.ratio_high is None:
        return speedup(latency.ratio)
    return f"{speedup(latency.ratio)} [{latency.ratio_low:.2f}–{latency.ratio_high:.2f}]"
