"""In every situation the range test finds about what it finds without it, and leaves no trace."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from cyclr import Triangular
from cyclr.torch import Scheduler, range_test
from tests.torch.digest import digest
from tests.torch.short import grouped

cross_entropy = nn.functional.cross_entropy
X = torch.randn(640, 8, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] * X[:, 1] > 0).long() + (X[:, 2] > 0.5)


@dataclass
class Case:
    """A training that a situation changes, and what the range test is told of it."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loader: Any
    options: dict[str, Any] = field(default_factory=dict)

    def drive(self, *groups: Any) -> None:
        self.optimizer = torch.optim.SGD(list(groups) or self.model.parameters(), lr=0.03, momentum=0.9)


def plain() -> Case:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    loader = DataLoader(TensorDataset(X, Y), batch_size=32, shuffle=True)
    case = Case(model, torch.optim.SGD(model.parameters()), loader, {"loss_fn": cross_entropy})
    case.drive()
    return case


def mixed_precision(case: Case) -> None:
    case.options |= {"scaler": torch.amp.GradScaler("cpu", init_scale=2.0**10), "autocast": torch.bfloat16}
    case.options["steps"] = 150  # slow on a CPU


def accumulation(case: Case) -> None:
    case.loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)
    case.options["accumulate"] = 2


def clipping(case: Case) -> None:
    case.options["clip_norm"] = 5.0


def groups_with_ratios(case: Case) -> None:
    first, *rest = [module for module in case.model if isinstance(module, nn.Linear)]
    others = [parameter for module in rest for parameter in module.parameters()]
    case.drive({"params": first.parameters(), "lr": 0.01}, {"params": others, "lr": 0.02})


def dicts(case: Case) -> None:
    case.loader = [{"x": x, "y": y} for x, y in zip(X.split(32), Y.split(32), strict=True)]
    case.options["loss_fn"] = lambda model, batch: cross_entropy(model(batch["x"]), batch["y"])


def own_step(case: Case) -> None:
    def step(batch: Any) -> torch.Tensor:
        case.optimizer.zero_grad()
        loss = cross_entropy(case.model(batch[0]), batch[1])
        loss.backward()
        case.optimizer.step()
        return loss

    case.options = {"update": step}


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return zip(X, Y, strict=True)


def stream_shorter_than_the_ramp(case: Case) -> None:
    case.loader = DataLoader(Stream(), batch_size=32)


def loss_below_zero(case: Case) -> None:
    case.options["loss_fn"] = lambda outputs, targets: cross_entropy(outputs, targets) - 20


def attached_scheduler(case: Case) -> None:
    case.options["scheduler"] = Scheduler(case.optimizer, Triangular(0.001, 0.01, step_size=5))


def tied_and_frozen(case: Case) -> None:
    case.model.append(nn.Linear(3, 3))
    case.model[5].requires_grad_(False).weight.copy_(torch.eye(3))
    case.model.insert(3, tied := nn.Linear(32, 32))
    tied.weight = case.model[2].weight
    case.drive()


def compiled(case: Case) -> None:
    case.model = torch.compile(case.model, backend="eager")


def batch_norm(case: Case) -> None:
    case.model.insert(1, nn.BatchNorm1d(32))
    case.drive()


def evaluated_on_the_way(case: Case) -> None:
    case.options |= {"val_loader": [(X, Y)], "metrics": {"accuracy": lambda z, y: (z.argmax(1) == y).float().mean()}}


@torch.enable_grad()
def in_the_middle_of_a_training(case: Case) -> None:
    for _ in range(3):
        for x, y in case.loader:
            case.optimizer.zero_grad()
            cross_entropy(case.model(x), y).backward()
            case.optimizer.step()


def fine_tuned(case: Case) -> None:
    in_the_middle_of_a_training(case)
    case.model[4] = nn.Linear(32, 3)
    other = (X[:, 0] * X[:, 3] > 0).long() + (X[:, 1] > 0.5)
    case.loader = DataLoader(TensorDataset(X, other), batch_size=32, shuffle=True)
    case.drive()


SITUATIONS: list[Callable[[Case], None]] = [
    mixed_precision, accumulation, clipping, groups_with_ratios, dicts, own_step, stream_shorter_than_the_ramp,
    loss_below_zero, attached_scheduler, tied_and_frozen, compiled, batch_norm, evaluated_on_the_way,
    in_the_middle_of_a_training, fine_tuned,
]  # fmt: skip


