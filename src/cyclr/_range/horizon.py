"""How much testing a training is worth, and how its length moves the rate that is best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log

from cyclr._range.ramp import Ramp

SHARE = 0.15  #: maximum tuning cost as a fraction of the training
FEWEST = 30  #: steps of a sweep, however short the training
HORIZON = 0.15  #: the best peak falls as the length of the training to this power
LONG = 3000  #: steps of the training for which a sweep needs no correction: the answer where no length is known
SHORTEST = (
    400  #: shorter trainings are treated as such: none was measured, and fine-tuning of 60 to 200 steps moves little
)
DENSE = 18.6  #: steps per factor e of a sweep of 300 steps over seven powers of ten
FAST = 0.4  #: a sweep with fewer steps per factor sees instability late: too high by the ratio to this power
CYCLE = 180  #: steps of a probe cycle in a thorough test that may take as long as it needs
CYCLES = 5  #: probe cycles of such a test at most
FEW_CYCLES = 4  #: of a shorter one without reference batches
DEAREST = 300 + CYCLES * CYCLE  #: maximum steps of a sweep and its probe cycles
CHEAPEST = 300  #: where no batch can be evaluated, fewer steps are better spent on a slow sweep than on probe cycles
LEAST_CYCLES, LEAST_CYCLE = 3, 40  #: probe cycles after a short sweep, and steps of each, at least
REFERENCE = 2  #: batches that stay the same in a short sweep, and are evaluated before each of its steps
EVALUATION = 1 / 3  #: cost of evaluating a batch, in steps
SHORT = 18  #: steps of a sweep with reference batches, which cost as much as FEWEST steps: 36 and 60 were no better
SLOW = 60  #: steps of a second sweep with reference batches, where the first shows nothing, as of single examples
SHORT_TRAINING = 1000  #: a training of this length pays for both
MOST_IN_TURN = 60  #: steps of a sweep with batches in turn at most
IN_TURN = 3  #: batches that the steps of a short sweep take in turn where none can be evaluated without a step


def allowed(budget: int) -> int:
    """The optimizer steps that testing may cost before a training of `budget` steps.

    >>> allowed(100), allowed(2000)
    (30, 300)
    """
    return max(FEWEST, int(SHARE * budget))


def effort_for(steps: int) -> str:
    """The effort for a training of `steps` steps: thorough if probe cycles fit into the 15 % that testing may cost.

    >>> effort_for(999), effort_for(1_000)
    ('quick', 'thorough')
    """
    return "thorough" if allowed(steps) >= FEWEST + LEAST_CYCLES * LEAST_CYCLE else "quick"


@dataclass(frozen=True, slots=True)
class Extent:
    """What a range test may cost.

    Args:
        ramp: The rates of a sweep.
        most: Steps of the whole test; None for no limit.
        repeats: Number of sweeps.
        cycles: Maximum number of probe cycles; 0 for a quick test.
        cycle: Steps of each.
        reference: Whether the loss of the reference batches is evaluated before each step of a sweep.
        in_turn: How many batches the steps of a sweep take in turn; 0 for new ones.
    """

    ramp: Ramp
    most: int | None = None
    repeats: int = 1
    cycles: int = 0
    cycle: int = CYCLE
    reference: bool = False
    in_turn: int = 0

    @property
    def short(self) -> bool:
        """Whether the losses of batches that stay the same decide."""
        return self.reference or self.in_turn > 0

    @property
    def spent(self) -> int:
        """Steps of the sweeps, evaluations included."""
        evaluations = ceil(REFERENCE * EVALUATION * self.ramp.steps) if self.reference else 0
        return self.repeats * (self.ramp.steps + evaluations)

    @property
    def cost(self) -> int:
        """The same of the sweeps and the probe cycles."""
        return self.spent + self.cycles * self.cycle

    @property
    def left(self) -> int | None:
        """Steps that are left after all that; None for no limit."""
        return None if self.most is None else max(0, self.most - self.cost)

    def slower(self, spent: int) -> Extent | None:
        """With sweeps of more steps, after `spent` steps; None if that is more than testing may cost."""
        if self.most is None or not self.reference or self.ramp.steps < SHORT:
            return None
        slow = replace(self, ramp=replace(self.ramp, steps=SLOW), most=self.most - spent, cycles=0)
        if slow.cost > self.most - spent:
            return None
        return slow.with_cycles() if self.cycles else slow

    def with_cycles(self) -> Extent:
        """With the probe cycles that what is left pays for, if any; a few long ones are worth more than none."""
        for cycles in (CYCLES, LEAST_CYCLES):
            if self.left is not None and self.left // cycles >= LEAST_CYCLE:
                return replace(self, cycles=cycles, cycle=min(CYCLE, self.left // cycles))
        return self


def extent(
    ramp: Ramp,
    effort: str,
    *,
    repeats: int = 1,
    budget: int | None = None,
    reference: bool = False,
    in_turn: bool = False,
    measured: bool = False,
) -> Extent:
    """How long the sweeps and the probe cycles of a test are.

    `reference` says whether reference batches can be evaluated: sweeps for a training of known length then do so, and
    are short. `in_turn` says whether steps can take the same batches again and again: short sweeps then do so
    otherwise. `measured` says whether held-out data are measured, which needs more steps where they are paid for.

    >>> extent(Ramp(), "quick", budget=400).ramp.steps
    60
    >>> extent(Ramp(), "quick", budget=400, reference=True).ramp.steps
    18
    >>> made = [extent(Ramp(), "thorough", budget=budget, reference=True) for budget in (1000, 2000, 10000)]
    >>> [(one.ramp.steps, one.cycles, one.cycle) for one in made]
    [(18, 3, 40), (18, 5, 54), (18, 5, 180)]
    >>> alone = extent(Ramp(), "thorough", budget=2000)
    >>> alone.ramp.steps, alone.cycles, alone.cycle
    (100, 4, 50)
    """
    thorough = effort == "thorough"
    if budget is None:
        return Extent(ramp, None, repeats, CYCLES if thorough else 0)
    most = allowed(budget)
    if reference and ramp.scale == "log" and (most < CHEAPEST or not measured):
        short = Extent(replace(ramp, steps=min(ramp.steps, SHORT)), most, repeats, reference=True)
        return short.with_cycles() if thorough else short
    if in_turn and ramp.scale == "log" and most < CHEAPEST:
        steps = max(FEWEST, min(MOST_IN_TURN, most // repeats))
        return Extent(replace(ramp, steps=min(ramp.steps, steps)), most, repeats, in_turn=IN_TURN)
    if not thorough or most < CHEAPEST:
        return Extent(_of(ramp, most // repeats), most, repeats)
    if most >= repeats * ramp.steps + CYCLES * CYCLE:
        return Extent(ramp, most, repeats, CYCLES)
    shorter = _of(ramp, most // 3 // repeats)
    cycle = min(CYCLE, (most - repeats * shorter.steps) // FEW_CYCLES)
    return Extent(shorter, most, repeats, FEW_CYCLES, cycle)


def fits(ramp: Ramp, effort: str, repeats: int, budget: int | None) -> bool:
    """Whether so many sweeps, each as long as one alone, cost no more than testing may.

    >>> fits(Ramp(), "quick", 3, 600), fits(Ramp(), "quick", 3, 599), fits(Ramp(), "quick", 3, None)
    (True, False, True)
    """
    how = {"budget": budget, "reference": True}
    alone, together = (extent(ramp, effort, repeats=number, **how) for number in (1, repeats))
    same = replace(together, repeats=1) == alone
    return same and (budget is None or together.cost <= allowed(budget))


def _of(ramp: Ramp, steps: int) -> Ramp:
    """The same range in at most this number of steps."""
    return replace(ramp, steps=max(2, min(ramp.steps, max(steps, FEWEST))))


def too_long(budget: int | None) -> float:
    """By how much the log of the best rate is lower than where no length is known."""
    return 0.0 if budget is None else HORIZON * log(max(budget, SHORTEST) / LONG)


def too_fast(low: float, high: float, steps: int) -> float:
    """By how much the log rates of a log sweep are too high because it rises fast."""
    return FAST * max(0.0, log(DENSE * log(high / low) / steps)) if 0 < low < high else 0.0
