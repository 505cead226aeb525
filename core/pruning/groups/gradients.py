"""Gradients of the loss on calibration images, for criteria that ask what a unit does to the loss."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...errors import PlanError
from ..criteria.base import CalibrationContext

if TYPE_CHECKING:
    from torch import Tensor

    from ...comb.groups import Comb

__all__ = ["loss_batches", "products"]


def products(found: "Comb", context: CalibrationContext) -> "Iterator[tuple[int, dict[str, Tensor]]]":
    """For each batch, its number of images and ``w · ∂L/∂w`` of every parameter that has a gradient, by name.

    The model and its gradients come back as they were.

    Raises:
        PlanError: when there are no images.
    """
    import torch

    parameters = dict(found.model.graph_module.named_parameters())
    trainable = {name: parameter for name, parameter in parameters.items() if parameter.is_floating_point()}
    for images, loss in _losses(found, context):
        gradients = torch.autograd.grad(loss, list(trainable.values()), allow_unused=True)
        yield (
            images,
            {
                name: (parameter * gradient).detach()
                for (name, parameter), gradient in zip(trainable.items(), gradients, strict=True)
                if gradient is not None
            },
        )


def loss_batches(found: "Comb", context: CalibrationContext) -> "Iterator[Tensor]":
    """The loss of each batch, to go backward from.

    Raises:
        PlanError: when there are no images.
    """
    for _, loss in _losses(found, context):
        yield loss


def _losses(found: "Comb", context: CalibrationContext) -> "Iterator[tuple[int, Tensor]]":
    """Images and mean cross-entropy of the main output of each batch.

    The model runs in eval mode, so that its statistics stay; frozen parameters get a gradient too.
    """
    import torch
    from torch.nn import functional as F

    from ...models.eval_mode import eval_mode

    splits, model = context.splits, found.model
    if splits is None or len(splits.train) == 0:
        raise PlanError("This criterion looks at gradients and needs training images, but no data were given.")
    frozen = [p for p in model.graph_module.parameters() if p.is_floating_point() and not p.requires_grad]
    ignore = splits.ignore_index if splits.ignore_index is not None else -100
    total, done = min(context.images, len(splits.train)), 0
    draw = torch.Generator().manual_seed(context.seed)
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        with eval_mode(model.graph_module), torch.enable_grad():
            for x, y in splits.train.batches(context.batch_size, shuffle=True, generator=draw, limit=total):
                context.progress.check()
                logits = model.predict(x.to(model.device))
                loss = F.cross_entropy(logits, y.long().to(model.device), ignore_index=ignore)
                done += len(x)
                context.progress.update(done, total, "Gradients on calibration images")
                yield len(x), loss
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