@cache
def without() -> float:
    case = plain()
    return range_test(case.model, case.optimizer, case.loader, **grouped(**case.options)).bounds().max_lr


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_curve_is_good_and_nothing_is_left_of_it(situation: Callable[[Case], None]) -> None:
    case = plain()
    with torch.no_grad():
        situation(case)
    parts = {name: case.options[name] for name in ("scheduler", "scaler") if name in case.options}
    before = digest(case.model, case.optimizer, loader=case.loader, **parts)
    curve = range_test(case.model, case.optimizer, case.loader, **grouped(**case.options))
    assert digest(case.model, case.optimizer, loader=case.loader, **parts) == before
    assert 1 / 3 < curve.bounds().max_lr / without() < 3


class Slots:
    __slots__ = ("calls", "mean")

    def __init__(self) -> None:
        self.calls, self.mean = 0, torch.zeros(32)


class Thawing(nn.Module):
    """Its first layer begins to learn in the middle; it keeps notes in an object with slots."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.notes, self.recent = nn.Linear(8, 32).requires_grad_(False), Slots(), deque(maxlen=3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.notes.calls += 1
        self.first.requires_grad_(self.notes.calls > 5)
        x = self.first(x)
        self.notes.mean += x.detach().mean(0)
        self.recent.append(x.detach().mean())
        return x


def pruned() -> nn.Module:
    prune.l1_unstructured(layer := nn.Linear(8, 32), "weight", amount=0.5)
    return layer


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(8, 32)),
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(8, 32)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(8, 32)),
    "spectral norm by a hook": lambda: nn.utils.spectral_norm(nn.Linear(8, 32)),
    "pruned": pruned,
    "bfloat16": lambda: nn.Sequential(Cast(torch.bfloat16), nn.Linear(8, 32).bfloat16(), Cast(torch.float32)),
    "thawing, with slots": Thawing,
}


class Cast(nn.Module):
    def __init__(self, kind: torch.dtype) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.kind)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_a_network_that_changes_more_than_its_weights_is_put_back(name: str) -> None:
    case = plain()
    case.model[0] = layer = LAYERS[name]()
    case.drive()
    in_the_middle_of_a_training(case)
    notes = getattr(layer, "notes", Slots())
    before, calls, mean, recent = look(case), notes.calls, notes.mean.clone(), list(getattr(layer, "recent", []))
    curve = range_test(case.model, case.optimizer, case.loader, **grouped(**case.options, steps=30))
    assert np.isfinite(curve.losses[0, :10]).all()
    assert look(case) == before
    assert (notes.calls, list(getattr(layer, "recent", []))) == (calls, recent)
    assert torch.equal(notes.mean, mean)


@pytest.mark.parametrize(
    "name", ["Adadelta", "Adafactor", "Adagrad", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop"]
)
@pytest.mark.parametrize("warm", [False, True])
def test_every_optimizer_of_torch_is_put_back(name: str, warm: bool) -> None:
    case = plain()
    case.optimizer = getattr(torch.optim, name)(case.model.parameters(), lr=0.01)
    if warm:
        in_the_middle_of_a_training(case)
    before = look(case)
    range_test(case.model, case.optimizer, case.loader, **grouped(**case.options, steps=20))
    assert look(case) == before


def look(case: Case) -> str:
    return digest(case.model, case.optimizer, loader=case.loader)


def test_held_out_signals_say_about_what_the_loss_says() -> None:
    x = torch.randn(2000, 8, generator=torch.Generator().manual_seed(5))
    held = (x, (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 0.5))
    metrics = {
        "accuracy": lambda outputs, targets: (outputs.argmax(1) == targets).float().mean(),
        "error": lambda outputs, targets: (outputs.argmax(1) != targets).float().mean(),
    }
    case = plain()
    options = {**case.options, "val_loader": [held], "metrics": metrics, "scale": "linear", "low": 0.0, "high": 0.5}
    curve = range_test(case.model, case.optimizer, case.loader, **grouped(**options, steps=600))
    found = {signal: curve.bounds(signal).max_lr for signal in curve.signals}
    assert list(found) == ["loss", "val_loss", "accuracy", "error"]
    assert all(1 / 3 < rate / without() < 3 for rate in found.values())
    assert found["error"] == found["accuracy"]  # one is the other upside down
