"""When a quick answer is doubtful, and what a thorough test would cost that could tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cyclr._range.horizon import CHEAPEST, allowed, extent
from cyclr._range.ramp import Ramp
from cyclr._range.reading import Reading

FEWEST = 100  #: steps of a sweep that is long enough
WIDE = 5.0  #: an interval over more than this factor is a wide one; 3.3 is usual


def doubts(readings: Sequence[Reading], steps: int, interval: float) -> list[str]:
    """Why a quick answer is doubtful.

    Args:
        readings: What the sweeps show.
        steps: Of each sweep.
        interval: The factor from the lower to the upper end of the interval around the upper bound.
    """
    least = len(readings) / 2
    why = {
        "the data were solved during the sweep": sum(np.isfinite(one.floor) for one in readings) > least,
        "the loss had not risen when the sweep ended": sum(not one.rises for one in readings) > least,
        f"noise leaves an interval over a factor of {interval:.2g}": interval > WIDE,
        f"the sweep has only {steps} steps": steps < FEWEST,
    }
    return [reason for reason, holds in why.items() if holds]


def would_tell(why: Sequence[str], steps: int, repeats: int, budget: int | None) -> tuple[str, ...]:
    """The sentence that names the thorough test, where there are doubts and a training of `budget` steps pays for it.

    >>> would_tell(["the sweep has only 60 steps"], 60, 1, None)[0].partition(": ")[2]
    "a thorough test would tell, Search(effort='thorough') or --effort thorough, of at most 960 steps."
    >>> would_tell(["the sweep has only 60 steps"], 60, 1, 1999)
    ()
    """
    if not why or (budget is not None and allowed(budget) < CHEAPEST):
        return ()
    made = extent(Ramp(steps=steps), "thorough", repeats=repeats, budget=budget)
    cost = repeats * made.ramp.steps + made.cycles * made.cycle
    how = f"a thorough test would tell, Search(effort='thorough') or --effort thorough, of at most {cost:,} steps"
    return (f"The answer is doubtful, as {' and '.join(why)}: {how}.",)
