"""Lower and upper bound of a cyclical learning rate, or the reason why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cyclr._check import count, number, ordered, positive, problem
from cyclr._displayed import Displayed

if TYPE_CHECKING:
    from cyclr._range.curve import Curve

Interval = tuple[float, float]


class Inconclusive(ValueError):  # noqa: N818 (it is an answer, too)
    """The range test is inconclusive. The message says what was seen and what to try.

    Attributes:
        curve: The curve that it was asked of, to look at or to save; None if there was none.
        fallback: A rate that the curve does not rule out, but does not prove either; None if there is none.
    """

    curve: Curve | None = None
    fallback: float | None = None


def refusal(why: str, fallback: float | None = None) -> Inconclusive:
    """An `Inconclusive` with the rate that it does not prove."""
    made = Inconclusive(why)
    made.fallback = None if fallback is None else float(f"{fallback:.3g}")
    return made


@dataclass(frozen=True, slots=True)
class Bounds(Displayed):
    """Lower and upper bound of the learning rate.

    Args:
        base_lr: Lower bound.
        max_lr: Upper bound.
        base_interval: Interval (from, to) of the lower bound, as that of the upper one; None if unknown.
        max_interval: Interval of the upper bound: whatever the test cannot know included, a peak that is about the best
            one for the training lies in it.
        level: Nominal coverage of the intervals.
        evidence: What was observed, one sentence each.
        tuning_cost: Optimizer steps spent to find the bounds.
        base_repeat: Prediction interval for the lower bound of one more range test, with other weights and batches.
            Repeats may agree on a wrong answer. None if unknown.
        max_repeat: The same for the upper bound.
        budget: Steps of the training that the bounds are for; None for any length.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a rate is not positive and finite, or base_lr exceeds max_lr.

    >>> Bounds(1e-3, 6e-3).max_lr
    0.006
    """

    base_lr: float
    max_lr: float
    base_interval: Interval | None = None
    max_interval: Interval | None = None
    level: float = 0.9
    evidence: tuple[str, ...] = ()
    tuning_cost: int = 0
    base_repeat: Interval | None = None
    max_repeat: Interval | None = None
    budget: int | None = None

    def __post_init__(self) -> None:
        base_lr, max_lr = positive("base_lr", self.base_lr), positive("max_lr", self.max_lr)
        ordered("base_lr", base_lr, "max_lr", max_lr)
        values = {
            "base_lr": base_lr,
            "max_lr": max_lr,
            "base_interval": _interval("base_interval", self.base_interval),
            "max_interval": _interval("max_interval", self.max_interval),
            "level": probability("level", self.level),
            "evidence": tuple(self.evidence),
            "tuning_cost": count("tuning_cost", self.tuning_cost, least=0),
            "base_repeat": _interval("base_repeat", self.base_repeat),
            "max_repeat": _interval("max_repeat", self.max_repeat),
            "budget": None if self.budget is None else count("budget", self.budget),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)


def probability(name: str, value: float) -> float:
    """A number above 0 and below 1."""
    if not 0 < number(name, value) < 1:
        raise ValueError(problem(f"{name} must lie between 0 and 1", value, "pass a probability such as 0.9"))
    return float(value)


def _interval(name: str, value: Interval | None) -> Interval | None:
    if value is None:
        return None
    if len(value) != 2:
        raise ValueError(problem(f"{name} must be a pair (from, to)", value))
    low, high = positive(f"{name}[0]", value[0]), positive(f"{name}[1]", value[1])
    ordered(f"{name}[0]", low, f"{name}[1]", high)
    return low, high
