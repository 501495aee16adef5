"""A schedule that falls while another one rises."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from cyclr import _check
from cyclr._schedules.base import Schedule, expect_schedule
from cyclr._schedules.formula import store
from cyclr._schedules.xp import Namespace, mix, scalars


@final
@dataclass(frozen=True, slots=True)
class Opposed(Schedule):
    """A schedule that falls while another one rises, such as momentum cycled inversely to the learning rate.

    value(t) = high - (high - low) * (schedule(t) - lowest) / (highest - lowest)

    Args:
        schedule: The schedule to oppose, usually the learning rate.
        low: The value where the schedule is at its highest.
        high: The value where the schedule is at its lowest.

    Raises:
        TypeError: If `schedule` is not a schedule, or a bound not a number.
        ValueError: If a bound is negative or not finite, low exceeds high, or the schedule is constant.

    >>> from cyclr import Triangular
    >>> momentum = Opposed(Triangular(0.1, 0.5, step_size=4), 0.85, 0.95)
    >>> momentum(0), momentum(4)
    (0.95, 0.85)

    Reference:
        Smith (2018), A disciplined approach to neural network hyper-parameters, section 4.
        https://arxiv.org/abs/1803.09820
    """

    schedule: Schedule
    low: float
    high: float

    def __post_init__(self) -> None:
        expect_schedule("schedule", self.schedule)
        store(self, low=_check.non_negative("low", self.low), high=_check.non_negative("high", self.high))
        _check.ordered("low", self.low, "high", self.high)
        if self.schedule.lowest == self.schedule.highest:
            raise ValueError(
                _check.problem("the schedule to oppose must not be constant", self.schedule, "write Constant(value)")
            )

    @property
    def duration(self) -> float:
        return self.schedule.duration

    @property
    def lowest(self) -> float:
        return self.low

    @property
    def highest(self) -> float:
        return self.high

    def _oppose(self, value: float, xp: Namespace) -> float:
        lowest, highest = self.schedule.lowest, self.schedule.highest
        return mix(
            xp, self.high, self.low, (highest - value) / (highest - lowest), (value - lowest) / (highest - lowest)
        )

    def value(self, step: float, xp: Namespace) -> float:
        return self._oppose(self.schedule._at(step, xp), xp)

    def _before(self, step: int) -> float:
        return self._oppose(self.schedule._before(step), scalars)

    def ends(self, until: int) -> Iterable[int]:
        return self.schedule.ends(until)
