"""How much testing a training is worth, and how its length moves the rate that is best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log

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
FEW_CYCLES = 4  #: of a shorter one
DEAREST = 300 + CYCLES * CYCLE  #: maximum steps of a sweep and its probe cycles
CHEAPEST = 300  #: fewer steps are better spent on a slow sweep than on probe cycles
REFERENCE = 2  #: batches that stay the same in a short sweep, and are evaluated before each of its steps
EVALUATION = 1 / 3  #: cost of evaluating a batch, in steps
SHORTEST_SHORT = 18  #: steps of a sweep with reference batches, which cost as much as FEWEST steps
SHORT_TRAINING = 1000  #: a training of this length pays for the longest of them
MOST_SHORT = 60  #: steps of such a sweep at most: more were no better
IN_TURN = 3  #: batches that the steps of a short sweep take in turn where none can be evaluated without a step


def allowed(budget: int) -> int:
    """The optimizer steps that testing may cost before a training of `budget` steps.

    >>> allowed(100), allowed(2000)
    (30, 300)
    """
    return max(FEWEST, int(SHARE * budget))


def effort_for(steps: int) -> str:
    """The effort for a training of `steps` steps: thorough if probe cycles fit into the 15 % that testing may cost.

    >>> effort_for(1_999), effort_for(2_000)
    ('quick', 'thorough')
    """
    return "thorough" if allowed(steps) >= CHEAPEST else "quick"


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
    def left(self) -> int | None:
        """Steps that are left after all sweeps and probe cycles; None for no limit."""
        made = self.repeats * self.ramp.steps + self.cycles * self.cycle
        return None if self.most is None else max(0, self.most - made)


def extent(
    ramp: Ramp,
    effort: str,
    *,
    repeats: int = 1,
    budget: int | None = None,
    reference: bool = False,
    in_turn: bool = False,
) -> Extent:
    """How long the sweeps and the probe cycles of a test are.

    `reference` says whether reference batches can be evaluated: short sweeps then do so, and are shorter for it.
    `in_turn` says whether steps can take the same batches again and again: short sweeps then do so otherwise.

    >>> extent(Ramp(), "quick", budget=400).ramp.steps
    60
    >>> extent(Ramp(), "quick", budget=400, reference=True).ramp.steps
    36
    >>> short = extent(Ramp(), "thorough", budget=2000)
    >>> short.ramp.steps, short.cycles, short.cycle
    (100, 4, 50)
    """
    thorough = effort == "thorough"
    if budget is None:
        return Extent(ramp, None, repeats, CYCLES if thorough else 0)
    most = allowed(budget)
    if reference and ramp.scale == "log" and most < CHEAPEST:
        steps = min(MOST_SHORT, int(most / (1 + REFERENCE * EVALUATION)) // repeats)
        return Extent(replace(ramp, steps=min(ramp.steps, max(SHORTEST_SHORT, steps))), most, repeats, reference=True)
    if in_turn and ramp.scale == "log" and most < CHEAPEST:
        steps = max(FEWEST, min(MOST_SHORT, most // repeats))
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

    >>> fits(Ramp(), "quick", 3, 6000), fits(Ramp(), "quick", 3, 5999), fits(Ramp(), "quick", 3, None)
    (True, False, True)
    """
    how = {"budget": budget, "reference": True}
    alone, together = (extent(ramp, effort, repeats=number, **how) for number in (1, repeats))
    same = replace(together, repeats=1) == alone
    return same and (budget is None or repeats * alone.ramp.steps + alone.cycles * alone.cycle <= allowed(budget))


def _of(ramp: Ramp, steps: int) -> Ramp:
    """The same range in at most this number of steps."""
    return replace(ramp, steps=max(2, min(ramp.steps, max(steps, FEWEST))))


def too_long(budget: int | None) -> float:
    """By how much the log of the best rate is lower than where no length is known."""
    return 0.0 if budget is None else HORIZON * log(max(budget, SHORTEST) / LONG)


def too_fast(low: float, high: float, steps: int) -> float:
    """By how much the log rates of a log sweep are too high because it rises fast."""
    return FAST * max(0.0, log(DENSE * log(high / low) / steps)) if 0 < low < high else 0.0
