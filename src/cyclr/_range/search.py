"""How `auto` finds the bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cyclr._check import choice, count, problem
from cyclr._range.held_out import HeldOut
from cyclr._range.ramp import Ramp
from cyclr._range.recorder import EFFORTS, StepProgress


@dataclass(frozen=True, slots=True)
class Search:
    """The range test of `auto`, and the signal from which the bounds are read.

    Args:
        ramp: The rates of a sweep.
        repeats: Number of sweeps.
        effort: "quick" or "thorough"; by default "thorough" if that takes at most 15 % of the steps of the training.
        held_out: Held-out data and the metrics to measure on it.
        signal: "loss" (the training loss), "val_loss" or the name of a metric in `held_out`.
        progress: Called after each block of steps with (steps done, steps in all, rate, loss). By default a line on the
            terminal shows them, and another what was found; False writes neither.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, or `signal` is not recorded.

    >>> Search(Ramp(high=1.0), effort="thorough").signal
    'loss'
    """

    ramp: Ramp = field(default_factory=Ramp)
    repeats: int = 1
    effort: str | None = None
    held_out: HeldOut | None = None
    signal: str = "loss"
    progress: StepProgress | Literal[False] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.ramp, Ramp):
            advice = "write Search(Ramp(high=1.0)); effort='thorough' has a name of its own"
            raise TypeError(problem("ramp must be a cyclr.Ramp", self.ramp, advice))
        count("repeats", self.repeats)
        if self.effort is not None:
            choice("effort", self.effort, EFFORTS)
        if self.progress is not None and self.progress is not False and not callable(self.progress):
            advice = "pass a function of (step, total, rate, loss), or False to be quiet"
            raise TypeError(problem("progress must be callable", self.progress, advice))
        names = () if self.held_out is None else ("val_loss", *self.held_out.metrics)
        choice("signal", self.signal, ("loss", *names))
