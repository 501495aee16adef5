"""The statistics of paired runs: intervals, differences, p-values and how fast a target is reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cyclr import _check

# Below this many values a bootstrap cannot reach its level: at 5 normal values the 95 % interval of the
# percentile and of the BCa bootstrap covers the mean in 84 % of cases (tests/study/test_stats.py measures it).
_FEWEST_TO_RESAMPLE = 8

_ROUNDING = 1e-6  # metrics are computed in float32: what differs by less than this part is the same


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the interval that holds it at the stated level.

    >>> Interval(0.5, -0.25, 1.25).contains(0)
    True
    """

    mean: float
    low: float
    high: float

    def contains(self, value: float) -> bool:
        """Whether `value` lies in the interval; true for all when the mean is unknown."""
        return not (value < self.low or value > self.high)


def interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """The mean of `values` with its confidence interval.

    Student's t for fewer than 8 values, else the percentile bootstrap, its quantiles widened for small samples as
    Hesterberg does: norm.cdf(-sqrt(n / (n - 1)) * t(n - 1)). One value alone, or one that is not finite, bounds
    nothing; nor do values that are all the same: an accuracy on 100 pictures is so on three seeds now and then by
    chance, and how much more they would differ is not seen.

    Args:
        values: One number for each seed.
        level: Share of cases in which the interval is to hold the mean.

    Returns:
        The mean with the ends of its interval, from -inf to inf where nothing is known.

    Raises:
        ValueError: If there is no value, or the level is no fraction.

    >>> found = interval([1.0, 2.0, 3.0])
    >>> found.mean, round(found.low, 3), round(found.high, 3)
    (2.0, -0.484, 4.484)

    Reference:
        Hesterberg (2015), What Teachers Should Know About the Bootstrap, section 4. https://arxiv.org/abs/1411.5279
    """
    from scipy import stats

    level = _check.fraction("level", level)
    sample = np.asarray(values, dtype=np.float64).ravel()
    if not sample.size:
        raise ValueError(_check.problem("values must hold a number for each seed", values))
    mean = float(sample.mean())
    if not math.isfinite(mean) or _all_alike(sample):
        return Interval(mean, -math.inf, math.inf)
    quantile = float(stats.t.ppf(0.5 + level / 2, sample.size - 1))
    if sample.size < _FEWEST_TO_RESAMPLE:
        half = quantile * float(stats.sem(sample))
        return Interval(mean, mean - half, mean + half)
    tail = float(stats.norm.cdf(-_widening(sample.size) * quantile))
    found = _resampled(sample, 1 - 2 * tail)
    return Interval(mean, float(found.confidence_interval.low), float(found.confidence_interval.high))


def difference(values: ArrayLike, baseline: ArrayLike, *, level: float = 0.95) -> Interval:
    """The mean of `values - baseline`, pair by pair, with its interval.

    What both runs of a pair share (the weights at the start, the order of the data) drops out. Values that equal the
    baseline's pair by pair differ by nothing; for all else see `interval`.

    Raises:
        ValueError: If the two are not of equal length.

    >>> found = difference([2.0, 3.0, 4.5], [1.0, 2.0, 3.0])
    >>> round(found.mean, 2), round(found.low, 2), round(found.high, 2)
    (1.17, 0.45, 1.88)
    """
    changes = paired(values, baseline)
    return interval(changes, level=level) if changes.any() or changes.size < 2 else Interval(0.0, 0.0, 0.0)


def paired(values: ArrayLike, baseline: ArrayLike) -> np.ndarray:
    """`values - baseline`, pair by pair; what differs by rounding alone is made equal.

    Raises:
        ValueError: If the two are not of equal length.

    >>> paired([0.3, 0.6], [0.1, 0.4])
    array([0.2, 0.2])
    """
    first, second = (np.asarray(side, dtype=np.float64).ravel() for side in (values, baseline))
    if first.size != second.size:
        raise ValueError(f"paired values must be of equal length, got {first.size} and {second.size}")
    changes = first - second
    rounding = _ROUNDING * max(np.abs(first).max(initial=0), np.abs(second).max(initial=0))
    changes[np.abs(changes) <= rounding] = 0
    return np.full_like(changes, changes.mean()) if changes.size and np.ptp(changes) <= rounding else changes


