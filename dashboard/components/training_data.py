"""What the history of a training run says, in the form that charts and lines of text need. Pure functions.

A history is the JSON object of ``MethodResult.history``. One that is half written, or older, lacks fields: nothing here
relies on more than the number of an epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.methods import METHODS
from core.store.records import Job
from dashboard.components.format import percent

__all__ = [
    "Line",
    "Span",
    "best_epoch",
    "elapsed_s",
    "epochs_of",
    "is_history",
    "layer_matrix",
    "line",
    "loss_parts",
    "metric_of",
    "outcome_sentence",
    "planned_epochs",
    "stage_spans",
    "trains",
    "within",
]

History = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """A curve: epochs and values of the same length; ``low`` and ``high`` are empty where there is no interval."""

    epochs: tuple[int, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Span:
    """A stage: its name, its first epoch and the last one, planned or reached."""

    name: str
    first: int
    last: int


def trains(job: Job) -> bool:
    """Whether the job executes a plan whose method trains."""
    plan = job.payload.get("plan")
    method = plan.get("method") if isinstance(plan, Mapping) else None
    return job.kind == "prune" and isinstance(method, str) and method in METHODS and METHODS[method].trains


def is_history(partial: Mapping[str, Any] | None) -> bool:
    """Whether a partial result is the history of a training that has begun."""
    return bool(partial) and partial is not None and partial.get("kind") == "training"


def epochs_of(history: History) -> Sequence[Mapping[str, Any]]:
    """The epochs that are complete."""
    return history.get("epochs") or ()


def metric_of(history: History) -> str:
    """“accuracy” or “mIoU”."""
    return str(history.get("metric") or "accuracy")


def line(history: History, name: str, *, low: str = "", high: str = "") -> Line:
    """The curve of one number per epoch, without the epochs that do not know it."""
    rows = [row for row in epochs_of(history) if isinstance(row.get(name), int | float)]
    banded = bool(low) and all(isinstance(row.get(key), int | float) for row in rows for key in (low, high))
    return Line(
        tuple(int(row["epoch"]) for row in rows),
        tuple(float(row[name]) for row in rows),
        tuple(float(row[low]) for row in rows) if banded else (),
        tuple(float(row[high]) for row in rows) if banded else (),
    )


def loss_parts(history: History) -> dict[str, Line]:
    """The parts of the loss by name, when there is more than one."""
    rows = [row for row in epochs_of(history) if row.get("parts")]
    names = list(dict.fromkeys(name for row in rows for name in row["parts"]))
    if len(names) < 2:
        return {}
    found = {}
    for name in names:
        known = [row for row in rows if isinstance(row["parts"].get(name), int | float)]
        found[name] = Line(tuple(int(row["epoch"]) for row in known), tuple(float(row["parts"][name]) for row in known))
    return found


def elapsed_s(history: History) -> dict[int, float]:
    """Seconds of training until the end of each epoch."""
    total, found = 0.0, {}
    for row in epochs_of(history):
        total += float(row.get("seconds") or 0.0)
        found[int(row["epoch"])] = total
    return found


def planned_epochs(history: History) -> int:
    """Epochs at most, over all stages; never fewer than there are."""
    planned = sum(int(stage.get("epochs") or 0) for stage in history.get("stages") or ())
    return max(planned, int(epochs_of(history)[-1]["epoch"]) if epochs_of(history) else 0)


def stage_spans(history: History) -> list[Span]:
    """The stages one after the other; a stage that stopped early ends where the next one began."""
    stages = [stage for stage in history.get("stages") or () if stage.get("first_epoch")]
    spans = []
    for index, stage in enumerate(stages):
        first = int(stage["first_epoch"])
        last = first + int(stage.get("epochs") or 1) - 1
        if index + 1 < len(stages):
            last = min(last, int(stages[index + 1]["first_epoch"]) - 1)
        spans.append(Span(str(stage.get("name") or f"Stage {index + 1}"), first, max(first, last)))
    return spans


def best_epoch(history: History) -> Mapping[str, Any] | None:
    """The epoch whose state is, or will be, the result: the restored one, else the last one marked best."""
    restored = history.get("restored_epoch")
    marked = [row for row in epochs_of(history) if (row["epoch"] == restored if restored else row.get("best"))]
    return marked[-1] if marked else None


def within(history: History, window: tuple[int, int] | None) -> History:
    """The history with the epochs of a window only (both ends included), so that axes fit what is shown."""
    if window is None:
        return history
    kept = [row for row in epochs_of(history) if window[0] <= int(row["epoch"]) <= window[1]]
    events = [item for item in history.get("events") or () if window[0] <= int(item.get("epoch") or 1) <= window[1]]
    return {**history, "epochs": kept, "events": events}


def layer_matrix(history: History) -> tuple[list[str], list[int], list[list[float | None]]]:
    """Layers (in the order of the network), the epochs that know them, and sparsity: one row per layer."""
    rows = [row for row in epochs_of(history) if row.get("layers")]
    names = list(dict.fromkeys(name for row in rows for name in row["layers"]))
    return names, [int(row["epoch"]) for row in rows], [[row["layers"].get(name) for row in rows] for name in names]


def outcome_sentence(history: History) -> str:
    """How far the training came and what was best, for a run that is over; empty before its first epoch ended."""
    done = epochs_of(history)
    if not done:
        return ""
    metric, best = metric_of(history), best_epoch(history)
    words = f"{len(done)} of at most {planned_epochs(history)} epochs"
    if best is None or best.get("select_score") is None:
        return f"{words}."
    return f"{words}; best {metric} on the selection split {percent(best['select_score'])}, in epoch {best['epoch']}."
