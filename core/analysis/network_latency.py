"""What a network of smaller layers would cost in time: the table's layers, set to the measured dense network."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..comb.counting import Counts
from ..comb.geometry import LayerGeometry, geometries
from ..progress import SILENT, Progress
from .latency_table import LatencyTable, default_table_path

if TYPE_CHECKING:
    from ..comb.groups import Comb

__all__ = ["NetworkLatency"]


class NetworkLatency:
    """Predicted milliseconds of one example in ONNX Runtime, of what any removal from one model leaves.

    The dense model is exported and measured once, and every layer's shapes as they are asked for. What the layers do
    not explain of the dense time is assumed to stay (``rest_ms``); where they take longer alone than together, they are
    scaled (``scale``, at most 1). ``layers``: the geometry of each.

    Args:
        found: the groups of the dense model.
        table: measured layers; by default this machine's, kept in the user's cache folder.
    """

    def __init__(self, found: "Comb", *, table: LatencyTable | None = None, progress: Progress = SILENT) -> None:
        self.table = LatencyTable(default_table_path()) if table is None else table
        self.layers: Mapping[str, LayerGeometry] = geometries(found)
        self._progress = progress
        progress.update(0, 0, "Timing the layers of the dense network")
        self.set_dense(_measured(found.model, self.table))

    def set_dense(self, milliseconds: float) -> None:
        """Take this as the time of the dense network: that of an earlier process, so that a run goes on as it began."""
        self.dense_ms = milliseconds
        layers_ms = self._of_layers({})
        self.rest_ms = max(0.0, self.dense_ms - layers_ms)
        self.scale = min(1.0, self.dense_ms / layers_ms) if layers_ms else 1.0
        self.table.save()

    def __call__(self, counts: Counts) -> float:
        """Milliseconds of what is left; shapes that were never timed on this machine are timed now."""
        return self.rest_ms + self.scale * self._of_layers(counts.weight_shapes)

    def to_json(self, counts: Counts) -> dict[str, Any]:
        """``dense_ms`` (measured), ``predicted_ms``, ``ratio`` and ``threads``; the table is saved."""
        predicted = self(counts)
        self.table.save()
        return {
            "dense_ms": self.dense_ms,
            "predicted_ms": predicted,
            "ratio": predicted / self.dense_ms,
            "threads": self.table.threads,
        }

    def _of_layers(self, shapes: Mapping[str, tuple[int, ...]]) -> float:
        total = self.table.predict(self.layers, shapes, progress=self._progress)
        assert total is not None
        return total


def _measured(model: Any, table: LatencyTable) -> float:
    from .runtimes.onnx_runtime import OnnxRuntime

    runtime = OnnxRuntime()
    images = np.zeros((1, *model.input_shape), np.float32)
    with tempfile.TemporaryDirectory(prefix="espalier-") as folder:
        run = runtime.open(runtime.prepare(model, Path(folder)), images, threads=table.threads)
        return table.stopwatch.milliseconds(run, pairs=(15, 60), budget_s=1.0)
