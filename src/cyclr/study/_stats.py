"""Statistics of paired runs: intervals, many-to-one comparisons, their power, and the steps to reach a target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cyclr import _check

ALPHA = 0.05  # the family-wise error rate: the probability of any false positive in a study
POWER = 0.8

_ROUNDING = 1e-6  # metrics are computed in float32: smaller relative differences count as none
_LEVELS = np.concatenate([[0.0], np.geomspace(1e-6, 1, 145)])  # p-values at which the adjusted ones are computed
_DRAWS = 32  # rotations per p-value
_MOST_SEEDS = 10_000  # larger numbers of seeds are not reported


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval.

    >>> Interval(0.5, -0.25, 1.25).contains(0)
    True
    """

    mean: float
    low: float
    high: float

    def contains(self, value: float) -> bool:
        """Whether `value` lies in the interval; always true if the mean is unknown."""
        return not (value < self.low or value > self.high)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One policy compared with the baseline, as one of several comparisons.

    Args:
        difference: The mean paired difference with its interval, which excludes zero exactly if `adjusted` is at
            most 0.05.
        p: Two-sided p-value of the paired t test; NaN if the variation between seeds is unknown.
        adjusted: `p`, adjusted for all comparisons.
        level: The largest `p` that would have been significant.
        spread: Standard deviation of the differences.
        seeds: Number of pairs.
    """

    difference: Interval
    p: float
    adjusted: float
    level: float
    spread: float
    seeds: int


def interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """The mean of `values` with its confidence interval.

    Student's t interval; if the values are skewed, its end on the side of the longer tail is moved out to that of
    Hall's transformation. A single value, or one that is not finite, gives no interval. Neither do
    identical values: an accuracy on 100 images can be equal for three seeds by chance, and the true variation is then
    unknown.

    Args:
        values: One number for each seed.
        level: Nominal coverage of the interval.

    Returns:
        The mean with the ends of its interval, which are infinite if they are unknown.

    Raises:
        ValueError: If there is no value, or the level is not between 0 and 1.

    >>> found = interval([1.0, 2.0, 3.0])
    >>> found.mean, round(found.low, 3), round(found.high, 3)
    (2.0, -0.484, 4.484)

    Reference:
        Hall (1992), On the Removal of Skewness by Transformation, Journal of the Royal Statistical Society B 54.
    """
    from scipy import stats

    level = _check.fraction("level", level)
    sample = np.asarray(values, dtype=np.float64).ravel()
    if not sample.size:
        raise ValueError(_check.problem("values must hold a number for each seed", values))
    mean = float(sample.mean())
    if not math.isfinite(mean) or _all_alike(sample):
        return Interval(mean, -math.inf, math.inf)
    spread = float(sample.std(ddof=1))
    reach = float(stats.t.ppf(0.5 + level / 2, sample.size - 1)) / math.sqrt(sample.size)
    skewness = float(stats.skew(sample, bias=False)) if sample.size > 2 else 0.0
    low, high = (_end(sign * reach, skewness, sample.size) for sign in (1, -1))
    return Interval(mean, mean - spread * max(reach, low), mean - spread * min(-reach, high))


def _end(reach: float, skewness: float, size: int) -> float:
    """Where Hall's u + g u²/3 + g² u³/27 + g / 6n, of skewness g and u = (mean - true mean) / spread, is `reach`."""
    if abs(skewness) < _ROUNDING:
        return reach
    return 3 / skewness * (math.cbrt(1 + skewness * (reach - skewness / (6 * size))) - 1)


