"""BatchNorm recalibration: statistics measured anew after weights have changed.

Removing weights changes the mean and variance of every following activation, while BatchNorm still normalises with
the statistics of the dense network. Measuring them again needs no labels and no gradient (e.g. Li et al., EagleEye,
ECCV 2020).
"""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import PlanError
from ..models.eval_mode import eval_mode
from ..progress import SILENT, Progress

__all__ = ["batchnorm_layers", "recalibrate_batchnorm"]


def batchnorm_layers(model: Any) -> list[nn.Module]:
    """The BatchNorm modules of a TracedModel that keep running statistics."""
    return [
        module
        for module in model.graph_module.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats and module.running_mean is not None
    ]


def recalibrate_batchnorm(
    model: Any, splits: Any, *, images: int = 1000, batch_size: int = 125, seed: int = 0, progress: Progress = SILENT
) -> int:
    """Replace all running means and variances by the average over batches of training images, in place.

    Only BatchNorm sees training mode: dropout and everything else stay in eval mode; weights, momentum and the
    model's mode are as before. Images are the training split's stratified subset, shuffled by ``seed``, without
    augmentation; batches have equal weight, so an incomplete last one is left out.

    Returns:
        How many BatchNorm layers were recalibrated; 0 means that the model has none and nothing was run.

    Raises:
        PlanError: when there are fewer than two training images.
        Cancelled: from ``progress.check``; the statistics are then those of the batches so far.
    """
    layers = batchnorm_layers(model)
    if not layers:
        return 0
    total = min(images, len(splits.train))
    if total < 2:
        raise PlanError(f"Recalibrating BatchNorm needs at least two training images, but there are {total}.")
    batch_size = min(batch_size, total)
    total -= total % batch_size
    momenta: list[Any] = [layer.momentum for layer in layers]
    draw = torch.Generator().manual_seed(seed)
    done = 0
    with torch.no_grad(), eval_mode(model.graph_module):
        for layer in layers:
            layer.reset_running_stats()  # type: ignore[operator]
            layer.momentum = None  # type: ignore[assignment]  # cumulative average
            layer.train()
        try:
            for x, _ in splits.train.batches(batch_size, shuffle=True, generator=draw, limit=total):
                progress.check()
                model.predict(x.to(model.device))
                done += len(x)
                progress.update(done, total, "Recalibrating BatchNorm")
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum
    return len(layers)
