"""Shared by the tasks: examples with labels that fit into memory, and a classifier trained on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset

from cyclr import _check
from cyclr.torch import Task

from ._seeds import seeded

_JUDGED_AT_ONCE = 1_000  # batch size of evaluations: larger batches are no faster and need more memory


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Inputs and labels, along the first axis."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.labels)

    def cut(self, at: int) -> tuple[Examples, Examples]:
        """The first `at` examples and the rest."""
        return Examples(self.inputs[:at], self.labels[:at]), Examples(self.inputs[at:], self.labels[at:])


def classification(
    train: Examples,
    test: Examples,
    network: Callable[[], nn.Module],
    optimizer: Callable[[nn.Module], Optimizer],
    *,
    seed: int,
    batch: int,
    held_out: int,
) -> Task:
    """A task from its examples. With `held_out`, this many of the last training examples replace the test data.

    The weights and the order of the batches come from `seed` alone; the global random state is not changed.
    """
    seed = _check.count("seed", seed, "pass an int such as 0", least=0)
    if held_out >= len(train):
        raise ValueError(_check.problem(f"tuning needs more than {held_out} training examples", len(train)))
    with seeded(seed):
        model = network()
    fitted, held = train.cut(len(train) - held_out)
    return Task(
        model=model,
        optimizer=optimizer(model),
        loss_fn=nn.functional.cross_entropy,
        train_loader=_loader(fitted, batch, torch.Generator().manual_seed(seed), shuffled=True),
        val_loader=_loader(held, _JUDGED_AT_ONCE, torch.Generator()) if held_out else None,
        test_loader=None if held_out else _loader(test, _JUDGED_AT_ONCE, torch.Generator()),
        metrics={"accuracy": accuracy},
    )


def accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """The fraction of examples whose largest output is that of their label."""
    return (outputs.argmax(dim=1) == labels).float().mean()


def _loader(examples: Examples, batch: int, generator: torch.Generator, *, shuffled: bool = False) -> DataLoader[Any]:
    """A loader that selects a whole batch at once; loading single examples would take longer than a step."""
    dataset = TensorDataset(examples.inputs, examples.labels)
    order = RandomSampler(dataset, generator=generator) if shuffled else SequentialSampler(dataset)
    sampler = BatchSampler(order, batch, drop_last=False)
    # The loader draws from its generator at the start of each pass, or from the global one if it has none.
    return DataLoader(dataset, sampler=sampler, batch_size=None, generator=generator)
