"""How long a training will take on this machine, before it begins. An estimate, and it says what it rests on.

Knows no torch. Runs that have finished here are the best guide: same model, same method. Without one, training is
taken to cost three forward passes per image (forward, and backward twice as much), one more with a teacher, at the
speed at which the dense model was evaluated when it was opened.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..analysis.machine import cpu_name
from ..methods import METHODS, Course
from ..pruning.plan import Plan
from ..store import Dataset, Store, Variant

__all__ = ["Forecast", "forecast", "training_images", "with_teacher"]

FORWARD_PASSES = 3.0
TEACHER_PASSES = 1.0


@dataclass(frozen=True)
class Forecast:
    """``seconds`` for all epochs at most; early stopping makes it less. ``origin``: where the speed comes from."""

    seconds: float
    images_per_s: float
    images_per_epoch: int
    origin: str


def forecast(store: Store, plan: Plan, course: Course, *, data: Dataset, dense: Variant) -> Forecast | None:
    """The duration of a plan on the model and data of a session; None where no speed is known at all."""
    counts = data.description.get("counts") or {}
    images = training_images(plan, int(counts.get("train") or 0))
    forward = (dense.metrics.get("test") or {}).get("images_per_s")
    speed, origin = _measured(store, plan, dense.model_id)
    if speed is None and forward:
        passes = FORWARD_PASSES + (TEACHER_PASSES if with_teacher(plan) else 0.0)
        speed = float(forward) / passes
        origin = (
            f"guessed: {passes:g} forward passes per image, of which the dense model made {forward:,.0f} per second"
        )
    if not speed or not images:
        return None
    selecting = int(counts.get("select") or 0) / float(forward or FORWARD_PASSES * speed)
    return Forecast(course.epochs * (images / speed + selecting), speed, images, origin)


def training_images(plan: Plan, available: int) -> int:
    """Training images of one epoch: all, or as many as the method's settings name."""
    settings = METHODS[plan.method].Settings.parse(plan.method_settings)
    chosen = getattr(getattr(settings, "training", None), "images", None)
    return min(available, int(chosen)) if chosen else available


def with_teacher(plan: Plan) -> bool:
    """Whether a teacher answers beside the network that is trained."""
    settings = METHODS[plan.method].Settings.parse(plan.method_settings)
    return getattr(getattr(settings, "distillation", None), "form", "off") != "off"


def _measured(store: Store, plan: Plan, model_id: str) -> tuple[float | None, str]:
    """The median speed of earlier runs of this model here: of the same method if there are any."""
    machine = cpu_name()
    same: list[float] = []
    others: list[float] = []
    for earlier, result in store.training_results(model_id):
        training: Mapping[str, Any] = result.get("training") or {}
        if not training.get("images_per_s") or training.get("machine") != machine:
            continue
        alike = earlier.get("method") == plan.method and _teaches(earlier) == with_teacher(plan)
        (same if alike else others).append(float(training["images_per_s"]))
    speeds, which = (same, "with this method") if same else (others, "with other settings")
    if not speeds:
        return None, ""
    runs = "an earlier run" if len(speeds) == 1 else f"{len(speeds)} earlier runs"
    return statistics.median(speeds), f"measured in {runs} of this model {which} on this machine"


def _teaches(plan: Mapping[str, Any]) -> bool:
    try:
        return with_teacher(Plan.parse(plan))
    except Exception:  # a plan of another version: not alike
        return False
