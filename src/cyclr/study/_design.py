"""A fair comparison: equal budgets, paired seeds, and every policy's peak found by one procedure on held-out data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclr import _check
from cyclr._policies import POLICIES
from cyclr._policies import policy as make_schedule
from cyclr._range import Bounds, more_is_better
from cyclr._schedules import Schedule
from cyclr.study._engine import finished_runs, run_jobs
from cyclr.study._records import Job, Run, Study

TUNING_SEED = 10_000
"""The seed under which peaks are tried; the compared seeds count from 0 and stay below it."""

DECADES = (-1.5, -1.0, -0.5, 0.0, 0.5)
"""The peaks that are tried, in powers of ten beside the range test's answer.

Half a decade apart. More of them lie below than above: the range test answers for a cycle, and constant rates and
slow falls want less; 3.5 times its answer is where it saw learning go wrong.
"""

BASE_SHARE = 0.25  # of the peak, where no range test says more: the paper's advice is a third or a quarter
FEWEST_LOOKS = 20  # at the metric in a budget


@dataclass(frozen=True, slots=True)
class Entrant:
    """A policy with the bounds that are tried for it.

    Args:
        name: What it is called.
        policy: One of `cyclr._policies.POLICIES`.
        candidates: Bounds to choose from by trying; a single one is taken as it is.
    """

    name: str
    policy: str
    candidates: tuple[Bounds, ...]


def grid(found: Bounds) -> tuple[Bounds, ...]:
    """The bounds that are tried around what a range test found, with the same ratio of base to peak.

    >>> [bounds.max_lr for bounds in grid(Bounds(0.01, 0.1))]
    [0.0032, 0.01, 0.032, 0.1, 0.32]
    """
    peaks = (float(f"{found.max_lr * 10**decades:.2g}") if decades else found.max_lr for decades in DECADES)
    return tuple(scaled(peak, found) for peak in peaks)


def scaled(peak: float, found: Bounds | None = None) -> Bounds:
    """Bounds with another peak, and with the ratio and the cost of those found, if there are any.

    >>> scaled(0.4)
    Bounds(base_lr=0.1, max_lr=0.4, base_interval=None, max_interval=None, level=0.9, evidence=(), steps=0)
    """
    share = BASE_SHARE if found is None else found.base_lr / found.max_lr
    return Bounds(min(peak, share * peak), peak, steps=0 if found is None else found.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """All that decides the runs of a comparison.

    Args:
        task: As in `Job`.
        entrants: What is compared, in this order.
        seeds: How many; they are 0, 1, ….
        steps: The budget of each training.
        steps_per_epoch: Which policies with cycles go by.
        metric: What is compared, without `test_` or `val_`.
        judge: Which held-out data says who is better: `test`, or `val` for a task that has no test data.
        eval_every: Steps between two looks; by default an epoch, and at most a twentieth of the budget.
    """

    task: str
    entrants: tuple[Entrant, ...]
    seeds: int
    steps: int
    steps_per_epoch: int
    metric: str
    judge: str = "test"
    eval_every: int | None = None

    def __post_init__(self) -> None:
        if _check.count("seeds", self.seeds) > TUNING_SEED:
            raise ValueError(_check.problem(f"seeds must be at most {TUNING_SEED}", self.seeds))

    def schedule(self, entrant: Entrant, bounds: Bounds) -> Schedule:
        """An entrant's schedule, stretched to the budget."""
        return make_schedule(entrant.policy, bounds, steps=self.steps, steps_per_epoch=self.steps_per_epoch)

    def tuning(self) -> dict[str, Job]:
        """The trainings that choose the peaks, by name."""
        return {
            _tuning_name(entrant, bounds): Job(
                task=self.task,
                policy=f"tuning {entrant.name} {bounds.max_lr:g}",
                schedule=repr(self.schedule(entrant, bounds)),
                seed=TUNING_SEED,
                steps=self.steps,
                eval_every=self.steps,  # only the end is asked for
                options={"tuning": True},
            )
            for entrant in self.entrants
            if len(entrant.candidates) > 1
            for bounds in entrant.candidates
        }

    def compared(self, chosen: dict[str, Bounds]) -> dict[str, Job]:
        """The trainings of those entrants whose bounds are chosen, by name."""
        every = self.eval_every or max(1, min(self.steps_per_epoch, self.steps // FEWEST_LOOKS))
        looks = self._looks(every)
        return {
            f"{entrant.policy}-{seed}": Job(
                task=self.task,
                policy=entrant.name,
                schedule=repr(self.schedule(entrant, chosen[entrant.name])),
                seed=seed,
                steps=self.steps,
                eval_every=every,
                eval_at=looks,
            )
            for entrant in self.entrants
            if entrant.name in chosen
            for seed in range(self.seeds)
        }

    def _looks(self, every: int) -> tuple[int, ...]:
        """Where all are looked at beside the regular looks: half the budget, and where any one's cycles end.

        The same for all: who is looked at more often would seem to reach a target earlier.
        """
        ends = {self.steps // 2}
        for entrant in self.entrants:
            ends.update(self.schedule(entrant, entrant.candidates[0]).cycle_ends(until=self.steps))
        return tuple(sorted(end for end in ends if 0 < end < self.steps and end % every))

    def choose(self, runs: dict[str, Run]) -> dict[str, Bounds]:
        """Of each entrant's candidates the one whose training ended best on the data held out for that.

        Entrants for which a training is missing are left out.
        """
        sign = 1 if more_is_better(self.metric) else -1

        def rank(run: Run) -> float:
            value = run.series(f"val_{self.metric}")[1][-1]
            return sign * value if math.isfinite(value) and run.status == "finished" else -math.inf

        chosen = {}
        for entrant in self.entrants:
            names = {_tuning_name(entrant, bounds): bounds for bounds in entrant.candidates}
            if len(names) == 1:
                chosen[entrant.name] = entrant.candidates[0]
            elif names.keys() <= runs.keys():
                chosen[entrant.name] = names[max(names, key=lambda name: rank(runs[name]))]
        return chosen

    @property
    def total(self) -> int:
        """How many trainings there are."""
        return len(self.tuning()) + len(self.entrants) * self.seeds

    def cost(self, entrant: Entrant) -> int:
        """Steps that finding its bounds takes: those of the range test, and of the trainings that try candidates."""
        tried = len(entrant.candidates)
        return entrant.candidates[0].steps + (tried * self.steps if tried > 1 else 0)


def finished(contest: Contest, folder: str | Path) -> int:
    """How many runs of a contest are done already."""
    tuned = finished_runs(folder, contest.tuning())
    chosen = contest.choose(tuned)
    return len(tuned) + len(finished_runs(folder, contest.compared(chosen)))


def compare(
    contest: Contest,
    folder: str | Path,
    function: str,
    *,
    on_run: Callable[[str, Run], None] | None = None,
    **engine: Any,
) -> Study:
    """Makes all runs of a contest, or what is left of them.

    Args:
        contest: What to compare.
        folder: Where the runs are kept; as in `run_jobs`.
        function: What makes a run; as in `run_jobs`.
        on_run: Called with name and run as each one ends.
        engine: Further arguments of `run_jobs`.

    Returns:
        The runs under comparison, with the peaks that were found and what that cost.
    """
    tuning = contest.tuning()
    first = tuning | contest.compared(contest.choose({}))  # these need not wait
    runs = run_jobs(function, first, folder, on_run=on_run, **engine)
    chosen = contest.choose(runs)
    jobs = contest.compared(chosen)
    runs |= run_jobs(
        function, {name: jobs[name] for name in jobs if name not in first}, folder, on_run=on_run, **engine
    )
    return Study(
        task=contest.task,
        runs=[runs[name] for name in jobs],
        cost={entrant.name: contest.cost(entrant) for entrant in contest.entrants},
        rates={name: bounds.max_lr for name, bounds in chosen.items()},
        metric=f"{contest.judge}_{contest.metric}",
        maximize=more_is_better(contest.metric),
        notes=notes(contest, chosen, {name: runs[name] for name in tuning}),
    )


def notes(contest: Contest, chosen: dict[str, Bounds], tuned: dict[str, Run]) -> list[str]:
    """How the peaks were found, and what of that a reader must beware."""
    sentences = []
    for candidates in dict.fromkeys(entrant.candidates for entrant in contest.entrants):
        own = [entrant.name for entrant in contest.entrants if entrant.candidates == candidates]
        rates = [bounds.max_lr for bounds in candidates]
        who = ", ".join(own)
        if len(rates) > 1:
            sentences.append(
                f"{who}: for each the best peak of {_listed(rates)}, by val_{contest.metric} at the end of a training "
                f"of the whole budget under seed {TUNING_SEED}, which is not compared."
            )
        elif candidates[0].steps:
            sentences.append(f"{who}: the peak {rates[0]:.3g} is the range test's answer.")
        else:
            sentences.append(f"{who}: the peak {rates[0]:.3g} was given.")
    sentences += [_beware(entrant, chosen[entrant.name], tuned) for entrant in contest.entrants]
    if contest.judge == "val":
        sentences.append("Judged on the validation data, as the task has no test data; no rate was chosen on it.")
    return [sentence for sentence in sentences if sentence]


def _beware(entrant: Entrant, chosen: Bounds, tuned: dict[str, Run]) -> str:
    rates = sorted(bounds.max_lr for bounds in entrant.candidates)
    if len(rates) < 2:
        return ""
    if all(tuned[_tuning_name(entrant, bounds)].status == "diverged" for bounds in entrant.candidates):
        return f"{entrant.name}: diverged at every peak that was tried; lower ones may suit it."
    if chosen.max_lr in (rates[0], rates[-1]):
        which, other = ("lowest", "a lower") if chosen.max_lr == rates[0] else ("highest", "a higher")
        return f"{entrant.name}: its peak {chosen.max_lr:.3g} is the {which} that was tried; {other} one may be better."
    return ""


def entrants(
    policies: Sequence[str], found: Bounds | None, rates: Sequence[float] | None = None, *, tuned: bool = True
) -> tuple[Entrant, ...]:
    """Policies with the peaks to try for them; `auto` always takes what the range test found.

    Args:
        policies: Names of policies.
        found: The range test's answer; may be None where `rates` are given and `auto` is not asked for.
        rates: Peaks to try; by default `grid(found)`.
        tuned: False gives all policies what the range test found.

    >>> [len(entrant.candidates) for entrant in entrants(["auto", "fixed"], Bounds(0.01, 0.1))]
    [1, 5]
    """
    if rates is not None:
        candidates = tuple(scaled(rate, None if found is None else _free(found)) for rate in rates)
    elif found is None:
        raise ValueError("without a range test rates must be given")
    else:
        candidates = grid(found) if tuned else (found,)
    made = []
    for name in policies:
        _check.choice("policy", name, POLICIES)
        if name == "auto" and found is None:
            raise ValueError("auto needs a range test")
        made.append(Entrant(name, name, (found,) if name == "auto" and found is not None else candidates))
    return tuple(made)


def _free(found: Bounds) -> Bounds:
    """The same ratio, but not its price: who is given rates does without the range test."""
    return Bounds(found.base_lr, found.max_lr)


def _tuning_name(entrant: Entrant, bounds: Bounds) -> str:
    return f"tuning-{entrant.policy}-{bounds.max_lr}"


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:.3g}" for rate in rates)
