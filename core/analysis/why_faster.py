"""Times two models against each other, as wholes and layer by layer, to say where a difference in speed comes from."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..comb.combing import comb
from ..comb.geometry import LayerGeometry, geometries
from ..errors import MeasurementError
from ..progress import SILENT, Progress
from .cost import LayerInfo, layer_table
from .latency import LatencySettings, measure_latency
from .latency_table import Stopwatch
from .machine import cpu_name
from .runtimes import LATENCY_RUNTIMES
from .speed_difference import LayerDifference, SpeedDifference

if TYPE_CHECKING:
    from ..models.traced import TracedModel

__all__ = ["why_faster"]

_PAIRS = (9, 25)
_BUDGET_S = 0.04
"""For one layer of one model."""


class _Layers:
    """The convolutions and linear layers of one model: geometry, weights, counts, and how long each takes alone."""

    def __init__(self, model: "TracedModel") -> None:
        self.geometry = geometries(comb(model))
        self.rows = {row.name: row for row in layer_table(model) if row.name in self.geometry}
        self._module = model.graph_module

    def weight(self, name: str) -> np.ndarray:
        """float32, of the layer's own shape."""
        weight = self._module.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        found: np.ndarray = weight.detach().cpu().float().numpy()
        return found

    def row(self, name: str) -> LayerInfo | None:
        return self.rows.get(name)


def why_faster(
    before: "TracedModel",
    after: "TracedModel",
    *,
    runtime: str = "onnxruntime",
    threads: int = 1,
    progress: Progress = SILENT,
) -> SpeedDifference:
    """Where the difference in time between two variants of a model comes from.

    Both are timed as wholes in interleaved pairs (``measure_latency``), one example at a time; then every convolution
    and linear layer alone, with its own weights, bias and ReLU, in the same runtime. A layer that is equal in both is
    timed once. What the layers do not explain stays a part of its own, so that the parts add up to the difference.

    Raises:
        MeasurementError: when the runtime is not there, or the models do not take the same images.
    """
    if runtime not in LATENCY_RUNTIMES:
        raise MeasurementError(f"There is no runtime “{runtime}”; known are {', '.join(LATENCY_RUNTIMES)}.")
    progress.update(0, 0, "Reading the layers")
    old, new = _Layers(before), _Layers(after)
    names = [*old.rows, *(name for name in new.rows if name not in old.rows)]
    whole = _whole(before, after, runtime, threads, progress)
    stopwatch = Stopwatch(threads)
    layers = []
    engine = LATENCY_RUNTIMES[runtime]()
    with engine.threads(threads):
        for number, name in enumerate(names):
            progress.check()
            progress.update(number, len(names), f"Timing {name}")
            layers.append(_difference(name, old, new, engine, stopwatch, threads))
    return SpeedDifference(
        runtime=runtime,
        threads=threads,
        before_ms=whole["before_ms"],
        after_ms=whole["median_ms"],
        ratio=whole["ratio"],
        ratio_low=whole["ratio_low"],
        ratio_high=whole["ratio_high"],
        verdict=whole["verdict"],
        layers=tuple(layers),
        busy=bool(whole["busy"]),
        machine=cpu_name(),
    )


def _whole(
    before: "TracedModel", after: "TracedModel", runtime: str, threads: int, progress: Progress
) -> dict[str, Any]:
    """The row of the second model, with ``before_ms`` and ``busy``; equal networks are timed once."""
    same = _equal_models(before, after)
    models = {"before": before} if same else {"before": before, "after": after}
    settings = LatencySettings(runtimes=(runtime,), threads=(threads,))
    measured = measure_latency(models, reference="before", settings=settings, progress=progress)
    rows = {row["variant"]: row for row in measured["rows"]}
    if len(rows) < len(models):
        raise MeasurementError(" ".join(measured["problems"]) or "Only one of the two models could be timed.")
    verdict = {"verdict": "the same"} if same else {}
    last = rows[list(models)[-1]]
    return {**last, **verdict, "before_ms": rows["before"]["median_ms"], "busy": measured["busy"]}


def _equal_models(before: "TracedModel", after: "TracedModel") -> bool:
    """Whether both are the same network with the same tensors."""
    one, other = before.state_dict(), after.state_dict()
    return (
        before.graph_module.code == after.graph_module.code
        and one.keys() == other.keys()
        and all(a.shape == b.shape and bool((a == b).all()) for a, b in zip(one.values(), other.values(), strict=True))
    )


def _difference(
    name: str, old: _Layers, new: _Layers, engine: Any, stopwatch: Stopwatch, threads: int
) -> LayerDifference:
    """One layer in both; what a model does not have takes no time."""
    weights = {side: layers.weight(name) if name in layers.rows else None for side, layers in enumerate((old, new))}
    same = (
        weights[0] is not None
        and weights[1] is not None
        and old.geometry[name] == new.geometry[name]
        and np.array_equal(weights[0], weights[1])
    )

    def milliseconds(geometry: LayerGeometry, weight: np.ndarray) -> float:
        run = engine.open_layer(replace(geometry, calls=1), weight, threads=threads)
        return geometry.calls * stopwatch.milliseconds(run, pairs=_PAIRS, budget_s=_BUDGET_S)

    times = [
        0.0 if weight is None else milliseconds(layers.geometry[name], weight)
        for weight, layers in zip(list(weights.values())[: 1 if same else 2], (old, new), strict=False)
    ]
    one, other = old.row(name), new.row(name)
    known = one or other
    assert known is not None
    return LayerDifference(
        name=name,
        stage=known.stage,
        before_shape=() if one is None else tuple(one.weight_shape or ()),
        after_shape=() if other is None else tuple(other.weight_shape or ()),
        before_macs=0 if one is None else one.macs,
        after_macs=0 if other is None else other.macs,
        before_zeros=_zeros(weights[0]),
        after_zeros=_zeros(weights[1]),
        before_ms=times[0],
        after_ms=times[-1],
    )


def _zeros(weight: np.ndarray | None) -> float:
    return 0.0 if weight is None or not weight.size else 1.0 - np.count_nonzero(weight) / weight.size
