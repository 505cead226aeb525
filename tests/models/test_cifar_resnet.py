"""The CIFAR ResNets: option-A shortcuts, names of the published checkpoints, and their accuracy on real images."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.models.checkpoints import fit_checkpoint, load_checkpoint
from core.models.cifar_resnet import DEPTHS, CifarResNet
from core.models.opening import build_model, resolve_model

MILLIONS = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.73}  # He et al. 2016, table 6 (1.7 for 110)


@pytest.mark.parametrize("depth", DEPTHS)
def test_parameters_equal_the_published_count(depth: int) -> None:
    model = CifarResNet(depth)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2) == MILLIONS[depth]
    layers = [name for name, _ in model.named_modules() if name.endswith(("conv1", "conv2", "linear"))]
    assert len(layers) == depth


@pytest.mark.parametrize("depth", [0, 2, 18, 21, 51])
def test_depth_must_be_6n_plus_2(depth: int) -> None:
    with pytest.raises(ValueError, match="6n"):
        CifarResNet(depth)


def test_shortcut_takes_every_second_pixel_and_pads_on_both_sides() -> None:
    shortcut = CifarResNet(20).layer2[0].shortcut
    x_NCHW = torch.randn(2, 16, 8, 8)
    y_NCHW = shortcut(x_NCHW)
    expected = F.avg_pool2d(x_NCHW, 1, stride=2)
    assert y_NCHW.shape == (2, 32, 4, 4)
    assert torch.equal(y_NCHW[:, 8:24], expected)
    assert not y_NCHW[:, :8].any()
    assert not y_NCHW[:, 24:].any()


@pytest.mark.parametrize(
    ("name", "file", "right"),
    [
        ("resnet20", "resnet20-12fca82f.th", 932),
        pytest.param("resnet32", "resnet32-d509ac18.th", 944, marks=pytest.mark.slow),
        pytest.param("resnet56", "resnet56-4bfd9763.th", 943, marks=pytest.mark.slow),
    ],
)
def test_published_checkpoints_are_as_accurate_as_measured(name: str, file: str, right: int, shared_data: Path) -> None:
    """The figures of shared/data/README.md: right answers on the 1,017 lossless test images."""
    built = build_model(resolve_model(name, checkpoint=shared_data / "checkpoints" / file))
    with (shared_data / "cifar10-mini/cifar-10-batches-py/test_batch").open("rb") as stream:
        batch = pickle.load(stream, encoding="latin1")
    images = torch.from_numpy(np.asarray(batch["data"]).reshape(-1, 3, 32, 32)).float() / 255
    assert built.mean is not None
    assert built.std is not None
    images = (images - torch.tensor(built.mean).view(3, 1, 1)) / torch.tensor(built.std).view(3, 1, 1)
    with torch.inference_mode():
        predicted = torch.cat([built.module(part).argmax(1) for part in images.split(128)])
    assert len(predicted) == 1017
    assert int((predicted == torch.tensor(batch["labels"])).sum()) == right


def test_checkpoint_of_another_depth_is_refused_and_named(shared_data: Path) -> None:
    with pytest.raises(Exception, match="It looks like resnet56"):
        build_model(resolve_model("resnet20", checkpoint=shared_data / "checkpoints" / "resnet56-4bfd9763.th"))


def test_checkpoint_loads_into_the_bare_module(shared_data: Path) -> None:
    checkpoint = load_checkpoint(shared_data / "checkpoints" / "resnet20-12fca82f.th")
    assert checkpoint.num_classes == 10
    assert fit_checkpoint(CifarResNet(20), checkpoint) == ()
