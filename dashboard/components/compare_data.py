"""Variants as rows: accuracy with interval, difference to dense, sizes, latency. Pure functions over store records."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from core.analysis.runtimes.base import setting_words
from core.store.records import Measurement, Variant

__all__ = [
    "COST_AXES",
    "CostAxis",
    "LatencyRow",
    "Row",
    "latency_rows",
    "overlapping",
    "pareto",
    "per_class_change",
    "rows_of",
    "table",
]


@dataclass(frozen=True)
class LatencyRow:
    """One measured latency of one variant; ``ratio`` is the speed-up over the reference (above 1 is faster).

    ``verdict`` is the measurement's own: reference, faster, slower, or "no difference shown" within the noise.
    """

    variant: str
    runtime: str
    batch: int
    threads: int
    median_ms: float
    low_ms: float | None
    high_ms: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    pairs: int
    verdict: str
    reference: bool
    busy: bool

    @property
    def setting(self) -> str:
        """What must be equal for two latencies to be compared."""
        return setting_words(self.runtime, self.batch, self.threads)


@dataclass(frozen=True)
class Row:
    """One variant with everything that was measured of it. Absent numbers are None, never zero."""

    variant: Variant
    dense: bool
    metric: str
    score: float | None
    low: float | None
    high: float | None
    n: int | None
    parameters: int | None
    nonzero: int | None
    sparsity: float | None
    macs: int | None
    dense_bytes: int | None
    sparse_bytes: int | None
    onnx: Mapping[str, Any] | None
    latency: tuple[LatencyRow, ...] = field(default=())

    @property
    def onnx_bytes(self) -> int | None:
        """Size of the last exported file."""
        return None if self.onnx is None else self.onnx.get("size_bytes")

    def latency_at(self, setting: str) -> LatencyRow | None:
        """The latest latency measured under ``setting``."""
        return next((row for row in self.latency if row.setting == setting), None)


def rows_of(
    variants: Sequence[Variant],
    measurements: Mapping[str, Sequence[Measurement]],
    *,
    macs: int | None,
    split: str = "test",
) -> list[Row]:
    """One row per variant, dense first, then oldest first. ``macs`` is the model's count: masks do not change it."""
    rows = []
    for variant in sorted(variants, key=lambda v: (v.plan is not None, v.created)):
        summary = variant.metrics.get(split) or {}
        parameters, nonzero = variant.sizes.get("parameters"), variant.sizes.get("nonzero")
        mine = sorted(measurements.get(variant.id, ()), key=lambda m: m.created, reverse=True)
        onnx = next((m.result for m in mine if m.kind == "onnx"), None)
        rows.append(
            Row(
                variant=variant,
                dense=variant.plan is None,
                metric=str(summary.get("metric") or "accuracy"),
                score=summary.get("score"),
                low=summary.get("low"),
                high=summary.get("high"),
                n=summary.get("n"),
                parameters=parameters,
                nonzero=nonzero,
                sparsity=_removed_share(variant, parameters, nonzero),
                macs=variant.sizes.get("macs", macs),
                dense_bytes=variant.sizes.get("dense_bytes"),
                sparse_bytes=variant.sizes.get("sparse_bytes"),
                onnx=onnx,
                latency=tuple(latency_rows(variant, mine)),
            )
        )
    return rows


def _removed_share(variant: Variant, parameters: int | None, nonzero: int | None) -> float | None:
    """Share of the prunable weights that was removed; of all parameters where the layers do not say."""
    size = sum(int(layer.get("size") or 0) for layer in variant.layers)
    if size:
        return sum(int(layer.get("removed") or 0) for layer in variant.layers) / size
    if variant.plan is None:
        return 0.0
    return None if not parameters or nonzero is None else 1.0 - nonzero / parameters


