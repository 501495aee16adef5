"""Monotonic formulas: from a start to an end value in a number of steps, or endless."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import final

from cyclr import _check
from cyclr._schedules.base import Schedule
from cyclr._schedules.formula import store
from cyclr._schedules.xp import Namespace, at_most, mix


@dataclass(frozen=True, slots=True)
class Piece(Schedule):
    """Base class of the finite pieces: from `start` at step 0 to `end` at step `steps`, which is then held."""

    start: float
    end: float
    _: KW_ONLY
    steps: int

    def __post_init__(self) -> None:
        store(
            self,
            start=_check.non_negative("start", self.start),
            end=_check.non_negative("end", self.end),
            steps=_check.count("steps", self.steps),
        )

    @property
    def duration(self) -> float:
        return self.steps

    @property
    def lowest(self) -> float:
        return min(self.start, self.end)

    @property
    def highest(self) -> float:
        return max(self.start, self.end)

    def value(self, step: float, xp: Namespace) -> float:
        return mix(xp, self.start, self.end, *self._weights(at_most(xp, step, self.steps), xp))

    @abstractmethod
    def _weights(self, step: float, xp: Namespace) -> tuple[float, float]:
        """The remaining (1 .. 0) and the completed (0 .. 1) fraction of the way from start to end."""

    def ends(self, until: int) -> Iterable[int]:
        # a cycle ends where a decay does
        return (self.steps,) if self.end < self.start and self.steps <= until else ()


@final
@dataclass(frozen=True, slots=True)
class Linear(Piece):
    """Linear interpolation: value(t) = start + (end - start) * t / steps.

    Args:
        start: The value at step 0.
        end: The value from step `steps` on.
        steps: Length in optimizer steps.

    Raises:
        TypeError: If a value is not a number or `steps` not an integer.
        ValueError: If a value is negative or not finite, or `steps` is not positive.

    >>> Linear(0, 0.1, steps=4)(1)
    0.025

    Reference:
        Li, Yumer & Ramanan (2020), Budgeted Training (linear decay to zero). https://arxiv.org/abs/1905.04753
    """

    def _weights(self, step: float, xp: Namespace) -> tuple[float, float]:
        return (self.steps - step) / self.steps, step / self.steps


@final
@dataclass(frozen=True, slots=True)
class Cosine(Piece):
    """Half a cosine wave: value(t) = end + (start - end) * (1 + cos(pi * t / steps)) / 2.

    Args:
        start: The value at step 0.
        end: The value from step `steps` on.
        steps: Length in optimizer steps.

    Raises:
        TypeError: If a value is not a number or `steps` not an integer.
        ValueError: If a value is negative or not finite, or `steps` is not positive.

    >>> round(Cosine(0.4, 0, steps=4)(1), 4)
    0.3414

    Reference:
        Loshchilov & Hutter (2017), SGDR, equation 5, one cycle. https://arxiv.org/abs/1608.03983
    """

    def _weights(self, step: float, xp: Namespace) -> tuple[float, float]:
        remaining = (1 + xp.cos(math.pi * step / self.steps)) / 2
        return remaining, 1 - remaining


@final
@dataclass(frozen=True, slots=True)
class Exponential(Piece):
    """Exponential interpolation: value(t) = start * (end / start) ** (t / steps).

    Args:
        start: The value at step 0, above zero.
        end: The value from step `steps` on, above zero.
        steps: Length in optimizer steps.

    Raises:
        TypeError: If a value is not a number or `steps` not an integer.
        ValueError: If a value is not positive and finite, or `steps` is not positive.

    >>> [round(Exponential(1e-3, 1e-1, steps=2)(step), 6) for step in range(3)]
    [0.001, 0.01, 0.1]
    """

    def __post_init__(self) -> None:
        Piece.__post_init__(self)
        for name in ("start", "end"):
            _check.positive(name, getattr(self, name), "an exponential never reaches 0; use Linear or Cosine")

    def value(self, step: float, xp: Namespace) -> float:
        weights = self._weights(at_most(xp, step, self.steps), xp)
        return mix(xp, self.start, self.end, *weights, scale="log")

    def _weights(self, step: float, xp: Namespace) -> tuple[float, float]:
        return (self.steps - step) / self.steps, step / self.steps


@final
@dataclass(frozen=True, slots=True)
class Power(Piece):
    """Polynomial decay: value(t) = end + (start - end) * (1 - t / steps) ** power.

    Args:
        start: The value at step 0.
        end: The value from step `steps` on.
        steps: Length in optimizer steps.
        power: Exponent, above zero; 1 is linear, 2 flattens out towards the end.

    Raises:
        TypeError: If a value is not a number or `steps` not an integer.
        ValueError: If a value is negative or not finite, or `steps` or `power` is not positive.

    >>> Power(1, 0, steps=4, power=2)(2)
    0.25
    """

    _: KW_ONLY
    power: float = 2.0

    def __post_init__(self) -> None:
        Piece.__post_init__(self)
        store(self, power=_check.positive("power", self.power))

    def _weights(self, step: float, xp: Namespace) -> tuple[float, float]:
        remaining = ((self.steps - step) / self.steps) ** self.power
        return remaining, 1 - remaining


@final
@dataclass(frozen=True, slots=True)
class Rex(Piece):
    """Reflected exponential: value(t) = end + (start - end) * (1 - u) / (1/2 + (1 - u) / 2), with u = t / steps.

    Args:
        start: The value at step 0.
        end: The value from step `steps` on.
        steps: Length in optimizer steps.

    Raises:
        TypeError: If a value is not a number or `steps` not an integer.
        ValueError: If a value is negative or not finite, or `steps` is not positive.

    >>> round(Rex(0.3, 0, steps=4)(2), 12)
    0.2

    Reference:
        Chen, Wolfe & Kyrillidis (2022), REX: Revisiting budgeted training. https://arxiv.org/abs/2107.04197
    """

    def _weights(self, step: float, xp: Namespace) -> tuple[float, float]:
        left = (self.steps - step) / self.steps
        remaining = left / (1 / 2 + left / 2)
        return remaining, 1 - remaining


@final
@dataclass(frozen=True, slots=True)
class Sqrt(Piece):
    """One minus the square root: value(t) = end + (start - end) * (1 - sqrt(t / steps)).

    Args:
        start: The value at step 0.
        end: The value from step `steps` on.
        steps: Length in optimizer steps.

    Raises:
        TypeError: If a value is not a number or `steps` not an integer.
        ValueError: If a value is negative or not finite, or `steps` is not positive.

    >>> Sqrt(1, 0, steps=4)(1)
    0.5

    Reference:
        Hägele et al. (2024), Scaling laws beyond fixed training durations: the cooldown.
        https://arxiv.org/abs/2405.18392
    """

    def _weights(self, step: float, xp: Namespace) -> tuple[float, float]:
        gone = xp.sqrt(step / self.steps)
        return 1 - gone, gone


@final
@dataclass(frozen=True, slots=True)
class Constant(Schedule):
    """A constant value.

    Args:
        level: The value, at least zero.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is negative or not finite.

    >>> Constant(0.1)(1_000)
    0.1
    """

    level: float

    def __post_init__(self) -> None:
        store(self, level=_check.non_negative("level", self.level))

    @property
    def duration(self) -> float:
        return math.inf

    @property
    def lowest(self) -> float:
        return self.level

    @property
    def highest(self) -> float:
        return self.level

    def value(self, step: float, xp: Namespace) -> float:
        return self.level + 0.0 * step  # in the shape of the step

    def ends(self, until: int) -> Iterable[int]:
        return ()


@final
@dataclass(frozen=True, slots=True)
class InverseSqrt(Schedule):
    """Endless inverse square-root decay: value(t) = start / sqrt(1 + t / timescale).

    After a warm-up of w steps, `Linear(0, a, steps=w) >> InverseSqrt(a, timescale=w)` is a * sqrt(w / step), the
    schedule of the original transformer.

    Args:
        start: The value at step 0.
        timescale: Steps until the value is start / sqrt(2).

    Raises:
        TypeError: If `start` is not a number or `timescale` not an integer.
        ValueError: If `start` is not positive and finite, or `timescale` is not positive.

    >>> InverseSqrt(0.1, timescale=100)(300)
    0.05

    Reference:
        Vaswani et al. (2017), Attention is all you need, section 5.3. https://arxiv.org/abs/1706.03762
    """

    start: float
    _: KW_ONLY
    timescale: int

    def __post_init__(self) -> None:
        store(self, start=_check.positive("start", self.start), timescale=_check.count("timescale", self.timescale))

    @property
    def duration(self) -> float:
        return math.inf

    @property
    def lowest(self) -> float:
        return 0.0

    @property
    def highest(self) -> float:
        return self.start

    def value(self, step: float, xp: Namespace) -> float:
        return self.start / xp.sqrt(1 + step / self.timescale)

    def ends(self, until: int) -> Iterable[int]:
        return ()
