"""Statistics of the weights of every prunable layer, small enough to draw a movable cut line from without the model.

Numpy only; building them takes a TracedModel (torch), loading and using them does not.
"""

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import StoreError

if TYPE_CHECKING:
    from ..models.traced import TracedModel

__all__ = [
    "EXACT_AT_MOST",
    "HISTOGRAM_BINS",
    "LayerWeights",
    "layer_weights",
    "load_weight_statistics",
    "save_weight_statistics",
    "weight_statistics",
]

EXACT_AT_MOST = 4096
QUANTILE_POINTS = 1025
HISTOGRAM_BINS = 201
ARRAYS = ("counts", "edges", "quantiles", "channel_l1_mean", "channel_l2", "channel_max")


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """What is known about the weights of one layer. Weights that are NaN or infinite are counted and left out.

    ``size``: number of all weights; ``nonfinite`` of them are left out; ``zeros`` are exactly 0. ``mean``, ``std``:
    of the finite weights. ``counts`` int64 ``[201]`` with ``edges`` ``[202]``: histogram, symmetric around 0.
    ``quantiles`` of |w|, ascending: all of them when at most 4096 weights are finite (``exact``), else 1025 evenly
    spaced ones. ``channel_l1_mean``, ``channel_l2``, ``channel_max`` ``[channels]``: mean |w|, Euclidean norm and
    largest |w| of every output channel (dimension 0).
    """

    name: str
    shape: tuple[int, ...]
    size: int
    mean: float
    std: float
    zeros: int
    nonfinite: int
    counts: np.ndarray[Any, Any]
    edges: np.ndarray[Any, Any]
    quantiles: np.ndarray[Any, Any]
    channel_l1_mean: np.ndarray[Any, Any]
    channel_l2: np.ndarray[Any, Any]
    channel_max: np.ndarray[Any, Any]

    @property
    def finite(self) -> int:
        """Number of finite weights: what shares refer to."""
        return self.size - self.nonfinite

    @property
    def exact(self) -> bool:
        """Whether ``quantiles`` are all |w| rather than a table."""
        return self.finite <= EXACT_AT_MOST

    @property
    def channel_norms(self) -> dict[str, np.ndarray[Any, Any]]:
        """The norms per output channel by name: l1_mean, l2, max."""
        return {"l1_mean": self.channel_l1_mean, "l2": self.channel_l2, "max": self.channel_max}

    def fraction_below(self, threshold: float) -> float:
        """Share of the finite weights with |w| ≤ ``threshold``: exact, or within 1/1024 from the table."""
        if threshold < 0 or not len(self.quantiles):
            return 0.0
        knots = int(np.searchsorted(self.quantiles, threshold, side="right"))
        if self.exact or knots in (0, len(self.quantiles)):
            return max(knots / len(self.quantiles), self.zeros / self.finite)
        low, high = float(self.quantiles[knots - 1]), float(self.quantiles[knots])
        place = (knots - 1) + (threshold - low) / (high - low)
        return max(place / (len(self.quantiles) - 1), self.zeros / self.finite)

    def threshold_for(self, sparsity: float) -> float:
        """The smallest |w| threshold with ``fraction_below(threshold) ≥ sparsity``; 0 for a sparsity of 0."""
        if sparsity <= 0 or not len(self.quantiles):
            return 0.0
        if self.exact:
            # The tolerance keeps 0.3 · 10 weights from becoming the 4th weight by rounding.
            rank = min(len(self.quantiles), math.ceil(sparsity * len(self.quantiles) - 1e-9))
            return float(self.quantiles[max(rank, 1) - 1])
        if sparsity <= self.zeros / self.finite:
            return 0.0
        place = min(sparsity, 1.0) * (len(self.quantiles) - 1)
        return float(np.interp(place, np.arange(len(self.quantiles)), self.quantiles))

    def channels_below(self, threshold: float) -> int:
        """Number of output channels whose every weight is at most ``threshold``, so that the channel falls whole."""
        return int(np.count_nonzero(self.channel_max <= threshold)) if threshold >= 0 else 0


