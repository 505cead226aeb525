"""Every latency that was measured: batch × threads × runtime, cold and warm, with its machine."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.runtimes.base import runtime_title
from core.store.records import Measurement
from dashboard import backend
from dashboard.components.compare_data import Row
from dashboard.components.fold import fold
from dashboard.components.format import escape, span
from dashboard.components.tables import table

__all__ = ["draw_grid", "grid_frame", "machine_words"]


def draw_grid(rows: Sequence[Row]) -> None:
    """Folded: one line per variant and setting, of each variant's newest measurement."""
    found: list[tuple[str, Measurement]] = []
    for row in rows:
        own = backend.store().measurements(row.variant.id, kind="latency")
        if own:
            found.append((row.variant.name, max(own, key=lambda one: one.created)))
    if not found:
        return
    fold("Every setting, cold and warm", lambda: _draw(found), key="latency-grid-open", icon=":material/grid_view:")


def _draw(found: Sequence[tuple[str, Measurement]]) -> None:
    frame = grid_frame([(name, item.result) for name, item in found])
    table(
        frame,
        key="latency-grid",
        alt=f"{len(frame)} latencies by variant, runtime, batch and threads, with loading and first run",
        columns={
            **{
                column: st.column_config.NumberColumn(column.capitalize(), format="%.3f")
                for column in ("median, ms", "loading, ms", "first run, ms")
            },
            "speed-up": st.column_config.NumberColumn("Speed-up", format="%.2f×"),
        },
    )
    st.caption(
        "Loading: creating the session or module. First run: the first inference after that, cold. Median: warm, "
        "interleaved with the dense model, per batch, with its 95 % interval."
    )
    for said in dict.fromkeys(machine_words(item.result) for _, item in found):
        st.caption(escape(said, markdown=True))


def grid_frame(found: Sequence[tuple[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """One line per variant and setting; what an older measurement did not note is empty."""
    lines = []
    for name, result in found:
        for row in result.get("rows") or ():
            runtime = str(row["runtime"])
            reference = row.get("verdict") == "reference"
            lines.append(
                {
                    "variant": name,
                    "runtime": runtime_title(runtime),
                    "batch": int(row["batch"]),
                    "threads": int(row["threads"]),
                    "median, ms": row.get("median_ms"),
                    "interval, ms": span(row["low_ms"], row["high_ms"]) if row.get("low_ms") else "",
                    "speed-up": None if reference else row.get("ratio"),
                    "its interval": ""
                    if reference or row.get("ratio_low") is None
                    else f"{row['ratio_low']:.2f}–{row['ratio_high']:.2f}",
                    "says": row.get("verdict", ""),
                    "loading, ms": row.get("load_ms"),
                    "first run, ms": row.get("first_run_ms"),
                    "pairs": row.get("pairs"),
                }
            )
    return pd.DataFrame(lines)


def machine_words(result: Mapping[str, Any]) -> str:
    """The machine and the versions that a measurement speaks of, in one line."""
    machine = result.get("machine") or {}
    parts = [str(machine[key]) for key in ("cpu", "system") if machine.get(key)]
    if machine.get("available_cores"):
        parts.append(f"{machine['available_cores']:g} cores")
    if machine.get("features"):
        parts.append(", ".join(machine["features"]))
    versions = {name: version for name, version in (machine.get("versions") or {}).items() if version}
    parts += [f"{name} {version}" for name, version in versions.items()]
    others = result.get("others_cores") or {}
    if others:
        parts.append(f"other work used {max(others.values()):.1f} cores")
    return " · ".join(parts) or "The machine was not noted."