def latency_rows(variant: Variant, measurements: Sequence[Measurement]) -> list[LatencyRow]:
    """Latencies of one variant, newest first, one per setting."""
    newest: dict[str, LatencyRow] = {}
    for measurement in measurements:
        if measurement.kind != "latency":
            continue
        result = measurement.result
        busy = bool(result.get("busy", measurement.context.get("busy", False)))
        for item in result.get("rows") or [result]:
            if item.get("median_ms") is None or item.get("variant") not in (None, variant.name, variant.id):
                continue
            row = LatencyRow(
                variant=variant.id,
                runtime=str(item.get("runtime", "")),
                batch=int(item.get("batch", 1)),
                threads=int(item.get("threads", 1)),
                median_ms=float(item["median_ms"]),
                low_ms=item.get("low_ms"),
                high_ms=item.get("high_ms"),
                ratio=item.get("ratio"),
                ratio_low=item.get("ratio_low"),
                ratio_high=item.get("ratio_high"),
                pairs=int(item.get("pairs", 0)),
                verdict=str(item.get("verdict", "")),
                reference=variant.plan is None,
                busy=busy,
            )
            newest.setdefault(row.setting, row)
    return list(newest.values())


@dataclass(frozen=True)
class CostAxis:
    """One thing a variant may cost, for the horizontal axis of the Pareto plot."""

    title: str
    unit: str
    measured: bool
    attribute: str


COST_AXES: dict[str, CostAxis] = {
    "nonzero": CostAxis("Non-zero parameters", "", True, "nonzero"),
    "macs": CostAxis("MACs", "", True, "macs"),
    "sparse": CostAxis("Compressed file", "bytes", True, "sparse_bytes"),
    "dense": CostAxis("Dense file", "bytes", True, "dense_bytes"),
    "onnx": CostAxis("ONNX file", "bytes", True, "onnx_bytes"),
}


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of (cost, score) points that no other point beats in both, cheapest first; ties keep the first."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    best, front = -np.inf, []
    for index in order:
        if points[index][1] > best:
            front.append(index)
            best = points[index][1]
    return front


def overlapping(intervals: Sequence[tuple[float | None, float | None]]) -> bool:
    """Whether any two of the intervals overlap: then their owners are not ranked against one another."""
    known = sorted((low, high) for low, high in intervals if low is not None and high is not None)
    return any(later[0] <= earlier[1] for earlier, later in itertools.pairwise(known))


def per_class_change(dense: Row, other: Row, class_names: Sequence[str], *, split: str = "test") -> pd.DataFrame:
    """Per class: score of dense and of the other variant, and the change in points. Classes without examples: NaN."""
    before = (dense.variant.metrics.get(split) or {}).get("per_class") or []
    after = (other.variant.metrics.get(split) or {}).get("per_class") or []
    count = min(len(before), len(after))
    names = [class_names[i] if i < len(class_names) else f"class {i}" for i in range(count)]
    b = np.array([np.nan if value is None else value for value in before[:count]], dtype=float)
    a = np.array([np.nan if value is None else value for value in after[:count]], dtype=float)
    return pd.DataFrame({"class": names, "dense": b, "variant": a, "change (points)": 100.0 * (a - b)})


def table(rows: Sequence[Row], sentences: Mapping[str, str], *, settings: Sequence[str] = ()) -> pd.DataFrame:
    """What the page's table and its CSV show: one row per variant, plain numbers with units in the headings."""
    body = []
    for row in rows:
        line: dict[str, Any] = {
            "variant": row.variant.name,
            row.metric: row.score,
            f"{row.metric} low": row.low,
            f"{row.metric} high": row.high,
            "images": row.n,
            "against dense": sentences.get(row.variant.id, ""),
            "sparsity": row.sparsity,
            "parameters": row.parameters,
            "non-zero": row.nonzero,
            "MACs": row.macs,
            "dense bytes": row.dense_bytes,
            "compressed bytes": row.sparse_bytes,
            "ONNX bytes": row.onnx_bytes,
        }
        for setting in settings:
            latency = row.latency_at(setting)
            line[f"ms ({setting})"] = None if latency is None else latency.median_ms
            line[f"speed-up ({setting})"] = None if latency is None else latency.ratio
            line[f"speed-up low ({setting})"] = None if latency is None else latency.ratio_low
            line[f"speed-up high ({setting})"] = None if latency is None else latency.ratio_high
        body.append(line)
    return pd.DataFrame(body)
