"""Making galleries: the images of a split whose prediction a variant changed. Needs torch.

Shapes: N images, K classes, H rows, W columns.
"""

import heapq
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.splits import SplitName, Splits
from ..models.eval_mode import eval_mode
from ..models.traced import TracedModel
from ..progress import SILENT, Progress
from .evaluation import Evaluation
from .gallery import Gallery, flipped
from .scoring import default_batch_size, main_logits

__all__ = ["flip_gallery", "mask_gallery"]

_FLIP_PX, _MASK_PX = 160, 320
_IGNORED = 255


def flip_gallery(splits: Splits, dense: Evaluation, variant: Evaluation, *, images: int) -> Gallery:
    """Images whose predicted class changed, ``images`` at most, from two evaluations of the same split.

    Raises:
        MeasurementError: when the evaluations are not of the same images, or not of single labels.
    """
    rows, changed = flipped(dense, variant, images)
    assert dense.predictions is not None
    assert dense.targets is not None
    assert variant.predictions is not None
    indices = dense.indices[rows]
    return Gallery(
        task="classification",
        split=dense.split,
        data=dense.data,
        n=dense.n,
        changed=changed,
        class_names=splits.class_names,
        indices=indices,
        images=_small(splits.split(dense.split).pixels(indices), _FLIP_PX),
        truth=dense.targets[rows],
        dense=dense.predictions[rows],
        pruned=variant.predictions[rows],
        changed_share=np.ones(len(rows), np.float32),
        dense_value=dense.confidence[rows],
        pruned_value=variant.confidence[rows],
    )


def mask_gallery(
    dense: TracedModel,
    variant: TracedModel,
    splits: Splits,
    split: SplitName = "test",
    *,
    images: int,
    limit: int | None = None,
    progress: Progress = SILENT,
) -> Gallery:
    """The ``images`` images of which the most pixels changed their class, of the first ``limit`` (stratified).

    Pixels whose truth is to be ignored count for nothing.
    """
    part, device = splits.split(split), next(dense.graph_module.parameters()).device
    indices = part.indices(limit)
    best: list[tuple[float, int, dict[str, Any]]] = []
    done = changed = 0
    with torch.inference_mode(), ExitStack() as modes:
        for model in (dense, variant):
            modes.enter_context(eval_mode(model.graph_module))
        for x, y in part.batches(default_batch_size(splits.input_shape), limit=limit, device=device):
            progress.check()
            progress.update(done, len(indices), "Looking for the images that changed most")
            before, after = _classes(dense, x, y), _classes(variant, x, y)
            counted = torch.ones_like(y, dtype=torch.bool) if splits.ignore_index is None else y != splits.ignore_index
            pixels = counted.flatten(1).sum(1).clamp(min=1)

            def share(where: Tensor, counted: Tensor = counted, pixels: Tensor = pixels) -> list[float]:
                return ((where & counted).flatten(1).sum(1) / pixels).tolist()

            moved, right, kept = share(before != after), share(before == y), share(after == y)
            truth = torch.where(counted, y, _IGNORED)
            for row in range(len(y)):
                if moved[row] > 0.0:
                    changed += 1
                    entry = (moved[row], -(done + row))
                    if len(best) < images or entry > best[0][:2]:
                        masks = [_mask(found[row]) for found in (truth, before, after)]
                        body = {"masks": masks, "right": right[row], "kept": kept[row]}
                        (heapq.heappush if len(best) < images else heapq.heapreplace)(best, (*entry, body))
            done += len(y)
    best.sort(key=lambda item: item[:2], reverse=True)
    chosen = indices[[-item[1] for item in best]] if best else indices[:0]
    pictures = _small(part.pixels(chosen), _MASK_PX)
    height, width = pictures.shape[1:3]

    def stacked(which: int) -> np.ndarray[Any, Any]:
        found = [item[2]["masks"][which] for item in best]
        return np.stack(found) if found else np.zeros((0, height, width), np.uint8)

    return Gallery(
        task="segmentation",
        split=split,
        data=splits.fingerprint,
        n=done,
        changed=changed,
        class_names=splits.class_names,
        indices=chosen,
        images=pictures,
        truth=stacked(0),
        dense=stacked(1),
        pruned=stacked(2),
        changed_share=np.array([item[0] for item in best], np.float32),
        dense_value=np.array([item[2]["right"] for item in best], np.float32),
        pruned_value=np.array([item[2]["kept"] for item in best], np.float32),
    )


def _classes(model: TracedModel, x_NCHW: Tensor, y_NHW: Tensor) -> Tensor:
    """int64 ``[N, H, W]``, at the size of the masks, as ``evaluate`` counts them."""
    logits = main_logits(model.predict(x_NCHW)).float()
    if logits.shape[-2:] != y_NHW.shape[-2:]:
        logits = F.interpolate(logits, size=y_NHW.shape[-2:], mode="bilinear", align_corners=False)
    return logits.argmax(1)


def _mask(values_HW: Tensor) -> np.ndarray[Any, Any]:
    """uint8, at most ``_MASK_PX`` long, without mixing classes."""
    size = _smaller(tuple(values_HW.shape), _MASK_PX)
    shown = F.interpolate(values_HW[None, None].float(), size=size, mode="nearest")
    found: np.ndarray[Any, Any] = shown[0, 0].to(torch.uint8).cpu().numpy()
    return found


def _small(images_NCHW: Tensor, longest: int) -> np.ndarray[Any, Any]:
    """uint8 ``[N, H, W, C]``, at most ``longest`` pixels long."""
    size = _smaller(tuple(images_NCHW.shape[-2:]), longest)
    if size != tuple(images_NCHW.shape[-2:]) and len(images_NCHW):
        images_NCHW = F.interpolate(images_NCHW.float(), size=size, mode="area").round().to(torch.uint8)
    elif size != tuple(images_NCHW.shape[-2:]):
        images_NCHW = images_NCHW.new_zeros((0, images_NCHW.shape[1], *size))
    found: np.ndarray[Any, Any] = images_NCHW.permute(0, 2, 3, 1).contiguous().numpy()
    return found


def _smaller(size: tuple[int, ...], longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
