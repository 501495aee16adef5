"""What a training is for, and the cycles that serve it: an ensemble, an average, or a good model at any time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from cyclr import _check
from cyclr._range.bounds import Bounds
from cyclr._renamed import Move, same
from cyclr._schedules import Constant, Linear, Schedule, one_cycle

RISE = 0.3  # the fraction of a cycle that annealing plans spend on the warm-up
ONE_CYCLE_BASE = 10.0  # a cycle that stands alone starts its warm-up at the peak divided by this

GOALS = ("final", "ensemble", "average", "anytime")
MEMBERS = 5  # snapshots of an ensemble or an average, where the budget allows
ENSEMBLE_SHARE, AVERAGE_SHARE = 0.5, 0.8  # of the budget, for the first cycle
ENSEMBLE_EPOCHS, AVERAGE_EPOCHS = 2, 1  # the least length of a later cycle
AVERAGE_PEAK = 0.5  # peak of the short cycles, as a fraction of the first peak
GROWTH = 2  # ratio of one cycle's length to the one before, for a model at any time
SHAPE = (
    f"Each cycle rises in its first {RISE:.0%}, from at most a tenth of its peak, and then falls linearly to zero, as "
    "one cycle for a final model does: warm-up over half or more of the steps, cosines and plateaus ended no better on "
    "CIFAR-10 (docs/evidence.md)."
)
_TIMES = {1: "as", 2: "twice as"}
MOST_GROWING = 5  # growing cycles; the first of five takes 1/31 of the budget


@dataclass(frozen=True, slots=True)
class Goal:
    """What a training is for: the goal of every `auto` and of `plan`. A name alone stands for `Goal(name)`.

    Args:
        name: "final": one good model at the end. "ensemble": several good models whose predictions are averaged.
            "average": several whose weights are averaged. "anytime": a good model whenever the training must stop,
            from cycles that double in length.
        cycles: Number of cycles; by default one for "final", which ended best in our tests, and for the others as many
            as suit the budget. For these it is the number of snapshots.
        anneal: Whether the last cycle anneals to zero. If not, all cycles are triangles that end at base_lr; for
            "average", the rate then stays constant, for a base model that will be fine-tuned.
        first: For "ensemble" and "average": the share of the budget that the first cycle takes; by default 0.5 and 0.8.
        growth: For "anytime": the length of a cycle as a multiple of the one before, a whole number; by default 2.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the name is unknown, a value is out of range, the goal cannot do without annealing, or `first` or
            `growth` is not for it.

    >>> Goal("ensemble", cycles=3)
    Goal(name='ensemble', cycles=3, anneal=True, first=None, growth=None)

    Reference:
        Huang et al. (2017), Snapshot Ensembles. https://arxiv.org/abs/1704.00109
        Izmailov et al. (2018), Averaging Weights Leads to Wider Optima. https://arxiv.org/abs/1803.05407
        Loshchilov & Hutter (2017), SGDR. https://arxiv.org/abs/1608.03983
    """

    name: str = "final"
    cycles: int | None = None
    anneal: bool = True
    first: float | None = None
    growth: int | None = None

    def __post_init__(self) -> None:
        _check.choice("goal", self.name, GOALS)
        if self.cycles is not None:
            object.__setattr__(self, "cycles", _check.count("cycles", self.cycles))
        if not isinstance(self.anneal, bool):
            raise TypeError(_check.problem("anneal must be True or False", self.anneal))
        if not self.anneal and self.name not in ("final", "average"):
            must = f"anneal must be True for the goal {self.name!r}, whose cycles end near zero"
            advice = "leave it out, or take the goal 'average' or 'final'"
            raise ValueError(_check.problem(must, self.anneal, advice))
        self._check_shape()

    def _check_shape(self) -> None:
        """What says how long cycles are beside one another."""
        if self.first is not None:
            if self.name not in ("ensemble", "average") or not self.anneal:
                must = "first must be left out but for the goals 'ensemble' and 'average' with annealing"
                raise ValueError(_check.problem(must, self.first))
            object.__setattr__(self, "first", _check.positive("first", self.first))
            if not 0 < self.first < 1:
                raise ValueError(_check.problem("first must be a share of the budget below 1", self.first))
        if self.growth is not None:
            if self.name != "anytime":
                raise ValueError(_check.problem("growth must be left out but for the goal 'anytime'", self.growth))
            object.__setattr__(self, "growth", _check.count("growth", self.growth))

    @classmethod
    def of(cls, goal: object) -> Goal:
        """A goal, or that of a name.

        Raises:
            TypeError: If it is neither.
            ValueError: If the name is unknown.
        """
        if not isinstance(goal, str | Goal):
            raise TypeError(
                _check.problem("goal must be a name or a cyclr.Goal", goal, "pass 'ensemble', or Goal(...)")
            )
        return cls(goal) if isinstance(goal, str) else goal


#: The arguments of `auto` in version 0.1 that go into its goal.
GOAL_0_1: Move = ("goal", Goal, same("cycles", "anneal"))


@dataclass(frozen=True, slots=True)
class Cycles:
    """Whole cycles of a plan.

    Args:
        schedule: Their rates.
        lengths: The length of each in steps; for a plateau, of each stretch that ends with a snapshot.
        reasons: One sentence for each choice.
    """

    schedule: Schedule
    lengths: tuple[int, ...]
    reasons: tuple[str, ...]

    @property
    def ends(self) -> tuple[int, ...]:
        """The number of steps done at the end of each."""
        return tuple(sum(self.lengths[: number + 1]) for number in range(len(self.lengths)))


def cycles_of(goal: Goal, bounds: Bounds, total: int, epoch: int | None) -> Cycles:
    """The cycles of a budget of `total` steps, for any goal but "final".

    Args:
        goal: What the training is for.
        bounds: Lower and upper bound of the learning rate.
        total: The budget in steps.
        epoch: Steps in an epoch; None if unknown.

    Raises:
        ValueError: If the budget is too small for the number of cycles that is requested.
    """
    if goal.name == "ensemble":
        return _ensemble(goal, bounds, total, epoch)
    if goal.name == "average":
        return _average(goal, bounds, total, epoch) if goal.anneal else _plateau(bounds, total, goal.cycles)
    return _anytime(goal, bounds, total, epoch)


def more_cycles(goal: str, bounds: Bounds, ends: tuple[int, ...], more: int, *, anneal: bool = True) -> Cycles:
    """Cycles to add to a plan, after its end; `ends` are those of its cycles."""
    last = ends[-1] - (ends[-2] if len(ends) > 1 else 0)
    if not anneal:
        stretches = _filled(last, more)
        why = f"{more} steps more at the same rate: {_plural(len(stretches), 'snapshot')} more."
        return Cycles(Constant(bounds.max_lr).take(more), stretches, (why,))
    lengths = _growing_on(last, _growth_of(ends), more) if goal == "anytime" else _filled(last, more)
    peak = bounds.max_lr * (AVERAGE_PEAK if goal == "average" and len(ends) > 1 else 1.0)
    are = "is" if len(lengths) == 1 else "are"
    what = f"{_plural(len(lengths), 'cycle')} of {_spoken(lengths)} steps {are} added"
    why = f"{more} steps more: the plan stays as it is, and {what}, so that earlier snapshots remain useful."
    if goal == "anytime" and lengths[-1] < last:
        why += f" The last one is shorter than the one before, of {last} steps, and may end no better than it."
    if goal == "average" and len(ends) + len(lengths) > MEMBERS:
        why += f" Average the last {MEMBERS} snapshots: the earlier ones come from a shorter training."
    return Cycles(_chain(bounds, lengths, [peak] * len(lengths)), lengths, (why,))


def _ensemble(goal: Goal, bounds: Bounds, total: int, epoch: int | None) -> Cycles:
    lengths, first = _first_and_later(goal, total, epoch, ENSEMBLE_SHARE, ENSEMBLE_EPOCHS)
    if len(lengths) == 1:
        return _alone(bounds, total, first)
    members = len(lengths)
    what = (
        f"{members} snapshots for an ensemble, each at the end of a cycle that decays to zero; the predictions of all "
        f"are averaged, which costs {members} times as much as one model (Huang et al. 2017, Snapshot Ensembles: five)."
    )
    later = (
        f"Each of the later cycles rises to {bounds.max_lr:.3g} again, as only a high rate leads away from the last "
        "snapshot (Huang et al. 2017). It starts from a trained model, and so can be short (Garipov et al. 2018: 2 to "
        f"4 epochs): {_long(lengths[-1], epoch)}."
    )
    return Cycles(_chain(bounds, lengths, [bounds.max_lr] * members), lengths, (what, first, later, SHAPE))


def _average(goal: Goal, bounds: Bounds, total: int, epoch: int | None) -> Cycles:
    lengths, first = _first_and_later(goal, total, epoch, AVERAGE_SHARE, AVERAGE_EPOCHS)
    if len(lengths) == 1:
        return _alone(bounds, total, first)
    peak = bounds.max_lr * AVERAGE_PEAK
    what = (
        f"{len(lengths)} snapshots whose weights are averaged into one model, which predicts at the cost of one. The "
        "statistics of BatchNorm must be made anew (Izmailov et al. 2018, SWA)."
    )
    later = (
        f"Each of the later cycles rises only to {peak:.3g}, half the peak, so that the snapshots stay close enough "
        f"together to be averaged. It takes {_long(lengths[-1], epoch)} (Izmailov et al. 2018: an epoch or more)."
    )
    peaks = [bounds.max_lr] + [peak] * (len(lengths) - 1)
    return Cycles(_chain(bounds, lengths, peaks), lengths, (what, first, later, SHAPE))


def _plateau(bounds: Bounds, total: int, count: int | None) -> Cycles:
    """A warm-up and a constant rate, with snapshots in the last fifth: averages in place of a decay."""
    members = MEMBERS if count is None else count
    ends = last_snapshots(total, members)
    if len(ends) < members and count is not None:
        must = f"{members} snapshots in the last fifth need at least {5 * members} steps"
        raise ValueError(_check.problem(must, total, "pass fewer cycles, or more steps"))
    members = len(ends)
    rise = max(1, min(round(0.05 * total), total - 1))
    base = min(bounds.base_lr, bounds.max_lr / ONE_CYCLE_BASE)
    schedule = Linear(base, bounds.max_lr, steps=rise) >> Constant(bounds.max_lr).take(total - rise)
    lengths = tuple(end - before for before, end in zip((0, *ends), ends, strict=False))
    what = (
        f"No decay, as requested: {_plural(members, 'snapshot')} in the last fifth of the steps, to be averaged. "
        "A base model without a decay ends better after fine-tuning (arXiv 2603.16127), and merging can take the "
        "place of the decay (arXiv 2507.17634). A final model is better with one."
    )
    rate = (
        f"The rate rises to {bounds.max_lr:.3g} in the first 5 % of the steps and stays there, so that the plan does "
        "not end low."
    )
    return Cycles(schedule, lengths, (what, rate))


def last_snapshots(total: int, members: int = MEMBERS) -> tuple[int, ...]:
    """The steps of equally spaced snapshots in the last fifth of a training; the end alone if they do not fit.

    >>> last_snapshots(1000)
    (840, 880, 920, 960, 1000)
    """
    stretch = round(total * (1 - AVERAGE_SHARE)) // members
    return tuple(total - number * stretch for number in reversed(range(members))) if stretch else (total,)


def _anytime(goal: Goal, bounds: Bounds, total: int, epoch: int | None) -> Cycles:
    growth = goal.growth or GROWTH
    count = _growing(total, epoch, growth) if goal.cycles is None else goal.cycles
    unit = total // _units(count, growth)
    if unit < 2:
        must = f"{count} growing cycles need at least {2 * _units(count, growth)} steps"
        raise ValueError(_check.problem(must, total, "pass fewer cycles, or more steps"))
    if count == 1:
        return _alone(bounds, total, "More, growing cycles were not requested, or the first would last below an epoch.")
    lengths = tuple(unit * growth**number for number in range(count - 1))
    lengths = (*lengths, total - sum(lengths))
    ends = _spoken([sum(lengths[: number + 1]) for number in range(count)])
    what = (
        f"{count} cycles, each {_TIMES.get(growth, f'{growth} times as')} long as the previous one, and each decays to "
        "zero: a good model after steps "
        f"{ends}, so that the training may stop early (Loshchilov & Hutter 2017, SGDR; Portes et al. 2022)."
    )
    first = f"The first cycle takes {_long(lengths[0], epoch)}: at least an epoch, where its length is known."
    price = (
        "If the budget is known, one cycle ends better: in AlgoPerf's public logs it wins 49 of 70 pairs against two "
        "cycles."
    )
    return Cycles(_chain(bounds, lengths, [bounds.max_lr] * count), lengths, (what, first, price, SHAPE))


def _growing(total: int, epoch: int | None, growth: int) -> int:
    """How many growing cycles fit, the first of at least an epoch; three if the epoch is unknown."""
    first = max(2, total // _units(3, growth) if epoch is None else epoch)
    fits = [count for count in range(2, MOST_GROWING + 1) if total // _units(count, growth) >= first]
    return max(fits, default=1)


def _units(count: int, growth: int) -> int:
    """The length of growing cycles, in lengths of the first."""
    return sum(growth**number for number in range(count))


def _growth_of(ends: tuple[int, ...]) -> int:
    """By how much the cycles of a plan grow; of two, the second takes what is left, too."""
    if len(ends) < 2 or (len(ends) == 2 and ends[0] == ends[1] // _units(2, GROWTH)):
        return GROWTH
    return max(1, (ends[1] - ends[0]) // ends[0])


def _first_and_later(
    goal: Goal, total: int, epoch: int | None, usual: float, epochs: int
) -> tuple[tuple[int, ...], str]:
    """A long first cycle and equal later ones, and why; one cycle where no later one fits."""
    count, share = goal.cycles, usual if goal.first is None else goal.first
    rest = _rest(total, share)
    least = max(2, epochs * epoch if epoch is not None else 2)
    if count is None:
        later = min(MEMBERS - 1, rest // least)
    else:
        later = count - 1
        if later and rest // later < 2:
            near = max(total, int(2 * later / (1 - share)) - 2)
            fewest = next(steps for steps in itertools.count(near) if _rest(steps, share) // later >= 2)
            must = f"{count} cycles for the goal {goal.name!r} need at least {fewest} steps"
            raise ValueError(_check.problem(must, total, "pass fewer cycles, or more steps"))
    if later == 0:
        if count is not None:
            return (total,), "One snapshot, as requested."
        need = f"{least} steps" + (f" ({_plural(epochs, 'epoch')})" if epoch is not None else "")
        return (total,), (
            f"The budget is too short for the goal {goal.name!r}: a later cycle needs {need} of the last "
            f"{1 - share:.0%}."
        )
    length = rest // later
    first = total - later * length
    room = "" if later == MEMBERS - 1 or count is not None else f" There is room for {_plural(later, 'later cycle')}."
    source = "Garipov et al. and Izmailov et al. 2018: 80 %" if goal.name == "average" else "half of the budget here"
    if goal.first is not None:
        source = f"{share:.0%} of the budget, as requested"
    return (first, *[length] * later), (
        f"The first cycle takes {_long(first, epoch)}: until the model is good, no snapshot is worth keeping "
        f"({source}).{room}"
    )


def _rest(total: int, share: float) -> int:
    """The steps for later cycles; the first one keeps at least two."""
    return min(round(total * (1 - share)), total - 2)


def _alone(bounds: Bounds, total: int, why: str) -> Cycles:
    """One cycle over the whole budget."""
    return Cycles(_chain(bounds, [total], [bounds.max_lr]), (total,), (f"One cycle over all {total} steps. {why}",))


def _chain(bounds: Bounds, lengths: Sequence[int], peaks: list[float]) -> Schedule:
    """Cycles one after another, each from a low rate to its peak and down to zero."""
    parts = [_cycle(bounds, length, peak) for length, peak in zip(lengths, peaks, strict=True)]
    schedule: Schedule = parts[0]
    for part in parts[1:]:
        schedule = schedule >> part
    return schedule


def _cycle(bounds: Bounds, steps: int, peak: float) -> Schedule:
    base = min(bounds.base_lr, float(f"{peak / ONE_CYCLE_BASE:.3g}"))
    return one_cycle(peak, steps=steps, base_lr=base, rise=RISE if steps > 2 else 0.5, shape="linear")


def _filled(length: int, total: int) -> tuple[int, ...]:
    """As many cycles of `length` as fit; the last one takes what is left."""
    return _with_rest([length] * (total // length), total)


def _growing_on(last: int, growth: int, total: int) -> tuple[int, ...]:
    """As many ever longer cycles as fit after one of length `last`; the last one takes what is left."""
    lengths: list[int] = []
    while total - sum(lengths) >= (length := last * growth ** (len(lengths) + 1)):
        lengths.append(length)
    return _with_rest(lengths, total)


def _with_rest(lengths: list[int], total: int) -> tuple[int, ...]:
    return (*lengths[:-1], total - sum(lengths[:-1]))


def _long(steps: int, epoch: int | None) -> str:
    """A length: "300 steps (3 epochs)"."""
    return f"{steps} steps" + (f" ({steps / epoch:.3g} epochs)" if epoch else "")


def _spoken(lengths: Sequence[int]) -> str:
    """Each number once: "3020", or "100, 200 and 400"."""
    different = [str(length) for length in dict.fromkeys(lengths)]
    return different[0] if len(different) == 1 else f"{', '.join(different[:-1])} and {different[-1]}"


def _plural(count: int, noun: str) -> str:
    return f"one {noun}" if count == 1 else f"{count} {noun}s"
