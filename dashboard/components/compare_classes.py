"""The classes that paid: accuracy or IoU of every class in both models, with paired differences. Needs no torch."""

import functools
import statistics
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.analysis.class_changes import ClassChange, class_changes
from core.analysis.evaluation import Evaluation
from core.errors import EspalierError
from core.store.records import Model
from dashboard import backend
from dashboard.components.charts import draw
from dashboard.components.compare_charts import class_change_figure
from dashboard.components.compare_data import Row, per_class_change
from dashboard.components.format import escape, points, short, whole

__all__ = ["class_frame", "draw_classes", "paid_words", "rests_on"]

_TALL_PX = 560
_NAMED = 5


def draw_classes(dense: Row | None, row: Row, model: Model) -> None:
    """Who paid in words, and the picture, most lost first."""
    names = model.description.get("class_names") or ()
    changes = _changes(dense, row)
    if changes:
        frame, words, note = class_frame(changes, names), paid_words(changes, names), rests_on(changes)
    else:
        frame = per_class_change(dense, row, names) if dense is not None else pd.DataFrame()
        frame = frame.sort_values("change (points)") if len(frame) else frame
        words = note = "These differences are not paired: the results of single images were not kept for both models."
    if frame.empty:
        st.caption("The scores per class were not measured for both models.")
        return
    if changes:
        st.markdown(escape(words, markdown=True))
    picture = class_change_figure(frame, variant=row.variant.name, metric="IoU" if row.metric == "mIoU" else row.metric)
    tall = picture.layout.height > _TALL_PX
    with st.container(height=_TALL_PX if tall else "content", border=False, key="compare-classes-box"):
        draw(picture, key="compare-classes", alt=f"Change of every class against dense. {words}")
    st.caption(escape(note, markdown=True))


def _changes(dense: Row | None, row: Row) -> tuple[ClassChange, ...]:
    if dense is None or not dense.variant.evaluation_artifact or not row.variant.evaluation_artifact:
        return ()
    folder = str(backend.workspace().folder)
    return _paired(dense.variant.evaluation_artifact, row.variant.evaluation_artifact, folder)


@functools.lru_cache(maxsize=64)
def _paired(dense: str, other: str, _workspace: str) -> tuple[ClassChange, ...]:
    artifacts = backend.workspace().artifacts
    try:
        return tuple(class_changes(Evaluation.load(artifacts.path(dense)), Evaluation.load(artifacts.path(other))))
    except EspalierError:
        return ()


def class_frame(changes: Sequence[ClassChange], names: Sequence[str]) -> pd.DataFrame:
    """One row per class, in the order given: scores as fractions, difference and interval in points."""

    def in_points(value: float | None) -> float:
        return float("nan") if value is None else 100.0 * value

    return pd.DataFrame(
        {
            "class": [_name(change, names) for change in changes],
            "dense": [change.dense for change in changes],
            "variant": [change.variant for change in changes],
            "change (points)": [100.0 * change.difference for change in changes],
            "low (points)": [in_points(change.low) for change in changes],
            "high (points)": [in_points(change.high) for change in changes],
            "images": [change.images for change in changes],
        }
    )


def paid_words(changes: Sequence[ClassChange], names: Sequence[str]) -> str:
    """Which classes lost, which gained, and for how many nothing is shown: what these few images can tell."""
    sure = [change for change in changes if change.differs]
    lost = [change for change in sure if change.difference < 0]
    gained = [change for change in reversed(sure) if change.difference > 0]
    parts = []
    for word, found in (("Paid", lost), ("Gained", gained)):
        if found:
            named = [f"{short(_name(change, names), 24)} ({points(change.difference)})" for change in found[:_NAMED]]
            more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
            parts.append(f"{word}: {', '.join(named)}{more}.")
    rest = len(changes) - len(sure)
    if rest == len(changes):
        parts.append(f"No difference shown in any class{_too_few(changes)}.")
    elif rest:
        parts.append(f"No difference shown in {'the other class' if rest == 1 else f'the other {rest} classes'}.")
    return " ".join(parts)


def _too_few(changes: Sequence[ClassChange]) -> str:
    """How much a class would have to change before it shows: half the usual interval."""
    known = [(change.low, change.high) for change in changes]
    halves = [(high - low) / 2 for low, high in known if low is not None and high is not None]
    if not halves:
        return ""
    reach = points(statistics.median(halves), 0).removeprefix("+")
    return f": with {_images(changes)} images of each, only changes of about {reach} or more would show"


def rests_on(changes: Sequence[ClassChange]) -> str:
    """What the picture rests on."""
    return (
        f"Measured on the test split, where a class rests on {_images(changes)} images; the 95 % intervals hold for "
        "all classes at once, so what the whole split shows need not show in one class."
    )


def _images(changes: Sequence[ClassChange]) -> str:
    few, many = min(change.images for change in changes), max(change.images for change in changes)
    return whole(few) if few == many else f"{whole(few)} to {whole(many)}"


def _name(change: ClassChange, names: Sequence[str]) -> str:
    return str(names[change.label]) if change.label < len(names) else f"class {change.label}"
