"""Checks whether a training is as long as its schedule."""

from __future__ import annotations

import logging
import math
import numbers
import warnings
from collections.abc import Sequence
from math import ceil
from typing import Any
from weakref import WeakMethod

from torch.optim import Optimizer

from cyclr._check import count, problem
from cyclr._plan import Plan
from cyclr._schedules import Schedule
from cyclr.torch._batches import length
from cyclr.torch._trainer import Chosen

_log = logging.getLogger("cyclr")
NOTHING = 1e-3  #: a rate below this fraction of the highest one has almost no effect
SLACK = 0.05  #: fraction of a schedule by which its end may be exceeded if the length of an epoch is unknown
EVERY_STEP = 10  #: changes in a row by something else before the warning
LATE = 2  #: scheduler steps, each after several optimizer steps, before the warning


class Changes:
    """Notices something else that sets rates at every step: of two schedulers one undoes what the other sets."""

    def __init__(self) -> None:
        self._last, self._row = -1, 0

    def note(self, step: int) -> None:
        """A rate was found changed at this step; told once, at the tenth in a row."""
        self._row = self._row + 1 if self._last == step - 1 else 1
        self._last = step
        if self._row == EVERY_STEP:
            _log.warning(
                "something else, such as a second scheduler, has set the rate at each of the last %d steps; unless it "
                "multiplies the present rate, the schedule has no effect: use one of them",
                self._row,
            )


class Length:
    """Compares the number of steps with the planned one and warns once.

    Args:
        plan: The plan of the schedule, if known: it has the length of an epoch.
        schedules: The schedules of the groups.
    """

    def __init__(self, plan: Plan | None, schedules: Sequence[Schedule]) -> None:
        self.epoch = None if plan is None else plan.steps_per_epoch
        longest = max(schedules, key=lambda schedule: schedule.duration)
        self.duration, self.schedule = longest.duration, longest
        self.warned = self.duration == math.inf
        self.limit = (
            self.duration if self.warned else self.duration + (self.epoch or max(1, int(SLACK * self.duration)))
        )
        self.optimizer_steps, self.late = 0, 0

    def count_steps(self, optimizer: Optimizer) -> None:
        """Count the optimizer's steps, to notice a scheduler that is stepped once an epoch."""
        if isinstance(optimizer, Chosen):  # where one of several makes steps, the others do
            optimizer = optimizer.optimizers[optimizer.which or 0]
        if self.epoch is None or self.epoch < 2 or not hasattr(optimizer, "_optimizer_step_post_hooks"):
            return
        counting = WeakMethod(self._count)

        def hook(*_: Any) -> None:
            if (own := counting()) is not None:
                own()

        optimizer.register_step_post_hook(hook)

    def check_step(self, step: int) -> None:
        """Warn once if the training exceeds its schedule, or if the scheduler lags far behind the optimizer."""
        if self.warned:
            return
        made, self.optimizer_steps = self.optimizer_steps, 0
        self.late = self.late + 1 if made > 1 else 0
        if step > self.limit and not self._ends_at_nothing():
            self.limit = math.inf
        if step > self.limit:
            self._warn(
                f"the training has made {step} steps, but its schedule was made for {self.duration:.0f} and stays at "
                f"{self._last():.3g} after them; stop here, or make a schedule for the whole training"
            )
        elif self.epoch is not None and self.late >= LATE and made >= self.epoch:
            self._warn(
                f"scheduler.step() is called once per {made} optimizer steps, but the schedule of {self.duration:.0f} "
                "steps counts optimizer steps; call it after every optimizer.step()"
            )

    def check_training(self, loader: Any, *, epochs: int, accumulate: int) -> str:
        """Where a training would end; see `Scheduler.check`."""
        batches = loader if isinstance(loader, numbers.Integral) else length(loader)
        if batches is None:
            raise TypeError(problem("loader must have a length", loader, "pass the number of batches in an epoch"))
        epoch = ceil(count("loader", batches) / count("accumulate", accumulate))
        steps = count("epochs", epochs) * epoch
        made = f"{steps:,} steps ({epochs} epochs of {epoch:,})"
        if self.duration == math.inf:
            return f"{made}; the schedule is endless and would be at a rate of {self.schedule(steps):.3g}."
        said = f"{made}; the schedule takes {self.duration:,.0f} and"
        if steps >= self.duration:
            said = f"{said} ends at a rate of {self._last():.3g}"
        else:
            said = f"{said} would be at a rate of {self.schedule(steps):.3g} when the training ends"
        if abs(steps - self.duration) > epoch:
            warnings.warn(f"{said}; make the schedule for {steps:,} steps", UserWarning, stacklevel=3)
        return f"{said}."

    def _count(self) -> None:
        self.optimizer_steps += 1

    def _last(self) -> float:
        return float(self.schedule(int(self.duration)))

    def _ends_at_nothing(self) -> bool:
        return self._last() <= NOTHING * self.schedule.highest

    def _warn(self, said: str) -> None:
        self.warned, self.limit = True, math.inf  # once
        warnings.warn(said, UserWarning, stacklevel=4)
