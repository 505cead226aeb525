"""What differs between classification and segmentation: the loss, the metric and the shape of targets."""

from torch import Tensor
from torch.nn import functional as F

from ..models.specs import Task

__all__ = ["IGNORE_DEFAULT", "METRICS", "loss_per_image", "training_loss"]

METRICS: dict[Task, str] = {"classification": "accuracy", "segmentation": "mIoU"}

# cross_entropy needs some index to ignore; no uint8 or class target ever has this one.
IGNORE_DEFAULT = -100


def loss_per_image(logits: Tensor, targets: Tensor, *, ignore_index: int | None = None) -> Tensor:
    """Cross-entropy of every image, float32 ``[N]``.

    ``logits``: ``[N, K]`` with targets ``[N]``, or ``[N, K, H, W]`` with targets ``[N, H, W]``; there it is the mean
    over the pixels that are not ignored, NaN where an image has none.
    """
    ignored = IGNORE_DEFAULT if ignore_index is None else ignore_index
    targets = targets.long()
    losses = F.cross_entropy(logits.float(), targets, ignore_index=ignored, reduction="none")
    if losses.ndim == 1:
        return losses
    counted = (targets != ignored).flatten(1).sum(1)
    return losses.flatten(1).sum(1) / counted


def training_loss(logits: Tensor, targets: Tensor, *, ignore_index: int | None = None) -> Tensor:
    """Mean cross-entropy of a batch (over images, or over all pixels that are not ignored): a scalar to descend."""
    ignored = IGNORE_DEFAULT if ignore_index is None else ignore_index
    if logits.ndim == 4 and logits.shape[-2:] != targets.shape[-2:]:
        logits = F.interpolate(logits, size=targets.shape[-2:], mode="bilinear", align_corners=False)
    targets = targets.long()
    if bool((targets == ignored).all()):
        return 0.0 * logits.float().sum()  # the mean over no pixel would be NaN
    return F.cross_entropy(logits.float(), targets, ignore_index=ignored)
