"""How a layer works on its input, apart from its number of channels: what its time depends on. Knows no torch."""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .groups import Comb

__all__ = ["LayerGeometry", "geometries"]


@dataclass(frozen=True)
class LayerGeometry:
    """One layer: ``weight`` is the dense shape of its weight.

    ``space``: spatial size of a convolution's input, or for a linear layer (rows,): how many vectors of one example it
    works on. ``calls``: how often the forward runs it.
    """

    kind: Literal["convolution", "transposed", "linear"]
    weight: tuple[int, ...]
    space: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    calls: int = 1

    @property
    def depthwise(self) -> bool:
        """Whether every channel is filtered by itself."""
        return self.kind == "convolution" and self.groups > 1 and self.weight[1] == 1

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable dict."""
        return asdict(self)


def geometries(found: "Comb") -> dict[str, LayerGeometry]:
    """The geometry of every convolution and linear layer of a combed model, in execution order."""
    from torch import nn

    from ..models.tracer import BATCH

    result: dict[str, LayerGeometry] = {}
    for node in found.model.graph_module.graph.nodes:
        if node.op != "call_module":
            continue
        name, layer = str(node.target), found.reader.layer(node)
        shape = found.reader.shapes[node.args[0]]
        calls = result[name].calls + 1 if name in result else 1
        if isinstance(layer, nn.Linear):
            rows = max(1, math.prod(shape[:-1]) // BATCH)
            result[name] = LayerGeometry("linear", tuple(layer.weight.shape), (rows,), calls=calls)
        elif isinstance(layer, nn.modules.conv._ConvNd):
            rank = layer.weight.ndim - 2
            padding = layer.padding if isinstance(layer.padding, tuple) else _same(layer)
            result[name] = LayerGeometry(
                "transposed" if layer.transposed else "convolution",
                tuple(layer.weight.shape),
                tuple(shape[-rank:]),
                tuple(layer.stride),
                tuple(padding),
                tuple(layer.dilation),
                layer.groups,
                calls,
            )
    return result


def _same(layer: Any) -> tuple[int, ...]:
    """Padding given in words."""
    if layer.padding == "valid":
        return (0,) * len(layer.kernel_size)
    return tuple((k - 1) * d // 2 for k, d in zip(layer.kernel_size, layer.dilation, strict=True))
