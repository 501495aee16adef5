"""From a range test's curve to both bounds, or to the reason why there are none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclr._check import count, number, ordered, positive, problem
from cyclr._range.smooth import LEAST, smooth

Array = NDArray[np.float64]
Interval = tuple[float, float]


class Inconclusive(ValueError):  # noqa: N818 (it is an answer, too)
    """The curve does not say. The message says what was seen and what to try."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which learning rates to cycle.

    Args:
        base_lr: Lower bound.
        max_lr: Upper bound.
        base_interval: Where the lower bound of one more repeat is to be expected, from and to; None if unknown.
        max_interval: The same for the upper bound.
        level: How often the intervals should hold.
        evidence: What was seen, one sentence each.
        steps: Optimizer steps that finding them took.

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
    steps: int = 0

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
            "steps": count("steps", self.steps, least=0),
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


def find(rates: Array, values: Array, *, cost: int, level: float, signal: str, log: bool) -> Bounds:
    """Bounds from a signal of which less is better; rows are repeats, NaN beyond the end of a repeat."""
    probability("level", level)
    positions = np.log(rates) if log else rates
    tops = []
    for row in values:
        known = np.isfinite(row)
        if known.sum() < LEAST:
            continue
        x, y = positions[known], row[known]
        y = np.minimum(y, y[: max(3, len(y) // 10)].mean() + np.ptp(y[: len(y) // 2]))
        line = smooth(x, y)
        noise = np.median(np.abs(y - line)) / np.sqrt(len(y) / 10)
        if line[0] - line.min() > 6 * noise and np.argmin(line) > 0:
            tops.append(float(rates[known][np.argmin(line)]))
    if 2 * len(tops) <= len(values):
        raise Inconclusive(
            f"the {signal} does not fall clearly ({len(tops)} of {len(values)} repeats): "
            "use a wider ramp, more steps or more repeats"
        )
    logs = np.log(tops)
    top = float(np.exp(np.median(logs))) / 2
    wide = float(np.exp(1.64 * max(logs.std(), 0.3)))
    return Bounds(
        top / 4,
        top,
        (top / 4 / wide, top / 4 * wide),
        (top / wide, top * wide),
        level,
        (f"the {signal} is lowest at a rate of {2 * top:.2g}; half of it is the upper bound",),
        cost,
    )
