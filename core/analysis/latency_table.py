"""What layers cost in time on this machine: a table of measured milliseconds, filled as it is asked.

Time is not proportional to channels: kernels work on blocks of 8 or 16, and a depthwise convolution of 33 channels can
take three times as long as one of 48. So nothing is interpolated: each layer is timed by itself in ONNX Runtime (bias
and ReLU included, as they are fused when deployed) at the very channel numbers that are asked for; rounding a plan's
channels keeps the table small. What layers do not explain (additions, attention products, reshaping) is taken from one
measurement of the whole dense network, and assumed to stay.

Knows no torch: a plan is costed while it is edited.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..comb.geometry import LayerGeometry
from ..progress import SILENT, Progress
from .layer_model import identity_model, input_shape, layer_model, random_weight, with_weight
from .machine import cache_folder, cpu_features, cpu_name

__all__ = ["LatencyTable", "Stopwatch", "default_table_path"]

_VERSION = 1
_PAIRS = (7, 25)
_BUDGET_S = 0.03


def default_table_path(threads: int = 1) -> Path:
    """The table of this machine for a number of threads, in the user's cache folder."""
    return cache_folder() / f"latency-{threads}.json"


class LatencyTable:
    """Milliseconds of layers, one example at a time.

    Args:
        path: where the table is kept between processes (None: nowhere). A table of another machine, runtime version
            or number of threads is not used.
        threads: of ONNX Runtime.
    """

    def __init__(self, path: Path | None = None, *, threads: int = 1) -> None:
        self.path, self.threads = path, threads
        self.measured = 0
        """Points that this object measured itself."""
        self._points: dict[str, float] = {}
        self._overhead_ms: float | None = None
        self._unsaved = False
        if path is not None:
            self._read(path)

    @cached_property
    def stopwatch(self) -> "Stopwatch":
        """What this table's points are timed with."""
        return Stopwatch(self.threads)

    def predict(
        self,
        layers: Mapping[str, LayerGeometry],
        weight_shapes: Mapping[str, tuple[int, ...]],
        *,
        measure: bool = True,
        progress: Progress = SILENT,
    ) -> float | None:
        """Milliseconds of all layers at the given shapes of their weights (dense where a layer is not named).

        Points that are missing are measured; with ``measure=False`` the answer is None then.
        """
        total = 0.0
        for name, geometry in layers.items():
            own = self.layer(geometry, weight_shapes.get(name, geometry.weight), measure=measure)
            if own is None:
                return None
            total += own
            progress.check()
        return total

    def layer(self, geometry: LayerGeometry, weight: tuple[int, ...], *, measure: bool = True) -> float | None:
        """Milliseconds of one layer with a weight of this shape, over all its calls."""
        smaller = with_weight(geometry, weight)
        key = hashlib.sha256(json.dumps(replace(smaller, calls=1).to_json()).encode()).hexdigest()[:20]
        if key not in self._points:
            if not measure:
                return None
            if self._overhead_ms is None:
                self._overhead_ms = self.stopwatch.milliseconds(_runner(identity_model(), (1,), self.threads))
            taken = self.stopwatch.milliseconds(_layer_runner(smaller, self.threads))
            self._points[key] = max(0.0, taken - self._overhead_ms)
            self.measured += 1
            self._unsaved = True
        return self._points[key] * geometry.calls

    def save(self) -> None:
        """Write the table beside its place and rename it; another process's points are kept."""
        if self.path is None or not self._unsaved:
            return
        own = dict(self._points)
        self._read(self.path)
        self._points |= own
        self.path.parent.mkdir(parents=True, exist_ok=True)
        body = {"version": _VERSION, "machine": self._machine(), "points": self._points}
        with tempfile.NamedTemporaryFile("w", dir=self.path.parent, suffix=".tmp", delete=False) as file:
            json.dump(body, file)
        Path(file.name).replace(self.path)
        self._unsaved = False

    def _read(self, path: Path) -> None:
        try:
            body = json.loads(path.read_text())
            if body["version"] == _VERSION and body["machine"] == self._machine():
                self._points = {str(key): float(value) for key, value in body["points"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # no table, or a damaged one: it is only a cache

    def _machine(self) -> dict[str, Any]:
        from importlib.metadata import version

        return {
            "cpu": cpu_name(),
            "features": cpu_features(),
            "onnxruntime": version("onnxruntime"),
            "threads": self.threads,
        }


def _runner(model: bytes, shape: tuple[int, ...], threads: int) -> Callable[[], object]:
    from ..export.onnx_session import onnx_session

    session = onnx_session(model, threads=threads)
    feed = {"x": np.zeros(shape, np.float32)}
    return lambda: session.run(None, feed)


def _layer_runner(geometry: LayerGeometry, threads: int) -> Callable[[], object]:
    return _runner(layer_model(geometry, random_weight(geometry)), input_shape(geometry), threads)


def _seconds(run: Callable[[], object]) -> float:
    before = time.perf_counter()
    run()
    return time.perf_counter() - before


class Stopwatch:
    """Times runs beside a reference layer, turn by turn: what slows the machine down for a while slows both.

    A time is the median of the ratios to the reference, times the reference's best.
    """

    _REFERENCE = LayerGeometry("convolution", (32, 32, 3, 3), (16, 16), (1, 1), (1, 1), (1, 1))

    def __init__(self, threads: int) -> None:
        self._reference = _layer_runner(self._REFERENCE, threads)
        self._best_s = min(_seconds(self._reference) for _ in range(50))

    def milliseconds(
        self, run: Callable[[], object], *, pairs: tuple[int, int] = _PAIRS, budget_s: float = _BUDGET_S
    ) -> float:
        """Milliseconds of one run on a machine at its best."""
        run()
        ratios: list[float] = []
        started = time.perf_counter()
        while len(ratios) < pairs[0] or (len(ratios) < pairs[1] and time.perf_counter() - started < budget_s):
            before = _seconds(self._reference)
            taken = _seconds(run)
            ratios.append(taken / ((before + _seconds(self._reference)) / 2))
        return 1e3 * self._best_s * float(np.median(ratios))
