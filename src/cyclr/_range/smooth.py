"""Smoothing without lag; its strength is chosen from the data."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PRICE = 2.0  #: penalty per degree of freedom in the cross-validation; 1 overfits noise too often (docs/bounds.md)
STIFFNESS = 10.0 ** np.arange(-7, 3)  #: candidates, for positions from 0 to 1: from 60 degrees of freedom down to 2


def calm(values: Array, *, window: int = 7, limit: float = 4.0) -> Array:
    """`values` with isolated spikes clipped to `limit` robust deviations from the running median."""
    half = min(window // 2, len(values) - 1)
    padded = np.pad(values, half, mode="reflect")
    neighbours = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    middle = np.median(neighbours, axis=1)
    off = values - middle
    # A single deviation for the whole curve would clip its steep part; so it is local, but at least the typical one.
    local = 1.4826 * np.median(np.abs(neighbours - middle[:, None]), axis=1)
    spread = np.maximum(local, np.median(local))
    return middle + np.clip(off, -limit * spread, limit * spread)


def smoother(position: Array, values: Array) -> Array:
    """The matrix that smooths `values`: a centred cubic smoothing spline over `position`.

    Its stiffness minimises the generalised cross-validation score

        n * |values - smooth|**2 / (n - PRICE * degrees of freedom)**2

    so the data determine the amount of smoothing.

    Args:
        position: Positions of the values; increasing, at least 5 of them.
        values: One value for each position, all finite.

    Returns:
        A matrix of shape (n, n); its product with `values` is the smoothed values.

    Reference:
        Craven & Wahba (1979), Smoothing noisy data with spline functions. PRICE is Wood's gamma (2006).
    """
    place = (position - position[0]) / (position[-1] - position[0])
    # Positions differ by rounding errors; after rounding, ramps of equal length share their matrices.
    matrices = _matrices(np.round(place, 9).tobytes())
    best, lowest = matrices[-1], np.inf
    for matrix in matrices:
        left = len(place) - PRICE * np.trace(matrix)
        if left > 0.1 * len(place):
            score = np.sum((values - matrix @ values) ** 2) / left**2
            if score < lowest:
                best, lowest = matrix, score
    return best


@lru_cache(maxsize=2)  # 7 MB each for 300 points
def _matrices(place: bytes) -> tuple[Array, ...]:
    """The smoothing matrices for these positions from 0 to 1, one for each stiffness."""
    from scipy.interpolate import make_smoothing_spline

    x = np.frombuffer(place)
    return tuple(np.asarray(make_smoothing_spline(x, np.eye(len(x)), lam=stiff)(x)) for stiff in STIFFNESS)


def smooth(position: Array, values: Array) -> Array:
    """`values` smoothed over `position` without lag, isolated spikes clipped first. See `smoother`.

    Args:
        position: Positions of the values; increasing, at least 5 of them.
        values: One value for each position, all finite.

    Returns:
        The smoothed value at each position.

    >>> import numpy as np
    >>> x = np.linspace(0, 1, 50)
    >>> bool(np.abs(smooth(x, x**2) - x**2).max() < 0.01)
    True
    """
    calmed = calm(values)
    return smoother(position, calmed) @ calmed
