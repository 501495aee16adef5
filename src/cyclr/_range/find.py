"""Bounds from all sweeps and probe cycles together, with their intervals and the evidence."""

from __future__ import annotations

from math import log as ln
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclr._range import short
from cyclr._range.bounds import Bounds, Inconclusive, probability, refusal
from cyclr._range.doubt import doubts, would_tell
from cyclr._range.fall import CLEAR, noise
from cyclr._range.horizon import LONG, too_fast, too_long
from cyclr._range.probe import DOUBT as PROBE_DOUBT
from cyclr._range.probe import ends, probed, tail
from cyclr._range.reading import DOUBT, Reading, by_quartiles, read, swept
from cyclr._range.risk import grid

Array = NDArray[np.float64]

CYCLING = 4.0  #: the lower bound is the upper one divided by this (the paper's advice) ...
SCATTER = 0.08  #: standard deviation of a log bound over initial weights: at least this ...
INITIAL = 3.0  #: ... and this multiple of the variance due to the noise in a curve (a typical value)
PRIOR = 2  #: how many repeats from new weights the typical variance counts for
METHOD = 0.35  #: standard deviation of the log ratio between the nearest good peak and an answer, over tasks
WIDEST = 10.0  #: a 90 % interval over more than this factor is no answer
NEAR = 1.0  #: log ratio from the answer of a short sweep at which probe cycles count fully
CLIFF = 2.0  #: probe cycles do not lead nearer than this factor to a rate at which the loss became unstable


def find(
    rates: Array,
    values: Array,
    *,
    control: Array | None = None,
    reference: Array | None = None,
    probes: tuple[Array, Array] | None,
    steps: int,
    tuning_cost: int,
    level: float,
    signal: str,
    log: bool,
    budget: int | None = None,
    anew: bool = False,
    made_by: short.StepFacts = short.StepFacts(),  # noqa: B008 (frozen)
) -> Bounds:
    """Bounds from a signal for which lower is better; rows are repeats, NaN after the end of a repeat.

    `control` are the values of the same batches at a rate of zero, where they were measured: a fall that only follows
    the order of the data is no evidence. `reference` are the losses of the reference batches, or those of rounds of
    batches that are taken in turn, from which alone the answer then comes. `probes` are the peaks and the losses of
    probe cycles, or None. `steps` is the length of a sweep, of which `values` may hold only a few points. `budget` is
    that of the training to come. `anew` says whether repeats began from new weights; `made_by` what is known of the
    steps.

    Raises:
        Inconclusive: If most repeats do not fall clearly, or fall until the end.
    """
    probability("level", level)
    longer, made = too_long(budget), {"level": level, "tuning_cost": tuning_cost, "budget": budget}
    if reference is not None:
        return _from_reference(rates, (values, reference, probes), made, anew=anew, made_by=made_by)
    try:
        readings = _readings(rates, values, control, longer=longer, steps=steps, signal=signal, log=log)
    except Inconclusive as unclear:
        if probes is None:
            raise
        return _from_probes(rates, values, probes, unclear, made)
    tops = np.array([min(one.top, one.cap) for one in readings])
    top = float(np.median(tops))
    if probes is not None:
        top = _by_both(readings, probes, longer, _fast(rates, steps, log=log))
    # A bound varies with batches, which repeats average out, and with initial weights, which few repeats change.
    within = float(np.mean([reading.spread**2 for reading in readings]))
    between = float(tops.var(ddof=1)) if len(tops) > 1 else within
    scatter = float(np.sqrt(SCATTER**2 + INITIAL * within + between / len(tops)))
    if anew:
        scatter = _over_weights(tops, SCATTER**2 + (INITIAL + 1) * within)
    if probes is not None:  # they find the way back from a sweep that is far off
        scatter = min(scatter, PROBE_DOUBT)
    else:
        _check(readings, between, _rounded(np.exp(top)))
    max_lr = _rounded(np.exp(top))
    onset = float(np.exp(np.median([reading.onset for reading in readings])))
    base_lr = _lower(max_lr, onset)
    evidence = _evidence(readings, len(values), signal, probes, max_lr, base_lr, onset)
    if probes is None and signal == "loss" and log:  # probe cycles are judged by the training loss
        why = doubts(readings, steps, _width(float(np.hypot(METHOD, scatter))))
        evidence = (*evidence, *would_tell(why, steps, len(values), budget))
    evidence = (*evidence, *_begun(len(values), anew=anew))
    return _with_intervals(base_lr, max_lr, scatter, evidence, made)


