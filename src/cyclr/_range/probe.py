"""Probe cycles: short whole cycles that show what a peak is worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cyclr._range.risk import risk
from cyclr._schedules import Schedule, one_cycle

Array = NDArray[np.float64]

MOST = 5  #: cycles
SPREAD = 10**0.5  #: from one peak to the next
LENGTH = 160  #: steps of a cycle
TAIL = 20  #: further steps at a rate of zero, whose losses judge the cycle
DOUBT = 0.4  #: the best peak of a long training is that of a short one up to a factor of this deviation in the log
SHIFT = 0.3  #: by how much higher the best peak of short cycles is, in the log
SWEEP = 0.3  #: weight of the sweep beside the probe cycles
DEAREST = 300 + MOST * (LENGTH + TAIL)  #: steps of a sweep and all its probe cycles
SHARE = 0.15  #: of a training: the most that preparing it may cost


def effort_for(steps: int) -> str:
    """How to prepare a training of `steps` steps: thoroughly if that costs at most 15 % of it.

    >>> effort_for(7_999), effort_for(8_000)
    ('quick', 'thorough')
    """
    return "thorough" if SHARE * steps >= DEAREST else "quick"


def candidates(max_lr: float) -> tuple[float, ...]:
    """The first peaks to try, around the upper bound that a sweep gave.

    >>> [round(peak, 3) for peak in candidates(0.1)]
    [0.032, 0.1, 0.316]
    """
    return (max_lr / SPREAD, max_lr, max_lr * SPREAD)


def further(peaks: Array, probes: Array) -> float | None:
    """The next peak to try: beyond the best one while that is the highest or the lowest; None if done.

    Args:
        peaks: The peaks tried so far, increasing.
        probes: The losses of each cycle, one row each, NaN beyond the end of one that diverged and for a bad batch.

    >>> round(further(np.array([0.1, 0.2]), np.array([[2.0], [1.0]])), 3)
    0.632
    """
    best = int(np.argmin(ends(probes)))
    if len(peaks) >= MOST or 0 < best < len(peaks) - 1:
        return None
    return float(peaks[-1] * SPREAD if best else peaks[0] / SPREAD)


def cycle(peak: float) -> Schedule:
    """The cycle that tries a peak: linear from a tenth of it up to it, then linear to zero.

    >>> cycle(1.0)
    Linear(0.1, 1.0, steps=48) >> Linear(1.0, 0.0, steps=112)
    """
    return one_cycle(peak, steps=LENGTH, base_lr=peak / 10, shape="linear")


def ends(probes: Array) -> Array:
    """The mean loss at the end of each cycle, infinite for one that diverged."""
    tails = probes[:, -TAIL:]
    known = np.isfinite(tails)
    # A single gap is a bad batch, passed over; a cycle that diverged has nothing any more.
    went_on = known[:, -2:].any(axis=1)
    means = np.where(known, tails, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(went_on, means, np.inf)


def probed(at: Array, swept: Array, start: float, peaks: Array, probes: Array) -> Array:
    """The expected regret of each log rate, by the sweep and the probe cycles together, as a share of the gain.

    The sweep shows where learning breaks down, the probe cycles what annealing repairs. If no cycle gained anything,
    only the sweep counts, for the rates below the peaks that were tried.

    Args:
        at: Log rates at which it is wanted.
        swept: The expected regret of each of them by the sweep alone.
        start: The loss before any training.
        peaks: The peaks tried, increasing.
        probes: The losses of each cycle.
    """
    levels = np.minimum(ends(probes), start)
    gain, logs = start - levels.min(), np.log(peaks)
    if gain <= 0:
        return swept + (at > logs[0] - SHIFT)
    missing = (levels - levels.min()) / gain
    # Below the lowest peak the trend goes on; above the highest, if the regret rises there, nothing is gained at all.
    slope = max(0.0, missing[0] - missing[1]) if len(missing) > 1 else 0.0
    above = 1.0 if len(missing) > 1 and missing[-1] > missing[-2] else float(missing[-1])
    step = np.log(SPREAD)
    where = np.concatenate([[logs[0] - 2 * step], logs, [logs[-1] + step]])
    regret = np.concatenate([[missing[0] + 2 * slope], missing, [above]])
    return risk(at, where, regret, doubt=DOUBT, shift=SHIFT, above=above) + SWEEP * swept
