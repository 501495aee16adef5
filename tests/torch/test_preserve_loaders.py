"""The position of loaders comes back: generators, samplers, datasets, live workers."""

from __future__ import annotations

import itertools
import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
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
from cyclr.torch._restore.snapshot import sources_of

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


class Slotted:
    """A sampler, and a base of one, that keep what they have in slots."""

    __slots__ = ("__generator", "passes")

    def __init__(self) -> None:
        self.__generator, self.passes = np.random.default_rng(2), 0

    def __len__(self) -> int:
        return 24

    def __iter__(self) -> Iterator[int]:
        self.passes += 1
        return iter(self.__generator.permutation(24 - self.passes).tolist())


class SlottedAndFilled(Slotted):
    __slots__ = ("filled_later",)

    def __iter__(self) -> Iterator[int]:
        first = [] if hasattr(self, "filled_later") else [1, 2, 3]
        self.filled_later = True
        yield from (*first, *super().__iter__())


@dataclass(frozen=True, slots=True)
class Frozen:
    """A dataset's transform that cannot be written to, but what it holds can."""

    seen: list[int] = field(default_factory=list)
    source: random.Random = field(default_factory=lambda: random.Random(3))

    def __call__(self, index: int) -> float:
        self.seen.append(index)
        return len(self.seen) + self.source.random()


class Transformed(Dataset[Any]):
    def __init__(self, transform: Callable[[int], float]) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> float:
        return self.transform(index)

    def collated(self, batch: Any) -> torch.Tensor:
        return torch.stack([torch.as_tensor(self.transform(one[0])) for one in batch])


class Drawing(list[float]):
    """A list with a generator."""

    def __init__(self) -> None:
        super().__init__(range(24))
        self.source = random.Random(2)

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index) + self.source.random()


class Order:
    """A sampler that shuffles its order where it stands, or marks in it what it has given."""

    def __init__(self, order: Any, change: Callable[[Any], None]) -> None:
        self.order, self.change = order, change

    def __len__(self) -> int:
        return 24

    def __iter__(self) -> Iterator[int]:
        self.change(self.order)
        return iter([int(one) for one in self.order])


class Endless(DataLoader[Any]):
    """As detection trainers have it, so that workers stay: one iterator over and over."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.running = super().__iter__()

    def __iter__(self) -> Any:
        for _ in range(4):
            try:
                yield next(self.running)
            except StopIteration:
                self.running = super().__iter__()
                yield next(self.running)


class Lines(IterableDataset[Any]):
    """Reads on in a file; keeps a log."""

    def __init__(self) -> None:
        self.folder = TemporaryDirectory()
        path = Path(self.folder.name) / "numbers.txt"
        path.write_text("\n".join(map(str, range(1000))))
        self.file, self.log, self.last = path.open(), (path.parent / "log.txt").open("w"), path.open()
        self.last.close()

    def __iter__(self) -> Iterator[float]:
        for _ in range(24):
            self.log.write("one\n")
            yield float(self.file.readline())

    def __del__(self) -> None:
        self.file.close()
        self.log.close()
        self.folder.cleanup()


NOISE = np.random.default_rng(6)


def noisy(index: int) -> float:
    return index + sum([NOISE.normal() for _ in range(2)])


def with_a_global(transform: Callable[[int], float]) -> DataLoader[Any]:
    NOISE.bit_generator.state = np.random.default_rng(6).bit_generator.state
    return DataLoader(Transformed(transform), batch_size=4)


def in_a_closure() -> DataLoader[Any]:
    source, drawn, third = np.random.default_rng(4), torch.Generator().manual_seed(4), random.Random(4)

    def collate(batch: Any, *, more: Any = third) -> torch.Tensor:
        return torch.tensor(batch) + torch.rand((), generator=drawn) + more.random()

    return DataLoader(Transformed(lambda index: index + source.normal()), batch_size=4, collate_fn=collate)


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
    "nothing but slots": Slotted,
    "sampler with slots": lambda: DataLoader(NUMBERS, batch_size=4, sampler=SlottedAndFilled()),
    "frozen transform with slots": lambda: DataLoader(Transformed(Frozen()), batch_size=4),
    "list with a generator": lambda: DataLoader(Drawing(), batch_size=4),
    "order of NumPy's": lambda: DataLoader(NUMBERS, 4, sampler=Order(np.arange(24), np.random.shuffle)),
    "order in an array": lambda: DataLoader(NUMBERS, 4, sampler=Order(array("i", range(24)), random.shuffle)),
    "order in bytes": lambda: DataLoader(NUMBERS, 4, sampler=Order(bytearray(range(24)), random.shuffle)),
    "weights": lambda: DataLoader(NUMBERS, 4, sampler=Order(torch.zeros(24), lambda weights: weights.add_(0.5))),
    "transform that names a generator": lambda: with_a_global(noisy),
    "transform that calls such a one": lambda: with_a_global(lambda index: noisy(index) + 1),
    "transform that is a part of one": lambda: with_a_global(
        partial(lambda source, index: index + source.normal(), NOISE)
    ),
    "transform that is a method of one": lambda: with_a_global(NOISE.poisson),
    "generators in closures": in_a_closure,
    "collated by a method": lambda: DataLoader(NUMBERS, batch_size=4, collate_fn=Transformed(Frozen()).collated),
    "one iterator over and over": lambda: Endless(NUMBERS, batch_size=4, shuffle=True),
    "file": lambda: DataLoader(Lines(), batch_size=4),
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
        random.seed(3), np.random.seed(3), torch.manual_seed(3)
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
        random.seed(3), np.random.seed(3), torch.manual_seed(3)
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
            self.table = torch.zeros(5, 2)

    dataset = Kept()
    with preserved(nn.Linear(1, 1), loader=DataLoader(dataset)):
        dataset.samples[0] += 1
        dataset.table += 1
        dataset.samples.pop()
    assert (dataset.samples[0] == 1).all()
    assert (dataset.table == 1).all()
    assert len(dataset.samples) == 1000


def test_an_iterator_that_cannot_be_taken_back_is_told_of() -> None:
    for held in (itertools.count(), (number for number in range(9)), iter(DataLoader(NUMBERS))):
        dataset = Transformed(lambda index: float(index))
        dataset.held = held
        words = f"holds a {type(held).__name__}, which cannot be rewound"
        with pytest.warns(RuntimeWarning, match=words), preserved(nn.Linear(1, 1), loader=DataLoader(dataset)):
            pass
        assert dataset.held is held


def test_the_randomness_of_the_system_has_no_state_and_a_log_goes_on(tmp_path: Path) -> None:
    dataset = Transformed(random.SystemRandom().uniform)
    dataset.source = random.SystemRandom()
    with (tmp_path / "log.txt").open("w") as log:
        dataset.log = log
        with preserved(nn.Linear(1, 1), loader=DataLoader(dataset)):
            log.write("seen")
    assert (tmp_path / "log.txt").read_text() == "seen"


def test_a_checkpoint_finds_every_generator_of_a_loader() -> None:
    loader = in_a_closure()
    loader.batch_sampler.order = SlottedAndFilled()
    kinds = [type(source).__name__ for source in sources_of(loader)]
    assert sorted(kinds) == ["Generator", "Generator", "Generator", "Random"]
    assert [type(source).__name__ for source in sources_of(loader)] == kinds
