"""What a run that removes units while it trains has cut, when and why. Pure functions of a training history.

The keys are those of ``core.training.removal``. A history of another method has no cuts, and nothing to show.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import EspalierError
from core.methods import METHODS
from core.pruning.groups import GROUP_CRITERIA
from dashboard.components.format import whole
from dashboard.components.training_data import epochs_of

__all__ = ["Cut", "costs_of", "cuts_of", "has_cuts", "reason_words", "shares", "summary_words", "whole_units"]

History = Mapping[str, Any]

_SAVED = {"macs": "MAC", "parameters": "parameter", "latency": "millisecond"}


@dataclass(frozen=True)
class Cut:
    """Units of one group that went in one removal.

    ``relative``: what its units cost, where the cheapest units that stayed cost 1; None where costs of groups cannot be
    compared.
    """

    epoch: int
    step: int
    group: str
    units: int
    left: int
    whole: int
    relative: float | None


def has_cuts(history: History) -> bool:
    """Whether the run removes units of groups while it trains."""
    return any("cuts" in row and row.get("groups") for row in epochs_of(history))


def whole_units(history: History) -> dict[str, int]:
    """Units of every group before training, groups in execution order."""
    rows = [row for row in epochs_of(history) if row.get("groups")]
    if not rows:
        return {}
    units = {str(name): int(left) for name, left in rows[0]["groups"].items()}
    for row in epochs_of(history):
        if row["epoch"] <= rows[0]["epoch"]:
            for cut in row.get("cuts") or ():
                units[cut["group"]] = units.get(cut["group"], 0) + int(cut["units"])
    return units


def shares(history: History) -> tuple[list[str], list[int], list[list[float | None]]]:
    """Groups in execution order, epochs beginning with 0 (before training), and the share of units left: a row per
    group."""
    units = whole_units(history)
    rows = [row for row in epochs_of(history) if row.get("groups")]
    matrix = [
        [1.0, *[row["groups"][name] / most if name in row["groups"] and most else None for row in rows]]
        for name, most in units.items()
    ]
    return list(units), [0, *[int(row["epoch"]) for row in rows]], matrix


def cuts_of(history: History) -> list[Cut]:
    """Every cut, in the order in which they were made."""
    units = whole_units(history)
    found: list[Cut] = []
    for row in epochs_of(history):
        for cut in row.get("cuts") or ():
            cost, spared = _finite(cut.get("cost")), _finite(cut.get("spared"))
            found.append(
                Cut(
                    epoch=int(row["epoch"]),
                    step=int(cut["step"]),
                    group=str(cut["group"]),
                    units=int(cut["units"]),
                    left=int(cut["left"]),
                    whole=units.get(cut["group"], int(cut["left"]) + int(cut["units"])),
                    relative=cost / spared if cost is not None and spared is not None and spared > 0 else None,
                )
            )
    return found


def costs_of(history: History) -> dict[str, tuple[float | None, float]]:
    """``parameters``, ``macs``, ``milliseconds`` → (before, now), as far as the run says; before is None where it does
    not know.

    Milliseconds before training follow from what the run counts as saved, where it counts milliseconds.
    """
    rows = [row for row in epochs_of(history) if row.get("groups")]
    if not rows:
        return {}
    last = rows[-1]
    found: dict[str, tuple[float | None, float]] = {}
    for name in ("parameters", "macs", "milliseconds"):
        now = _finite(last.get(name))
        if now is not None:
            found[name] = (None, now)
    saved = _finite(last.get("sparsity"))
    if "milliseconds" in found and history.get("unit") == "ms" and saved is not None and saved < 1:
        found["milliseconds"] = (found["milliseconds"][1] / (1 - saved), found["milliseconds"][1])
    return found


def summary_words(history: History) -> str:
    """What was cut in all, in a sentence; empty before the first cut."""
    cuts, units = cuts_of(history), whole_units(history)
    if not cuts:
        return ""
    gone: dict[str, int] = {}
    for cut in cuts:
        gone[cut.group] = gone.get(cut.group, 0) + cut.units
    times = len({cut.step for cut in cuts})
    most = max(gone, key=lambda name: gone[name] / max(1, units[name]))
    removals = "one removal" if times == 1 else f"{times} removals"
    return (
        f"{whole(sum(gone.values()))} of {whole(sum(units.values()))} units went in {removals}, from {len(gone)} of "
        f"{len(units)} groups; {most} gave most ({whole(gone[most])} of {whole(units[most])})."
    )


def reason_words(plan: Mapping[str, Any]) -> str:
    """Why the units went that went: what the plan's method ranks them by. Empty for a plan that cannot be read."""
    method = str(plan.get("method") or "")
    try:
        settings: Any = METHODS[method].Settings.parse(plan.get("method_settings") or {})
    except EspalierError:
        return ""
    name = getattr(settings, "criterion", "plan")
    name = str(plan.get("criterion") or "magnitude") if name == "plan" else str(name)
    title = str(getattr(GROUP_CRITERIA[name], "title", name)) if name in GROUP_CRITERIA else name
    interval = getattr(settings, "interval", 0)
    if not interval:
        return f"All units went before the first step, those with the least importance ({title})."
    cost = settings.budget if settings.cost == "budget" else settings.cost
    saved = f" per saved {_SAVED[cost]}" if cost in _SAVED else ""
    steps = "After every step" if interval == 1 else f"Every {interval} steps"
    return f"{steps} the units went that cost the least importance{saved} ({title})."


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
