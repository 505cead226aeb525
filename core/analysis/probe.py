"""Will it be faster here? A model's largest layers, timed alone in every runtime before anything is pruned.

Each layer is timed dense, with the channels that would stay, with as many zeros as planned anywhere, and with 2:4
zeros, interleaved round by round with itself, so that whatever disturbs the machine disturbs all. A speed-up is the
median over rounds of (time of all probed layers, dense) ÷ (the same, changed), with its distribution-free interval; the
dense layers against themselves give the noise floor. Nothing is said of the rest of the network: ``work_share`` tells
how much of its work the probed layers do.

Knows no torch; the runtime of that name does.
"""

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from ..comb.geometry import LayerGeometry
from ..errors import EspalierError, MeasurementError
from ..progress import SILENT, Progress
from ..pruning.patterns import Pattern, pattern_problem
from ..settings import Settings
from .layer_model import random_weight, with_weight
from .machine import CpuUse, busy_sentence, cpu_features, cpu_name
from .medians import median_interval, speed_verdict
from .runtimes import LATENCY_RUNTIMES, LatencyRuntime
from .runtimes.base import known_runtimes

__all__ = ["CANDIDATES", "ProbeLayer", "ProbeSettings", "probe", "probe_key"]

CANDIDATES = ("channels", "zeros", "pattern")
"""What is held against the dense layer: fewer channels, zeros anywhere, 2:4 zeros."""

_PATTERN = Pattern(2, 4)
_SMALL = LayerGeometry("linear", (8, 8), (1,))
_SAMPLE_S = 0.0008
_ROUNDS = (6, 40)
_FEWEST = 3
_GAIN = 1.15
"""A speed-up that would matter: an interval that reaches beyond it and shows no difference has told nothing."""
_VERSION = 1


class ProbeSettings(Settings):
    """Where and how long the layers are timed."""

    runtimes: tuple[str, ...] = Field(default=tuple(LATENCY_RUNTIMES), min_length=1, title="Runtimes")
    threads: int = Field(default=1, ge=1, le=256, title="Threads")
    budget_s: float = Field(default=1.6, gt=0.0, le=600.0, title="Seconds for all runtimes together")
    seed: int = Field(default=0, ge=0, title="Seed of the places of zeros and of the order")

    @field_validator("runtimes")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return known_runtimes(names)


@dataclass(frozen=True)
class ProbeLayer:
    """One layer as it is and as a plan would leave it.

    ``kept``: the weight's shape with the channels that would stay. ``sparsity``: the share of zeros without that.
    """

    name: str
    geometry: LayerGeometry
    kept: tuple[int, ...]
    sparsity: float
    macs: int = 0


@dataclass
class _Timed:
    """The runs of one layer in one runtime: dense and candidates, how many of them make a sample, its weight."""

    runs: dict[str, Callable[[], object]]
    calls: int
    repeats: int = 1
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def sample(self, name: str) -> float:
        run = self.runs[name]
        start = time.perf_counter()
        for _ in range(self.repeats):
            run()
        return (time.perf_counter() - start) / self.repeats * self.calls


def probe_key(layers: Sequence[ProbeLayer], settings: ProbeSettings) -> str:
    """Names what was asked, here: the same layers on the same machine, runtimes and versions."""
    from importlib.metadata import PackageNotFoundError, version

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    asked = {
        "version": _VERSION,
        "layers": [asdict(layer) for layer in layers],
        "settings": settings.to_json(),
        "machine": [cpu_name(), cpu_features(), {name: installed(name) for name in settings.runtimes}],
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]


