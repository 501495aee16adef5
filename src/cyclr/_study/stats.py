"""Comparisons of paired runs: intervals, differences and how fast a target is reached; never a bare mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cyclr import _check
from cyclr._study.record import Study, check_paired

# Below this many values a bootstrap cannot reach its level: at 5 normal values the 95 % interval of the
# percentile and of the BCa bootstrap covers the mean in 84 % of cases (tests/study/test_stats.py measures it).
_FEWEST_TO_RESAMPLE = 8


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
    nothing.

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
    if sample.size == 1 or not math.isfinite(mean):
        return Interval(mean, -math.inf, math.inf)
    if np.ptp(sample) == 0:
        return Interval(mean, mean, mean)
    quantile = float(stats.t.ppf(0.5 + level / 2, sample.size - 1))
    if sample.size < _FEWEST_TO_RESAMPLE:
        half = quantile * float(stats.sem(sample))
        return Interval(mean, mean - half, mean + half)
    tail = float(stats.norm.cdf(-math.sqrt(sample.size / (sample.size - 1)) * quantile))
    found = stats.bootstrap((sample,), np.mean, confidence_level=1 - 2 * tail, method="percentile", rng=0)
    return Interval(mean, float(found.confidence_interval.low), float(found.confidence_interval.high))


def difference(values: ArrayLike, baseline: ArrayLike, *, level: float = 0.95) -> Interval:
    """The mean of `values - baseline`, pair by pair, with its interval.

    What both runs of a pair share (the weights at the start, the order of the data) drops out.

    Raises:
        ValueError: If the two are not of equal length.

    >>> difference([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    first, second = (np.asarray(side, dtype=np.float64).ravel() for side in (values, baseline))
    if first.size != second.size:
        raise ValueError(f"paired values must be of equal length, got {first.size} and {second.size}")
    return interval(first - second, level=level)


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


@dataclass(frozen=True, slots=True)
class Summary:
    """One policy's row in a comparison.

    Args:
        policy: Its name.
        final: The metric at the end of the budget.
        difference: `final` less the baseline's, paired; None for the baseline itself.
        half: The metric at half the budget.
        to_target: Median of the steps to the baseline's mean final metric; `math.inf` when most runs never reach it.
        reached: In how many runs it was reached.
        cost: Steps spent on finding its rates.
        seeds: Number of runs.
    """

    policy: str
    final: Interval
    difference: Interval | None
    half: Interval
    to_target: float
    reached: int
    cost: int
    seeds: int


def summarize(study: Study, metric: str, baseline: str, *, maximize: bool = True) -> tuple[Summary, ...]:
    """A row for each policy of `study`, in their order, each compared with `baseline`.

    Raises:
        ValueError: If a policy lacks a seed that another one has, the budgets differ, or the baseline is unknown.
    """
    _check.choice("baseline", baseline, study.policies)
    check_paired(study, (baseline, *study.policies))
    if len(budgets := {run.steps for run in study.runs}) > 1:
        raise ValueError(_check.problem("all runs must have the same budget", sorted(budgets), "stretch the schedules"))
    series = {p: [run.series(metric) for run in study.of(p).values()] for p in study.policies}
    final = {policy: [values[-1] for _, values in runs] for policy, runs in series.items()}
    target = float(np.mean(final[baseline]))
    half = study.runs[0].steps / 2
    rows = []
    for policy, runs in series.items():
        reached = [steps_to_target(steps, values, target, maximize=maximize) for steps, values in runs]
        rows.append(
            Summary(
                policy=policy,
                final=interval(final[policy]),
                difference=None if policy == baseline else difference(final[policy], final[baseline]),
                half=interval([value_at(steps, values, half) for steps, values in runs]),
                to_target=float(np.median(reached)),
                reached=sum(map(math.isfinite, reached)),
                cost=study.cost.get(policy, 0),
                seeds=len(runs),
            )
        )
    return tuple(rows)


def verdict(row: Summary, baseline: str, *, points: bool = False, maximize: bool = True) -> str:
    """One sentence in plain words on `row` beside `baseline`.

    Args:
        row: The policy's row.
        baseline: What the baseline is to be called.
        points: Whether the metric is a fraction, to be told in points of a hundred.
        maximize: Whether more is better.

    Returns:
        The sentence; "no difference found" where the interval holds zero.

    >>> row = Summary("auto", Interval(.8, .7, .9), Interval(.02, -.01, .05), Interval(.7, .6, .8), 600.0, 5, 0, 5)
    >>> verdict(row, "fixed", points=True)
    'auto: no difference from fixed found at 5 seeds (+2.00 points, 95 % interval -1.00 to +5.00).'
    """
    if row.difference is None:
        return f"{row.policy}: what the others are compared with."
    unit, noun = (100, " points") if points else (1, "")
    change, low, high = (unit * end for end in (row.difference.mean, row.difference.low, row.difference.high))
    if not math.isfinite(change):
        return f"{row.policy}: diverged in at least one of {row.seeds} seeds; its rate is too high for it."
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{row.policy}: {change:+.2f}{noun} against {baseline} on one seed, which says nothing about chance."
    numbers = f"({change:+.2f}{noun}, 95 % interval {low:+.2f} to {high:+.2f})"
    if row.difference.contains(0):
        return f"{row.policy}: no difference from {baseline} found at {row.seeds} seeds {numbers}."
    better = (change > 0) == maximize
    return f"{row.policy}: {'better' if better else 'worse'} than {baseline} at {row.seeds} seeds {numbers}."
