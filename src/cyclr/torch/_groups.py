"""The groups of an optimizer: their rates, and what else a schedule drives."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch.optim import Optimizer

from cyclr._check import problem
from cyclr._schedules import Constant, Schedule

Group: TypeAlias = dict[str, Any]
Given: TypeAlias = Schedule | Sequence[Schedule] | Callable[[Group], Schedule]


def key_of(name: str, group: Group) -> str:
    """Which entry of the group `name` drives."""
    for key in {"momentum": ("momentum", "betas")}.get(name, (name,)):
        if key in group:
            return key
    raise ValueError(
        problem(f"the optimizer must have {name} to drive", sorted(set(group) - {"params"}), f"leave {name} out")
    )


def put(group: Group, key: str, value: float) -> None:
    """Set one entry of a group; a tensor is filled in place, of the betas only the first is touched."""
    old = group[key][0] if key == "betas" else group[key]
    if isinstance(old, torch.Tensor):
        old.fill_(value)
    elif key == "betas":
        group[key] = type(group[key])((value, *group[key][1:]))
    else:
        group[key] = value


def copied(value: Any) -> Any:
    """`value`, or a tensor of its own with the same content."""
    return value.clone() if isinstance(value, torch.Tensor) else value


def plain(value: Any) -> Any:
    """`value` as a number, also where it is a tensor."""
    return value.item() if isinstance(value, torch.Tensor) else value


def unshare(optimizer: Optimizer, schedules: dict[str, list[Schedule]]) -> None:
    """Give groups a tensor of their own where they share one but not its schedule.

    An optimizer hands the default tensor to all its groups: to fill one would fill all.
    """
    for name, own in schedules.items():
        if all(schedule == own[0] for schedule in own):
            continue
        seen = set()
        for group in optimizer.param_groups:
            key = "lr" if name == "schedule" else key_of(name, group)
            first = group[key][0] if key == "betas" else group[key]
            if isinstance(first, torch.Tensor) and id(first) in seen:
                group[key] = type(group[key])((first.clone(), *group[key][1:])) if key == "betas" else first.clone()
            seen.add(id(first))


def initial(group: Group) -> float:
    """The rate that the user gave, also where a scheduler has changed it since."""
    return float(plain(group.get("initial_lr", group["lr"])))


def ratios(optimizer: Optimizer) -> list[float]:
    """Each group's initial rate as a share of the largest; all equal where all are 0."""
    rates = [initial(group) for group in optimizer.param_groups]
    return [rate / max(rates) if max(rates) > 0 else 1.0 for rate in rates]


def mark(rate: Any) -> Any:
    """What tells whether a rate was changed since; a tensor is not read, which would wait for its device."""
    return (id(rate), rate._version) if isinstance(rate, torch.Tensor) else rate


def resolve(name: str, given: Any, groups: list[Group], largest: float | None = None) -> list[Schedule]:
    """One schedule for each group, checked.

    Args:
        name: What they drive.
        given: One schedule, several, or a function of the group.
        groups: The optimizer's groups.
        largest: The rate of the group that follows one schedule as it is; the others keep their ratio to it. None for
            no ratios.
    """
    schedules = _schedules(name, given, groups, largest)
    for schedule, group in zip(schedules, groups, strict=True):
        if not isinstance(schedule, Schedule):
            raise TypeError(problem(f"{name} must be a schedule", schedule, _advice(schedule)))
        if schedule.lowest < 0:
            raise ValueError(problem(f"{name} must not be negative", schedule))
        if name == "momentum" and schedule.highest >= 1:
            raise ValueError(problem("momentum must stay below 1", schedule, "for the learning rate use schedule"))
        if name != "schedule":
            key_of(name, group)
    return schedules


def _schedules(name: str, given: Any, groups: list[Group], largest: float | None) -> list[Any]:
    if isinstance(given, Schedule):
        return [given if largest is None else _scaled(given, initial(group), largest) for group in groups]
    if isinstance(given, (list, tuple)):
        if len(given) != len(groups):
            what = f"{name} must have one schedule for each of the {len(groups)} groups"
            raise ValueError(problem(what, len(given), "or pass one"))
        return list(given)
    if callable(given) and not isinstance(given, type):
        return [_of_group(name, given, {"initial_lr": plain(group["lr"]), **group}) for group in groups]
    return [given] * len(groups)


def _of_group(name: str, given: Callable[[Group], Schedule], group: Group) -> Schedule:
    """What a function gives for a group; a habit of LambdaLR is a function of the step."""
    try:
        return given(group)
    except TypeError as error:
        what = f"{name} must be a schedule, or a function of the group that returns one"
        advice = f"it was called with the group, not with the step ({error}); write a schedule, such as Power(...)"
        raise TypeError(problem(what, given, advice)) from error


def _scaled(schedule: Schedule, rate: float, largest: float) -> Schedule:
    """A schedule in the ratio of a group's own rate to the largest."""
    ratio = rate / largest if largest > 0 else 1.0
    if ratio == 1:
        return schedule
    return ratio * schedule if ratio else Constant(0.0)


def _advice(given: object) -> str:
    """What to pass in place of something that is not a schedule."""
    if isinstance(given, str):
        return "read a text by cyclr.parse(text)"
    if isinstance(given, numbers.Real):
        return f"for a constant rate write Constant({given})"
    return "pass a schedule such as Constant(0.1), a Plan, a list of schedules, or a function of the group"
