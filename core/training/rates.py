"""The learning rate as a pure function of the step: nothing to save, and a page can draw it. Knows no torch."""

import math

from .settings import StageSettings

__all__ = ["learning_rate"]

STEPS_AT = (0.5, 0.75)
STEP_FACTOR = 0.1


def learning_rate(settings: StageSettings, step: int, *, steps_per_epoch: int) -> float:
    """The rate of step 0, 1, 2, … of a stage that is planned to have ``settings.epochs`` epochs.

    Warm-up grows in a line and reaches the full rate with its last step; the schedule takes the steps after it, or
    after those in which the rate is held.
    """
    total = settings.epochs * steps_per_epoch
    warmup = min(round(settings.warmup_epochs * steps_per_epoch), total)
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    start = max(warmup, round(settings.hold * total))
    place = min(1.0, max(0, step - start) / max(1, total - start))
    if settings.schedule == "cosine":
        return settings.learning_rate * (1.0 + math.cos(math.pi * place)) / 2.0
    if settings.schedule == "step":
        return settings.learning_rate * STEP_FACTOR ** sum(place >= at for at in STEPS_AT)
    return settings.learning_rate
