"""Five further tasks, written after the changes that followed from unseen.py were final, and run once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from data import blurred, fashion, friedman, windows
from models import mlp
from problem import Batches, Problem, accuracy, sgd
from torch import Tensor, nn
from torch.nn import functional as F


class Bag(nn.Module):
    """Predicts the next letter from the mean embedding of the letters before it."""

    def __init__(self, kinds: int, width: int = 64) -> None:
        super().__init__()
        self.table = nn.Embedding(kinds, width)
        self.head = mlp(2 * width, 64, kinds)

    def forward(self, x: Tensor) -> Tensor:
        h = self.table(x)
        return self.head(torch.cat([h.mean(1), h[:, -1]], 1))


class Guess(nn.Module):
    """A variational autoencoder; returns the images and the means and log variances of the code."""

    def __init__(self, code: int = 12) -> None:
        super().__init__()
        self.inward, self.outward = mlp(196, 96, 2 * code), mlp(code, 96, 196)

    def forward(self, x: Tensor) -> Tensor:
        mean, log = self.inward(x).chunk(2, 1)
        code = mean + torch.exp(log / 2) * torch.randn(mean.shape) if self.training else mean
        return torch.cat([self.outward(code), mean, log], 1)


def evidence(out: Tensor, x: Tensor) -> Tensor:
    """Squared error plus the divergence of the code from a normal distribution."""
    image, mean, log = out[:, :196], *out[:, 196:].chunk(2, 1)
    return F.mse_loss(image, x) + 0.5 * (mean**2 + log.exp() - log - 1).sum(1).mean() / 196


def group_norm_momentum(seed: int) -> Problem:
    """Convolutions with group norm, SGD with momentum and weight decay, clipped."""
    x, y, vx, vy = fashion()
    body = [nn.Unflatten(1, (1, 14, 14)), nn.Conv2d(1, 12, 3, 2, 1), nn.GroupNorm(3, 12), nn.SiLU()]
    model = nn.Sequential(*body, nn.Conv2d(12, 24, 3, 2, 1), nn.GroupNorm(3, 24), nn.SiLU(), nn.Flatten())
    model.append(nn.Linear(24 * 16, 10))
    made = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    return Problem(model, made, F.cross_entropy, Batches(x, y, 32, seed), (vx, vy), accuracy, True, clip=1.0)


def margin_sgd(seed: int) -> Problem:
    """MLP with a margin loss, plain SGD."""
    x, y, vx, vy = fashion()
    model = mlp(196, 64, 10)
    train = Batches(x, y, 16, seed)
    return Problem(model, sgd(model.parameters(), momentum=0.0), F.multi_margin_loss, train, (vx, vy), accuracy, True)


def letters_radam(seed: int) -> Problem:
    """Next-letter prediction from a bag of letters, RAdam."""
    x, _, vx, _, kinds = windows(16)
    model = Bag(kinds)
    made, train = torch.optim.RAdam(model.parameters()), Batches(x[:, :-1], x[:, -1], 64, seed)
    return Problem(model, made, F.cross_entropy, train, (vx[:, :-1], vx[:, -1]), F.cross_entropy, False)


def guess_adam(seed: int) -> Problem:
    """A variational autoencoder, Adam."""
    (_, x), model = blurred(), Guess()
    made = torch.optim.Adam(model.parameters())
    return Problem(model, made, evidence, Batches(x[:6000], x[:6000], 64, seed), (x[6000:], x[6000:]), evidence, False)


def counts_adamax(seed: int) -> Problem:
    """Poisson regression with a network, Adamax."""
    x, y, vx, vy = friedman(0.3)
    model = mlp(10, 48, 1)
    made, train = torch.optim.Adamax(model.parameters()), Batches(x, y.exp().round(), 32, seed)
    return Problem(model, made, F.poisson_nll_loss, train, (vx, vy.exp().round()), F.poisson_nll_loss, False)


FRESH: dict[str, Callable[[int], Problem]] = {
    f.__name__.replace("_", "-"): f for f in (group_norm_momentum, margin_sgd, letters_radam, guess_adam, counts_adamax)
}
