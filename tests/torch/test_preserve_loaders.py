"""The position of loaders comes back: generators, samplers, datasets, live workers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from cyclr.torch import preserved

NUMBERS = TensorDataset(torch.arange(24.0))


class Augmented(Dataset[Any]):
    """Draws from generators of its own, of four kinds, and counts."""

    def __init__(self) -> None:
        self.python, self.numpy = random.Random(1), np.random.default_rng(1)
        self.legacy, self.torch = np.random.RandomState(1), torch.Generator().manual_seed(1)
        self.calls, self.last = 0, [0]

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> float:
        self.calls += 1
        self.last.append(index)
        noise = self.python.random() + self.numpy.random() + self.legacy.rand()
        return self.calls + noise + torch.rand((), generator=self.torch).item()


class Stream(IterableDataset[Any]):
    """Goes on where it was, and has no length."""

    def __init__(self) -> None:
        self.position = 0

    def __iter__(self) -> Iterator[float]:
        for _ in range(24):
            self.position += 1
            yield float(self.position)


class Counting:
    """A sampler with its own order for each pass, as those of many training scripts."""

    def __init__(self) -> None:
        self.passes = 0

    def __len__(self) -> int:
        return 24

    def __iter__(self) -> Iterator[int]:
        self.passes += 1
        return iter(np.random.RandomState(self.passes).permutation(24).tolist())


class Closed:
    """A loader that keeps its state where attributes do not reach, and gives it only when asked."""

    __slots__ = ("_cell",)

    def __init__(self) -> None:
        self._cell = [0]

    def __iter__(self) -> Iterator[float]:
        for _ in range(6):
            self._cell[0] += 1
            yield float(self._cell[0])

    def state_dict(self) -> dict[str, Any]:
        return {"at": self._cell[0]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._cell[0] = state["at"]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


LOADERS: dict[str, Callable[[], Any]] = {
    "global randomness": lambda: DataLoader(NUMBERS, batch_size=4, shuffle=True),
    "own generator": lambda: DataLoader(NUMBERS, batch_size=4, shuffle=True, generator=generator()),
    "random sampler": lambda: DataLoader(
        NUMBERS, batch_size=4, sampler=RandomSampler(NUMBERS, generator=generator(), replacement=True, num_samples=60)
    ),
    "weighted sampler": lambda: DataLoader(
        NUMBERS, batch_size=4, sampler=WeightedRandomSampler([1.0] * 24, 24, generator=generator())
    ),
    "batch sampler": lambda: DataLoader(
        NUMBERS, batch_sampler=BatchSampler(RandomSampler(NUMBERS, generator=generator()), 4, drop_last=False)
    ),
    "counting sampler": lambda: DataLoader(NUMBERS, batch_size=4, sampler=Counting()),
    "sampler of one process of several": lambda: DataLoader(
        NUMBERS, batch_size=4, sampler=DistributedSampler(NUMBERS, num_replicas=2, rank=0)
    ),
    "dataset with generators": lambda: DataLoader(Augmented(), batch_size=4, shuffle=True),
    "dataset in a dataset": lambda: DataLoader(Subset(ConcatDataset([Augmented(), Augmented()]), range(30)), 4),
    "stream": lambda: DataLoader(Stream(), batch_size=4),
    "stream in a stream": lambda: DataLoader(ChainDataset([Stream(), Stream()]), batch_size=4),
    "no loader class": Closed,
    "list": lambda: [torch.ones(1), torch.zeros(1)],
    "workers": lambda: DataLoader(NUMBERS, batch_size=4, shuffle=True, generator=generator(), num_workers=1),
    "workers that stay": lambda: DataLoader(
        NUMBERS, batch_size=4, shuffle=True, generator=generator(), num_workers=1, persistent_workers=True
    ),
}


def advance(loader: Any) -> None:
    """What a range test does: an epoch, and a half."""
    for index, _ in enumerate(loader):
        getattr(getattr(loader, "sampler", None), "set_epoch", lambda number: None)(index)
    next(iter(loader))


@pytest.mark.parametrize("name", LOADERS)
def test_a_loader_gives_what_it_would_have_given(name: str) -> None:
    def record(disturb: bool) -> list[str]:
        torch.manual_seed(3)
        model, loader = nn.Linear(1, 1), LOADERS[name]()
        advance(loader)
        if disturb:
            with preserved(model, loader=loader):
                advance(loader)
        return [str(batch) for _ in range(2) for batch in loader]

    assert record(disturb=True) == record(disturb=False)


@pytest.mark.parametrize("name", LOADERS)
def test_a_loader_in_the_middle_of_an_epoch_goes_on_there(name: str) -> None:
    def record(disturb: bool) -> list[str]:
        torch.manual_seed(3)
        model, loader, seen = nn.Linear(1, 1), LOADERS[name](), []
        for index, batch in enumerate(loader):
            seen.append(str(batch))
            if disturb and index == 1:
                with preserved(model, loader=[loader]):
                    advance(loader)
        return seen

    assert record(disturb=True) == record(disturb=False)


def test_workers_that_stay_are_the_same_ones_afterwards() -> None:
    loader = LOADERS["workers that stay"]()
    first = iter(loader)
    next(first)
    workers = [worker.pid for worker in first._workers]
    with preserved(nn.Linear(1, 1), loader=loader):
        inside = iter(loader)
        assert inside is not first
        next(inside)
        others = list(inside._workers)
        del inside
    assert loader._iterator is first
    assert [worker.pid for worker in first._workers] == workers
    assert all(worker.is_alive() for worker in first._workers)
    assert not any(worker.is_alive() for worker in others)
    assert len(list(first)) == 5


def test_samples_are_not_copied() -> None:
    class Kept(Dataset[Any]):
        def __init__(self) -> None:
            self.samples = [torch.zeros(3) for _ in range(1000)]
            self.table = torch.zeros(10)

    dataset = Kept()
    with preserved(nn.Linear(1, 1), loader=DataLoader(dataset)):
        dataset.samples[0] += 1
        dataset.table += 1
        dataset.samples.pop()
    assert (dataset.samples[0] == 1).all()
    assert (dataset.table == 1).all()
    assert len(dataset.samples) == 1000
