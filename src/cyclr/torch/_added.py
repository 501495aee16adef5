"""Notifies schedulers of groups that are added to an optimizer later."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet, ref

from torch.optim import Optimizer

from cyclr.torch._groups import Group

if TYPE_CHECKING:
    from cyclr.torch._scheduler import Scheduler


class _AddGroup:
    """Replaces `optimizer.add_param_group` and notifies the schedulers, to which it holds weak references."""

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
            watcher._drive()  # so that the new group's first step has the right rate


def watch(optimizer: Optimizer, scheduler: Scheduler) -> None:
    """Notify `scheduler` of groups that are added later."""
    present = optimizer.__dict__.get("add_param_group")
    if not isinstance(present, _AddGroup):
        if present is not None:
            return  # someone else's: new groups are then met at the next step
        present = _AddGroup(optimizer)
        optimizer.add_param_group = present  # type: ignore[method-assign]
    present.watchers.add(scheduler)
