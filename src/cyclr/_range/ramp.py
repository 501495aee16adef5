"""The rates of a range test: a schedule like any other."""

from __future__ import annotations

from cyclr._check import choice, count, non_negative, ordered, positive, problem
from cyclr._schedules import Exponential, Linear, Schedule

SCALES = ("log", "linear")


def ramp(low: float, high: float, *, steps: int, scale: str = "log") -> Schedule:
    """The rates of a range test: from `low` at step 0 up to `high` at step `steps - 1`.

    `scale="log"`: rate(t) = low * (high / low)**(t / (steps - 1)), equal factors (fast; what most tools do).
    `scale="linear"`: rate(t) = low + (high - low) * t / (steps - 1), equal differences (the paper's).

    Args:
        low: First rate; positive, or 0 if the ramp is linear.
        high: Last rate, above `low`.
        steps: Number of optimizer steps, at least 2.
        scale: "log" or "linear".

    Returns:
        A schedule of duration `steps - 1`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a rate is not positive and finite, if they are not in order, or `steps` is below 2.

    >>> rates = ramp(1e-4, 1.0, steps=5)
    >>> [round(rates(step), 6) for step in range(5)]
    [0.0001, 0.001, 0.01, 0.1, 1.0]

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.3. https://arxiv.org/abs/1506.01186
    """
    choice("scale", scale, SCALES)
    low = positive("low", low, "a log ramp needs a rate above zero") if scale == "log" else non_negative("low", low)
    high = positive("high", high)
    ordered("low", low, "high", high)
    if low == high:
        raise ValueError(problem("low and high must differ", low, "widen the ramp"))
    last = count("steps", steps, "a ramp needs two steps", least=2) - 1
    return Exponential(low, high, steps=last) if scale == "log" else Linear(low, high, steps=last)
