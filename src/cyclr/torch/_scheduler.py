"""A schedule drives an optimizer: as a learning-rate scheduler that every trainer takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet, ref

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cyclr._check import count, problem
from cyclr._plan import Plan
from cyclr._range import Bounds, Curve
from cyclr._schedules import Schedule
from cyclr.torch._groups import Group, copied, key_of, plain, put, unshare
from cyclr.torch._task import check_optimizer

Given = Schedule | Sequence[Schedule] | Callable[[Group], Schedule]
#: What a schedule may drive: the learning rate first.
DRIVEN = ("schedule", "momentum", "weight_decay")


class Scheduler(LRScheduler):
    """Sets the learning rate of every group to `schedule(step)`, and if asked momentum and weight decay as well.

    Call `scheduler.step()` after each `optimizer.step()`. The only state is the number of steps done, so that resuming
    is nothing but evaluating the schedule there. Each of the three may be given as one schedule for all groups, a list
    with one schedule for each group, or a function of the group (the optimizer's dict, with `initial_lr` in it) that
    returns one. A group added to the optimizer later is driven from its first step on, unless a list was given.

    A rate that is a tensor is filled in place, so that CUDA graphs and compiled steps see it.

    Args:
        optimizer: What to drive.
        schedule: The learning rate at each step.
        momentum: Drives `momentum` or the first of the `betas`; None leaves them alone.
        weight_decay: Drives `weight_decay`; None leaves it alone.
        last_epoch: The last step that was done; -1 starts. As in torch, `last_epoch=9` goes on at step 10.

    Raises:
        TypeError: If `optimizer` is no optimizer, or something else stands where a schedule must.
        ValueError: If a list does not have one schedule for each group, a group has nothing of the kind to drive, or
            a schedule leaves the range of what it drives. No group is changed then.

    >>> import torch
    >>> from cyclr import Opposed, Triangular
    >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1, momentum=0.9)
    >>> wave = Triangular(0.1, 0.5, step_size=4)
    >>> scheduler = Scheduler(optimizer, wave, momentum=Opposed(wave, 0.85, 0.95))
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr(), round(optimizer.param_groups[0]["momentum"], 3)
    ([0.5], 0.85)
    """

    #: What `auto` found and chose; None elsewhere.
    curve: Curve | None = None
    bounds: Bounds | None = None
    plan: Plan | None = None

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Given,
        momentum: Given | None = None,
        weight_decay: Given | None = None,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("optimizer", optimizer)
        if isinstance(last_epoch, bool) or last_epoch != -1:
            last_epoch = count("last_epoch", last_epoch, "pass -1 to start", least=0)
        given = dict(zip(DRIVEN, (schedule, momentum, weight_decay), strict=True))
        self.given = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
            if value is not None or name == "schedule"
        }
        self.schedules = {name: resolve(name, value, optimizer.param_groups) for name, value in self.given.items()}
        unshare(optimizer, self.schedules)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", copied(group["lr"]))  # torch wants it where last_epoch is given
        super().__init__(optimizer, last_epoch)
        _watch(optimizer, self)

    def get_lr(self) -> list[Any]:
        """The rate of each group at the present step.

        Momentum and weight decay are set on the way, as in `CyclicLR`: whoever asks for rates is about to set them.
        """
        self._take_in()
        step = max(self.last_epoch, 0)  # SequentialLR winds a scheduler back before it starts it again
        groups = self.optimizer.param_groups
        for name in self.given:
            if name != "schedule":
                for group, schedule in zip(groups, self.schedules[name], strict=True):
                    put(group, key_of(name, group), schedule(step))
        return [schedule(step) for schedule in self.schedules["schedule"]]

    def state_dict(self) -> dict[str, Any]:
        """The step and the text of every schedule: plain data, which `torch.load(weights_only=True)` reads.

        Returns:
            `last_epoch`, and for each thing driven one text, or a list with one text for each group.
        """
        return {"last_epoch": self.last_epoch, **self._texts()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on at the step of `state_dict`: the rates are set at once. The dict is only read.

        Args:
            state_dict: What `state_dict` gave, of this process or another.

        Raises:
            TypeError: If a value in `state_dict` is of the wrong kind.
            ValueError: If it is not of a `Scheduler`, or of one with other schedules; nothing is changed then.
        """
        if "last_epoch" not in state_dict or "schedule" not in state_dict:
            raise ValueError(
                problem(
                    "the state must be of a cyclr.torch.Scheduler, with 'last_epoch' and 'schedule'",
                    sorted(map(str, state_dict)),
                    "to go on from another scheduler, give its step as last_epoch",
                )
            )
        self._take_in()
        for name in DRIVEN:
            saved, own = state_dict.get(name), self._texts().get(name)
            if saved != own:
                raise ValueError(
                    f"the saved {name} must be the one that is driven now, got {saved} saved and {own} now; "
                    "make the scheduler with the saved one, or start the new one with last_epoch"
                )
        last_epoch = count("last_epoch", state_dict["last_epoch"], least=-2)  # below 0: a part of a SequentialLR
        self.last_epoch, self._step_count = last_epoch, last_epoch + 1  # that has not begun; it sets no rate
        if last_epoch >= 0:
            self._drive()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A copied optimizer has lost what torch and we had tied to it.
        self._step_count = max(self._step_count, 2)
        _watch(self.optimizer, self)

    def _texts(self) -> dict[str, Any]:
        """What is driven, as text: one where one schedule serves any number of groups, else a list."""
        return {
            name: repr(value) if isinstance(value, Schedule) else [repr(schedule) for schedule in self.schedules[name]]
            for name, value in self.given.items()
        }

    def _drive(self) -> None:
        """Set what is driven to its value at the present step."""
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            put(group, "lr", rate)
        self._last_lr = [copied(group["lr"]) for group in self.optimizer.param_groups]

    def _take_in(self) -> None:
        """Give groups that were added a schedule, all of them or none."""
        new = self.optimizer.param_groups[len(self.schedules["schedule"]) :]
        if not new:
            return
        found = {name: self._for_later(name, new) for name in self.given}
        for name, schedules in found.items():
            self.schedules[name].extend(schedules)
        for group in new:
            self.base_lrs.append(copied(group.setdefault("initial_lr", copied(group["lr"]))))
        unshare(self.optimizer, self.schedules)

    def _for_later(self, name: str, groups: list[Group]) -> list[Schedule]:
        """The schedules of groups that were added."""
        given = self.given[name]
        if isinstance(given, tuple):
            raise ValueError(
                f"a group was added to the optimizer, but {name} was given as a list of {len(given)}, one for each "
                "group; add groups before the scheduler is made, or give a function of the group"
            )
        return resolve(name, given, groups)

    def _forget(self, first: int) -> None:
        """Drop the groups from `first` on again."""
        del self.base_lrs[first:]
        for schedules in self.schedules.values():
            del schedules[first:]

    def _in_force(self) -> bool:
        """Whether the groups hold our rates: in a SequentialLR another scheduler may have its turn."""
        return [plain(group["lr"]) for group in self.optimizer.param_groups[: len(self._last_lr)]] == [
            plain(rate) for rate in self._last_lr
        ]


