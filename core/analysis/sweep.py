"""The loop behind ``measure_sensitivity``: cells (one layer or group at one level) see images until they know enough.

Images come in stages. The dense model sees all of them first, in float32 and in the precision of the cells. Then, stage
by stage, all targets in the order of execution; for a target batch by batch; for a batch all open cells, side by side
on the threads. What lies before a target runs once for each batch: the walks through the network wait at one target
for the next as long as they fit into ``KEPT_BYTES``, and begin anew otherwise. After each stage, cells that know
enough are settled.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.division import stratified_order
from ..data.splits import Splits
from ..data.tasks import METRICS
from ..models.traced import TracedModel
from ..progress import Progress
from ..pruning.criteria import CalibrationContext
from .cells import Cell, Cells
from .changes import Target, group_targets, layer_targets
from .fast_network import FastNetwork, Values
from .node_times import node_times
from .pairing import Rows, Seen, dense_numbers
from .precision import NOT_IN_THIS_PRECISION, chosen_precision, judged
from .scoring import Tally, default_batch_size
from .sensitivity import SensitivitySettings

__all__ = ["KEPT_BYTES", "sweep"]

BATCH_AT_MOST = 125
"""Images per batch: larger batches ran no faster, and a cancel waits for the batch."""

KEPT_BYTES = 256 << 20
"""Most bytes of activations that wait for the next target."""

KEPT_PIXELS = 32 << 20
"""Most numbers in the images of a stage that are kept; larger stages are read again for each target."""

GLANCE_IMAGES, GLANCE_LEVEL = 32, 0.8
"""The first picture: one level of everything on a few images."""

_PUBLISH_EVERY_S = 0.25
_STAGES = 8
_LEAST = 100  # images of the first stage: with fewer no interval means much
_HARD = 16  # one image in so many is hard


def sweep(
    model: TracedModel,
    splits: Splits,
    settings: SensitivitySettings,
    *,
    names: Sequence[str] | None,
    previous: Mapping[str, Any] | None,
    progress: Progress,
) -> dict[str, Any]:
    """See ``core.analysis.sensitivity.measure_sensitivity``."""
    context = CalibrationContext(
        splits=splits, images=settings.calibration_images, seed=settings.seed, progress=_OnlyCheck(progress)
    )
    targets: Sequence[Target]
    if settings.of == "groups":
        targets = group_targets(model, settings.criterion, context, names, settings.levels)
    else:
        targets = layer_targets(model, settings.criterion, context, names)
    cells = Cells(targets, settings, model=model.fingerprint(), data=splits.fingerprint)
    publisher = _Publisher(cells, progress)
    publisher.publish()  # the preview
    cells.take(previous)
    with _Bench(model, splits, settings, progress, publisher) as bench:
        bench.measure_all(cells)
    cells.body["complete"] = True
    progress.update(1.0, 1.0, "Measured the sensitivity")
    publisher.publish(now=True)
    return cells.result()


class _OnlyCheck(Progress):
    """Lets work inside the sweep be cancelled and paused, but not count as progress of its own."""

    def __init__(self, outer: Progress) -> None:
        self.check = outer.check  # type: ignore[method-assign]


class _Publisher:
    """Hands out the result so far, at most four times a second."""

    def __init__(self, cells: Cells, progress: Progress) -> None:
        self._cells, self._progress, self._last = cells, progress, -np.inf

    def publish(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._last >= _PUBLISH_EVERY_S:
            self._progress.publish(self._cells.result())
            self._last = time.monotonic()


class _Bench:
    """The network, the images in their order, and the threads."""

    def __init__(
        self,
        model: TracedModel,
        splits: Splits,
        settings: SensitivitySettings,
        progress: Progress,
        publisher: _Publisher,
    ) -> None:
        self.model, self.splits, self.settings, self.progress = model, splits, settings, progress
        self.publisher = publisher
        self.tally = Tally(splits, "select", limit=settings.images)
        self.images = self.tally.indices
        self.batch_size = settings.batch_size or min(BATCH_AT_MOST, default_batch_size(splits.input_shape))
        self.threads = torch.get_num_threads()
        # Threads over cells rather than inside operations: small convolutions do not divide well.
        count = self.threads if model.device.type == "cpu" else 1
        self.pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))
        self.network = FastNetwork(model)
        self.begun = self.measuring = time.monotonic()
        self.spent = self.share = 0.0

    def __enter__(self) -> "_Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self.threads)

    def measure_all(self, cells: Cells) -> None:
        """The dense model, a glance, then every stage."""
        wanted = chosen_precision(self.settings, self.model.device)
        glance = self.images[stratified_order(self._labels(self.images), seed=0)[:GLANCE_IMAGES]]
        if cells.unseen and len(glance) < len(self.images):
            self._glance(cells, glance, wanted)
        dense = paired = self._dense(self.network)
        cells.body.update(n=dense.n, metric=METRICS[self.splits.task], dense=dense_numbers(dense))
        if wanted == torch.bfloat16:
            self.network, paired = judged(self.model, self._dense, dense, cells.body)
        order, hard = self._order(dense)
        self.images = self.images[order]
        cells.begin(paired.reordered(order), hard=hard)
        costs = self._costs(cells)
        edges = self._edges()
        self.measuring = time.monotonic()
        for start, stop in zip([0, *edges], edges, strict=False):
            self._stage(cells, costs, start, stop)

    def _labels(self, indices: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return self.splits.select.labels[indices]

    def _edges(self) -> list[int]:
        """Images that cells have seen at the end of each stage."""
        total = len(self.images)
        edges = {total} if self.settings.exact else {round(total * k / _STAGES) for k in range(1, _STAGES + 1)}
        return [edge for edge in sorted(edges) if edge >= _LEAST or edge == total]

    def _order(self, dense: Seen) -> tuple[np.ndarray[Any, Any], int]:
        """The images on which the dense model's loss is largest, how many these are, and all others at random."""
        if self.settings.exact:
            return np.arange(len(self.images)), 0
        losses = np.nan_to_num(dense.loss(), nan=-1.0)
        ranked, hard = np.argsort(-losses, kind="stable"), len(losses) // _HARD
        others = np.sort(ranked[hard:])
        shuffled = others[stratified_order(self._labels(self.images[others]), seed=self.settings.seed)]
        return np.concatenate([ranked[:hard], shuffled]), hard

    # -- running ----------------------------------------------------------------------------------------------------

    def _batches(self, indices: np.ndarray[Any, Any]) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(indices), self.batch_size):
            yield self.splits.select.batch(indices[start : start + self.batch_size], device=self.model.device)

    def _in_pool(self, work: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Inference mode belongs to the thread that runs."""

        def run() -> Any:
            with torch.inference_mode():
                return work(*args)

        return self.pool.submit(run)

    def _rows(self, network: FastNetwork, values: Values, start: int, change: Any, y: Tensor) -> tuple[Rows, bool]:
        rows, broken = self.tally.rows(network.logits(values, start, change), y)
        return rows, broken > 0

    def _whole(self, network: FastNetwork, x: Tensor, y: Tensor) -> tuple[Rows, bool]:
        values: Values = {}
        network.advance(values, 0, len(network.nodes), network.prepared(x))
        return self._rows(network, values, len(network.nodes), {}, y)

    def _dense(self, network: FastNetwork, indices: np.ndarray[Any, Any] | None = None) -> Seen:
        seen = Seen()
        running: list[Future[tuple[Rows, bool]]] = []
        for x, y in self._batches(self.images if indices is None else indices):
            self.progress.check()
            self.publisher.publish()
            running.append(self._in_pool(self._whole, network, x, y))
            if len(running) > 2 * self.threads:
                _add(seen, running.pop(0))
        for one in running:
            _add(seen, one)
        return seen

    def _glance(self, cells: Cells, indices: np.ndarray[Any, Any], wanted: torch.dtype) -> None:
        """Publish one level of every target on a few images; the cells begin anew afterwards."""
        self.progress.update(0.0, 1.0, "A first look")
        exact, images = self.network, self.images
        try:
            self.network, self.images = self._runnable(wanted, indices[:1]), indices
            dense = self._dense(self.network)
            cells.body.update(n=dense.n, metric=METRICS[self.splits.task], dense=dense_numbers(dense))
            cells.begin(dense, hard=0)
            level = min(self.settings.levels, key=lambda level: abs(level - GLANCE_LEVEL))
            self._stage(cells, None, 0, len(indices), only=level)
        finally:
            self.network, self.images = exact, images

    def _runnable(self, wanted: torch.dtype, indices: np.ndarray[Any, Any]) -> FastNetwork:
        """The network in the wanted precision where it runs at all; whether it may be used is seen later."""
        if wanted == torch.float32:
            return self.network
        network = FastNetwork(self.model, dtype=wanted)
        try:
            self._dense(network, indices)
        except NOT_IN_THIS_PRECISION:
            return self.network
        return network

    def _stage(
        self,
        cells: Cells,
        costs: Mapping[str, float] | None,
        start: int,
        stop: int,
        *,
        only: float | None = None,
    ) -> None:
        """Show the images from ``start`` to before ``stop`` to all open cells (of one level)."""
        network = self.network
        queue = sorted(
            ((target.start(network), target, cells.open(target, only)) for target in cells.targets),
            key=lambda entry: entry[0],
        )
        pixels = int(np.prod(self.splits.input_shape)) * (stop - start)
        batches = list(self._batches(self.images[start:stop])) if pixels <= KEPT_PIXELS else None
        walks: dict[int, tuple[int, Values]] = {}
        for cut, target, open_cells in queue:
            if not open_cells:
                continue
            self._target(target, open_cells, cut, walks, batches or self._batches(self.images[start:stop]))
            for cell in open_cells:
                cell.compare(cells.dense, hard=cells.hard)
            if costs is not None:
                cells.settle(open_cells)
                self._tell(cells, costs, target, len(open_cells), stop - start)
            self.publisher.publish()

    def _target(
        self, target: Target, open_cells: Sequence[Cell], cut: int, walks: dict[int, tuple[int, Values]], batches: Any
    ) -> None:
        network = self.network
        changes = [target.change(network, cell.count) for cell in open_cells]
        running: list[tuple[Cell, Future[tuple[Rows, bool]]]] = []
        for number, (x, y) in enumerate(batches):
            at, values = walks.pop(number, (0, {}))
            prepared = network.prepared(x) if at == 0 else None
            self._in_pool(network.advance, values, at, cut, prepared).result()
            for cell, change in zip(open_cells, changes, strict=True):
                running.append((cell, self._in_pool(self._rows, network, values, cut, change, y)))
            if sum(_bytes(kept) for _, kept in walks.values()) + _bytes(values) <= KEPT_BYTES:
                walks[number] = (cut, values)
            while len(running) > 2 * self.threads + len(open_cells):
                self.progress.check()
                _add(running[0][0].seen, running.pop(0)[1])
        for cell, one in running:
            self.progress.check()
            _add(cell.seen, one)

    # -- how far ----------------------------------------------------------------------------------------------------

    def _costs(self, cells: Cells) -> dict[str, float]:
        """Target → seconds for one image from it to the end, from one batch that is timed node by node."""
        x, _ = next(self._batches(self.images[:GLANCE_IMAGES]))
        times = self._in_pool(node_times, self.network, x).result()
        rest = np.append(np.cumsum(times[::-1])[::-1], 0.0) / len(x)
        return {target.name: float(rest[target.start(self.network)]) for target in cells.targets}

    def _tell(self, cells: Cells, costs: Mapping[str, float], target: Target, count: int, images: int) -> None:
        """Report the share of the time that is over; what is left is foreseen from the cells' intervals."""
        self.spent += costs[target.name] * count * images
        left = sum(costs[cell.target.name] * cells.left(cell) for cell in cells.all)
        now = time.monotonic()
        left_s = left * (now - self.measuring) / self.spent if self.spent > 0 else 0.0
        self.share = max(self.share, (now - self.begun) / (now - self.begun + left_s))
        self.progress.update(self.share, 1.0, f"Measuring {target.name}")


def _add(seen: Seen, future: "Future[tuple[Rows, bool]]") -> None:
    rows, broken = future.result()
    seen.add(rows, broken=broken)


def _bytes(values: Values) -> int:
    return sum(value.nbytes for value in values.values() if isinstance(value, Tensor))
