"""Views, which panels take: an object with values derived from it that several panels need."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from cyclr import _check
from cyclr._metrics import direction
from cyclr._page.numbers import Unit
from cyclr._plan import Plan
from cyclr._range.bounds import Bounds, Inconclusive
from cyclr._range.curve import Curve
from cyclr._range.rules import RULES
from cyclr._schedules import Schedule
from cyclr.study._headline import headline
from cyclr.study._records import Run, Study
from cyclr.study._summary import Summary, is_fraction, summarize, verdict

_OURS = ("step", "lr", "loss")  # of a run's points; all others are metrics


@dataclass(frozen=True, slots=True)
class Comparison:
    """A study with its comparison.

    Args:
        study: The study; its metric and its baseline are filled in if the record lacks them.
        measured: The runs in which the metric was measured.
        rows: A summary of each policy; empty if the runs cannot be compared.
        why: The reason why they cannot be compared.
        unit: How the values of the metric are formatted.
    """

    study: Study
    measured: tuple[Run, ...]
    rows: tuple[Summary, ...]
    why: str
    unit: Unit

    @classmethod
    def of(cls, study: Study) -> Comparison:
        """Compare the policies of `study`, which must have a run.

        Raises:
            ValueError: If the steps of a run's points do not increase.
        """
        _check_steps(study.runs)
        study = _judged(study)
        measured = tuple(run for run in study.runs if any(study.metric in point for point in run.points))
        unit = Unit(is_fraction(msgspec.structs.replace(study, runs=list(measured))))
        try:
            return cls(study, measured, summarize(study), "", unit)
        except ValueError as error:  # unfinished, or not meant to be compared: show its runs anyway
            return cls(study, measured, (), f"These runs cannot be compared: {error}.", unit)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of all runs, in order."""
        return tuple(sorted({run.seed for run in self.study.runs}))

    @property
    def better(self) -> str:
        """Which values of the metric are better, "higher" or "lower"."""
        return "higher" if self.study.maximize else "lower"

    @property
    def headline(self) -> str:
        """What the study says, in one sentence."""
        study = self.study
        return headline(self.rows, study.baseline, points=self.unit.percent, maximize=study.maximize)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """One sentence for each policy, compared with the baseline."""
        study = self.study
        return tuple(
            verdict(row, study.baseline, points=self.unit.percent, maximize=study.maximize)
            for row in self.rows
            if row.difference is not None
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """One signal of a curve, with its bounds.

    Args:
        curve: The curve.
        signal: "loss" or the name of a metric.
        bounds: The bounds; None if the range test is inconclusive.
        why: The reason why it is inconclusive.
        rules: The suggestion of each published rule; None if it has none.
    """

    curve: Curve
    signal: str
    bounds: Bounds | None
    why: str
    rules: dict[str, float | None]

    @classmethod
    def of(cls, curve: Curve, signal: str = "loss", *, budget: int | None = None) -> Reading:
        """Read the bounds from `signal` of `curve`, for a training of `budget` steps.

        Raises:
            ValueError: If there is no such signal.
        """
        rules = {rule: _suggested(curve, rule, signal) for rule in RULES}
        try:
            return cls(curve, signal, curve.bounds(signal, budget=budget), "", rules)
        except Inconclusive as unclear:
            return cls(curve, signal, None, str(unclear), rules)


@dataclass(frozen=True, slots=True)
class Shown:
    """A schedule up to a step.

    Args:
        schedule: The schedule.
        steps: Number of steps to show.
        epoch: Steps in an epoch, if known.
    """

    schedule: Schedule
    steps: int
    epoch: int | None = None

    @classmethod
    def of(cls, schedule: Schedule, steps: int | None = None, epoch: int | None = None) -> Shown:
        """By default the whole schedule, or three cycles of an endless one, or a thousand steps if it has no cycles."""
        last = _window(schedule) if steps is None else _check.count("steps", steps)
        return cls(schedule, last, None if epoch is None else _check.count("epoch", epoch))


@dataclass(frozen=True, slots=True)
class Draft:
    """A designer alone, without the rest of a report.

    Args:
        source: A reading of a curve, bounds, or a plan.
        steps: The budget to begin with; by default that of the plan, or 10,000.
        epoch: Steps in an epoch, if known.
    """

    source: Reading | Bounds | Plan
    steps: int | None = None
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Empty:
    """A study without runs."""

    study: Study


def _check_steps(runs: Iterable[Run]) -> None:
    for run in runs:
        which = f"policy {run.policy!r}, seed {run.seed}"
        _check.count(f"the steps of {which}", run.steps)
        steps = [point.get("step") or 0 for point in run.points]
        if not all(before < after for before, after in pairwise([0, *steps])):
            raise ValueError(f"the points of {which} must have increasing steps from 1 on, got {steps[:5]}")


def _judged(study: Study) -> Study:
    """The study, with a metric and a baseline filled in if it lacks them."""
    changes: dict[str, str | bool] = {}
    names = dict.fromkeys(name for run in study.runs for point in run.points for name in point)
    if study.metric not in names:
        # A metric of unknown direction can be shown, but not used for comparison.
        known = {name: direction(name) for name in reversed(names) if name not in _OURS}
        metric = next((name for name, better in known.items() if better), "loss")
        changes |= {"metric": metric, "maximize": known.get(metric) == "max"}
    if not study.baseline:
        fixed = [policy for policy in study.policies if "fixed" in policy]
        changes["baseline"] = (fixed or study.policies)[0]
    return msgspec.structs.replace(study, **changes)


def _suggested(curve: Curve, rule: str, signal: str) -> float | None:
    try:
        return curve.suggest(rule, signal)
    except Inconclusive:
        return None


def _window(schedule: Schedule) -> int:
    if schedule.duration != math.inf:
        return int(schedule.duration)
    until = 1000
    while until < 10**9:
        if len(ends := schedule.cycle_ends(until=until)) >= 3:
            return ends[2]
        until *= 10
    return 1000
