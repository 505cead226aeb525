"""Small networks with every kind of prunable layer, traced as the product traces them."""

import torch
import torch.nn.functional as F
from torch import nn

from core.models.capture import trace
from core.models.traced import TracedModel


class Mixed(nn.Module):
    """Strided, dilated, grouped and depthwise convolutions, BatchNorm, a residual sum and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 12, 3, stride=2, padding=2, dilation=2, groups=4)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.bn2 = nn.BatchNorm2d(12)
        self.pointwise = nn.Conv2d(12, 12, 1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn(self.stem(x)))
        x = self.relu(self.grouped(x))
        x = x + self.pointwise(self.relu(self.bn2(self.depthwise(x))))
        return self.head(x.mean((2, 3)))


class Tied(nn.Module):
    """One module used twice, and two modules that share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(12, 12)
        self.twice = nn.Linear(12, 12)
        self.again = nn.Linear(12, 12)
        self.again.weight = self.embed.weight
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.embed(x.flatten(1)))
        x = F.relu(self.twice(self.twice(x)))
        return self.head(self.again(x))


class OnlyNorm(nn.Module):
    """No layer that could be pruned."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x).mean((2, 3))


def mixed(seed: int = 0) -> TracedModel:
    """``Mixed`` for 3×12×12 images, with BatchNorm statistics that are not the defaults."""
    torch.manual_seed(seed)
    module = Mixed()
    for norm in (module.bn, module.bn2):
        nn.init.uniform_(norm.running_mean, -0.2, 0.2)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return trace(module.eval(), (3, 12, 12))


def tied(seed: int = 0) -> TracedModel:
    """``Tied`` for 3×2×2 images."""
    torch.manual_seed(seed)
    return trace(Tied().eval(), (3, 2, 2))


def only_norm() -> TracedModel:
    """``OnlyNorm`` for 3×4×4 images."""
    return trace(OnlyNorm().eval(), (3, 4, 4))
