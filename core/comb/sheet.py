"""The groups of a model without the model: what pages show, count and choose from, in a server that imports no torch.

A sheet is made once, when a model is opened (``core.comb.summary``), and saved as arrays and JSON. Counting a removal
on it takes about a millisecond and is exact, so a preview is the real thing.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import ModelError, PlanError
from .counting import Counter, Counts

__all__ = ["FILE_NAME", "Coupling", "GroupSheet", "SheetFrozen", "SheetGroup"]

FILE_NAME = "groups.npz"
"""Name of the sheet in the folder of a saved model."""

_VERSION = 1
Reason = Literal["addition", "multiplication", "concatenation", "depthwise", "attention", "product", "joined", "tied"]


@dataclass(frozen=True)
class Coupling:
    """Why layers shrink together: ``text`` is one sentence that names the layers and the source line."""

    reason: Reason
    text: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class SheetGroup:
    """Units that can be removed one by one.

    ``creators`` are the layers whose outputs the units are, ``readers`` those that take them in, and ``layers`` all
    that shrink: these, and norms, biases and parameters in between. One unit stands for ``width`` channels of a
    creator, and removing it from the dense model saves ``unit_parameters`` and ``unit_macs``.
    """

    name: str
    kind: str
    units: int
    width: int
    normed: bool
    members: int
    layers: tuple[str, ...]
    creators: tuple[str, ...]
    readers: tuple[str, ...]
    couplings: tuple[Coupling, ...] = ()
    unit_parameters: int = 0
    unit_macs: int = 0


@dataclass(frozen=True)
class SheetFrozen:
    """A layer's output dimension that cannot shrink, and why."""

    name: str
    kind: str
    reason: str
    layers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class GroupSheet:
    """All groups of a model, how to count what a removal leaves, and scores of the criteria that need no data.

    ``scores``: criterion → group → ``float64 [units]``. ``prunable``: names of the layers with prunable weights, in
    execution order.
    """

    groups: tuple[SheetGroup, ...]
    frozen: tuple[SheetFrozen, ...]
    prunable: tuple[str, ...]
    counter: Counter
    scores: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)

    @cached_property
    def dense(self) -> Counts:
        """Counts of the whole model."""
        return self.counter.count(self.gone({}))

    @cached_property
    def _by_name(self) -> dict[str, SheetGroup]:
        return {group.name: group for group in self.groups}

    @cached_property
    def _starts(self) -> dict[str, int]:
        """Number of the first unit of each group."""
        ends = np.cumsum([1, *(group.units for group in self.groups)]).tolist()
        return dict(zip((group.name for group in self.groups), ends[:-1], strict=True))

    def group(self, name: str) -> SheetGroup:
        """The group of this name.

        Raises:
            PlanError: when there is none.
        """
        if name not in self._by_name:
            known = ", ".join(list(self._by_name)[:5]) or "none"
            raise PlanError(f"There is no group “{name}” in this model; its groups are {known}, ….")
        return self._by_name[name]

    def groups_of(self, layer: str) -> tuple[SheetGroup, ...]:
        """The groups whose units are outputs of a layer: what is removed from it when it shrinks itself."""
        return tuple(group for group in self.groups if layer in group.creators)

    def criteria(self) -> tuple[str, ...]:
        """The criteria whose scores are here."""
        return tuple(self.scores)

    def gone(self, removal: Mapping[str, Sequence[int]]) -> np.ndarray:
        """``bool [units of all groups + 1]``: which units a removal takes, as ``counter`` numbers them.

        Raises:
            PlanError: for an unknown group or a unit out of range.
        """
        gone = np.zeros(self.counter.units + 1, dtype=bool)
        for name, units in removal.items():
            chosen = np.asarray(units, dtype=np.int64)
            group = self.group(name)
            if chosen.size and not (chosen.min() >= 0 and chosen.max() < group.units):
                raise PlanError(f"Group “{name}” has units 0 to {group.units - 1}; got {chosen.min()}–{chosen.max()}.")
            gone[self._starts[name] + chosen] = True
        return gone

    def owner(self, unit: int) -> tuple[str, int]:
        """Group and unit in it of a number of ``counter``."""
        names = list(self._starts)
        place = int(np.searchsorted(list(self._starts.values()), unit, side="right")) - 1
        return names[place], unit - self._starts[names[place]]

    def counts(self, removal: Mapping[str, Sequence[int]]) -> Counts:
        """What a removal leaves, exactly: parameters, MACs of one example, shapes.

        Raises:
            PlanError: for an unknown group or a unit out of range.
        """
        return self.counter.count(self.gone(removal))

    def emptied(self, removal: Mapping[str, Sequence[int]]) -> list[tuple[str, np.ndarray]]:
        """Tensors of which nothing would be left, with the numbers of the units that meet there."""
        return self.counter.emptied(self.gone(removal))

    def save(self, path: Path) -> None:
        """Write the sheet as one npz file, without pickle."""
        counter, arrays = self.counter.to_arrays()
        header = {
            "version": _VERSION,
            "groups": [asdict(group) for group in self.groups],
            "frozen": [asdict(group) for group in self.frozen],
            "prunable": self.prunable,
            "counter": counter,
            "criteria": list(self.scores),
        }
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
        arrays["scores"] = np.zeros((len(self.scores), self.counter.units))
        for row, by_group in zip(arrays["scores"], self.scores.values(), strict=True):
            row[:] = np.concatenate([by_group[group.name] for group in self.groups]) if self.groups else 0.0
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> "GroupSheet":
        """Read what ``save`` wrote.

        Raises:
            ModelError: when the file is damaged or of a newer version.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                header: dict[str, Any] = json.loads(file["header"].tobytes())
                if header["version"] != _VERSION:
                    raise ModelError(f"The groups in {path.name} have version {header['version']}; {_VERSION} is read.")
                groups = tuple(_group(body) for body in header["groups"])
                edges = np.cumsum([group.units for group in groups])[:-1]
                scores = {
                    criterion: dict(zip((g.name for g in groups), np.split(row, edges), strict=True)) if groups else {}
                    for criterion, row in zip(header["criteria"], file["scores"], strict=True)
                }
                counter = Counter.from_arrays(header["counter"], file["column_shapes"], file["columns"])
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ModelError(f"The groups of this model cannot be read ({error}): open the model again.") from None
        frozen = tuple(SheetFrozen(**{**body, "layers": tuple(body["layers"])}) for body in header["frozen"])
        return cls(groups, frozen, tuple(header["prunable"]), counter, scores)


def _group(body: dict[str, Any]) -> SheetGroup:
    lists = {name: tuple(body[name]) for name in ("layers", "creators", "readers")}
    couplings = tuple(Coupling(c["reason"], c["text"], tuple(c["layers"])) for c in body["couplings"])
    return SheetGroup(**{**body, **lists, "couplings": couplings})
