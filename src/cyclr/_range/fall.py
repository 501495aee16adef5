"""How far a signal falls, measured by its noise, and how much of that is due to the order of the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclr._range.smooth import calm

Array = NDArray[np.float64]

LEAST = 12  #: minimum number of points; with fewer, a sweep is inconclusive
CLEAR = 4.0  #: minimum fall in standard errors: 98 % of sweeps of pure noise stay below
SOON_CLEAR = 3.0  #: the same for few points, among which a low mean is less often found by chance
FEW, MANY = 60, 300  #: points: in between, the minimum rises with their number
OWN = 0.25  #: minimum fall due to the rates, relative to the whole and to how far the order of the data alone moves it


def neighbours(points: int) -> int:
    """How many neighbours are averaged on a curve of this length: an order that repeats within them is not seen."""
    return max(3, points // 10)


def clear(points: int) -> float:
    """The minimum fall of a curve of this length, in standard errors.

    >>> clear(60), clear(300)
    (3.0, 4.0)
    """
    return float(np.interp(points, (FEW, MANY), (SOON_CLEAR, CLEAR)))


def beginning(points: int, steps: int, *, log: bool) -> int:
    """Half the points from which a fall is measured.

    A linear ramp reaches rates that change the loss after a few steps; a log ramp has many steps below them.
    """
    return neighbours(points) if log else max(1, max(3, steps // 50) * points // steps)


def falls(row: Array, *, log: bool) -> bool:
    """Whether the losses of a sweep fall clearly."""
    values = calm(row[np.isfinite(row)]) if np.isfinite(row).sum() >= LEAST else np.zeros(LEAST)
    points = len(values)
    return in_errors(values, neighbours(points), beginning(points, len(row), log=log)) >= clear(points)


def rises(row: Array) -> bool:
    """Whether the losses of a sweep end clearly above where they began."""
    values = calm(row[np.isfinite(row)]) if np.isfinite(row).sum() >= LEAST else np.zeros(LEAST)
    together = neighbours(len(values))
    risen = values[-together:].mean() - values[: 2 * together].mean()
    return bool(risen > CLEAR * standard_error(values, together, together) > 0)


def noise(values: Array) -> float:
    """Standard deviation around a line, from the differences between neighbours; robust to spikes."""
    return 1.4826 * float(np.median(np.abs(np.diff(values)))) / np.sqrt(2)


def means(values: Array, together: int) -> Array:
    """Means of neighbours."""
    return np.convolve(values, np.full(together, 1 / together), "valid")


def fall(values: Array, together: int, opening: int) -> float:
    """The fall from the beginning to the lowest mean of neighbours after it."""
    return float(values[: 2 * opening].mean() - means(values, together)[2 * opening :].min())


def standard_error(values: Array, together: int, opening: int) -> float:
    """Of such a fall, due to the noise between neighbours."""
    deviation = max(noise(values), 1e-12 * float(np.ptp(values)))
    return deviation * float(np.sqrt(1 / len(values[: 2 * opening]) + 1 / together))


def in_errors(values: Array, together: int, opening: int) -> float:
    """The fall in standard errors."""
    error = standard_error(values, together, opening)
    return fall(values, together, opening) / error if error > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Order:
    """What the order of the data does to a signal."""

    values: Array  #: the signal, free of it where it is more than noise
    swing: float  #: how far it moves the signal
    own: float  #: the fall that is left
    trend: bool  #: whether it is more than noise: twice what a clear fall needs
    whole: float  #: the fall as it was

    @property
    def dominates(self) -> bool:
        """Whether the fall may be that of the data alone."""
        return self.own < OWN * max(self.swing if self.trend else 0.0, self.whole)


def order(values: Array, control: Array, together: int, opening: int) -> Order:
    """What the order of the data does to a signal, given that of the same batches at a rate of zero."""
    calmed, still = calm(values), calm(control)
    swing = float(np.ptp(means(still, together)))
    trend = swing > 2 * CLEAR * standard_error(still, together, opening)
    without = calmed - still
    own = fall(without, together, opening)
    return Order(without + float(still.mean()) if trend else values, swing, own, trend, fall(calmed, together, opening))
