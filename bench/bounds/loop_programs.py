"""Seven training loops as people write them, for loops.py: what a user has before there is a learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from data import novel
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from cyclr.torch import Scheduler


@dataclass
class Loop:
    """What a user has: `judge` gives the loss and the share of wrong answers on held-out data."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loader: Any
    loss: Callable[[Tensor, Tensor], Tensor]
    judge: Callable[[], tuple[float, float]]
    clip: float | None = None

    def trained(self, scheduler: Scheduler, steps: int) -> tuple[float, float]:
        """The judgement after a training."""
        self.model.train()
        done = 0
        while done < steps:
            for inputs, targets in self.loader:
                self.optimizer.zero_grad()
                self.loss(self.model(inputs), targets).backward()
                if self.clip is not None:
                    nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
                self.optimizer.step()
                scheduler.step()
                done += 1
                if done == steps:
                    break
        return self.judge()


def shuffled(
    data: Dataset[Any], batch: int, seed: int, collate: Callable[[list[Any]], Any] | None = None
) -> DataLoader[Any]:
    order = torch.Generator().manual_seed(seed)
    return DataLoader(data, batch, shuffle=True, drop_last=True, generator=order, collate_fn=collate)


@torch.no_grad()
def mean_loss(model: nn.Module, data: Any, loss: Callable[[Tensor, Tensor], Tensor]) -> tuple[float, float]:
    model.eval()
    sums = [(float(loss(model(x), y)) * len(x), len(x)) for x, y in DataLoader(data, 1000)]
    return sum(one for one, _ in sums) / sum(count for _, count in sums), math.nan


# ---------------------------------------------------------------- text


@cache
def letters() -> tuple[Tensor, int]:
    text = novel()[200_000:420_000]
    numbers = {letter: place for place, letter in enumerate(sorted(set(text)))}
    return torch.tensor([numbers[letter] for letter in text]), len(numbers)


def windows(length: int) -> tuple[TensorDataset, TensorDataset]:
    """Training and held-out windows; targets are the next letters."""
    ids, _ = letters()

    def part(first: int, last: int) -> TensorDataset:
        starts = range(first, last - 2 * length, length)
        rows = torch.stack([ids[start : start + length + 1] for start in starts])
        return TensorDataset(rows[:, :-1], rows[:, 1:])

    return part(0, 180_000), part(180_000, 219_000)


def next_letter(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


class Letters(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        kinds = letters()[1]
        self.embedding, self.recurrent = nn.Embedding(kinds, 64), kind(64, 128, batch_first=True)
        self.head = nn.Linear(128, kinds)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(self.embedding(x))[0])


def recurrent(kind: type[nn.RNNBase], seed: int) -> Loop:
    """Letters by a recurrent network of 119,000 (LSTM) or 94,000 weights, Adam, gradients clipped to 1."""
    train, held = windows(48)
    model = Letters(kind)
    judge = partial(mean_loss, model, held, next_letter)
    return Loop(model, torch.optim.Adam(model.parameters()), shuffled(train, 32, seed), next_letter, judge, 1.0)


class GPT(nn.Module):
    def __init__(self, width: int = 96, layers: int = 3, length: int = 64) -> None:
        super().__init__()
        kinds = letters()[1]
        self.embedding, self.places = nn.Embedding(kinds, width), nn.Parameter(torch.zeros(length, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, kinds, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embedding(x) + self.places, mask=self.mask, is_causal=True)))


def gpt(seed: int) -> Loop:
    """Letters by a small GPT-2 from scratch: its initial weights, AdamW, gradients clipped to 1."""
    train, held = windows(64)
    model = GPT()
    made = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1)
    return Loop(model, made, shuffled(train, 16, seed), next_letter, partial(mean_loss, model, held, next_letter), 1.0)


# ---------------------------------------------------------------- others


class Adding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.GRU(2, 64, batch_first=True), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0][:, -1]).squeeze(1)


