"""The tests of `auto`: one within the budget, and others where that one is inconclusive."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Literal, NamedTuple, TypeAlias

from cyclr._range.bounds import Bounds, Inconclusive
from cyclr._range.curve import Curve
from cyclr._range.horizon import FEWEST, SHORT_TRAINING, SLOW, allowed

_log = logging.getLogger("cyclr")

#: A test within what the training pays for; a short one of batches that stay the same; one sweep of full size.
Kind: TypeAlias = Literal["within", "reference", "full"]


class Size(NamedTuple):
    """Arguments of a range test that say how long it is."""

    effort: str
    budget: int | None
    repeats: int


def size_of(kind: Kind, effort: str, budget: int | None, repeats: int) -> Size:
    """The size of a test for a training of `budget` steps, if `repeats` sweeps of this effort are asked for.

    As many sweeps are made as its cost allows; without a budget, all of them.

    >>> size_of("within", "quick", 400, 3), size_of("full", "thorough", 2000, 3)
    (Size(effort='quick', budget=400, repeats=2), Size(effort='quick', budget=None, repeats=1))
    """
    if kind == "full":
        return Size("quick", None, 1)
    if kind == "reference":
        effort, budget = "quick", SHORT_TRAINING
    return Size(effort, budget, repeats if budget is None else min(repeats, allowed(budget) // FEWEST))


class Answer(NamedTuple):
    """What the tests gave: a curve, and its bounds if they have been read from it already."""

    curve: Curve
    bounds: Bounds | None = None


def enough(
    make: Callable[[Kind], Curve],
    budget: Callable[[], int],
    *,
    steps: int,
    signal: str = "loss",
    evaluates: bool = False,
) -> Answer:
    """A range test within the budget, and others after it if that one is inconclusive.

    Args:
        make: Makes a test of this kind.
        budget: Says the steps of the training, once there was a test.
        steps: Steps of a sweep of full size.
        signal: The signal that the bounds are read from.
        evaluates: Whether batches that stay the same can be evaluated, or taken in turn. Their loss has no noise of
            batches: a short test of them may answer where a long one does not, and costs less than one of full size.

    Returns:
        The curve, whose tuning cost is that of all tests. If none is conclusive, the longest one.
    """
    tests = tests_of(budget, steps=steps, signal=signal, evaluates=evaluates)
    kind = next(tests)
    while True:
        try:
            kind = tests.send(make(kind))
        except StopIteration as done:
            return done.value


def tests_of(budget: Callable[[], int], *, steps: int, signal: str, evaluates: bool) -> Generator[Kind, Curve, Answer]:
    """The same where tests are made elsewhere: yields the kind of each, and is sent its curve."""
    curve = yield "within"
    bounds = bounds_of(curve, budget(), signal)
    if bounds is not None or (signal == "loss" and curve.loss_kind == "other"):
        return Answer(curve, bounds)
    if evaluates and not curve.in_turn and (not curve.reference.size or len(curve.rates) < SLOW):
        last = yield "reference"
        bounds = bounds_of(joined(last, curve), budget(), signal)
        if bounds is not None:
            return Answer(joined(last, curve), bounds)
        curve = joined(curve, last)
    if len(curve.rates) >= steps:
        return Answer(curve)
    return Answer(joined((yield "full"), curve))


def bounds_of(curve: Curve, budget: int | None = None, signal: str = "loss") -> Bounds | None:
    """The bounds, or None if the curve is inconclusive."""
    try:
        return curve.bounds(signal, budget=budget)
    except Inconclusive as unclear:
        _log.debug("A range test is inconclusive (%s).", unclear)
        return None


def joined(curve: Curve, before: Curve) -> Curve:
    """A curve that costs what the test before it cost, too."""
    return replace(curve, earlier_steps=curve.earlier_steps + before.tuning_cost)
