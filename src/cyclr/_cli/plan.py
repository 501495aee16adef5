"""`cyclr plan`: from bounds and a budget to a schedule, with reasons."""

from __future__ import annotations

from pathlib import Path

from cyclr import plot
from cyclr._cli import _console
from cyclr._cli._data import plan_data
from cyclr._page.registry import describe
from cyclr._plan import plan as make_plan
from cyclr._range import Bounds, Curve
from cyclr.study._files import write_json

PLACE = 2  # among the verbs, in the order in which they are used
EXAMPLES = (
    "cyclr plan --bounds 1e-3 1e-2 --epochs 30 --steps-per-epoch 390",
    "cyclr plan --curve curve.json --steps 12000 --cycles 3 --out plan.json --png plan.png",
)


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
    """Plan whole cycles for a budget: print the schedule to train with, and the reason for each choice.

    Give --bounds or --curve, and --epochs with --steps-per-epoch, or --steps.

    Args:
        bounds: Lower and upper bound of the cycle.
        curve: A range test written by `cyclr find --out`; the bounds are found in it.
        signal: The signal of that curve to read.
        epochs: The budget in epochs.
        steps_per_epoch: Optimizer steps in an epoch.
        steps: The budget in steps.
        cycles: Number of cycles; by default one, which ends best. More give good models during training.
        no_anneal: End at the lower bound instead of zero.
        out: Write the plan to this file, as JSON, for `cyclr report`.
        png: Also save a plot of the schedule here.
        json: Print one JSON document instead.
    """
    _console.check_target(out)
    _console.check_target(png, image=True)
    found = bounds_of(bounds, curve, signal)
    if found is None:
        raise ValueError("--bounds LOW HIGH or --curve FILE must be given; `cyclr find TASK --out FILE` makes a curve")
    made = make_plan(
        found, epochs=epochs, steps_per_epoch=steps_per_epoch, steps=steps, cycles=cycles, anneal=not no_anneal
    )
    if out is not None:
        write_json(out, plan_data(made))
    if png is not None:
        figure, (ax,) = plot.figure()
        plot.plot_plan(made, ax)
        figure.savefig(png)
        _console.note(f"wrote {png}")
    if json:
        _console.document(plan_data(made))
    else:
        _console.show(describe(made))


def bounds_of(bounds: tuple[float, float] | None, curve: Path | None, signal: str = "loss") -> Bounds | None:
    """The bounds that were given, or that are found in a file; None if neither was given."""
    if bounds is not None and curve is not None:
        raise ValueError("--bounds and --curve must not both be given; leave one out")
    if bounds is not None:
        return Bounds(*bounds)
    return None if curve is None else Curve.load(curve).bounds(signal)
