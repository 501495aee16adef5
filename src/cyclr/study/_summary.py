"""Results of a study, policy by policy, in numbers and in words, always with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import msgspec
import numpy as np

from cyclr import _check
from cyclr._metrics import natural_ends
from cyclr._renamed import has_new_name
from cyclr._schedules import parse
from cyclr.study._records import Run, Study, check_paired
from cyclr.study._stats import (
    ALPHA,
    Comparison,
    Interval,
    area,
    detectable,
    interval,
    many_to_one,
    seeds_to_detect,
    steps_to_target,
    value_at,
)

_UNKNOWN = Interval(math.nan, -math.inf, math.inf)
_WORTHWHILE = 0.01  # a percentage point, or 1 % of the baseline's mean: the difference that `seeds_needed` refers to
# When a verdict warns: the ratio of two spreads, fewer seeds than this, and a p above this; 0.05 may then mean 0.14.
_UNEVEN, _MANY, _CLEAR = 2, 20, 0.01


def cycle_ends(run: Run) -> tuple[int, ...]:
    """The steps at which a run's cycles ended, always including the end of the run."""
    return _ends(run.schedule, run.steps)


@lru_cache(maxsize=1024)
def _ends(schedule: str, steps: int) -> tuple[int, ...]:
    try:
        inner = parse(schedule).cycle_ends(until=steps)
    except ValueError:  # a record may name an unknown schedule; the end of the run is known nevertheless
        inner = ()
    return tuple(sorted({*inner, steps}))


@dataclass(frozen=True, slots=True)
class Summary:
    """One policy's row in a comparison.

    Args:
        policy: Its name.
        final: The metric at the end of the budget, of the ensemble or average where the policy finishes so.
        difference: `final` minus the baseline's, paired, with an interval widened for the number of comparisons: it
            excludes zero exactly if `corrected` is at most 0.05. None for the baseline itself.
        half: The metric at half the budget.
        to_target: Median of the steps to the target; `math.inf` if most runs never reach it.
        reached: Number of runs that reached it.
        tuning_cost: Steps spent to find the policy's rates.
        seeds: Number of runs.
        seconds: Median of the seconds to the target, assuming that all steps of a run take equally long.
        best: The metric at the best end of a cycle, including the end of the budget; which one is best is known only
            in hindsight.
        area: The mean of the metric over the budget.
        p: Two-sided p-value of the paired t test; NaN for the baseline.
        corrected: `p`, adjusted for all the comparisons by a step-down max-t test.
        comparisons: Number of policies compared with the baseline.
        diverged: Number of runs whose loss was not finite at the end.
        detectable: The smallest true difference that these seeds detect with a probability of 80 %.
        worthwhile: The difference that `seeds_needed` refers to: 0.01 for a fraction, for any other metric 1 % of the
            baseline's mean.
        seeds_needed: Number of seeds that detect `worthwhile` with a probability of 80 %; `math.inf` above 10,000.
        prediction: What a prediction costs, in predictions of one model.
        spread_ratio: How many times the larger spread over seeds, the policy's or the baseline's, is the smaller one;
            NaN for one seed, `math.inf` if one of them does not vary.
    """

    policy: str
    final: Interval
    difference: Interval | None
    half: Interval
    to_target: float
    reached: int
    tuning_cost: int
    seeds: int
    seconds: float = math.nan
    best: Interval = _UNKNOWN
    area: Interval = _UNKNOWN
    p: float = math.nan
    corrected: float = math.nan
    comparisons: int = 1
    diverged: int = 0
    detectable: float = math.nan
    worthwhile: float = math.nan
    seeds_needed: float = math.nan
    prediction: int = 1
    spread_ratio: float = math.nan

    @property
    def differs(self) -> bool:
        """Whether the difference from the baseline is significant: its interval excludes zero."""
        return self.difference is not None and not self.difference.contains(0)

    @property
    def cost(self) -> int:
        """The former name of `tuning_cost`."""
        has_new_name("Summary.cost", "Summary.tuning_cost")
        return self.tuning_cost


