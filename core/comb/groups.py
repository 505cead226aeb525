"""Groups: what a person can remove from a network, and what goes with it.

A *unit* is a set of indices of parameters that disappear together (a channel through all the layers that a residual
connection joins, an attention head, a neuron). A *group* is a family of units that touch the same dimensions of the
same parameters. Groups come from one exact reading of the graph (``Reader``): an operation that is not understood
freezes what it touches, so less is offered, and nothing is ever wrong.

This is the resolution of dependencies that CPD calls the comb (Schmitt et al., arXiv 2408.03046); the way it is
computed here is our own.
"""

from dataclasses import dataclass

import numpy as np

from ..models.traced import TracedModel
from .kinds import Kind
from .reader import Reader

__all__ = ["Comb", "Group", "Kind", "Member"]


@dataclass(frozen=True, eq=False)
class Member:
    """One dimension of one parameter or buffer: ``unit_of_index`` is ``int64 [size]``, −1 without a unit."""

    tensor: str
    dim: int
    unit_of_index: np.ndarray
    creates: bool = False
    """Whether the layer makes the units here (its output dimension), or only reads or scales them."""

    @property
    def layer(self) -> str:
        """Name of the layer that owns the tensor; of the tensor itself where the graph reads it directly."""
        return self.tensor.rpartition(".")[0] or self.tensor


@dataclass(frozen=True, eq=False)
class Group:
    """Units that can be removed one by one, or (``frozen_reason``) a dimension that cannot be pruned, and why.

    ``name`` is that of the first layer that creates the units; ``normed`` says that a norm takes statistics over them,
    so that removing one changes more than its own contribution.
    """

    name: str
    kind: Kind
    units: int
    members: tuple[Member, ...]
    normed: bool = False
    frozen_reason: str | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that must shrink together, in execution order."""
        return tuple(dict.fromkeys(member.layer for member in self.members))


@dataclass(frozen=True, eq=False)
class Comb:
    """All groups of a model, with what surgery needs to know. It is only read after it was made.

    ``leaves`` holds, for each group, the variable of each unit; ``columns`` the units' variables that remove each index
    of each free dimension of each tensor (``Variables.leaves``); ``parts`` those of runs of indices that the forward
    uses by themselves (slices), which must not become empty either.
    """

    model: TracedModel
    groups: tuple[Group, ...]
    frozen: tuple[Group, ...]
    reader: Reader
    leaves: dict[str, np.ndarray]
    columns: dict[tuple[str, int], np.ndarray]
    parts: dict[str, np.ndarray]

    def group(self, name: str) -> Group:
        """The group of this name.

        Raises:
            KeyError: when there is none.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(name)

    def group_of(self, layer: str) -> tuple[Group, ...]:
        """The groups whose units are outputs of a layer: what is removed from it when it shrinks itself."""
        created = self.creators.get(layer, ())
        return tuple(group for group in self.groups if group.name in created)

    @property
    def creators(self) -> dict[str, tuple[str, ...]]:
        """Layer name → names of the groups over its output dimension."""
        found: dict[str, list[str]] = {}
        for group in self.groups:
            for member in group.members:
                if member.creates:
                    found.setdefault(member.layer, []).append(group.name)
        return {layer: tuple(dict.fromkeys(names)) for layer, names in found.items()}
