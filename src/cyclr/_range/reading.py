"""Bounds from the losses of a sweep. The constants come from the landscapes in docs/bounds.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclr._range.bounds import Inconclusive, refusal
from cyclr._range.fall import LEAST, beginning, clear, in_errors, means, neighbours, noise, order
from cyclr._range.ramp import HIGH
from cyclr._range.risk import grid, risk
from cyclr._range.smooth import calm, smoother

Array = NDArray[np.float64]

LEAST_RATE = 1e-7  #: relative to the highest rate: a linear ramp may begin at 0, which has no logarithm
MOST = 300  #: maximum number of points to smooth; longer sweeps are averaged in blocks first
DEEP = 20.0  #: times the noise at the bottom: values far above that are compared by their logarithms
DOUBT = 1.0  #: standard deviation of the log of the factor by which the optimum of a sweep may be off
LOST = 0.2  #: a curve that has lost this fraction of its gain again has turned
MARGIN = 2.0  #: an answer from sweeps alone stays this factor below the rate at which they become unstable
FALLS = 0.05  #: a curve with this fraction of its gain within the last factor of doubt is still falling
LEARNING = 0.2  #: learning starts at the rate at which this fraction of the gain is made
SOLVED = 0.03  #: a loss that has fallen to this fraction of its start, and never below zero, may be at its floor ...
FLOOR = 2.0  #: ... from the first rate on at which it is at most this multiple of its lowest mean
TYPICAL = 20.0  #: in sweeps that have an answer, it lies about this factor below the rate at which they end
RESAMPLES = 40
QUARTERS = 1.35  #: standard deviations between the quartiles of a normal distribution
BLOCK = 5  #: number of neighbouring residuals that are resampled together


@dataclass(frozen=True, slots=True)
class Reading:
    """The regret of one sweep, in log rates."""

    where: Array
    regret: Array  #: at each of `where`, from 0 to 1
    top: float
    start: float  #: the signal before any training
    onset: float
    spread: float  #: standard deviation of `top` due to noise
    usual: float  #: the same by its quartiles, without regard to outliers
    ordered: bool  #: whether the order of the data moves the signal
    lowest: float
    turned: bool
    rises: bool  #: again, by more than the noise: it has not only ended
    last: float
    edge: float  #: the rate at which the signal becomes unstable; infinite if it does not
    floor: float  #: the rate from which the signal is at its floor; infinite if it is not

    @property
    def cap(self) -> float:
        """The highest log rate that the sweep has proved."""
        return _cap(self.edge, self.floor)


def swept(at: Array, readings: Sequence[Reading], longer: float) -> Array:
    """The expected regret of log rates by all sweeps; `longer` is by how much the log of the best rate is lower."""
    return np.mean([risk(at, one.where, one.regret, doubt=DOUBT, shift=longer) for one in readings], axis=0)


def still_falling(rates: Array, losses: Array) -> bool:
    """Whether the losses of a log sweep, of one after the other, are still falling at its highest rate."""
    there = np.isfinite(losses)
    how = {"steps": len(losses), "signal": "loss", "log": True, "ended": not there[-1], "longer": 0.0}
    try:
        read(rates[: len(losses)][there], losses[there], None, **how)
    except _StillFalling:
        return True
    except Inconclusive:
        return False
    return False


class _StillFalling(Inconclusive):
    """Inconclusive, because the ramp ends too low."""


def read(
    rates: Array,
    values: Array,
    control: Array | None,
    *,
    steps: int,
    signal: str,
    log: bool,
    ended: bool,
    longer: float,
) -> Reading:
    """One sweep of `steps` steps, up to its last valid value; `ended` if that is before its highest rate.

    `longer` is by how much the log of the best rate is lower than it seems.
    """
    if len(values) < LEAST:
        raise _too_few(rates, values, signal, ended=ended)
    control = None if control is None else _thinned(rates, control)[1]
    rates, values = _thinned(rates, values)
    head = neighbours(len(values))
    opening = beginning(len(values), steps, log=log)
    values, ordered = _without_order(values, control, head, opening, signal, typical(rates))
    start = float(np.median(values[:opening]))
    calmed = calm(values)
    along = means(calmed, head)
    if (errors := in_errors(calmed, head, opening)) < clear(len(values)):
        raise _no_fall(errors, clear(len(values)), signal, rates, ended=ended)
    # The size of a divergence is not informative, and would dominate the smoothing.
    calmed = np.minimum(calmed, start + max(start - along.min(), 0))
    lowered, height = _lowered(calmed, along, start)
    matrix = smoother(np.log(rates) if log else rates, lowered)
    line = matrix @ lowered
    regret = _regret(line, height)
    lowest = int(np.argmin(line))
    if lowest == 0:
        why = "is lowest at the first rate: noise dominates; use more steps or larger batches"
        raise refusal(f"the smoothed {signal} {why}", typical(rates))
    rises = bool((regret[lowest:] > LOST).any())
    turned = ended or rises
    logs = np.log(np.maximum(rates, rates[-1] * LEAST_RATE))
    # On a plateau the lowest point is arbitrary; a curve is still falling if much is gained within the last factor.
    falls = np.interp(logs[-1] - DOUBT, logs, regret) > FALLS
    if falls and not turned and lowest >= len(line) - head:
        raise too_low(signal, rates)
    edge, floor = _edge(rates, regret, lowest, ended=ended), floor_of(rates, values, start)
    residuals, rng = lowered - line, np.random.default_rng(0)
    again = (_regret(matrix @ (line + _resampled(residuals, rng)), height) for _ in range(RESAMPLES))
    tops = np.minimum([_top(logs, one, longer) for one in again], _cap(edge, floor))
    onset = float(logs[next(iter(np.flatnonzero(regret < 1 - LEARNING)), lowest)])
    seen: dict[str, Any] = {"lowest": float(rates[lowest]), "turned": turned, "rises": rises, "last": float(rates[-1])}
    seen |= {"edge": edge, "floor": floor, "spread": float(np.std(tops)), "ordered": ordered}
    seen["usual"] = by_quartiles(tops)
    return Reading(logs, regret, _top(logs, regret, longer), start, onset, **seen)


def by_quartiles(values: Array) -> float:
    """The standard deviation of a normal distribution with these quartiles: a few outliers do not count."""
    return float(np.ptp(np.quantile(values, (0.25, 0.75)))) / QUARTERS


def _too_few(rates: Array, values: Array, signal: str, *, ended: bool) -> Inconclusive:
    why = f"the {signal} was measured at only {len(values)} rates, {LEAST} are needed: use more steps, or start lower"
    acted = ended or (len(values) > 0 and np.ptp(values) > 0)  # where losses are all the same, no rate did anything
    return refusal(why, typical(rates) if acted else None)


def _no_fall(errors: float, needed: float, signal: str, rates: Array, *, ended: bool) -> Inconclusive:
    how = "start lower" if ended or rates[-1] >= HIGH else f"use {higher(rates)}"
    return refusal(
        f"the {signal} does not fall clearly: {max(errors, 0):.1f} standard errors, {needed:.2g} are needed; "
        f"it is flat, rising or dominated by noise; {how}, use more steps or larger batches (or accumulate), "
        "or let probe cycles decide (effort='thorough')",
        typical(rates),
    )


def typical(rates: Array) -> float | None:
    """The rate to try where a sweep that ended at the last of these has no answer; None if there are none."""
    return float(rates[-1]) / TYPICAL if len(rates) and rates[-1] > 0 else None


def higher(rates: Array) -> str:
    """The ramp to try where the last of these rates is too low."""
    return f"a ramp that goes higher, such as Ramp(high={10 * rates[-1]:.2g})"


def too_low(signal: str, rates: Array) -> Inconclusive:
    """The refusal of a ramp whose highest rate is too low."""
    last = float(rates[-1])
    made = _StillFalling(f"the {signal} is still falling at the highest rate, {last:.2g}; use {higher(rates)}")
    made.fallback = float(f"{last / np.exp(DOUBT):.3g}")
    return made


def _edge(rates: Array, regret: Array, lowest: int, *, ended: bool) -> float:
    """The rate beyond the lowest point from which a fifth of the gain stays lost, or at which the sweep ended."""
    kept = lowest + int(np.flatnonzero(regret[lowest:] <= LOST)[-1])
    if kept + 1 < len(rates):
        return float(rates[kept + 1])
    return float(rates[-1]) if ended else float("inf")


def _cap(edge: float, floor: float) -> float:
    return float(np.log(min(edge / MARGIN, floor)))


def floor_of(rates: Array, values: Array, start: float) -> float:
    """The first rate at which a loss that cannot fall below zero is at its floor: what follows proves nothing."""
    together = neighbours(len(values))
    along = means(calm(values), together)
    lowest = along.min()
    if values.min() < 0 or lowest > SOLVED * start:
        return float("inf")
    return float(rates[int(np.argmax(along <= max(FLOOR * lowest, 1e-12 * start))) + together // 2])


def _without_order(
    values: Array, control: Array | None, head: int, opening: int, signal: str, fallback: float | None
) -> tuple[Array, bool]:
    """The values, free of what the order of the data does to them, and whether it does; an error if that is all."""
    if control is None:
        return values, False
    moved = order(values, control, head, opening)
    if moved.dominates:
        raise refusal(
            f"the {signal} follows the order of the data: at a rate of zero it moves by {moved.swing:.2g} over the "
            f"same batches, and the rates lower it by {max(moved.own, 0):.2g}; shuffle the data, or go to higher rates",
            fallback,
        )
    return moved.values, moved.trend


def _lowered(values: Array, along: Array, start: float) -> tuple[Array, float]:
    """Values and start as inverse hyperbolic sines above the lowest mean of neighbours, in units of the noise there.

    If a loss has fallen to almost zero, its rise is visible in its logarithm long before it is visible in the loss;
    near the bottom and within the noise, the inverse hyperbolic sine is linear.
    """
    bottom, together = int(along.argmin()), len(values) - len(along) + 1
    scale = max(DEEP * noise(values[bottom : bottom + together]), 1e-12 * float(np.ptp(values)))
    return np.arcsinh((values - along.min()) / scale), float(np.arcsinh((start - along.min()) / scale))


def _regret(line: Array, height: float) -> Array:
    """The fraction of the possible gain not made yet; beyond the lowest point, the fraction of `height` lost again.

    `line` and `height`, the line's height at the start, are inverse hyperbolic sines: see `_lowered`.
    """
    bottom, values = int(np.argmin(line)), np.sinh(line)
    falling = (values - values[bottom]) / (np.sinh(height) - values[bottom])
    rising = (line - line[bottom]) / (height - line[bottom])
    return np.clip(np.where(np.arange(len(line)) > bottom, rising, falling), 0, 1)


def _top(where: Array, regret: Array, longer: float = 0.0) -> float:
    """The log rate with the lowest expected regret; beyond the ramp the gain is taken as zero."""
    at = grid(where[0], where[-1])
    return float(at[np.argmin(risk(at, where, regret, doubt=DOUBT, shift=longer))])


def _resampled(residuals: Array, rng: np.random.Generator) -> Array:
    """Resampled residuals, in random blocks of neighbours."""
    starts = rng.integers(0, len(residuals) - BLOCK + 1, size=len(residuals) // BLOCK + 1)
    return np.concatenate([residuals[start : start + BLOCK] for start in starts])[: len(residuals)]


def _thinned(rates: Array, values: Array) -> tuple[Array, Array]:
    """Means of neighbours if there are more points than MOST."""
    size = -(-len(values) // MOST)
    if size == 1:
        return rates, values
    whole = len(values) // size * size
    return rates[:whole].reshape(-1, size).mean(axis=1), values[:whole].reshape(-1, size).mean(axis=1)