def probe(
    layers: Sequence[ProbeLayer],
    *,
    settings: ProbeSettings | None = None,
    work: int | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Time layers as they are and as they would be.

    Args:
        layers: the largest first; where the time does not allow for all, the last ones are left out.
        work: MACs of the whole network, of which ``work_share`` says how much the timed layers do.

    Returns:
        JSON: ``rows``, one per runtime and candidate: runtime, candidate, ratio with low and high (above 1 is faster),
        noise_low, noise_high, rounds, dense_ms, verdict; ``layers`` (what was timed), ``problems`` (runtimes and
        candidates left out, in words), ``sentence``, ``busy``, ``others_cores``, ``threads``, ``work_share``,
        ``seconds`` (time spent measuring), ``cpu`` and ``key``.

    Raises:
        MeasurementError: when nothing could be timed.
    """
    settings = settings or ProbeSettings()
    if not layers:
        raise MeasurementError("There is no layer to probe: this model has no convolution and no linear layer.")
    order = random.Random(settings.seed)
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    weights = {layer.name: _weights(layer, settings.seed) for layer in layers}
    usable = []
    for name in settings.runtimes:
        runtime = LATENCY_RUNTIMES[name]()
        reason = runtime.unavailable()
        if reason is None:
            runtime.open_layer(_SMALL, random_weight(_SMALL), threads=1)()  # loading libraries is not measuring
            usable.append((name, runtime))
        else:
            problems.append(reason)
    use, started = CpuUse(), time.perf_counter()
    for number, (name, runtime) in enumerate(usable):
        progress.check()
        progress.update(number, len(usable), f"Timing {len(layers)} layers in {runtime.title}")
        left_s = settings.budget_s - (time.perf_counter() - started)
        try:
            rows += _in_runtime(name, runtime, layers, weights, settings, left_s / (len(usable) - number), order)
        except EspalierError as problem:
            problems.append(f"{runtime.title} was left out: {problem}")
    if not rows:
        raise MeasurementError("No layer could be timed. " + " ".join(problems))
    if not any(row["candidate"] == "pattern" for row in rows):
        problems.append(f"No probed layer can have {_PATTERN} zeros: their input dimensions are no multiples of 4.")
    others = use.others_cores()
    busy = busy_sentence(others, threads=settings.threads)
    return {
        "rows": rows,
        "layers": [asdict(layer) for layer in layers],
        "problems": problems,
        "sentence": sentence_of(rows, changed=any(layer.kept != layer.geometry.weight for layer in layers)),
        "busy": busy is not None,
        "busy_sentence": busy,
        "others_cores": round(others, 2),
        "threads": settings.threads,
        "work_share": _share(rows[0]["layers"], layers, work),
        "seconds": round(time.perf_counter() - started, 3),
        "cpu": cpu_name(),
        "key": probe_key(layers, settings),
    }


def _share(timed: Sequence[str], layers: Sequence[ProbeLayer], work: int | None) -> float | None:
    return sum(layer.macs for layer in layers if layer.name in timed) / work if work else None


def _weights(layer: ProbeLayer, seed: int) -> dict[str, tuple[LayerGeometry, np.ndarray]]:
    """The layer's weight dense, and changed in each way that it can be."""
    dense = random_weight(layer.geometry)
    found = {"dense": (layer.geometry, dense)}
    smaller = with_weight(layer.geometry, layer.kept)
    found["channels"] = (smaller, random_weight(smaller))
    draw = np.random.default_rng(seed)
    zeros = dense.reshape(-1).copy()
    zeros[draw.permutation(zeros.size)[: round(layer.sparsity * zeros.size)]] = 0.0
    found["zeros"] = (layer.geometry, zeros.reshape(dense.shape))
    if layer.geometry.kind != "transposed" and pattern_problem(_PATTERN, dense.shape) is None:
        blocks = np.moveaxis(dense, 1, -1).reshape(-1, _PATTERN.of).copy()
        places = np.argsort(draw.random(blocks.shape), axis=1)[:, : _PATTERN.of - _PATTERN.keep]
        np.put_along_axis(blocks, places, 0.0, axis=1)
        moved = np.moveaxis(dense, 1, -1).shape
        found["pattern"] = (layer.geometry, np.ascontiguousarray(np.moveaxis(blocks.reshape(moved), -1, 1)))
    return found


def _in_runtime(
    name: str,
    runtime: LatencyRuntime,
    layers: Sequence[ProbeLayer],
    weights: Mapping[str, Mapping[str, tuple[LayerGeometry, np.ndarray]]],
    settings: ProbeSettings,
    budget_s: float,
    order: random.Random,
) -> list[dict[str, Any]]:
    deadline = time.perf_counter() + budget_s
    timed: list[_Timed] = []
    with runtime.threads(settings.threads):
        for layer in layers:
            opened = {
                candidate: runtime.open_layer(geometry, weight, threads=settings.threads)
                for candidate, (geometry, weight) in weights[layer.name].items()
            }
            for run in opened.values():
                run()
            one = _Timed(opened, layer.geometry.calls)
            single_s = one.sample("dense") / one.calls
            one.repeats = max(1, min(50, math.ceil(_SAMPLE_S / max(single_s, 1e-9))))
            timed.append(one)
            # A layer more only where enough rounds of all so far still fit into the time.
            round_s = sum(part.repeats * part.sample("dense") / part.calls * (len(part.runs) + 1) for part in timed)
            if time.perf_counter() + 2 * _ROUNDS[0] * round_s > deadline:
                break
        rounds = 0
        while rounds < _ROUNDS[1] and (rounds < _FEWEST or time.perf_counter() < deadline):
            for part in timed:
                _round(part, order)
            rounds += 1
    return _rows(name, timed, [layer.name for layer in layers[: len(timed)]])


def _round(part: _Timed, order: random.Random) -> None:
    """Dense first and last, the candidates between them in random order."""
    names = [name for name in part.runs if name != "dense"]
    order.shuffle(names)
    for label, name in (("before", "dense"), *((name, name) for name in names), ("after", "dense")):
        part.seconds.setdefault(label, []).append(part.sample(name))


def _rows(runtime: str, timed: Sequence[_Timed], names: Sequence[str]) -> list[dict[str, Any]]:
    def summed(label: str) -> np.ndarray:
        """Seconds of all layers per round; a layer that cannot have the candidate counts as it is."""
        parts = [np.array(p.seconds.get(label) or p.seconds["before"]) for p in timed]
        return np.asarray(np.sum(parts, axis=0))

    before, after = summed("before"), summed("after")
    _, noise_low, noise_high = median_interval(before / after)
    dense = (before + after) / 2.0
    rows = []
    for candidate in CANDIDATES:
        if not any(candidate in part.runs for part in timed):
            continue
        ratio, low, high = median_interval(dense / summed(candidate))
        rows.append(
            {
                "runtime": runtime,
                "candidate": candidate,
                "ratio": ratio,
                "low": low,
                "high": high,
                "noise_low": noise_low,
                "noise_high": noise_high,
                "rounds": len(dense),
                "dense_ms": float(np.median(dense) * 1e3),
                "layers": list(names),
                "verdict": speed_verdict(low, high, noise_low=noise_low, noise_high=noise_high),
            }
        )
    return rows


def sentence_of(rows: Sequence[Mapping[str, Any]], *, changed: bool) -> str:
    """What the first runtime showed, in one sentence; ``changed``: whether fewer channels were timed at all."""
    first = [row for row in rows if row["runtime"] == rows[0]["runtime"]]
    by = {row["candidate"]: row for row in first}
    where = LATENCY_RUNTIMES[rows[0]["runtime"]].title

    said = f"On this machine, in {where}, {_of_zeros(by['zeros'])}: {_shown(by['zeros'])}"
    if not changed:
        return f"{said}."
    return f"{said}; {_of_channels(by['channels'])}: {_shown(by['channels'])}."


def _shown(row: Mapping[str, Any]) -> str:
    return f"{row['ratio']:.2f}× [{row['low']:.2f}–{row['high']:.2f}]"


def _of_zeros(row: Mapping[str, Any]) -> str:
    if row["verdict"] != "no difference shown":
        return f"zeros make the largest layers {row['verdict']}"
    if row["high"] > _GAIN:
        return "it cannot be told whether zeros make the largest layers faster"
    return "zeros do not make the largest layers faster"


def _of_channels(row: Mapping[str, Any]) -> str:
    if row["verdict"] == "no difference shown":
        unknown = row["high"] > _GAIN
        return f"removing whole channels {'might: it cannot be told' if unknown else 'would not, either'}"
    return f"removing whole channels would{' make them slower' if row['verdict'] == 'slower' else ''}"
