"""Probe cycles: what a peak is worth, tried out in miniature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cyclr._schedules import Schedule, one_cycle

Array = NDArray[np.float64]

COUNT = 5  #: candidate peaks
SPREAD = 10**0.5  #: from one candidate to the next
LENGTH = 80  #: steps of a cycle
TAIL = 4  #: a cycle is judged by the last of so many parts of it, where the rate is low


def candidates(max_lr: float) -> tuple[float, ...]:
    """Peaks to try, around the upper bound that a ramp gave.

    >>> [round(peak, 3) for peak in candidates(0.1)]
    [0.01, 0.032, 0.1, 0.316, 1.0]
    """
    return tuple(max_lr * SPREAD ** (place - COUNT // 2) for place in range(COUNT))


def cycle(peak: float) -> Schedule:
    """The cycle that tries a peak: a straight rise from a tenth of it, a straight fall to zero.

    >>> cycle(1.0)
    Linear(0.1, 1.0, steps=24) >> Linear(1.0, 0.0, steps=56)
    """
    return one_cycle(peak, steps=LENGTH, base_lr=peak / 10, shape="linear")


def best(peaks: Array, probes: Array) -> float | None:
    """The best peak, refined by a parabola through its neighbours; None if no cycle came to its end.

    Args:
        peaks: The candidates, increasing and evenly spaced in the logarithm.
        probes: The losses of the cycle of each, one row each, NaN beyond the end of one that diverged.

    Returns:
        A rate within half a spacing of the best candidate.
    """
    finished = np.isfinite(probes).all(axis=1)
    if not finished.any():
        return None
    ends = np.where(finished, probes[:, -(probes.shape[1] // TAIL) :].mean(axis=1), np.inf)
    place, logs = int(np.argmin(ends)), np.log(peaks)
    if 0 < place < len(ends) - 1 and np.isfinite(ends[place - 1 : place + 2]).all():
        left, middle, right = ends[place - 1 : place + 2]
        bend = left - 2 * middle + right
        if bend > 0:
            half = (logs[place + 1] - logs[place]) / 2
            return float(np.exp(logs[place] + np.clip(half * (left - right) / bend, -half, half)))
    return float(peaks[place])