def _by_both(readings: list[Reading], probes: tuple[Array, Array], longer: float, fast: float) -> float:
    """The log of the upper bound by sweeps and probe cycles together."""
    low, high = (np.log(probes[0][place]) for place in (0, -1))
    at = grid(min(readings[0].where[0], low), max(readings[0].where[-1], high))
    start = float(np.mean([reading.start for reading in readings]))
    top = float(at[np.argmin(probed(at, swept(at, readings, longer + fast), start, *probes, longer))])
    return min(top, float(np.log(_unstable(readings, probes) / CLIFF)))


def _check(readings: list[Reading], between: float, max_lr: float) -> None:
    """Refuse an answer that is known to no better than a power of ten.

    A few resamples of a noisy curve are far off, which says little: so here the quartiles count.
    """
    within = 2 * float(np.mean([reading.usual**2 for reading in readings]))
    repeats = between / len(readings) if len(readings) > 1 else 0.0
    _check_width(np.sqrt(METHOD**2 + SCATTER**2 + within + repeats), max_lr)


def _check_width(deviation: float, max_lr: float) -> None:
    """Refuse an answer whose logarithm has this standard deviation, if that is too much."""
    wide = _width(deviation)
    if wide > WIDEST:
        raise refusal(
            f"the upper bound is known only to within a factor of {wide:.2g} from lowest to highest: use more steps, "
            "repeats or larger batches, or effort='thorough'",
            max_lr,
        )


def _width(deviation: float) -> float:
    """The factor from one end of a 90 % interval to the other, for a standard deviation of the logarithm."""
    return float(np.exp(2 * NormalDist().inv_cdf(0.95) * deviation))


def _over_weights(tops: Array, usual: float) -> float:
    """Standard deviation of a log bound over weights, from those of several.

    Few repeats say little about how bounds differ: the typical variance, `usual`, counts as much as two of them. It is
    not divided by their number: tasks have outliers, and intervals for the median then covered too little.
    """
    number = len(tops)
    spread = float(tops.var(ddof=1)) if number > 1 else usual
    return float(np.sqrt((PRIOR * usual + (number - 1) * spread) / (PRIOR + number - 1)))


def _begun(repeats: int, *, anew: bool) -> tuple[str, ...]:
    """Which weights the sweeps began from."""
    if repeats == 1:
        return ()
    if anew:
        return (f"Each of the {repeats} sweeps began from new weights.",)
    return ("All sweeps began from the same weights: what they agree on is for these weights.",)


def _from_reference(
    rates: Array,
    seen: tuple[Array, Array, tuple[Array, Array] | None],
    made: dict[str, Any],
    *,
    anew: bool,
    made_by: short.StepFacts,
) -> Bounds:
    """Bounds from the loss of batches that stay the same, and from probe cycles, if there are any.

    `seen` are the losses of steps, of those batches, and what `find` calls `probes`.

    Raises:
        Inconclusive: If the loss of the batches does not fall in half of the sweeps, nor in a probe cycle.
    """
    values, rows, probes = seen
    readings, refusals = short.readings_of(rates, rows)
    if len(refusals) >= len(readings):
        if probes is None:
            raise refusals[0]
        return _from_probes(rates, values, probes, refusals[0], made)
    density, budget = (len(rates) - 1) / ln(rates[-1] / rates[0]), made["budget"] or LONG
    tops = np.array([short.best(one, density, budget, made_by) for one in readings])
    # One of several sweeps may lose its gain far too early, which moves the median little: so quartiles count. Sweeps
    # from the same weights evaluate the same batches, and so agree more than two range tests would.
    scatter = float(np.hypot(short.SCATTER, by_quartiles(tops) / np.sqrt(len(tops))))
    if anew:
        scatter = _over_weights(tops, short.SCATTER**2)
    top = float(np.median(tops))
    if probes is None:
        _check_width(float(np.hypot(short.METHOD, scatter)), _rounded(np.exp(top)))
    else:
        highest = float(np.median([short.ceiling(one, made_by) for one in readings]))
        top, scatter = min(_with_probes(top, readings, probes, budget), highest), min(scatter, PROBE_DOUBT)
    max_lr = _rounded(np.exp(top))
    onset = float(np.exp(np.median([one.onset for one in readings])))
    base_lr = _lower(max_lr, onset)
    evidence = short.evidence(readings, max_lr, made_by, probed=probes is not None)
    if probes is not None:
        evidence = (*evidence, _told_of(probes, max_lr))
    evidence = (*evidence, _started(onset, base_lr, max_lr), *_begun(len(rows), anew=anew))
    return _with_intervals(base_lr, max_lr, scatter, evidence, made, method=short.METHOD)


