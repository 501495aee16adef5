"""A range test that is as long as it must be."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from cyclr._range.bounds import Inconclusive
from cyclr._range.curve import Curve

_log = logging.getLogger("cyclr")


def enough(make: Callable[[bool], Curve], budget: Callable[[], int], *, steps: int, signal: str = "loss") -> Curve:
    """A range test within the budget; if that is too short to show anything, one of full size after it.

    Args:
        make: Makes a test: within the budget, or of full size if it is told True.
        budget: Says the steps of the training, once there was a test.
        steps: Steps of a sweep of full size.
        signal: The signal that the bounds are read from.

    Returns:
        The curve, whose tuning cost is that of both.
    """
    curve = make(False)
    return joined(make(True), curve) if too_short(curve, budget(), steps=steps, signal=signal) else curve


def too_short(curve: Curve, budget: int, *, steps: int, signal: str = "loss") -> bool:
    """Whether a curve of less than full size is inconclusive."""
    if len(curve.rates) >= steps:
        return False
    try:
        curve.bounds(signal, budget=budget)
    except Inconclusive as unclear:
        _log.debug("A range test within 15 %% of the training shows nothing (%s): it is made in full.", unclear)
        return True
    return False


def joined(curve: Curve, before: Curve) -> Curve:
    """A curve that costs what the test before it cost, too."""
    return replace(curve, earlier_steps=curve.earlier_steps + before.tuning_cost)
