"""Networks that several tasks use."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(*sizes: int, act: type[nn.Module] = nn.ReLU, norm: type[nn.Module] | None = None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(a, b), *([norm(b)] if norm else []), act()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def convs(width: int, norm: bool) -> nn.Sequential:
    def block(a: int, b: int) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, padding=1), *([nn.BatchNorm2d(b)] if norm else []), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(
        nn.Unflatten(1, (1, 14, 14)),
        *block(1, width),
        *block(width, 2 * width),
        nn.Flatten(),
        nn.Linear(18 * width, 10),
    )


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def resnet(width: int, blocks: int) -> nn.Sequential:
    def conv(a: int, b: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)]

    body = [
        Residual(nn.Sequential(*conv(width, width), nn.ReLU(), *conv(width, width), nn.ReLU())) for _ in range(blocks)
    ]
    return nn.Sequential(
        nn.Unflatten(1, (1, 14, 14)), *conv(1, width, 2), nn.ReLU(), *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, 10),
    )  # fmt: skip


class Transformer(nn.Module):
    """Character model: one or more pre-norm blocks with causal attention."""

    def __init__(self, kinds: int, length: int, width: int = 32, depth: int = 1, heads: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(kinds, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(width),
                    "qkv": nn.Linear(width, 3 * width),
                    "out": nn.Linear(width, width),
                    "norm2": nn.LayerNorm(width),
                    "mlp": mlp(width, 2 * width, width, act=nn.GELU),
                }
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, kinds)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place[: x.shape[1]]
        for block in self.blocks:
            q, k, v = block["qkv"](block["norm1"](h)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            h = h + block["out"](a.transpose(1, 2).flatten(2))
            h = h + block["mlp"](block["norm2"](h))
        return self.head(self.norm(h)).transpose(1, 2)


class Recurrent(nn.Module):
    def __init__(self, kinds: int, width: int = 48) -> None:
        super().__init__()
        self.embed, self.cell, self.head = (
            nn.Embedding(kinds, 16),
            nn.GRU(16, width, batch_first=True),
            nn.Linear(width, kinds),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(self.embed(x))[0]).transpose(1, 2)


class Flow(nn.Module):
    """Four affine coupling layers in two dimensions; gives the log-density."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList(mlp(1, 32, 2, act=nn.Tanh) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        log_det = torch.zeros(len(x))
        a, b = x[:, :1], x[:, 1:]
        for net in self.nets:
            shift, scale = net(a).chunk(2, 1)
            b = (b - shift) * torch.exp(-scale)
            log_det = log_det - scale[:, 0]
            a, b = b, a
        return log_det - 0.5 * (a**2 + b**2)[:, 0] - math.log(2 * math.pi)


class Gaussian(nn.Module):
    """Mean and log-deviation for regression with an unknown noise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(10, 64, 64, 2, act=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
