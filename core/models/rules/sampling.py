"""Pooling, interpolation, windows."""

from typing import Any

from torch import Tensor, fx

from ..recording import Untraceable
from ..tracer import Tracer
from .registry import RULES, Rule, rule


@rule("max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(
    t: Tracer,
    out: Tensor,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> fx.Node:
    if return_indices:
        raise Untraceable("Pooling that returns indices is supported as a module only.")
    return t.emit(t.last_operation, x, kernel_size, stride or kernel_size, padding, dilation, ceil_mode)


@rule("avg_pool1d")
def _avg_pool1d(
    t: Tracer,
    out: Tensor,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> fx.Node:
    return t.emit("avg_pool1d", x, kernel_size, stride or kernel_size, padding, ceil_mode, count_include_pad)


@rule("avg_pool2d", "avg_pool3d")
def _avg_pool(
    t: Tracer,
    out: Tensor,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> fx.Node:
    return t.emit(
        t.last_operation, x, kernel_size, stride or kernel_size, padding, ceil_mode, count_include_pad, divisor_override
    )


@rule(
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "_adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
)
def _adaptive_pool(t: Tracer, out: Any, x: Any, output_size: Any, return_indices: bool = False) -> fx.Node:
    if isinstance(out, tuple) or return_indices:
        raise Untraceable("Pooling that returns indices is supported as a module only.")
    return t.emit(t.last_operation.lstrip("_"), x, output_size)


@rule("interpolate", "upsample", "upsample_bilinear", "upsample_nearest")
def _interpolate(
    t: Tracer,
    out: Tensor,
    x: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> fx.Node:
    if t.last_operation == "upsample_bilinear":
        mode, align_corners = "bilinear", True
    if size is not None or recompute_scale_factor:  # the spatial size is a constant of the graph
        size, scale_factor, recompute_scale_factor = list(out.shape[2:]), None, None
    return t.emit("interpolate", x, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)


def _aten_upsample(mode: str, *, corners: bool) -> Rule:
    def record(t: Tracer, out: Tensor, x: Tensor, *args: Any, **_: Any) -> fx.Node:
        align = bool(args[1]) if corners else None
        return t.emit("interpolate", x, list(out.shape[2:]), None, mode, align, None, False)

    return record


for _name, _mode in {"nearest1d": "nearest", "nearest2d": "nearest", "nearest3d": "nearest"}.items():
    RULES[f"upsample_{_name}"] = _aten_upsample(_mode, corners=False)
for _name in ("linear1d", "bilinear2d", "trilinear3d", "bicubic2d"):
    RULES[f"upsample_{_name}"] = _aten_upsample(_name[:-2], corners=True)


@rule("grid_sample")
def _grid_sample(
    t: Tracer,
    out: Tensor,
    x: Any,
    grid: Any,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> fx.Node:
    return t.emit("grid_sample", x, grid, mode, padding_mode, bool(align_corners))


@rule("affine_grid")
def _affine_grid(t: Tracer, out: Tensor, theta: Any, size: Any, align_corners: bool | None = None) -> fx.Node:
    return t.emit("affine_grid", theta, list(size), bool(align_corners))


@rule("unfold", "im2col")
def _im2col(
    t: Tracer, out: Tensor, x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> fx.Node:
    return t.emit("im2col", x, kernel_size, dilation, padding, stride)


@rule("fold", "col2im")
def _col2im(
    t: Tracer,
    out: Tensor,
    x: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> fx.Node:
    return t.emit("col2im", x, output_size, kernel_size, dilation, padding, stride)
