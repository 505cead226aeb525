"""Small models that each do something with channels that a careless reading gets wrong."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ADVERSARIES", "FROZEN"]


class SharedTwice(nn.Module):
    """One module called twice, on its own output too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 3, padding=1)
        self.shared = nn.Conv2d(10, 10, 3, padding=1)
        self.norm = nn.BatchNorm2d(10)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(self.norm(self.shared(x)))
        return self.head(F.relu(self.norm(self.shared(x))).mean((2, 3)))


class TiedWeights(nn.Module):
    """An autoencoder's transposed weight, an embedding that is also a head, a buffer shared by two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.encode = nn.Linear(8, 12)
        self.decode = nn.Parameter(torch.zeros(8))
        self.table = nn.Embedding(6, 8)
        self.out = nn.Linear(8, 6)
        self.out.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).mean((2, 3))
        x = F.linear(torch.sigmoid(self.encode(x)), self.encode.weight.t(), self.decode)
        number = torch.arange(6, device=x.device)
        return self.out(x + self.table(number).sum(0))


class ResidualConcat(nn.Module):
    """Dense connections, additions between parts of them, and slices with negative bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 12, 3, padding=1)
        self.b = nn.Conv2d(12, 8, 3, padding=1)
        self.c = nn.Conv2d(20, 8, 3, padding=1)
        self.d = nn.Conv2d(28, 12, 1)
        self.head = nn.Linear(20, 4)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.a(x))
        b = F.relu(self.b(a))
        c = F.relu(self.c(torch.cat([a, b], 1)))
        d = self.d(torch.cat([b, a, c], 1)) + a
        y = d[:, :-4] + torch.cat([c, b], 1)[:, -8:]
        z = torch.cat([y, d], 1)
        return self.head(torch.sigmoid(z[:, -20:]).mean((2, 3)))


class Pieces(nn.Module):
    """Chunk, unbind, stack, split into unequal parts, flip, picks by number."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 18, 3, padding=1)
        self.other = nn.Conv2d(6, 6, 1)
        self.last = nn.Conv2d(6, 9, 1)
        self.head = nn.Linear(9, 4)
        self.pick = nn.Linear(1, 4)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.conv(x).chunk(3, dim=1)
        x = torch.stack([a.flip(1), b], dim=1).sum(1) + self.other(c)
        first, second = torch.stack([x, x * 2], dim=0).unbind(0)
        x = self.last(first + second)
        left, right = x.split([4, 5], dim=1)
        x = torch.cat([right.cos(), left], 1).mean((2, 3))
        return self.head(x) + self.pick(x[:, -2:-1]) + self.pick(x[:, 3][:, None])


class EinsumAttention(nn.Module):
    """Attention by einsum with a class token, positions and a learned bias per head."""

    def __init__(self, heads: int = 4, width: int = 6) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        inner = heads * width
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 17, 16))
        self.bias = nn.Parameter(torch.randn(heads, 17, 17))
        self.norm = nn.LayerNorm(16)
        self.q, self.k, self.v = (nn.Linear(16, inner, bias=False) for _ in range(3))
        self.out = nn.Linear(inner, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        y = self.norm(x)
        q, k, v = (f(y).view(y.shape[0], -1, self.heads, self.width) for f in (self.q, self.k, self.v))
        score = torch.einsum("bihd,bjhd->bhij", q, k) * self.width**-0.5 + self.bias
        y = torch.einsum("bhij,bjhd->bihd", score.softmax(-1), v).flatten(2)
        return self.head((x + self.out(y))[:, 0])


class BatchHeads(nn.Module):
    """Heads folded into the batch, as in older attention code: ``view(B * H, T, D)`` and ``bmm``."""

    def __init__(self, heads: int = 4, width: int = 4) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = (y.reshape(n * self.heads, t, self.width) for y in (q, k, v))
        y = torch.bmm((torch.bmm(q, k.transpose(1, 2)) / math.sqrt(self.width)).softmax(-1), v)
        y = y.view(n, self.heads, t, self.width).transpose(1, 2).reshape(n, t, c)
        return self.head((x + self.out(y)).mean(1))


class RelativeBias(nn.Module):
    """Windows, roll, and a table of relative positions per head."""

    def __init__(self, heads: int = 2, window: int = 2, width: int = 12) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads))
        grid = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        index = grid[:, :, None] - grid[:, None, :] + window - 1
        self.register_buffer("index", index[0] * (2 * window - 1) + index[1])
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        s = self.window
        y = torch.roll(self.norm(x), (-1, -1), (1, 2))
        y = y.view(n, h // s, s, w // s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, s * s, c)
        q, k, v = self.qkv(y).reshape(-1, s * s, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.table[self.index.view(-1)].view(s * s, s * s, -1).permute(2, 0, 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.unsqueeze(0))
        y = self.proj(y.transpose(1, 2).reshape(-1, s * s, c))
        y = y.view(n, h // s, w // s, s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return self.head((x + torch.roll(y, (1, 1), (1, 2))).mean((1, 2)))


class OptionA(nn.Module):
    """A shortcut that subsamples and pads channels with zeros; another by concatenating zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 16, 3, 2, padding=1)
        self.c = nn.Conv2d(16, 24, 3, 2, padding=1)
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x))
        x = F.relu(self.b(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)))
        short = x[:, :, ::2, ::2]
        zeros = torch.zeros(short.shape[0], 8, short.shape[2], short.shape[3], device=x.device)
        return self.head(F.relu(self.c(x) + torch.cat([short, zeros], 1)).mean((2, 3)))


