"""A plan: its schedule, its snapshots and its reasons."""

from __future__ import annotations

from cyclr._page.blocks import Block, Facts, Figure, Figures, Section, Sentences, count
from cyclr._plan import Plan
from cyclr.report import figures


def section(plan: Plan) -> Section:
    """All about `plan`."""
    bounds, epoch = plan.bounds, plan.steps_per_epoch
    budget = count(plan.steps, "step")
    if epoch:
        budget += f": {plan.steps / epoch:.4g} epochs of {epoch:,}"
    blocks: tuple[Block, ...] = (
        Sentences(plan.reasons, first=True),
        Figures((Figure(figures.plan(plan.schedule, plan.steps, plan.snapshots, epoch), "The learning rate."),)),
        Facts((
            ("budget", budget),
            ("bounds", f"{bounds.base_lr:.3g} to {bounds.max_lr:.3g}"),
            ("snapshots", "after step " + ", ".join(f"{step:,}" for step in plan.snapshots)),
            ("schedule", repr(plan.schedule)),
        )),
    )  # fmt: skip
    return Section(f"Plan for {count(plan.steps, 'step')}", (("Why this schedule", blocks),))
