"""Comparisons of paired runs: intervals, differences and how fast a target is reached; never a bare mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cyclr import _check
from cyclr._schedules import parse
from cyclr._study.record import Run, Study, check_paired

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
    tail = float(stats.norm.cdf(-_widening(sample.size) * quantile))
    found = _resampled(sample, 1 - 2 * tail)
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


def p_value(values: ArrayLike) -> float:
    """How surprising a mean this far from zero would be, were it zero.

    One less the level at which an end of `interval` lies at zero; for fewer than 8 values that is Student's t test.

    Returns:
        The two-sided p-value; NaN where the interval bounds nothing.

    >>> round(p_value([1.0, 2.0, 3.0]), 3)
    0.074
    """
    from scipy import stats

    sample = np.asarray(values, dtype=np.float64).ravel()
    at = interval(sample)
    if not (math.isfinite(at.low) and math.isfinite(at.high)):
        return math.nan
    if at.low == at.high:
        return float(at.mean == 0)
    if sample.size < _FEWEST_TO_RESAMPLE:
        quantile = abs(at.mean) / float(stats.sem(sample))
    else:
        means = _resampled(sample, 0.95).bootstrap_distribution
        beyond = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
        share = min(0.5, (beyond + 1) / (means.size + 1))  # never 0: so many resamples show no less
        quantile = -float(stats.norm.ppf(share)) / _widening(sample.size)
    return min(1.0, 2 * float(stats.t.sf(quantile, sample.size - 1)))


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


def cycle_ends(run: Run) -> tuple[int, ...]:
    """The steps at which a run's cycles closed, the end of the run always among them."""
    return _ends(run.schedule, run.steps)


@lru_cache(maxsize=1024)
def _ends(schedule: str, steps: int) -> tuple[int, ...]:
    try:
        inner = parse(schedule).cycle_ends(until=steps)
    except ValueError:  # a record may name a schedule that is not ours: it has an end all the same
        inner = ()
    return tuple(sorted({*inner, steps}))


_UNKNOWN = Interval(math.nan, -math.inf, math.inf)
_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Summary:
    """One policy's row in a comparison.

    Args:
        policy: Its name.
        final: The metric at the end of the budget.
        difference: `final` less the baseline's, paired; None for the baseline itself.
        half: The metric at half the budget.
        to_target: Median of the steps to the target; `math.inf` when most runs never reach it.
        reached: In how many runs it was reached.
        cost: Steps spent on finding its rates.
        seeds: Number of runs.
        seconds: Median of the seconds to the target, each run's steps taken to last equally long.
        best: The metric at the best of its cycles' ends, the end of the budget among them; which one is best is known
            only afterwards.
        area: The mean of the metric over the budget.
        p: How surprising the difference would be, were there none; NaN for the baseline.
        corrected: `p`, corrected for all the comparisons by Holm's steps.
        comparisons: How many policies are compared with the baseline.
        diverged: In how many runs the loss was no number at the end.
    """

    policy: str
    final: Interval
    difference: Interval | None
    half: Interval
    to_target: float
    reached: int
    cost: int
    seeds: int
    seconds: float = math.nan
    best: Interval = _UNKNOWN
    area: Interval = _UNKNOWN
    p: float = math.nan
    corrected: float = math.nan
    comparisons: int = 1
    diverged: int = 0

    @property
    def differs(self) -> bool:
        """Whether a difference from the baseline is found.

        So it is called if zero lies outside its interval and, where several policies are compared, its corrected
        p-value is at most 0.05.
        """
        if self.difference is None or self.difference.contains(0):
            return False
        return not (self.comparisons > 1 and self.corrected > _ALPHA)


