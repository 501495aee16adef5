"""The data of the tasks: drawn from a fixed seed, or part of the package or of the standard library."""

from __future__ import annotations

import bz2
import importlib
import math
import pkgutil
import re
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@cache
def fashion() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fashion-MNIST at 14x14 as it is in the package: 6,000 and 2,000 images, standardised."""
    packed = np.load(Path(__file__).parents[2] / "src/cyclr/tasks/data/fashion14.npz")

    def images(name: str) -> Tensor:
        return torch.tensor((packed[name] / 255 - 0.286) / 0.32, dtype=torch.float32).flatten(1)

    def labels(name: str) -> Tensor:
        return torch.tensor(packed[name].astype(np.int64))

    return (
        images("train_images"),
        labels("train_labels"),
        images("test_images"),
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
    """Images with much noise added, and without."""
    x = torch.cat([fashion()[0], fashion()[2]])
    return x + torch.randn(x.shape, generator=torch.Generator().manual_seed(12)), x


@cache
def novel() -> str:
    """The chapters of Moby Dick that are part of the package."""
    packed = Path(__file__).parents[2] / "src/cyclr/tasks/data/moby_dick.txt.bz2"
    return bz2.decompress(packed.read_bytes()).decode()


def pieces(codes: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs and targets, one place further: the last tenth of the text is held out, a thousand pieces at most."""
    pieces = codes[: len(codes) // (length + 1) * (length + 1)].view(-1, length + 1)
    train, test = pieces[: len(pieces) * 9 // 10], pieces[len(pieces) * 9 // 10 :][:1000]
    return train[:, :-1], train[:, 1:], test[:, :-1], test[:, 1:]


@cache
def letters(length: int) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """The novel letter by letter."""
    kinds = sorted(set(novel()))
    return *pieces(torch.tensor([kinds.index(c) for c in novel()]), length), len(kinds)


@cache
def words(length: int, kinds: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The novel word by word; 0 stands for all but the most frequent ones."""
    found = re.findall(r"[a-z]+|[^a-z\s]", novel().lower())
    numbers = {word: 1 + i for i, (word, _) in enumerate(Counter(found).most_common(kinds - 1))}
    return pieces(torch.tensor([numbers.get(word, 0) for word in found]), length)


@cache
def inverse_sine(count: int = 5000) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One number from another where up to three answers are right (Bishop 1994)."""
    generator = torch.Generator().manual_seed(21)
    y = torch.rand(count, 1, generator=generator)
    x = y + 0.3 * torch.sin(2 * math.pi * y) + 0.05 * torch.randn(count, 1, generator=generator)
    x, y = (x - 0.5) / 0.3, (y - 0.5) / 0.3
    return x[:-1000], y[:-1000], x[-1000:], y[-1000:]


@cache
def noised(count: int = 60000) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points of a spiral under noise of a random strength, with that strength, and the noise that was added."""
    generator = torch.Generator().manual_seed(22)
    angle = 1.5 * math.pi * (1 + 2 * torch.rand(count, generator=generator))
    clean = torch.stack([angle * angle.cos(), angle * angle.sin()], 1) / 7
    time = torch.rand(count, 1, generator=generator)
    share, noise = torch.cos(0.5 * math.pi * time), torch.randn(count, 2, generator=generator)
    x = torch.cat([share * clean + (1 - share**2).sqrt() * noise, time], 1)
    return x[:-2000], noise[:-2000], x[-2000:], noise[-2000:]


@cache
def islands(count: int = 5000) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Thirty clouds far apart, six to a class: separable without an error, but not by a plane."""
    generator = torch.Generator().manual_seed(23)
    centres = 2 * torch.randn(30, 12, generator=generator)
    which = torch.randint(0, 30, (count,), generator=generator)
    x = centres[which] + 0.4 * torch.randn(count, 12, generator=generator)
    return x[:-1000], which[:-1000] % 5, x[-1000:], which[-1000:] % 5


@cache
def marked(length: int = 12, count: int = 6000) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sequences of numbers, some of them marked; whether the marked ones add up to more than zero."""
    generator = torch.Generator().manual_seed(24)
    numbers = torch.randn(count, length, generator=generator)
    marks = (torch.rand(count, length, generator=generator) < 0.5).float()
    x, y = torch.stack([numbers, marks], 2), ((numbers * marks).sum(1, keepdim=True) > 0).float()
    return x[:-1000], y[:-1000], x[-1000:], y[-1000:]


@cache
def communities(nodes: int = 400, kinds: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """A graph of communities: its normalised neighbourhoods, what is known of each node, and its community."""
    generator = torch.Generator().manual_seed(25)
    y = torch.arange(nodes) % kinds
    likely = torch.where(y[:, None] == y, 0.05, 0.008)
    links = torch.triu(torch.rand(nodes, nodes, generator=generator) < likely, 1).float()
    links = links + links.T + torch.eye(nodes)
    scale = links.sum(1).rsqrt()
    known = 0.4 * F.one_hot(y, kinds) @ torch.randn(kinds, 40, generator=generator)
    return scale[:, None] * links * scale, known + torch.randn(nodes, 40, generator=generator), y
