"""The loop behind ``measure_sensitivity``.

Layers in the order of execution; within a layer batch by batch; within a batch all levels side by side, each on its
own clone of the model and one thread. What lies before the layer is run once per batch, not once per level, and only
its values for two batches (this one and the next) are in memory at a time.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from ..data.splits import Splits
from ..errors import PlanError
from ..models.memory_order import to_channels_last
from ..models.traced import TracedModel
from ..progress import Progress
from ..pruning.criteria import CRITERIA, CalibrationContext, score_layers
from ..pruning.masks import masks_for
from ..pruning.ranking import unique_layers
from .evaluation import Evaluation
from .scoring import Tally, default_batch_size
from .sensitivity import SensitivitySettings

__all__ = ["sweep"]

BATCH_AT_MOST = 125
"""Images per batch: larger batches ran no faster, and a cancel waits for the batch."""

AGREEMENT_AT_LEAST = 0.99
"""Share of the dense model's predictions that a lower precision must leave as they are."""

_PUBLISH_EVERY_S = 0.25


def sweep(
    model: TracedModel,
    splits: Splits,
    settings: SensitivitySettings,
    *,
    layers: Sequence[str] | None,
    previous: Mapping[str, Any] | None,
    progress: Progress,
) -> dict[str, Any]:
    """See ``core.analysis.sensitivity.measure_sensitivity``."""
    names = _wanted(model, layers)
    result: dict[str, Any] = {
        "estimated": False,
        "complete": False,
        "metric": None,
        "n": 0,
        "settings": settings.to_json(),
        "model": model.fingerprint(),
        "data": splits.fingerprint,
        "precision": "float32",
        "agreement": None,
        "notes": [],
        "dense": {},
        "layers": {},
    }
    same = previous is not None and all(previous.get(key) == result[key] for key in ("settings", "model", "data"))
    known = previous["layers"] if same and previous is not None else {}
    missing = [name for name in names if name not in known]
    context = CalibrationContext(
        splits=splits, images=settings.calibration_images, seed=settings.seed, progress=_OnlyCheck(progress)
    )
    scores = score_layers(settings.criterion, model, missing, context)

    published = -np.inf
    with _Bench(model, splits, settings, progress) as bench:
        dense = bench.dense()
        result |= {"metric": dense.metric, "n": dense.n, "dense": _numbers(dense)}
        result |= {"precision": bench.precision, "agreement": bench.agreement, "notes": bench.notes}
        costs = {name: bench.cost(name) for name in missing}
        done, total = 0.0, sum(costs.values())
        for name in names:
            if name in known:
                result["layers"][name] = known[name]
                continue
            counts = [min(round(level * scores[name].numel()), scores[name].numel() - 1) for level in settings.levels]
            scope = CRITERIA[settings.criterion].scope
            masks = [masks_for({name: scores[name]}, {name: count}, scope=scope)[name] for count in counts]
            pruned = bench.measure(name, masks, done=done, cost=costs[name], total=total)
            result["layers"][name] = [
                _point(level, count, dense, one)
                for level, count, one in zip(settings.levels, counts, pruned, strict=True)
            ]
            done += costs[name]
            if time.monotonic() - published >= _PUBLISH_EVERY_S:
                progress.publish(result)
                published = time.monotonic()
    result["complete"] = True
    progress.update(total, total, "Measured the sensitivity")
    progress.publish(result)
    return result


def _wanted(model: TracedModel, layers: Sequence[str] | None) -> list[str]:
    """Names of the layers to measure, in the order of execution, shared weights once."""
    unique, aliases = unique_layers(model)
    if layers is None:
        return list(unique)
    unknown = [name for name in layers if name not in unique and name not in aliases]
    if unknown:
        raise PlanError(
            f"Sensitivity is measured for prunable layers; this model has none named "
            f"{', '.join(f'“{name}”' for name in unknown[:5])}."
        )
    chosen = {aliases.get(name, name) for name in layers}
    return [name for name in unique if name in chosen]


