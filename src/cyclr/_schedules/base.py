"""Schedules, and the four ways to build one from others."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import final

from cyclr import _check
from cyclr._displayed import Displayed
from cyclr._schedules.formula import Formula, store
from cyclr._schedules.xp import Namespace, piecewise


class Schedule(Displayed, Formula):
    """A value for each optimizer step. Schedules are immutable, comparable and picklable; their `repr` is their source.

    Call it with a step (counted from 0) or an array of steps. Combine schedules with

    - `a >> b`: a, then b (`Sequential`),
    - `0.1 * a`: scaled (`Scaled`),
    - `a.take(n)`: the first n steps (`Take`),
    - `a.repeat(n)`: n times in a row (`Repeat`).

    After the end of a finite schedule, its last value is held.

    >>> from cyclr import Linear, Triangular
    >>> schedule = Linear(0, 0.1, steps=10) >> Triangular(0.1, 0.5, step_size=4)
    >>> schedule(5), schedule(14)
    (0.05, 0.5)
    >>> schedule
    Linear(0.0, 0.1, steps=10) >> Triangular(0.1, 0.5, step_size=4)
    """

    __slots__ = ()
    # np.float64(0.1) * schedule calls __rmul__ instead of making an object array
    __array_ufunc__: None = None

    def take(self, steps: int) -> Take:
        """The first `steps` steps; the value reached there is held after them. Shorthand for `Take`."""
        return Take(self, steps)

    def repeat(self, times: int | None = None) -> Repeat:
        """This schedule repeated `times` times or endlessly. Shorthand for `Repeat`."""
        return Repeat(self, times)

    def __rshift__(self, other: Schedule) -> Sequential:
        return Sequential(self, other) if isinstance(other, Schedule) else NotImplemented

    def __mul__(self, factor: float) -> Scaled:
        return NotImplemented if isinstance(factor, Schedule) else Scaled(factor, self)

    __rmul__ = __mul__


def expect_schedule(name: str, value: object) -> Schedule:
    """`value`, if it is a schedule."""
    if not isinstance(value, Schedule):
        raise TypeError(_check.problem(f"{name} must be a schedule", value, "write Constant(rate) for a constant rate"))
    return value


def _in_brackets(schedule: Schedule) -> str:
    """The source of a schedule as an operand, in brackets if necessary."""
    return f"({schedule!r})" if isinstance(schedule, Sequential | Scaled) else repr(schedule)


@final
@dataclass(frozen=True, slots=True, init=False)
class Sequential(Schedule):
    """One schedule after the other, each counting steps from its own start: `a >> b`.

    Args:
        *parts: Two or more schedules; only the last may be endless. Sequences among them are flattened.

    Raises:
        TypeError: If a part is not a schedule.
        ValueError: If there are fewer than two parts, or one before the last is endless.

    >>> from cyclr import Constant, Linear
    >>> schedule = Linear(0, 1, steps=2) >> Constant(1).take(3) >> Linear(1, 0, steps=2)
    >>> [schedule(step) for step in range(9)]
    [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]
    """

    parts: tuple[Schedule, ...]

    def __init__(self, *schedules: Schedule, parts: tuple[Schedule, ...] = ()) -> None:
        flat: list[Schedule] = []
        for schedule in (*schedules, *parts):  # dataclasses.replace passes the field by its name
            expect_schedule("a part of a sequence", schedule)
            flat.extend(schedule.parts if isinstance(schedule, Sequential) else [schedule])
        if len(flat) < 2:
            raise ValueError(_check.problem("a sequence must have at least two parts", flat, "write a >> b"))
        for part in flat[:-1]:
            if part.duration == math.inf:
                raise ValueError(
                    _check.problem(
                        "only the last part of a sequence may be endless", part, "bound it with .take(steps)"
                    )
                )
        store(self, parts=tuple(flat))

    @property
    def duration(self) -> float:
        return sum(part.duration for part in self.parts)

    @property
    def lowest(self) -> float:
        return min(part.lowest for part in self.parts)

    @property
    def highest(self) -> float:
        return max(part.highest for part in self.parts)

    def __repr__(self) -> str:
        return " >> ".join(map(repr, self.parts))

    def _starts(self) -> tuple[int, ...]:
        return tuple(accumulate((int(part.duration) for part in self.parts[:-1]), initial=0))

    def value(self, step: float, xp: Namespace) -> float:
        return piecewise(xp, step, self._starts(), self.parts)

    def _before(self, step: int) -> float:
        # at a jump the value belongs to the next part, so the limit is that of the part that ends here
        start, part = [pair for pair in zip(self._starts(), self.parts, strict=True) if pair[0] < max(step, 1)][-1]
        return part._before(step - start)

    def ends(self, until: int) -> Iterable[int]:
        for start, part in zip(self._starts(), self.parts, strict=True):
            if start < until:
                yield from (start + end for end in part.ends(int(min(until - start, part.duration))))


@final
@dataclass(frozen=True, slots=True)
class Take(Schedule):
    """The first `steps` steps of a schedule; the value reached there is held afterwards.

    Args:
        schedule: The schedule to cut, or to extend if it is shorter.
        steps: The new duration.

    Raises:
        TypeError: If `schedule` is not a schedule or `steps` is not an integer.
        ValueError: If `steps` is not positive.

    >>> from cyclr import WarmRestarts
    >>> WarmRestarts(0, 1, period=4).take(8)(8)  # cut just before the rate would jump up again
    0.0
    """

    schedule: Schedule
    steps: int

    def __post_init__(self) -> None:
        expect_schedule("schedule", self.schedule)
        store(self, steps=_check.count("steps", self.steps))

    @property
    def duration(self) -> float:
        return self.steps

    @property
    def lowest(self) -> float:
        return self.schedule.lowest

    @property
    def highest(self) -> float:
        return self.schedule.highest

    def __repr__(self) -> str:
        return f"{_in_brackets(self.schedule)}.take({self.steps})"

    def value(self, step: float, xp: Namespace) -> float:
        return xp.where(step < self.steps, self.schedule._at(step, xp), self.schedule._before(self.steps))

    def _before(self, step: int) -> float:
        return self.schedule._before(min(step, self.steps))

    def ends(self, until: int) -> Iterable[int]:
        return self.schedule.ends(min(until, self.steps))


@final
@dataclass(frozen=True, slots=True)
class Repeat(Schedule):
    """A finite schedule, repeated.

    Args:
        schedule: The schedule to repeat.
        times: Number of repeats; None repeats endlessly.

    Raises:
        TypeError: If `schedule` is not a schedule or `times` is not an integer.
        ValueError: If the schedule is endless, or `times` is not positive.

    >>> from cyclr import Linear
    >>> saw = Linear(1, 0, steps=2).repeat(2)
    >>> [saw(step) for step in range(6)]
    [1.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    """

    schedule: Schedule
    times: int | None = None

    def __post_init__(self) -> None:
        expect_schedule("schedule", self.schedule)
        if self.schedule.duration == math.inf:
            raise ValueError(
                _check.problem(
                    "a schedule that is repeated must have an end", self.schedule, "bound it with .take(steps)"
                )
            )
        if self.times is not None:
            store(self, times=_check.count("times", self.times))

    @property
    def duration(self) -> float:
        return math.inf if self.times is None else self.times * self.schedule.duration

    @property
    def lowest(self) -> float:
        return self.schedule.lowest

    @property
    def highest(self) -> float:
        return self.schedule.highest

    def __repr__(self) -> str:
        return f"{_in_brackets(self.schedule)}.repeat({'' if self.times is None else self.times})"

    def value(self, step: float, xp: Namespace) -> float:
        period = int(self.schedule.duration)
        value = self.schedule._at(step % period, xp)
        if self.times is None:
            return value
        return xp.where(step < self.times * period, value, self.schedule._before(period))

    def _before(self, step: int) -> float:
        period = int(self.schedule.duration)
        if step % period == 0 or step >= self.duration:
            return self.schedule._before(period)
        return self.schedule._before(step % period)

    def ends(self, until: int) -> Iterable[int]:
        period = int(self.schedule.duration)
        ends = tuple(self.schedule.ends(period))
        for start in range(0, int(min(until, self.duration)), period):
            yield from (start + end for end in ends if start + end <= until)


@final
@dataclass(frozen=True, slots=True)
class Scaled(Schedule):
    """A schedule times a number: `0.1 * a`.

    Args:
        factor: A positive number.
        schedule: The schedule to scale.

    Raises:
        TypeError: If `factor` is not a number or `schedule` not a schedule.
        ValueError: If `factor` is not positive and finite.

    >>> from cyclr import Triangular
    >>> (0.5 * Triangular(0.2, 0.4, step_size=3))(3)
    0.2
    """

    factor: float
    schedule: Schedule

    def __post_init__(self) -> None:
        store(self, factor=_check.positive("factor", self.factor))
        expect_schedule("schedule", self.schedule)

    @property
    def duration(self) -> float:
        return self.schedule.duration

    @property
    def lowest(self) -> float:
        return self.factor * self.schedule.lowest

    @property
    def highest(self) -> float:
        return self.factor * self.schedule.highest

    def __repr__(self) -> str:
        return f"{self.factor!r} * {_in_brackets(self.schedule)}"

    def value(self, step: float, xp: Namespace) -> float:
        return self.factor * self.schedule._at(step, xp)

    def _before(self, step: int) -> float:
        return self.factor * self.schedule._before(step)

    def ends(self, until: int) -> Iterable[int]:
        return self.schedule.ends(until)
