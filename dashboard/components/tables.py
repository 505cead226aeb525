"""Tables: one look, an alternative text, a remembered row, and CSV that no spreadsheet mistakes for formulas."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

__all__ = ["csv_bytes", "download_csv", "height_px", "select_row", "table"]

_ROW_PX = 35
_SPARED = 4
_FORMULA = re.compile(r"[=@\t\r]|[+-](?!\d[\d.,]*( [\w%]+)?$)")


def height_px(rows: int, most: int) -> int:
    """The height of a table of about ``most`` rows: a few more are shown, too; where there are many more, half a row
    at the end says that the table goes on."""
    return round(_ROW_PX * ((rows if rows <= most + _SPARED else most + 0.5) + 1)) + 3


def table(
    frame: pd.DataFrame,
    *,
    key: str,
    alt: str,
    columns: Mapping[str, Any] | None = None,
    most_rows: int = 14,
    on_select: Callable[[], None] | None = None,
) -> None:
    """Show a table. ``columns``: ``st.column_config`` by column; ``alt`` says in words what the table holds.

    ``on_select`` is called when a row is chosen; ``st.session_state[key]["selection"]["rows"]`` says which.
    """
    st.dataframe(
        frame.map(_unlike_formula),
        key=key,
        alt=alt,
        hide_index=True,
        column_config={**_labels(frame), **(columns or {})},
        placeholder="–",
        height=height_px(len(frame), most_rows),
        on_select=on_select or "ignore",
        selection_mode="single-row",
    )


def select_row(
    frame: pd.DataFrame,
    *,
    key: str,
    alt: str,
    columns: Mapping[str, Any] | None = None,
    most_rows: int = 12,
    default: int = 0,
) -> int | None:
    """Show a table in which one row is always chosen; returns its position, None for an empty table."""
    if frame.empty:
        table(frame, key=f"{key}-empty", alt=alt, columns=columns)
        return None
    event: Any = st.dataframe(
        frame.map(_unlike_formula),
        key=key,
        alt=alt,
        hide_index=True,
        column_config={**_labels(frame), **(columns or {})},
        placeholder="–",
        height=height_px(len(frame), most_rows),
        on_select="rerun",
        selection_mode="single-row-required",
        selection_default={"selection": {"rows": [min(default, len(frame) - 1)]}},
    )
    rows = event["selection"]["rows"] if event else []
    return int(rows[0]) if rows and rows[0] < len(frame) else min(default, len(frame) - 1)


def _labels(frame: pd.DataFrame) -> dict[str, str]:
    """Heads of columns that nobody named: as in the frame, with a capital; units keep their letters."""
    return {name: f"{name[:1].upper()}{name[1:]}" for name in map(str, frame.columns) if not name.startswith("ms ")}


def _unlike_formula(cell: Any) -> Any:
    """Text that a spreadsheet would run, with a quote in front: Streamlit's own table menu offers a CSV file, too.

    Signed numbers with their unit (“+1.2 points”) stay as they are.
    """
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """The table as UTF-8 CSV. Text that a spreadsheet would run as a formula gets a quote in front (OWASP)."""

    def quoted(cell: Any) -> Any:
        return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell

    safe = frame.map(quoted)
    safe.columns = [quoted(column) for column in safe.columns]
    return safe.to_csv(index=False).encode()


def download_csv(frame: pd.DataFrame, name: str) -> None:
    """A button that gives the table as ``name``.csv; the file is made when somebody asks for it."""
    st.download_button(
        "Download CSV",
        data=lambda: csv_bytes(frame),
        file_name=f"{name}.csv",
        mime="text/csv",
        on_click="ignore",
        icon=":material/download:",
        key=f"{name}-csv",
    )
