"""The runs that a comparison needs: equal budgets, paired seeds, and every policy's peak tuned in the same way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from cyclr import _check
from cyclr._goals import last_snapshots
from cyclr._plan import Plan
from cyclr._plan import plan as make_plan
from cyclr._policies import check_policy, uses_bounds
from cyclr._policies import policy as make_schedule
from cyclr._range import Bounds
from cyclr._schedules import Schedule
from cyclr.study._engine import IN_PROCESS, Engine, finished_runs, make_runs
from cyclr.study._records import Run, Setup, Study

Finish: TypeAlias = Literal["single", "average", "ensemble", "ema", "independent"]
FINISHES: tuple[Finish, ...] = ("single", "average", "ensemble", "ema", "independent")
BY_SNAPSHOTS = ("average", "ensemble")  #: finishes that need the ends of cycles
ENSEMBLES = ("ensemble", "independent")  #: finishes that average predictions
INDEPENDENT = 3  #: trainings that share the budget: of 3 and 5, 3 ended better on all three tasks of docs/cycles.md
TUNING_SEED = 10_000
"""The seed of the tuning runs; the compared seeds count from 0 and stay below it."""

DECADES = (-1.5, -1.0, -0.5, 0.0, 0.5)
"""The peaks that are tried, as powers of ten relative to the max_lr of the range test.

