"""Plans: a schedule for bounds and a budget, the steps at which to take snapshots, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cyclr import _check
from cyclr._displayed import Displayed
from cyclr._goals import ONE_CYCLE_BASE, RISE, Goal, cycles_of, more_cycles
from cyclr._range.bounds import Bounds
from cyclr._renamed import renamed
from cyclr._schedules import Linear, Schedule, Triangular, one_cycle

OTHER_LENGTH = 1.5  #: ratio of two lengths from which on bounds for one are said to be for another


@dataclass(frozen=True, slots=True)
class Plan(Displayed):
    """A schedule for a budget, with the reason for each choice. Made by `plan`.

    Args:
        schedule: The schedule to train with; its duration is the budget.
        steps: The budget in optimizer steps.
        snapshots: Numbers of completed steps at which a cycle ends at its lowest rate: where to save the model.
        reasons: One sentence for each choice.
        bounds: The bounds that the plan was made from.
        steps_per_epoch: Optimizer steps in an epoch; None if unknown.
        goal: What the training is for: "final", "ensemble", "average" or "anytime".
    """

    schedule: Schedule
    steps: int
    snapshots: tuple[int, ...]
    reasons: tuple[str, ...]
    bounds: Bounds
    steps_per_epoch: int | None = None
    goal: str = "final"

    def extend(self, steps: int, *, done: int | None = None) -> Plan:
        """A longer plan that agrees with this one in the part already trained.

        A training that is under way keeps this plan up to its last peak, or up to `done` if that is later, and then
        anneals over all the steps that are left: raising the rate again would undo what the decay has gained. A
        finished one has nothing left to anneal: it gets one more cycle, with the same peak.

        Plans with another goal keep all their cycles, and so all their snapshots, and get more of them: of the length
        of the last one for an ensemble or an average, ever longer ones for a model at any time.
        To continue a training, load its checkpoint into `Scheduler(optimizer, plan, on_mismatch="keep_new")`.

        Args:
            steps: Optimizer steps to add.
            done: Steps already trained; by default all of this plan.

        Returns:
            The plan for `self.steps + steps` steps.

        Raises:
            TypeError: If a count is not an integer.
            ValueError: If `steps` is too small, or `done` exceeds this plan.

        >>> short = plan(Bounds(0.001, 0.01), steps=100)
        >>> short.extend(100, done=65).schedule
        (Linear(0.001, 0.01, steps=30) >> Linear(0.01, 0.0, steps=70)).take(65) >> Linear(0.005, 0.0, steps=135)
        >>> short.extend(100).snapshots
        (100, 200)

        Reference:
            Ibrahim et al. (2024), Simple and Scalable Strategies to Continually Pre-train Large Language Models.
            https://arxiv.org/abs/2403.08763
        """
        more = _check.count("steps", steps, "a cycle needs one step up and one down", least=2)
        at = self.steps if done is None else _check.count("done", done, least=0)
        if at > self.steps:
            raise ValueError(_check.problem(f"done must be at most the {self.steps} steps of the plan", done))
        told = _other_length(self.bounds, self.steps + more)
        before = tuple(reason for reason in self.reasons if reason not in _other_length(self.bounds, self.steps))
        kept = replace(self, reasons=(*told, *before))
        return kept._with_cycles(more) if self.goal != "final" else kept._to_one_end(more, at)

    def _to_one_end(self, more: int, done: int) -> Plan:
        """The plan up to a step, then to one final model."""
        schedule, kept, why = self._again(more) if done == self.steps else self._stretched(more, done)
        snapshots = (*(end for end in self.snapshots if end <= kept), self.steps + more)
        return replace(
            self, schedule=schedule, steps=self.steps + more, snapshots=snapshots, reasons=(*self.reasons, why)
        )

    def _with_cycles(self, more: int) -> Plan:
        """The whole plan, then cycles for the same goal."""
        decays = self.schedule(self.steps) < self.schedule.highest  # not where weights are averaged at a constant rate
        added = more_cycles(self.goal, self.bounds, self.snapshots, more, anneal=decays)
        return replace(
            self,
            schedule=self.schedule >> added.schedule,
            steps=self.steps + more,
            snapshots=(*self.snapshots, *(self.steps + end for end in added.ends)),
            reasons=(*self.reasons, *added.reasons),
        )

    def _again(self, more: int) -> tuple[Schedule, int, str]:
        """One more cycle after the end: the schedule, how many steps stay as they are, and why."""
        base, rise = min(self.bounds.base_lr, self.bounds.max_lr / ONE_CYCLE_BASE), RISE if more > 2 else 0.5
        again = one_cycle(self.bounds.max_lr, steps=more, base_lr=base, rise=rise, shape="linear")
        why = f"{more} steps more after the end of the plan: one more cycle, as its rate has gone to its lowest."
        return self.schedule >> again, self.steps, why

    def _stretched(self, more: int, done: int) -> tuple[Schedule, int, str]:
        """The last decay over all the steps that are left."""
        turn = max(done, self._last_peak())
        end = float(self.schedule(self.steps))
        rest = Linear(float(self.schedule(turn)), end, steps=self.steps + more - turn)
        why = f"{more} steps more: as before up to step {turn}, then the last decay is stretched to the new end."
        return self.schedule.take(turn) >> rest if turn else rest, turn, why

    def _last_peak(self) -> int:
        """The step at which the last decay begins."""
        start = self.snapshots[-2] if len(self.snapshots) > 1 else 0
        rates = [self.schedule(step) for step in range(start, self.steps)]
        return start + rates.index(max(rates))


@renamed()
def plan(
    bounds: Bounds,
    *,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    step_seconds: float | None = None,
    cycles: int | None = None,
    anneal: bool = True,
    goal: str | Goal = "final",
) -> Plan:
    """Plan whole cycles for a budget: their number, their length and how they end.

    Give either `epochs` and `steps_per_epoch`, or `steps`, or `minutes` and `step_seconds`.

    Args:
        bounds: From `Curve.bounds`, or `Bounds(base_lr, max_lr)`.
        epochs: The budget in epochs.
        steps_per_epoch: Optimizer steps in an epoch: batches divided by accumulation, rounded up, because what is left
            at the end of an epoch makes a step, too.
        steps: The budget in optimizer steps.
        minutes: The budget in minutes of training, evaluations and the like left out.
        step_seconds: The measured time of a step, which makes steps of minutes.
        cycles: Number of cycles; by default one, which ended best in our tests. More cycles also give usable models
            during training. For other goals, the number of snapshots.
        anneal: Whether the last cycle anneals to zero. If not, all cycles are triangles that end at base_lr; for the
            goal "average", the rate then stays constant, for a base model that will be fine-tuned.
        goal: What the training is for. "final": one good model at the end. "ensemble": several good models whose
            predictions are averaged. "average": several whose weights are averaged. "anytime": a good model
            whenever the training must stop, from cycles that double in length. A budget too short for several cycles
            gets one, and the reasons say so. Or a `Goal`, with `cycles` and `anneal` in it.

    Returns:
        The plan. Its schedule is exactly as long as the budget, and each cycle ends at its lowest rate.

    Raises:
        TypeError: If `bounds` is not a `Bounds`, or a count is not an integer.
        ValueError: If the budget is missing, given twice, or too small for the cycles, the goal is unknown, or `cycles`
            or `anneal` is given beside a `Goal`.

    >>> plan(Bounds(0.001, 0.01), epochs=5, steps_per_epoch=100).schedule
    Linear(0.001, 0.01, steps=150) >> Linear(0.01, 0.0, steps=350)
    >>> plan(Bounds(0.001, 0.01), epochs=40, steps_per_epoch=100, goal="ensemble").snapshots
    (2000, 2500, 3000, 3500, 4000)
    >>> plan(Bounds(0.001, 0.01), epochs=31, steps_per_epoch=100, goal="anytime").snapshots
    (100, 300, 700, 1500, 3100)

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.2. https://arxiv.org/abs/1506.01186
        Smith & Topin (2018), Super-convergence. https://arxiv.org/abs/1708.07120
        Huang et al. (2017), Snapshot Ensembles. https://arxiv.org/abs/1704.00109
        Izmailov et al. (2018), Averaging Weights Leads to Wider Optima. https://arxiv.org/abs/1803.05407
        Loshchilov & Hutter (2017), SGDR. https://arxiv.org/abs/1608.03983
    """
    if not isinstance(bounds, Bounds):
        raise TypeError(_check.problem("bounds must be a Bounds", bounds, "write Bounds(base_lr, max_lr)"))
    aim = _goal(goal, cycles, anneal=anneal)
    clock, timed = _steps_of(minutes, step_seconds, other=epochs is not None or steps is not None)
    total = _budget(epochs, steps_per_epoch, steps if clock is None else clock)
    timed = (*timed, *_other_length(bounds, total))
    if aim.name != "final":
        made = cycles_of(aim, bounds, total, steps_per_epoch)
        return Plan(made.schedule, total, made.ends, (*timed, *made.reasons), bounds, steps_per_epoch, aim.name)
    count, why = _cycles(total, steps_per_epoch, aim.cycles)
    schedule, how = _annealed(bounds, total, count) if aim.anneal else _triangles(bounds, total, count)
    snapshots = (*(cycle * (total // count) for cycle in range(1, count)), total)
    return Plan(schedule, total, snapshots, (*timed, why, *how), bounds, steps_per_epoch)


def _goal(goal: str | Goal, cycles: int | None, *, anneal: bool) -> Goal:
    """The goal, with what is given beside its name."""
    if isinstance(goal, str):
        return Goal(goal, cycles, anneal)
    goal = Goal.of(goal)
    for name, value, unset in (("cycles", cycles, None), ("anneal", anneal, True)):
        if value is not unset:
            advice = f"write Goal({goal.name!r}, {name}={value!r})"
            raise ValueError(_check.problem(f"{name} must be left out beside a Goal", value, advice))
    return goal


def _other_length(bounds: Bounds, total: int) -> tuple[str, ...]:
    """A warning if the bounds were found for a training of quite another length."""
    if bounds.budget is None or max(total, bounds.budget) <= OTHER_LENGTH * min(total, bounds.budget):
        return ()
    way = "high" if total > bounds.budget else "low"
    told = f"The bounds were found for {bounds.budget} steps of training, not {total}: they may be too {way}"
    return (f"{told}. Read them for this length: curve.bounds(budget={total}).",)


def _steps_of(minutes: float | None, step_seconds: float | None, *, other: bool) -> tuple[int | None, tuple[str, ...]]:
    """The steps that fit in a number of minutes, and that number; None if the budget is not in minutes."""
    if minutes is None and step_seconds is None:
        return None, ()
    if minutes is None:
        must = "step_seconds needs minutes"
        raise ValueError(_check.problem(must, None, "pass minutes=, or leave step_seconds out"))
    if other:
        raise ValueError("the budget must be given as minutes, epochs or steps, got several; pass one of them")
    if step_seconds is None:
        advice = "pass the measured time of a step, or steps instead"
        raise ValueError(_check.problem("minutes need step_seconds", None, advice))
    seconds, each = 60 * _check.positive("minutes", minutes), _check.positive("step_seconds", step_seconds)
    total = int(round(seconds / each, 6))  # 60 s at 0.1 s are 600 steps, whatever the last bit says
    if total < 2:
        must = f"minutes must last for at least two steps of {each:g} s"
        raise ValueError(_check.problem(must, minutes, "a cycle needs one step up and one down"))
    return total, (f"{minutes:g} minutes are {total} steps at the {each:.3g} s measured for a step.",)


def _budget(epochs: int | None, steps_per_epoch: int | None, steps: int | None) -> int:
    if steps_per_epoch is not None:
        steps_per_epoch = _check.count("steps_per_epoch", steps_per_epoch)
    if (epochs is None) == (steps is None):
        given = "neither" if epochs is None else "both"
        raise ValueError(f"the budget must be given as epochs or as steps, got {given}; pass one of the two")
    if steps is not None:
        return _check.count("steps", steps, "a cycle needs one step up and one down", least=2)
    if steps_per_epoch is None:
        raise ValueError(
            _check.problem("epochs need steps_per_epoch", None, "pass steps_per_epoch=len(loader), or steps instead")
        )
    total = _check.count("epochs", epochs) * steps_per_epoch
    return _check.count("epochs * steps_per_epoch", total, "a cycle needs one step up and one down", least=2)


def _cycles(total: int, steps_per_epoch: int | None, cycles: int | None) -> tuple[int, str]:
    """How many cycles, and why."""
    if cycles is None:
        return 1, (
            f"One cycle over all {total} steps: with the same budget, more cycles give no better final model. They do "
            "give a usable model at the end of each cycle; request them with cycles."
        )
    if total < 2 * cycles:
        must = f"{cycles} cycles need at least {2 * cycles} steps"
        raise ValueError(_check.problem(must, total, "pass fewer cycles, or more steps"))
    half = f": half a cycle takes {total / steps_per_epoch / cycles / 2:.2g} epochs" if steps_per_epoch else ""
    return cycles, f"{_plural(cycles, 'cycle')}, as requested{half}."


def _annealed(bounds: Bounds, total: int, count: int) -> tuple[Schedule, tuple[str, ...]]:
    """Cycles with a short warm-up and a long decay; the last one anneals to zero."""
    peak = bounds.max_lr
    base = min(bounds.base_lr, float(f"{peak / ONE_CYCLE_BASE:.3g}")) if count == 1 else bounds.base_lr
    length = total // count
    last = total - (count - 1) * length
    schedule: Schedule = one_cycle(peak, steps=last, base_lr=base, rise=RISE if last > 2 else 0.5, shape="linear")
    if count > 1:
        up = max(1, round(RISE * length))
        front = Triangular(base, peak, step_size=up, step_size_down=length - up).take((count - 1) * length)
        schedule = front >> schedule
    which = "The decay" if count == 1 else "The last decay"
    rise = (
        f"The rate rises from {base:.3g} to {peak:.3g} in the first {RISE:.0%} of a cycle and decays in the rest: "
        "most of the progress is made during the decay."
    )
    return schedule, (rise, f"{which} goes to zero: annealing to zero matters more than any other choice of shape.")


def _triangles(bounds: Bounds, total: int, count: int) -> tuple[Schedule, tuple[str, ...]]:
    """The paper's triangles; the last one takes the remaining steps."""
    base, peak = bounds.base_lr, bounds.max_lr
    why = (f"Triangles between {base:.3g} and {peak:.3g} that end at the lower bound, as requested.",)
    length = total // count
    last = total - (count - 1) * length
    up = length // 2
    wave = Triangular(base, peak, step_size=up, step_size_down=length - up)
    if last == length:
        return wave.take(total), why
    end = Linear(base, peak, steps=last // 2) >> Linear(peak, base, steps=last - last // 2)
    return wave.take(total - last) >> end, why


def _plural(count: int, noun: str) -> str:
    return f"One {noun}" if count == 1 else f"{count} {noun}s"
