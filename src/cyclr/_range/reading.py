"""From losses along a ramp to both bounds. The constants come from the landscapes in docs/bounds.md."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cyclr._range.bounds import Bounds, Inconclusive, probability
from cyclr._range.probe import ends, probed
from cyclr._range.risk import grid, risk
from cyclr._range.smooth import calm, smoother

Array = NDArray[np.float64]

LEAST_RATE = 1e-7  #: of the highest rate: a straight ramp may begin at 0, which has no logarithm
LEAST = 12  #: points below which a ramp says nothing
MOST = 300  #: points that are smoothed; longer ramps are averaged in blocks first
CLEAR = 4.0  #: a fall counts from this many standard errors on: 98 % of ramps of mere noise stay below
DEEP = 20.0  #: times the noise at the bottom: what is far above that is compared by its logarithm
DOUBT = 1.0  #: what a ramp shows is right but for a factor whose logarithm has this standard deviation
LOST = 0.2  #: a curve that has lost this share of its gain again has turned
FALLS = 0.05  #: a curve that makes this share of its gain within its last factor of doubt still falls
CYCLING = 4.0  #: the lower bound is the upper one divided by this (the paper's advice) ...
LEARNING = 0.2  #: ... or, if that is higher, the rate at which this share of the gain is made
SCATTER = 0.08  #: the log of an answer scatters over initial weights by at least this standard deviation ...
INITIAL = 3.0  #: ... and by so many times the variance that the noise in a curve makes: typical, one curve cannot say
RESAMPLES = 40
BLOCK = 5  #: neighbouring residuals resampled together


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one ramp says, in log rates."""

    where: Array
    cost: Array  #: what each of `where` costs, from 0 to 1
    top: float
    start: float  #: the signal before any training
    onset: float
    lowest: float
    turned: bool
    spread: float


def find(
    rates: Array,
    values: Array,
    *,
    probes: tuple[Array, Array] | None,
    steps: int,
    cost: int,
    level: float,
    signal: str,
    log: bool,
) -> Bounds:
    """Bounds from a signal of which less is better; rows are repeats, NaN beyond the end of a repeat.

    `probes` are the peaks and the losses of probe cycles, None without any. `steps` are those of a ramp, of which
    `values` may hold a few.

    Raises:
        Inconclusive: If most repeats do not fall clearly, or fall until the very end.
    """
    probability("level", level)
    readings: list[_Reading] = []
    refusals: list[Inconclusive] = []
    for row in values:
        known = np.isfinite(row)
        try:
            readings.append(_read(rates[known], row[known], steps=steps, signal=signal, log=log, ended=not known[-1]))
        except Inconclusive as refusal:
            refusals.append(refusal)
    if len(refusals) >= len(readings):
        raise (
            refusals[0]
            if len(values) == 1
            else Inconclusive(f"in {len(refusals)} of {len(values)} repeats {refusals[0]}")
        )
    tops = np.array([reading.top for reading in readings])
    top = float(np.median(tops))
    if probes is not None:
        low, high = (np.log(probes[0][place]) for place in (0, -1))
        at = grid(min(readings[0].where[0], low), max(readings[0].where[-1], high))
        ramp = np.mean([risk(at, reading.where, reading.cost, doubt=DOUBT) for reading in readings], axis=0)
        start = float(np.mean([reading.start for reading in readings]))
        top = float(at[np.argmin(probed(at, ramp, start, *probes))])
    # An answer scatters over initial weights, which repeats do not change, and over batches, which they average out.
    noise = float(np.mean([reading.spread**2 for reading in readings]))
    between = float(tops.var(ddof=1)) if len(tops) > 1 else noise
    scatter = np.sqrt(SCATTER**2 + INITIAL * noise + between / len(tops))
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
        _evidence(readings, len(values), signal, probes, max_lr, base_lr, onset),
        cost,
    )


def _short(rate: float) -> float:
    """Three digits: no range test knows more, and people read and copy these."""
    return float(f"{rate:.3g}")


