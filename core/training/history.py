"""What happened over time: one JSON object that pages draw while a run trains, and that stays with its result.

Knows no torch. The keys are the contract between training and pages; methods add keys of their own to epochs.
"""

from collections.abc import Sequence
from typing import Any

__all__ = ["History"]


class History:
    """Builds the object; ``to_json`` gives it, complete in itself, at any moment."""

    def __init__(
        self,
        stages: Sequence[tuple[str, int]],
        *,
        metric: str,
        dense_score: float,
        target: float,
        unit: str,
        seed: int,
        precision: str,
        threads: int,
    ) -> None:
        first, described = 1, []
        for name, epochs in stages:
            described.append({"name": name, "epochs": epochs, "first_epoch": first})
            first += epochs
        self._body: dict[str, Any] = {
            "kind": "training",
            "metric": metric,
            "dense_score": dense_score,
            "target": target,
            "unit": unit,
            "stages": described,
            "epochs": [],
            "step": None,
            "events": [],
            "restored_epoch": None,
            "seed": seed,
            "precision": precision,
            "threads": threads,
        }

    @classmethod
    def of(cls, body: dict[str, Any]) -> "History":
        """The history of a checkpoint."""
        history = cls.__new__(cls)
        history._body = body
        return history

    def begin_stage(self, stage: int) -> None:
        """A stage begins now, perhaps earlier than planned because the one before stopped early."""
        first = len(self._body["epochs"]) + 1
        for described in self._body["stages"][stage:]:
            described["first_epoch"] = first
            first += described["epochs"]

    def add_epoch(self, row: dict[str, Any]) -> None:
        """File an evaluated epoch; a new best takes the mark from the others of its stage."""
        if row["best"]:
            for other in self._body["epochs"]:
                if other["stage"] == row["stage"]:
                    other["best"] = False
        self._body["epochs"].append(row)
        self._body["step"] = None

    def set_step(self, step: dict[str, Any] | None) -> None:
        """Where the running epoch stands."""
        self._body["step"] = step

    def event(self, epoch: int, step: int, text: str) -> None:
        """Something that a person should know of happened."""
        self._body["events"].append({"epoch": epoch, "step": step, "text": text})

    def restored(self, epoch: int) -> None:
        """The best state, that of this epoch (0: before training), was put back."""
        self._body["restored_epoch"] = epoch

    def to_json(self) -> dict[str, Any]:
        """A copy that later epochs do not change."""
        body = self._body
        return body | {key: [dict(item) for item in body[key]] for key in ("stages", "epochs", "events")}
