"""The rates of a sweep, as an ordinary schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import floor, log

import numpy as np
from numpy.typing import NDArray

from cyclr._check import choice, count, non_negative, ordered, positive, problem
from cyclr._schedules import Exponential, Linear, Schedule

SCALES = ("log", "linear")
HIGH, FURTHEST = 10.0, 1000.0  #: where a sweep ends by default, and where it does if the loss is still falling


@dataclass(frozen=True, slots=True)
class Ramp:
    """The rates of a sweep: from `low` at step 0 up to `high` at step `steps - 1`.

    `scale="log"`: rate(t) = low * (high / low)**(t / (steps - 1)), equal factors (fast; used by most tools).
    `scale="linear"`: rate(t) = low + (high - low) * t / (steps - 1), equal differences (the paper's).

    Args:
        low: First learning rate; positive, or 0 if the scale is linear.
        high: Last learning rate, above `low`.
        steps: Number of optimizer steps, at least 2.
        scale: "log" or "linear".
        furthest: A log sweep at whose end the loss is still falling goes on beyond `high`, by the same factors, up to
            this rate. By default 1,000 where `high` is 10, its default; else `high`, so that the sweep ends there.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a rate is not positive and finite, `low` is not below `high`, or `steps` is below 2.

    >>> Ramp(1e-4, 1.0, steps=5).rates.round(6).tolist()
    [0.0001, 0.001, 0.01, 0.1, 1.0]

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.3. https://arxiv.org/abs/1506.01186
    """

    low: float = 1e-6
    high: float = HIGH
    steps: int = 300
    scale: str = "log"
    furthest: float | None = None

    def __post_init__(self) -> None:
        choice("scale", self.scale, SCALES)
        log = self.scale == "log"
        low = positive("low", self.low, "a log ramp needs a rate above zero") if log else non_negative("low", self.low)
        high = positive("high", self.high)
        ordered("low", low, "high", high)
        if low == high:
            raise ValueError(problem("low and high must differ", low, "widen the ramp"))
        steps = count("steps", self.steps, "a ramp needs two steps", least=2)
        furthest = None if self.furthest is None else positive("furthest", self.furthest)
        if furthest is not None:
            ordered("high", high, "furthest", furthest)
        for name, value in {"low": low, "high": high, "steps": steps, "furthest": furthest}.items():
            object.__setattr__(self, name, value)

    @property
    def schedule(self) -> Schedule:
        """The rates as a schedule of duration `steps - 1`."""
        last = self.steps - 1
        return (
            Exponential(self.low, self.high, steps=last)
            if self.scale == "log"
            else Linear(self.low, self.high, steps=last)
        )

    @property
    def rates(self) -> NDArray[np.float64]:
        """The rate of each step; shape (steps,)."""
        return _rates(self).copy()

    @property
    def beyond(self) -> int:
        """How many steps lead from `high` to the rate at which a sweep ends in any case."""
        furthest = self.furthest or (FURTHEST if self.high == HIGH else self.high)
        if self.scale != "log":
            return 0
        return floor(log(furthest / self.high) / log(self.high / self.low) * (self.steps - 1) + 1e-9)

    def longer(self, steps: int) -> Ramp:
        """The same rates and `steps` more, by the same factor from one to the next."""
        high = self.high * (self.high / self.low) ** (steps / (self.steps - 1))
        furthest = None if self.furthest is None else max(high, self.furthest)
        return replace(self, high=high, steps=self.steps + steps, furthest=furthest)

    def slower(self, times: int) -> Ramp:
        """The same range with `times` as many steps."""
        return replace(self, steps=times * self.steps)


@lru_cache(maxsize=8)
def _rates(ramp: Ramp) -> NDArray[np.float64]:
    """Kept, because each range test asks for them several times."""
    return np.asarray(ramp.schedule(np.arange(ramp.steps)), dtype=np.float64)


#: Arguments of every range test in version 0.1; there, `ramp` was the scale.
RAMP_0_1 = ("ramp", Ramp, {"low": "low", "high": "high", "steps": "steps", "ramp": "scale"})
