"""Small models that each do something which capture must follow; written as people write them."""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "EXAMPLES",
    "BatchFraction",
    "BatchLoop",
    "HalfBatch",
    "RandomInEval",
    "Scalar",
    "StaleView",
    "TwoInputs",
    "ValueControlFlow",
]


class FunctionalDropout(nn.Module):
    """Dropout as a function, in-place activations, flatten by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.fc = nn.Linear(8 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.conv(x))
        x = F.max_pool2d(x, 4)
        x = F.dropout2d(x, 0.3, self.training)
        x = x.view(x.size(0), -1)
        x = F.dropout(x, p=0.5, training=self.training)
        return self.fc(x)


class RawParameters(nn.Module):
    """Weights without modules: a scale, a position table, a functional convolution and linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(6, 3, 3, 3) * 0.2)
        self.scale = nn.Parameter(torch.ones(6, 1, 1))
        self.positions = nn.Parameter(torch.randn(1, 16, 6))
        self.register_buffer("order", torch.randperm(16, generator=torch.Generator().manual_seed(0)))
        self.register_buffer("mask", torch.ones(16), persistent=False)
        self.head = nn.Parameter(torch.randn(5, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.kernel, stride=4, padding=1) * self.scale.exp()
        n, c, h, w = x.shape
        tokens = x.reshape(n, c, h * w).transpose(1, 2) + self.positions[:, self.order]
        tokens = tokens * self.mask.unsqueeze(-1)
        return F.linear(tokens.mean(dim=1), self.head)


class Tied(nn.Module):
    """One convolution used three times, and two linear layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.shared = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.up = nn.Linear(8, 8)
        self.down = nn.Linear(8, 8)
        self.down.weight = self.up.weight
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(3):
            x = F.leaky_relu(self.shared(x), 0.2, inplace=True) + x
        x = x.mean((2, 3))
        return self.head(F.gelu(self.down(torch.tanh(self.up(x)))))


class ControlFlow(nn.Module):
    """Decides by shapes, types, attributes and list contents; asserts; loops."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv2d(3 if i == 0 else 6, 6, 3, padding=1) for i in range(3)])
        self.norm: nn.Module | None = nn.GroupNorm(2, 6)
        self.head = nn.Linear(6, 7)

    def forward(self, x: Tensor, scale: float | None = None) -> Tensor:
        torch._assert(x.dim() == 4, "images expected")
        assert isinstance(x, Tensor)
        if x.shape[-1] != x.shape[-2]:
            x = F.pad(x, (0, abs(x.shape[-2] - x.shape[-1])))
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index % 2 == 0 and self.norm is not None:
                x = self.norm(x)
            if min(x.shape[-2:]) > 4:
                x = F.avg_pool2d(x, 2)
            features.append(x.flatten(2).amax(-1))
        if scale is not None:
            x = x * scale
        return self.head(sum(features) / len(features))


class SizeArithmetic(nn.Module):
    """Windows, a token per image, and sizes computed from the batch: ``B * windows``, ``numel // …``."""

    def __init__(self, window: int = 4, width: int = 12) -> None:
        super().__init__()
        self.window, self.heads = window, 3
        self.embed = nn.Conv2d(3, width, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.qkv = nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        b, c, h, w = x.shape
        s = self.window
        x = x.view(b, c, h // s, s, w // s, s).permute(0, 2, 4, 3, 5, 1).contiguous()
        windows = (h // s) * (w // s)
        x = x.view(b * windows, s * s, c)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        n = x.numel() // (x.shape[1] * c)
        q, k, v = (t.reshape(n, -1, self.heads, c // self.heads).transpose(1, 2) for t in (q, k, v))
        attention = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(c // self.heads)
        index = torch.arange(x.shape[1], device=x.device)
        bias = (index[:, None] - index[None, :]).abs().to(x.dtype).neg() * 0.1
        x = (attention + bias).softmax(-1) @ v
        x = x.transpose(1, 2).flatten(2)[:, 0]
        return self.head(x.view(b, windows, c).mean(1) + torch.zeros(b, c))


class TwoOutputs(nn.Module):
    """Segmentation with a main and an auxiliary output; sizes from the input."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2, groups=2)
        self.main = nn.Conv2d(8, 4, 1)
        self.side = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        size = x.shape[-2:]
        features = self.backbone(x)
        result = OrderedDict()
        result["out"] = self.main(self.up(features))
        result["aux"] = F.interpolate(self.side(features), size=size, mode="bilinear", align_corners=False)
        return result


class InPlace(nn.Module):
    """Writes into tensors: item assignment, ``+=``, zeroed slices, an activation whose input is used again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.bias = nn.Parameter(torch.randn(8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y = self.relu(x)
        x = x + y * 2  # x has been rectified too
        x[:, :2] = 0.5
        x[:, 2].mul_(2.0)
        bias = self.bias.clone()
        bias[3:5].zero_()
        x += bias[None, :, None, None]
        return self.head(x.mean([-2, -1]))


class OwnConvolution(nn.Conv2d):
    """A weight-standardised convolution: its weight is computed in the forward."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        w = (w - w.mean(dim=(1, 2, 3), keepdim=True)) / (w.std(dim=(1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding, self.dilation, self.groups)


class SamePadding(nn.Conv2d):
    """A subclass that pads by hand, then uses its own weight: a standard layer in the graph."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, [1, 1, 1, 1]), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class BatchNormAct(nn.BatchNorm2d):
    """A norm that holds its activation, as timm's."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.num_batches_tracked.add_(1)
        training = self.training or self.running_mean is None
        x = F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training, self.momentum, self.eps
        )
        return self.act(x)


class OwnLayers(nn.Module):
    """Subclasses of standard layers, parametrized and hooked layers."""

    def __init__(self) -> None:
        super().__init__()
        self.standardised = OwnConvolution(3, 8, 3, padding=1)
        self.same = SamePadding(8, 8, 3)
        self.norm = BatchNormAct(8)
        self.weight_norm = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))
        self.hooked = nn.Linear(8, 8)
        self.hooked.register_forward_hook(lambda module, args, output: output * 0.5)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.same(self.standardised(x)))
        x = self.weight_norm(x).mean((2, 3))
        return self.head(self.hooked(x))


class Encoder(nn.Module):
    """A transformer encoder with dropout and both head layouts, which hide behind torch's fused path."""

    def __init__(self, *, batch_first: bool = True, causal: bool = False) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.mask = nn.Transformer.generate_square_subsequent_mask(16) if causal else None
        self.patch = nn.Conv2d(3, 16, 4, stride=4)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.cross = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2)
        x = x.permute(0, 2, 1) if self.batch_first else x.permute(2, 0, 1)
        x = self.encoder(x, mask=self.mask)
        x = x if self.batch_first else x.transpose(0, 1)
        pooled, weights = self.cross(x.mean(1, keepdim=True), x, x)
        return self.head(pooled[:, 0]) + weights.sum()


class Mixed(nn.Module):
    """Concatenation, shuffle, unfold, roll, norms, and odd outputs: a tuple whose first entry is the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 4, 1)
        self.b = nn.Conv2d(3, 4, 3, padding=1)
        self.prelu = nn.PReLU(8)
        self.norm = nn.InstanceNorm2d(8, affine=True)
        self.head = nn.Conv2d(8 * 9, 5, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x = torch.cat((self.a(x), self.b(x)), 1)
        x = self.norm(self.prelu(x))
        b, c, h, w = x.shape
        x = x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        x = torch.roll(x, shifts=(1, -1), dims=(2, 3)).flip(-1)
        first, rest = x.split([3, 5], dim=1)
        x = torch.cat(
            [
                first.clamp(min=-1),
                torch.sigmoid(rest),
            ],
            dim=1,
        )
        patches = F.unfold(x, 3, padding=1).view(b, c * 9, h, w)
        logits = self.head(patches).mean((2, 3))
        return logits, {"features": F.normalize(x.flatten(1), dim=1)}


class StaleView(nn.Module):
    """Uses a view of a tensor that has been changed in place: only torch.export can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        tokens = x.flatten(2).transpose(1, 2)
        x.relu_()
        largest, _ = torch.max(F.max_pool2d(x, 2), dim=-1)
        return self.head(tokens.mean(1) + F.avg_pool1d(largest, 8).squeeze(-1))


class ValueControlFlow(nn.Module):
    """Cannot be captured: decides by the values of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        if x.sum() > 0:
            x = x * 2
        return self.fc(x)


class RandomInEval(nn.Module):
    """Cannot be captured: draws random numbers in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.dropout(x.mean((2, 3)), 0.5))


class BatchLoop(nn.Module):
    """Cannot be captured: loops over the images of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.fc(image.mean((1, 2))) for image in x])


class BatchFraction(nn.Module):
    """Cannot be captured: a float computed from the batch size."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)) * (1.0 / len(x)))


class HalfBatch(nn.Module):
    """Cannot be captured: half of the batch is a size that no constant can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[0] // 2
        return self.fc(x.mean((2, 3)) + x[:half].sum())


class Scalar(nn.Module):
    """Cannot be used: returns a number per image."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))[:, 0]


class TwoInputs(nn.Module):
    """Cannot be captured: needs a second input."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3))) + tokens


EXAMPLES = {
    "functional_dropout": FunctionalDropout,
    "raw_parameters": RawParameters,
    "tied": Tied,
    "control_flow": ControlFlow,
    "size_arithmetic": SizeArithmetic,
    "two_outputs": TwoOutputs,
    "in_place": InPlace,
    "own_layers": OwnLayers,
    "encoder": Encoder,
    "encoder_sequence_first": lambda: Encoder(batch_first=False),
    "encoder_causal": lambda: Encoder(causal=True),
    "mixed": Mixed,
}