def summarize(
    study: Study, metric: str | None = None, baseline: str | None = None, *, maximize: bool | None = None
) -> tuple[Summary, ...]:
    """One row for each policy of `study`, in order, each compared with `baseline`.

    Args:
        study: The runs. Its own metric, baseline and direction are used unless given here.
        metric: A name in the runs' points.
        baseline: The policy that the others are compared with.
        maximize: Whether higher values are better.

    Raises:
        ValueError: If a policy lacks a seed that another one has, the budgets differ, or the baseline is unknown.
    """
    metric = study.metric if metric is None else metric
    baseline = _check.choice("baseline", study.baseline if baseline is None else baseline, study.policies)
    check_paired(study, (baseline, *study.policies))
    if len(budgets := {run.steps for run in study.runs}) > 1:
        raise ValueError(_check.problem("all runs must have the same budget", sorted(budgets), "stretch the schedules"))
    runs = {policy: list(study.of(policy).values()) for policy in study.policies}
    ends = {policy: [run.final(metric) for run in own] for policy, own in runs.items()}
    target = target_of(study, metric, baseline)
    up = study.maximize if maximize is None else maximize
    shown = msgspec.structs.replace(study, metric=metric, maximize=up)
    fraction = is_fraction(shown)
    ends_of_metric = (0.0, 1.0) if fraction else natural_ends(metric, _values(shown))
    mean = interval if ends_of_metric is None else partial(_mean_between, *ends_of_metric)
    rows = [
        _row(policy, own, metric, target, study.tuning_cost.get(policy, 0), up, mean) for policy, own in runs.items()
    ]
    others = [policy for policy in runs if policy != baseline]
    found = dict(zip(others, many_to_one([ends[policy] for policy in others], ends[baseline]), strict=True))
    worthwhile = _WORTHWHILE * (1 if fraction else abs(float(np.mean(ends[baseline]))))
    ratios = {policy: _spread_ratio(ends[policy], ends[baseline]) for policy in others}
    return tuple(
        replace(_compared(row, found[row.policy], worthwhile, len(others)), spread_ratio=ratios[row.policy])
        if row.policy in found
        else replace(row, comparisons=len(others))
        for row in rows
    )


def _spread_ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """The larger standard deviation divided by the smaller."""
    if len(one) < 2 or not np.isfinite([*one, *other]).all():
        return math.nan
    small, large = sorted(float(np.std(values, ddof=1)) for values in (one, other))
    return large / small if small else math.inf if large else math.nan


def _compared(row: Summary, found: Comparison, worthwhile: float, comparisons: int) -> Summary:
    return replace(
        row,
        difference=found.difference,
        p=found.p,
        corrected=found.adjusted,
        comparisons=comparisons,
        detectable=detectable(found),
        worthwhile=worthwhile,
        seeds_needed=seeds_to_detect(found, worthwhile) if worthwhile > 0 else math.nan,
    )


def target_of(study: Study, metric: str | None = None, baseline: str | None = None) -> float:
    """The target value: the study's own, or else the baseline's final mean."""
    if study.target is not None:
        return study.target
    runs = study.of(study.baseline if baseline is None else baseline).values()
    return float(np.mean([run.final(study.metric if metric is None else metric) for run in runs]))


def _mean_between(least: float, most: float, values: Sequence[float]) -> Interval:
    """The mean of values that cannot leave these ends, nor can its interval."""
    found = interval(values)
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return found
    return Interval(found.mean, max(found.low, least), min(found.high, most))


def _row(
    policy: str,
    runs: Sequence[Run],
    metric: str,
    target: float,
    tuning_cost: int,
    maximize: bool,
    mean: Callable[[Sequence[float]], Interval],
) -> Summary:
    """The summary of one policy's runs, without a comparison."""
    series = [run.series(metric) for run in runs]
    best = max if maximize else min
    at_ends = [[value_at(*own, step) for step in cycle_ends(run)] for run, own in zip(runs, series, strict=True)]
    reached = [steps_to_target(*own, target, maximize=maximize) for own in series]
    return Summary(
        policy=policy,
        final=mean([run.final(metric) for run in runs]),
        difference=None,
        half=mean([value_at(*own, run.steps / 2) for run, own in zip(runs, series, strict=True)]),
        to_target=float(np.median(reached)),
        reached=sum(map(math.isfinite, reached)),
        tuning_cost=tuning_cost,
        seeds=len(runs),
        seconds=float(np.median([_seconds(run, at) for run, at in zip(runs, reached, strict=True)])),
        best=mean([best(filter(math.isfinite, values), default=math.nan) for values in at_ends]),
        area=mean([area(*own) for own in series]),
        diverged=sum(run.status == "diverged" for run in runs),
        prediction=runs[0].prediction_cost,
    )


def _seconds(run: Run, step: float) -> float:
    """The time at which a run reached a step, assuming equally long steps; infinite if it did not."""
    return run.seconds * step / run.steps if math.isfinite(step) else math.inf


