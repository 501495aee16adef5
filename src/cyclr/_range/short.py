"""Bounds from a short sweep with reference batches, whose loss is evaluated before each step.

The losses of a sweep come from other batches at each step, and in 30 to 60 steps a fall is hardly larger than that
noise. The loss of the same batches has no such noise: it shows the rate at which training has lost again what it had
gained, however few the steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite, isinf, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclr._range.bounds import Inconclusive, refusal
from cyclr._range.ramp import HIGH
from cyclr._range.reading import DOUBT, FALLS, LEARNING, MARGIN, TYPICAL, floor_of, higher, too_low, typical

Array = NDArray[np.float64]

LEAST = 12  #: minimum number of evaluations
# The loss of a network that hardly learns still jitters, in reduced precision most, and drifts: it fell by 5 times its
# jitter, and the recorded curves of all tasks by 100 times and more.
PLAIN = 20.0  #: minimum fall, relative to the jitter of the first third
# A network that has come to give the same answer to everything keeps that loss at rates that are 10,000 times apart; on
# the recorded curves it stays within a tenth of its fall over a factor of 150 at most.
NEAR, WIDE = 0.1, log(1000)  #: a loss that stays so near to its lowest over rates so far apart is at a floor
LITTLE = 0.01  #: a rise by this share of the start is no divergence
ROUNDING = 1.2e-6  #: a fall by less than this share of the start may be one of ten single-precision roundings
OPENING = 6  #: one in this many evaluations, the first ones; the start is their median
USUAL_RATE, USUAL_DENSITY, USUAL_STEPS = 0.135, 1.86, 400  #: a lost rate, steps per factor of e, steps of training
USUAL_WEIGHTS = 20_000  #: whose lost rate under Adam is USUAL_RATE
FEW, FEWER = 16, 0.75  #: answers for steps of fewer examples are lowered by what is missing, to this power
STABLE = 3.0  #: an answer without momentum stays this factor below where its steps are stable
ABSURD = 1000.0  #: times the loss of the other batches: such a batch is bad
ALMOST = 0.1  #: a loss that was below this share of its start and then no number at once was solved
EXPLODES = 10.0  #: times the loss before a step: at such growth the loss is that along the sharpest direction
SCATTER = 0.25  #: standard deviation of a log bound over repeats
METHOD = 0.5  #: standard deviation of the log ratio between the nearest good peak and an answer, over tasks


@dataclass(frozen=True, slots=True)
class Law:
    """How the best peak follows from the lost rate under one kind of optimizer.

    Args:
        share: Of a usual lost rate that is the best peak, for USUAL_STEPS of training after a sweep of USUAL_DENSITY.
        pull: Lost rates vary more over tasks than best peaks do: as their ratio to the usual one to this power ...
        far: ... up to this ratio.
        slower: A slow sweep loses its gain at a lower rate, to this power of its density.
        longer: The best peak falls as the length of the training to this power ...
        shortest: ... from so many steps on.
    """

    share: float
    pull: float
    far: float
    slower: float
    longer: float
    shortest: int = 60  #: shorter trainings were not measured


# SGD without momentum breaks down at once where a rate is too high; momentum gathers for steps, while a sweep goes on
# to higher rates. So its best peak is nearer to the lost rate, and it is the same for 60 and for 400 steps.
MOMENTUM = Law(1 / 7, pull=0.4, far=20.0, slower=0.5, longer=0.3)
PLAIN_SGD = Law(4 / 7, pull=0.4, far=40.0, slower=0.5, longer=0.3, shortest=400)
# A step of Adam moves each weight by about the rate, and all of them by the rate times the root of their number. So
# usual rates fall as the root of the number of weights.
ADAPTIVE = Law(1 / 12, pull=0.6, far=20.0, slower=0.0, longer=0.15)
# The loss of one layer is convex: a rate too high does no lasting harm, and its sharpness stays what the sweep met.
SINGLE_LAYER = Law(1 / 3, pull=0.0, far=1.0, slower=0.0, longer=0.0)


@dataclass(frozen=True, slots=True)
class StepFacts:
    """What is known of the steps of a sweep.

    Args:
        examples: How many a step takes; 0 if unknown.
        in_turn: How many batches they take in turn; 0 for new ones.
        plain_sgd: Whether the optimizer is SGD without momentum.
        weights: How many the optimizer trains, where its steps are about as large as the rate, as Adam's are; 0 for
            other optimizers, or if unknown.
        single_layer: Whether a matrix and its bias are all that is trained.
    """

    examples: int = 0
    in_turn: int = 0
    plain_sgd: bool = False
    weights: int = 0
    single_layer: bool = False

    @property
    def law(self) -> Law:
        """How the best peak follows."""
        if self.plain_sgd:
            return PLAIN_SGD
        if self.single_layer:
            return SINGLE_LAYER
        return ADAPTIVE if self.weights else MOMENTUM


@dataclass(frozen=True, slots=True)
class ShortReading:
    """What the loss of the reference batches shows; all but the losses are log rates."""

    lost: float  #: where the loss is back at its start, or the sweep's last
    back: bool  #: whether it is
    ended: bool  #: whether it is no number there
    lowest: float
    onset: float  #: where learning starts
    floor: float  #: from where the loss is at its floor; infinite if it is not
    start: float = 0.0  #: the loss before any training
    stable: float = inf  #: up to where steps without momentum are stable, by how the loss explodes; else infinite


def read(rates: Array, values: Array, *, ended: bool) -> ShortReading:
    """The reading of one sweep, up to its last finite value; `ended` if that is before its highest rate.

    Raises:
        Inconclusive: If the loss does not fall.
    """
    if len(values) < LEAST:
        why = f"the reference batches were evaluated only {len(values)} times, {LEAST} are needed: use more steps"
        raise refusal(f"{why}, or start lower", typical(rates))
    logs, start = np.log(rates), opening(values)
    lowest = int(np.argmin(values))
    gain = start - float(values[lowest])
    third = values[: len(values) // 3]
    needed = max(PLAIN * jitter(third), ROUNDING * abs(start))
    falls = gain > needed
    # The size of a divergence says nothing about where the gain was lost.
    risen = np.minimum(values, start + max(gain, needed))
    if falls:
        above = np.flatnonzero(values > start)
        above = above[above > lowest]
    else:  # noise may lie above now and then: from where on it stays there
        below = np.flatnonzero(values <= start + max(needed, LITTLE * abs(start)))
        above = np.arange(below[-1] + 1, len(values))
    back = len(above) > 0
    lost = _crossing(logs, risen, int(above[0]), start) if back else float(logs[-1])
    if not falls:
        why = "does not fall at any rate: it is flat, rising or dominated by noise"
        advice = "use larger batches (or accumulate), or leave budget out for a test of full size"
        if not (back or ended or rates[-1] >= HIGH):
            advice = f"{advice}, or use {higher(rates)}"
        raise refusal(f"the loss of the reference batches {why}; {advice}", float(np.exp(lost)) / TYPICAL)
    if not (back or ended) and still_falling(rates, values):
        raise too_low("loss of the reference batches", rates)
    onset = float(logs[int(np.flatnonzero(values < start - LEARNING * gain)[0])])
    level = float(logs[int(np.flatnonzero(values <= values[lowest] + NEAR * gain)[0])])
    floor = min(log(floor_of(rates, values, start)), level if lost - level > WIDE else np.inf)
    if ended and not back and values.min() >= 0 and lowest >= len(values) - 2:
        # such as the logarithm of a probability that has become zero: no rise shows which rates are too high
        solved = np.flatnonzero(values <= ALMOST * start)
        floor = min(floor, float(logs[solved[0]]) if len(solved) else np.inf)
    return ShortReading(
        lost, back, ended and not back, float(logs[lowest]), onset, floor, start, stable_up_to(rates, values, start)
    )


def stable_up_to(rates: Array, values: Array, start: float) -> float:
    """The log of the highest rate at which gradient descent is stable; infinite if the loss does not explode.

    Near a minimum of curvature c, a step at rate r multiplies the distance along that direction by 1 - r c, and the
    loss that it causes by (r c - 1)^2. So a loss that a step multiplies by g shows c = (1 + sqrt(g)) / r, and rates are
    stable below 2 / c. A loss that was almost nothing may rise by as much for other reasons.

    >>> rates = np.array([0.1, 0.3, 0.9, 2.7])
    >>> values = np.array([1.0, 0.5, 0.4, 0.4 * (0.9 * 10 - 1) ** 2])
    >>> round(float(np.exp(stable_up_to(rates, values, 1.0))), 3)
    0.2
    """
    before, after = values[:-1], values[1:]
    grew = after > EXPLODES * before
    explodes = np.flatnonzero((before > ALMOST * abs(start)) & grew)
    if not len(explodes):
        return inf
    first = explodes[0]  # what follows is far from any minimum
    stable = 2 * rates[first] / (1 + np.sqrt(after[first] / before[first]))
    if first and not grew[first - 1]:
        # Were it sharper, the step before would have exploded: the loss is no parabola, as where layers multiply.
        stable = max(stable, 2 * rates[first - 1] / (1 + np.sqrt(EXPLODES)))
    return log(stable)


def jitter(values: Array) -> float:
    """Standard deviation of the noise around what falls or rises steadily: from second differences."""
    return 1.4826 * float(np.median(np.abs(np.diff(values, 2)))) / float(np.sqrt(6))


def opening(values: Array) -> float:
    """The loss before any training."""
    return float(np.median(values[: max(3, len(values) // OPENING)]))


def still_falling(rates: Array, values: Array) -> bool:
    """Whether the loss of the reference batches is about lowest at the end of a sweep, and not on a plateau there."""
    known = np.isfinite(values)
    if known.sum() < LEAST or int(np.argmin(values[known])) < known.sum() - 2:
        return False
    logs, seen = np.log(rates[known]), values[known]
    before = float(np.interp(logs[-1] - DOUBT, logs, seen))
    return before - seen.min() > FALLS * (opening(seen) - seen.min()) > 0


def best(reading: ShortReading, density: float, budget: int, steps: StepFacts = StepFacts()) -> float:
    """The log of the best peak, from the rate at which the gain is lost.

    log best = log(share lost) - pull log(lost / usual) + slower log(density / USUAL_DENSITY)
               - longer log(budget / USUAL_STEPS) + FEWER log(min(1, examples / FEW))

    usual = USUAL_RATE, or USUAL_RATE sqrt(USUAL_WEIGHTS / weights) where steps are about as large as the rate

    It stays a factor of MARGIN below the lost rate, and without momentum STABLE below where steps are stable. The
    constants are those that lose least over the tasks in docs/bounds.md.

    Args:
        reading: What was seen.
        density: Steps for each factor of e of the rate.
        budget: Steps of the training.
        steps: What is known of the steps.
    """
    law = steps.law
    beyond = min(max(reading.lost - usual_rate(steps.weights), -log(law.far)), log(law.far))
    slower, longer = log(density / USUAL_DENSITY), log(max(budget, law.shortest) / USUAL_STEPS)
    peak = reading.lost + log(law.share) - law.pull * beyond + law.slower * slower - law.longer * longer
    return min(peak + log(noisy(steps.examples)), reading.lost - log(MARGIN), ceiling(reading, steps))


def ceiling(reading: ShortReading, steps: StepFacts) -> float:
    """The log rate that no answer exceeds, whatever probe cycles show."""
    stable = reading.stable - log(STABLE) + log(noisy(steps.examples)) if steps.plain_sgd else inf
    return min(stable, reading.floor)


def usual_rate(weights: int) -> float:
    """The log of a usual lost rate; `weights` as in `StepFacts`."""
    return log(USUAL_RATE) - (log(weights / USUAL_WEIGHTS) / 2 if weights else 0.0)


def examples_in(arrays: Sequence[Any]) -> int:
    """The number of labels in a batch, such as one for each token, or else of its examples; 0 if unknown.

    Args:
        arrays: Those of the batch, of any library; the last one may be the labels, which are integers. Negative ones
            are ignored, as losses do.
    """
    parts = [array for array in arrays if getattr(array, "ndim", 0)]
    if not parts:
        return 0
    last = parts[-1]
    if str(last.dtype).endswith(("int32", "int64")) and (len(parts) > 1 or last.ndim > 1):
        return int((last >= 0).sum())
    return int(parts[0].shape[0])


def is_single_layer(shapes: Iterable[Sequence[int]]) -> bool:
    """Whether weights of these shapes are those of one layer: a matrix, or the like of a convolution, and its bias.

    >>> is_single_layer([(10, 64), (10,)]), is_single_layer([(10, 64)]), is_single_layer([(10, 64), (64,), (10,)])
    (True, False, False)
    """
    bias, *matrix = sorted(shapes, key=len) or [()]
    return len(matrix) == 1 and len(bias) == 1 < len(matrix[0]) and bias[0] in matrix[0]


def bad_one(losses: Sequence[float]) -> int | None:
    """The place of a loss that is not finite, or absurd beside all others; None if there is none."""
    sizes = [abs(loss) if isfinite(loss) else inf for loss in losses]
    place = max(range(len(sizes)), key=sizes.__getitem__)
    others = max(sizes[:place] + sizes[place + 1 :], default=0.0)
    return place if isinf(sizes[place]) or 0 < ABSURD * others < sizes[place] else None


def noisy(examples: int) -> float:
    """The factor for steps of few examples: in a whole training they become unstable at rates that a sweep survives."""
    return min(1.0, examples / FEW) ** FEWER if examples else 1.0


def evidence(readings: list[ShortReading], max_lr: float, steps: StepFacts, *, probed: bool) -> tuple[str, ...]:
    """What was observed from the lowest loss on, in sentences; `probed` if probe cycles decided, too."""
    lowest, lost = (float(np.exp(np.median([getattr(one, name) for one in readings]))) for name in ("lowest", "lost"))
    times = f"{lost / max_lr:.2g} times max_lr"
    if sum(one.back for one in readings) * 2 > len(readings):
        seen = f"is lowest at a rate of {lowest:.2g} and back at its start at {lost:.2g}, {times}"
    elif sum(one.back or one.ended for one in readings) * 2 > len(readings):
        seen = f"is lowest at a rate of {lowest:.2g} and no number beyond {lost:.2g}, {times}"
    else:
        seen = f"is lowest at a rate of {lowest:.2g} and not back at its start when the sweep ends, at {lost:.2g}"
    length = "" if steps.law is SINGLE_LAYER else " and the length of the training"
    what = "the first peak to try" if probed else "max_lr"
    follows = f"{what} follows from that rate{length}, as measured on other tasks"
    batches = f"{steps.in_turn} batches that the steps took in turn" if steps.in_turn else "two batches set aside"
    told = [f"The loss of {batches} {seen}; {follows}.", *_told_of(steps)]
    stable = float(np.exp(np.median([one.stable for one in readings])))
    if steps.plain_sgd and max_lr > 0.99 * stable / STABLE * noisy(steps.examples):
        told.append(f"How fast the loss explodes shows that steps without momentum diverge above {stable:.2g}.")
    floor = float(np.exp(np.median([one.floor for one in readings])))
    if np.isfinite(floor) and max_lr > 0.99 * floor:
        told.append(f"The loss is at its floor from a rate of {floor:.2g} on: higher rates have proved nothing.")
    return tuple(told)


def _told_of(steps: StepFacts) -> Iterator[str]:
    """What was made of the optimizer and of the size of its batches, in sentences."""
    if steps.plain_sgd:
        yield "The optimizer is SGD without momentum, whose best rates lie nearer to that rate than others'."
    elif steps.single_layer:
        yield "A single layer is trained, of which the loss is convex: its best rates lie near that rate."
    elif steps.weights:
        usual = f"{ADAPTIVE.share * exp(usual_rate(steps.weights)):.2g}"
        moved = f"The optimizer moves each of {steps.weights:,} weights by about the rate"
        yield f"{moved}: the more there are, the lower the best peaks, {usual} being usual for so many."
    if (share := noisy(steps.examples)) < 1:
        plural = "example" if steps.examples == 1 else "examples"
        yield f"A step of {steps.examples} {plural} is noisy: max_lr is {share:.2g} of what it is for larger ones."


def readings_of(rates: Array, rows: Array) -> tuple[list[ShortReading], list[Inconclusive]]:
    """What the sweeps show, and the refusals of those that show nothing."""
    readings: list[ShortReading] = []
    refusals: list[Inconclusive] = []
    for row in rows:
        known = np.isfinite(row)
        try:
            readings.append(read(rates[known], row[known], ended=not known[-1]))
        except Inconclusive as unclear:
            refusals.append(unclear)
    return readings, refusals


def _crossing(logs: Array, values: Array, place: int, level: float) -> float:
    """The log rate between `place - 1` and `place` at which a line between the values crosses the level."""
    if place == 0:
        return float(logs[0])
    before, after = float(values[place - 1]), float(values[place])
    share = (level - before) / (after - before) if after > before else 1.0
    return float(logs[place - 1] + min(max(share, 0.0), 1.0) * (logs[place] - logs[place - 1]))
