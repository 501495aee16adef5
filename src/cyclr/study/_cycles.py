"""What short trainings say about the number of cycles: the comparison, the verdict and the plan."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cyclr._goals import Goal
from cyclr._metrics import Better
from cyclr._plan import Plan, plan
from cyclr.study._stats import many_to_one


@dataclass(frozen=True, slots=True)
class Trial:
    """Cycles that were tried.

    Args:
        goal: The goal, with the number of cycles, or of snapshots, and what else was asked of them.
        values: For each length of training, in steps, the value for each seed.
        difference: Mean difference from the default at the longest, with its interval; None if it was not reached.
        real: Whether that difference is significant, given all comparisons.
    """

    goal: Goal
    values: dict[int, tuple[float, ...]]
    difference: tuple[float, float, float] | None = None
    real: bool = False

    @property
    def cycles(self) -> int:
        """The number of cycles, or of snapshots."""
        return self.goal.cycles or 1

    @property
    def label(self) -> str:
        """The number, and what is unusual: "3", or "3 (first 0.7)"."""
        shape = {"first": self.goal.first, "growth": self.goal.growth}
        unusual = [f"{name} {value:g}" for name, value in shape.items() if value is not None]
        unusual += [] if self.goal.anneal else ["no annealing"]
        return f"{self.cycles} ({', '.join(unusual)})" if unusual else str(self.cycles)


@dataclass(frozen=True, slots=True)
class MeasuredCycles:
    """What `measure_cycles` found.

    Args:
        plan: The plan for the whole training, with the number of cycles that the measurement speaks for.
        trials: All that was tried, the default first.
        metric: What was measured on the validation data.
        better: Whether lower or higher values of it are better.
        tuning_cost: Steps of all the short trainings.
        verdict: The result in one sentence.
    """

    plan: Plan
    trials: tuple[Trial, ...]
    metric: str
    better: Better
    tuning_cost: int
    verdict: str


def measured(
    default: Plan,
    values: dict[Goal, dict[int, tuple[float, ...]]],
    metric: str,
    better: Better,
    cost: int,
) -> MeasuredCycles:
    """Compare at the longest of the short trainings, and plan what follows from it.

    Args:
        default: The plan by the rule.
        values: For each candidate, the default first, and each length reached, one value for each seed.
        metric: The name of what was measured.
        better: Its direction.
        cost: Steps of all the trainings.
    """
    tried = tuple(values)
    usual, longest = tried[0], max(steps for own in values.values() for steps in own)
    base = values[usual].get(longest, ())
    others = [number for number in tried[1:] if longest in values[number]]
    sign = 1 if better == "max" else -1
    compared = many_to_one([values[number][longest] for number in others], base) if base and others else []
    trials = {number: Trial(number, values[number]) for number in tried}
    for number, one in zip(others, compared, strict=False):
        span = (one.difference.mean, one.difference.low, one.difference.high)
        trials[number] = replace(trials[number], difference=span, real=not one.difference.contains(0))
    ahead = [one for one in trials.values() if one.real and one.difference and sign * one.difference[0] > 0]
    if ahead:
        best = max(ahead, key=lambda one: sign * one.difference[0] if one.difference else 0.0)
        chosen, verdict = best.goal, (
            f"{_cycles(best)} ended better than the usual {trials[usual].label} in trainings of {longest} steps: "
            f"{metric} {_span(best)}. The plan has {best.label}."
        )  # fmt: skip
    else:
        chosen, verdict = usual, _no_difference(trials, usual, longest, metric, bool(base))
    made = default if chosen == usual else plan(
        default.bounds, steps=default.steps, steps_per_epoch=default.steps_per_epoch, goal=chosen
    )  # fmt: skip
    made = replace(made, reasons=(verdict, *made.reasons))
    return MeasuredCycles(made, tuple(trials.values()), metric, better, cost, verdict)


def _no_difference(trials: dict[Goal, Trial], default: Goal, longest: int, metric: str, known: bool) -> str:
    usual = trials[default].label
    if not known:
        return f"The trainings with the usual {usual} cycles diverged; nothing was found out, and the plan keeps them."
    told = [f"{_cycles(one).lower()} {_span(one)}" for one in trials.values() if one.difference is not None]
    left = [one.label for one in trials.values() if one.difference is None and one.goal != default]
    beside = f" ({metric} beside it: {'; '.join(told)})" if told else ""
    out = f" {_listed(left)} fell behind in shorter trainings." if left else ""
    return (
        f"No other number of cycles was significantly better than the usual {usual} in trainings of {longest} "
        f"steps{beside}, so the plan keeps {usual}.{out}"
    )


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _cycles(trial: Trial) -> str:
    """The candidate in words: "One cycle", or "3 cycles (first 0.7)"."""
    number, beside, shape = trial.label.partition(" ")
    return ("One cycle" if number == "1" else f"{number} cycles") + beside + shape


def _span(trial: Trial) -> str:
    assert trial.difference is not None
    mean, low, high = trial.difference
    return f"{mean:+.3g} ({low:+.3g} to {high:+.3g})"
