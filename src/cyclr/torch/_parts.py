"""What a training consists of, in the forms in which users have it: one network or several, a loader or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import signature
from itertools import count, repeat
from typing import Any, NoReturn, TypeAlias

import torch
from torch.optim import Optimizer

from cyclr._check import problem
from cyclr.torch._batches import check_callable, check_loader
from cyclr.torch._task import Task, check_model, check_optimizer
from cyclr.torch._trainer import Chosen
from cyclr.torch._update import StepFunction, Update

Loss: TypeAlias = Callable[..., torch.Tensor]
#: One network, or all that are trained together.
Models: TypeAlias = torch.nn.Module | Sequence[torch.nn.Module]
#: In place of a batch, where a step function takes nothing.
NOTHING = object()


def parts_of(
    model: Models | Task,
    optimizer: Optimizer | Sequence[Optimizer] | None,
    loader: Iterable[Any] | None,
    loss_fn: Loss | None,
    update: Update | StepFunction | None,
) -> tuple[torch.nn.Module, Optimizer, Iterable[Any], Loss | None]:
    """Model, optimizer, loader and loss, checked and each as one; those of a task where one is given."""
    own = not isinstance(update, Update | None)
    if own:
        check_callable("update", update, "pass a cyclr.torch.Update, or a function of a batch that makes one step")
    if isinstance(model, Task):
        for name, given in (("optimizer", optimizer), ("loader", loader), ("loss_fn", loss_fn)):
            if given is not None:
                raise TypeError(problem(f"{name} must be left out if a task is given", given, "it is in the task"))
        return model.model, model.optimizer, model.train_loader, model.loss_fn
    network, driver = one_model(model), one_optimizer(optimizer)
    check_optimizer("optimizer", driver)
    if isinstance(driver, Chosen) and not own:
        what = "update must be a step function where there are several optimizers"
        raise ValueError(problem(what, update, "pass a function of a batch that makes one step with all of them"))
    if loader is None and own:
        return network, driver, _NoData(update), loss_fn
    check_loader("loader", loader)
    assert loader is not None
    return network, driver, loader, loss_fn


def one_model(model: Any) -> torch.nn.Module:
    """The network, or one that holds all those of a list."""
    several = list(model.values()) if isinstance(model, Mapping) else model
    if not isinstance(several, (list, tuple)) or not several:
        check_model("model", model)
        return model
    for index, one in enumerate(several):
        check_model(f"model[{index}]", one)
    if len(several) == 1:
        return several[0]
    together = _Several(several)
    together.training = any(one.training for one in several)  # in evaluation mode as a whole if all of them are
    return together


class _Several(torch.nn.ModuleList):
    """All networks of a training as one, which a step function or a loss of (model, batch) is given."""

    def forward(self, *_: Any) -> NoReturn:
        """An error: it is not known which of them to call."""
        advice = "pass update= a step function, or mark losses and metrics by with_model: they get (models, batch)"
        raise TypeError(problem("there must be one model to be called with the inputs", f"{len(self)} models", advice))


def one_optimizer(optimizer: Any) -> Any:
    """The optimizer, or one that stands for all those of a list; anything else as it is."""
    several = list(optimizer.values()) if isinstance(optimizer, Mapping) else optimizer
    if isinstance(several, (list, tuple)) and several and all(isinstance(one, Optimizer) for one in several):
        return several[0] if len(several) == 1 else Chosen(several)
    return optimizer


class _NoData:
    """A loader for a step function that needs no data: it gives the number of the step, or nothing."""

    loaders: tuple[()] = ()  #: where the batches come from: so they have no order

    def __init__(self, update: Any) -> None:
        self._numbered = not _takes_nothing(update)

    def __iter__(self) -> Iterator[Any]:
        return count() if self._numbered else repeat(NOTHING)


def has_batches(loader: Any) -> bool:
    """Whether the steps of a training take batches."""
    return not isinstance(loader, _NoData)


def _takes_nothing(function: Any) -> bool:
    """Whether a function can be called with no argument."""
    try:
        signature(function).bind()
    except TypeError:
        return False
    except ValueError:  # one that is written in C does not say
        return False
    return True
