"""A task for the processes of torchrun; the second of them may be killed once, in mid-training."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from cyclr.torch import Task

KILL = Path("kill-at-step-14")


def task(seed: int) -> Task:
    model, data, held_out = parts(seed)
    # Weights, data and its order come from the seed; what each process adds of its own must not matter to the others.
    torch.manual_seed(100 * seed + distributed.get_rank())
    loader = DataLoader(data, batch_size=4, sampler=DistributedSampler(data, seed=seed))
    return of(DistributedDataParallel(model), loader, held_out)


def parts(seed: int) -> tuple[torch.nn.Module, TensorDataset, list[Any]]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    x = torch.randn(80, 4)
    y = (x[:, 0] > 0).long()
    return model, TensorDataset(x[:64], y[:64]), [(x[64:], y[64:])]


def of(model: torch.nn.Module, loader: Any, held_out: list[Any]) -> Task:
    calls = 0

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += model.training
        if calls == 14 and KILL.exists() and distributed.get_rank() == 1:
            KILL.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.nn.functional.cross_entropy(outputs, targets)

    accuracy = lambda outputs, targets: (outputs.argmax(1) == targets).float().mean()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Task(model, optimizer, loss_fn, loader, held_out, metrics={"accuracy": accuracy})