class Transposed(nn.Module):
    """Transposed convolutions, plain, grouped and depthwise, with a norm in groups."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 12, 3, 2, 1)
        self.up = nn.ConvTranspose2d(12, 12, 2, 2)
        self.grouped = nn.ConvTranspose2d(12, 8, 2, 2, groups=4)
        self.depthwise = nn.ConvTranspose2d(8, 8, 2, 2, groups=8)
        self.norm = nn.GroupNorm(4, 8)
        self.instance = nn.InstanceNorm2d(8, affine=True)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.elu(self.grouped(F.relu(self.up(self.a(x)))))
        return self.head(self.instance(self.norm(self.depthwise(x)))).mean((2, 3))


class Gated(nn.Module):
    """Gated linear units of three kinds, over channels and features."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 20, 3, padding=1)
        self.b = nn.Linear(10, 16)
        self.c = nn.Linear(8, 24)
        self.d = nn.Linear(12, 6)
        self.glu = nn.GLU(dim=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.glu(self.a(x)).mean((2, 3))
        x = F.glu(self.b(x))
        gate, value = self.c(x).chunk(2, -1)
        return self.head(self.d(F.silu(gate) * value).exp())


class ManyOutputs(nn.Module):
    """A dict of outputs: one of them gives the features away, another comes from an auxiliary head."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.c = nn.Conv2d(8, 6, 3, padding=1)
        self.main = nn.Conv2d(6, 4, 1)
        self.aux = nn.Sequential(nn.Conv2d(8, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = F.relu(self.a(x))
        y = F.relu(self.b(x))
        return {"out": self.main(self.c(y)), "aux": self.aux(x), "features": y}


class Shuffles(nn.Module):
    """Pixel unshuffle and shuffle, channel shuffle as layer and by hand, unfold and fold."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.PixelUnshuffle(2)
        self.b = nn.Conv2d(16, 24, 1, groups=4)
        self.shuffle = nn.ChannelShuffle(4)
        self.c = nn.Conv2d(24, 16, 3, padding=1, groups=2)
        self.up = nn.PixelShuffle(2)
        self.d = nn.Conv2d(4 * 9, 6 * 4, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shuffle(self.b(self.down(F.relu(self.a(x)))))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = self.up(self.c(x))
        n, c, h, w = x.shape
        x = self.d(F.unfold(x, 3, padding=1).view(n, c * 9, h, w)).flatten(2)
        return self.head(F.fold(x, (h * 2, w * 2), 2, stride=2).mean((2, 3)))


class RawParameters(nn.Module):
    """Products with parameters, a buffer per channel, a functional norm, weights that are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(10, 3, 3, 3) * 0.3)
        self.gain = nn.Parameter(torch.rand(10) + 0.5)
        self.mean = nn.Parameter(torch.randn(10) * 0.1, requires_grad=False)
        self.register_buffer("var", torch.rand(10) + 0.5)
        self.register_buffer("constant", torch.randn(10, 1, 1))
        self.mix = nn.Parameter(torch.randn(10, 14) * 0.3)
        self.low = nn.Parameter(torch.randn(14) * 0.1)
        self.vector = nn.Parameter(torch.randn(14))
        self.out = nn.Parameter(torch.randn(5, 14) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.kernel / self.kernel.square().sum((1, 2, 3), keepdim=True).sqrt()
        x = F.conv2d(x, weight, padding=1)
        x = F.batch_norm(x, self.mean, self.var, self.gain, None, False) * self.constant
        x = torch.clamp(x.mean((2, 3)) @ self.mix, min=self.low)
        return F.linear(x, self.out) + (torch.sigmoid(x) @ self.vector).unsqueeze(-1)


class Norms(nn.Module):
    """Layer norm over several dimensions, RMS norm, a norm over the channels of a product of parameters, LRN."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 4, 4)
        self.layer = nn.LayerNorm((8, 4, 4))
        self.b = nn.Conv2d(8, 10, 1)
        self.rms = nn.RMSNorm(10)
        self.c = nn.Linear(10, 12)
        self.d = nn.Conv1d(12, 9, 3, padding=1)
        self.e = nn.Conv3d(9, 6, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.layer(self.a(x)))
        x = self.rms(x.flatten(2).transpose(1, 2))
        x = F.normalize(torch.sigmoid(self.c(x)), dim=-1).transpose(1, 2)
        x = self.d(x).unflatten(2, (4, 4)).unsqueeze(2)
        return self.head(self.e(x).mean((2, 3, 4)))


class LinearAttention(nn.Module):
    """Products of activations in another order, features that are not 0 at 0, and a sum over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 4, 4)
        self.q, self.k, self.v = nn.Linear(12, 8), nn.Linear(12, 8), nn.Linear(12, 10)
        self.out = nn.Linear(10, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        q, k, v = F.elu(self.q(x)) + 1, F.elu(self.k(x)) + 1, self.v(x)
        y = q @ (k.transpose(1, 2) @ v) / (q * k.sum(1, keepdim=True)).sum(-1, keepdim=True)
        return self.head(F.relu(self.out(y)).mean(1))


class StoredShapes(nn.Module):
    """Shapes kept as python numbers, repeated and expanded constants, a squeeze-excitation by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 12
        self.a = nn.Conv2d(3, 12, 3, padding=1)
        self.squeeze = nn.Linear(12, 4)
        self.excite = nn.Linear(4, 12)
        self.scale = nn.Parameter(torch.rand(12))
        self.bias = nn.Parameter(torch.rand(1))
        self.head = nn.Linear(24, 4)
        self.other = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x) * self.scale.view(self.width, 1, 1) + self.bias.view(1, 1, 1, 1).expand(1, 12, 1, 1)
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3)))))).view(-1, self.width, 1, 1)
        x = (x * gate.expand_as(x)).flatten(2).mean(-1)
        return self.head(x.repeat(1, 2)) + self.other(x.repeat_interleave(2, dim=1))


