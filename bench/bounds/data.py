"""The data of the tasks: drawn from a fixed seed, or part of the package or of the standard library."""

from __future__ import annotations

import importlib
import math
import pkgutil
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


@cache
def fashion() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fashion-MNIST at 14x14 as it is in the package: 6,000 and 2,000 pictures, standardised."""
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


@cache
def blurred() -> tuple[Tensor, Tensor]:
    """Pictures with much noise added, and without."""
    x = torch.cat([fashion()[0], fashion()[2]])
    return x + torch.randn(x.shape, generator=torch.Generator().manual_seed(12)), x
