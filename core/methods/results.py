"""From a finished training run to what a method returns. Importing this needs no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..wording import percent
from .base import MethodResult

if TYPE_CHECKING:
    from torch import Tensor

    from ..comb.groups import Comb
    from ..comb.sheet import GroupSheet
    from ..comb.survivors import Survivors
    from ..training.loop import Run

_MISSED = 0.02
"""A budget that is off by more than this is spoken of."""

__all__ = ["masked_result", "structured_result", "surviving_masks", "surviving_rows", "with_patterns"]


class _Removal(Protocol):
    """A hook that removed units: groups and sheet of the dense model, and what is gone of it."""

    dense_comb: "Comb"
    dense_sheet: "GroupSheet"

    @property
    def removal(self) -> dict[str, list[int]]: ...


def masked_result(dense: Any, run: "Run", masks: "Mapping[str, Tensor]") -> MethodResult:
    """The trained model with its masks, and sentences on how it came about."""
    from ..pruning.masks import mask_statistics

    on_cpu = {name: mask.cpu() for name, mask in masks.items()}
    history = run.history.to_json()
    return MethodResult(run.model, on_cpu, mask_statistics(dense, masks), tuple(_notes(run, history)), history)


def structured_result(run: "Run", removal: _Removal) -> MethodResult:
    """The small network that was trained, what it lost of the dense one, and sentences on how it came about."""
    from ..comb.record import record
    from ..comb.survivors import Survivors

    found, gone = removal.dense_comb, removal.removal
    survivors, history = Survivors(found, gone), run.history.to_json()
    # One record against the dense model says the same as the list of all removals on the way.
    run.model.origin["removals"] = [*found.model.origin.get("removals", []), *([record(found, gone)] if gone else [])]
    dense, left = removal.dense_sheet.dense, removal.dense_sheet.counts(gone)
    notes = [
        f"{percent(1 - left.parameters / dense.parameters)} of the parameters and "
        f"{percent(1 - left.macs / max(1, dense.macs))} of the MACs were removed from "
        f"{len(gone)} of {len(found.groups)} groups; every removal was verified.",
        *_notes(run, history),
    ]
    share, target = history["epochs"][-1]["sparsity"], history["target"]
    if abs(share - target) > _MISSED:
        notes.append(
            f"The plan asks for {percent(target)} and the run removed {percent(share)}: one step of the next group "
            "would have gone further past it. A smaller “round channels to” makes finer steps."
        )
    history["removal"] = {"groups": gone}
    return MethodResult(
        run.model, surviving_masks(found, survivors), surviving_rows(found, survivors), tuple(notes), history
    )


def _notes(run: "Run", history: Mapping[str, Any]) -> list[str]:
    trained, planned = len(history["epochs"]), sum(stage["epochs"] for stage in history["stages"])
    best = history["restored_epoch"]
    origin = f"its state after epoch {best}" if best else "its state before training"
    return [
        f"Trained {trained} of at most {planned} epochs in {history['precision']}; the result is {origin}, the best on "
        "the selection split.",
        *run.notes,
    ]


def surviving_masks(found: "Comb", survivors: "Survivors") -> dict[str, Any]:
    """Which weights of the dense layers stay: True inside the surviving rows, columns and positions."""
    import torch

    from ..pruning.ranking import unique_layers

    masks = {}
    for name, module in unique_layers(found.model)[0].items():
        weight: Any = module.weight
        mask = torch.ones(weight.shape, dtype=torch.bool)
        for dim in range(weight.ndim):
            kept = survivors.kept(found.reader.canonical(f"{name}.weight"), dim)
            if kept is not None:
                mask &= torch.from_numpy(kept).reshape([-1 if d == dim else 1 for d in range(weight.ndim)])
        masks[name] = mask
    return masks


def with_patterns(masks: "Mapping[str, Tensor]", patterned: "Mapping[str, Tensor]") -> dict[str, Any]:
    """Masks of the dense layers in which, of what survives, only what ``patterned`` (masks of the small ones) keeps."""
    joined = dict(masks)
    for name, mask in patterned.items():
        joined[name] = masks[name].clone()
        joined[name][masks[name]] = mask.reshape(-1).cpu()
    return joined


def surviving_rows(
    found: "Comb", survivors: "Survivors", masks: "Mapping[str, Tensor] | None" = None
) -> list[dict[str, Any]]:
    """The rows of ``mask_statistics``, with the shape that is left and the groups of the layer's outputs.

    ``masks``: where they say more than the survivors do, see ``with_patterns``.
    """
    from ..pruning.masks import mask_statistics

    surviving = surviving_masks(found, survivors)
    creators = found.creators
    rows = mask_statistics(found.model, surviving if masks is None else masks)
    for row in rows:
        mask = surviving[row["name"]]
        kept = [int(mask.any(dim=tuple(d for d in range(mask.ndim) if d != dim)).sum()) for dim in range(mask.ndim)]
        row.update(kept_shape=kept, groups=list(creators.get(row["name"], ())))
    return rows
