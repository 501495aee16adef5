"""Probe cycles: short complete cycles that show how good a peak is."""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray

from cyclr._range.horizon import CYCLE, CYCLES, HORIZON
from cyclr._range.risk import risk
from cyclr._schedules import Schedule, one_cycle

Array = NDArray[np.float64]

MOST = CYCLES
SPREAD = 10**0.5  #: ratio of one peak to the next
TAIL = 20  #: further steps at a rate of zero, whose mean loss is the result of the cycle: a ninth of the whole
FEWEST = 10  #: such steps at least
LENGTH = CYCLE - TAIL  #: steps of a cycle
DOUBT = 0.4  #: standard deviation of the log ratio between the best peak of a long training and that of a short one
SHIFT = 0.3  #: mean of that log ratio: the best peak of short cycles is higher
SWEEP = 0.3  #: weight of the sweep relative to the probe cycles
BELOW = 10.0  #: where a sweep shows no fall, the first cycles lie around the rate of its rise divided by this


def tail(whole: int) -> int:
    """How many of the steps of a probe cycle are made at a rate of zero, at its end.

    >>> tail(180), tail(50)
    (20, 10)
    """
    return max(FEWEST, whole // 9)


def shift(whole: int) -> float:
    """By how much the log of the best peak of cycles of this length is higher than that of a training."""
    return SHIFT + HORIZON * log(LENGTH / max(1, whole - tail(whole)))


def candidates(max_lr: float) -> tuple[float, ...]:
    """The first peaks to try, around the upper bound from a sweep.

    >>> [round(peak, 3) for peak in candidates(0.1)]
    [0.032, 0.1, 0.316]
    """
    return (max_lr / SPREAD, max_lr, max_lr * SPREAD)


def further(peaks: Array, probes: Array, most: int = MOST) -> float | None:
    """The next peak to try: the one beyond the best, while the best is the highest or the lowest; None if done.

    Args:
        peaks: The peaks tried so far, increasing.
        probes: The losses of each cycle, one row each, NaN beyond the end of one that diverged and for a bad batch.
        most: How many are tried at most.

    >>> round(further(np.array([0.1, 0.2]), np.array([[2.0], [1.0]])), 3)
    0.632
    """
    best = int(np.argmin(ends(probes)))
    if len(peaks) >= most or 0 < best < len(peaks) - 1:
        return None
    return float(peaks[-1] * SPREAD if best else peaks[0] / SPREAD)


def cycle(peak: float, whole: int = CYCLE) -> Schedule:
    """The probe cycle for a peak: linear from a tenth of it to the peak, then linear to zero.

    >>> cycle(1.0)
    Linear(0.1, 1.0, steps=48) >> Linear(1.0, 0.0, steps=112)
    """
    return one_cycle(peak, steps=whole - tail(whole), base_lr=peak / 10, shape="linear")


def ends(probes: Array) -> Array:
    """The mean loss at the end of each cycle, infinite for one that diverged."""
    tails = probes[:, -tail(probes.shape[1]) :]
    known = np.isfinite(tails)
    # A single gap is a bad batch, passed over; a cycle that diverged has nothing any more.
    went_on = known[:, -2:].any(axis=1)
    means = np.where(known, tails, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(went_on, means, np.inf)


def probed(at: Array, swept: Array, start: float, peaks: Array, probes: Array, longer: float = 0.0) -> Array:
    """The expected regret of each log rate, from the sweep and the probe cycles combined, as a fraction of the gain.

    The sweep shows where learning breaks down, the probe cycles what annealing makes up for. If no cycle improved
    the loss, only the sweep is used, for rates below the peaks that were tried.

    Args:
        at: Log rates at which to evaluate it.
        swept: The expected regret at each of them from the sweep alone.
        start: The loss before any training.
        peaks: The peaks tried, increasing.
        probes: The losses of each cycle.
        longer: By how much the log of the best peak is lower, because of the length of the training.
    """
    down = shift(probes.shape[1]) + longer
    levels = np.minimum(ends(probes), start)
    gain, logs = start - levels.min(), np.log(peaks)
    if gain <= 0:
        return swept + (at > logs[0] - down)
    missing = (levels - levels.min()) / gain
    # Below the lowest peak the trend is extrapolated; above the highest, if the regret rises there, the gain is zero.
    slope = max(0.0, missing[0] - missing[1]) if len(missing) > 1 else 0.0
    above = 1.0 if len(missing) > 1 and missing[-1] > missing[-2] else float(missing[-1])
    step = np.log(SPREAD)
    where = np.concatenate([[logs[0] - 2 * step], logs, [logs[-1] + step]])
    regret = np.concatenate([[missing[0] + 2 * slope], missing, [above]])
    return risk(at, where, regret, doubt=DOUBT, shift=down, above=above) + SWEEP * swept
