"""The module types that may stand in a captured graph, and their constructors as data.

A layer is rebuilt from ``(type name, constructor arguments)`` without running any code of the model's author: only
the types listed here can be constructed, from plain numbers, strings, booleans and tuples of them.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import ModelError

__all__ = [
    *("LAYER_TYPES", "PRUNABLE", "StochasticDepth", "build_layer", "constructor_arguments", "is_layer"),
    "known_shape",
]


class StochasticDepth(nn.Module):
    """Randomly zeroes a residual branch in training, for each example (``row``) or for all at once (``batch``).

    Huang et al., "Deep Networks with Stochastic Depth", 2016 (arXiv:1603.09382). Draws the same random numbers as
    torchvision's ``StochasticDepth`` and timm's ``DropPath``. Shape: any ``[N, …]``, unchanged.
    """

    def __init__(self, p: float, mode: str = "row", rescale: bool = True) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ModelError(f"The drop probability of stochastic depth must lie in [0, 1], got {p}.")
        if mode not in ("row", "batch"):
            raise ModelError(f"Stochastic depth drops per “row” or per “batch”, got “{mode}”.")
        self.p = p
        self.mode = mode
        self.rescale = rescale

    def forward(self, x: Tensor) -> Tensor:
        """``x`` in eval mode; in training, branches dropped with probability ``p`` and the others scaled up."""
        if not self.training or self.p == 0.0:
            return x
        survival = 1.0 - self.p
        sizes = [x.shape[0] if self.mode == "row" else 1] + [1] * (x.ndim - 1)
        noise = x.new_empty(sizes).bernoulli_(survival)
        if survival > 0.0 and self.rescale:
            noise.div_(survival)
        return x * noise

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


PRUNABLE: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)

_TYPES: tuple[type[nn.Module], ...] = (
    *PRUNABLE,
    nn.Bilinear,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Embedding,
    # norms
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
    nn.CrossMapLRN2d,
    # activations
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.GLU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.LogSoftmax,
    nn.Mish,
    nn.PReLU,
    nn.ReLU,
    nn.ReLU6,
    nn.RReLU,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softmax,
    nn.Softmax2d,
    nn.Softmin,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Threshold,
    # pooling
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.LPPool1d,
    nn.LPPool2d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    # random in training
    nn.AlphaDropout,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.FeatureAlphaDropout,
    StochasticDepth,
    # shapes
    nn.ChannelShuffle,
    nn.ConstantPad1d,
    nn.ConstantPad2d,
    nn.ConstantPad3d,
    nn.Flatten,
    nn.Fold,
    nn.Identity,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.ReflectionPad1d,
    nn.ReflectionPad2d,
    nn.ReflectionPad3d,
    nn.ReplicationPad1d,
    nn.ReplicationPad2d,
    nn.ReplicationPad3d,
    nn.Unflatten,
    nn.Unfold,
    nn.Upsample,
    nn.UpsamplingBilinear2d,
    nn.UpsamplingNearest2d,
    nn.ZeroPad1d,
    nn.ZeroPad2d,
    nn.ZeroPad3d,
)

LAYER_TYPES: dict[str, type[nn.Module]] = {kind.__name__: kind for kind in _TYPES}

# Arguments that are not kept as attributes of the same name, or that only matter while weights are initialised.
_NOT_DATA = {"device", "dtype", "_weight", "_freeze", "sparse", "args", "kwargs", "process_group", "inplace"} | {
    "min_value",  # deprecated names of Hardtanh
    "max_value",
}
_READ_DIFFERENTLY = {
    "bias": lambda layer: layer.bias is not None,
    "output_padding": lambda layer: tuple(layer.output_padding),
    "init": lambda layer: float(layer.init),
}


_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.Softmax)
_LIKE_INPUT = (*_ACTIVATIONS, nn.Identity, nn.modules.dropout._DropoutNd, StochasticDepth)


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _convolved(layer: nn.Module, x: Tensor) -> tuple[int, ...] | None:
    """Shape of a convolution's result [N, C, …]; None for paddings by name and for inputs that do not fit."""
    settings: Any = layer
    space = x.shape[2:]
    padding, kernel, dilation, stride = settings.padding, settings.kernel_size, settings.dilation, settings.stride
    if isinstance(padding, str) or len(space) != len(kernel) or x.shape[1] != settings.in_channels:
        return None
    sizes = [
        (length + 2 * p - d * (k - 1) - 1) // s + 1
        for length, p, k, d, s in zip(space, padding, kernel, dilation, stride, strict=True)
    ]
    return (x.shape[0], settings.out_channels, *sizes) if min(sizes) > 0 else None


