"""Nine tasks of the kinds that people write programs for: small, with the optimizers and settings of their kind.

Recurrent networks with clipped gradients, a decoder, a diffusion model, a full-batch graph network, a mixture density,
data that are solved to a loss of zero. One optimizer step takes 0.3 to 3 ms on one CPU core.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from data import communities, fashion, inverse_sine, islands, letters, marked, noised, words
from models import Transformer, mlp
from problem import Batches, Problem, accuracy, sgd
from torch import Tensor, nn
from torch.nn import functional as F

WORDS = 600


def mixture_likelihood(out: Tensor, y: Tensor) -> Tensor:
    """Negative log-likelihood of a mixture of normal distributions."""
    weight, mean, log = out.chunk(3, 1)
    each = weight.log_softmax(1) - log - 0.5 * ((y - mean) * torch.exp(-log)) ** 2 - 0.5 * math.log(2 * math.pi)
    return -each.logsumexp(1).mean()


def naive_cross_entropy(p: Tensor, y: Tensor) -> Tensor:
    """Logarithms of probabilities as many write them: a probability of exactly 0 or 1 makes it nan."""
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


def binary_cross_entropy(p: Tensor, y: Tensor) -> Tensor:
    """The same with probabilities that are kept away from 0 and 1, as Keras does."""
    return naive_cross_entropy(p.clamp(1e-7, 1 - 1e-7), y)


def right(p: Tensor, y: Tensor) -> Tensor:
    return ((p > 0.5) == (y > 0.5)).float().mean()


class Last(nn.Module):
    """A recurrent network whose last state says yes or no, as a probability."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.cell, self.head = nn.GRU(2, width, batch_first=True), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.head(self.cell(x)[0][:, -1]))


class Words(nn.Module):
    """The word-level LSTM of the PyTorch examples, small."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.embed, self.drop = nn.Embedding(WORDS, width), nn.Dropout(0.2)
        self.cell, self.head = nn.LSTM(width, width, batch_first=True), nn.Linear(width, WORDS)
        for weight in (self.embed.weight, self.head.weight):
            nn.init.uniform_(weight, -0.1, 0.1)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.cell(self.drop(self.embed(x)))[0])).transpose(1, 2)


class Decoder(Transformer):
    """The same network with the initial weights of GPT-2."""

    def __init__(self, kinds: int, length: int, width: int = 48, depth: int = 2) -> None:
        super().__init__(kinds, length, width, depth)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for block in self.blocks:
            for name in ("out", "mlp"):
                last = block[name] if name == "out" else block[name][-1]
                nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * depth))


class Noise(nn.Module):
    """Says which noise was added to a point, given how strong it was."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(10, 64, 64, 64, 2, act=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        angles = math.pi * x[:, 2:] * torch.tensor([0.5, 1, 2, 4])
        return self.net(torch.cat([x[:, :2], angles.sin(), angles.cos()], 1))


class Graph(nn.Module):
    """Two graph convolutions (Kipf & Welling 2017); gives what it says of the nodes that are asked for."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        near, known, _ = communities()
        self.register_buffer("near", near)
        self.register_buffer("known", known)
        self.one, self.two, self.drop = nn.Linear(40, width), nn.Linear(width, 5), nn.Dropout(0.5)

    def forward(self, nodes: Tensor) -> Tensor:
        h = self.drop(torch.relu(self.near @ self.one(self.drop(self.known))))
        return (self.near @ self.two(h))[nodes]


def density_adam(seed: int) -> Problem:
    """Mixture density network, Adam."""
    x, y, vx, vy = inverse_sine()
    model = mlp(1, 32, 32, 15, act=nn.Tanh)
    made, train = torch.optim.Adam(model.parameters()), Batches(x, y, 64, seed)
    return Problem(model, made, mixture_likelihood, train, (vx, vy), mixture_likelihood, False)


def autoencoder_adamw(seed: int) -> Problem:
    """Deep autoencoder with squared error, AdamW."""
    x, _, vx, _ = fashion()
    model = mlp(196, 96, 48, 8, 48, 96, 196, act=nn.GELU)
    made = torch.optim.AdamW(model.parameters())
    return Problem(model, made, F.mse_loss, Batches(x, x, 50, seed), (vx, vx), F.mse_loss, False)


def marked_gru_adam(seed: int) -> Problem:
    """GRU that says yes or no of a sequence, Adam with clipped gradients; separable."""
    x, y, vx, vy = marked()
    model = Last()
    made, train = torch.optim.Adam(model.parameters()), Batches(x, y, 32, seed)
    return Problem(model, made, binary_cross_entropy, train, (vx, vy), right, True, clip=1.0)


def naive_gru_adam(seed: int) -> Problem:
    """The same with a loss that becomes nan once the network is quite sure of a single answer."""
    problem = marked_gru_adam(seed)
    problem.loss = naive_cross_entropy
    return problem


def words_lstm_sgd(seed: int) -> Problem:
    """Word-level LSTM, plain SGD with gradients clipped to 0.25."""
    x, y, vx, vy = words(12, WORDS)
    model = Words()
    made, train = sgd(model.parameters(), momentum=0.0), Batches(x, y, 20, seed)
    return Problem(model, made, F.cross_entropy, train, (vx, vy), F.cross_entropy, False, clip=0.25)


def gpt_adamw(seed: int) -> Problem:
    """Small decoder on letters with the initial weights and the AdamW of GPT-2, clipped."""
    x, y, vx, vy, kinds = letters(32)
    model = Decoder(kinds, 32)
    made = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    return Problem(model, made, F.cross_entropy, Batches(x, y, 8, seed), (vx, vy), F.cross_entropy, False, clip=1.0)


def diffusion_adam(seed: int) -> Problem:
    """Denoising diffusion of a spiral in two dimensions, Adam."""
    x, y, vx, vy = noised()
    model = Noise()
    made, train = torch.optim.Adam(model.parameters()), Batches(x, y, 128, seed)
    return Problem(model, made, F.mse_loss, train, (vx, vy), F.mse_loss, False)


def islands_momentum(seed: int) -> Problem:
    """Classes that are separable to a loss of zero, MLP, SGD with momentum."""
    x, y, vx, vy = islands()
    model = mlp(12, 64, 64, 5)
    return Problem(model, sgd(model.parameters()), F.cross_entropy, Batches(x, y, 32, seed), (vx, vy), accuracy, True)


def graph_adam(seed: int) -> Problem:
    """Full-batch graph convolutions with dropout, Adam with weight decay."""
    y, order = communities()[2], torch.randperm(400, generator=torch.Generator().manual_seed(26))
    known, asked = order[:100], order[100:]
    model = Graph()
    made = torch.optim.Adam(model.parameters(), weight_decay=5e-4)
    train = Batches(known, y[known], len(known), seed)
    return Problem(model, made, F.cross_entropy, train, (asked, y[asked]), accuracy, True)


PROGRAMS: dict[str, Callable[[int], Problem]] = {
    f.__name__.replace("_", "-"): f
    for f in (
        density_adam, autoencoder_adamw, marked_gru_adam, naive_gru_adam, words_lstm_sgd, gpt_adamw, diffusion_adam,
        islands_momentum, graph_adam,
    )
}  # fmt: skip
