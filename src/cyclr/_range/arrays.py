"""The arrays of a curve, checked: rates, and values of each step of each repeat."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cyclr._check import problem

Array = NDArray[np.float64]


def _array(name: str, value: ArrayLike) -> Array:
    try:
        return np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(problem(f"{name} must be an array of numbers", value)) from None


def increasing(value: ArrayLike, scale: str) -> Array:
    """The rates of a sweep."""
    rates = _array("rates", value)
    if rates.ndim != 1 or len(rates) < 2 or not np.isfinite(rates).all() or rates[0] < 0:
        raise ValueError(problem("rates must be a one-dimensional array of at least two finite rates", value))
    if not (np.diff(rates) > 0).all():
        raise ValueError(problem("rates must increase", value, "sort them together with the losses"))
    if scale == "log" and rates[0] == 0:
        raise ValueError("rates must be positive on a log ramp, got 0 as the first; start above zero")
    return rates


def rows_of(name: str, value: ArrayLike, steps: int) -> Array:
    """Values of each step, one row a repeat; a single row may be given flat."""
    rows = _array(name, value)
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != steps or not len(rows):
        raise ValueError(problem(f"{name} must have shape (repeats, {steps})", rows.shape, "one value for each rate"))
    # An infinite loss is treated like a missing one.
    return np.where(np.isfinite(rows), rows, np.nan)


def beside(name: str, value: ArrayLike, losses: Array) -> Array:
    """Other losses of the same steps, or nothing."""
    if not _array(name, value).size:
        return np.empty((0, 0))
    rows = rows_of(name, value, losses.shape[1])
    if rows.shape != losses.shape:
        raise ValueError(problem(f"{name} must have the shape of losses {losses.shape}", rows.shape))
    return rows


def probes_of(peaks: ArrayLike, probes: ArrayLike) -> tuple[Array, Array]:
    """The peaks of probe cycles, and their losses."""
    tried = _array("peaks", peaks)
    if tried.ndim != 1 or not (np.isfinite(tried).all() and (tried > 0).all() and (np.diff(tried) > 0).all()):
        raise ValueError(problem("peaks must be a one-dimensional array of increasing positive rates", peaks))
    rows = _array("probes", probes)
    if not len(tried) and not rows.size:
        return np.empty(0), np.empty((0, 0))
    if rows.ndim != 2 or len(rows) != len(tried) or not rows.shape[1]:
        raise ValueError(problem(f"probes must hold one row of losses for each of the {len(tried)} peaks", rows.shape))
    return tried, np.where(np.isfinite(rows), rows, np.nan)


def plain_of(rows: Array) -> list[list[float | None]]:
    """Numbers for JSON, which has no NaN."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in rows]
