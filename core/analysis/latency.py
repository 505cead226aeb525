"""Latency of several variants against one reference, measured so that a busy machine cannot decide the answer.

For every runtime, thread count and batch size, each variant is timed in **interleaved pairs** with the reference: both
run back to back in random order, so that whatever disturbs the machine disturbs both. Every model is loaded several
times (``latency_pairs``): the speed-up is the median over loads of the median ratio of pairs, with its interval, which
assumes no distribution. The reference is also paired with a second load of itself; the interval of those ratios is the
**noise floor** of the setting, and a variant is ranked only when its own interval lies beyond it.
"""

import gc
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, field_validator

from ..errors import EspalierError, MeasurementError
from ..progress import SILENT, Progress
from ..settings import Settings
from .latency_pairs import LOADS, TimedModel, time_pairs
from .machine import CpuUse, busy_sentence, machine_facts
from .medians import interval_of_groups, speed_verdict
from .runtimes import LATENCY_RUNTIMES, LatencyRuntime
from .runtimes.base import known_runtimes, setting_words

if TYPE_CHECKING:
    from ..models.traced import TracedModel

__all__ = ["LatencySettings", "measure_latency"]

MIN_PAIRS = LOADS


class LatencySettings(Settings):
    """What is timed, and how often."""

    runtimes: tuple[str, ...] = Field(default=("onnxruntime", "torch"), min_length=1, title="Runtimes")
    batch_sizes: tuple[int, ...] = Field(default=(1,), min_length=1, title="Batch sizes")
    threads: tuple[int, ...] = Field(default=(1,), min_length=1, title="Threads")
    pairs: int = Field(default=30, ge=MIN_PAIRS, le=1000, title="Pairs", description="Per variant and setting.")
    warmup: int = Field(default=3, ge=0, le=100, title="Warm-up runs")
    max_seconds: float = Field(
        default=60.0, gt=0, title="Time limit per setting (s)", description=f"Fewer pairs, but at least {MIN_PAIRS}."
    )
    seed: int = Field(default=0, ge=0, title="Seed of the order and the noise images")

    @field_validator("batch_sizes", "threads")
    @classmethod
    def _positive(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 1 <= number <= 4096 for number in numbers):
            raise ValueError("every number must lie between 1 and 4096")
        return tuple(dict.fromkeys(numbers))

    @field_validator("runtimes")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return known_runtimes(names)


@dataclass(frozen=True)
class _Setting:
    runtime: str
    threads: int
    batch: int


class _Counter:
    """Progress over all settings: one unit is one pair."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def step(self, pairs: int, message: str) -> None:
        self.progress.check()
        self.progress.update(self.done, self.total, message)
        self.done += pairs


def measure_latency(
    models: Mapping[str, "TracedModel"],
    *,
    reference: str,
    settings: LatencySettings | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Time every model against ``models[reference]``; batches are noise images of the models' input shape.

    Returns:
        JSON: ``machine`` (facts), ``settings``, ``reference``, ``busy``, ``others_cores`` (cores that other work used
        before and during the measurement), ``sentence``, ``problems`` (runtimes or models left out, in words) and
        ``rows``, one per model and setting: variant, runtime, batch, threads, median_ms with low_ms and high_ms (95 %,
        per batch), ratio with ratio_low and ratio_high (to the reference; above 1 is faster), pairs, loads,
        runs_per_sample, load_ms, first_run_ms (cold), noise_low and noise_high (reference against itself), ranked, and
        verdict ("reference", "faster", "slower", "no difference shown").

    Raises:
        MeasurementError: when nothing could be measured, or the models do not take the same images.
    """
    settings = settings or LatencySettings()
    _check_models(models, reference)
    machine = machine_facts()
    before = CpuUse.sample()
    during = CpuUse()
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    cells = len(settings.runtimes) * len(settings.threads) * len(settings.batch_sizes)
    counter = _Counter(progress, cells * settings.pairs * len(models))
    order = random.Random(settings.seed)

    def result() -> dict[str, Any]:
        others = {"before": round(before, 2), "during": round(during.others_cores(), 2)}
        busy = busy_sentence(max(others.values()), threads=max(settings.threads))
        sentence = " ".join(filter(None, [_sentence(rows, reference), busy]))
        return {
            "machine": machine,
            "settings": settings.to_json(),
            "reference": reference,
            "rows": list(rows),
            "busy": busy is not None,
            "others_cores": others,
            "sentence": sentence,
            "problems": list(problems),
        }

    with tempfile.TemporaryDirectory(prefix="espalier-latency-") as folder:
        for name in settings.runtimes:
            runtime = LATENCY_RUNTIMES[name]()
            prepared, failures = _prepare(runtime, models, Path(folder) / name, progress)
            problems += failures
            if reference not in prepared:
                problems.append(f"{runtime.title} was left out: its reference “{reference}” could not be run.")
                continue
            for threads in settings.threads:
                for batch in settings.batch_sizes:
                    images = _images(models[reference].input_shape, batch, settings.seed)
                    cell = _Setting(name, threads, batch)
                    with runtime.threads(threads), _no_garbage_collection():
                        timed = _time(runtime, prepared, images, reference, settings, order, counter, cell)
                    rows += _rows(timed, reference, cell)
                    progress.publish(result())
    if not rows:
        raise MeasurementError("Nothing could be measured. " + " ".join(problems))
    return result()


