"""The values that a figure shows: the steps of a schedule, the smoothed signal of a curve, the range of an axis."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from cyclr import _check
from cyclr._range.curve import Curve
from cyclr._range.smooth import smooth
from cyclr._schedules import Schedule
from cyclr.study._records import Run

POINTS = 20001  # far more than the pixels of a screen's width, so that peaks keep their height
_FEWEST_TO_SMOOTH = 8


def sample(schedule: Schedule, steps: int | None = None, *, points: int = POINTS) -> np.ndarray:
    """Steps at which to evaluate a schedule; all steps of a short one, so that no turning point is missed."""
    if steps is None and schedule.duration == math.inf:
        raise ValueError(
            _check.problem("steps must be given for an endless schedule", None, "pass the number of steps to draw")
        )
    last = int(schedule.duration) if steps is None else _check.count("steps", steps)
    return np.unique(np.linspace(0, last, min(last + 1, points)).astype(np.int64))


def smoothed(curve: Curve, signal: str = "loss") -> tuple[np.ndarray, np.ndarray]:
    """Rates, and the smoothed median over the repeats up to the rate that most repeats reached."""
    values = curve.losses if signal == "loss" else curve.metrics[signal]
    most = np.isfinite(values).sum(axis=0) * 2 > len(values)
    rates, middle = curve.rates[most], np.nanmedian(values[:, most], axis=0)
    if middle.size:
        low, high = window(values, middle, rising=signal in curve.maximize)
        middle = np.clip(middle, 2 * low - high, 2 * high - low)
    positions = np.log(rates) if curve.scale == "log" else rates
    return rates, smooth(positions, middle) if len(middle) >= _FEWEST_TO_SMOOTH else middle


def window(values: np.ndarray, middle: np.ndarray, *, rising: bool = False) -> tuple[float, float]:
    """The range of a signal to show, so that a divergence does not flatten the rest.

    Args:
        values: The signal, one row for each repeat.
        middle: Its median over the repeats.
        rising: Whether higher is better; then low values are cut off instead.

    Returns:
        Lower and upper limit.
    """
    if rising:
        low, high = window(-values, -middle)
        return -high, -low
    known = values[np.isfinite(values)]
    low, high = float(known.min(initial=math.inf)), float(known.max(initial=-math.inf))
    if not low < high:
        return (0.0, 1.0) if not known.size else (low - 0.5, high + 0.5)
    start = float(np.mean(middle[: max(1, len(middle) // 10)])) if middle.size else high
    fall = (start - low) or (high - low)
    top, margin = min(high, start + 0.6 * fall), 0.05 * fall
    return low - margin, top + margin


def by_step(runs: Iterable[Run], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """All steps at which any of the runs was evaluated, and each run's metric there.

    Between two evaluations of a run its metric is interpolated; before the first and after the last it is NaN.

    Returns:
        Steps, and values of shape (runs, steps).
    """
    series = [run.series(metric) for run in runs]
    steps = np.unique(np.concatenate([own for own, _ in series])).astype(np.float64)
    return steps, np.array([np.interp(steps, *own, left=math.nan, right=math.nan) for own in series])


def settled(series: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float] | None:
    """The range of the values without the first fifth of the steps, which would flatten the rest; None if empty.

    Args:
        series: Steps, and values of shape (runs, steps).
    """
    late = np.concatenate([values[:, steps >= steps[-1] / 5].ravel() for steps, values in series])
    late = late[np.isfinite(late)]
    if not late.size or np.ptp(late) == 0:
        return None
    margin = 0.05 * float(np.ptp(late))
    return float(late.min()) - margin, float(late.max()) + margin