def layer_weights(name: str, weight: np.ndarray[Any, Any]) -> LayerWeights:
    """Statistics of one weight array, output channels in dimension 0."""
    flat = np.asarray(weight, np.float32).ravel()
    valid = np.isfinite(flat)
    values = flat if valid.all() else flat[valid]
    sizes = np.sort(np.abs(values))
    largest = float(sizes[-1]) if len(sizes) else 0.0
    edges = np.linspace(-1.0, 1.0, HISTOGRAM_BINS + 1) * (largest or 1.0)
    counts, _ = np.histogram(values, bins=HISTOGRAM_BINS, range=(edges[0], edges[-1]))
    rows = np.abs(np.where(valid, flat, 0.0).reshape(weight.shape[0] if weight.ndim else 1, -1)).astype(np.float64)
    per_row = np.maximum(valid.reshape(rows.shape).sum(1), 1)
    return LayerWeights(
        name=name,
        shape=tuple(int(side) for side in weight.shape),
        size=flat.size,
        mean=float(values.mean(dtype=np.float64)) if len(values) else 0.0,
        std=float(values.std(dtype=np.float64)) if len(values) else 0.0,
        zeros=int(np.searchsorted(sizes, 0.0, side="right")),
        nonfinite=int(flat.size - len(values)),
        counts=counts.astype(np.int64),
        edges=edges,
        quantiles=sizes if len(sizes) <= EXACT_AT_MOST else _table(sizes),
        channel_l1_mean=(rows.sum(1) / per_row).astype(np.float32),
        channel_l2=np.sqrt(np.square(rows).sum(1)).astype(np.float32),
        channel_max=rows.max(1, initial=0.0).astype(np.float32),
    )


def _table(ascending: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Evenly spaced quantiles (linear interpolation) of sorted values."""
    places = np.linspace(0, len(ascending) - 1, QUANTILE_POINTS)
    low = np.floor(places).astype(np.int64)
    high = np.minimum(low + 1, len(ascending) - 1)
    between = ascending[low] + (ascending[high] - ascending[low]) * (places - low)
    return np.maximum.accumulate(between.astype(np.float32))


def weight_statistics(model: "TracedModel") -> dict[str, LayerWeights]:
    """Statistics of every prunable layer of a traced model, in execution order. The only function here with torch."""
    return {
        name: layer_weights(name, module.get_parameter("weight").detach().float().cpu().numpy())
        for name, module in model.prunable().items()
    }


def save_weight_statistics(statistics: Mapping[str, LayerWeights], path: Path | str) -> None:
    """Write statistics to one compressed npz file, without pickle."""
    index: list[dict[str, Any]] = []
    arrays: dict[str, Any] = {}
    for number, layer in enumerate(statistics.values()):
        index.append(
            {
                "name": layer.name,
                "shape": layer.shape,
                "size": layer.size,
                "mean": layer.mean,
                "std": layer.std,
                "zeros": layer.zeros,
                "nonfinite": layer.nonfinite,
            }
        )
        arrays |= {f"{number}.{key}": getattr(layer, key) for key in ARRAYS}
    with Path(path).open("wb") as file:
        np.savez_compressed(file, index=np.frombuffer(json.dumps(index).encode(), np.uint8), **arrays)


def load_weight_statistics(path: Path | str) -> dict[str, LayerWeights]:
    """Read what ``save_weight_statistics`` wrote.

    Raises:
        StoreError: when the file is missing, damaged or something else.
    """
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            layers = [
                LayerWeights(
                    **{**facts, "shape": tuple(facts["shape"])}, **{key: file[f"{number}.{key}"] for key in ARRAYS}
                )
                for number, facts in enumerate(json.loads(file["index"].tobytes()))
            ]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(
            f"The weight statistics {Path(path).name} cannot be read ({error}); open the model again."
        ) from None
    return {layer.name: layer for layer in layers}
