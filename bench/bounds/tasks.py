"""Small, fast learning tasks of many kinds, for range tests.

Each task is a function of a seed; the seed sets the initial weights and the order of the batches, never the data.
One optimizer step takes 0.2 to 2 ms on one CPU core.
"""

from __future__ import annotations

import importlib
import itertools
import math
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass
class Batches:
    """Endless shuffled batches of tensors; the order depends on the seed alone."""

    x: Tensor
    y: Tensor
    size: int
    seed: int

    def __len__(self) -> int:
        return len(self.x) // self.size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            order = torch.randperm(len(self.x), generator=generator)
            for part in order[: len(self) * self.size].split(self.size):
                yield self.x[part], self.y[part]


@dataclass
class Problem:
    """A model about to be trained. `judge` is the held-out score; `higher` says whether higher is better."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[Tensor, Tensor], Tensor]
    batches: Batches
    held_out: tuple[Tensor, Tensor]
    score: Callable[[Tensor, Tensor], Tensor]
    higher: bool
    clip: float | None = None

    def judge(self) -> float:
        flags = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        with torch.no_grad():
            x, y = self.held_out
            parts = [float(self.score(self.model(a), b)) for a, b in zip(x.split(1000), y.split(1000), strict=True)]
        for module, flag in flags:
            module.training = flag
        return sum(parts) / len(parts)

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.model(x), y)
        loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return loss.detach()


# ---------------------------------------------------------------- data


@cache
def fashion() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fashion-MNIST at 14x14 as in the package: 6,000 and 2,000 images, standardised."""
    packed = np.load(Path(__file__).parents[2] / "src/cyclr/tasks/data/fashion14.npz")

    def pictures(name: str) -> Tensor:
        return torch.tensor((packed[name] / 255 - 0.286) / 0.32, dtype=torch.float32).flatten(1)

    def labels(name: str) -> Tensor:
        return torch.tensor(packed[name].astype(np.int64))

    return (
        pictures("train_images"),
        labels("train_labels"),
        pictures("test_images"),
        labels("test_labels"),
    )


@cache
def text() -> tuple[Tensor, int]:
    """The docstrings of the standard library as character codes."""
    parts = []
    for info in sorted(pkgutil.iter_modules(), key=lambda info: info.name):
        if info.name in {"argparse", "asyncio", "collections", "decimal", "difflib", "doctest", "email", "enum",
                         "fractions", "functools", "heapq", "inspect", "ipaddress", "json", "logging", "optparse",
                         "pickle", "random", "statistics", "string", "subprocess", "tarfile", "textwrap", "typing",
                         "unittest", "zipfile"}:  # fmt: skip
            module = importlib.import_module(info.name)
            parts += [module.__doc__ or ""]
            parts += [getattr(module, name).__doc__ or "" for name in sorted(vars(module)) if name[0] != "_"]
    raw = "\n".join(part for part in parts if isinstance(part, str)).lower()
    letters = sorted({c for c in raw if c.isascii()})
    return torch.tensor([letters.index(c) for c in raw if c.isascii()]), len(letters)


@cache
def windows(length: int) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    codes, kinds = text()
    pieces = codes[: len(codes) // (length + 1) * (length + 1)].view(-1, length + 1)
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(0))
    pieces = pieces[order]
    test, train = pieces[:500], pieces[500:]
    return train[:, :-1], train[:, 1:], test[:, :-1], test[:, 1:], kinds


