"""Small trainings that have every kind of state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cyclr import Triangular
from cyclr.torch import Scheduler

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, weight_decay=1e-4),
    "Adam": lambda groups: torch.optim.Adam(groups, lr=0.01, amsgrad=True),
    "AdamW": lambda groups: torch.optim.AdamW(groups, lr=0.01),
}


class Net(nn.Module):
    """BatchNorm, Dropout, a part in evaluation mode on purpose, tied weights, a frozen one, a buffer not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.3))
        self.fixed = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
        self.head, self.twin = nn.Linear(6, 6), nn.Linear(6, 6)
        self.twin.weight = self.head.weight
        self.frozen = nn.Parameter(torch.randn(6), requires_grad=False)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("mask", torch.ones(1).expand(6))
        self.seen = 0
        self.history: list[float] = []
        self.fixed.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.seen += len(x)
        x = self.fixed(self.body(x)) + self.frozen
        return (self.twin(torch.relu(self.head(x))) * self.mask)[:, :3]


@dataclass
class Training:
    """A model with all that drives it."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loader: Any
    scaler: Any = None
    scheduler: Any = None
    loss_fn: Callable[..., torch.Tensor] = field(default=nn.functional.cross_entropy)

    def parts(self) -> dict[str, Any]:
        return {"scheduler": self.scheduler, "scaler": self.scaler, "loader": self.loader}

    def epoch(self, *, fail_at: int | None = None, error: type[BaseException] = RuntimeError) -> None:
        """One epoch; an `error` before the update number `fail_at`."""
        for number, (x, y) in enumerate(self.loader):
            if number == fail_at:
                raise error("on purpose")
            self.optimizer.zero_grad()
            loss = self.loss_fn(self.model(x), y)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.scheduler.step()


def data(size: int = 40) -> TensorDataset:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(size, 4, generator=generator)
    return TensorDataset(x, (x.sum(1) > 0).long() + (x[:, 0] > 1).long())


def training(optimizer: str = "SGD", *, warm: bool = True, seed: int = 0, own_generator: bool = True) -> Training:
    """A training; a warm one has made an epoch, so that the optimizer has state and the gradients are tensors."""
    torch.manual_seed(seed)
    model = Net()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [{"params": parameters[:3]}, {"params": parameters[3:], "lr": 0.02}]
    generator = torch.Generator().manual_seed(seed) if own_generator else None
    loader = DataLoader(data(), batch_size=8, shuffle=True, generator=generator)
    driver = OPTIMIZERS[optimizer](groups)
    scheduler = Scheduler(driver, Triangular(0.001, 0.02, step_size=4))
    made = Training(model, driver, loader, torch.amp.GradScaler("cpu", init_scale=64.0), scheduler)
    if warm:
        made.epoch()
    return made
