"""Smoothing without lag, its strength taken from the data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LEAST = 8  #: a curve of fewer points says nothing


def calm(values: Array, *, window: int = 7, limit: float = 4.0) -> Array:
    """`values` with lone spikes pulled back to `limit` robust deviations from their running median."""
    half = window // 2
    padded = np.pad(values, half, mode="reflect")
    neighbours = np.lib.stride_tricks.sliding_window_view(padded, window)
    middle = np.median(neighbours, axis=1)
    off = values - middle
    # One deviation for the whole curve would take the steep part of it for spikes; so local, but no less than the
    # typical one.
    local = 1.4826 * np.median(np.abs(neighbours - middle[:, None]), axis=1)
    spread = np.maximum(local, np.median(local))
    return middle + np.clip(off, -limit * spread, limit * spread)


def smooth(position: Array, values: Array) -> Array:
    """A centred smooth of `values` over `position`: a cubic spline.

    Its stiffness is the one that minimises the generalised cross-validation score, so it is the data
    that say how much to smooth. Lone spikes are calmed first.

    Args:
        position: Where the values stand; increasing, at least 8 of them.
        values: One value for each position, all finite.

    Returns:
        The smooth at each position.

    Reference:
        Wahba (1990), Spline Models for Observational Data. Hampel (1974) for the spikes.
    """
    from scipy.interpolate import make_smoothing_spline

    scale = np.ptp(values)
    if not scale > 0:
        return values.copy()
    offset = values.min()
    # The search for the stiffness works on numbers around one.
    units: Any = make_smoothing_spline((position - position[0]) / np.ptp(position), calm((values - offset) / scale))
    return offset + scale * units((position - position[0]) / np.ptp(position))
