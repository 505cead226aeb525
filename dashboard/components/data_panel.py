"""The data of a session: classes, counts per split, a few pictures, notes."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from core.store.records import Dataset

from .badges import number_html, numbers
from .format import escape, plain, shape, short, whole
from .tables import table

__all__ = ["data_panel", "notes"]

_SPLIT_TITLES = {"train": "Train", "select": "Select", "test": "Test"}
_SPLIT_USES = {"train": "for fine-tuning", "select": "for every choice", "test": "only for the final numbers"}


def notes(sentences: list[str] | None, *, title: str) -> None:
    """What was noticed while opening, as a quiet list. Draws nothing when there is nothing to say."""
    if not sentences:
        return
    with st.expander(f"{title} · {len(sentences)}", icon=":material/info:", expanded=len(sentences) <= 2):
        st.markdown("\n".join(f"- {escape(sentence, markdown=True)}" for sentence in sentences))


def data_panel(data: Dataset) -> None:
    """Draw the panel."""
    facts = data.description
    counts: Mapping[str, int] = facts.get("counts") or {}
    numbers(
        number_html(_SPLIT_TITLES.get(name, name), whole(number), "images", measured=None, note=_SPLIT_USES.get(name))
        for name, number in counts.items()
    )
    classes = [plain(name) for name in facts.get("class_names") or facts.get("classes") or []]
    pixels = "pixels per class" if facts.get("task") == "segmentation" else "images per class"
    st.caption(f"{len(classes)} classes · input {shape(facts.get('input_shape'))} (channels × height × width)")
    _pictures(facts.get("thumbnails") or [])
    per_class = facts.get("per_class") or {}
    if per_class and classes:
        frame = pd.DataFrame({"class": classes} | {name: list(values) for name, values in per_class.items()})
        with st.expander(f"Classes: {pixels}"):
            table(
                frame,
                key="data-classes",
                alt=f"{pixels} in each split.",
                columns={"class": st.column_config.TextColumn("Class")}
                | {
                    name: st.column_config.NumberColumn(title, format="localized")
                    for name, title in _SPLIT_TITLES.items()
                },
            )
    elif classes:
        st.caption(", ".join(escape(short(name, 24), markdown=True) for name in classes[:40]))
    notes(list(facts.get("notes") or []), title="Notes on the data")


def _pictures(pictures: list[dict[str, Any]]) -> None:
    shown = [p for p in pictures if str(p.get("image", "")).startswith("data:image/png;base64,")]
    if not shown:
        return
    figures = "".join(
        f'<figure><img src="{escape(p["image"])}" alt="Example: {escape(p.get("label", ""))}">'
        f"<figcaption>{escape(short(p.get('label', ''), 22))}</figcaption></figure>"
        for p in shown
    )
    st.html(f'<div class="esp-pictures">{figures}</div>')
