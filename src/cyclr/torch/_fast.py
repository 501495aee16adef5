"""One step of a scheduler in the ordinary case, in which nothing but its values has changed since the step before.

A scheduler must notice a rate that something else has set, groups that were added, and a training that outlives its
schedule; and torch wraps each step in a context manager of its own. Here all of this is looked at once, when the
function is made, and each step only sees whether it still holds. Where it does not, the ordinary way is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING

import torch
from torch.optim import Optimizer

from cyclr._schedules import Scaled, Schedule
from cyclr.torch._groups import Group, key_of

if TYPE_CHECKING:
    from cyclr.torch._scheduler import Scheduler

#: Sets the value of a step in all groups.
Setter = Callable[[int], None]
_rate = itemgetter("lr")


def shared(schedules: list[Schedule]) -> tuple[Schedule, list[float]] | None:
    """The one schedule that all follow, and the ratio of each to it; None if there are several."""
    parts = [(one.schedule, one.factor) if isinstance(one, Scaled) else (one, 1.0) for one in schedules]
    first = parts[0][0]
    if all(schedule is first or schedule == first for schedule, _ in parts):
        return first, [ratio for _, ratio in parts]
    return None


def rates_of(schedules: list[Schedule], factors: list[float]) -> Callable[[int], list[float]]:
    """A function of the step that gives the rates of all groups; a schedule that they share is evaluated once."""
    one = shared(schedules)
    changed = any(factor != 1 for factor in factors)
    if one is None:
        pairs = list(zip(factors, [schedule._plain() for schedule in schedules], strict=True))
        return lambda step: [factor * function(step) for factor, function in pairs]
    function, ratios = one[0]._plain(), one[1]
    if changed:
        both = list(zip(factors, ratios, strict=True))

        def scaled(step: int) -> list[float]:
            value = function(step)
            return [factor * (ratio * value) for factor, ratio in both]

        return scaled

    def plain(step: int) -> list[float]:
        value = function(step)
        return [ratio * value for ratio in ratios]

    return plain


def setter(groups: list[Group], key: str, schedules: list[Schedule]) -> Setter:
    """Sets momentum or weight decay in all groups."""
    one = shared(schedules)
    if one is not None and set(one[1]) == {1.0}:
        function = one[0]._plain()

        def same(step: int) -> None:
            value = function(step)
            for group in groups:
                group[key] = value

        def betas(step: int) -> None:
            value = function(step)
            for group in groups:
                group[key] = (value, group[key][1])

        return betas if key == "betas" else same
    functions = [schedule._plain() for schedule in schedules]

    def each(step: int) -> None:
        for group, function in zip(groups, functions, strict=True):
            group[key] = (function(step), group[key][1]) if key == "betas" else function(step)

    return each


def advance(scheduler: Scheduler) -> Callable[[Scheduler], bool] | None:
    """A function that makes one step, or returns False with nothing changed; None where the case is not ordinary.

    It is given the scheduler, which keeps it: to hold it, too, would keep both alive until garbage is collected.
    """
    optimizer, schedules = scheduler.optimizer, scheduler.schedules
    groups = optimizer.param_groups
    if not _ordinary(optimizer, groups, schedules):
        return None
    known, members = groups, list(groups)
    rates = rates_of(schedules["schedule"], scheduler._factors)
    others = [setter(members, key_of(name, members[0]), own) for name, own in schedules.items() if name != "schedule"]
    length = scheduler._length

    def step(scheduler: Scheduler) -> bool:
        last = scheduler._last_lr
        now = scheduler.last_epoch + 1
        if (
            optimizer.param_groups is not known
            or known != members
            or list(map(_rate, members)) != last
            or now > length.limit
            or length.optimizer_steps > 1
            or now < 1
            or scheduler._is_initial
        ):
            return False
        length.optimizer_steps = length.late = 0
        found = rates(now)
        scheduler._last_lr = found  # type: ignore[assignment] (torch allows tensors, too)
        for group, rate in zip(members, found):  # noqa: B905 (one for each)
            group["lr"] = rate
        for other in others:
            other(now)
        scheduler.last_epoch = now
        scheduler._step_count += 1
        return True

    return step


def _ordinary(optimizer: Optimizer, groups: list[Group], schedules: dict[str, list[Schedule]]) -> bool:
    """Whether groups hold plain numbers, under the same names in all of them."""
    if type(groups) is not list or optimizer.param_groups is not groups or len(groups) != len(schedules["schedule"]):
        return False
    for name in schedules:
        keys = {"lr"} if name == "schedule" else {key_of(name, group) for group in groups}
        if len(keys) > 1:
            return False
        values = [group[key] for key in keys for group in groups]
        if any(isinstance(value[0] if isinstance(value, (list, tuple)) else value, torch.Tensor) for value in values):
            return False
        if keys == {"betas"} and any(type(value) is not tuple or len(value) != 2 for value in values):
            return False
    return True
