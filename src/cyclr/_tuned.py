"""What every `auto` of a trainer does around its range test: checks before any work, and the plan after it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from cyclr._check import problem
from cyclr._goals import Goal
from cyclr._plan import Plan, plan
from cyclr._range import Answer, Bounds, Curve, Kind, Search, Size, StepProgress, Terminal, effort_for, size_of
from cyclr._schedules import Opposed

_log = logging.getLogger("cyclr")


@dataclass(frozen=True, slots=True)
class Tuned:
    """What `auto` found for a training, which now follows it.

    Args:
        curve: What the range test recorded.
        bounds: Both bounds, with their intervals and the evidence.
        plan: The schedule of the training, and the reasons for it.
        momentum: The momentum at each step, where `auto` was asked to drive it.
    """

    curve: Curve
    bounds: Bounds
    plan: Plan
    momentum: Opposed | None = None


@dataclass(frozen=True, slots=True)
class Voice:
    """Tells on the terminal how `auto` goes on, unless `search.progress` is given or others tell it."""

    search: Search
    terminal: Terminal | None

    @property
    def progress(self) -> StepProgress | None:
        """The `progress` of the range test."""
        return self.search.progress or self.terminal

    def say(self, text: str) -> None:
        """A line that stays."""
        if self.terminal is not None:
            self.terminal.say(f"auto: {text}")

    def found(self, tuned: Tuned) -> None:
        """What was found and planned, in one line."""
        cost = f"max_lr {tuned.bounds.max_lr:.3g} by {tuned.curve.tuning_cost:,} steps of range test"
        self.say(f"{cost}; planned {tuned.plan.steps:,} steps, {tuned.plan.schedule}")

    def __enter__(self) -> Voice:
        return self

    def __exit__(self, *_: object) -> None:
        if self.terminal is not None:
            self.terminal.clear()


@dataclass(frozen=True, slots=True)
class Asked:
    """What `auto` is asked for, whatever the trainer.

    Args:
        search: The range test, and which of its signals the bounds are read from.
        goal: What the training is for.
        momentum: From and to; None leaves momentum alone.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range.
    """

    search: Search
    goal: Goal
    momentum: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.search, Search):
            raise TypeError(problem("search must be a cyclr.Search", self.search, "write Search(effort='thorough')"))
        if self.momentum is not None and not (isinstance(self.momentum, tuple) and len(self.momentum) == 2):
            raise TypeError(problem("momentum must be a pair (from, to)", self.momentum, "pass (0.85, 0.95)"))
        self.planned(Bounds(0.1, 1.0), 10**6, None)  # whatever does not depend on the length of the training

    def planned(self, bounds: Bounds, steps: int, steps_per_epoch: int | None) -> tuple[Plan, Opposed | None]:
        """The plan for a training of this length, and its momentum."""
        made = plan(bounds, steps=steps, steps_per_epoch=steps_per_epoch, goal=self.goal)
        return made, None if self.momentum is None else Opposed(made.schedule, *self.momentum)

    def voice(self, *, first: bool = True) -> Voice:
        """Tells on the terminal how `auto` goes on, unless `search.progress` is given or others tell it."""
        return Voice(self.search, Terminal("range test") if first and self.search.progress is None else None)

    def effort(self, steps: int, steps_per_epoch: int | None) -> str:
        """How thorough the range test is; raises if a training of this length cannot be planned."""
        trial, _ = self.planned(Bounds(0.1, 1.0), steps, steps_per_epoch)
        # Probe cycles are judged by the training loss.
        return self.search.effort or (effort_for(trial.steps) if self.search.signal == "loss" else "quick")

    def size(self, kind: Kind, steps: int, steps_per_epoch: int | None) -> Size:
        """The size of a range test for a training of this length; raises if that cannot be planned."""
        # A thorough test that is asked for is made in full where the training would not pay for it.
        budget = None if self.search.effort == "thorough" != effort_for(steps) else steps
        return size_of(kind, self.effort(steps, steps_per_epoch), budget, self.search.repeats)

    @property
    def by_reference(self) -> bool:
        """Whether reference batches may decide."""
        return self.search.signal == "loss" and self.search.ramp.scale == "log"

    def tuned(self, found: Answer, steps: int, steps_per_epoch: int | None) -> Tuned:
        """The bounds and the plan that a range test gives.

        Raises:
            Inconclusive: If the range test gives no answer.
        """
        curve, bounds = found
        bounds = bounds or curve.bounds(self.search.signal, budget=steps)
        chosen, opposed = self.planned(bounds, steps, steps_per_epoch)
        for reason in (*bounds.evidence, *chosen.reasons):
            _log.info(reason)
        return Tuned(curve, bounds, chosen, opposed)
