"""Small, fast learning tasks of many kinds: what a range test has to cope with.

Each task is a function of a seed; the seed sets the initial weights and the order of the batches, never the data.
One optimizer step takes 0.2 to 2 ms on one CPU core.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from data import fashion, friedman, ill_conditioned, moons, windows
from models import Flow, Gaussian, Recurrent, Transformer, convs, mlp, resnet
from problem import Batches, Problem, accuracy, gaussian_likelihood, likelihood, mse, sgd
from torch import Tensor, nn
from torch.nn import functional as F

Optimizer = Callable[..., torch.optim.Optimizer]


def images(model: nn.Module, seed: int, optimizer: Optimizer, size: int = 50, noise: float = 0.0, **kwargs) -> Problem:
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
    return images(nn.Linear(196, 10), seed, sgd, momentum=0.0)


def mlp_sgd(seed: int) -> Problem:
    """MLP, plain SGD."""
    return images(mlp(196, 64, 64, 10), seed, sgd, momentum=0.0)


def mlp_momentum(seed: int) -> Problem:
    """MLP, SGD with momentum."""
    return images(mlp(196, 64, 10), seed, sgd)


def mlp_adam(seed: int) -> Problem:
    """Deeper MLP, Adam."""
    return images(mlp(196, 96, 96, 96, 10), seed, torch.optim.Adam)


def mlp_rmsprop(seed: int) -> Problem:
    """MLP with tanh, RMSprop."""
    return images(mlp(196, 64, 64, 10, act=nn.Tanh), seed, torch.optim.RMSprop)


def mlp_adagrad(seed: int) -> Problem:
    """MLP with LayerNorm, Adagrad."""
    return images(mlp(196, 64, 64, 10, norm=nn.LayerNorm), seed, torch.optim.Adagrad)


def deep_sigmoid(seed: int) -> Problem:
    """Sigmoid MLP with BatchNorm, SGD with momentum (the paper's hard case, in small)."""
    return images(mlp(196, 64, 64, 64, 10, act=nn.Sigmoid, norm=nn.BatchNorm1d), seed, sgd)


def noisy_batches(seed: int) -> Problem:
    """Batches of four with one label in five wrong, SGD with momentum."""
    return images(mlp(196, 64, 10), seed, sgd, size=4, noise=0.2)


def noisy_batches_adam(seed: int) -> Problem:
    """Batches of two, Adam."""
    return images(mlp(196, 48, 10), seed, torch.optim.Adam, size=2)


def cnn_momentum(seed: int) -> Problem:
    """CNN without normalisation, SGD with momentum."""
    return images(convs(8, norm=False), seed, sgd, size=32)


def cnn_norm_nesterov(seed: int) -> Problem:
    """CNN with BatchNorm, Nesterov momentum and weight decay."""
    return images(convs(8, norm=True), seed, sgd, size=32, nesterov=True, weight_decay=5e-4)


def cnn_norm_adam(seed: int) -> Problem:
    """CNN with BatchNorm, Adam."""
    return images(convs(8, norm=True), seed, torch.optim.Adam, size=32)


def resnet_momentum(seed: int) -> Problem:
    """Residual net with BatchNorm, SGD with momentum."""
    return images(resnet(12, 2), seed, sgd, size=32, weight_decay=1e-4)


def resnet_adamw(seed: int) -> Problem:
    """Residual net with BatchNorm, AdamW."""
    return images(resnet(12, 2), seed, torch.optim.AdamW, size=32, weight_decay=0.05)


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