def resolve(name: str, given: Any, groups: list[Group]) -> list[Schedule]:
    """One schedule for each group, checked."""
    if isinstance(given, Schedule):
        schedules = [given] * len(groups)
    elif isinstance(given, (list, tuple)):
        if len(given) != len(groups):
            raise ValueError(
                problem(
                    f"{name} must have one schedule for each of the {len(groups)} groups", len(given), "or pass one"
                )
            )
        schedules = list(given)
    elif callable(given):
        schedules = [given({"initial_lr": plain(group["lr"]), **group}) for group in groups]
    else:
        schedules = [given] * len(groups)
    for schedule, group in zip(schedules, groups, strict=True):
        if not isinstance(schedule, Schedule):
            advice = (
                "pass a schedule such as Constant(0.1), a list of them, or a function of the group that returns one"
            )
            raise TypeError(problem(f"{name} must be a schedule", schedule, advice))
        if schedule.lowest < 0:
            raise ValueError(problem(f"{name} must not be negative", schedule))
        if name == "momentum" and schedule.highest >= 1:
            raise ValueError(problem("momentum must stay below 1", schedule, "for the learning rate use schedule"))
        if name != "schedule":
            key_of(name, group)
    return schedules


class _AddGroup:
    """Stands in for `optimizer.add_param_group` and tells the schedulers. Keeps none of them alive."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = ref(optimizer)
        self.watchers: WeakSet[Scheduler] = WeakSet()

    def __call__(self, param_group: Group) -> None:
        optimizer = self.optimizer()
        if optimizer is None:
            raise ReferenceError("the optimizer is gone")
        before = len(optimizer.param_groups)
        in_force = [watcher for watcher in self.watchers if watcher._in_force()]
        type(optimizer).add_param_group(optimizer, param_group)
        try:
            for watcher in self.watchers:
                watcher._take_in()
        except BaseException:
            del optimizer.param_groups[before:]
            for watcher in self.watchers:
                watcher._forget(before)
            raise
        for watcher in in_force:
            watcher._drive()  # the new group's first step has the right rate already


def _watch(optimizer: Optimizer, scheduler: Scheduler) -> None:
    """Tell `scheduler` of groups that are added later."""
    present = optimizer.__dict__.get("add_param_group")
    if not isinstance(present, _AddGroup):
        if present is not None:
            return  # someone else's: new groups are then met at the next step
        present = _AddGroup(optimizer)
        optimizer.add_param_group = present  # type: ignore[method-assign]
    present.watchers.add(scheduler)
