"""When to stop a training that runs in cycles: judged where cycles end, and what it costs to stop elsewhere."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

from cyclr import _check
from cyclr._metrics import Better
from cyclr._plan import Plan
from cyclr._schedules import Schedule
from cyclr._snapshots import Course

_log = logging.getLogger("cyclr")


@dataclass(frozen=True, slots=True)
class Interruption:
    """What stopping after a step costs.

    Args:
        step: Completed optimizer steps.
        rate: The learning rate of the last one.
        share: That rate as a share of the highest one. Near 0 the weights have settled; near 1 they have not.
        left: Steps to the next end of a cycle; 0 at one, None if no more cycle ends.
        last: Steps since the last end of a cycle, whose snapshot is the alternative; None before the first.
    """

    step: int
    rate: float
    share: float
    left: int | None
    last: int | None

    def __str__(self) -> str:
        if self.left == 0:
            return f"Step {self.step} is the end of a cycle: nothing is lost by stopping here."
        said = f"At step {self.step} the rate is {self.rate:.3g}, {self.share:.0%} of its peak"
        said += f"; the cycle ends in {self.left} steps" if self.left is not None else "; no further cycle ends"
        if self.last is not None:
            said += f", the last one ended {self.last} steps ago"
        return said + "."


class EarlyStopping:
    """Stops a training whose validation metric no longer improves from one cycle end to the next.

    In the middle of a cycle the rate is high and the metric is worse for that reason alone, so what is measured there
    is ignored: patience counts cycles.

    Args:
        plan: A `Plan`, or a `Schedule` whose cycles end.
        patience: Number of cycle ends in a row without an improvement after which to stop.
        better: "min" if lower values of the metric are better, "max" if higher ones are.
        min_delta: The least change that counts as an improvement.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, or the schedule is endless or has no cycle that ends.

    >>> from cyclr import Bounds, plan
    >>> stopping = EarlyStopping(plan(Bounds(0.01, 0.1), steps=40, goal="ensemble"), patience=1, better="max")
    >>> values = {20: 0.80, 22: 0.61, 25: 0.83, 30: 0.82}  # step 22 is in the middle of a cycle
    >>> [stopping.step(step, value) for step, value in values.items()], stopping.best_step
    ([False, False, False, True], 25)
    >>> print(stopping.cost(22))
    At step 22 the rate is 0.055, 55% of its peak; the cycle ends in 3 steps, the last one ended 2 steps ago.
    """

    def __init__(
        self, plan: Plan | Schedule | Course, patience: int = 1, *, better: Better, min_delta: float = 0.0
    ) -> None:
        self._course = Course.of(plan)
        self.patience = _check.count("patience", patience)
        self.better = _check.choice("better", better, get_args(Better))
        self.min_delta = _check.non_negative("min_delta", min_delta)
        #: The best value so far and its step; None before the first cycle end.
        self.best: float | None = None
        self.best_step: int | None = None
        #: Cycle ends since then.
        self.waited = 0
        self._judged = 0

    def step(self, done: int, value: float | Callable[[], float]) -> bool:
        """Judge the training if a cycle ends here.

        Args:
            done: Completed optimizer steps.
            value: The validation metric, or a function that computes it, which is called at cycle ends only. A value
                that is not finite is no improvement.

        Returns:
            Whether to stop.
        """
        if self._course.is_end(_check.count("done", done, least=0)) and done > self._judged:
            self._judged = done
            found = float(value() if callable(value) else value)
            if self._improves(found):
                self.best, self.best_step, self.waited = found, done, 0
            else:
                self.waited += 1
        return self.waited >= self.patience

    def cost(self, done: int) -> Interruption:
        """What it costs to stop after a number of steps, wherever that is; `str` of it is a sentence.

        Raises:
            ValueError: If `done` is not positive.
        """
        return interruption(self._course, _check.count("done", done))

    def state_dict(self) -> dict[str, float | int | None]:
        """The state as plain data, for a checkpoint."""
        return {"best": self.best, "best_step": self.best_step, "waited": self.waited, "judged": self._judged}

    def load_state_dict(self, state: dict[str, float | int | None]) -> None:
        """Continue from the state of `state_dict()`.

        Raises:
            ValueError: If it is the state of something else.
        """
        if state.keys() != self.state_dict().keys():
            raise ValueError(_check.problem("the state must be of an EarlyStopping", sorted(state)))
        best, at = state["best"], state["best_step"]
        self.best, self.best_step = (None, None) if best is None or at is None else (float(best), int(at))
        self.waited, self._judged = int(state["waited"] or 0), int(state["judged"] or 0)

    def _improves(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self.best is None:
            return True
        gain = value - self.best if self.better == "max" else self.best - value
        return gain > self.min_delta


class Patience:
    """Early stopping as the callback of a trainer has it: from the start of a training to its end.

    Args:
        cycles: Number of cycle ends in a row without a better metric; None never stops.
        judged: Whether there is a metric.

    Raises:
        TypeError: If `cycles` is not an integer.
        ValueError: If it is not positive, or there is no metric.
    """

    def __init__(self, cycles: int | None, *, judged: bool) -> None:
        if cycles is not None and not judged:
            advice = "pass metric=(function of the model, 'min')"
            raise ValueError(_check.problem("patience needs a metric", None, advice))
        self.cycles = None if cycles is None else _check.count("patience", cycles)
        self._stopping: EarlyStopping | None = None

    def begin(self, course: Course, better: Better, values: Mapping[int, float]) -> None:
        """Go on after `values`, those of the metric at earlier cycle ends by their steps."""
        if self.cycles is not None:
            self._stopping = EarlyStopping(course, self.cycles, better=better)
            for step, value in sorted(values.items()):
                self.exhausted(step, value)

    def exhausted(self, done: int, value: float | None) -> bool:
        """Whether to stop after that number of steps; `value` is None where the model was not judged."""
        return self._stopping is not None and value is not None and self._stopping.step(done, value)


def tell_interruption(course: Course, done: int) -> None:
    """Log what it costs that a training has stopped after `done` steps, if that is in the middle of a cycle."""
    if done and (cost := interruption(course, done)).left:
        _log.warning("the training has stopped in the middle of a cycle. %s", cost)


def interruption(course: Course, done: int) -> Interruption:
    """What stopping after `done` steps costs."""
    rate = float(course.schedule(done - 1))
    later = [end - done for end in course.ends if end >= done]
    earlier = [done - end for end in course.ends if end <= done]
    peak = course.schedule.highest
    return Interruption(
        done, rate, rate / peak if peak > 0 else 0.0, min(later, default=None), min(earlier, default=None)
    )
