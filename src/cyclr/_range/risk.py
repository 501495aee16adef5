"""The rate with the lowest expected regret where the best one is not known exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEP = 0.02  #: between the rates that are compared, in log rate
_NODES = np.linspace(-2.4, 2.4, 17)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()


def grid(low: float, high: float) -> Array:
    """Log rates to compare, from low to high."""
    return np.arange(np.floor(low / STEP), np.ceil(high / STEP) + 1) * STEP


def risk(at: Array, where: Array, regret: Array, *, doubt: float, shift: float = 0.0, above: float = 1.0) -> Array:
    """The expected regret of a rate if the rates in `where` are right up to an unknown factor.

    The logarithm of the factor is taken as normal around `shift` with standard deviation `doubt`, so that

        risk(x) = mean of regret(x + shift + doubt * z) over z

    A rate whose neighbours are as good is preferred to a slightly better one beside a cliff.

    Args:
        at: Log rates at which it is wanted.
        where: Log rates at which the regret is known, increasing.
        regret: The regret there.
        doubt: Standard deviation of the log of the factor.
        shift: Its mean: by how much the rates in `where` are too high.
        above: The regret beyond the highest rate. Below the lowest it is that of the lowest.

    >>> x = np.linspace(-3, 3, 601)
    >>> cliff = np.where(x < 1, -0.1 * x, 10.0)
    >>> bool(x[np.argmin(cliff)] > 0.9), bool(x[np.argmin(risk(x, x, cliff, doubt=0.5, above=10.0))] < 0)
    (True, True)
    """
    points = at + shift + doubt * _NODES[:, None]
    return _WEIGHTS @ np.interp(points, where, regret, right=above)
