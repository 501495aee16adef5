"""How numbers and names are written: one format for each kind, in the terminal, in HTML and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from cyclr.study._stats import Interval

NONE = "–"  # for a value that is not finite


def number(value: float | None, sign: str = "") -> str:
    """A loss or another value.

    >>> number(0.123456), number(float("nan"))
    ('0.1235', '–')
    """
    return NONE if value is None or not math.isfinite(value) else f"{value:{sign}.4g}"


def precise(value: float) -> str:
    """A rate that was given, not measured.

    >>> precise(0.00123456789)
    '0.00123457'
    """
    return f"{value:.6g}"


def rate(value: float | None) -> str:
    """A learning rate.

    >>> rate(0.058912)
    '0.0589'
    """
    return NONE if value is None or not math.isfinite(value) else f"{value:.3g}"


def between(ends: tuple[float, float] | None) -> str:
    """An interval of learning rates.

    >>> between((0.0095, 0.0156)), between(None)
    ('0.0095 – 0.016', 'unknown')
    """
    return "unknown" if ends is None else f"{ends[0]:.2g} – {ends[1]:.2g}"


def share(value: float) -> str:
    """A fraction, such as the level of an interval.

    >>> share(0.9)
    '90 %'
    """
    return f"{100 * value:.3g} %"


def ratio(value: float) -> str:
    """One number divided by another.

    >>> ratio(0.583), ratio(20.04), ratio(25206.2)
    ('0.58', '20', '25,206')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def p_value(value: float) -> str:
    """A p-value; "" if there is none.

    >>> p_value(0.04567), p_value(float("nan"))
    ('0.046', '')
    """
    return "" if math.isnan(value) else f"{value:.2g}"


def whole(value: float) -> str:
    """A number of steps; infinity means never reached.

    >>> whole(11700), whole(45.5), whole(float("inf"))
    ('11,700', '45.5', 'never')
    """
    return f"{value:,.10g}" if math.isfinite(value) else "never"


def seconds(value: float) -> str:
    """A time in seconds, without the unit; infinity means never reached.

    >>> seconds(5.78246), seconds(12345.6), seconds(float("inf"))
    ('5.78', '12,346', 'never')
    """
    if not math.isfinite(value):
        return "never"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def count(value: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "step"), count(1200, "step")
    ('1 step', '1,200 steps')
    """
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def budget(steps: int, epoch: int | None) -> str:
    """A number of steps, and of epochs if their length is known.

    >>> budget(11700, 390), budget(100, None)
    ('11,700 steps: 30 epochs of 390', '100 steps')
    """
    return count(steps, "step") + (f": {steps / epoch:.4g} epochs of {epoch:,}" if epoch else "")


def listed(values: Iterable[int], most: int) -> str:
    """Integers separated by commas; if there are more than `most`, the first ones and the last.

    >>> listed([10, 20, 3000], 8), listed(range(100), 3)
    ('10, 20, 3,000', '0, 1, 2, … 99')
    """
    texts = [f"{value:,}" for value in values]
    return ", ".join(texts) if len(texts) <= most else f"{', '.join(texts[:most])}, … {texts[-1]}"


def in_words(signal: str) -> str:
    """The displayed name of a signal or a metric.

    >>> in_words("loss"), in_words("test_accuracy")
    ('training loss', 'test accuracy')
    """
    return "training loss" if signal == "loss" else signal.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Unit:
    """How the values of a metric are formatted.

    Args:
        percent: Whether they are fractions, shown in percent, and their differences in percentage points.

    >>> unit = Unit(percent=True)
    >>> unit.estimate(Interval(0.856, 0.852, 0.861)), unit.change(Interval(0.0246, 0.0037, 0.0455))
    ('85.60 [85.20, 86.10]', '+2.46 [0.37, 4.55]')
    >>> unit.of("test accuracy"), unit.of_change("difference"), Unit().value(0.12344)
    ('test accuracy (%)', 'difference (percentage points)', '0.1234')
    """

    percent: bool = False

    @property
    def scale(self) -> int:
        """Factor from stored to shown values."""
        return 100 if self.percent else 1

    def of(self, name: str) -> str:
        """A heading with the unit of the values."""
        return f"{name} (%)" if self.percent else name

    def of_change(self, name: str) -> str:
        """A heading with the unit of the differences."""
        return f"{name} (percentage points)" if self.percent else name

    def value(self, value: float | None, sign: str = "") -> str:
        """A value, without the unit."""
        if value is None or not math.isfinite(value):
            return NONE
        return f"{100 * value:{sign}.2f}" if self.percent else number(value, sign)

    def with_unit(self, value: float) -> str:
        """A value in a sentence."""
        return self.value(value) + (" %" if self.percent else "")

    def estimate(self, interval: Interval) -> str:
        """A mean with its interval; the mean alone if the interval is unbounded."""
        return self._bracketed(interval, "")

    def change(self, interval: Interval) -> str:
        """A mean difference with its interval."""
        return self._bracketed(interval, "+")

    def _bracketed(self, interval: Interval, sign: str) -> str:
        if not math.isfinite(interval.mean):
            return "diverged"
        mean = self.value(interval.mean, sign)
        if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
            return mean
        return f"{mean} [{self.value(interval.low)}, {self.value(interval.high)}]"