They are half a decade apart. More lie below than above: the range test's max_lr is meant for a cycle, and constant
rates and slow decays need lower ones; at 3.5 times max_lr the range test saw training become unstable.
"""

BASE_RATIO = 0.25  # base_lr / max_lr without a range test: the paper advises a third or a quarter
FEWEST_EVALUATIONS = 20  # per budget


@dataclass(frozen=True, slots=True)
class Arm:
    """One policy of a comparison, with its candidate bounds.

    Args:
        name: Its name.
        policy: A built-in policy or a text, as in `cyclr.policy`.
        candidates: The bounds to choose from by tuning; a single one is used without tuning.
        folder: Prefix of the folders of its runs; by default its name.
        finish: How its trainings end: "single", "average", "ensemble", "ema" or "independent".
    """

    name: str
    policy: str
    candidates: tuple[Bounds, ...]
    folder: str = ""
    finish: Finish = "single"

    def tuning_run(self, bounds: Bounds) -> str:
        """The name of the tuning run for these bounds."""
        return f"tuning-{self.folder or self.name}-{bounds.max_lr}"

    def compared_run(self, seed: int) -> str:
        """The name of the compared run for this seed."""
        return f"{self.folder or self.name}-{seed}"


def grid(found: Bounds) -> tuple[Bounds, ...]:
    """The candidate bounds around those that a range test found, with the same ratio of base to peak.

    >>> [bounds.max_lr for bounds in grid(Bounds(0.01, 0.1))]
    [0.0032, 0.01, 0.032, 0.1, 0.32]
    """
    peaks = (float(f"{found.max_lr * 10**decades:.2g}") if decades else found.max_lr for decades in DECADES)
    return tuple(scaled(peak, found) for peak in peaks)


def scaled(peak: float, found: Bounds | None = None) -> Bounds:
    """Bounds with another peak, and with the ratio and the tuning cost of those found, if any.

    >>> scaled(0.4) == Bounds(base_lr=0.1, max_lr=0.4)
    True
    """
    ratio = BASE_RATIO if found is None else found.base_lr / found.max_lr
    return Bounds(min(peak, ratio * peak), peak, tuning_cost=0 if found is None else found.tuning_cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Everything that determines the runs of a comparison.

    Args:
        task: As in `Setup`.
        arms: The compared policies, in order.
        seeds: Number of seeds; they are 0, 1, ….
        steps: Budget of each training, in steps.
        steps_per_epoch: Steps in an epoch, which cyclical policies use.
        metric: The compared metric, without `test_` or `val_`.
        maximize: Whether higher values of the metric are better.
        judge: The held-out data of the comparison: `test`, or `val` for a task without test data.
        eval_every: Steps between two evaluations; by default an epoch, and at most a twentieth of the budget.
    """

    task: str
    arms: tuple[Arm, ...]
    seeds: int
    steps: int
    steps_per_epoch: int
    metric: str
    maximize: bool
    judge: str = "test"
    eval_every: int | None = None

    def __post_init__(self) -> None:
        if _check.count("seeds", self.seeds) > TUNING_SEED:
            raise ValueError(_check.problem(f"seeds must be at most {TUNING_SEED}", self.seeds))

    def schedule(self, arm: Arm, bounds: Bounds) -> Schedule:
        """An arm's schedule, stretched to the budget."""
        if (plan := self._plan(arm, bounds)) is not None:
            return plan.schedule
        if arm.finish == "independent":
            return self._made(arm, bounds, self._thirds()[0]).repeat(INDEPENDENT)
        return self._made(arm, bounds, self.steps)

    def _made(self, arm: Arm, bounds: Bounds, steps: int) -> Schedule:
        made = make_schedule(arm.policy, bounds, steps=steps, steps_per_epoch=self.steps_per_epoch)
        return made.take(steps) if steps < self.steps else made

    def _thirds(self) -> tuple[int, ...]:
        """The steps at which each of several independent trainings ends, the longest ones first."""
        length, rest = divmod(self.steps, INDEPENDENT)
        return tuple(length * number + min(number, rest) for number in range(1, INDEPENDENT + 1))

    def finish(self, arm: Arm, bounds: Bounds) -> tuple[Finish, tuple[int, ...]]:
        """How an arm's trainings end, and the steps of the snapshots for that, the last one at the end of the budget.

        A policy without two cycles has no ensemble, but an average: of snapshots in the last fifth of the budget.
        """
        if arm.finish == "independent":
            return arm.finish, self._thirds()
        if arm.finish not in BY_SNAPSHOTS:
            return arm.finish, ()
        plan = self._plan(arm, bounds)
        inner = self.schedule(arm, bounds).cycle_ends(until=self.steps) if plan is None else plan.snapshots
        ends = tuple(sorted({*inner, self.steps}))  # a cut-off last cycle ends with the budget
        if plan is None and len(ends) == 1 and arm.finish == "average":
            ends = last_snapshots(self.steps)
        return (arm.finish, ends) if len(ends) > 1 else ("single", ())

    def _plan(self, arm: Arm, bounds: Bounds) -> Plan | None:
        """The plan of `auto` for another goal than a single model."""
        if arm.policy != "auto" or arm.finish not in BY_SNAPSHOTS:
            return None
        return make_plan(bounds, steps=self.steps, steps_per_epoch=self.steps_per_epoch, goal=arm.finish)

    def tuning(self) -> dict[str, Setup]:
        """The tuning runs, by name."""
        finishes = {(arm, bounds): self.finish(arm, bounds) for arm in self.arms for bounds in arm.candidates}
        return {
            arm.tuning_run(bounds): Setup(
                task=self.task,
                policy=f"tuning {arm.name} {bounds.max_lr:g}",
                schedule=repr(self.schedule(arm, bounds)),
                seed=TUNING_SEED,
                steps=self.steps,
                eval_every=self.steps,  # only the final value is used
                options={"tuning": True},
                finish=finishes[arm, bounds][0],
                members=finishes[arm, bounds][1],
            )
            for arm in self.arms
            if len(arm.candidates) > 1
            for bounds in arm.candidates
        }

    def compared(self, chosen: Mapping[str, Bounds]) -> dict[str, Setup]:
        """The compared runs of the arms whose bounds are chosen, by name."""
        every = self.eval_every or max(1, min(self.steps_per_epoch, self.steps // FEWEST_EVALUATIONS))
        further = self._evaluations(every)
        finishes = {arm.name: self.finish(arm, chosen[arm.name]) for arm in self.arms if arm.name in chosen}
        return {
            arm.compared_run(seed): Setup(
                task=self.task,
                policy=arm.name,
                schedule=repr(self.schedule(arm, chosen[arm.name])),
                seed=seed,
                steps=self.steps,
                eval_every=every,
                eval_at=further,
                finish=finishes[arm.name][0],
                members=finishes[arm.name][1],
            )
            for arm in self.arms
            if arm.name in chosen
            for seed in range(self.seeds)
        }

    def _evaluations(self, every: int) -> tuple[int, ...]:
        """Additional evaluation steps: half the budget, and the end of every cycle of any policy.

        They are the same for all: a policy that is evaluated more often would seem to reach a target earlier.
        """
        ends = {self.steps // 2}
        for arm in self.arms:
            ends.update(self.schedule(arm, arm.candidates[0]).cycle_ends(until=self.steps))
        return tuple(sorted(end for end in ends if 0 < end < self.steps and end % every))

    def choose(self, runs: Mapping[str, Run]) -> dict[str, Bounds]:
        """For each arm, the candidate whose tuning run ended best on the validation data.

        Arms with a missing tuning run are left out.
        """
        sign = 1 if self.maximize else -1

        def rank(run: Run) -> float:
            value = run.final(f"val_{self.metric}")
            return sign * value if math.isfinite(value) and run.status == "finished" else -math.inf

        chosen = {}
        for arm in self.arms:
            names = {arm.tuning_run(bounds): bounds for bounds in arm.candidates}
            if len(names) == 1:
                chosen[arm.name] = arm.candidates[0]
            elif names.keys() <= runs.keys():
                chosen[arm.name] = names[max(names, key=lambda name: rank(runs[name]))]
        return chosen

    @property
    def total(self) -> int:
        """Number of trainings."""
        return len(self.tuning()) + len(self.arms) * self.seeds

    def tuning_cost(self, arm: Arm) -> int:
        """Steps spent to find an arm's bounds: those of the range test and of the tuning runs."""
        tried = len(arm.candidates)
        return arm.candidates[0].tuning_cost + (tried * self.steps if tried > 1 else 0)


def finished(design: Design, folder: str | Path) -> int:
    """Number of finished runs of a design."""
    tuned = finished_runs(folder, design.tuning())
    chosen = design.choose(tuned)
    return len(tuned) + len(finished_runs(folder, design.compared(chosen)))


def run_design(
    design: Design,
    folder: str | Path,
    function: str,
    *,
    engine: Engine = IN_PROCESS,
    on_run: Callable[[str, Run], None] | None = None,
) -> Study:
    """Make all runs of a design that are not finished.

    Args:
        design: The comparison.
        folder: Folder of the runs; as in `make_runs`.
        function: Function that makes a run; as in `make_runs`.
        engine: Where the runs are executed.
        on_run: Called with name and run as each one ends.

    Returns:
        The compared runs, with the peaks that were found and the tuning cost.
    """
    tuning = design.tuning()
    first = tuning | design.compared(design.choose({}))  # these do not depend on tuning
    runs = make_runs(function, first, folder, engine=engine, on_run=on_run)
    chosen = design.choose(runs)
    setups = design.compared(chosen)
    later = {name: setup for name, setup in setups.items() if name not in first}
    runs |= make_runs(function, later, folder, engine=engine, on_run=on_run)
    return Study(
        task=design.task,
        runs=[runs[name] for name in setups],
        tuning_cost={arm.name: design.tuning_cost(arm) for arm in design.arms},
        rates={arm.name: design.schedule(arm, chosen[arm.name]).highest for arm in design.arms},
        metric=f"{design.judge}_{design.metric}",
        maximize=design.maximize,
        notes=notes(design, chosen, {name: runs[name] for name in tuning}),
    )


def notes(design: Design, chosen: Mapping[str, Bounds], tuned: Mapping[str, Run]) -> list[str]:
    """How the peaks were found, and caveats."""
    own = [arm.name for arm in design.arms if not uses_bounds(arm.policy)]
    sentences = [f"{', '.join(own)}: the rates are those in its text."] if own else []
    for candidates in dict.fromkeys(arm.candidates for arm in design.arms):
        names = ", ".join(arm.name for arm in design.arms if arm.candidates == candidates and arm.name not in own)
        if names:
            sentences.append(f"{names}: {_how_found(design, candidates)}")
    sentences += [_beware(arm, chosen[arm.name], tuned) for arm in design.arms]
    sentences += [_finished(design, arm, chosen[arm.name]) for arm in design.arms]
    if any(arm.finish != "single" for arm in design.arms):
        sentences.append(
            f"Every run takes the same {design.steps:,} steps, snapshots and independent trainings included. Values "
            "during the training are those of the single model."
        )
    if design.judge == "val":
        sentences.append("Compared on the validation data, as the task has no test data; no rate was tuned on it.")
    return [sentence for sentence in sentences if sentence]


def _how_found(design: Design, candidates: tuple[Bounds, ...]) -> str:
    rates = [bounds.max_lr for bounds in candidates]
    if len(rates) > 1:
        return (
            f"each uses the best peak of {_listed(rates)}, by the final val_{design.metric} of a training with the "
            f"full budget and seed {TUNING_SEED}, which is not compared."
        )
    if candidates[0].tuning_cost:
        return f"the peak {rates[0]:.3g} is the max_lr of the range test."
    return f"the peak {rates[0]:.3g} was given."


def _finished(design: Design, arm: Arm, bounds: Bounds) -> str:
    """How an arm ends, and what a prediction then costs."""
    if arm.finish == "single":
        return ""
    if arm.finish == "ema":
        return f"{arm.name}: finishes as the moving average of its weights; a prediction costs that of one model."
    finish, members = design.finish(arm, bounds)
    if finish == "independent":
        return (
            f"{arm.name}: finishes as an ensemble of {len(members)} independent trainings of about {members[0]:,} "
            f"steps each; a prediction costs {len(members)} times that of one model."
        )
    if finish == "single":
        return f"{arm.name}: has no two cycles that end, and so finishes as a single model."
    at = f"{len(members)} snapshots, of steps {', '.join(map(str, members))}"
    if finish == "average":
        return f"{arm.name}: finishes as the average of the weights of {at}; a prediction costs that of one model."
    return f"{arm.name}: finishes as an ensemble of {at}; a prediction costs {len(members)} times that of one model."


def _beware(arm: Arm, chosen: Bounds, tuned: Mapping[str, Run]) -> str:
    rates = sorted(bounds.max_lr for bounds in arm.candidates)
    if len(rates) < 2:
        return ""
    if all(tuned[arm.tuning_run(bounds)].status == "diverged" for bounds in arm.candidates):
        return f"{arm.name}: diverged at every peak that was tried; lower ones may work."
    if chosen.max_lr in (rates[0], rates[-1]):
        which, other = ("lowest", "a lower") if chosen.max_lr == rates[0] else ("highest", "a higher")
        return f"{arm.name}: its peak {chosen.max_lr:.3g} is the {which} that was tried; {other} one may be better."
    return ""


def arms(
    policies: Mapping[str, str],
    found: Bounds | None,
    rates: Sequence[float] | None = None,
    *,
    tuned: bool = True,
    finish: Mapping[str, Finish] | None = None,
) -> tuple[Arm, ...]:
    """Policies with their candidate bounds; `auto` always uses those of the range test.

    A text that does not use the bounds is not tuned.

    Args:
        policies: Built-in policies or texts, by their names in the comparison.
        found: The bounds from the range test; may be None if no policy needs them.
        rates: Peak rates to try; by default `grid(found)`.
        tuned: False gives all policies the bounds from the range test.
        finish: How policies end, by their names; those without one end as a single model.

    >>> [len(arm.candidates) for arm in arms({"auto": "auto", "fixed": "fixed"}, Bounds(0.01, 0.1))]
    [1, 5]
    """
    candidates: tuple[Bounds, ...] = ()
    if rates is not None:
        candidates = tuple(scaled(rate, None if found is None else _free(found)) for rate in rates)
    elif found is not None:
        candidates = grid(found) if tuned else (found,)
    made = []
    for name, policy in policies.items():
        check_policy(f"policy {name!r}", policy)
        own = candidates
        if policy == "auto":
            own = () if found is None else (found,)
        elif not uses_bounds(policy):
            own = (scaled(1.0),)  # any bounds will do
        if not own:
            raise ValueError(f"{name} needs a range test" + ("" if policy == "auto" else ", or rates must be given"))
        made.append(Arm(name, policy, own, finish=(finish or {}).get(name, "single")))
    return tuple(made)


def _free(found: Bounds) -> Bounds:
    """The same ratio without the tuning cost: a policy with given rates does not need the range test."""
    return Bounds(found.base_lr, found.max_lr)


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:.3g}" for rate in rates)
