"""A task: a model with its optimizer, loss, data and metrics."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim import Optimizer

from cyclr._check import choice, problem
from cyclr._metrics import GivenMetric, as_metrics
from cyclr.torch._batches import check_callable, check_loader, length

OUTPUTS = ("logits", "binary_logits", "values")  #: of models whose predictions are averaged


@dataclass
class Task:
    """Everything that a training needs except the schedule. A task file defines a function `task(seed) -> Task`.

    The loss of a batch that is a pair (inputs, targets) is `loss_fn(model(inputs), targets)`; that of any other batch,
    such as a dict, is `loss_fn(model, batch)`. Metrics follow the same rule.

    Args:
        model: The network, on its device; batches are moved there.
        optimizer: The optimizer of the model's parameters; its rate is replaced by the schedule.
        loss_fn: Returns the training loss, a scalar tensor.
        train_loader: Training batches: a loader that can be started again (a `DataLoader`, a list), not an iterator.
        val_loader: Held-out batches for tuning, for example of rates.
        metrics: Metrics by name, each the mean over a batch: a function if the name is unambiguous ("accuracy", "mae"),
            else a pair (function, "min" or "max") or a `cyclr.Metric`.
        test_loader: Held-out batches for the final evaluation only.
        outputs: What the model returns, for an `ensemble`: "logits", "binary_logits" or "values". Needed only where the
            loss is none of torch's.

    Raises:
        TypeError: If a part is of the wrong kind.
        ValueError: If a loader is empty, or the direction of a metric is unknown.

    >>> import torch
    >>> model = torch.nn.Linear(3, 2)
    >>> batches = [(torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]))] * 5
    >>> task = Task(model, torch.optim.SGD(model.parameters()), torch.nn.functional.cross_entropy, batches)
    >>> task.steps_per_epoch
    5
    """

    model: torch.nn.Module
    optimizer: Optimizer
    loss_fn: Callable[..., torch.Tensor]
    train_loader: Iterable[Any]
    val_loader: Iterable[Any] | None = None
    metrics: Mapping[str, GivenMetric] = field(default_factory=dict)
    test_loader: Iterable[Any] | None = None
    outputs: str | None = None

    def __post_init__(self) -> None:
        check_model("model", self.model)
        check_optimizer("optimizer", self.optimizer)
        check_callable("loss_fn", self.loss_fn, "pass a function of (outputs, targets) or of (model, batch)")
        check_loader("train_loader", self.train_loader)
        for name in ("val_loader", "test_loader"):
            if getattr(self, name) is not None:
                check_loader(name, getattr(self, name))
        self.metrics = as_metrics(self.metrics)
        if self.outputs is not None:
            choice("outputs", self.outputs, OUTPUTS)

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches in one pass over the training data; None if the loader has no length."""
        return length(self.train_loader)


def check_model(name: str, model: Any) -> None:
    """Check that `model` is a network, not its class."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(problem(f"{name} must be a torch.nn.Module", model, "pass the network itself"))


def check_optimizer(name: str, optimizer: Any) -> None:
    """Check that `optimizer` is a torch optimizer whose groups have rates."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(problem(f"{name} must be a torch.optim.Optimizer", optimizer, "pass the optimizer itself"))
    for index, group in enumerate(optimizer.param_groups):
        if "lr" not in group:
            raise ValueError(problem(f"group {index} of {name} must have a learning rate 'lr'", sorted(group)))
        rate = group["lr"]
        if rate is None or group.get("relative_step"):  # Adafactor, which replaces any rate by one of its own
            what = f"group {index} of {name} must have a learning rate, which this one chooses by itself"
            advice = f"make the {type(optimizer).__name__} with an lr (Adafactor: relative_step=False, lr=1e-3)"
            raise ValueError(problem(what, f"lr={rate}", advice))
        if isinstance(rate, bool) or not (isinstance(rate, numbers.Real) or _is_number(rate)):
            what = f"the learning rate of group {index} of {name} must be a number"
            raise TypeError(problem(what, rate, "make the optimizer with a float, such as lr=0.01"))


def _is_number(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.numel() == 1