@cache
def friedman(noise: float, count: int = 4000) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Friedman's first regression problem with ten inputs, scaled to unit variance."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, 10, generator=generator)
    y = 10 * torch.sin(math.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    y = (y - y.mean()) / y.std() + noise * torch.randn(count, generator=generator)
    x, y = 2 * x - 1, y[:, None]
    return x[:-1000], y[:-1000], x[-1000:], y[-1000:]


@cache
def ill_conditioned() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Linear regression whose inputs differ in scale by 30."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3000, 20, generator=generator) * torch.logspace(-1.5, 0, 20)
    y = (x / torch.logspace(-1.5, 0, 20).sqrt()).sum(1, keepdim=True)
    y = y / y.std() + 0.1 * torch.randn(3000, 1, generator=generator)
    return x[:-500], y[:-500], x[-500:], y[-500:]


@cache
def moons() -> tuple[Tensor, Tensor]:
    """Points on two interleaved half circles, for density estimation."""
    generator = torch.Generator().manual_seed(3)
    angle = math.pi * torch.rand(5000, generator=generator)
    side = torch.randint(0, 2, (5000,), generator=generator) * 2.0 - 1
    x = torch.stack([side * torch.cos(angle) + 0.5 * (1 - side) - 0.5, side * (torch.sin(angle) - 0.25)], 1)
    return x + 0.05 * torch.randn(5000, 2, generator=generator), side


# ---------------------------------------------------------------- models


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


# ---------------------------------------------------------------- losses and scores


def accuracy(out: Tensor, y: Tensor) -> Tensor:
    return (out.argmax(1) == y).float().mean()


def mse(out: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(out, y)


def likelihood(out: Tensor, _: Tensor) -> Tensor:
    return -out.mean()


def gaussian_likelihood(out: Tensor, y: Tensor) -> Tensor:
    return (out[:, 1] + 0.5 * ((y[:, 0] - out[:, 0]) * torch.exp(-out[:, 1])) ** 2).mean()


# ---------------------------------------------------------------- tasks

Optimizer = Callable[..., torch.optim.Optimizer]


def sgd(parameters, momentum: float = 0.9, **kwargs) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=momentum, **kwargs)


def pictures(
    model: nn.Module, seed: int, optimizer: Optimizer, size: int = 50, noise: float = 0.0, **kwargs
) -> Problem:
    x, y, vx, vy = fashion()
    if noise:
        generator = torch.Generator().manual_seed(4)
        wrong = torch.rand(len(y), generator=generator) < noise
        y = torch.where(wrong, torch.randint(0, 10, y.shape, generator=generator), y)
    made = optimizer(model.parameters(), **kwargs)
    return Problem(model, made, F.cross_entropy, Batches(x, y, size, seed), (vx, vy), accuracy, True)


def regression(data, model: nn.Module, seed: int, optimizer, size: int = 32, loss=mse) -> Problem:
    x, y, vx, vy = data
    return Problem(model, optimizer, loss, Batches(x, y, size, seed), (vx, vy), loss, False)


def characters(
    model: nn.Module, seed: int, optimizer, length: int, size: int = 16, clip: float | None = None
) -> Problem:
    x, y, vx, vy, _ = windows(length)
    return Problem(model, optimizer, F.cross_entropy, Batches(x, y, size, seed), (vx, vy), F.cross_entropy, False, clip)


def linear_sgd(seed: int) -> Problem:
    """Softmax regression, plain SGD."""
    return pictures(nn.Linear(196, 10), seed, sgd, momentum=0.0)


def mlp_sgd(seed: int) -> Problem:
    """MLP, plain SGD."""
    return pictures(mlp(196, 64, 64, 10), seed, sgd, momentum=0.0)


def mlp_momentum(seed: int) -> Problem:
    """MLP, SGD with momentum."""
    return pictures(mlp(196, 64, 10), seed, sgd)


def mlp_adam(seed: int) -> Problem:
    """Deeper MLP, Adam."""
    return pictures(mlp(196, 96, 96, 96, 10), seed, torch.optim.Adam)


def mlp_rmsprop(seed: int) -> Problem:
    """MLP with tanh, RMSprop."""
    return pictures(mlp(196, 64, 64, 10, act=nn.Tanh), seed, torch.optim.RMSprop)


def mlp_adagrad(seed: int) -> Problem:
    """MLP with LayerNorm, Adagrad."""
    return pictures(mlp(196, 64, 64, 10, norm=nn.LayerNorm), seed, torch.optim.Adagrad)


def deep_sigmoid(seed: int) -> Problem:
    """Sigmoid MLP with BatchNorm, SGD with momentum (the paper's hard case, in small)."""
    return pictures(mlp(196, 64, 64, 64, 10, act=nn.Sigmoid, norm=nn.BatchNorm1d), seed, sgd)


def noisy_batches(seed: int) -> Problem:
    """Batches of four with one label in five wrong, SGD with momentum."""
    return pictures(mlp(196, 64, 10), seed, sgd, size=4, noise=0.2)


def noisy_batches_adam(seed: int) -> Problem:
    """Batches of two, Adam."""
    return pictures(mlp(196, 48, 10), seed, torch.optim.Adam, size=2)


def cnn_momentum(seed: int) -> Problem:
    """CNN without normalisation, SGD with momentum."""
    return pictures(convs(8, norm=False), seed, sgd, size=32)


def cnn_norm_nesterov(seed: int) -> Problem:
    """CNN with BatchNorm, Nesterov momentum and weight decay."""
    return pictures(convs(8, norm=True), seed, sgd, size=32, nesterov=True, weight_decay=5e-4)


def cnn_norm_adam(seed: int) -> Problem:
    """CNN with BatchNorm, Adam."""
    return pictures(convs(8, norm=True), seed, torch.optim.Adam, size=32)


def resnet_momentum(seed: int) -> Problem:
    """Residual net with BatchNorm, SGD with momentum."""
    return pictures(resnet(12, 2), seed, sgd, size=32, weight_decay=1e-4)


def resnet_adamw(seed: int) -> Problem:
    """Residual net with BatchNorm, AdamW."""
    return pictures(resnet(12, 2), seed, torch.optim.AdamW, size=32, weight_decay=0.05)


def transformer_adamw(seed: int) -> Problem:
    """Character transformer, AdamW."""
    model = Transformer(windows(32)[-1], 32)
    return characters(model, seed, torch.optim.AdamW(model.parameters(), weight_decay=0.1), 32)


def transformer_momentum(seed: int) -> Problem:
    """Character transformer, SGD with momentum and clipped gradients."""
    model = Transformer(windows(32)[-1], 32)
    return characters(model, seed, sgd(model.parameters()), 32, clip=1.0)


def recurrent_adam(seed: int) -> Problem:
    """Character GRU, Adam with clipped gradients."""
    model = Recurrent(windows(24)[-1])
    return characters(model, seed, torch.optim.Adam(model.parameters()), 24, clip=1.0)


def regression_adam(seed: int) -> Problem:
    """Smooth regression with squared error, Adam."""
    model = mlp(10, 64, 64, 1, act=nn.Tanh)
    return regression(friedman(0.1), model, seed, torch.optim.Adam(model.parameters()))


def regression_momentum(seed: int) -> Problem:
    """Noisy regression with squared error, SGD with momentum."""
    model = mlp(10, 64, 64, 1)
    return regression(friedman(0.5), model, seed, sgd(model.parameters()))


def ill_conditioned_momentum(seed: int) -> Problem:
    """Ill-conditioned linear regression, SGD with momentum."""
    model = nn.Linear(20, 1)
    return regression(ill_conditioned(), model, seed, sgd(model.parameters()))


def autoencoder_adam(seed: int) -> Problem:
    """Autoencoder with squared error, Adam."""
    x, _, vx, _ = fashion()
    model = mlp(196, 64, 12, 64, 196)
    return regression((x, x, vx, vx), model, seed, torch.optim.Adam(model.parameters()))


def flow_adam(seed: int) -> Problem:
    """Density of two moons by a normalising flow, Adam."""
    x, side = moons()
    model = Flow()
    data = (x[:4000], side[:4000], x[4000:], side[4000:])
    return regression(data, model, seed, torch.optim.Adam(model.parameters()), size=64, loss=likelihood)


def below_zero_adamw(seed: int) -> Problem:
    """Regression by Gaussian likelihood: the loss goes below zero; AdamW."""
    model = Gaussian()
    optimizer = torch.optim.AdamW(model.parameters())
    return regression(friedman(0.02), model, seed, optimizer, loss=gaussian_likelihood)


@cache
def _trained_mlp() -> dict[str, Tensor]:
    """An MLP trained on the first five classes."""
    x, y, _, _ = fashion()
    torch.manual_seed(100)
    model = mlp(196, 64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _, (a, b) in zip(range(1500), Batches(x[y < 5], y[y < 5], 50, 0), strict=False):
        optimizer.zero_grad()
        F.cross_entropy(model(a), b).backward()
        optimizer.step()
    return {name: value.clone() for name, value in model.state_dict().items()}


def fine_tune_momentum(seed: int) -> Problem:
    """MLP trained on five classes, now fine-tuned on all ten with few images; SGD with momentum."""
    model = mlp(196, 64, 64, 10)
    model.load_state_dict(_trained_mlp())
    x, y, vx, vy = fashion()
    made = sgd(model.parameters())
    return Problem(model, made, F.cross_entropy, Batches(x[:1000], y[:1000], 20, seed), (vx, vy), accuracy, True)


@cache
def _trained_transformer() -> dict[str, Tensor]:
    """A character transformer trained on text in reverse."""
    x, _, _, _, kinds = windows(32)
    torch.manual_seed(100)
    model = Transformer(kinds, 32)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    back = x.flip(1)
    for _, (a, b) in zip(range(2000), Batches(back[:, :-1], back[:, 1:], 32, 0), strict=False):
        optimizer.zero_grad()
        F.cross_entropy(model(a), b).backward()
        optimizer.step()
    return {name: value.clone() for name, value in model.state_dict().items()}


def fine_tune_adamw(seed: int) -> Problem:
    """Transformer trained on reversed text, now fine-tuned on text; AdamW."""
    model = Transformer(windows(32)[-1], 32)
    model.load_state_dict(_trained_transformer())
    return characters(model, seed, torch.optim.AdamW(model.parameters()), 32)


TASKS: dict[str, Callable[[int], Problem]] = {
    f.__name__.replace("_", "-"): f
    for f in (
        linear_sgd, mlp_sgd, mlp_momentum, mlp_adam, mlp_rmsprop, mlp_adagrad, deep_sigmoid, noisy_batches,
        noisy_batches_adam, cnn_momentum, cnn_norm_nesterov, cnn_norm_adam, resnet_momentum, resnet_adamw,
        transformer_adamw, transformer_momentum, recurrent_adam, regression_adam, regression_momentum,
        ill_conditioned_momentum, autoencoder_adam, flow_adam, below_zero_adamw, fine_tune_momentum, fine_tune_adamw,
    )
}  # fmt: skip


def make(name: str, seed: int) -> Problem:
    """The task of that name; the seed sets its weights and its data order."""
    from fresh import FRESH  # made of what stands above
    from unseen import UNSEEN

    torch.manual_seed(seed)
    return (TASKS | UNSEEN | FRESH)[name](seed)
