"""From what was recorded in whole ramps to what counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cyclr._check import problem
from cyclr._range.stop import StopRule

Array = NDArray[np.float64]


def cut(losses: ArrayLike) -> tuple[Array, tuple[str, ...]]:
    """Losses up to the end of each ramp, and why it ended: for ramps that could not be stopped on their way.

    Args:
        losses: Shape (repeats, steps).

    Returns:
        The losses with NaN beyond the step at which `StopRule` ends the ramp, and "end", "diverged" or "non-finite"
        for each repeat.

    Raises:
        ValueError: If a loss is not finite at the very first step: no rate is to blame for that.

    >>> cut([[2.0, 1.0, float("inf"), 3.0]])
    (array([[ 2.,  1., inf, nan]]), ('non-finite',))
    """
    rows = np.array(losses, dtype=np.float64)
    stops = []
    for row in rows:
        rule = StopRule()
        rule.feed(enumerate(row))
        if rule.index == 0:
            what = "the loss must be finite at the first step, before any update"
            raise ValueError(problem(what, float(row[0]), "check the data, the loss and the weights"))
        if rule.index is not None:
            row[rule.index + 1 :] = np.nan
        stops.append("end" if rule.index is None else rule.reason)
    return rows, tuple(stops)
