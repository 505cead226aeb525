"""What remains of every dimension after a removal."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import PlanError
from .axes import Axis, flat, is_free
from .groups import Comb

__all__ = ["Removal", "Survivors"]

Removal = Mapping[str, Sequence[int]]
"""Group name → units to remove. JSON-serialisable: together with the dense model it describes the pruned one."""


class Survivors:
    """Which indices remain after a removal.

    Args:
        found: the groups of the dense model.
        removal: the units to remove from each group.
        check: refuse a removal that empties a dimension.

    Raises:
        PlanError: for an unknown group, a unit out of range, or a group or a tensor of which nothing would remain.
    """

    def __init__(self, found: Comb, removal: Removal, *, check: bool = True) -> None:
        self._found = found
        self._variables = found.reader.variables
        self._gone = np.zeros(len(self._variables), dtype=bool)
        names = {group.name: group for group in found.groups}
        for name, units in removal.items():
            if name not in names:
                if not names:
                    raise PlanError(f"There is no group “{name}”: this model has no group that can shrink.")
                known = ", ".join(list(names)[:5])
                raise PlanError(f"There is no group “{name}” in this model; its groups are {known}, ….")
            group = names[name]
            wrong = [unit for unit in units if not 0 <= unit < group.units]
            if wrong:
                raise PlanError(f"Group “{name}” has units 0 to {group.units - 1}; got {wrong[0]}.")
            chosen = np.unique(np.asarray(units, dtype=np.int64))
            if len(chosen) >= group.units:
                raise PlanError(f"At least one of the {group.units} units of “{name}” must stay; keep one or more.")
            self._gone[found.leaves[name][chosen]] = True
        empty = self.emptied() if check else []
        if empty:
            raise PlanError(
                f"Together these removals leave nothing of “{empty[0][0]}”; remove fewer of the units that meet there."
            )

    def kept(self, tensor: str, dim: int) -> np.ndarray | None:
        """``bool [size]``: which indices of a tensor's dimension remain; None when all of them do."""
        columns = self._found.columns.get((tensor, dim))
        if columns is None:
            return None
        gone = self._gone[columns].any(axis=0)
        return ~gone if gone.any() else None

    def emptied(self) -> list[tuple[str, np.ndarray]]:
        """Dimensions of tensors, and parts of them, of which no index remains, with the units that meet there.

        Each group keeps a unit, but a dimension may be made of units of several groups, and a slice of some units.
        """
        places = [(name, columns) for (name, _), columns in self._found.columns.items()]
        places.extend(self._found.parts.items())
        return [(name, columns) for name, columns in places if self._gone[columns].any(axis=0).all()]

    def keep(self, axis: Axis) -> np.ndarray:
        """``bool [size]``: which indices of the axis remain."""
        return ~self._gone[self._variables.leaves(flat(axis, self._variables))].any(axis=0)

    def count(self, axis: Axis) -> int:
        """Number of remaining indices; dimensions stay rectangular, so it is a product over factors."""
        total = 1
        for factor in axis:
            if factor.variables is None:
                total *= factor.size
            else:
                total *= factor.size - int(self._gone[self._variables.leaves(factor.variables)].any(axis=0).sum())
        return total

    def whole(self, axis: Axis) -> bool:
        """Whether nothing of the axis goes."""
        return not is_free(axis) or all(
            factor.variables is None or not self._gone[self._variables.leaves(factor.variables)].any()
            for factor in axis
        )
