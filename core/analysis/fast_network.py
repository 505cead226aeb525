"""A network prepared for being evaluated many times with small changes: what lies before a change runs once.

BatchNorms are folded into the convolutions before them (exact up to rounding), weights are converted once and lie
channels last, and nothing of the model itself is touched. A *change* says what stands in place of single nodes; any
number of changes can run side by side on the values of one walk through the network.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import map_arg
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ..models.layers import PRUNABLE
from ..models.traced import TracedModel, main_output

__all__ = ["Change", "FastNetwork", "Values"]

Values = dict[int, Any]
"""What nodes computed, by the node's place in the graph; only what later nodes need is kept."""

Change = Mapping[int, Any]
"""What stands in place of nodes, by place: a function of the node's arguments; for a ``get_attr`` node its value."""

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_CONVERTED = (*PRUNABLE, *_TRANSPOSED)


class FastNetwork:
    """An evaluation copy of a traced model.

    Args:
        model: what is copied; it may be in any mode and is only read. It must not change while this is used.
        dtype: of convolutions and linear layers. Norms keep float32 numbers and compute in the type of their input.
    """

    def __init__(self, model: TracedModel, *, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        self.device = model.device
        self.nodes = list(model.graph_module.graph.nodes)
        self.place = {node: place for place, node in enumerate(self.nodes)}
        self._module = model.graph_module
        self._channels_last = model.device.type == "cpu"
        self._dies = self._deaths()
        self._users = self._weights_used()
        folded = self._foldable()
        self.layers: dict[str, nn.Module] = {}
        self._steps: list[Any] = []
        with torch.inference_mode(False), torch.no_grad():
            for node in self.nodes:
                self._steps.append(self._step(node, folded))

    # -- preparing --------------------------------------------------------------------------------------------------

    def _deaths(self) -> list[list[int]]:
        """Place → places of the values that nobody needs after it."""
        dies: list[list[int]] = [[] for _ in self.nodes]
        for node in self.nodes:
            dies[max([self.place[user] for user in node.users], default=self.place[node])].append(self.place[node])
        dies[-1] = []  # the output stays
        return dies

    def _foldable(self) -> dict[str, _BatchNorm]:
        """Convolution → the BatchNorm that alone reads it."""
        calls: dict[str, int] = {}
        weights: dict[int, int] = {}
        for node in self.nodes:
            if node.op == "call_module":
                calls[str(node.target)] = calls.get(str(node.target), 0) + 1
        for target in calls:
            for parameter in self._module.get_submodule(target).parameters():
                weights[id(parameter)] = weights.get(id(parameter), 0) + 1
        read = {id(_attribute(self._module, str(node.target))) for node in self.nodes if node.op == "get_attr"}
        found = {}
        for node in self.nodes:
            norm = self._module.get_submodule(str(node.target)) if node.op == "call_module" else None
            if not isinstance(norm, _BatchNorm) or norm.running_mean is None or calls[str(node.target)] > 1:
                continue
            before: Any = node.args[0]
            layer = self._module.get_submodule(str(before.target)) if before.op == "call_module" else None
            if not isinstance(layer, _CONVOLUTIONS) or len(before.users) > 1 or calls[str(before.target)] > 1:
                continue
            if any(weights[id(p)] > 1 or id(p) in read for p in layer.parameters()):
                continue
            found[str(before.target)] = found[str(node.target)] = norm
        return found

    def _step(self, node: Any, folded: Mapping[str, _BatchNorm]) -> Any:
        if node.op == "get_attr":
            return self._converted(_attribute(self._module, str(node.target)).detach())
        if node.op == "call_function":
            return node.target
        if node.op != "call_module":
            return None
        target = str(node.target)
        layer = self._module.get_submodule(target)
        if target in folded and isinstance(layer, _BatchNorm):
            return _same
        if target not in self.layers:
            self.layers[target] = self._copied(layer, folded.get(target))
        return self._called(self.layers[target])

    def _copied(self, module: nn.Module, norm: Any) -> nn.Module:
        """The layer in eval mode with tensors of its own."""
        if not isinstance(module, _CONVERTED):
            return copy.deepcopy(module).eval()
        layer: Any = module
        weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
        if norm is not None:
            mean, var = norm.running_mean, norm.running_var
            weight, bias = fuse_conv_bn_weights(weight, bias, mean, var, norm.eps, norm.weight, norm.bias)
        return self._twin(layer, weight.detach(), None if bias is None else bias.detach())

    def _twin(self, layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
        """A layer like this one around other tensors."""
        twin = copy.copy(layer)
        twin._parameters = {
            "weight": nn.Parameter(self._converted(weight), requires_grad=False),
            "bias": None if bias is None else nn.Parameter(self._converted(bias), requires_grad=False),
        }
        return twin.eval()

    def _converted(self, tensor: Tensor) -> Tensor:
        tensor = tensor.to(self.dtype) if tensor.is_floating_point() else tensor
        if tensor.ndim == 4 and self._channels_last:
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def _called(self, layer: nn.Module) -> Callable[..., Any]:
        """The layer as a step; its input comes to its type, where constants or norms made another of it."""
        if not isinstance(layer, _CONVERTED) or self.dtype == torch.float32:
            return layer
        dtype = self.dtype
        return lambda x, *rest: layer(x.to(dtype), *rest)

    # -- changes ----------------------------------------------------------------------------------------------------

    def users_of(self, layer: str) -> list[int]:
        """Places of the nodes that compute with the weight of ``layer``, also under other names."""
        return self._users[id(self._module.get_submodule(layer).weight)]

    def _weights_used(self) -> dict[int, list[int]]:
        """Identity of a tensor → places of the nodes that compute with it."""
        found: dict[int, list[int]] = {}
        for place, node in enumerate(self.nodes):
            if node.op == "call_module":
                for tensor in set(self._module.get_submodule(str(node.target)).parameters()):
                    found.setdefault(id(tensor), []).append(place)
            elif node.op == "get_attr":
                found.setdefault(id(_attribute(self._module, str(node.target))), []).append(place)
        return found

    def masked(self, layer: str, keep: Tensor) -> Change:
        """The weight of ``layer`` with zeros where ``keep`` (its shape) is False, wherever it is used."""
        change: dict[int, Any] = {}
        for place in self.users_of(layer):
            node = self.nodes[place]
            if node.op == "get_attr":
                change[place] = self._steps[place].masked_fill(~keep, 0.0)
            else:
                change[place] = self.with_weight(str(node.target), lambda weight: weight.masked_fill(~keep, 0.0))
        return change

    def with_weight(self, target: str, changed: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
        """A step like the layer ``target`` with another weight."""
        layer = self.layers[target]
        weight: Any = layer.weight
        return self._called(self._twin(layer, changed(weight.detach()), layer.bias))  # type: ignore[arg-type]

    def step(self, node: Any) -> Callable[..., Any]:
        """What a node computes, as a function of its arguments."""
        found: Callable[..., Any] = self._steps[self.place[node]]
        return found

    def start(self, change: Change) -> int:
        """Place of the first node that a change can reach; behind the last one for no change at all."""
        reached = [
            min((self.place[user] for user in self.nodes[place].users), default=place)
            if self.nodes[place].op == "get_attr"
            else place
            for place in change
        ]
        return min(reached, default=len(self.nodes))

    # -- running ----------------------------------------------------------------------------------------------------

    def prepared(self, x_NCHW: Tensor) -> Tensor:
        """Images as the network takes them."""
        x_NCHW = x_NCHW.to(self.dtype)
        return x_NCHW.contiguous(memory_format=torch.channels_last) if self._channels_last else x_NCHW

    def advance(self, values: Values, start: int, stop: int, x_NCHW: Tensor | None = None) -> None:
        """Run the nodes from ``start`` to before ``stop`` into ``values``; the first one takes the prepared images."""
        self._run(values, start, stop, {}, x_NCHW)

    def logits(self, values: Values, start: int, change: Change) -> Tensor:
        """The main output of the rest of the network with a change; ``values`` stay as they are."""
        own = dict(values)
        own.update({place: value for place, value in change.items() if self.nodes[place].op == "get_attr"})
        self._run(own, start, len(self.nodes), change, None)
        return main_output(own[len(self.nodes) - 1]).float()

    def _run(self, values: Values, start: int, stop: int, change: Change, x: Tensor | None) -> None:
        for place in range(start, stop):
            node, step = self.nodes[place], change.get(place, self._steps[place])
            if node.op == "placeholder":
                values[place] = x
            elif node.op == "get_attr":
                values[place] = step
            else:
                args = map_arg(node.args, lambda used: values[self.place[used]])
                kwargs = map_arg(node.kwargs, lambda used: values[self.place[used]])
                values[place] = args[0] if node.op == "output" else step(*args, **kwargs)
            for dead in self._dies[place]:
                values.pop(dead, None)


def _same(x: Tensor) -> Tensor:
    """Stands for a norm that is in the convolution before it."""
    return x


def _attribute(module: nn.Module, name: str) -> Any:
    path, _, leaf = name.rpartition(".")
    return getattr(module.get_submodule(path), leaf)
