"""The designer of a range test, of bounds and of a plan: where their schedule can be changed by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cyclr._page import figures
from cyclr._page.blocks import Axis, Designer, Figure, Line, Part
from cyclr._page.numbers import count, rate
from cyclr._page.registry import panel, read
from cyclr._page.sampling import sample
from cyclr._page.views import Draft, Reading
from cyclr._plan import Plan
from cyclr._policies import POLICIES
from cyclr._range.bounds import Bounds
from cyclr._range.curve import Curve

STEPS = 10_000  # a budget to begin with
_FEW = 1001  # points of the plan's line
_HEADING = "Design a schedule"
_PLACE = 80  # after what was found


@panel(Curve, place=_PLACE)
def of_curve(curve: Curve) -> Part:
    """The bounds on the curve of the loss."""
    return Part(_HEADING, (_made(Draft(Reading.of(curve))),), brief=False)


@panel(Bounds, place=_PLACE)
def of_bounds(bounds: Bounds) -> Part:
    """The bounds on an axis of rates."""
    return Part(_HEADING, (_made(Draft(bounds)),), brief=False)


@panel(Plan, place=_PLACE)
def of_plan(plan: Plan) -> Part:
    """The plan, and what can be made of it."""
    return Part(_HEADING, (_made(Draft(plan)),), brief=False)


@panel(Draft)
def design(draft: Draft) -> Part:
    """The designer, which begins with what was found."""
    return Part(_HEADING, (_made(draft),), brief=False)


def _made(draft: Draft) -> Designer:
    match draft.source:
        case Reading() as reading:
            return _of_reading(reading, draft)
        case Bounds() as bounds:
            return _of_bounds(bounds, draft)
        case Plan() as plan:
            return _of_plan(plan, draft)


def _of_reading(reading: Reading, draft: Draft) -> Designer:
    """The bounds on the curve; an inconclusive one begins with a third of its decades at each side."""
    figure = figures.range_test(reading.curve, reading.signal, reading.bounds)
    caption = "Drag the bounds on the curve, or type them; the schedule below follows at once."
    if reading.bounds is None:
        low, high = figure.x.range or (1e-3, 1e-2)
        span = (high / low) ** (1 / 3) if reading.curve.scale == "log" else 2.0
        caption = "The range test is inconclusive, so the bounds shown first are no result. " + caption
        return _designer(caption, figure, Bounds(_short(high / span**2), _short(high / span)), draft)
    return _designer(caption, figure, reading.bounds, draft)


def _of_bounds(bounds: Bounds, draft: Draft) -> Designer:
    x = Axis("learning rate", "log", (bounds.base_lr / 100, bounds.max_lr * 100))
    figure = Figure("design/bounds", "", x, Axis("", range=(0, 1)), marks=figures.bounds(bounds).marks)
    return _designer("Drag the bounds, or type them; the schedule below follows at once.", figure, bounds, draft)


def _of_plan(plan: Plan, draft: Draft) -> Designer:
    bounds = plan.bounds
    x = Axis("learning rate", "log", (bounds.base_lr / 100, bounds.max_lr * 100))
    figure = Figure("design/bounds", "", x, Axis("", range=(0, 1)), marks=figures.bounds(bounds).marks)
    at = sample(plan.schedule, plan.steps, points=_FEW)
    caption = (
        f"The plan for {count(plan.steps, 'step')} (grey, dashed) with its bounds {rate(bounds.base_lr)} and "
        f"{rate(bounds.max_lr)}. Drag the bounds, or choose another policy or budget, to compare another schedule with "
        "it."
    )
    policy = "auto" if plan.schedule(plan.steps) == 0 else "triangular"
    steps, epoch, cycles = draft.steps or plan.steps, draft.epoch or plan.steps_per_epoch, max(1, len(plan.snapshots))
    return Designer(
        "design", caption, figure, bounds.base_lr, bounds.max_lr, steps, epoch, tuple(POLICIES), policy, cycles,
        Line(at, np.asarray(plan.schedule(at))),
    )  # fmt: skip


def _designer(caption: str, figure: Figure, bounds: Bounds, draft: Draft) -> Designer:
    low, high = _short(bounds.base_lr), _short(bounds.max_lr)
    return Designer("design", caption, figure, low, high, draft.steps or STEPS, draft.epoch, tuple(POLICIES))


def _short(value: float) -> float:
    """Three digits, as the designer has them when a bound is dragged."""
    return float(f"{value:.3g}")


@read.register
def _(draft: Draft) -> tuple[str, Sequence[object]]:
    return "Schedule designer", (draft,)
