"""Probe cycles: short complete cycles that show how good a peak is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cyclr._range.risk import risk
from cyclr._schedules import Schedule, one_cycle

Array = NDArray[np.float64]

MOST = 5  #: cycles
SPREAD = 10**0.5  #: ratio of one peak to the next
LENGTH = 160  #: steps of a cycle
TAIL = 20  #: further steps at a rate of zero, whose mean loss is the result of the cycle
DOUBT = 0.4  #: standard deviation of the log ratio between the best peak of a long training and that of a short one
SHIFT = 0.3  #: mean of that log ratio: the best peak of short cycles is higher
SWEEP = 0.3  #: weight of the sweep relative to the probe cycles
DEAREST = 300 + MOST * (LENGTH + TAIL)  #: maximum steps of a sweep and its probe cycles
SHARE = 0.15  #: maximum tuning cost as a fraction of the training


def effort_for(steps: int) -> str:
    """The effort for a training of `steps` steps: thorough if that takes at most 15 % of it.

    >>> effort_for(7_999), effort_for(8_000)
    ('quick', 'thorough')
    """
    return "thorough" if SHARE * steps >= DEAREST else "quick"


def candidates(max_lr: float) -> tuple[float, ...]:
    """The first peaks to try, around the upper bound from a sweep.

    >>> [round(peak, 3) for peak in candidates(0.1)]
    [0.032, 0.1, 0.316]
    """
    return (max_lr / SPREAD, max_lr, max_lr * SPREAD)


def further(peaks: Array, probes: Array) -> float | None:
    """The next peak to try: the one beyond the best, while the best is the highest or the lowest; None if done.

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
    """The probe cycle for a peak: linear from a tenth of it to the peak, then linear to zero.

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
    """The expected regret of each log rate, from the sweep and the probe cycles combined, as a fraction of the gain.

    The sweep shows where learning breaks down, the probe cycles what annealing makes up for. If no cycle improved
    the loss, only the sweep is used, for rates below the peaks that were tried.

    Args:
        at: Log rates at which to evaluate it.
        swept: The expected regret at each of them from the sweep alone.
        start: The loss before any training.
        peaks: The peaks tried, increasing.
        probes: The losses of each cycle.
    """
    levels = np.minimum(ends(probes), start)
    gain, logs = start - levels.min(), np.log(peaks)
    if gain <= 0:
        return swept + (at > logs[0] - SHIFT)
    missing = (levels - levels.min()) / gain
    # Below the lowest peak the trend is extrapolated; above the highest, if the regret rises there, the gain is zero.
    slope = max(0.0, missing[0] - missing[1]) if len(missing) > 1 else 0.0
    above = 1.0 if len(missing) > 1 and missing[-1] > missing[-2] else float(missing[-1])
    step = np.log(SPREAD)
    where = np.concatenate([[logs[0] - 2 * step], logs, [logs[-1] + step]])
    regret = np.concatenate([[missing[0] + 2 * slope], missing, [above]])
    return risk(at, where, regret, doubt=DOUBT, shift=SHIFT, above=above) + SWEEP * swept
