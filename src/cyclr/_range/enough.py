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
    try:
        curve.bounds(signal, budget=budget())
    except Inconclusive as unclear:
        if len(curve.rates) >= steps:
            return curve
        _log.debug("A range test within 15 %% of the training shows nothing (%s): it is made in full.", unclear)
        whole = make(True)
        return replace(whole, earlier_steps=whole.earlier_steps + curve.tuning_cost)
    return curve