def paired(values: ArrayLike, baseline: ArrayLike) -> np.ndarray:
    """`values - baseline`, pair by pair; differences of the size of rounding errors are set to zero.

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


def many_to_one(policies: Sequence[ArrayLike], baseline: ArrayLike) -> list[Comparison]:
    """Each of several policies compared with one baseline on the same seeds.

    Paired t tests, adjusted by a step-down max-t test: a policy's t is compared with the distribution of
    the largest t among the policies not yet found different. That distribution comes from rotations of the seeds, which
    preserve the spreads of the differences and their correlations, so neither is assumed to be equal. For normally
    distributed metrics the probability of any false positive is at most 0.05, whichever policies differ.

    Args:
        policies: For each policy, one number for each seed.
        baseline: The numbers of the baseline, in the same order of seeds.

    Returns:
        One comparison for each policy. Differences that are not finite, or identical but not zero, have no
        interval and no p-value, but count as comparisons; differences that are all zero have p = 1.

    Raises:
        ValueError: If the baseline has no values, or a policy has a different number of values.

    >>> better, same = many_to_one([[2.1, 3.0, 4.2, 2.9], [1.2, 1.9, 2.8, 2.2]], [1.0, 2.0, 3.0, 2.0])
    >>> round(better.difference.mean, 2), round(better.p, 4), better.adjusted <= 0.05
    (1.05, 0.0005, True)
    >>> same.difference.contains(0), same.adjusted > 0.05
    (True, True)

    References:
        Langsrud (2005), Rotation Tests, Statistics and Computing 15. https://doi.org/10.1007/s11222-005-4789-5
        Westfall and Young (1993), Resampling-Based Multiple Testing, section 2.6 (step-down).
    """
    from scipy import stats

    if not np.size(baseline):
        raise ValueError(_check.problem("baseline must hold a number for each seed", baseline))
    changes = [paired(values, baseline) for values in policies]
    known = [index for index, own in enumerate(changes) if _varies(own)]
    found = [_without_chance(own) for own in changes]
    if not known:
        return found
    lost = sum(math.isnan(one.p) for index, one in enumerate(found) if index not in known)
    size = changes[known[0]].size
    p_values = {index: float(stats.ttest_1samp(changes[index], 0).pvalue) for index in known}
    order = sorted(known, key=lambda index: p_values[index])
    steps = _rotated(np.stack([changes[index] for index in order], axis=1)) + lost * _LEVELS
    adjusted, level = 0.0, 1.0
    for index, step in zip(order, steps, strict=True):
        p, own = p_values[index], changes[index]
        if adjusted <= ALPHA:  # else the step-down ends; the rest is tested at the first step not rejected
            level = float(np.interp(ALPHA, step, _LEVELS))
        adjusted = max(adjusted, min(1.0, float(np.interp(p, _LEVELS, step))))
        mean, spread = float(own.mean()), float(own.std(ddof=1))
        reach = float(stats.t.isf(level / 2, size - 1)) * spread / math.sqrt(size)
        found[index] = Comparison(Interval(mean, mean - reach, mean + reach), p, adjusted, level, spread, size)
    return found


def _without_chance(changes: np.ndarray) -> Comparison:
    """The comparison if no spread is observed."""
    if changes.size > 1 and not changes.any():
        return Comparison(Interval(0.0, 0.0, 0.0), 1.0, 1.0, math.nan, 0.0, changes.size)
    unknown = Interval(float(changes.mean()), -math.inf, math.inf)
    return Comparison(unknown, math.nan, math.nan, math.nan, math.nan, changes.size)


def _rotated(changes: np.ndarray) -> np.ndarray:
    """Adjusted p-values for `_LEVELS`, a row for each step of the step-down test.

    A rotation of the seeds puts a random direction u in the place of (1, ..., 1). A policy's |t| then exceeds a
    critical value where the angle between u and its differences x is small: within a double cone around x, of which
    the probability is the p-value. So the adjusted p is the probability of a union of cones of one size. It is the
    integral over the p-value of the smallest one, policy by policy: for u on the boundary of a policy's cone, how often
    is it in no other's? As this does not rely on random rotations hitting a cone, p-values have no lower limit.

    Args:
        changes: Seeds by policies, the policy with the smallest p-value first. Step k is about those from k on.
    """
    from scipy import stats

    size, count = changes.shape
    axes = changes / np.linalg.norm(changes, axis=0)
    cosines = axes.T @ axes
    draws = np.random.default_rng(0).normal(size=(_LEVELS.size - 1, _DRAWS // 2, size))
    draws = np.concatenate([draws, -draws], axis=1)  # symmetric, so that the direction does not matter
    along = draws @ axes
    length = (draws**2).sum(axis=2)
    t = stats.t.isf(_LEVELS[1:] / 2, size - 1)
    rim = (t / np.sqrt(size - 1 + t**2))[:, None, None]  # the cosine at which t is t
    first = np.zeros((count, _LEVELS.size - 1))  # how many policies' cones are the first to hold u, at each step
    for k in range(count):
        own = along[..., k, None]
        beside = (along - own * cosines[k]) / np.sqrt(np.maximum(length[..., None] - own**2, np.finfo(float).tiny))
        seen = np.abs(rim * cosines[k] + np.sqrt(1 - rim**2) * beside)
        seen *= np.where(np.arange(count) < k, 1 - 1e-9, 1 + 1e-9)  # of equal policies one is first
        seen[..., k] = 0
        largest = np.maximum.accumulate(seen[..., ::-1], axis=-1)[..., ::-1]
        first[: k + 1] += (largest[..., : k + 1] <= rim).mean(axis=1).T
    inner = (first[:, 1:] + first[:, :-1]) / 2 * np.diff(_LEVELS[1:])
    adjusted = np.cumsum(np.concatenate([np.zeros((count, 1)), first[:, :1] * _LEVELS[1], inner], axis=1), axis=1)
    left = np.arange(count, 0, -1)[:, None]
    return np.clip(adjusted, _LEVELS, np.maximum(_LEVELS, np.minimum(1, left * _LEVELS)))


def detectable(comparison: Comparison, *, power: float = POWER) -> float:
    """The smallest true difference that such a study detects with probability `power`.

    Args:
        comparison: Provides the number of seeds, the spread and the level.
        power: The probability, above 0.05 and below 1.

    Returns:
        The difference, in the metric's own unit; NaN if no spread is known.

    >>> (found,) = many_to_one([[2.1, 3.0, 4.2, 2.9]], [1.0, 2.0, 3.0, 2.0])
    >>> round(detectable(found), 2)
    0.27
    """
    if not comparison.level < 1:
        return math.nan
    return _shift(comparison.seeds, comparison.level, power) * comparison.spread


def seeds_to_detect(comparison: Comparison, true_difference: float, *, power: float = POWER) -> float:
    """The smallest number of seeds that detects `true_difference` with probability `power`.

    Args:
        comparison: Provides the spread and the level.
        true_difference: In the metric's own unit; its sign does not matter.
        power: The probability, above 0.05 and below 1.

    Returns:
        The number; `math.inf` above 10,000, NaN if no spread is known.

    >>> (found,) = many_to_one([[2.1, 3.0, 4.2, 2.9]], [1.0, 2.0, 3.0, 2.0])
    >>> seeds_to_detect(found, 0.1)
    16
    """
    if not comparison.level < 1:
        return math.nan
    wanted = abs(true_difference) / comparison.spread
    few, many = 1, 2
    while _shift(many, comparison.level, power) > wanted:
        few, many = many, 2 * many
        if few > _MOST_SEEDS:
            return math.inf
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (middle, many) if _shift(middle, comparison.level, power) > wanted else (few, middle)
    return many if many <= _MOST_SEEDS else math.inf


def _shift(seeds: int, level: float, power: float) -> float:
    """The mean, in standard deviations, that a t test at `level` detects with probability `power`."""
    from scipy import optimize, stats

    df = seeds - 1
    critical = float(stats.t.isf(level / 2, df))

    def surplus(shift: float) -> float:
        return float(stats.nct.sf(critical, df, shift)) - power

    found = optimize.root_scalar(surplus, bracket=(0, 10 * critical + 10))
    return float(found.root) / math.sqrt(seeds)


def _varies(changes: np.ndarray) -> bool:
    return bool(changes.size > 1 and np.isfinite(changes).all() and np.ptp(changes) > 0 and changes.std() > 0)


def _all_alike(sample: np.ndarray) -> bool:
    return bool(np.ptp(sample) <= _ROUNDING * np.abs(sample).max() or sample.std() == 0)  # squares may underflow


def steps_to_target(steps: Sequence[int], values: Sequence[float], target: float, *, maximize: bool = True) -> float:
    """The first evaluated step at which `target` is reached; `math.inf` if it never is.

    >>> steps_to_target([100, 200, 300], [0.1, 0.5, 0.7], target=0.5)
    200
    """
    for step, value in zip(steps, values, strict=True):
        if (value >= target) if maximize else (value <= target):
            return step
    return math.inf


def value_at(steps: Sequence[int], values: Sequence[float], step: float) -> float:
    """The last value measured at or before `step`; NaN if there is none.

    >>> value_at([100, 200, 300], [0.1, 0.5, 0.7], 250)
    0.5
    """
    before = [value for at, value in zip(steps, values, strict=True) if at <= step]
    return before[-1] if before else math.nan


def area(steps: Sequence[int], values: Sequence[float]) -> float:
    """The mean of a metric over the budget: the area under its curve, from the first evaluation to the last.

    >>> area([100, 200, 400], [0.0, 0.5, 0.5])
    0.4166666666666667
    """
    if len(steps) == 1:
        return values[0]
    return float(np.trapezoid(values, steps)) / (steps[-1] - steps[0])
