"""Whether the losses of a range test are what the optimizer minimises, and what follows for the bounds.

A step function returns a number, which need not be what it differentiates: minus a reward of which only a surrogate has
a gradient, an accuracy, or the loss of one side of a GAN. What it differentiates is seen, and both are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cyclr._range.bounds import Bounds, refusal

Array = NDArray[np.float64]

KINDS = ("", "one side", "other")  #: of a loss: minimised or unknown; one of several losses; not minimised at all
FEWEST = 12  #: steps that are compared at least
SAME = 1e-3  #: typical relative deviation of values that are the same but for a constant factor
TOGETHER = 0.45  #: two values go together from this rank correlation on, less one standard error of it
MOST = 4  #: losses of a step whose sums are tried


def kind_of(reported: Sequence[float], differentiated: Sequence[Sequence[float]], *, optimizers: int) -> str:
    """What the reported losses are.

    Args:
        reported: The loss that each step returned.
        differentiated: The values that each step differentiated, in order.
        optimizers: How many optimizers made steps.

    Returns:
        "" if the loss is what is differentiated, goes together with it, or nothing is known; "one side" if it is one of
        several losses of several optimizers, and the others do not go with it; "other" if it does not go together with
        anything that is differentiated.
    """
    usual = int(np.median([len(values) for values in differentiated])) if len(differentiated) else 0
    pairs = [(loss, parts) for loss, parts in zip(reported, differentiated, strict=True) if len(parts) == usual]
    kept = [(loss, *parts) for loss, parts in pairs if np.isfinite([loss, *parts]).all()]
    if not usual or len(kept) < FEWEST:
        return ""
    loss, *parts = np.array(kept).T
    if np.ptp(loss) == 0:
        return ""
    sets = [one for size in range(1, min(usual, MOST) + 1) for one in combinations(range(usual), size)]
    sums = {one: np.sum([parts[at] for at in one], axis=0) for one in [*sets, tuple(range(usual))]}
    own = [one for one, total in sums.items() if _same(loss, total)]
    if not own:
        return "" if any(_together(loss, total) for total in sums.values()) else "other"
    if optimizers < 2 or len(own[-1]) == usual:
        return ""
    rest = np.sum([part for at, part in enumerate(parts) if at not in own[-1]], axis=0)
    return "" if _together(loss, rest) else "one side"


def judged(bounds: Bounds, kind: str) -> Bounds:
    """Bounds from a loss of this kind.

    Raises:
        Inconclusive: If the loss is not minimised.
    """
    if kind == "other":
        what = "the step returns a value that it does not minimise, such as a reward or an accuracy"
        why = "rates at which that is best in a range test may ruin the training"
        advice = (
            "return the loss; or measure the value as a metric, HeldOut(batches, {'reward': (function, 'max')}), over "
            "more steps, and ask bounds('reward')"
        )
        raise refusal(f"{what}: {why}; {advice}", bounds.max_lr)
    if kind == "one side":
        told = (
            "The loss is one of several that optimizers lower against each other, such as that of one side of a GAN: "
            "max_lr is up to where they keep each other in check, not the best rate, and has no interval."
        )
        return replace(bounds, evidence=(*bounds.evidence, told), base_interval=None, max_interval=None)
    return bounds


def _same(one: Array, other: Array) -> bool:
    """Whether two values are the same at each step, but for a positive factor."""
    norm = float(np.linalg.norm(other))
    factor = float(one @ other) / norm**2 if norm > 0 else 0.0
    scale = np.maximum(np.abs(one), max(float(np.median(np.abs(one))), np.finfo(np.float64).tiny))
    return factor > 0 and float(np.median(np.abs(one - factor * other) / scale)) < SAME


def _together(one: Array, other: Array) -> bool:
    """Whether the values go together, and their changes from step to step.

    Whatever falls and rises once goes together with the other; a reward and its surrogate then change against one
    another.
    """
    needed = TOGETHER - 1 / np.sqrt(len(one))
    return min(_correlation(one, other), _correlation(np.diff(one), np.diff(other))) > needed


def _correlation(one: Array, other: Array) -> float:
    """Rank correlation; zero if one of the two is always the same."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    first, second = (np.argsort(np.argsort(values)) - (len(values) - 1) / 2 for values in (one, other))
    return float(first @ second / (first @ first))
