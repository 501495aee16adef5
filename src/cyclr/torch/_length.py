"""Checks whether a training is as long as its schedule."""

from __future__ import annotations

import logging
import math
import numbers
import sys
import warnings
from collections.abc import Sequence
from math import ceil
from typing import Any

from cyclr._check import count, problem
from cyclr._plan import Plan
from cyclr._schedules import Schedule
from cyclr.torch._batches import length
from cyclr.torch._pace import Pace

_log = logging.getLogger("cyclr")
NOTHING = 1e-3  #: a rate below this fraction of the highest one has almost no effect
SLACK = 0.05  #: fraction of a schedule by which its end may be exceeded if the length of an epoch is unknown
EVERY_STEP = 10  #: changes in a row by something else before the warning
SMALL = 8  #: optimizer steps per scheduler step that are reported where a schedule may count something else, as epochs


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
        pace: Counts optimizer steps beside those of the scheduler, for the first few.
    """

    def __init__(self, plan: Plan | None, schedules: Sequence[Schedule], pace: Pace | None = None) -> None:
        self.pace = pace
        self.epoch = None if plan is None else plan.steps_per_epoch
        longest = max(schedules, key=lambda schedule: schedule.duration)
        self.duration, self.schedule = longest.duration, longest
        self.planned, self.limit = plan is not None, math.inf  #: the last step that is no reason for a warning
        if self.duration < math.inf:
            self.limit = self.duration + (self.epoch or max(1, int(SLACK * self.duration)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "pace": None}  # its hooks, which a copied optimizer does not have

    def look(self, step: int) -> int:
        """Compare the training with its schedule at a step; the step from which on to do so again."""
        if self.pace is not None and (ratio := self.pace.look()) is not None:
            self.pace = None
            self.check_pace(ratio)
        self.check_end(step)
        return 0 if self.pace is not None else int(min(self.limit, sys.maxsize)) + 1

    def check_pace(self, ratio: float) -> None:
        """Tell of scheduler steps that are not optimizer steps.

        Args:
            ratio: Scheduler steps per optimizer step.
        """
        if ratio == 1:
            return
        often, number = ratio > 1, round(max(ratio, 1 / ratio))
        said = (
            f"is called {number} times per optimizer step" if often else f"is called once per {number} optimizer steps"
        )
        advice = "call it once after every optimizer.step()"
        if often:
            advice += ", so with accumulated gradients not after every batch"
        if self.planned:
            made_for = f"the schedule of {self.duration:.0f} steps counts optimizer steps"
            self._warn(f"scheduler.step() {said}, but {made_for}; {advice}")
        elif often or number <= SMALL:  # a schedule that counts epochs is as good as one that counts steps
            takes = f"a step of the schedule takes {1 / ratio:.3g}"
            if self.duration < math.inf:
                takes = f"its {self.duration:.0f} steps take {self.duration / ratio:.0f}"
            _log.warning(
                "scheduler.step() %s, so that %s optimizer steps; if that is not meant, %s", said, takes, advice
            )

    def check_end(self, step: int) -> None:
        """Warn once if the training exceeds its schedule."""
        if step > self.limit and not self._ends_at_nothing():
            self.limit = math.inf
        if step > self.limit:
            self._warn(
                f"the training has made {step} steps, but its schedule was made for {self.duration:.0f} and stays at "
                f"{self._last():.3g} after them; stop here, or make a schedule for the whole training"
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

    def _last(self) -> float:
        return float(self.schedule(int(self.duration)))

    def _ends_at_nothing(self) -> bool:
        return self._last() <= NOTHING * self.schedule.highest

    def _warn(self, said: str) -> None:
        self.limit = math.inf  # once
        warnings.warn(said, UserWarning, stacklevel=5)