def known_shape(layer: nn.Module, x: Any) -> tuple[int, ...] | None:
    """Shape of the layer's result for ``x`` in eval mode, where it is known without a run; its type is that of ``x``.

    Running norms and linear layers on the meta device is slow. Only a layer whose sizes fit its input is known.
    """
    if not isinstance(x, Tensor) or x.ndim < 2 or not x.is_floating_point():
        return None
    if isinstance(layer, nn.Linear):
        return (*x.shape[:-1], layer.out_features) if x.shape[-1] == layer.in_features else None
    if isinstance(layer, _CONVOLUTIONS):
        return _convolved(layer, x)
    if isinstance(layer, _NORMS):
        channels = layer.num_channels if isinstance(layer, nn.GroupNorm) else layer.num_features
        return tuple(x.shape) if x.shape[1] == channels else None
    if isinstance(layer, nn.LayerNorm | nn.RMSNorm):
        fits = tuple(x.shape[-len(layer.normalized_shape) :]) == tuple(layer.normalized_shape)
        return tuple(x.shape) if fits else None
    return tuple(x.shape) if isinstance(layer, _LIKE_INPUT) else None


def is_layer(module: nn.Module) -> bool:
    """Whether the module stands in a graph as it is: exactly a standard type, without hooks or a replaced forward."""
    hooked = module._forward_pre_hooks or module._forward_hooks or "forward" in module.__dict__
    return LAYER_TYPES.get(type(module).__name__) is type(module) and not hooked


_PARAMETER_NAMES: dict[str, tuple[str, ...]] = {
    name: tuple(parameter for parameter in inspect.signature(kind).parameters if parameter not in _NOT_DATA)
    for name, kind in LAYER_TYPES.items()
}


def constructor_arguments(layer: nn.Module) -> dict[str, Any]:
    """The arguments that rebuild the layer (``inplace`` excepted: captured graphs never work in place).

    Raises:
        ModelError: when the layer has lost one of them.
    """
    found: dict[str, Any] = {}
    for name in _PARAMETER_NAMES[type(layer).__name__]:
        if name == "bias" and isinstance(layer, nn.LayerNorm):
            found[name] = not layer.elementwise_affine or layer.bias is not None
        elif name in _READ_DIFFERENTLY and hasattr(layer, name):
            found[name] = _READ_DIFFERENTLY[name](layer)
        elif hasattr(layer, name):
            found[name] = _plain(getattr(layer, name))
        else:
            raise ModelError(f"A {type(layer).__name__} without “{name}” cannot be rebuilt.")
    if isinstance(layer, nn.Identity):
        return {}
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Size | tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


_FILLING = frozenset((Tensor.uniform_, Tensor.normal_, Tensor.fill_, Tensor.zero_))


class _WithoutValues(TorchFunctionMode):
    """Leaves out the initialisation of weights, which takes most of the time that a layer takes to construct."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in _FILLING else func(*args, **(kwargs or {}))


def build_layer(kind: str, arguments: dict[str, Any]) -> nn.Module:
    """Construct a layer of a listed type on the meta device: its tensors have shapes, but no values yet.

    Raises:
        ModelError: for a type that is not listed, or arguments which its constructor refuses.
    """
    if kind not in LAYER_TYPES:
        raise ModelError(f"Layers of type “{kind}” are not allowed in a graph file.")
    unknown = set(arguments) - set(_PARAMETER_NAMES[kind])
    if unknown:
        raise ModelError(f"A {kind} takes no argument “{sorted(unknown)[0]}”.")
    try:
        with torch.device("meta"), _WithoutValues():
            return LAYER_TYPES[kind](**arguments)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"A {kind} cannot be built from {arguments}: {error}") from error