class AllOrNone(nn.Module):
    """Copies in two orders are added: every channel depends on the next."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 6, 3, padding=1)
        self.b = nn.Linear(12, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).mean((2, 3))
        return self.head(F.relu(self.b(x.repeat(1, 2) + x.repeat_interleave(2, dim=1))))


class FrozenPath(nn.Module):
    """Parameters without gradient and a detached branch are pruned like all others."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)
        for parameter in self.a.parameters():
            parameter.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x))
        return self.head((self.b(x) + x.detach()).mean((2, 3)))


class Attention(nn.Module):
    """torch's own attention, whose scale follows the head width, self and cross, with averaged weights."""

    def __init__(self, *, batch_first: bool = True) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.own = nn.MultiheadAttention(16, 4, batch_first=batch_first)
        self.fast = nn.MultiheadAttention(16, 2, batch_first=batch_first)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2)
        x = x.permute(0, 2, 1) if self.batch_first else x.permute(2, 0, 1)
        x = x + self.own(x, x, x)[0]
        x = x + self.fast(x, x, x, need_weights=False)[0]
        return self.head(x.mean(1 if self.batch_first else 0))


class SingleSlices(nn.Module):
    """Gates that are slices of one index, parts that may vanish, a convolution whose weight is standardised."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 9, 3, padding=1)
        self.kernel = nn.Parameter(torch.randn(6, 6, 3, 3) * 0.2)
        self.gain = nn.Parameter(torch.rand(6) + 0.5)
        self.spread = nn.Conv2d(6, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        gates, x = x[:, 6:], x[:, :6]
        weight = F.batch_norm(self.kernel.reshape(1, 6, -1), None, None, self.gain, training=True).reshape_as(
            self.kernel
        )
        for level in range(3):
            x = F.conv2d(F.relu(x), weight, padding=1) * gates[:, level : level + 1]
        x = self.spread(x)
        low, high = x.split([2, 6], 1)
        return self.head(torch.cat([low.mean((2, 3)), high.amax((2, 3))], 1))


class ChannelsInSpace(nn.Module):
    """Channels that become positions: a convolution, pooling, a shuffle and a resize work along them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.e = (nn.Conv2d(3, 8, 4, 4) for _ in range(5))
        self.over = nn.Conv2d(4, 6, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 6, 1)
        self.free = nn.Conv2d(6, 5, 1)
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x_ = x
        a, b, c, d = (f(x).permute(0, 2, 3, 1) for f in (self.a, self.b, self.c, self.d))  # N, 4, 4, 8
        x = self.over(a) + self.up(b) + F.avg_pool2d(F.pad(c, (1, 1, 1, 1)), 3, 1).mean(1, keepdim=True)
        e = F.max_pool2d(self.e(x_).flatten(2), 3, 1, 1).mean((1, 2))  # three dimensions: along channels, too
        x = x + e[:, None, None, None] + F.interpolate(F.pixel_unshuffle(d, 2).mean(1, keepdim=True), size=(4, 8))
        return self.head(F.relu(self.free(x)).mean((2, 3)))


