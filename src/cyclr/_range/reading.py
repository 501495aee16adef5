"""From losses along a ramp to both bounds. The constants come from the landscapes in docs/bounds.md."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cyclr._range.bounds import Bounds, Inconclusive, probability
from cyclr._range.smooth import calm, smoother

Array = NDArray[np.float64]

LEAST = 12  #: points below which a ramp says nothing
MOST = 300  #: points that are smoothed; longer ramps are averaged in blocks first
CLEAR = 4.0  #: a fall counts from this many standard errors on: 95 % of ramps of mere noise stay below
LOST = 0.2  #: the edge is where this share of what was gained is lost again
BACK_OFF = 3.5  #: the upper bound is the edge divided by this
PROBE_BACK_OFF = 1.4  #: the best peak of short probe cycles is this much too high for a longer training
CYCLING = 4.0  #: the lower bound is the upper one divided by this (the paper's advice) ...
LEARNING = 0.2  #: ... or, if that is higher, the rate at which this share of the gain is made
SCATTER = 0.3  #: standard deviation of the log of an answer over initial weights and data orders: typical of all tasks
RESAMPLES = 40
BLOCK = 5  #: neighbouring residuals resampled together


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one ramp says, in log rates."""

    edge: float
    onset: float
    lowest: float
    turned: bool
    spread: float


def find(
    rates: Array, values: Array, *, tried: float | None, cost: int, level: float, signal: str, log: bool
) -> Bounds:
    """Bounds from a signal of which less is better; rows are repeats, NaN beyond the end of a repeat.

    `tried` is the best peak of probe cycles, None without any.

    Raises:
        Inconclusive: If most repeats do not fall clearly, or fall until the very end.
    """
    probability("level", level)
    readings: list[_Reading] = []
    refusals: list[Inconclusive] = []
    for row in values:
        known = np.isfinite(row)
        try:
            readings.append(_read(rates[known], row[known], signal=signal, log=log))
        except Inconclusive as refusal:
            refusals.append(refusal)
    if len(refusals) >= len(readings):
        raise (
            refusals[0]
            if len(values) == 1
            else Inconclusive(f"in {len(refusals)} of {len(values)} repeats {refusals[0]}")
        )
    edges = np.array([reading.edge for reading in readings])
    top = float(np.median(edges)) - np.log(BACK_OFF)
    if tried is not None:
        # The ramp knows where learning breaks, the probes what the anneal mends: each errs in its own way.
        top = (top + np.log(tried / PROBE_BACK_OFF)) / 2
    # An answer scatters over initial weights, which repeats do not change, and over batches, which they average out.
    between = edges.var(ddof=1) if len(edges) > 1 else readings[0].spread ** 2
    scatter = np.sqrt(SCATTER**2 + between / len(edges))
    # The difference of two answers scatters more than one of them.
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
        _evidence(readings, len(values), signal, tried, max_lr, base_lr, onset),
        cost,
    )


def _short(rate: float) -> float:
    """Three digits: no range test knows more, and people read and copy these."""
    return float(f"{rate:.3g}")


