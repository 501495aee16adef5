"""Bounds from the losses of a sweep. The constants come from the landscapes in docs/bounds.md."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cyclr._range.bounds import Bounds, Inconclusive, probability
from cyclr._range.fall import CLEAR, LEAST, beginning, in_errors, means, neighbours, noise, order
from cyclr._range.probe import ends, probed
from cyclr._range.risk import grid, risk
from cyclr._range.smooth import calm, smoother

Array = NDArray[np.float64]

LEAST_RATE = 1e-7  #: relative to the highest rate: a linear ramp may begin at 0, which has no logarithm
MOST = 300  #: maximum number of points to smooth; longer sweeps are averaged in blocks first
DEEP = 20.0  #: times the noise at the bottom: values far above that are compared by their logarithms
DOUBT = 1.0  #: standard deviation of the log of the factor by which the optimum of a sweep may be off
LOST = 0.2  #: a curve that has lost this fraction of its gain again has turned
FALLS = 0.05  #: a curve with this fraction of its gain within the last factor of doubt is still falling
CYCLING = 4.0  #: the lower bound is the upper one divided by this (the paper's advice) ...
LEARNING = 0.2  #: ... or, if that is higher, the rate at which this fraction of the gain is made
SCATTER = 0.08  #: standard deviation of a log bound over initial weights: at least this ...
INITIAL = 3.0  #: ... and this multiple of the variance due to the noise in a curve (a typical value)
RESAMPLES = 40
BLOCK = 5  #: number of neighbouring residuals that are resampled together


@dataclass(frozen=True, slots=True)
class _Reading:
    """The regret of one sweep, in log rates."""

    where: Array
    regret: Array  #: at each of `where`, from 0 to 1
    top: float
    start: float  #: the signal before any training
    onset: float
    spread: float
    ordered: bool  #: whether the order of the data moves the signal
    lowest: float
    turned: bool
    rises: bool  #: again, by more than the noise: it has not only ended
    last: float


def find(
    rates: Array,
    values: Array,
    *,
    control: Array | None = None,
    probes: tuple[Array, Array] | None,
    steps: int,
    tuning_cost: int,
    level: float,
    signal: str,
    log: bool,
) -> Bounds:
    """Bounds from a signal for which lower is better; rows are repeats, NaN after the end of a repeat.

    `control` are the values of the same batches at a rate of zero, where they were measured: a fall that only follows
    the order of the data is no evidence. `probes` are the peaks and the losses of probe cycles, or None. `steps` is the
    length of a sweep, of which `values` may hold only a few points.

    Raises:
        Inconclusive: If most repeats do not fall clearly, or fall until the end.
    """
    probability("level", level)
    readings = _readings(rates, values, control, steps=steps, signal=signal, log=log)
    tops = np.array([reading.top for reading in readings])
    top = float(np.median(tops))
    if probes is not None:
        low, high = (np.log(probes[0][place]) for place in (0, -1))
        at = grid(min(readings[0].where[0], low), max(readings[0].where[-1], high))
        swept = np.mean([risk(at, reading.where, reading.regret, doubt=DOUBT) for reading in readings], axis=0)
        start = float(np.mean([reading.start for reading in readings]))
        top = float(at[np.argmin(probed(at, swept, start, *probes))])
    # A bound varies with initial weights, which repeats do not change, and with batches, which they average out.
    noise = float(np.mean([reading.spread**2 for reading in readings]))
    between = float(tops.var(ddof=1)) if len(tops) > 1 else noise
    scatter = np.sqrt(SCATTER**2 + INITIAL * noise + between / len(tops))
    # The difference of two bounds varies more than each of them.
    half = NormalDist().inv_cdf(0.5 + level / 2) * np.sqrt(2) * scatter
    max_lr = _short(np.exp(top))
    onset = float(np.exp(np.median([reading.onset for reading in readings])))
    base_lr = _short(max(max_lr / CYCLING, min(onset, max_lr / 2)))
    wide = float(np.exp(half))
    return Bounds(
        base_lr,
        max_lr,
        (_short(base_lr / wide), _short(base_lr * wide)),
        (_short(max_lr / wide), _short(max_lr * wide)),
        level,
        _evidence(readings, len(values), signal, probes, max_lr, base_lr, onset),
        tuning_cost,
    )


def _readings(
    rates: Array, values: Array, control: Array | None, *, steps: int, signal: str, log: bool
) -> list[_Reading]:
    """What the repeats show, without those that show nothing; an error if that is half of them."""
    readings: list[_Reading] = []
    refusals: list[Inconclusive] = []
    for number, row in enumerate(values):
        known = np.isfinite(row)
        still = None if control is None else control[number][known]
        if still is not None and not np.isfinite(still).all():
            still = None  # not measured for this repeat, or spoilt by a bad batch
        how = {"steps": steps, "signal": signal, "log": log, "ended": not known[-1]}
        try:
            readings.append(_read(rates[known], row[known], still, **how))
        except Inconclusive as refusal:
            refusals.append(refusal)
    if len(refusals) < len(readings):
        return readings
    if len(values) == 1:
        raise refusals[0]
    raise Inconclusive(f"in {len(refusals)} of {len(values)} repeats {refusals[0]}")


def _short(rate: float) -> float:
    """Rounded to three digits: no range test is more precise, and users read and copy these."""
    return float(f"{rate:.3g}")


def _read(
    rates: Array, values: Array, control: Array | None, *, steps: int, signal: str, log: bool, ended: bool
) -> _Reading:
    """One sweep of `steps` steps, up to its last valid value; `ended` if that is before its highest rate."""
    if len(values) < LEAST:
        raise Inconclusive(
            f"the {signal} was measured at only {len(values)} rates, {LEAST} are needed: use more steps, or start lower"
        )
    control = None if control is None else _thinned(rates, control)[1]
    rates, values = _thinned(rates, values)
    head = neighbours(len(values))
    opening = beginning(len(values), steps, log=log)
    values, ordered = _without_order(values, control, head, opening, signal)
    start = float(np.median(values[:opening]))
    calmed = calm(values)
    along = means(calmed, head)
    errors = in_errors(calmed, head, opening)
    if errors < CLEAR:
        raise Inconclusive(
            f"the {signal} does not fall clearly: {max(errors, 0):.1f} standard errors, {CLEAR:.0f} are needed; "
            "it is flat, rising or dominated by noise; start lower, use more steps or larger batches"
        )
    # The size of a divergence is not informative, and would dominate the smoothing.
    calmed = np.minimum(calmed, start + max(start - along.min(), 0))
    positions = np.log(rates) if log else rates
    lowered, height = _lowered(calmed, along, start)
    matrix = smoother(positions, lowered)
    line = matrix @ lowered
    regret = _regret(line, height)
    lowest = int(np.argmin(line))
    if lowest == 0:
        raise Inconclusive(
            f"the smoothed {signal} is lowest at the first rate: noise dominates; use more steps or larger batches"
        )
    rises = bool((regret[lowest:] > LOST).any())
    turned = ended or rises
    logs = np.log(np.maximum(rates, rates[-1] * LEAST_RATE))
    # On a plateau the lowest point is arbitrary; a curve is still falling if much is gained within the last factor.
    falls = np.interp(logs[-1] - DOUBT, logs, regret) > FALLS
    if falls and not turned and lowest >= len(line) - head:
        raise Inconclusive(
            f"the {signal} is still falling at the highest rate, {rates[-1]:.2g}; use a ramp that goes higher"
        )
    residuals, rng = lowered - line, np.random.default_rng(0)
    again = [_top(logs, _regret(matrix @ (line + _resampled(residuals, rng)), height)) for _ in range(RESAMPLES)]
    made = np.flatnonzero(regret < 1 - LEARNING)
    onset = logs[made[0] if len(made) else lowest]
    seen = {"lowest": float(rates[lowest]), "turned": turned, "rises": rises, "last": float(rates[-1])}
    return _Reading(logs, regret, _top(logs, regret), start, float(onset), float(np.std(again)), ordered, **seen)


def _without_order(values: Array, control: Array | None, head: int, opening: int, signal: str) -> tuple[Array, bool]:
    """The values, free of what the order of the data does to them, and whether it does; an error if that is all."""
    if control is None:
        return values, False
    moved = order(values, control, head, opening)
    if moved.dominates:
        raise Inconclusive(
            f"the {signal} follows the order of the data: at a rate of zero it moves by {moved.swing:.2g} over the "
            f"same batches, and the rates lower it by {max(moved.own, 0):.2g}; shuffle the data, or go to higher rates"
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


def _top(where: Array, regret: Array) -> float:
    """The log rate with the lowest expected regret; beyond the ramp the gain is taken as zero."""
    at = grid(where[0], where[-1])
    return float(at[np.argmin(risk(at, where, regret, doubt=DOUBT))])


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


def _evidence(
    readings: list[_Reading],
    repeats: int,
    signal: str,
    probes: tuple[Array, Array] | None,
    max_lr: float,
    base_lr: float,
    onset: float,
) -> tuple[str, ...]:
    """What was observed, in sentences."""
    alone = float(np.exp(np.median([reading.top for reading in readings])))
    lowest = float(np.exp(np.median(np.log([reading.lowest for reading in readings]))))
    kept = f" (in {len(readings)} of {repeats} repeats)" if len(readings) < repeats else ""
    last = float(np.exp(np.median(np.log([reading.last for reading in readings]))))
    if sum(reading.turned and not reading.rises for reading in readings) * 2 > len(readings):
        top = (
            f"The {signal} is lowest at a rate of {lowest:.2g} and does not rise before the sweep ends at {last:.2g}; "
            "if training should not break down at so low a rate, check the data"
        )
    elif sum(reading.turned for reading in readings) * 2 > len(readings):
        top = f"The {signal} is lowest at a rate of {lowest:.2g} and rises beyond it"
    else:
        top = f"The {signal} is lowest at a rate of {lowest:.2g} and hardly rises up to the highest rate"
    robust = f"has the lowest expected regret if the true optimum is off by a factor of about {np.exp(DOUBT):.2g}"
    seen: tuple[str, ...] = (f"{top}{kept}; {alone:.2g} {robust}.",)
    if any(reading.ordered for reading in readings):
        seen = (*seen, f"The order of the data moves the {signal}, too: its values at a rate of zero were subtracted.")
    if probes is not None:
        tried = float(probes[0][np.argmin(ends(probes[1]))])
        seen = (
            *seen,
            f"The probe cycle with a peak of {tried:.2g} ended lowest; sweep and probe cycles together give {max_lr}.",
        )
    if base_lr > _short(max_lr / CYCLING):
        return (
            *seen,
            f"Learning starts late, at {onset:.2g}: the lower bound is set there, not at a quarter of the upper bound.",
        )
    return (*seen, f"Learning starts at {onset:.2g}; the lower bound is a quarter of the upper bound.")
