"""From a network and its data to a running scheduler, with no number chosen by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from cyclr._check import choice, count, problem
from cyclr._plan import plan
from cyclr._range import Bounds, effort_for
from cyclr._schedules import Opposed
from cyclr.torch._batches import length
from cyclr.torch._groups import in_proportion
from cyclr.torch._range_test import range_test, signals
from cyclr.torch._scheduler import Scheduler, resolve
from cyclr.torch._task import check_optimizer

_log = logging.getLogger("cyclr")


def auto(
    model: torch.nn.Module,
    optimizer: Optimizer,
    loader: Iterable[Any],
    loss_fn: Callable[..., torch.Tensor] | None = None,
    *,
    epochs: int,
    steps_per_epoch: int | None = None,
    cycles: int | None = None,
    anneal: bool = True,
    momentum: tuple[float, float] | None = None,
    signal: str = "loss",
    accumulate: int = 1,
    effort: str | None = None,
    **options: Any,
) -> Scheduler:
    """Find the bounds, plan the cycle, and return the scheduler to train with: four lines as one.

    The same as `range_test`, `Curve.bounds`, `plan` and `Scheduler` one after the other. The range test leaves no
    trace. Groups keep the ratios of their rates. The reasons for each choice go to the logger "cyclr" (level INFO).

    Args:
        model: The network.
        optimizer: Its rates are set by the scheduler, beginning now.
        loader: Training batches.
        loss_fn: As in `range_test`.
        epochs: The budget.
        steps_per_epoch: Updates in an epoch; needed where the loader has no length.
        cycles: How many cycles; by default one.
        anneal: Whether the last fall goes to zero.
        momentum: From and to, such as (0.85, 0.95), to let momentum (or the first beta) fall while the rate rises;
            by default it is left alone.
        signal: What the bounds are read from: "loss", "val_loss" or a metric.
        accumulate: Batches for one update.
        effort: "quick" or "thorough", as in `range_test`; by default by the budget, see `effort_for`.
        options: Further arguments of `range_test`.

    Returns:
        The scheduler, with `curve`, `bounds` and `plan` on it.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, or the budget too small.
        Inconclusive: If the range test gives no answer; the message says what to try.

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
    check_optimizer("optimizer", optimizer)
    count("epochs", epochs)
    count("accumulate", accumulate)
    if steps_per_epoch is None:
        batches = length(loader)
        if batches is None:
            raise ValueError(problem("steps_per_epoch must be given where the loader has no length", None))
        steps_per_epoch = max(1, batches // accumulate)
    count("steps_per_epoch", steps_per_epoch)
    if momentum is not None and not (isinstance(momentum, tuple) and len(momentum) == 2):
        raise TypeError(problem("momentum must be a pair (from, to)", momentum, "pass (0.85, 0.95)"))
    budget = {"epochs": epochs, "steps_per_epoch": steps_per_epoch, "cycles": cycles, "anneal": anneal}
    # All that can be wrong is found before any work: with bounds that stand in for those to come.
    trial = plan(Bounds(0.1, 1.0), **budget)
    driven = None if momentum is None else Opposed(trial.schedule, *momentum)
    if driven is not None:
        resolve("momentum", driven, optimizer.param_groups)
    held = signals(options.get("val_loader"), options.get("metrics"), loss_fn)
    choice("signal", signal, ("loss", *held))

    if effort is None:
        effort = effort_for(trial.steps) if signal == "loss" else "quick"  # probe cycles are judged by the loss
    curve = range_test(model, optimizer, loader, loss_fn, accumulate=accumulate, effort=effort, **options)
    bounds = curve.bounds(signal)
    chosen = plan(bounds, **budget)
    for reason in (*bounds.evidence, *chosen.reasons):
        _log.info(reason)
    opposed = None if momentum is None else Opposed(chosen.schedule, *momentum)
    scheduler = Scheduler(optimizer, in_proportion(chosen.schedule, optimizer), opposed)
    scheduler.curve, scheduler.bounds, scheduler.plan = curve, bounds, chosen
    return scheduler
