"""Where the time goes: the share of measured time of every parameterised layer, in eager PyTorch."""

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx

from ..models.eval_mode import eval_mode
from ..progress import SILENT, Progress

if TYPE_CHECKING:
    from ..models.traced import TracedModel

__all__ = ["OTHER", "layer_times"]

OTHER = "other"
"""Everything without parameters of its own: activations, pooling, additions, reshaping, attention products."""


class _Stopwatch(fx.Interpreter):
    """Runs a graph node by node and notes the seconds that each node's own work takes."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module, garbage_collect_values=True)
        self.seconds: dict[fx.Node, float] = {}

    def run_node(self, n: fx.Node) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        work = getattr(self, n.op)
        start = time.perf_counter()
        value = work(n.target, args, kwargs)
        self.seconds[n] = time.perf_counter() - start
        return value


def _owner(graph_module: fx.GraphModule, node: fx.Node) -> str:
    """The layer that a node's time belongs to: its module when that has parameters, else ``other``."""
    if node.op == "call_module":
        module = graph_module.get_submodule(str(node.target))
        if next(module.parameters(), None) is not None:
            return str(node.target)
    return OTHER


def layer_times(
    model: "TracedModel", *, batch_size: int = 1, repeats: int = 20, progress: Progress = SILENT
) -> dict[str, float]:
    """Share of measured time per parameterised layer, and of everything else as ``other``; the shares sum to 1.

    Measured: the graph is run node by node ``repeats`` times (and once before, untimed) on noise images, with the
    process's own thread count; a node's time is its median, and a layer that is called several times gets the sum.

    Raises:
        ValueError: when ``batch_size`` or ``repeats`` is below 1.
    """
    if batch_size < 1 or repeats < 1:
        raise ValueError(f"batch_size and repeats must be at least 1; got {batch_size} and {repeats}")
    graph_module = model.graph_module
    device = next((tensor.device for tensor in model.state_dict().values()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, *model.input_shape, generator=generator).to(device)
    stopwatch = _Stopwatch(graph_module)
    rounds: dict[fx.Node, list[float]] = defaultdict(list)
    with eval_mode(graph_module), torch.inference_mode():
        stopwatch.run(images)
        for repeat in range(repeats):
            progress.check()
            progress.update(repeat, repeats, "Timing layers")
            stopwatch.run(images)
            for node, seconds in stopwatch.seconds.items():
                rounds[node].append(seconds)
    shares: dict[str, float] = defaultdict(float)
    for node, seconds_of_node in rounds.items():
        shares[_owner(graph_module, node)] += float(np.median(seconds_of_node))
    total = sum(shares.values())
    other = shares.pop(OTHER, 0.0)
    return {name: seconds / total for name, seconds in (*shares.items(), (OTHER, other))}