class UnevenReshape(nn.Module):
    """A reshape that cuts channels at places which do not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 12, 4, 4)
        self.b = nn.Linear(24, 7)
        self.free = nn.Linear(7, 9)
        self.head = nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).flatten(1).view(-1, 8, 24)  # 12 · 16 = 8 · 24
        return self.head(F.relu(self.free(self.b(x))).mean(1))


class Mixed(nn.Module):
    """Softmax, maximum, cumulative sum and sorting over channels; a gather; a bilinear layer; a step in a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.soft = nn.Conv2d(3, 6, 1)
        self.most = nn.Conv2d(3, 6, 1)
        self.running = nn.Conv2d(3, 6, 1)
        self.step = nn.Conv2d(3, 12, 1)
        self.product = nn.Conv2d(3, 2, 1)
        self.left, self.right = nn.Linear(6, 5), nn.Linear(6, 5)
        self.pair = nn.Bilinear(5, 5, 6)
        self.free = nn.Linear(6, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        a = self.soft(x).softmax(1).mean((2, 3))
        b = a * self.most(x).amax(1, keepdim=True).mean((2, 3))
        c = b + self.running(x).cumsum(1).mean((2, 3)) + self.step(x)[:, ::2].mean((2, 3))
        d = c.gather(1, torch.argsort(c, dim=1)) * self.product(x).prod(1).mean((1, 2))[:, None]
        return self.head(F.relu(self.free(self.pair(self.left(d), self.right(c)))))


class TrainingHead(nn.Module):
    """An auxiliary head that runs in training only, and a convolution that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 10, 3, padding=1)
        self.unused = nn.Conv2d(8, 8, 3)
        self.aux = nn.Linear(8, 4)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = F.relu(self.a(x))
        y = self.head(F.relu(self.b(x)).mean((2, 3)))
        return (y, self.aux(x.mean((2, 3)))) if self.training else y


class PatchMerging(nn.Module):
    """Four neighbours side by side in the channels, a norm over all of them, a reduction; twice."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 2, 2)
        self.norms = nn.ModuleList([nn.LayerNorm(4 * width), nn.LayerNorm(8 * width)])
        self.reductions = nn.ModuleList(
            [nn.Linear(4 * width, 2 * width, bias=False), nn.Linear(8 * width, 3 * width, bias=False)]
        )
        self.head = nn.Linear(3 * width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).permute(0, 2, 3, 1)
        for norm, reduction in zip(self.norms, self.reductions, strict=True):
            parts = [x[:, row::2, column::2, :] for column in (0, 1) for row in (0, 1)]
            x = F.gelu(reduction(norm(torch.cat(parts, -1))))
        return self.head(x.mean((1, 2)))


class FixedSlices(nn.Module):
    """Slices with numbers written into the code, of which one reaches into the next layer's channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 24, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.c = nn.Conv2d(20, 8, 1)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.a(x))
        z = self.b(y[:, :8]) + y[:, 8:16]
        z = torch.cat([z, self.c(torch.cat([y[:, 12:24], z], 1))], 1)
        return self.head(F.relu(z).mean((2, 3)))


class OldAttention(nn.Module):
    """torch's attention across other tokens than its own, with a mask that is added, and one with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 3, 16))
        self.cross = nn.MultiheadAttention(16, 4, batch_first=True)
        self.other = nn.MultiheadAttention(16, 2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        query = self.token.expand(x.shape[0], -1, -1)
        mask = torch.linspace(-1, 1, 3 * x.shape[1]).reshape(3, -1)
        y, weights = self.cross(query, x, x, attn_mask=mask)
        y = self.other(y, y, y, need_weights=False)[0] * weights.amax(-1, keepdim=True)
        return self.head((y + query).mean(1))


class ConstantPerExample(nn.Module):
    """A grid that the forward makes and spreads over the examples, read by a layer: ConViT's relative positions."""

    def __init__(self, heads: int = 3) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 4, 4)
        self.positions = nn.Linear(2, heads)
        self.value = nn.Linear(12, heads * 5)
        self.head = nn.Linear(heads * 5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        n, t, _ = x.shape
        index = torch.arange(t, device=x.device, dtype=x.dtype)
        offsets = torch.stack([index[:, None] - index, (index[:, None] - index).abs()], -1)
        scores = self.positions(offsets.unsqueeze(0).expand(n, -1, -1, -1)).permute(0, 3, 1, 2)
        value = self.value(x).view(n, t, 3, 5).transpose(1, 2)
        return self.head(F.relu(scores.softmax(-1) @ value).transpose(1, 2).flatten(2).mean(1))


class HandWrittenNorms(nn.Module):
    """Norms in parts: a layer norm over channels, ConvNeXt V2's response norm, CBAM's attention, a deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 4, 4)
        self.weight, self.bias = nn.Parameter(torch.rand(8, 1, 1)), nn.Parameter(torch.randn(8, 1, 1))
        self.b = nn.Conv2d(8, 10, 1)
        self.gamma = nn.Parameter(torch.randn(1, 10, 1, 1))
        self.c = nn.Conv2d(10, 9, 1)
        self.spatial = nn.Conv2d(2, 1, 3, padding=1)
        self.d = nn.Conv2d(9, 7, 1)
        self.unsure = nn.Conv2d(9, 7, 1)
        self.head = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        mean = x.mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + 1e-6)
        x = F.gelu(self.b(self.weight * x + self.bias))
        response = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
        x = x + self.gamma * x * response / (response.mean(1, keepdim=True) + 1e-6)
        x = self.c(x)
        x = x * torch.sigmoid(self.spatial(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)))
        y = self.d(x)
        y = y / (1 + torch.var(y, dim=1, correction=0, keepdim=True) + torch.std(self.unsure(x), dim=1, keepdim=True))
        return self.head(y.mean((2, 3)))


ADVERSARIES: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (
        *(SharedTwice, TiedWeights, ResidualConcat, Pieces, EinsumAttention, BatchHeads, RelativeBias, OptionA),
        *(Transposed, Gated, ManyOutputs, Shuffles, RawParameters, Norms, LinearAttention, StoredShapes, FrozenPath),
        AllOrNone,
        *(Attention, SingleSlices, ChannelsInSpace, UnevenReshape, Mixed, TrainingHead, PatchMerging, FixedSlices),
        *(OldAttention, ConstantPerExample, HandWrittenNorms),
    )
}

FROZEN: dict[str, dict[str, str]] = {
    "ChannelsInSpace": dict.fromkeys("abcde", "a position in space"),
    "AllOrNone": {"a": "all or none"},
    "UnevenReshape": {"a": "reshaped unevenly"},
    "Mixed": {
        "soft": "mixed along",
        "product": "reduced over this dimension (“prod”",
        "running": "mixed along",
        "step": "every n-th",
        "left": "“Bilinear” is not understood",
    },
    "HandWrittenNorms": {"unsure": "reduced over this dimension (“std”"},
    "ManyOutputs": {"b": "it is an output of the network", "main": "it is an output of the network"},
}
"""Model → layer → words of the reason for which its outputs cannot be pruned."""