def p_value(values: ArrayLike) -> float:
    """How surprising a mean this far from zero would be, were it zero.

    One less the level at which an end of `interval` lies at zero; for fewer than 8 values that is Student's t test.

    Returns:
        The two-sided p-value; 1 for zeros alone, else NaN where the interval bounds nothing.

    >>> round(p_value([1.0, 2.0, 3.0]), 3)
    0.074
    """
    from scipy import stats

    sample = np.asarray(values, dtype=np.float64).ravel()
    at = interval(sample)
    if not (math.isfinite(at.low) and math.isfinite(at.high)):
        return math.nan if sample.size < 2 or np.any(sample != 0) else 1.0
    if sample.size < _FEWEST_TO_RESAMPLE:
        quantile = abs(at.mean) / float(stats.sem(sample))
    else:
        means = _resampled(sample, 0.95).bootstrap_distribution
        beyond = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
        share = min(0.5, (beyond + 1) / (means.size + 1))  # never 0: so many resamples show no less
        quantile = -float(stats.norm.ppf(share)) / _widening(sample.size)
    return min(1.0, 2 * float(stats.t.sf(quantile, sample.size - 1)))


def _all_alike(sample: np.ndarray) -> bool:
    return bool(np.ptp(sample) <= _ROUNDING * np.abs(sample).max())


def _widening(size: int) -> float:
    return math.sqrt(size / (size - 1))


def _resampled(sample: np.ndarray, level: float) -> Any:
    from scipy import stats

    return stats.bootstrap((sample,), np.mean, confidence_level=level, method="percentile", rng=0)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number by Holm's steps.

    The k-th smallest of m is multiplied by m - k + 1, and none is less than one that was smaller before. If those of
    at most 0.05 are called differences, the chance of a single false call is at most 0.05, however the comparisons
    depend on one another (they share the baseline). A NaN counts among the m and stays NaN.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    Reference:
        Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6.
        Demšar (2006), Statistical Comparisons of Classifiers over Multiple Data Sets, section 3.2.2, advises it for
        many methods beside one baseline. https://jmlr.org/papers/v7/demsar06a.html
    """
    corrected = [math.nan] * len(p_values)
    least = 0.0
    known = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    for place, (p, index) in enumerate(known):
        least = max(least, min(1.0, (len(p_values) - place) * p))
        corrected[index] = least
    return corrected


def steps_to_target(steps: Sequence[int], values: Sequence[float], target: float, *, maximize: bool = True) -> float:
    """The first evaluated step at which `target` is reached; `math.inf` when it never is.

    >>> steps_to_target([100, 200, 300], [0.1, 0.5, 0.7], target=0.5)
    200
    """
    for step, value in zip(steps, values, strict=True):
        if (value >= target) if maximize else (value <= target):
            return step
    return math.inf


def value_at(steps: Sequence[int], values: Sequence[float], step: float) -> float:
    """The last value measured at `step` or before it; NaN when there is none.

    >>> value_at([100, 200, 300], [0.1, 0.5, 0.7], 250)
    0.5
    """
    before = [value for at, value in zip(steps, values, strict=True) if at <= step]
    return before[-1] if before else math.nan


def area(steps: Sequence[int], values: Sequence[float]) -> float:
    """The mean of a metric over the budget: the area under its curve, from the first look to the last.

    >>> area([100, 200, 400], [0.0, 0.5, 0.5])
    0.4166666666666667
    """
    if len(steps) == 1:
        return values[0]
    return float(np.trapezoid(values, steps)) / (steps[-1] - steps[0])