def adding(seed: int) -> Loop:
    """The sum of the two marked numbers in a sequence of thirty, GRU, Adam, gradients clipped to 1."""
    source = torch.Generator().manual_seed(9)
    x, rows = torch.rand(4000, 30, 2, generator=source), torch.arange(4000)
    x[:, :, 1] = 0
    first = torch.randint(0, 15, (4000,), generator=source)
    second = torch.randint(15, 30, (4000,), generator=source)
    x[rows, first, 1] = x[rows, second, 1] = 1
    y = x[rows, first, 0] + x[rows, second, 0]
    train, held = TensorDataset(x[:3000], y[:3000]), TensorDataset(x[3000:], y[3000:])
    model = Adding()
    judge = partial(mean_loss, model, held, F.mse_loss)
    return Loop(model, torch.optim.Adam(model.parameters()), shuffled(train, 32, seed), F.mse_loss, judge, 1.0)


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        parts = [nn.Linear(34, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU()]
        self.net = nn.Sequential(*parts, nn.Linear(128, 2))

    def forward(self, x: Tensor) -> Tensor:
        at = x[:, 2:] * torch.exp(torch.linspace(0, 4, 16))
        return self.net(torch.cat([x[:, :2], torch.sin(at), torch.cos(at)], 1))


def noised(points: Tensor, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points with noise and the time that says how much, and the noise."""
    time = torch.rand(len(points), 1, generator=source)
    noise = torch.randn(len(points), 2, generator=source)
    mixed = torch.cos(time * math.pi / 2) * points + torch.sin(time * math.pi / 2) * noise
    return torch.cat([mixed, time], 1), noise


def diffusion(seed: int) -> Loop:
    """The noise in points of a spiral, a network that is told the time, AdamW, new noise in each batch."""
    source = torch.Generator().manual_seed(3)

    def spiral() -> Tensor:
        at = 1.5 * math.pi * (1 + 2 * torch.rand(8000, generator=source))
        points = torch.stack([at * torch.cos(at), at * torch.sin(at)], 1) / 8
        return points + 0.03 * torch.randn(8000, 2, generator=source)

    points = spiral()
    held = TensorDataset(*noised(spiral(), source))
    model = Denoiser()

    def collate(batch: list[Any]) -> tuple[Tensor, Tensor]:
        return noised(torch.stack([one for (one,) in batch]), torch.default_generator)

    loader = shuffled(TensorDataset(points), 128, seed, collate)
    judge = partial(mean_loss, model, held, F.mse_loss)
    return Loop(model, torch.optim.AdamW(model.parameters()), loader, F.mse_loss, judge)


def graph(seed: int) -> Loop:
    """The kinds of 600 nodes of a graph, all in one batch, two graph convolutions with dropout, Adam."""
    source = torch.Generator().manual_seed(5)
    y = torch.randint(0, 6, (600,), generator=source)
    share = torch.where(y[:, None] == y[None], 0.03, 0.004)
    edges = (torch.rand(600, 600, generator=source) < share).float().triu(1)
    edges = edges + edges.T + torch.eye(600)
    scale = edges.sum(1).rsqrt()
    edges = scale[:, None] * edges * scale
    hints = 0.7 * F.one_hot(y, 6).float() + torch.randn(600, 6, generator=source)
    x = torch.cat([hints, torch.randn(600, 60, generator=source)], 1)
    known = torch.randperm(600, generator=source)[:120]
    rest = torch.ones(600, dtype=torch.bool)
    rest[known] = False

    class Convolutions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(66, 32), nn.Linear(32, 6)

        def forward(self, x: Tensor) -> Tensor:
            hidden = F.relu(self.first(edges @ F.dropout(x, 0.5, self.training)))
            return self.second(edges @ F.dropout(hidden, 0.5, self.training))

    model = Convolutions()

    @torch.no_grad()
    def judge() -> tuple[float, float]:
        outputs = model.eval()(x)[rest]
        return float(F.cross_entropy(outputs, y[rest])), float((outputs.argmax(1) != y[rest]).float().mean())

    made = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    return Loop(model, made, [(x, y)], lambda out, target: F.cross_entropy(out[known], target[known]), judge)


def separable(seed: int) -> Loop:
    """Two classes with a gap between them, a hidden layer, Adam."""
    source = torch.Generator().manual_seed(1)
    x, normal = torch.randn(2000, 20, generator=source), torch.randn(20, generator=source)
    side = x @ normal
    y = (side > 0).float()
    x = x + 0.5 * torch.sign(side)[:, None] * normal / normal.norm()
    train, held = TensorDataset(x[:1000], y[:1000]), TensorDataset(x[1000:], y[1000:])
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0))
    loss = F.binary_cross_entropy_with_logits
    made = torch.optim.Adam(model.parameters())
    return Loop(model, made, shuffled(train, 50, seed), loss, partial(mean_loss, model, held, loss))


#: How to make it, its steps, and the rate that it is usually given.
LOOPS: dict[str, tuple[Callable[[int], Loop], int, float]] = {
    "letters, LSTM": (partial(recurrent, nn.LSTM), 250, 1e-3),
    "letters, GRU": (partial(recurrent, nn.GRU), 250, 1e-3),
    "letters, GPT-2": (gpt, 300, 3e-4),
    "adding, GRU": (adding, 400, 1e-3),
    "diffusion": (diffusion, 1200, 1e-3),
    "graph": (graph, 200, 1e-2),
    "separable": (separable, 300, 1e-3),
}
