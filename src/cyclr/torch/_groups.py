"""The groups of an optimizer: their rates, and what else a schedule drives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from cyclr._check import problem
from cyclr._schedules import Constant, Schedule

Group = dict[str, Any]


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


def _initial(group: Group) -> float:
    """The rate that the user gave, also where a scheduler has changed it since."""
    return float(plain(group.get("initial_lr", group["lr"])))


def ratios(optimizer: Optimizer) -> list[float]:
    """Each group's initial rate as a share of the largest; all equal where all are 0."""
    rates = [_initial(group) for group in optimizer.param_groups]
    return [rate / max(rates) if max(rates) > 0 else 1.0 for rate in rates]


@dataclass(frozen=True, slots=True)
class InProportion:
    """A schedule for each group: groups keep the ratios of their initial rates, the largest follows `schedule`."""

    schedule: Schedule
    largest: float

    def __call__(self, group: Group) -> Schedule:
        """The schedule of one group."""
        ratio = _initial(group) / self.largest
        if ratio == 1:
            return self.schedule
        return ratio * self.schedule if ratio else Constant(0.0)


def in_proportion(schedule: Schedule, optimizer: Optimizer) -> Schedule | InProportion:
    """What to give a `Scheduler` so that groups keep the ratios of their rates."""
    rates = [_initial(group) for group in optimizer.param_groups]
    return schedule if min(rates) == max(rates) else InProportion(schedule, max(rates))
