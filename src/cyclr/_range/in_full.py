"""A range test that is as long as it must be."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from cyclr._range.bounds import Inconclusive
from cyclr._range.curve import Curve

_log = logging.getLogger("cyclr")


def enough(
    make: Callable[[bool], Curve],
    budget: Callable[[], int],
    *,
    steps: int,
    signal: str = "loss",
    other: Callable[[], Curve] | None = None,
) -> Curve:
    """A range test within the budget, and where that one shows nothing, another kind of test or one of full size.

    Args:
        make: Makes a test: within the budget, or of full size if it is told True.
        budget: Says the steps of the training, once there was a test.
        steps: Steps of a sweep of full size.
        signal: The signal that the bounds are read from.
        other: Makes a short test with reference batches, where that is possible. It costs a fraction of a test of full
            size, and may answer where the losses of the steps, which come from other batches each time, do not.

    Returns:
        The curve, whose tuning cost is that of all tests. If none is conclusive, the last but the short one.
    """
    curve = make(False)
    if other is not None and not curve.reference.size and _inconclusive(curve, budget(), signal):
        last = other()
        if not _inconclusive(last, budget(), signal):
            return joined(last, curve)
        curve = joined(curve, last)
    if too_short(curve, budget(), steps=steps, signal=signal):
        return joined(make(True), curve)
    return curve


def too_short(curve: Curve, budget: int, *, steps: int, signal: str = "loss") -> bool:
    """Whether a curve of less than full size is inconclusive."""
    if len(curve.rates) >= steps or not (unclear := _inconclusive(curve, budget, signal)):
        return False
    _log.debug("A range test within 15 %% of the training shows nothing (%s): it is made in full.", unclear)
    return True


def _inconclusive(curve: Curve, budget: int, signal: str) -> Inconclusive | None:
    """Why the curve is inconclusive; None if it is not."""
    try:
        curve.bounds(signal, budget=budget)
    except Inconclusive as unclear:
        return unclear
    return None


def joined(curve: Curve, before: Curve) -> Curve:
    """A curve that costs what the test before it cost, too."""
    return replace(curve, earlier_steps=curve.earlier_steps + before.tuning_cost)