def is_fraction(study: Study) -> bool:
    """Whether the metric is shown in percentage points: higher is better and all values are from 0 to 1."""
    values = _values(study)
    return study.maximize and bool(values) and min(values) >= 0 and max(values) <= 1


def _values(study: Study) -> list[float]:
    """All finite values of the study's metric."""
    return [value for run in study.runs for value in run.series(study.metric)[1] if math.isfinite(value)]


def verdict(row: Summary, baseline: str, *, points: bool = False, maximize: bool = True) -> str:
    """One sentence that compares `row` with `baseline`; if there is no significant difference, also the detectable one.

    Args:
        row: The policy's row.
        baseline: Name of the baseline.
        points: Whether the metric is a fraction, shown in percentage points.
        maximize: Whether higher values are better.

    >>> row = Summary("auto", Interval(.8, .7, .9), Interval(.02, -.01, .05), Interval(.7, .6, .8), 600.0, 5, 0, 5,
    ...     p=0.06, corrected=0.13, comparisons=4, detectable=0.04, worthwhile=0.01, seeds_needed=61)
    >>> for part in verdict(row, "fixed", points=True).split("; "):
    ...     print(part)
    auto: no significant difference from fixed (+2.00 points, higher is better
    95 % CI [-1.00, 5.00]
    adjusted p = 0.13, n = 5)
    these seeds detect 4.00 points (80 % power), 56 more would detect 1 point.
    """
    if row.difference is None:
        return f"{row.policy}: the baseline{_diverged(row)}."
    if not math.isfinite(row.difference.mean):
        return f"{row.policy}: diverged in at least one of {row.seeds} seeds; its learning rate is too high for it."
    change = shown(row.difference.mean, points, sign="+")
    noun = " points" if points else ""
    better = f"{'higher' if maximize else 'lower'} is better"
    if not (math.isfinite(row.difference.low) and math.isfinite(row.difference.high)):
        seeds = "one seed" if row.seeds == 1 else f"each of {row.seeds} seeds"
        return (
            f"{row.policy}: {change}{noun} against {baseline} on {seeds} ({better}); the variation between seeds is "
            "unknown."
        )
    ends = f"[{shown(row.difference.low, points)}, {shown(row.difference.high, points)}]"
    p = f"{'adjusted p' if row.comparisons > 1 else 'p'} = {_p_value(row.corrected)}"
    numbers = f"({change}{noun}, {better}; 95 % CI {ends}; {p}, n = {row.seeds})"
    if not row.differs:
        power = _power(row, baseline, points=points)
        return f"{row.policy}: no significant difference from {baseline} {numbers}{_diverged(row)}{power}."
    won = "better" if (row.difference.mean > 0) == maximize else "worse"
    return f"{row.policy}: significantly {won} than {baseline} {numbers}{_diverged(row)}{_uneven(row)}."


def _uneven(row: Summary) -> str:
    """A warning where a t test finds too much if the metric is skewed, too: see docs/statistics.md."""
    if not (row.spread_ratio > _UNEVEN and row.seeds < _MANY and row.corrected > _CLEAR):
        return ""
    ratio = f"{row.spread_ratio:.1f}" if row.spread_ratio < 1000 else "more than 1,000"
    return f"; the spreads over seeds differ {ratio}-fold, so p is too small if the metric is skewed: look at each seed"


def _power(row: Summary, baseline: str, *, points: bool) -> str:
    """The difference that these seeds detect, and the number of further seeds that detect a worthwhile one."""
    if math.isnan(row.detectable):
        return ""
    found = f"; these seeds detect {shown(row.detectable, points)}{' points' if points else ''} (80 % power)"
    what = f"{100 * row.worthwhile:g} point" if points else f"1 % of {baseline}'s mean"
    if math.isnan(row.seeds_needed) or row.seeds_needed <= row.seeds:
        return found
    more = f"{row.seeds_needed - row.seeds:,.0f} more" if math.isfinite(row.seeds_needed) else "more than 10,000"
    return f"{found}, {more} would detect {what}"


def _p_value(p: float) -> str:
    """Two digits, or three if two do not show on which side of 0.05 it lies."""
    return f"{p:.3g}" if float(f"{p:.2g}") == ALPHA else f"{p:.2g}"


def shown(value: float, points: bool, sign: str = "") -> str:
    return f"{100 * value:{sign}.2f}" if points else f"{value:{sign}.3g}"


def _diverged(row: Summary) -> str:
    return f"; diverged in {row.diverged} of {row.seeds} seeds" if row.diverged else ""
