"""What a criterion on groups is: a rule that says how important each unit of each group is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import PlanError
from ...registry import Registry
from ..criteria.base import CalibrationContext

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...comb.groups import Comb, Group, Member

__all__ = [
    "GROUP_CRITERIA",
    "GroupCriterion",
    "Scores",
    "Watch",
    "member_mean",
    "per_unit",
    "score_groups",
    "weight_members",
]

Scores = dict[str, np.ndarray]
"""Group name → ``float64 [units]``, at least 0; larger is more important."""


class Watch(ABC):
    """Collects from a model that runs forward and backward, until it is closed."""

    @abstractmethod
    def take(self) -> Scores:
        """What the last batch adds to the scores."""

    @abstractmethod
    def close(self) -> None:
        """Leave the model alone again. To be called before the model is copied."""


class GroupCriterion(ABC):
    """A criterion on groups; a class that is never instantiated.

    ``comparable`` says that scores of different groups have one unit (a change of the loss); if not, allocations that
    compare groups divide them by the group's mean. ``reduction`` says how the members of a group become one score.
    """

    title: ClassVar[str]
    reduction: ClassVar[str]
    needs_data: ClassVar[bool] = False
    comparable: ClassVar[bool] = False
    accumulates: ClassVar[bool] = False
    """Whether scores add up over batches, also while a model trains: by ``watch``, or else by ``increment``."""

    @classmethod
    @abstractmethod
    def score(cls, found: "Comb", context: CalibrationContext) -> Scores:
        """Importance of every unit of every group. The model is in any mode and comes back unchanged."""

    @classmethod
    def increment(cls, found: "Comb", images: int, changes: "Mapping[str, Tensor]") -> Scores:
        """What one batch adds to the scores, for criteria with ``accumulates`` and without a ``watch``.

        Args:
            found: the groups.
            images: images in the batch.
            changes: ``w · ∂L/∂w`` of every parameter that has a gradient, by canonical name.
        """
        raise NotImplementedError

    @classmethod
    def watch(cls, found: "Comb") -> "Watch | None":
        """For criteria that look at activations: something that collects while the combed model itself trains."""
        return None


GROUP_CRITERIA: Registry[type[GroupCriterion]] = Registry("group criterion")


def score_groups(name: str, found: "Comb", context: CalibrationContext) -> Scores:
    """Scores of a registered criterion, refused where they would mean nothing.

    Raises:
        PlanError: on an unknown criterion, missing data, weights that are not finite (names the tensor), or scores
            that are not.
    """
    import torch

    if name not in GROUP_CRITERIA:
        raise PlanError(f"Unknown criterion for groups “{name}”; known: {', '.join(GROUP_CRITERIA)}.")
    if GROUP_CRITERIA[name].needs_data and context.splits is None:
        raise PlanError(f"The criterion “{name}” looks at gradients on images: choose a data set first.")
    for tensor, parameter in found.model.graph_module.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise PlanError(
                f"Weights must be finite to be ranked, but “{tensor}” holds NaN or infinite values. Load a sound "
                "checkpoint."
            )
    scores = GROUP_CRITERIA[name].score(found, context)
    odd = [group for group, values in scores.items() if not np.isfinite(values).all()]
    if odd:
        raise PlanError(
            f"The criterion “{name}” gave scores that are NaN or infinite in “{odd[0]}”: gradients overflow."
        )
    return scores


def summed(found: "Comb", increments: Iterable[Scores]) -> Scores:
    """The sum of what all batches add."""
    total: Scores = {group.name: np.zeros(group.units) for group in found.groups}
    for scores in increments:
        for name, values in scores.items():
            total[name] += values
    return total


def parameters_of(found: "Comb") -> "dict[str, nn.Parameter]":
    """The model's parameters under all their names."""
    return dict(found.model.graph_module.named_parameters(remove_duplicate=False))


def weight_members(group: "Group", parameters: "Mapping[str, nn.Parameter]") -> "Iterator[Member]":
    """Members that are weights with inputs and outputs; if there are none, all that are parameters."""
    members = [member for member in group.members if member.tensor in parameters]
    weights = [member for member in members if parameters[member.tensor].ndim >= 2]
    return iter(weights or members)


def per_unit(values: "Tensor", member: "Member", units: int) -> np.ndarray:
    """Sum values of a dimension's indices, ``[size]``, over the indices of each unit, ``float64 [units]``."""
    owned = member.unit_of_index >= 0
    numbers = values.detach().double().cpu().numpy()
    return np.bincount(member.unit_of_index[owned], weights=numbers[owned], minlength=units)


def member_mean(found: "Comb", value: "Callable[[Tensor, Member, Group], np.ndarray]") -> Scores:
    """Mean over a group's weights of what ``value(tensor, member, group)`` gives each unit."""
    parameters = parameters_of(found)
    return {
        group.name: np.mean(
            [value(parameters[m.tensor].detach(), m, group) for m in weight_members(group, parameters)], axis=0
        )
        for group in found.groups
    }


def along(tensor: "Tensor", dim: int) -> "Tensor":
    """The tensor as ``[size of dim, everything else]``."""
    return tensor.movedim(dim, 0).flatten(1) if tensor.ndim > 1 else tensor.unsqueeze(1)


def elements(tensor: "Tensor", member: "Member", units: int) -> np.ndarray:
    """How many elements of the tensor belong to each unit, ``[units]``, at least 1."""
    owned = member.unit_of_index[member.unit_of_index >= 0]
    counts = np.bincount(owned, minlength=units) * (tensor.numel() // max(1, tensor.shape[member.dim]))
    return np.maximum(counts, 1)