def _with_probes(top: float, readings: list[short.ShortReading], probes: tuple[Array, Array], budget: int) -> float:
    """The log of the upper bound by short sweeps, whose answer is `top`, and probe cycles together."""
    peaks, levels = np.log(probes[0]), ends(probes[1])
    start = float(np.mean([one.start for one in readings]))
    if levels.min() < start:  # short cycles that improve nothing say nothing
        at = grid(min(top, peaks[0]) - NEAR, max(top, peaks[-1]) + NEAR)
        alone = np.minimum(((at - top) / NEAR) ** 2, 1.0)
        top = float(at[np.argmin(probed(at, alone, start, *probes, too_long(budget)))])
    return min(top, float(peaks[~np.isfinite(levels)].min(initial=np.inf)) - ln(CLIFF))


def _told_of(probes: tuple[Array, Array], max_lr: float) -> str:
    """What the probe cycles showed, in a sentence."""
    tried = float(probes[0][np.argmin(ends(probes[1]))])
    return f"The probe cycle with a peak of {tried:.2g} ended lowest; sweep and probe cycles together give {max_lr}."


def _with_intervals(
    base_lr: float,
    max_lr: float,
    scatter: float,
    evidence: tuple[str, ...],
    made: dict[str, Any],
    *,
    method: float = METHOD,
) -> Bounds:
    """Bounds with their intervals; `scatter` is the standard deviation of a log bound over repeats."""
    best = float(np.hypot(method, scatter))
    # The difference of two bounds varies more than each of them.
    repeat, about = (NormalDist().inv_cdf(0.5 + made["level"] / 2) * one for one in (np.sqrt(2) * scatter, best))

    def around(half: float) -> dict[str, tuple[float, float]]:
        rates = {"base": base_lr, "max": max_lr}
        return {name: (_rounded(rate * np.exp(-half)), _rounded(rate * np.exp(half))) for name, rate in rates.items()}

    intervals: dict[str, Any] = {f"{name}_interval": pair for name, pair in around(about).items()}
    repeats: dict[str, Any] = {f"{name}_repeat": pair for name, pair in around(repeat).items()}
    return Bounds(base_lr, max_lr, evidence=evidence, **intervals, **repeats, **made)


