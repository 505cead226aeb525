"""What sensitivity tries out: the weights of one layer masked, or units of one group removed, at growing counts.

Nothing is cut: a change of a ``FastNetwork`` computes what the pruned network computes.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ..comb.combing import comb
from ..comb.groups import Comb
from ..comb.summary import summarise
from ..comb.survivors import Survivors
from ..comb.verify import contractions_without, over_survivors
from ..errors import PlanError
from ..models.traced import TracedModel
from ..pruning.criteria import CRITERIA, CalibrationContext, score_layers
from ..pruning.groups.base import score_groups
from ..pruning.groups.budget import Limits
from ..pruning.groups.choosing import checked_criterion, choose_units, refuse_without_groups
from ..pruning.masks import masks_for
from ..pruning.ranking import unique_layers
from .fast_network import Change, FastNetwork
from .previews import shares_taken

__all__ = ["GroupTarget", "Target", "group_targets", "layer_targets"]

_SAMPLE = 1 << 16
"""Scores that a preview looks at, evenly spaced over the layer."""


class Target(ABC):
    """One layer or group. ``size``: weights or units."""

    name: str
    size: int

    @abstractmethod
    def count(self, level: float) -> int:
        """How many weights or units go at a level."""

    @abstractmethod
    def change(self, network: FastNetwork, count: int) -> Change:
        """The network without so many of them, the least important first."""

    @abstractmethod
    def start(self, network: FastNetwork) -> int:
        """Place of the first node that any of the changes can reach."""

    @abstractmethod
    def _scores(self) -> np.ndarray[Any, Any]:
        """Importance of weights or units, of many a fair sample."""

    def shares(self, levels: Sequence[float]) -> list[float]:
        """The share of Σ score² that each level takes: a first look, not a loss."""
        return shares_taken(self._scores(), [self.count(level) / self.size for level in levels])


class _Layer(Target):
    def __init__(self, name: str, scores: Tensor, scope: Any) -> None:
        self.name, self.size = name, scores.numel()
        self._tensor, self._scope = scores, scope

    def count(self, level: float) -> int:
        return min(round(level * self.size), self.size - 1)

    def change(self, network: FastNetwork, count: int) -> Change:
        mask = masks_for({self.name: self._tensor}, {self.name: count}, scope=self._scope)[self.name]
        return network.masked(self.name, mask.to(network.device))

    def start(self, network: FastNetwork) -> int:
        return network.start(dict.fromkeys(network.users_of(self.name)))

    def _scores(self) -> np.ndarray[Any, Any]:
        flat = self._tensor.detach().reshape(-1)
        return flat[:: max(1, self.size // _SAMPLE)].float().cpu().numpy()


class GroupTarget(Target):
    """Units of one group."""

    def __init__(self, name: str, found: Comb, removals: Mapping[float, list[int]], scores: np.ndarray) -> None:
        self.name, self.size = name, found.group(name).units
        self._found, self._values = found, scores
        self._counts = {level: len(units) for level, units in removals.items()}
        self._units = {len(units): units for units in removals.values()}

    def count(self, level: float) -> int:
        return self._counts[level]

    def removal(self, count: int) -> list[int]:
        """The units that go when so many go."""
        return self._units[count]

    def change(self, network: FastNetwork, count: int) -> Change:
        return _without_units(self._found, {self.name: self._units[count]}, network) if count else {}

    def start(self, network: FastNetwork) -> int:
        sums, norms = self._ends
        return min((network.place[node] for node in (*sums, *norms)), default=len(network.nodes))

    @cached_property
    def _ends(self) -> tuple[Any, Any]:
        most = max(self._units)
        survivors = Survivors(self._found, {self.name: self._units[most]} if most else {}, check=False)
        return contractions_without(self._found, survivors)

    def _scores(self) -> np.ndarray[Any, Any]:
        return self._values


def layer_targets(
    model: TracedModel, criterion: str, context: CalibrationContext, names: Sequence[str] | None
) -> list[Target]:
    """Every layer of ``names`` (all), in the order of execution; shared weights once, under their first name.

    Raises:
        PlanError: nothing to prune, unknown layers or criterion, weights that are not finite.
    """
    unique, aliases = unique_layers(model)
    _refuse_unknown(names, [*unique, *aliases], "prunable layers")
    wanted = {aliases.get(name, name) for name in names} if names is not None else set(unique)
    ordered = [name for name in unique if name in wanted]
    scores = score_layers(criterion, model, ordered, context) if ordered else {}
    return [_Layer(name, scores[name], CRITERIA[criterion].scope) for name in ordered]


def group_targets(
    model: TracedModel,
    criterion: str,
    context: CalibrationContext,
    names: Sequence[str] | None,
    levels: Sequence[float],
) -> list[GroupTarget]:
    """Every group of ``names`` (all). A level takes the units that a plan takes whose override for it is this level.

    Raises:
        PlanError: no group that can shrink, unknown groups or criterion, weights that are not finite.
    """
    checked_criterion(criterion)
    found = comb(model)
    refuse_without_groups(found)
    known = [group.name for group in found.groups]
    plain = None if names is None else [name.removeprefix("group:") for name in names]
    _refuse_unknown(plain, known, "groups")
    scores = score_groups(criterion, found, context)
    sheet = summarise(found, explain=False)

    def units(name: str, level: float) -> list[int]:
        removal = choose_units(
            sheet,
            scores,
            0.0,
            criterion=criterion,
            allocation="uniform",
            budget="channels",
            limits=Limits(round_to=1, min_keep=0.0),
            overrides={f"group:{name}": level},
            protected=(),
            kinds=(),
        )
        return list(removal.get(name, ()))

    return [
        GroupTarget(name, found, {level: units(name, level) for level in levels}, scores[name])
        for name in known
        if plain is None or name in plain
    ]


def _refuse_unknown(names: Sequence[str] | None, known: Sequence[str], what: str) -> None:
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise PlanError(
            f"Sensitivity is measured for {what}; this model has none named "
            f"{', '.join(f'“{name}”' for name in unknown[:5])}."
        )


def _without_units(found: Comb, removal: Mapping[str, list[int]], network: FastNetwork) -> Change:
    """What ``core.comb.verify`` proves a removal with: contributions end where the network sums over a dimension."""
    sums, norms = contractions_without(found, Survivors(found, removal))
    change: dict[int, Any] = {}
    for node, gone in sums.items():
        kept = [(c.place[1], c.dim, torch.from_numpy(keep).to(network.device)) for c, keep in gone]
        change[network.place[node]] = _narrowed(network, node, kept)
    for node, gone in norms.items():
        change[network.place[node]] = _of_survivors(found.model.graph_module, node, gone)
    return change


def _narrowed(network: FastNetwork, node: fx.Node, kept: Sequence[tuple[int, int, Tensor]]) -> Any:
    """The node on inputs without the removed indices; a plain layer gets zeros in its weight instead."""
    if node.op == "call_module" and len(kept) == 1:
        layer: Any = network.layers[str(node.target)]
        keep = kept[0][2]
        plain = isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
        if plain and layer.weight.shape[1] == len(keep):
            shape = [1, -1] + [1] * (layer.weight.ndim - 2)
            return network.with_weight(str(node.target), lambda weight: weight.where(keep.reshape(shape), 0.0))
    step = network.step(node)

    def narrowed(*args: Any, **kwargs: Any) -> Any:
        inputs = list(args)
        for position, dim, keep in kept:
            shape = [-1 if d == dim else 1 for d in range(inputs[position].ndim)]
            inputs[position] = inputs[position].where(keep.reshape(shape), 0.0)
        return step(*inputs, **kwargs)

    return narrowed


def _of_survivors(module: fx.GraphModule, node: fx.Node, gone: Any) -> Any:
    """A norm over the indices that stay."""

    def norm(*args: Any, **kwargs: Any) -> Tensor:
        pairs = [*zip(node.args, args, strict=True), *((node.kwargs[key], value) for key, value in kwargs.items())]
        values = {source: value for source, value in pairs if isinstance(source, fx.Node)}
        return over_survivors(module, node, args, kwargs, gone, values)

    return norm
