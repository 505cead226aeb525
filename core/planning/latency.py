"""Latency of what a plan leaves, answered at once: read between layer shapes that were timed on this machine.

Timing the very shapes of a plan takes seconds (``core.analysis.network_latency``). So the layers of a model are timed
once at a grid of channel numbers, and a slider's answer is read between them, linearly in both channel numbers:
multiples of eight between multiples of eight, others between others, which are slower. Kernels work in steps, so that
this errs between the grid's points; how much is measured on random plans when the grid is made, and stands beside every
answer. Knows no torch.
"""

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.latency_table import LatencyTable
from ..analysis.machine import cpu_name
from ..comb.counting import Counts
from ..comb.geometry import LayerGeometry
from ..comb.sheet import GroupSheet
from ..errors import MeasurementError
from ..progress import SILENT, Progress

if TYPE_CHECKING:
    from ..analysis.network_latency import NetworkLatency

__all__ = ["LatencyProfile", "measure_profile", "uneven_layers"]

_SHARES = (0.25, 0.5, 0.75, 1.0)
"""Channel numbers of the grid, as parts of the dense ones, rounded to multiples of eight."""
_MULTIPLE = 8
_OFF = 3
"""The others lie so much below the multiples."""
_PROBES = 6
_VERSION = 1

Grid = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class LatencyProfile:
    """Times of one model's layers on one machine, one image in ONNX Runtime.

    ``times_ms``: layer → times at the points of its ``grids`` (first weight dimension × second). ``rest_ms`` and
    ``scale``: see ``NetworkLatency``. ``error``: relative error of reading between points, the largest of a few random
    plans whose shapes were timed themselves.
    """

    dense_ms: float
    rest_ms: float
    scale: float
    grids: Mapping[str, Grid]
    times_ms: Mapping[str, list[list[float]]]
    error: float
    threads: int = 1
    machine: str = ""

    def __call__(self, counts: Counts) -> float:
        """Milliseconds of what a removal leaves, read between timed shapes."""
        shapes = counts.weight_shapes
        layers = sum(self._layer(name, shapes.get(name)) for name in self.grids)
        return self.rest_ms + self.scale * layers

    @property
    def here(self) -> bool:
        """Whether these times are of this machine's processor."""
        return self.machine == cpu_name()

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable dict."""
        return {
            "version": _VERSION,
            "dense_ms": self.dense_ms,
            "rest_ms": self.rest_ms,
            "scale": self.scale,
            "grids": {name: [list(axis) for axis in grid] for name, grid in self.grids.items()},
            "times_ms": dict(self.times_ms),
            "error": self.error,
            "threads": self.threads,
            "machine": self.machine,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "LatencyProfile":
        """What ``to_json`` wrote.

        Raises:
            MeasurementError: for anything else.
        """
        try:
            if body["version"] != _VERSION:
                raise ValueError(f"version {body['version']}")
            grids = {name: (tuple(grid[0]), tuple(grid[1])) for name, grid in body["grids"].items()}
            fields = {key: body[key] for key in ("dense_ms", "rest_ms", "scale", "times_ms", "error")}
            return cls(**fields, grids=grids, threads=int(body["threads"]), machine=str(body["machine"]))
        except (KeyError, TypeError, ValueError, IndexError) as problem:
            raise MeasurementError(
                f"The stored times of the layers cannot be read ({problem}): time them again."
            ) from None

    def _layer(self, name: str, shape: tuple[int, ...] | None) -> float:
        first, second = self.grids[name]
        times = np.asarray(self.times_ms[name], dtype=np.float64)
        if shape is None:
            return float(times[-1, -1])
        into = shape[1] if len(shape) > 1 else 1
        rows, columns = _alike(first, shape[0]), _alike(second, into)
        across = [np.interp(into, [second[j] for j in columns], times[i, columns]) for i in rows]
        return float(np.interp(shape[0], [first[i] for i in rows], across))


def uneven_layers(dense: Counts, left: Counts) -> int:
    """How many layers keep channel numbers that are no multiples of eight where the dense ones were.

    Kernels work on blocks of eight or sixteen channels, and a network of odd ones pays for changing between layouts,
    which no layer by itself shows.
    """
    return sum(
        any(old % _MULTIPLE == 0 and new % _MULTIPLE for old, new in zip(dense.weight_shapes[name], shape, strict=True))
        for name, shape in left.weight_shapes.items()
        if name in dense.weight_shapes and len(shape) > 1
    )


def measure_profile(
    times: "NetworkLatency", sheet: GroupSheet, *, seed: int = 0, progress: Progress = SILENT
) -> LatencyProfile:
    """Time the layers of a model at the points of the grid, and a few random plans to know the error.

    Args:
        times: the dense model's times; its table keeps what is measured here.
        sheet: the groups: which dimensions can shrink at all.

    Raises:
        Cancelled: when the person cancelled; what was timed is kept in the table.
    """
    layers, table = times.layers, times.table
    least = sheet.counts({group.name: range(group.units - 1) for group in sheet.groups}).weight_shapes
    grids = {name: _grid(geometry, least.get(name, geometry.weight)) for name, geometry in layers.items()}
    total = sum(len(first) * len(second) for first, second in grids.values())
    done, found = 0, {}
    for name, (first, second) in grids.items():
        found[name] = [[_time(table, layers[name], (a, b)) for b in second] for a in first]
        done += len(first) * len(second)
        progress.update(done, total, f"Timing {name}")
        progress.check()
    table.save()
    profile = LatencyProfile(
        times.dense_ms, times.rest_ms, times.scale, grids, found, 0.0, threads=table.threads, machine=cpu_name()
    )
    draw, errors = random.Random(seed), [0.0]
    for _ in range(_PROBES if sheet.groups else 0):
        removal = {g.name: range(draw.randrange(max(1, round(0.75 * g.units)))) for g in sheet.groups}
        counts = sheet.counts({name: list(units) for name, units in removal.items() if len(units)})
        errors.append(abs(profile(counts) / max(times(counts), 1e-9) - 1.0))
        progress.check()
    table.save()
    return LatencyProfile(**{**profile.__dict__, "error": max(errors)})


def _alike(axis: tuple[int, ...], channels: int) -> list[int]:
    """Places of the timed channel numbers that are multiples of eight if this one is, else of the others."""
    same = [place for place, one in enumerate(axis) if (one % _MULTIPLE == 0) == (channels % _MULTIPLE == 0)]
    return same or list(range(len(axis)))


def _grid(geometry: LayerGeometry, least: tuple[int, ...]) -> Grid:
    """Channel numbers to time: multiples of eight, and others; one number where nothing can shrink."""
    dense = (*geometry.weight[:2], 1)[:2]
    axes: list[tuple[int, ...]] = []
    for size, smallest in itertools.zip_longest(dense, least[:2], fillvalue=1):
        if smallest >= size:
            axes.append((size,))
            continue
        step = _MULTIPLE if size >= 2 * _MULTIPLE else 1
        numbers = {min(size, max(1, round(share * size / step) * step)) for share in _SHARES}
        others = {number - _OFF for number in numbers if number > 2 * _OFF} if step > 1 else set()
        axes.append(tuple(sorted({*numbers, *others, size})))
    return axes[0], axes[1]


def _time(table: LatencyTable, geometry: LayerGeometry, channels: tuple[int, int]) -> float:
    weight = (channels[0], channels[1], *geometry.weight[2:]) if len(geometry.weight) > 1 else (channels[0],)
    found = table.layer(geometry, weight)
    assert found is not None
    return found
