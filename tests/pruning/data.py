"""Random images with random labels, shaped for a model."""

import torch

from core.data.specs import DataSpec
from core.data.splits import Split, Splits


def random_splits(model, *, train=48, select=40, test=16, seed=0):
    """Splits of noise that fit a traced classification or segmentation model."""
    draw = torch.Generator().manual_seed(seed)
    channels, height, width = model.input_shape
    mean, std = (0.5,) * channels, (0.25,) * channels

    def split(count):
        images = torch.randint(0, 256, (count, channels, height, width), generator=draw, dtype=torch.uint8)
        shape = (count,) if model.task == "classification" else (count, height, width)
        targets = torch.randint(0, model.num_classes, shape, generator=draw)
        return Split(images, targets if len(shape) == 1 else targets.to(torch.uint8), mean, std)

    return Splits(
        train=split(train),
        select=split(select),
        test=split(test),
        task=model.task,
        class_names=tuple(str(k) for k in range(model.num_classes)),
        mean=mean,
        std=std,
        input_shape=model.input_shape,
        fingerprint="noise",
        ignore_index=None,
        notes=(),
        spec=DataSpec(source="noise"),
    )
