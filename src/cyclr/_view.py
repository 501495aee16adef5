"""What a picture shows, whoever draws it: colours, steps to look at, the part of a signal worth looking at."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from cyclr import _check
from cyclr._range.curve import Curve
from cyclr._range.smooth import smooth
from cyclr._schedules import Schedule
from cyclr.study._records import Run

# Okabe and Ito's colours, which the colour-blind tell apart, without the yellow that is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
POINTS = 20001  # many times what a screen has pixels in a row: peaks keep their height
_FEWEST_TO_SMOOTH = 8


def sample(schedule: Schedule, steps: int | None = None, *, points: int = POINTS) -> np.ndarray:
    """Steps at which to look at a schedule, so that no turning point of a short one is missed."""
    if steps is None and schedule.duration == math.inf:
        raise ValueError(_check.problem("steps must be given for an endless schedule", None, "say how many to draw"))
    last = int(schedule.duration) if steps is None else _check.count("steps", steps)
    return np.unique(np.linspace(0, last, min(last + 1, points)).astype(np.int64))


def smoothed(curve: Curve, signal: str = "loss") -> tuple[np.ndarray, np.ndarray]:
    """Rates and the smoothed median over the repeats, as far as most repeats went."""
    values = curve.losses if signal == "loss" else curve.metrics[signal]
    most = np.isfinite(values).sum(axis=0) * 2 > len(values)
    rates, middle = curve.rates[most], np.nanmedian(values[:, most], axis=0)
    if middle.size:
        low, high = window(values, middle, rising=signal in curve.maximize)
        middle = np.clip(middle, 2 * low - high, 2 * high - low)
    positions = np.log(rates) if curve.scale == "log" else rates
    return rates, smooth(positions, middle) if len(middle) >= _FEWEST_TO_SMOOTH else middle


def window(values: np.ndarray, middle: np.ndarray, *, rising: bool = False) -> tuple[float, float]:
    """The part of a signal worth looking at: a loss that blows up must not flatten the rest.

    Args:
        values: The signal, a row a repeat.
        middle: Its median over the repeats.
        rising: Whether more of it is better; then it is its fall that is cut off.
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


def in_words(signal: str) -> str:
    """What to call a signal or a metric in words: `test_accuracy` is the test accuracy."""
    return "training loss" if signal == "loss" else signal.replace("_", " ")


def by_step(runs: Iterable[Run], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """All steps at which one of the runs was looked at, and each run's metric there.

    Between two looks at a run its metric goes in a straight line; before the first and after the last it is NaN.

    Returns:
        Steps, and values of shape (runs, steps).
    """
    series = [run.series(metric) for run in runs]
    steps = np.unique(np.concatenate([own for own, _ in series])).astype(np.float64)
    return steps, np.array([np.interp(steps, *own, left=math.nan, right=math.nan) for own in series])


def settled(series: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float] | None:
    """The range of values after the first fifth of the steps, whose rise would flatten what matters; None if none.

    Args:
        series: Steps, and values of shape (runs, steps).
    """
    late = np.concatenate([values[:, steps >= steps[-1] / 5].ravel() for steps, values in series])
    late = late[np.isfinite(late)]
    if not late.size or np.ptp(late) == 0:
        return None
    margin = 0.05 * float(np.ptp(late))
    return float(late.min()) - margin, float(late.max()) + margin
