"""Endless cyclical formulas: waves between two bounds, and cosine annealing with restarts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import final

from cyclr import _check
from cyclr._schedules.base import Schedule
from cyclr._schedules.formula import store
from cyclr._schedules.xp import Namespace, OneNumber, largest_step, locate, mix

_SCALES = ("linear", "log")


@dataclass(frozen=True, slots=True)
class Wave(Schedule):
    """Base class of the waves: two bounds, the lengths of the rising and the falling half, a scale."""

    base_lr: float
    max_lr: float
    _: KW_ONLY
    step_size: int
    step_size_down: int | None = None
    scale: str = "linear"

    def __post_init__(self) -> None:
        _check.choice("scale", self.scale, _SCALES)
        store(
            self,
            base_lr=_check.positive("base_lr", self.base_lr, "a logarithmic wave cannot reach 0")
            if self.scale == "log"
            else _check.non_negative("base_lr", self.base_lr),
            max_lr=_check.positive("max_lr", self.max_lr),
            step_size=_check.count("step_size", self.step_size, "it is half a cycle, in steps"),
        )
        _check.ordered("base_lr", self.base_lr, "max_lr", self.max_lr)
        if self.step_size_down is not None:
            down = _check.count("step_size_down", self.step_size_down, "it is the length of the falling half, in steps")
            store(self, step_size_down=None if down == self.step_size else down)

    @property
    def duration(self) -> float:
        return math.inf

    @property
    def lowest(self) -> float:
        return self.base_lr

    @property
    def highest(self) -> float:
        return self.max_lr

    @property
    def period(self) -> int:
        """A whole cycle, in steps."""
        return self.step_size + (self.step_size_down or self.step_size)

    def _height(self, step: float, xp: Namespace) -> float:
        """The position in the cycle: from 0 up to 1 in `step_size` steps, and down again in `step_size_down`."""
        phase = step % self.period  # still an integer: no precision is lost on long runs
        height = xp.minimum(phase / self.step_size, (self.period - phase) / (self.period - self.step_size))
        return xp.where(phase == self.step_size, 1.0, height)  # see `mix`: a quotient may miss 1

    def _between(self, height: float, xp: Namespace) -> float:
        """base_lr + (max_lr - base_lr) * height, or the same in the logarithm."""
        return mix(xp, self.base_lr, self.max_lr, 1 - height, height, self.scale)

    def ends(self, until: int) -> Iterable[int]:
        return range(self.period, until + 1, self.period)


@final
@dataclass(frozen=True, slots=True)
class Triangular(Wave):
    """A triangular wave between two bounds.

    lr(t) = base_lr + (max_lr - base_lr) * height(t), where height rises from 0 to 1 in `step_size` steps and
    falls back to 0 in the same number of steps (or in `step_size_down`). With scale="log" this holds for the logarithm
    of the rate: it rises and falls exponentially.

    Args:
        base_lr: Lower bound: the value at steps 0, 2 * step_size, ….
        max_lr: Upper bound: the value at steps step_size, 3 * step_size, ….
        step_size: Half a cycle, in optimizer steps. The paper advises 2 to 10 epochs.
        step_size_down: Length of the falling half, if it differs from step_size.
        scale: "linear" or "log".

    Raises:
        TypeError: If a bound is not a number or a size not an integer.
        ValueError: If a bound is negative or not finite, base_lr exceeds max_lr, max_lr is zero (base_lr too, with
            scale="log"), or a size is not positive.

    >>> wave = Triangular(0.1, 0.5, step_size=4)
    >>> [round(wave(step), 2) for step in range(9)]
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.4, 0.3, 0.2, 0.1]

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.1. https://arxiv.org/abs/1506.01186
    """

    def value(self, step: float, xp: Namespace) -> float:
        return self._between(self._height(step, xp), xp)


@final
@dataclass(frozen=True, slots=True)
class Triangular2(Wave):
    """A triangular wave whose amplitude is halved after each cycle.

    lr(t) = base_lr + (max_lr - base_lr) * height(t) / 2**cycle, cycle counted from 0

    Args:
        base_lr: Lower bound, kept in all cycles.
        max_lr: The peak of the first cycle.
        step_size: Half a cycle, in optimizer steps.
        step_size_down: Length of the falling half, if it differs from step_size.
        scale: "linear" or "log" (the amplitude of the logarithm is halved).

    Raises:
        TypeError: See `Triangular`.
        ValueError: See `Triangular`.

    >>> wave = Triangular2(0, 0.8, step_size=2)
    >>> [round(wave(step), 2) for step in range(9)]
    [0.0, 0.4, 0.8, 0.4, 0.0, 0.2, 0.4, 0.2, 0.0]

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.1. https://arxiv.org/abs/1506.01186
    """

    def value(self, step: float, xp: Namespace) -> float:
        cycle = step // self.period
        return self._between(self._height(step, xp) * 0.5**cycle, xp)


@final
@dataclass(frozen=True, slots=True)
class ExpRange(Wave):
    """A triangular wave that decays by a constant factor per step. Both published definitions are available.

    decay="amplitude": lr(t) = base_lr + (max_lr - base_lr) * height(t) * gamma**t     (Keras callback, torch)
    decay="bounds":    lr(t) = (base_lr + (max_lr - base_lr) * height(t)) * gamma**t   (the text of the paper)

    The first one decays to base_lr, the second one to zero.

    Args:
        base_lr: Lower bound (at step 0).
        max_lr: Upper bound (at step 0).
        step_size: Half a cycle, in optimizer steps.
        step_size_down: Length of the falling half, if it differs from step_size.
        scale: "linear" or "log".
        gamma: Decay for each step, above 0 and at most 1.
        decay: What decays: "amplitude" or "bounds".

    Raises:
        TypeError: See `Triangular`.
        ValueError: See `Triangular`; also if gamma is not above 0 and at most 1, or decay is unknown.

    >>> ExpRange(0.1, 0.5, step_size=4, gamma=0.9)(8)
    0.1
    >>> round(ExpRange(0.1, 0.5, step_size=4, gamma=0.9, decay="bounds")(8), 4)
    0.043

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.1. https://arxiv.org/abs/1506.01186
    """

    _: KW_ONLY
    gamma: float
    decay: str = "amplitude"

    def __post_init__(self) -> None:
        Wave.__post_init__(self)
        store(self, gamma=_check.positive("gamma", self.gamma))
        if self.gamma > 1:
            raise ValueError(_check.problem("gamma must not exceed 1", self.gamma, "0.99994 is the paper's value"))
        _check.choice("decay", self.decay, ("amplitude", "bounds"))

    @property
    def lowest(self) -> float:
        return 0.0 if self.decay == "bounds" and self.gamma < 1 else self.base_lr

    def value(self, step: float, xp: Namespace) -> float:
        # gamma**t without losing the digits of a gamma near 1 in float32
        faded = xp.exp(step * math.log(self.gamma))
        if self.decay == "bounds":
            return faded * self._between(self._height(step, xp), xp)
        return self._between(faded * self._height(step, xp), xp)


@final
@dataclass(frozen=True, slots=True)
class Welch(Wave):
    """A wave with parabolic sides: lr(t) = base_lr + (max_lr - base_lr) * (1 - (1 - height(t))**2).

    Args:
        base_lr: Lower bound.
        max_lr: Upper bound.
        step_size: Half a cycle, in optimizer steps.
        step_size_down: Length of the falling half, if it differs from step_size.
        scale: "linear" or "log".

    Raises:
        TypeError: See `Triangular`.
        ValueError: See `Triangular`.

    >>> Welch(0, 1, step_size=4)(2)
    0.75

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.1: windows that gave equivalent results.
    """

    def value(self, step: float, xp: Namespace) -> float:
        return self._between(1 - (1 - self._height(step, xp)) ** 2, xp)


@final
@dataclass(frozen=True, slots=True)
class Hann(Wave):
    """A wave with cosine sides: lr(t) = base_lr + (max_lr - base_lr) * (1 - cos(pi * height(t))) / 2.

    Args:
        base_lr: Lower bound.
        max_lr: Upper bound.
        step_size: Half a cycle, in optimizer steps.
        step_size_down: Length of the falling half, if it differs from step_size.
        scale: "linear" or "log".

    Raises:
        TypeError: See `Triangular`.
        ValueError: See `Triangular`.

    >>> round(Hann(0, 1, step_size=3)(1), 6)
    0.25

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.1: windows that gave equivalent results.
    """

    def value(self, step: float, xp: Namespace) -> float:
        return self._between((1 - xp.cos(math.pi * self._height(step, xp))) / 2, xp)


@final
@dataclass(frozen=True, slots=True)
class WarmRestarts(Schedule):
    """Cosine annealing with warm restarts.

    lr(t) = min_lr + (max_lr - min_lr) * (1 + cos(pi * T_cur / T)) / 2

    T_cur is counted from the start of each cycle; T is the length of the cycle: period, then period * growth, ….

    Args:
        min_lr: Value towards the end of each cycle.
        max_lr: Value at the start of each cycle.
        period: Length of the first cycle, in optimizer steps.
        growth: Ratio of the lengths of successive cycles, an integer.

    Raises:
        TypeError: If a bound is not a number or a size not an integer.
        ValueError: If min_lr is negative, max_lr is not positive, min_lr exceeds max_lr, or a size is not positive.

    >>> schedule = WarmRestarts(0, 1, period=2, growth=2)
    >>> [round(schedule(step), 3) for step in range(7)]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]

    Reference:
        Loshchilov & Hutter (2017), SGDR, equation 5. https://arxiv.org/abs/1608.03983
    """

    min_lr: float
    max_lr: float
    _: KW_ONLY
    period: int
    growth: int = 1

    def __post_init__(self) -> None:
        store(
            self,
            min_lr=_check.non_negative("min_lr", self.min_lr),
            max_lr=_check.positive("max_lr", self.max_lr),
            period=_check.count("period", self.period, "it is the first cycle, in steps"),
            growth=_check.count("growth", self.growth, "cycle lengths are whole steps"),
        )
        _check.ordered("min_lr", self.min_lr, "max_lr", self.max_lr)

    @property
    def duration(self) -> float:
        return math.inf

    @property
    def lowest(self) -> float:
        return self.min_lr

    @property
    def highest(self) -> float:
        return self.max_lr

    def _cycles(self, last: float) -> Iterator[tuple[int, int]]:
        """Start and length of each cycle that begins at or before `last`: few, as their lengths grow."""
        start, length = 0, self.period
        while start <= last:
            yield start, length
            start += length
            length *= self.growth

    def _place_of_number(self, step: float) -> tuple[float, int]:
        *_, (start, length) = self._cycles(step)
        return step - start, length

    def _place(self, step: float, xp: Namespace) -> tuple[float, float]:
        """T_cur and T, computed from integers: a logarithm would be off by one cycle at some restarts."""
        if self.growth == 1:
            return step % self.period, self.period
        if isinstance(xp, OneNumber):
            place = xp.call(self._place_of_number, step)
            return place[0], place[1]
        starts, lengths = zip(*self._cycles(largest_step(xp, step)), strict=True)
        start, length = locate(xp, step, starts, lengths)
        return step - start, length

    def value(self, step: float, xp: Namespace) -> float:
        current, length = self._place(step, xp)
        height = (1 + xp.cos(math.pi * current / length)) / 2
        return mix(xp, self.min_lr, self.max_lr, 1 - height, height)

    def _before(self, step: int) -> float:
        return self.min_lr if step in self.ends(step) else self._plain()(step)

    def ends(self, until: int) -> Iterable[int]:
        if self.growth == 1:
            return range(self.period, until + 1, self.period)
        return [start for start, _ in self._cycles(until)][1:]
