"""A plan: its schedule, its snapshots and its reasons."""

from __future__ import annotations

from collections.abc import Sequence

from cyclr._page import figures
from cyclr._page.blocks import Facts, Figures, Part, Sentences
from cyclr._page.numbers import budget, count, listed, rate
from cyclr._page.registry import panel, read
from cyclr._plan import Plan

_MOST = 50  # snapshots per line


@read.register
def _(plan: Plan) -> tuple[str, Sequence[object]]:
    return f"Plan for {count(plan.steps, 'step')}", (plan,)


@panel(Plan, place=0)
def schedule(plan: Plan) -> Part:
    """The schedule, and the reasons for it."""
    bounds = plan.bounds
    return Part("Why this schedule", (
        Sentences(plan.reasons, first=True),
        Figures((figures.plan(plan.schedule, plan.steps, plan.snapshots, plan.steps_per_epoch),)),
        Facts((
            ("budget", budget(plan.steps, plan.steps_per_epoch)),
            ("bounds", f"{rate(bounds.base_lr)} to {rate(bounds.max_lr)}"),
            ("snapshots", f"after step {listed(plan.snapshots, _MOST)}" if plan.snapshots else "none"),
            ("schedule", repr(plan.schedule)),
        )),
    ))  # fmt: skip