def _from_probes(
    rates: Array, values: Array, probes: tuple[Array, Array], unclear: Inconclusive, made: dict[str, Any]
) -> Bounds:
    """Bounds from probe cycles alone, where no sweep shows a fall: such as of a network that is trained already.

    Raises:
        Inconclusive: If no cycle improves the loss clearly, either.
    """
    openings = [row[np.isfinite(row)][: max(3, len(row) // 5)] for row in values]
    start, deviation = float(np.mean([opening.mean() for opening in openings])), noise(openings[0])
    levels = ends(probes[1])
    shown = f"{probes[0][0]:.2g} to {probes[0][-1]:.2g}"
    error = deviation * np.sqrt(1 / len(openings[0]) + 1 / tail(probes[1].shape[1]))
    if not start - levels.min() > CLEAR * error:
        fallback = float(probes[0][0]) if unclear.fallback is None else min(unclear.fallback, float(probes[0][0]))
        raise refusal(f"{unclear}; and no probe cycle with a peak of {shown} improves it clearly", fallback)
    at = grid(np.log(probes[0][0]) - 2.5, np.log(probes[0][-1]) + 1.5)
    ended = np.array([rates[np.isfinite(row)][-1] for row in values])
    beyond = (at > np.log(np.median(ended))).astype(np.float64)
    max_lr = _rounded(np.exp(at[np.argmin(probed(at, beyond, start, *probes, too_long(made["budget"])))]))
    tried = float(probes[0][np.argmin(levels)])
    decided = (
        f"The sweep shows no clear fall, as of a network that is trained already: probe cycles with peaks of {shown} "
        f"decide; that of {tried:.2g} ended lowest, {start - levels.min():.2g} below the start."
    )
    evidence = (decided, "The lower bound is a quarter of the upper bound.")
    base_lr = _rounded(max_lr / CYCLING)
    return _with_intervals(base_lr, max_lr, PROBE_DOUBT, evidence, made)


def _readings(
    rates: Array, values: Array, control: Array | None, *, steps: int, signal: str, log: bool, longer: float
) -> list[Reading]:
    """What the repeats show, without those that show nothing; an error if that is half of them."""
    readings: list[Reading] = []
    refusals: list[Inconclusive] = []
    for number, row in enumerate(values):
        known = np.isfinite(row)
        still = None if control is None else control[number][known]
        if still is not None and not np.isfinite(still).all():
            still = None  # not measured for this repeat, or spoilt by a bad batch
        down = longer + _fast(rates, steps, log=log)
        how = {"steps": steps, "signal": signal, "log": log, "ended": not known[-1], "longer": down}
        try:
            readings.append(read(rates[known], row[known], still, **how))
        except Inconclusive as unclear:
            refusals.append(unclear)
    if len(refusals) < len(readings):
        return readings
    if len(values) == 1:
        raise refusals[0]
    raise refusal(f"in {len(refusals)} of {len(values)} repeats {refusals[0]}", refusals[0].fallback)


def _fast(rates: Array, steps: int, *, log: bool) -> float:
    return too_fast(float(rates[0]), float(rates[-1]), steps) if log else 0.0


def _rounded(rate: float) -> float:
    """Rounded to three digits: no range test is more precise, and users read and copy these."""
    return float(f"{rate:.3g}")


def _evidence(
    readings: list[Reading],
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
        seen = (*seen, _told_of(probes, max_lr))
    seen = (*seen, *_limits(readings, signal, max_lr, probes))
    return (*seen, _started(onset, base_lr, max_lr))


def _lower(max_lr: float, onset: float) -> float:
    """The lower bound."""
    return _rounded(max(max_lr / CYCLING, min(onset, max_lr / 2)))


def _started(onset: float, base_lr: float, max_lr: float) -> str:
    """Why the lower bound is where it is."""
    if onset > max_lr:
        passed = f"The sweep, which passes each rate once, learns from {onset:.2g} on, above max_lr"
        return f"{passed}: the lower bound is half of the upper bound, not a quarter of the upper bound."
    if base_lr > _rounded(max_lr / CYCLING):
        where = "set there" if base_lr >= _rounded(onset) else "half of the upper bound"
        return f"Learning starts late, at {onset:.2g}: the lower bound is {where}, not a quarter of the upper bound."
    return f"Learning starts at {onset:.2g}; the lower bound is a quarter of the upper bound."


def _unstable(readings: list[Reading], probes: tuple[Array, Array] | None) -> float:
    """The lowest rate at which the signal became unstable, in a sweep or a probe cycle; infinite if none did."""
    edges = [reading.edge for reading in readings]
    if probes is not None:
        edges += [float(peak) for peak, end in zip(probes[0], ends(probes[1]), strict=True) if not np.isfinite(end)]
    return min(edges)


def _limits(readings: list[Reading], signal: str, max_lr: float, probes: tuple[Array, Array] | None) -> tuple[str, ...]:
    """What bounds the answer from above: where the signal becomes unstable, and where it is at its floor."""
    told: tuple[str, ...] = ()
    if np.isfinite(edge := _unstable(readings, probes)):
        told = (f"The {signal} becomes unstable at {edge:.2g}, {edge / max_lr:.2g} times max_lr.",)
    floor = float(np.median([reading.floor for reading in readings]))
    if np.isfinite(floor) and probes is None:
        proved = "higher rates have proved nothing, and max_lr does not exceed it"
        told = (*told, f"The {signal} is at its floor from a rate of {floor:.2g} on: {proved}.")
    return told
