"""A scheduler that ends with its schedule when the time is up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import distributed
from torch.optim import Optimizer

from cyclr._check import non_negative, positive, problem
from cyclr._plan import Plan
from cyclr._schedules import Schedule
from cyclr.torch._distributed import once
from cyclr.torch._groups import Given
from cyclr.torch._scheduler import Scheduler


class TimedScheduler(Scheduler):
    """A `Scheduler` for a budget in minutes: the schedule ends when the time is up, however long a step takes.

    Only the shape of the schedule counts. After each optimizer step the scheduler advances in it by

        position += (duration - position) * seconds per step / seconds left

    so that a machine that turns out slower or faster than planned ends with the last, lowest rates all the same. The
    time of a step is the mean so far, evaluations and waits for data included. No end of a cycle is skipped. Several
    processes follow the clock of the first. `last_epoch` is the position, the number of the planned step.

    Args:
        optimizer: As in `Scheduler`.
        schedule: The learning rate at each planned step, as in `Scheduler`; it must have an end.
        momentum: As in `Scheduler`.
        weight_decay: As in `Scheduler`.
        minutes: The budget, from the moment at which the scheduler is made; time between two processes of a resumed
            training does not count.
        same_rate: As in `Scheduler`.
        on_mismatch: As in `Scheduler`.
        clock: A function that returns seconds and never goes back.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, or the schedule has no end.

    >>> import torch
    >>> from cyclr import one_cycle
    >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1)
    >>> scheduler = TimedScheduler(optimizer, one_cycle(0.1, steps=1000), minutes=0.001)
    >>> while not scheduler.finished:
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.0]

    Reference:
        Li, Yumer & Ramanan (2020), Budgeted Training: the rate as a function of the share of the budget that is spent.
        https://arxiv.org/abs/1905.04753
    """

    def __init__(
        self,
        optimizer: Optimizer | Sequence[Optimizer],
        schedule: Given | Plan,
        momentum: Given | None = None,
        weight_decay: Given | None = None,
        *,
        minutes: float,
        same_rate: bool = False,
        on_mismatch: str = "error",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = 60 * positive("minutes", minutes)
        self.clock = clock
        self.position, self.elapsed, self.made = 0.0, 0.0, 0
        self._pace, self._revised = 0.0, 0  # planned steps per step, and at which step it is computed again
        super().__init__(optimizer, schedule, momentum, weight_decay, same_rate=same_rate, on_mismatch=on_mismatch)
        self._length.pace = None  # by time, a step of the schedule is not meant to be one of the optimizer
        self._measure()

    @property
    def finished(self) -> bool:
        """Whether the time is up and the schedule has ended: where to leave the loop. Trainers leave it themselves."""
        return self.position >= self.duration

    def step(self, epoch: int | None = None) -> None:
        """Set all driven options to their values at the next position. Call it after each `optimizer.step()`."""
        if self._is_initial:
            super().step(epoch)
            return
        if epoch is not None:
            raise TypeError(problem("step() of a TimedScheduler takes no step", epoch, "call it without arguments"))
        self._advance()
        reached = round(self.position) if self.finished else min(round(self.position), math.ceil(self.duration) - 1)
        self.last_epoch = reached - 1  # no step is made at the rate of the end
        super().step()

    def state_dict(self) -> dict[str, Any]:
        """The state of a `Scheduler`, and the time and steps spent."""
        return {**super().state_dict(), "elapsed": self.elapsed, "made": self.made, "position": self.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue at the position of `state_dict`, from either kind of scheduler, with the time left that it had."""
        elapsed = non_negative("elapsed", state_dict.get("elapsed", 0.0))
        super().load_state_dict(state_dict)
        self.elapsed, self.made = elapsed, state_dict.get("made", 0)
        self.position = float(state_dict.get("position", max(0, self.last_epoch)))
        self._revised = self.made
        self._measure()

    def _measure(self) -> None:
        """Check that there is an end, note the ends of cycles, and start the clock."""
        main = max(self.schedules["schedule"], key=lambda schedule: schedule.duration)
        _check_end(main)
        self.duration = main.duration
        self._ends = _ends(main) if self.plan is None else self.plan.snapshots
        self._seen = self.clock()

    def _advance(self) -> None:
        """One step further: to the position at which the schedule ends in time, at most to the end of the cycle."""
        now = self.clock()
        self.elapsed, self._seen, self.made = self.elapsed + now - self._seen, now, self.made + 1
        if self.made >= self._revised:
            group = distributed.group.WORLD if distributed.is_available() and distributed.is_initialized() else None
            spent, total = once(lambda: (self.elapsed, self.seconds), group)
            each = spent / self.made
            steps = max(1.0, (total - spent) / each + 1) if each > 0 else math.inf
            self._pace = (self.duration - self.position) / steps
            self._revised = self.made + max(1, int(min(steps, 1e6) / 100))
        limit = next((end for end in self._ends if end > self.position), self.duration)
        self.position = min(self.position + self._pace, limit)
        if self.duration - self.position < 1e-6 * self.duration:
            self.position = float(self.duration)  # whatever was lost to rounding


def scheduler_of(
    optimizer: Optimizer, given: Mapping[str, Any], minutes: float | None, on_mismatch: str = "error"
) -> Scheduler:
    """A scheduler for the driven options; by the clock where `minutes` are given."""
    if minutes is None:
        return Scheduler(optimizer, **given, on_mismatch=on_mismatch)
    return TimedScheduler(optimizer, **given, minutes=minutes, on_mismatch=on_mismatch)


def check_minutes(minutes: float | None, schedule: object) -> None:
    """Errors that need no optimizer.

    Raises:
        TypeError: If `minutes` is not a number.
        ValueError: If it is not positive, or the schedule has no end.
    """
    if minutes is not None:
        positive("minutes", minutes)
        if isinstance(schedule, Schedule):
            _check_end(schedule)


def is_over(schedulers: Iterable[object]) -> bool:
    """Whether some schedulers go by the clock, and all of these have ended; Accelerate wraps them."""
    inner = [getattr(one, "scheduler", one) for one in schedulers]
    timed = [one for one in inner if isinstance(one, TimedScheduler)]
    return bool(timed) and all(one.finished for one in timed)


def _check_end(schedule: Schedule) -> None:
    if schedule.duration == math.inf:
        advice = "a cycle of any length will do: plan(bounds, steps=1000)"
        raise ValueError(problem("the schedule must have an end", schedule, advice))


def _ends(schedule: Schedule) -> tuple[int, ...]:
    return schedule.cycle_ends(int(schedule.duration))
