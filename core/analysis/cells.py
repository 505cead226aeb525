"""All cells of a sensitivity measurement, and the result that they make so far. Knows no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .pairing import Seen, difference, images_wanted, needs_more, no_difference, point
from .previews import estimated, preview_points
from .sensitivity import SensitivitySettings

if TYPE_CHECKING:
    from .changes import Target

__all__ = ["Cell", "Cells"]

_KEPT = ("removed", "share", "loss", "score", "low", "high", "n", "dloss", "dloss_se", "dscore", "dscore_se", "settled")
_UNKNOWN_SHARE = 0.4  # of all images, that a cell of which nothing is known yet will want


@dataclass(eq=False)
class Cell:
    """One target at one count of removed weights or units. Levels that round to the same count share a cell.

    ``found`` is what ``difference`` gave last, ``kept`` the finished point of an earlier run.
    """

    target: "Target"
    count: int
    seen: Seen = field(default_factory=Seen)
    found: dict[str, Any] | None = None
    kept: dict[str, Any] | None = None
    settled: bool = False

    def compare(self, dense: Seen, *, hard: int) -> None:
        """Take in what was seen."""
        self.found = difference(self.seen, dense, hard=hard)

    def left(self, total: int, tolerance: float) -> float:
        """How many more images it will want, as far as that can be foreseen."""
        if self.settled:
            return 0.0
        if self.found is None or self.seen.n == 0:
            return _UNKNOWN_SHARE * total
        return max(1.0, min(total, images_wanted(self.found, tolerance)) - self.seen.n)


class Cells:
    """The cells of all targets, and ``body``, the result's head. ``dense`` is the dense model on the same images."""

    def __init__(self, targets: Sequence["Target"], settings: SensitivitySettings, *, model: str, data: str) -> None:
        self.targets, self.settings = targets, settings
        self.dense, self.hard = Seen(), 0
        self._by_target: dict[str, dict[int, Cell]] = {
            target.name: {count: Cell(target, count) for count in (target.count(level) for level in settings.levels)}
            for target in targets
        }
        self.all = [cell for cells in self._by_target.values() for cell in cells.values()]
        self.body: dict[str, Any] = {
            "estimated": False,
            "complete": False,
            "kind": settings.of,
            "metric": None,
            "n": 0,
            "settings": settings.to_json(),
            "model": model,
            "data": data,
            "precision": "float32",
            "agreement": None,
            "notes": [],
            "dense": {},
        }
        self._preview = {
            target.name: preview_points(settings.levels, target.shares(settings.levels)) for target in targets
        }

    def take(self, previous: Mapping[str, Any] | None) -> None:
        """Settle the cells that an earlier result of the same model, data and settings has settled."""
        if previous is None or any(previous.get(key) != self.body[key] for key in ("settings", "model", "data")):
            return
        for name, cells in self._by_target.items():
            for one in (previous.get(self.settings.of) or {}).get(name, ()):
                cell = cells.get(one.get("removed"))
                if cell is not None and one.get("settled"):
                    cell.kept, cell.settled = {key: one[key] for key in _KEPT}, True

    @property
    def unseen(self) -> bool:
        """Whether anything is left to measure."""
        return not all(cell.settled for cell in self.all)

    def begin(self, dense: Seen, *, hard: int) -> None:
        """Measure beside this; whatever open cells have seen is forgotten, but still shown until there is more."""
        self.dense, self.hard = dense, hard
        for cell in self.all:
            cell.seen = Seen()
            if cell.count == 0:
                cell.found, cell.settled = no_difference(self.body["dense"]), True

    def open(self, target: "Target", only: float | None = None) -> list[Cell]:
        """The cells of a target that want more images (of one level), those with the fewest removed first."""
        wanted = None if only is None else target.count(only)
        cells = self._by_target[target.name]
        return [cells[c] for c in sorted(cells) if not cells[c].settled and wanted in (None, c)]

    def settle(self, cells: Sequence[Cell]) -> None:
        """Close those of these that have seen all images, or know enough."""
        for cell in cells:
            whole = cell.seen.n >= self.dense.n
            enough = cell.found is not None and not self.settings.exact
            cell.settled = whole or (enough and not needs_more(cell.found or {}, self.settings.tolerance))

    def left(self, cell: Cell) -> float:
        """How many more images a cell will want."""
        if self.settings.exact:
            return 0.0 if cell.settled else self.dense.n - cell.seen.n
        return cell.left(self.dense.n, self.settings.tolerance)

    def result(self) -> dict[str, Any]:
        """The result so far, as ``measure_sensitivity`` describes it."""
        curves = {name: self._points(cells) for name, cells in self._by_target.items()}
        kinds: dict[str, Any] = {"layers": {}, "groups": {}}
        kinds[self.settings.of] = {name: points for name, points in curves.items() if points}
        body = {**self.body, "notes": list(self.body["notes"]), **kinds}
        if not self.body["complete"]:
            body["preview"] = estimated(self.settings.of, self._preview, self.settings.levels)
        return body

    def _points(self, cells: Mapping[int, Cell]) -> list[dict[str, Any]]:
        known = [(level, next(iter(cells.values())).target.count(level)) for level in self.settings.levels]
        return [
            {"sparsity": level, **self._point(cells[count])}
            for level, count in known
            if cells[count].found or cells[count].kept
        ]

    def _point(self, cell: Cell) -> dict[str, Any]:
        if cell.kept is not None:
            return cell.kept
        share = cell.count / cell.target.size
        return {
            "removed": cell.count,
            "share": share,
            **point(cell.found or {}, self.body["dense"]),
            "settled": cell.settled,
        }
