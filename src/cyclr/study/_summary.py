"""What the runs of a study say, policy by policy, in numbers and in words; never a bare mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from cyclr import _check
from cyclr._schedules import parse
from cyclr.study._records import Run, Study, check_paired
from cyclr.study._stats import Interval, area, difference, holm, interval, p_value, paired, steps_to_target, value_at

_UNKNOWN = Interval(math.nan, -math.inf, math.inf)
_ALPHA = 0.05


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
    target = target_of(study, metric, baseline)
    up = study.maximize if maximize is None else maximize
    rows = [_row(policy, own, metric, target, study.tuning_cost.get(policy, 0), up) for policy, own in runs.items()]
    others = [policy for policy in runs if policy != baseline]
    found = {policy: p_value(paired(ends[policy], ends[baseline])) for policy in others}
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


def target_of(study: Study, metric: str | None = None, baseline: str | None = None) -> float:
    """The value whose steps and seconds are told: the study's own, or else the baseline's mean at the end."""
    if study.target is not None:
        return study.target
    runs = study.of(study.baseline if baseline is None else baseline).values()
    return float(np.mean([run.series(study.metric if metric is None else metric)[1][-1] for run in runs]))


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
        seeds = "one seed" if row.seeds == 1 else f"each of {row.seeds} seeds"
        return f"{row.policy}: {change}{noun} against {baseline} on {seeds}, which says nothing about chance."
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
