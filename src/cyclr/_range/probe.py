"""Probe cycles: what a peak is worth, tried out in miniature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cyclr._range.risk import risk
from cyclr._schedules import Schedule, one_cycle

Array = NDArray[np.float64]

MOST = 5  #: cycles
SPREAD = 10**0.5  #: from one peak to the next
LENGTH = 160  #: steps of a cycle
TAIL = 20  #: further steps, at a rate of zero: their losses judge the cycle
DOUBT = 0.4  #: the best peak of a long training is that of short ones but for a factor of this deviation in the log
SHIFT = 0.3  #: short cycles bear so much more, in the log
RAMP = 0.3  #: what the ramp says counts this much beside the probes
DEAREST = 300 + MOST * (LENGTH + TAIL)  #: steps of a ramp and all its probe cycles
SHARE = 0.15  #: of a training, to prepare it by a thorough test


def effort_for(steps: int) -> str:
    """How to prepare a training of so many steps: thoroughly, where that costs at most 15 % of it.

    >>> effort_for(7_999), effort_for(8_000)
    ('quick', 'thorough')
    """
    return "thorough" if SHARE * steps >= DEAREST else "quick"


def candidates(max_lr: float) -> tuple[float, ...]:
    """The first peaks to try, around the upper bound that a ramp gave.

    >>> [round(peak, 3) for peak in candidates(0.1)]
    [0.032, 0.1, 0.316]
    """
    return (max_lr / SPREAD, max_lr, max_lr * SPREAD)


def further(peaks: Array, probes: Array) -> float | None:
    """The next peak to try: beyond the best one as long as that is the highest or the lowest; None if done.

    Args:
        peaks: What was tried, increasing.
        probes: The losses of each cycle, one row each, NaN beyond the end of one that diverged.

    >>> round(further(np.array([0.1, 0.2]), np.array([[2.0], [1.0]])), 3)
    0.632
    """
    best = int(np.argmin(ends(probes)))
    if len(peaks) >= MOST or 0 < best < len(peaks) - 1:
        return None
    return float(peaks[-1] * SPREAD if best else peaks[0] / SPREAD)


def cycle(peak: float) -> Schedule:
    """The cycle that tries a peak: a straight rise from a tenth of it, a straight fall to zero.

    >>> cycle(1.0)
    Linear(0.1, 1.0, steps=48) >> Linear(1.0, 0.0, steps=112)
    """
    return one_cycle(peak, steps=LENGTH, base_lr=peak / 10, shape="linear")


def ends(probes: Array) -> Array:
    """The mean loss at the end of each cycle, infinite for one that diverged."""
    return np.where(np.isfinite(probes).all(axis=1), probes[:, -TAIL:].mean(axis=1), np.inf)


def probed(at: Array, ramp: Array, start: float, peaks: Array, probes: Array) -> Array:
    """What each log rate is expected to cost, by the ramp and the probes together, in shares of the gain.

    The ramp knows where learning breaks, the probes what an anneal mends. If no cycle gained anything, it is the ramp
    alone that speaks, about what is left below them.

    Args:
        at: Log rates for which it is wanted.
        ramp: What each of them is expected to cost by the ramp.
        start: The loss before any training.
        peaks: What was tried, increasing.
        probes: The losses of each cycle.
    """
    levels = np.minimum(ends(probes), start)
    gain, logs = start - levels.min(), np.log(peaks)
    if gain <= 0:
        return ramp + (at > logs[0] - SHIFT)
    missing = (levels - levels.min()) / gain
    # Below the lowest peak it goes on as it comes from there; above, where it rises, to nothing gained at all.
    slope = max(0.0, missing[0] - missing[1]) if len(missing) > 1 else 0.0
    above = 1.0 if len(missing) > 1 and missing[-1] > missing[-2] else float(missing[-1])
    step = np.log(SPREAD)
    where = np.concatenate([[logs[0] - 2 * step], logs, [logs[-1] + step]])
    cost = np.concatenate([[missing[0] + 2 * slope], missing, [above]])
    return risk(at, where, cost, doubt=DOUBT, shift=SHIFT, above=above) + RAMP * ramp
