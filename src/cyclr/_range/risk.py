"""The rate with the lowest expected regret if the optimum is known only up to a factor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEP = 0.02  #: spacing of the compared rates, in log rate
_NODES = np.linspace(-2.4, 2.4, 17)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()


def grid(low: float, high: float) -> Array:
    """Log rates to compare, from low to high."""
    return np.arange(np.floor(low / STEP), np.ceil(high / STEP) + 1) * STEP


def risk(at: Array, where: Array, regret: Array, *, doubt: float, shift: float = 0.0, above: float = 1.0) -> Array:
    """The expected regret of a rate if the rates in `where` are known only up to a factor.

    The logarithm of the factor is normal with mean `shift` and standard deviation `doubt`, so that

        risk(x) = mean of regret(x + shift + doubt * z) over z

    A rate whose neighbours are equally good is preferred to a slightly better one next to a cliff.

    Args:
        at: Log rates at which to evaluate it.
        where: Log rates at which the regret is known, increasing.
        regret: The regret there.
        doubt: Standard deviation of the log of the factor.
        shift: Mean of the log of the factor: by how much the rates in `where` are too high.
        above: The regret above the highest rate. Below the lowest rate it is that of the lowest.

    >>> x = np.linspace(-3, 3, 601)
    >>> cliff = np.where(x < 1, -0.1 * x, 10.0)
    >>> bool(x[np.argmin(cliff)] > 0.9), bool(x[np.argmin(risk(x, x, cliff, doubt=0.5, above=10.0))] < 0)
    (True, True)
    """
    points = at + shift + doubt * _NODES[:, None]
    return _WEIGHTS @ np.interp(points, where, regret, right=above)