def summarize(
    study: Study, metric: str | None = None, baseline: str | None = None, *, maximize: bool | None = None
) -> tuple[Summary, ...]:
    """A row for each policy of `study`, in their order, each compared with `baseline`.

    Args:
        study: The runs. It says metric, baseline and direction itself, where they are not given here.
        metric: A name in the runs' points.
        baseline: The policy that the others are compared with.
        maximize: Whether more is better.

    Raises:
        ValueError: If a policy lacks a seed that another one has, the budgets differ, or the baseline is unknown.
    """
    metric = study.metric if metric is None else metric
    baseline = _check.choice("baseline", study.baseline if baseline is None else baseline, study.policies)
    check_paired(study, (baseline, *study.policies))
    if len(budgets := {run.steps for run in study.runs}) > 1:
        raise ValueError(_check.problem("all runs must have the same budget", sorted(budgets), "stretch the schedules"))
    runs = {policy: list(study.of(policy).values()) for policy in study.policies}
    ends = {policy: [run.series(metric)[1][-1] for run in own] for policy, own in runs.items()}
    target = float(np.mean(ends[baseline])) if study.target is None else study.target
    up = study.maximize if maximize is None else maximize
    rows = [_row(policy, own, metric, target, study.cost.get(policy, 0), up) for policy, own in runs.items()]
    others = [policy for policy in runs if policy != baseline]
    found = {policy: p_value(np.subtract(ends[policy], ends[baseline])) for policy in others}
    corrected = dict(zip(others, holm(list(found.values())), strict=True))
    return tuple(
        replace(
            row,
            difference=None if row.policy == baseline else difference(ends[row.policy], ends[baseline]),
            p=found.get(row.policy, math.nan),
            corrected=corrected.get(row.policy, math.nan),
            comparisons=len(others),
        )
        for row in rows
    )


def _row(policy: str, runs: Sequence[Run], metric: str, target: float, cost: int, maximize: bool) -> Summary:
    """What the runs of one policy say by themselves."""
    series = [run.series(metric) for run in runs]
    best = max if maximize else min
    at_ends = [[value_at(*own, step) for step in cycle_ends(run)] for run, own in zip(runs, series, strict=True)]
    reached = [steps_to_target(*own, target, maximize=maximize) for own in series]
    return Summary(
        policy=policy,
        final=interval([values[-1] for _, values in series]),
        difference=None,
        half=interval([value_at(*own, run.steps / 2) for run, own in zip(runs, series, strict=True)]),
        to_target=float(np.median(reached)),
        reached=sum(map(math.isfinite, reached)),
        cost=cost,
        seeds=len(runs),
        seconds=float(np.median([_seconds(run, at) for run, at in zip(runs, reached, strict=True)])),
        best=interval([best(filter(math.isfinite, values), default=math.nan) for values in at_ends]),
        area=interval([area(*own) for own in series]),
        diverged=sum(run.status == "diverged" for run in runs),
    )


def _seconds(run: Run, step: float) -> float:
    """When a run came to a step, if all its steps take as long; never, if it did not."""
    return run.seconds * step / run.steps if math.isfinite(step) else math.inf


def is_fraction(study: Study) -> bool:
    """Whether the metric is one that is told in points of a hundred: more is better, and all values lie in 0 to 1."""
    values = [value for run in study.runs for value in run.series(study.metric)[1] if math.isfinite(value)]
    return study.maximize and bool(values) and min(values) >= 0 and max(values) <= 1


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
        return f"{row.policy}: what the others are compared with{_diverged(row)}."
    change, low, high = (_told(end, points) for end in (row.difference.mean, row.difference.low, row.difference.high))
    noun = " points" if points else ""
    if not math.isfinite(row.difference.mean):
        return f"{row.policy}: diverged in at least one of {row.seeds} seeds; its rate is too high for it."
    if not (math.isfinite(row.difference.low) and math.isfinite(row.difference.high)):
        return f"{row.policy}: {change}{noun} against {baseline} on one seed, which says nothing about chance."
    numbers = f"({change}{noun}, 95 % interval {low} to {high})"
    if row.difference.contains(0):
        return f"{row.policy}: no difference from {baseline} found at {row.seeds} seeds {numbers}{_diverged(row)}."
    if not row.differs:
        return (
            f"{row.policy}: no difference from {baseline} found at {row.seeds} seeds, once it counts that "
            f"{row.comparisons} policies were compared {numbers[:-1]} by itself, corrected p "
            f"{row.corrected:.2g}){_diverged(row)}."
        )
    better = "better" if (row.difference.mean > 0) == maximize else "worse"
    return f"{row.policy}: {better} than {baseline} at {row.seeds} seeds {numbers}{_diverged(row)}."


def _told(change: float, points: bool) -> str:
    return f"{100 * change:+.2f}" if points else f"{change:+.3g}"


def _diverged(row: Summary) -> str:
    return f"; diverged in {row.diverged} of {row.seeds} seeds" if row.diverged else ""
