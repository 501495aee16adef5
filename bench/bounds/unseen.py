"""Five tasks of other kinds: written after the rules were settled, run once, never used to choose a constant."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from data import blurred, fashion
from models import mlp
from problem import Batches, Problem, accuracy, sgd
from torch import Tensor, nn
from torch.nn import functional as F


class Patches(nn.Module):
    """An image in 7x7 patches, one block of attention between them, their mean."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, width, 7, 7)
        self.place = nn.Parameter(0.02 * torch.randn(4, width))
        self.block = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 10))

    def forward(self, x: Tensor) -> Tensor:
        h = self.cut(x.unflatten(1, (1, 14, 14))).flatten(2).mT + self.place
        return self.head(self.block(h).mean(1))


class Factors(nn.Module):
    """A table of ratings as the product of two thin ones."""

    def __init__(self, rows: int = 200, columns: int = 150, rank: int = 8) -> None:
        super().__init__()
        self.rows, self.columns = nn.Embedding(rows, rank), nn.Embedding(columns, rank)
        for part in (self.rows, self.columns):
            nn.init.normal_(part.weight, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.rows(x[:, 0]) * self.columns(x[:, 1])).sum(1)


@cache
def ratings() -> tuple[Tensor, Tensor]:
    """Places in a table of rank 4 and what stands there, with noise."""
    generator = torch.Generator().manual_seed(11)
    a, b = torch.randn(200, 4, generator=generator), torch.randn(150, 4, generator=generator)
    x = torch.stack([torch.randint(0, size, (9000,), generator=generator) for size in (200, 150)], 1)
    y = (a[x[:, 0]] * b[x[:, 1]]).sum(1) / 2
    return x, y + 0.2 * torch.randn(9000, generator=generator)


@cache
def views() -> tuple[Tensor, Tensor]:
    """Two noisy views of each image."""
    x = torch.cat([fashion()[0], fashion()[2]])
    generator = torch.Generator().manual_seed(13)
    return x + 0.7 * torch.randn(x.shape, generator=generator), x + 0.7 * torch.randn(x.shape, generator=generator)


class Twins(nn.Module):
    """Both looks through one net, onto the sphere; gives how alike each is to each other one."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(196, 64, 16)

    def forward(self, x: Tensor) -> Tensor:
        a, b = (F.normalize(self.net(part), dim=1) for part in x.unbind(1))
        return 10 * a @ b.T


def contrast(out: Tensor, _: Tensor) -> Tensor:
    """Which look belongs to which."""
    return F.cross_entropy(out[:, :64], torch.arange(len(out)) % 64) if len(out) <= 64 else _in_parts(out)


def _in_parts(out: Tensor) -> Tensor:
    """The same for many at once, 64 against 64, so that the score is about the same task."""
    squares = [out[i : i + 64, i : i + 64] for i in range(0, len(out) // 64 * 64, 64)]
    return torch.stack([F.cross_entropy(square, torch.arange(64)) for square in squares]).mean()


def patches_adamw(seed: int) -> Problem:
    """Attention between the patches of an image, AdamW."""
    x, y, vx, vy = fashion()
    model = Patches()
    made = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    return Problem(model, made, F.cross_entropy, Batches(x, y, 32, seed), (vx, vy), accuracy, True)


def wide_nadam(seed: int) -> Problem:
    """Wide MLP with smoothed labels, NAdam."""
    x, y, vx, vy = fashion()
    model = mlp(196, 256, 10)
    smoothed = partial(F.cross_entropy, label_smoothing=0.1)
    made = torch.optim.NAdam(model.parameters())
    return Problem(model, made, smoothed, Batches(x, y, 64, seed), (vx, vy), accuracy, True)


def factors_adam(seed: int) -> Problem:
    """Matrix factorisation with squared error, Adam."""
    (x, y), model = ratings(), Factors()
    made = torch.optim.Adam(model.parameters())
    train, held_out = Batches(x[:8000], y[:8000], 64, seed), (x[8000:], y[8000:])
    return Problem(model, made, F.mse_loss, train, held_out, F.mse_loss, False)


def denoise_rmsprop(seed: int) -> Problem:
    """Images freed of noise, squared error, RMSprop."""
    (x, y), model = blurred(), mlp(196, 96, 196, act=nn.SiLU)
    made = torch.optim.RMSprop(model.parameters())
    train, held_out = Batches(x[:6000], y[:6000], 32, seed), (x[6000:], y[6000:])
    return Problem(model, made, F.mse_loss, train, held_out, F.mse_loss, False)


def contrast_sgd(seed: int) -> Problem:
    """Which two views show the same image, plain SGD."""
    (a, b), model = views(), Twins()
    x, none = torch.stack([a, b], 1), torch.zeros(len(a))
    made = sgd(model.parameters(), momentum=0.0)
    train, held_out = Batches(x[:6000], none[:6000], 64, seed), (x[6000:], none[6000:])
    return Problem(model, made, contrast, train, held_out, contrast, False)


UNSEEN: dict[str, Callable[[int], Problem]] = {
    f.__name__.replace("_", "-"): f for f in (patches_adamw, wide_nadam, factors_adam, denoise_rmsprop, contrast_sgd)
}