def _numbers(evaluation: Evaluation) -> dict[str, Any]:
    summary = evaluation.summary()
    return {key: summary[key] for key in ("loss", "score", "low", "high", "n")}


def _point(level: float, removed: int, dense: Evaluation, pruned: Evaluation) -> dict[str, Any]:
    """One measured level of one layer, compared with the dense model image by image."""
    numbers = _numbers(pruned)
    difference = pruned.losses.astype(np.float64) - dense.losses
    difference = difference[~(np.isnan(pruned.losses) & np.isnan(dense.losses))]  # images without a counted pixel
    finite = numbers["loss"] is not None and len(difference) > 0 and bool(np.isfinite(difference).all())
    score_error = None
    if pruned.correct is not None and dense.correct is not None:
        score_error = _error(pruned.correct.astype(np.float64) - dense.correct)
    return {
        "sparsity": level,
        "removed": removed,
        **numbers,
        "dloss": float(difference.mean()) if finite else None,
        "dloss_se": _error(difference) if finite else None,
        "dscore_se": score_error,
    }


def _error(values: np.ndarray[Any, Any]) -> float:
    """Standard error of the mean; 0 for a single value, whose spread nobody knows."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


class _OnlyCheck(Progress):
    """Lets work inside the sweep be cancelled and paused, but not count as progress of its own."""

    def __init__(self, outer: Progress) -> None:
        self.check = outer.check  # type: ignore[method-assign]


class _Bench:
    """Clones of the model side by side, and the images that pass through them."""

    def __init__(self, model: TracedModel, splits: Splits, settings: SensitivitySettings, progress: Progress) -> None:
        self.model, self.splits, self.settings, self.progress = model, splits, settings, progress
        self.precision = "float32"
        self.agreement: float | None = None
        self.notes: list[str] = []
        self.on_cpu = model.device.type == "cpu"
        self.threads = torch.get_num_threads()
        # Threads over levels rather than inside operations: small convolutions do not divide well.
        count = min(self.threads, len(settings.levels)) if self.on_cpu else 1
        self.clones = [model.clone().eval() for _ in range(count)]
        for clone in self.clones if self.on_cpu else ():
            to_channels_last(clone.graph_module)
        self.nodes = [list(clone.graph_module.graph.nodes) for clone in self.clones]
        self.place = {node: index for index, node in enumerate(self.nodes[0])}
        self.batch_size = settings.batch_size or min(BATCH_AT_MOST, default_batch_size(splits.input_shape))
        inner = max(1, self.threads // count)
        self.pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(inner,))

    def __enter__(self) -> "_Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self.threads)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The images that everything is measured on, always the same in the same order."""
        limit, device = self.settings.images, self.model.device
        for x, y in self.splits.select.batches(self.batch_size, limit=limit, device=device):
            yield (x.contiguous(memory_format=torch.channels_last) if self.on_cpu else x), y

    def dense(self) -> Evaluation:
        """Evaluate the unpruned model; where bfloat16 is wanted, first see whether it changes what is predicted."""
        full = self._evaluate_dense()
        if self.settings.precision == "float32":
            return full[0]
        self.precision = "bfloat16"
        reduced = self._evaluate_dense()
        pairs = zip(full[1], reduced[1], strict=True)
        self.agreement = float(torch.cat([(a == b).float().flatten() for a, b in pairs]).mean())
        if self.agreement >= AGREEMENT_AT_LEAST:
            self.notes.append(
                f"Measured in bfloat16: {self.agreement:.1%} of the dense model's predictions are the same."
            )
            return reduced[0]
        self.precision = "float32"
        self.notes.append(
            f"Measured in float32: in bfloat16 only {self.agreement:.1%} of the dense model's predictions are the same."
        )
        return full[0]

    def _evaluate_dense(self) -> tuple[Evaluation, list[Tensor]]:
        """The evaluation in the present precision, and the predicted classes of every batch."""
        tally, predictions = Tally(self.splits, "select", limit=self.settings.images), []
        with self._computing():
            for x, y in self.batches():
                self.progress.check()
                logits = self.clones[0].predict(x)
                tally.add(logits, y)
                predictions.append(logits.argmax(1))
        return tally.evaluation(), predictions

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """No gradients, and the chosen precision, in this thread."""
        reduced = self.precision == "bfloat16"
        with torch.inference_mode(), torch.autocast(self.model.device.type, dtype=torch.bfloat16, enabled=reduced):
            yield

    def cost(self, layer: str) -> float:
        """What measuring a layer will cost, in units of the time that a few images take through single nodes."""
        rest = {self.place[node] for node in self.clones[0].suffix(layer)}
        levels = len(self.settings.levels)
        return sum(time_s * (levels if place in rest else 1) for place, time_s in self._node_times.items())

    @cached_property
    def _node_times(self) -> dict[int, float]:
        timed = _Timed(self.clones[0].graph_module)
        with self._computing():
            timed.run(next(self.batches())[0])
        return {self.place[node]: time_s for node, time_s in timed.times.items()}

    def measure(
        self, layer: str, masks: Sequence[Tensor], *, done: float, cost: float, total: float
    ) -> list[Evaluation]:
        """Evaluate the model with each mask on one layer, all others dense."""
        dense = self.model.prunable()[layer].weight.detach()  # type: ignore[operator]
        weights = [dense.masked_fill(~mask.to(dense.device), 0.0) for mask in masks]
        tallies = [Tally(self.splits, "select", limit=self.settings.images) for _ in masks]
        images, seen = len(tallies[0].indices), 0
        batches = self.batches()
        free = list(range(len(self.clones)))  # clones at rest; list.pop and append are atomic

        def prefix(x: Tensor) -> dict[int, Any]:
            # Nothing before the layer reads its weight, so that a clone serves both uses at once.
            with self._computing():
                return {self.place[node]: value for node, value in self.clones[0].prefix(x, layer).items()}

        def level(index: int, state: dict[int, Any], y: Tensor) -> None:
            which = free.pop()
            try:
                with self._computing():
                    self.clones[which].prunable()[layer].weight.copy_(weights[index])  # type: ignore[operator]
                    nodes = self.nodes[which]
                    logits = self.clones[which].resume({nodes[place]: v for place, v in state.items()}, layer)
                    tallies[index].add(logits, y)
            finally:
                free.append(which)

        try:
            following: tuple[Future[dict[int, Any]], Tensor] | None = self._ahead(prefix, batches)
            while following is not None:
                self.progress.update(done + cost * seen / images, total, f"Measuring {layer}")
                state, y = following[0].result(), following[1]
                running = [self.pool.submit(level, index, state, y) for index in range(len(masks))]
                following = self._ahead(prefix, batches)
                for one in running:
                    one.result()
                    self.progress.check()
                seen += len(y)
        finally:
            with torch.no_grad():
                for clone in self.clones:
                    clone.prunable()[layer].weight.copy_(dense)  # type: ignore[operator]
        return [tally.evaluation() for tally in tallies]

    def _ahead(self, prefix: Any, batches: Iterator[tuple[Tensor, Tensor]]) -> Any:
        """Start the next batch's prefix, so that no thread rests while the last levels of this one end."""
        batch = next(batches, None)
        return None if batch is None else (self.pool.submit(prefix, batch[0]), batch[1])


class _Timed(fx.Interpreter):
    """Runs a graph and keeps the seconds that each node took."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.times: dict[fx.Node, float] = {}

    def run_node(self, n: fx.Node) -> Any:
        start = time.perf_counter()
        try:
            return super().run_node(n)
        finally:
            self.times[n] = time.perf_counter() - start
