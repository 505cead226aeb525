"""One setting, timed: interleaved pairs with the reference, in several loads of every model.

Two loads of the very same file differ in speed, because their memory lies elsewhere (Mytkowicz et al., “Producing wrong
data without doing anything obviously wrong”, ASPLOS 2009), and no number of pairs within one load shows it. So every
model is loaded ``LOADS`` times, pairs are taken within each load, and intervals are those of the loads' medians. The
reference is paired with a twin, a second load of itself. What is timed is a model that runs by itself, again and again:
a small network that has to fetch its weights after a large one ran is up to twice as slow, which no user of it sees.
"""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["LOADS", "TimedModel", "time_pairs"]

LOADS = 6
"""The fewest whose range encloses a median with 95 % (the sign test)."""
SAMPLE_S = 0.003
"""A sample is as many runs in a row as fill this time: shorter samples measure the timer and the cold cache."""
MAX_RUNS = 64


@dataclass
class TimedModel:
    """One model in one setting. Milliseconds are those of one run."""

    load_ms: float = math.nan
    """The first time."""
    first_run_ms: float = math.nan
    samples_ms: list[list[float]] = field(default_factory=list)
    """Of each load."""
    ratios: list[list[float]] = field(default_factory=list)
    """Reference ÷ this model within each pair, of each load; of the reference: reference ÷ its twin."""
    runs: int = 1
    """In a row, per sample."""

    @property
    def pairs(self) -> int:
        """Of all loads."""
        return sum(map(len, self.ratios))


class _Loaded:
    """A model in memory."""

    def __init__(self, opened: Callable[[], Callable[[], object]]) -> None:
        start = time.perf_counter()
        self.run = opened()
        loaded = time.perf_counter()
        self.run()
        self.load_ms, self.first_run_ms = (loaded - start) * 1e3, (time.perf_counter() - loaded) * 1e3

    def sample_ms(self, runs: int) -> float:
        """Mean of so many runs in a row, after one that is not timed: another model has just used the caches."""
        self.run()
        start = time.perf_counter()
        for _ in range(runs):
            self.run()
        return (time.perf_counter() - start) * 1e3 / runs


def time_pairs(
    openers: dict[str, Callable[[], Callable[[], object]]],
    reference: str,
    *,
    pairs: int,
    warmup: int,
    max_seconds: float,
    order: random.Random,
    step: Callable[[int], None],
) -> dict[str, TimedModel]:
    """Time every model against the reference.

    Args:
        openers: loads a model and returns how to run it once.
        reference: one of their names.
        pairs: of every model, over all loads; at least ``LOADS``.
        warmup: runs after the first one, in every load.
        max_seconds: fewer pairs after this time, but at least one in every load.
        order: draws it.
        step: is told how many pairs are done; it may raise to cancel.
    """
    deadline = time.monotonic() + max_seconds
    found = {name: TimedModel() for name in openers}
    names = list(openers)
    for load in range(LOADS):
        step(0)
        loaded = {name: _Loaded(opened) for name, opened in openers.items()}
        twin = _Loaded(openers[reference])
        quickest_s = min(_warmed(model, warmup, step) for model in (*loaded.values(), twin))
        for name, model in found.items():
            if not load:
                model.load_ms, model.first_run_ms = loaded[name].load_ms, loaded[name].first_run_ms
                model.runs = max(1, min(MAX_RUNS, math.ceil(SAMPLE_S / max(quickest_s, 1e-9))))
            model.samples_ms.append([])
            model.ratios.append([])
        turns = pairs * (load + 1) // LOADS - pairs * load // LOADS
        for turn in range(turns):
            if turn and time.monotonic() > deadline:
                step((turns - turn) * len(names))
                break
            order.shuffle(names)
            for name in names:
                step(1)
                _pair(found[name], loaded[reference], twin if name == reference else loaded[name], order)
        del loaded, twin
    return found


def _warmed(model: _Loaded, warmup: int, step: Callable[[int], None]) -> float:
    """Seconds of one run."""
    for _ in range(warmup):
        step(0)
        model.run()
    start = time.perf_counter()
    model.run()
    return time.perf_counter() - start


def _pair(model: TimedModel, reference: _Loaded, own: _Loaded, order: random.Random) -> None:
    if order.random() < 0.5:
        reference_ms, own_ms = reference.sample_ms(model.runs), own.sample_ms(model.runs)
    else:
        own_ms, reference_ms = own.sample_ms(model.runs), reference.sample_ms(model.runs)
    model.samples_ms[-1].append(own_ms)
    model.ratios[-1].append(reference_ms / own_ms)
