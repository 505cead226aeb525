"""ResNet for CIFAR (He et al. 2016, section 4.2): 6n + 2 layers, 16–32–64 channels, shortcuts without parameters.

Names of parameters equal those of akamaster/pytorch_resnet_cifar10, so that its checkpoints load as they are.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DEPTHS", "CifarResNet"]

DEPTHS = (20, 32, 44, 56, 110)


class OptionA(nn.Module):
    """The parameter-free shortcut: every second pixel, and zero channels in equal number before and after.

    ``[N, C, H, W]`` → ``[N, 2·C, ⌈H/2⌉, ⌈W/2⌉]``
    """

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.pad(x_NCHW[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if stride == 1 else OptionA((outputs - inputs) // 2)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(x_NCHW)))
        return F.relu(self.bn2(self.conv2(hidden)) + self.shortcut(x_NCHW))


class CifarResNet(nn.Module):
    """``[N, 3, 32, 32]`` → ``[N, num_classes]``; ``depth`` = 6n + 2, as in 20, 32, 44, 56 and 110.

    Raises:
        ValueError: when the depth is not 6n + 2.
    """

    def __init__(self, depth: int, num_classes: int = 10) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"The depth of a CIFAR ResNet must be 6n + 2, as in 20 or 56; got {depth}.")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, stride=1)
        self.layer2 = self._stage(16, 32, blocks, stride=2)
        self.layer3 = self._stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    @staticmethod
    def _stage(inputs: int, outputs: int, blocks: int, *, stride: int) -> nn.Sequential:
        first = BasicBlock(inputs, outputs, stride=stride)
        return nn.Sequential(first, *(BasicBlock(outputs, outputs, stride=1) for _ in range(blocks - 1)))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x_NCHW)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