def _check_models(models: Mapping[str, "TracedModel"], reference: str) -> None:
    if reference not in models:
        raise MeasurementError(
            f"The reference “{reference}” is none of the models: {', '.join(models) or 'none came'}."
        )
    shapes = {name: tuple(model.input_shape) for name, model in models.items()}
    for name, shape in shapes.items():
        if shape != shapes[reference]:
            raise MeasurementError(
                f"Models are compared on the same images; “{name}” takes {shape}, “{reference}” {shapes[reference]}."
            )


def _images(shape: Sequence[int], batch: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, *shape), dtype=np.float32)


def _prepare(
    runtime: LatencyRuntime, models: Mapping[str, "TracedModel"], folder: Path, progress: Progress
) -> tuple[dict[str, Any], list[str]]:
    """What the runtime made of each model, and in words what it could not."""
    reason = runtime.unavailable()
    if reason:
        return {}, [reason]
    prepared, problems = {}, []
    for number, (name, model) in enumerate(models.items()):
        progress.check()
        progress.update(0, 1, f"Preparing {name} for {runtime.title}")
        place = folder / str(number)
        place.mkdir(parents=True)
        try:
            prepared[name] = runtime.prepare(model, place)
        except EspalierError as problem:
            problems.append(f"“{name}” was left out in {runtime.title}: {problem}")
    return prepared, problems


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """As timeit does: with PyTorch imported a full collection takes seconds, and it would hit one sample of a pair."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _time(
    runtime: LatencyRuntime,
    prepared: Mapping[str, Any],
    images: np.ndarray,
    reference: str,
    settings: LatencySettings,
    order: random.Random,
    counter: _Counter,
    cell: _Setting,
) -> dict[str, TimedModel]:
    def opener(model: Any) -> Callable[[], Callable[[], object]]:
        return lambda: runtime.open(model, images, threads=cell.threads)

    return time_pairs(
        {name: opener(model) for name, model in prepared.items()},
        reference,
        pairs=settings.pairs,
        warmup=settings.warmup,
        max_seconds=settings.max_seconds,
        order=order,
        step=lambda done: counter.step(done, setting_words(cell.runtime, cell.batch, cell.threads)),
    )


def _rows(timed: Mapping[str, TimedModel], reference: str, cell: _Setting) -> list[dict[str, Any]]:
    _, noise_low, noise_high = interval_of_groups(timed[reference].ratios)
    rows = []
    for name, model in timed.items():
        median_ms, low_ms, high_ms = interval_of_groups(model.samples_ms)
        ratio, ratio_low, ratio_high = interval_of_groups(model.ratios) if name != reference else (1.0, 1.0, 1.0)
        verdict = speed_verdict(ratio_low, ratio_high, noise_low=noise_low, noise_high=noise_high)
        verdict = "reference" if name == reference else verdict
        rows.append(
            {
                "variant": name,
                "runtime": cell.runtime,
                "batch": cell.batch,
                "threads": cell.threads,
                "median_ms": median_ms,
                "low_ms": low_ms,
                "high_ms": high_ms,
                "ratio": ratio,
                "ratio_low": ratio_low,
                "ratio_high": ratio_high,
                "noise_low": noise_low,
                "noise_high": noise_high,
                "pairs": model.pairs,
                "loads": len(model.ratios),
                "runs_per_sample": model.runs,
                "load_ms": model.load_ms,
                "first_run_ms": model.first_run_ms,
                "ranked": verdict in ("faster", "slower"),
                "verdict": verdict,
            }
        )
    return rows


def _sentence(rows: Sequence[Mapping[str, Any]], reference: str) -> str:
    """What the first setting showed, in one sentence."""
    others = [row for row in rows if row["verdict"] != "reference"]
    if not others:
        return f"Only “{reference}” was measured."
    first = others[0]
    same = [row for row in others if all(row[key] == first[key] for key in ("runtime", "threads", "batch"))]
    where = f"in {setting_words(first['runtime'], first['batch'], first['threads'])}"
    ranked = sorted((row for row in same if row["ranked"]), key=lambda row: -row["ratio"])
    if not ranked:
        return f"No difference in speed to “{reference}” was shown {where}, {first['pairs']} interleaved pairs each."
    shown = ", ".join(
        f"“{row['variant']}” {row['ratio']:.2f}× ({row['ratio_low']:.2f}–{row['ratio_high']:.2f})" for row in ranked
    )
    rest = "; the others show no difference" if len(ranked) < len(same) else ""
    return f"Speed against “{reference}” {where}: {shown}{rest}."
