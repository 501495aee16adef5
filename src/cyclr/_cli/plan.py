"""`cyclr plan`: from bounds and a budget to a schedule, with reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cyclr import plot
from cyclr._cli import draw, output
from cyclr._plan import Plan
from cyclr._plan import plan as make_plan
from cyclr._range import Bounds, Curve
from cyclr.study._files import write_json


def plan(
    *,
    bounds: tuple[float, float] | None = None,
    curve: Path | None = None,
    signal: str = "loss",
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    steps: int | None = None,
    cycles: int | None = None,
    no_anneal: bool = False,
    out: Path | None = None,
    png: Path | None = None,
    json: bool = False,
) -> None:
    """Plan whole cycles for a budget: prints the schedule to train with, and why.

    Give --bounds or --curve, and --epochs with --steps-per-epoch, or --steps.

    Args:
        bounds: Lowest and highest rate of the cycle.
        curve: A range test that `cyclr find --out` wrote; the bounds are found in it.
        signal: Which signal of that curve to read.
        epochs: The budget in epochs.
        steps_per_epoch: Optimizer steps in an epoch.
        steps: The budget in steps.
        cycles: How many cycles; by default one, which ends best. More give good models on the way.
        no_anneal: End at the lower bound instead of at zero.
        out: Write the plan there, as JSON, for `cyclr report`.
        png: Write a picture of the schedule there, too.
        json: Print one JSON document instead.
    """
    output.check_target(out)
    output.check_target(png, picture=True)
    found = bounds_of(bounds, curve, signal)
    if found is None:
        raise ValueError("--bounds LOW HIGH or --curve FILE must be given; `cyclr find TASK --out FILE` makes a curve")
    made = make_plan(
        found, epochs=epochs, steps_per_epoch=steps_per_epoch, steps=steps, cycles=cycles, anneal=not no_anneal
    )
    if out is not None:
        write_json(out, as_data(made))
    if png is not None:
        figure, (ax,) = plot.figure()
        plot.plot_schedule(made.schedule, ax, epoch=made.steps_per_epoch)
        figure.savefig(png)
    if json:
        output.document(as_data(made))
    else:
        print_plan(made)


def bounds_of(bounds: tuple[float, float] | None, curve: Path | None, signal: str = "loss") -> Bounds | None:
    """The bounds that were typed or are found in a file, if either was given."""
    if bounds is not None and curve is not None:
        raise ValueError("--bounds and --curve must not be given both; leave one out")
    if bounds is not None:
        return Bounds(*bounds)
    return None if curve is None else Curve.load(curve).bounds(signal)


def print_plan(plan: Plan) -> None:
    """The schedule, drawn, and the reasons."""
    at = plot.sample(plan.schedule)
    draw.chart(at, plan.schedule(at), x_label="step", y_range=(0.0, plan.schedule.highest))
    output.say()
    output.facts([
        ("schedule", repr(plan.schedule)),
        ("steps", str(plan.steps)),
        ("snapshots", "after step " + ", ".join(map(str, plan.snapshots)) if plan.snapshots else "none"),
    ])  # fmt: skip
    output.say()
    for reason in plan.reasons:
        output.say(f"- {reason}")


def as_data(plan: Plan) -> dict[str, Any]:
    """A plan as plain data."""
    return {
        "schedule": repr(plan.schedule),
        "steps": plan.steps,
        "steps_per_epoch": plan.steps_per_epoch,
        "snapshots": plan.snapshots,
        "reasons": plan.reasons,
        "bounds": plan.bounds,
    }
