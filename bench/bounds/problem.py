"""What a task is: a model about to be trained, its batches, and how it is judged. It knows no task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Batches:
    """Shuffled batches of tensors, again and again; the order depends on the seed alone."""

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
    """A model about to be trained. `judge` returns the held-out score; `higher` says whether more is better."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[Tensor, Tensor], Tensor]
    batches: Batches
    held_out: tuple[Tensor, Tensor]
    score: Callable[[Tensor, Tensor], Tensor]
    higher: bool
    clip: float | None = None

    def __post_init__(self) -> None:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.ratios = [rate / max(rates) for rate in rates]

    def set_rate(self, rate: float) -> None:
        """The rate of the next steps; groups keep the ratios of their rates, the largest is `rate`."""
        for group, ratio in zip(self.optimizer.param_groups, self.ratios, strict=True):
            group["lr"] = rate * ratio

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


def sgd(parameters, momentum: float = 0.9, **kwargs) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=momentum, **kwargs)


def accuracy(out: Tensor, y: Tensor) -> Tensor:
    return (out.argmax(1) == y).float().mean()


def mse(out: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(out, y)


def likelihood(out: Tensor, _: Tensor) -> Tensor:
    return -out.mean()


def gaussian_likelihood(out: Tensor, y: Tensor) -> Tensor:
    return (out[:, 1] + 0.5 * ((y[:, 0] - out[:, 0]) * torch.exp(-out[:, 1])) ** 2).mean()
