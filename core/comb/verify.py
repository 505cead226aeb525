"""Proof of a removal: the smaller network computes what the dense one computes without the removed contributions.

The dense graph runs with all its weights. Wherever it sums over a dimension (convolution, linear layer, product), the
removed indices are set to zero first; wherever a norm takes statistics over a dimension, it takes them over the indices
that stay. Nothing else is changed, and nothing is assumed of activations (that they map 0 to 0, say).
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..errors import ModelError
from ..models.capture import relative_difference
from ..models.eval_mode import eval_mode
from ..models.traced import TracedModel, main_output
from ..models.vocabulary import arguments, name_of
from .groups import Comb
from .reader import Contraction
from .rules.elementwise import OVER_SURVIVORS
from .survivors import Removal, Survivors

__all__ = ["Gone", "Verification", "contractions_without", "over_survivors", "verify", "without"]

Gone = Mapping[fx.Node, list[tuple[Contraction, np.ndarray]]]
"""Node → the dimensions that shrink there, each with bool ``[size]``: which indices stay."""


@dataclass(frozen=True)
class Verification:
    """What was checked.

    Attributes:
        exact: whether both networks gave the same output, within the tolerance.
        max_relative_difference: largest difference relative to the largest output; None when shapes differ.
        normed: whether a norm takes its statistics over removed indices: then a removal changes what stays, too.
        finite: no NaN or infinity came out.
        same_shape: outputs have the dense network's shapes.
    """

    exact: bool
    max_relative_difference: float | None
    normed: bool
    finite: bool
    same_shape: bool

    @property
    def passed(self) -> bool:
        """No check failed."""
        return self.exact and self.finite and self.same_shape

    @property
    def sentence(self) -> str:
        """The result for a person."""
        if not self.same_shape:
            return "The smaller network gives outputs of another shape: do not use it, and report this."
        if not self.finite:
            return "The smaller network gives NaN or infinite outputs."
        difference = f"largest relative difference {self.max_relative_difference:.1e}"
        if not self.exact:
            return f"The smaller network differs from the dense one without the removed units: {difference}."
        norms = " Norms over a removed dimension take their statistics over what stays." if self.normed else ""
        return f"Verified: it computes what the dense network computes without the removed units ({difference}).{norms}"


@torch.no_grad()
def verify(found: Comb, removal: Removal, pruned: TracedModel, x: Tensor, *, tolerance: float = 1e-5) -> Verification:
    """Compare the pruned model with the dense one without the removed units, on images ``x`` [N, C, H, W]."""
    expected = without(found, removal, x)
    with eval_mode(pruned.graph_module):
        got = pruned(x)
    normed = any(group.normed for group in found.groups if removal.get(group.name))
    finite = bool(torch.isfinite(main_output(got)).all())
    same_shape = _shapes(got) == _shapes(expected)
    if not same_shape:
        return Verification(False, None, normed, finite, False)
    difference = float(relative_difference(got, expected))
    return Verification(difference <= tolerance, difference, normed, finite, True)


@torch.no_grad()
def without(found: Comb, removal: Removal, x: Tensor) -> Any:
    """The dense model's output for ``x`` without the contributions of the removed units.

    Raises:
        ModelError: when the images have another shape than the model was traced for.
    """
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(found.model.input_shape):
        wanted = ", ".join(map(str, ("N", *found.model.input_shape)))
        raise ModelError(f"The images of a proof must have the shape [{wanted}], got {list(x.shape)}.")
    with eval_mode(found.model.graph_module):
        return _Without(found, Survivors(found, removal)).run(x)


def _shapes(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, dict):
        return {key: _shapes(item) for key, item in value.items()}
    return [_shapes(item) for item in value] if isinstance(value, tuple | list) else None


def contractions_without(found: Comb, survivors: Survivors) -> tuple[Gone, Gone]:
    """Where a removal ends: nodes that sum over a dimension that shrinks, and norms that take statistics over one."""
    sums: dict[fx.Node, list[tuple[Contraction, np.ndarray]]] = defaultdict(list)
    norms: dict[fx.Node, list[tuple[Contraction, np.ndarray]]] = defaultdict(list)
    for contraction in found.reader.contractions:
        if not survivors.whole(contraction.axis):
            table = norms if contraction.normed else sums
            table[contraction.node].append((contraction, survivors.keep(contraction.axis)))
    return sums, norms


def over_survivors(
    module: fx.GraphModule,
    node: fx.Node,
    args: Any,
    kwargs: Any,
    gone: list[tuple[Contraction, np.ndarray]],
    values: Mapping[fx.Node, Any],
) -> Tensor:
    """A norm (or mean, maximum, …) over the indices that stay; removed places hold zeros.

    ``values`` are those of the nodes that a norm's function reads.
    """
    if node.op == "call_function" and name_of(node.target) in OVER_SURVIVORS:
        return _reduced_over_survivors(node, args, kwargs, gone)
    return _norm_of_survivors(module, node, args[0], gone, values)


class _Without(fx.Interpreter):
    def __init__(self, found: Comb, survivors: Survivors) -> None:
        super().__init__(found.model.graph_module)
        self._sums, self._norms = contractions_without(found, survivors)

    def run_node(self, n: fx.Node) -> Any:
        if n in self._norms:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            return over_survivors(self.module, n, args, kwargs, self._norms[n], self.env)  # type: ignore[arg-type]
        return super().run_node(n)

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> Any:
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        for contraction, kept in self._sums.get(n, ()):
            _, index = contraction.place
            shape = [1] * args[index].ndim
            shape[contraction.dim] = -1
            mask = torch.from_numpy(kept).reshape(shape).to(args[index].device)
            args = (*args[:index], args[index].where(mask, 0.0), *args[index + 1 :])
        return args, kwargs


def _reduced_over_survivors(node: fx.Node, args: Any, kwargs: Any, gone: list[tuple[Contraction, np.ndarray]]) -> Any:
    """A mean, maximum or deviation over the indices that stay."""
    x = args[0]
    for contraction, keep in gone:
        x = x.index_select(contraction.dim, torch.from_numpy(np.flatnonzero(keep)).to(x.device))
    return node.target(x, *args[1:], **kwargs)  # type: ignore[operator]


def _norm_of_survivors(
    module: fx.GraphModule,
    node: fx.Node,
    x: Tensor,
    gone: list[tuple[Contraction, np.ndarray]],
    env: Mapping[fx.Node, Any],
) -> Tensor:
    """A norm, or the standardisation of a weight, over the indices that stay; removed places hold zeros."""
    if node.op == "call_module":
        layer: Any = module.get_submodule(str(node.target))
        kind = {nn.LayerNorm: "layer_norm", nn.RMSNorm: "rms_norm"}.get(type(layer), "group_norm")
        weight, bias, eps = getattr(layer, "weight", None), getattr(layer, "bias", None), layer.eps
        groups, rank = getattr(layer, "num_groups", 0), len(getattr(layer, "normalized_shape", ()))
    else:
        kind, given = name_of(node.target), arguments(node)
        weight, bias = (env.get(given.get(key)) for key in ("weight", "bias"))  # type: ignore[arg-type]
        eps, groups = given.get("eps", 1e-5), given.get("groups", 0)
        rank = len(given.get("shape", ()))
    kept = {contraction.dim: torch.from_numpy(np.flatnonzero(keep)).to(x.device) for contraction, keep in gone}
    smaller = x
    for dim, indices in kept.items():
        smaller = smaller.index_select(dim, indices)
        if kind == "batch_norm":  # its scale and shift are per channel, the statistics over other dimensions
            continue
        position = 0 if kind == "group_norm" else dim - (x.ndim - rank)
        weight = weight if weight is None else weight.index_select(position, indices)
        bias = bias if bias is None else bias.index_select(position, indices)
    if kind == "batch_norm":
        normed = F.batch_norm(smaller, None, None, weight, bias, training=True, eps=eps)
    elif kind == "group_norm":
        normed = F.group_norm(smaller, groups, weight, bias, eps)
    elif kind == "rms_norm":
        normed = F.rms_norm(smaller, smaller.shape[-rank:], weight, eps)
    else:
        normed = F.layer_norm(smaller, smaller.shape[-rank:], weight, bias, eps)
    for dim, indices in reversed(kept.items()):
        shape = list(normed.shape)
        shape[dim] = x.shape[dim]
        normed = normed.new_zeros(shape).index_copy(dim, indices, normed)
    return normed