def _read(rates: Array, values: Array, *, steps: int, signal: str, log: bool, ended: bool) -> _Reading:
    """One ramp of so many steps, up to the end of its evidence; `ended` if that is before the end of its rates."""
    if len(values) < LEAST:
        raise Inconclusive(
            f"the {signal} was measured at only {len(values)} rates, {LEAST} are needed: use more steps, or start lower"
        )
    rates, values = _thinned(rates, values)
    head = max(3, len(values) // 10)
    # A straight ramp is at rates that teach after a few steps; a log ramp spends a good part before them.
    opening = head if log else max(1, max(3, steps // 50) * len(values) // steps)
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
    lowered, height = _lowered(calmed, along, start)
    matrix = smoother(positions, lowered)
    line = matrix @ lowered
    cost = _cost(line, height)
    lowest = int(np.argmin(line))
    if lowest == 0:
        raise Inconclusive(
            f"the {signal}, smoothed, is lowest at the first rate: drowned in noise; use more steps or larger batches"
        )
    turned = ended or bool((cost[lowest:] > LOST).any())
    logs = np.log(np.maximum(rates, rates[-1] * LEAST_RATE))
    # On a plateau the lowest point is anywhere; a curve falls if much is gained within the last factor of doubt.
    falls = np.interp(logs[-1] - DOUBT, logs, cost) > FALLS
    if falls and not turned and lowest >= len(line) - head:
        raise Inconclusive(
            f"the {signal} still falls at the highest rate, {rates[-1]:.2g}: use a ramp that goes higher"
        )
    residuals, rng = lowered - line, np.random.default_rng(0)
    again = [_top(logs, _cost(matrix @ (line + _resampled(residuals, rng)), height)) for _ in range(RESAMPLES)]
    made = np.flatnonzero(cost < 1 - LEARNING)
    onset = logs[made[0] if len(made) else lowest]
    return _Reading(
        logs, cost, _top(logs, cost), start, float(onset), float(rates[lowest]), turned, float(np.std(again))
    )


def _lowered(values: Array, along: Array, start: float) -> tuple[Array, float]:
    """Values and start as inverse hyperbolic sines above the lowest mean of neighbours, in units of the noise there.

    A loss that came down to next to nothing has been growing for long before that can be seen, but not in its
    logarithm; near the bottom, and where there is noise, this is a straight line.
    """
    bottom, together = int(along.argmin()), len(values) - len(along) + 1
    scale = max(DEEP * _noise(values[bottom : bottom + together]), 1e-12 * float(np.ptp(values)))
    return np.arcsinh((values - along.min()) / scale), float(np.arcsinh((start - along.min()) / scale))


def _cost(line: Array, height: float) -> Array:
    """Of what could be gained, the share that is not gained yet, and then the share of `height` that is lost again.

    `line` and `height`, the line's height at the start, are inverse hyperbolic sines: see `_lowered`.
    """
    bottom, values = int(np.argmin(line)), np.sinh(line)
    falling = (values - values[bottom]) / (np.sinh(height) - values[bottom])
    rising = (line - line[bottom]) / (height - line[bottom])
    return np.clip(np.where(np.arange(len(line)) > bottom, rising, falling), 0, 1)


def _top(where: Array, cost: Array) -> float:
    """The log rate at which it costs least to be wrong by a factor; beyond the ramp nothing is known to be gained."""
    at = grid(where[0], where[-1])
    return float(at[np.argmin(risk(at, where, cost, doubt=DOUBT))])


def _fall_in_errors(values: Array, along: Array, opening: int) -> float:
    """The fall from the beginning to the lowest mean of neighbours after it, in standard errors."""
    first, together = values[: 2 * opening], len(values) - len(along) + 1
    noise = max(_noise(values), 1e-12 * float(np.ptp(values)))
    fall = float(first.mean() - along[len(first) :].min())
    return fall / (noise * np.sqrt(1 / len(first) + 1 / together)) if noise > 0 else 0.0


def _noise(values: Array) -> float:
    """Standard deviation around a line, from the jumps between neighbours; spikes count little."""
    return 1.4826 * float(np.median(np.abs(np.diff(values)))) / np.sqrt(2)


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
    probes: tuple[Array, Array] | None,
    max_lr: float,
    base_lr: float,
    onset: float,
) -> tuple[str, ...]:
    """What was seen, in sentences."""
    alone = float(np.exp(np.median([reading.top for reading in readings])))
    lowest = float(np.exp(np.median(np.log([reading.lowest for reading in readings]))))
    kept = f" ({len(readings)} of {repeats} repeats say so)" if len(readings) < repeats else ""
    if sum(reading.turned for reading in readings) * 2 > len(readings):
        top = f"The {signal} is lowest at a rate of {lowest:.2g} and rises from there on"
    else:
        top = f"The {signal} is lowest at a rate of {lowest:.2g} and hardly rises up to the highest"
    seen: tuple[str, ...] = (
        f"{top}{kept}; at {alone:.2g} it costs least to be wrong by a factor of {np.exp(DOUBT):.2g}.",
    )
    if probes is not None:
        tried = float(probes[0][np.argmin(ends(probes[1]))])
        seen = (
            *seen,
            f"Of the probe cycles the one to {tried:.2g} ended lowest; with the ramp they speak for {max_lr}.",
        )
    if base_lr > _short(max_lr / CYCLING):
        return (
            *seen,
            f"Learning starts late, at {onset:.2g}: the lower bound is there, not at a quarter of the upper.",
        )
    return (*seen, f"Learning starts at {onset:.2g}; the lower bound is a quarter of the upper.")
