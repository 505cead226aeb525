"""The three sample networks: small enough to train in minutes on two cores, rich enough that pruning is interesting.

Together they hold what pruning must handle: residual sums, a concatenation, depthwise convolutions, attention with
heads, an encoder–decoder with a skip. All are larger than their task needs.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["NETWORKS", "DigitsResNet", "DigitsViT", "ScenesFCN"]


def _conv(
    inputs: int, outputs: int, size: int = 3, *, stride: int = 1, groups: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """A convolution that keeps the size (divided by the stride); the BatchNorm that follows brings the bias."""
    return nn.Conv2d(
        inputs, outputs, size, stride, dilation * (size // 2), dilation=dilation, groups=groups, bias=False
    )


class Residual(nn.Module):
    """Two 3×3 convolutions beside an identity, or beside a 1×1 projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = _conv(outputs, outputs), nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(_conv(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(x_NCHW)))
        return F.relu(self.bn2(self.conv2(hidden)) + self.shortcut(x_NCHW))


class Branches(nn.Module):
    """A 1×1 and a 3×3 branch, concatenated (the idea of Inception)."""

    def __init__(self, inputs: int, narrow: int, wide: int) -> None:
        super().__init__()
        self.narrow, self.bn_narrow = _conv(inputs, narrow, 1), nn.BatchNorm2d(narrow)
        self.wide, self.bn_wide = _conv(inputs, wide), nn.BatchNorm2d(wide)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return torch.cat([F.relu(self.bn_narrow(self.narrow(x_NCHW))), F.relu(self.bn_wide(self.wide(x_NCHW)))], dim=1)


class InvertedResidual(nn.Module):
    """Expand by 1×1, filter each channel alone by 3×3 (depthwise), project by 1×1, add (the idea of MobileNetV2)."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand, self.bn1 = _conv(channels, inner, 1), nn.BatchNorm2d(inner)
        self.depthwise, self.bn2 = _conv(inner, inner, groups=inner), nn.BatchNorm2d(inner)
        self.project, self.bn3 = _conv(inner, channels, 1), nn.BatchNorm2d(channels)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        hidden = F.relu6(self.bn1(self.expand(x_NCHW)))
        hidden = F.relu6(self.bn2(self.depthwise(hidden)))
        return x_NCHW + self.bn3(self.project(hidden))


class DigitsResNet(nn.Module):
    """Residual network with a concatenation and a depthwise block: ``[N, 1, 32, 32]`` → ``[N, classes]``.

    A stem of stride 2; residual blocks of 24, 48 and 48 channels; a 1×1 and a 3×3 branch, concatenated to 64 channels;
    an inverted residual block with a depthwise convolution on 192 channels; a residual block of 64; mean and a linear
    head.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.stem, self.bn = _conv(1, 24, stride=2), nn.BatchNorm2d(24)
        self.block1 = Residual(24, 24)
        self.block2 = Residual(24, 48, stride=2)
        self.block3 = Residual(48, 48)
        self.branches = Branches(48, 24, 40)
        self.inverted = InvertedResidual(64, 3)
        self.block4 = Residual(64, 64, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(64, num_classes)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x = F.relu(self.bn(self.stem(x_NCHW)))
        x = self.block3(self.block2(self.block1(x)))
        x = self.block4(self.inverted(self.branches(x)))
        return self.head(torch.flatten(self.pool(x), 1))


class Attention(nn.Module):
    """Multi-head self-attention, written out: ``[N, T, width]`` → ``[N, T, width]`` (Vaswani et al. 2017, eq. 1)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x_NTD: Tensor) -> Tensor:
        count, tokens, _ = x_NTD.shape
        qkv = self.qkv(x_NTD).reshape(count, tokens, 3, self.heads, self.head_width).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)  # [N, heads, T, head_width] each
        attention = torch.softmax(query @ key.transpose(-2, -1) * self.head_width**-0.5, dim=-1)
        mixed = (attention @ value).transpose(1, 2).reshape(count, tokens, self.heads * self.head_width)
        return self.project(mixed)


class EncoderBlock(nn.Module):
    """Pre-norm transformer block: attention, then two linear layers, each beside an identity."""

    def __init__(self, width: int, heads: int, neurons: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.expand, self.contract = nn.Linear(width, neurons), nn.Linear(neurons, width)

    def forward(self, x_NTD: Tensor) -> Tensor:
        x = x_NTD + self.attention(self.norm1(x_NTD))
        return x + self.contract(F.gelu(self.expand(self.norm2(x))))


class DigitsViT(nn.Module):
    """Small vision transformer (Dosovitskiy et al. 2021): ``[N, 1, 32, 32]`` → ``[N, classes]``.

    64 patches of 4×4 pixels with learned positions; four pre-norm blocks of width 72 with 6 heads of width 12 and 144
    neurons; the mean over the tokens and a linear head.
    """

    def __init__(self, num_classes: int = 10, *, width: int = 72, depth: int = 4, heads: int = 6) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, kernel_size=4, stride=4)
        self.positions = nn.Parameter(torch.randn(1, 64, width) * 0.02)
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads, 2 * width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        tokens_NTD = self.patches(x_NCHW).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(tokens_NTD)).mean(1))


class ScenesFCN(nn.Module):
    """Fully convolutional encoder–decoder: ``[N, 3, H, W]`` → ``[N, classes, H, W]``; H and W divisible by 8.

    Residual blocks of 16, 48 and 96 channels at a half, a quarter and an eighth of the size; a dilated depthwise
    convolution that widens what each pixel sees; two bilinear steps up, each concatenated with the encoder's features
    of that size; a 1×1 head at half size, enlarged bilinearly.
    """

    def __init__(self, num_classes: int = 11) -> None:
        super().__init__()
        self.stem, self.bn = _conv(3, 16, stride=2), nn.BatchNorm2d(16)
        self.shallow = Residual(16, 16)
        self.down1 = Residual(16, 48, stride=2)
        self.down2 = Residual(48, 96, stride=2)
        self.context, self.bn_context = _conv(96, 96, groups=96, dilation=2), nn.BatchNorm2d(96)
        self.reduce, self.bn_reduce = _conv(96 + 48, 24, 1), nn.BatchNorm2d(24)
        self.merge, self.bn_merge = _conv(24 + 16, 24), nn.BatchNorm2d(24)
        self.head = nn.Conv2d(24, num_classes, 1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        half = self.shallow(F.relu(self.bn(self.stem(x_NCHW))))
        quarter = self.down1(half)
        eighth = self.down2(quarter)
        eighth = eighth + F.relu(self.bn_context(self.context(eighth)))
        up = F.interpolate(eighth, scale_factor=2.0, mode="bilinear", align_corners=False)
        up = F.relu(self.bn_reduce(self.reduce(torch.cat([up, quarter], dim=1))))
        up = F.interpolate(up, scale_factor=2.0, mode="bilinear", align_corners=False)
        up = F.relu(self.bn_merge(self.merge(torch.cat([up, half], dim=1))))
        return F.interpolate(self.head(up), scale_factor=2.0, mode="bilinear", align_corners=False)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "digits_resnet": DigitsResNet,
    "digits_vit": DigitsViT,
    "scenes_fcn": ScenesFCN,
}
