"""From a network and its data to a running scheduler, with no number chosen by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch.optim import Optimizer

from cyclr._check import count, problem
from cyclr._plan import Plan, plan
from cyclr._range import Bounds, Search, effort_for
from cyclr._renamed import renamed, same
from cyclr._schedules import Opposed
from cyclr.torch._batches import length
from cyclr.torch._groups import resolve
from cyclr.torch._range_test import check_held_out, parts_of, range_test
from cyclr.torch._scheduler import Scheduler
from cyclr.torch._task import Task
from cyclr.torch._update import StepFunction, Update

_log = logging.getLogger("cyclr")


@overload
def auto(
    model: Task,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    cycles: int | None = None,
    anneal: bool = True,
    momentum: tuple[float, float] | None = None,
    update: Update | StepFunction | None = None,
    search: Search = ...,
) -> Scheduler: ...
@overload
def auto(
    model: torch.nn.Module,
    optimizer: Optimizer,
    loader: Iterable[Any],
    loss_fn: Callable[..., torch.Tensor] | None = None,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    cycles: int | None = None,
    anneal: bool = True,
    momentum: tuple[float, float] | None = None,
    update: Update | StepFunction | None = None,
    search: Search = ...,
) -> Scheduler: ...
@renamed(("update", Update, same("accumulate")), ("search", Search, same("repeats", "effort", "signal", "progress")))
def auto(
    model: torch.nn.Module | Task,
    optimizer: Optimizer | None = None,
    loader: Iterable[Any] | None = None,
    loss_fn: Callable[..., torch.Tensor] | None = None,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    cycles: int | None = None,
    anneal: bool = True,
    momentum: tuple[float, float] | None = None,
    update: Update | StepFunction | None = None,
    search: Search = Search(),  # noqa: B008 (a frozen value)
) -> Scheduler:
    """Find the bounds with a range test, plan a schedule, and return the scheduler to train with.

    Calls `range_test`, `Curve.bounds`, `plan` and `Scheduler` one after the other. Everything that the range test
    changes is restored. Groups keep the ratios of their rates. The reasons for each choice go to the logger "cyclr"
    (level INFO).

    Args:
        model: The network, or a `Task` instead of the first four arguments.
        optimizer: The optimizer; the scheduler sets its rates from now on.
        loader: Training batches.
        loss_fn: As in `range_test`.
        epochs: Budget in epochs; needs a loader with a length.
        steps: Budget in optimizer steps, instead of `epochs`.
        cycles: Number of cycles; by default one.
        anneal: Whether the rate anneals to zero at the end.
        momentum: Lower and upper value, such as (0.85, 0.95), between which momentum (or the first beta) falls while
            the rate rises; by default it is not changed.
        update: How to make a step, as in `range_test`.
        search: The range test, and the signal from which the bounds are read.

    Returns:
        The scheduler, with `curve`, `bounds` and `plan` as attributes.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, or the budget too small.
        Inconclusive: If the range test is inconclusive; the message says what to try.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(320, 8)
    >>> data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True) + 0.1 * torch.randn(320, 1))
    >>> loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)
    >>> model = torch.nn.Linear(8, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> scheduler = auto(model, optimizer, loader, torch.nn.functional.mse_loss, epochs=5)
    >>> scheduler.plan.steps
    100
    """
    model, optimizer, loader, loss_fn = parts_of(model, optimizer, loader, loss_fn)
    if not isinstance(search, Search):
        raise TypeError(problem("search must be a cyclr.Search", search, "write Search(effort='thorough')"))
    if search.held_out is not None:
        check_held_out(search.held_out, loss_fn)
    if momentum is not None and not (isinstance(momentum, tuple) and len(momentum) == 2):
        raise TypeError(problem("momentum must be a pair (from, to)", momentum, "pass (0.85, 0.95)"))
    per_epoch = _steps_per_epoch(loader, update, epochs)

    def planned(bounds: Bounds) -> tuple[Plan, Opposed | None]:
        made = plan(bounds, epochs=epochs, steps=steps, steps_per_epoch=per_epoch, cycles=cycles, anneal=anneal)
        return made, None if momentum is None else Opposed(made.schedule, *momentum)

    # Errors are raised before any work, by planning with placeholder bounds.
    trial, opposed = planned(Bounds(0.1, 1.0))
    if opposed is not None:
        resolve("momentum", opposed, optimizer.param_groups)
    # Probe cycles are compared by the training loss.
    effort = search.effort or (effort_for(trial.steps) if search.signal == "loss" else "quick")
    test = {"ramp": search.ramp, "repeats": search.repeats, "held_out": search.held_out, "progress": search.progress}
    curve = range_test(model, optimizer, loader, loss_fn, update=update, effort=effort, **test)
    bounds = curve.bounds(search.signal)
    chosen, opposed = planned(bounds)
    for reason in (*bounds.evidence, *chosen.reasons):
        _log.info(reason)
    scheduler = Scheduler(optimizer, chosen, opposed)
    scheduler.curve, scheduler.bounds = curve, bounds
    return scheduler


def _steps_per_epoch(loader: Iterable[Any], update: Update | StepFunction | None, epochs: int | None) -> int | None:
    """Optimizer steps in an epoch; None if the loader has no length."""
    batches = length(loader)
    if batches is None:
        if epochs is not None:
            raise ValueError(problem("steps must be given if the loader has no length", f"epochs={epochs!r}"))
        return None
    accumulate = update.accumulate if isinstance(update, Update) else 1
    return max(1, batches // count("accumulate", accumulate))
