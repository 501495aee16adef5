"""The groups of an optimizer: their rates, and the other options that a schedule drives."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch.optim import Optimizer

from cyclr._check import problem
from cyclr._plan import Plan
from cyclr._range.short import is_single_layer
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
    """Set one entry of a group; a tensor is filled in place; of the betas, only the first one is changed."""
    old = group[key]
    first = old[0] if key == "betas" else old
    if isinstance(first, torch.Tensor):
        first.fill_(value)
    else:
        group[key] = type(old)((value, *old[1:])) if key == "betas" else value


def copied(value: Any) -> Any:
    """`value`, or a copy of it if it is a tensor."""
    return value.clone() if isinstance(value, torch.Tensor) else value


def plain(value: Any) -> Any:
    """`value` as a number, even if it is a tensor."""
    return value.item() if isinstance(value, torch.Tensor) else value


def unshare(optimizer: Optimizer, schedules: dict[str, list[Schedule]]) -> None:
    """Give groups separate tensors if they share one but not its schedule.

    An optimizer gives the default tensor to all its groups, so filling one would fill all.
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
    """The rate that the user gave, even if a scheduler has changed it since."""
    return float(plain(group.get("initial_lr", group["lr"])))


def ratios(optimizer: Optimizer) -> list[float]:
    """The ratio of each group's initial rate to the largest one; all 1 if all rates are 0."""
    rates = [initial(group) for group in optimizer.param_groups]
    return [rate / max(rates) if max(rates) > 0 else 1.0 for rate in rates]


def named_ratios(optimizer: Optimizer) -> tuple[tuple[str, float], ...]:
    """The name of each group, as the user gave it in an entry "name", and its ratio; nothing if all rates are equal."""
    every = ratios(optimizer)
    names = [str(group.get("name", "")) for group in optimizer.param_groups]
    return tuple(zip(names, every, strict=True)) if len(set(every)) > 1 else ()


def is_plain_sgd(optimizer: Optimizer) -> bool:
    """Whether it is SGD without momentum, whatever wraps it: no other optimizer of torch has a dampening."""
    return all(
        group.keys() >= {"momentum", "dampening", "nesterov"} and plain(group["momentum"]) == 0
        for group in optimizer.param_groups
    )


def adaptive_weights(optimizer: Optimizer) -> int:
    """How many weights it trains, if its steps are about as large as the rate, as those of Adam or RMSprop; else 0."""
    groups = optimizer.param_groups
    if not all("betas" in group or "centered" in group for group in groups):
        return 0
    return sum(weight.numel() for group in groups for weight in group["params"] if weight.requires_grad)


def trains_single_layer(optimizer: Optimizer) -> bool:
    """Whether all that it trains is a single layer, such as a new head."""
    weights = (weight for group in optimizer.param_groups for weight in group["params"])
    return is_single_layer(weight.shape for weight in weights if weight.requires_grad)


def mark(rate: Any) -> Any:
    """A mark that shows whether a rate was changed since; a tensor is not read, as that would wait for its device."""
    return (id(rate), rate._version) if isinstance(rate, torch.Tensor) else rate


def resolve(name: str, given: Any, groups: list[Group], largest: float | None = None) -> list[Schedule]:
    """One schedule for each group, checked.

    Args:
        name: The option that they drive.
        given: One schedule, several, or a function of the group.
        groups: The optimizer's groups.
        largest: The rate of the group that follows a single schedule unchanged; the others keep their ratios to it.
            None for no ratios.
    """
    schedules = _schedules(name, given, groups, largest)
    for schedule, group in zip(schedules, groups, strict=True):
        if not isinstance(schedule, Schedule):
            raise TypeError(problem(f"{name} must be a schedule", schedule, _advice(schedule)))
        if schedule.lowest < 0:
            raise ValueError(problem(f"{name} must not be negative", schedule))
        if name == "momentum" and schedule.highest >= 1:
            raise ValueError(problem("momentum must stay below 1", schedule, "pass a learning rate as schedule"))
        if name != "schedule":
            key_of(name, group)
    return schedules


def _schedules(name: str, given: Any, groups: list[Group], largest: float | None) -> list[Any]:
    if isinstance(given, Schedule):
        return [given if largest is None else _scaled(given, initial(group), largest) for group in groups]
    if isinstance(given, (list, tuple)):
        if len(given) != len(groups):
            what = f"{name} must have one schedule for each of the {len(groups)} groups"
            raise ValueError(problem(what, len(given), "or pass a single one"))
        return list(given)
    if callable(given) and not isinstance(given, type):
        return [_of_group(name, given, {"initial_lr": plain(group["lr"]), **group}) for group in groups]
    return [given] * len(groups)


def _of_group(name: str, given: Callable[[Group], Schedule], group: Group) -> Schedule:
    """The schedule that a function returns for a group; a function of the step, as for LambdaLR, is an error."""
    try:
        return given(group)
    except TypeError as error:
        what = f"{name} must be a schedule, or a function of the group that returns one"
        advice = f"it was called with the group, not with the step ({error}); write a schedule, such as Power(...)"
        raise TypeError(problem(what, given, advice)) from error


def _scaled(schedule: Schedule, rate: float, largest: float) -> Schedule:
    """A schedule scaled by the ratio of a group's rate to the largest."""
    ratio = rate / largest if largest > 0 else 1.0
    if ratio == 1:
        return schedule
    return ratio * schedule if ratio else Constant(0.0)


def _advice(given: object) -> str:
    """Advice on what to pass instead of a value that is not a schedule."""
    if isinstance(given, str):
        return "convert a text with cyclr.parse(text)"
    if isinstance(given, numbers.Real):
        return f"for a constant rate write Constant({given})"
    return "pass a schedule such as Constant(0.1), a Plan, a list of schedules, or a function of the group"


def check_given(given: Mapping[str, Any]) -> None:
    """What is to be driven, by what: as far as it can be checked before there is an optimizer.

    Raises:
        TypeError: If something else is given where a schedule must be.
        ValueError: If a schedule leaves the range of what it drives.
    """
    for name, value in given.items():
        if isinstance(value, Plan) and name == "schedule":
            continue
        for one in value if isinstance(value, (list, tuple)) else [value]:
            optional = one is None and name != "schedule"
            of_the_group = callable(one) and not isinstance(one, (Schedule, type))  # asked when there are groups
            if not (optional or of_the_group):
                resolve(name, one, [{"lr": 1.0, name: 0.5}])