def _read(rates: Array, values: Array, *, signal: str, log: bool) -> _Reading:
    """One ramp, up to the end of its evidence."""
    if len(values) < LEAST:
        raise Inconclusive(
            f"the {signal} was measured at only {len(values)} rates, {LEAST} are needed: use more steps, or start lower"
        )
    rates, values = _thinned(rates, values)
    head = max(3, len(values) // 10)
    # A straight ramp is at rates that teach after a few steps; a log ramp spends a good part before them.
    opening = head if log else max(3, len(values) // 50)
    start = float(np.median(values[:opening]))
    calmed = calm(values)
    along = np.convolve(calmed, np.full(head, 1 / head), "valid")  # means of neighbours
    errors = _fall_in_errors(calmed, along, opening)
    if errors < CLEAR:
        raise Inconclusive(
            f"the {signal} does not fall clearly: {max(errors, 0):.1f} standard errors, {CLEAR:.0f} are needed; "
            "it is flat, rising, or drowned in noise: start lower, use more steps or larger batches"
        )
    # How far it blows up is no evidence; unbounded it would rule the smoothing.
    calmed = np.minimum(calmed, start + max(start - along.min(), 0))
    positions = np.log(rates) if log else rates
    matrix = smoother(positions, calmed)
    line = matrix @ calmed
    edge, onset, turned = _places(line, start)
    if not turned and np.argmin(line) >= len(line) - head:
        raise Inconclusive(
            f"the {signal} still falls at the highest rate, {rates[-1]:.2g}: use a ramp that goes higher"
        )
    residuals, rng = calmed - line, np.random.default_rng(0)
    again = [_places(matrix @ (line + _resampled(residuals, rng)), start)[0] for _ in range(RESAMPLES)]
    logs = np.log(np.maximum(rates, np.finfo(float).tiny))
    lowest = float(rates[np.argmin(line)])
    return _Reading(float(logs[edge]), float(logs[onset]), lowest, turned, float(np.std(logs[again])))


def _places(line: Array, start: float) -> tuple[int, int, bool]:
    """Where LOST of the gain is lost again, where LEARNING of it was made, and whether the line turned up at all."""
    bottom = int(np.argmin(line))
    gain = start - line[bottom]
    above = np.flatnonzero(line[bottom:] > line[bottom] + LOST * gain)
    edge = bottom + int(above[0]) - 1 if len(above) else len(line) - 1
    made = np.flatnonzero(line < start - LEARNING * gain)
    return edge, int(made[0]) if len(made) else bottom, bool(len(above))


def _fall_in_errors(values: Array, along: Array, opening: int) -> float:
    """The fall from the beginning to the lowest mean of neighbours, in standard errors."""
    first, together = values[: 2 * opening], len(values) - len(along) + 1
    jumps = np.abs(np.diff(values))
    noise = max(1.4826 * float(np.median(jumps)) / np.sqrt(2), 1e-12 * float(np.ptp(values)))
    fall = float(first.mean() - along.min())
    return fall / (noise * np.sqrt(1 / len(first) + 1 / together)) if noise > 0 else 0.0


def _resampled(residuals: Array, rng: np.random.Generator) -> Array:
    """As many residuals, in random blocks of neighbours."""
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
    tried: float | None,
    max_lr: float,
    base_lr: float,
    onset: float,
) -> tuple[str, ...]:
    """What was seen, in sentences."""
    edge = float(np.exp(np.median([reading.edge for reading in readings])))
    lowest = float(np.exp(np.median(np.log([reading.lowest for reading in readings]))))
    kept = f" ({len(readings)} of {repeats} repeats say so)" if len(readings) < repeats else ""
    if sum(reading.turned for reading in readings) * 2 > len(readings):
        top = f"The {signal} is lowest at a rate of {lowest:.2g} and has lost {LOST:.0%} of its gain at {edge:.2g}"
    else:
        top = f"The {signal} is lowest at a rate of {lowest:.2g} and has hardly risen at the highest, {edge:.2g}"
    if tried is None:
        seen = (f"{top}{kept}; the upper bound backs off from there by a factor of {BACK_OFF}.",)
    else:
        middle = f"the upper bound is the geometric mean of {edge / BACK_OFF:.2g} and {tried / PROBE_BACK_OFF:.2g}"
        seen = (f"{top}{kept}.", f"Of the probe cycles the one to {tried:.2g} ended lowest; {middle}.")
    if base_lr > _short(max_lr / CYCLING):
        return (
            *seen,
            f"Learning starts late, at {onset:.2g}: the lower bound is there, not at a quarter of the upper.",
        )
    return (*seen, f"Learning starts at {onset:.2g}; the lower bound is a quarter of the upper.")
