"""`cyclr plan`: from bounds and a budget to a schedule, with reasons."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

from cyclr import plot
from cyclr._cli import _console, _sections
from cyclr._cli._data import plan_data
from cyclr._cli._progress import progress
from cyclr._page.registry import describe
from cyclr._plan import Plan
from cyclr._plan import plan as make_plan
from cyclr._range import Bounds, Curve
from cyclr.study._cycles import MeasuredCycles
from cyclr.study._files import write_json

PLACE = 2  # among the verbs, in the order in which they are used
EXAMPLES = (
    "cyclr plan --bounds 1e-3 1e-2 --epochs 30 --steps-per-epoch 390",
    "cyclr plan --curve curve.json --steps 12000 --cycles 3 --out plan.json --png plan.png",
    "cyclr plan --bounds 1e-3 1e-2 --minutes 30 --step-seconds 0.05 --goal ensemble",
    "cyclr plan my_task.py:task --measure --curve curve.json --steps 12000 --goal average",
)


def plan(
    task: str | None = None,
    /,
    *,
    bounds: tuple[float, float] | None = None,
    curve: Path | None = None,
    signal: str = "loss",
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    step_seconds: float | None = None,
    cycles: int | None = None,
    no_anneal: bool = False,
    goal: str = "final",
    measure: bool = False,
    seeds: int = 3,
    outputs: Literal["logits", "binary_logits", "values"] | None = None,
    out: Path | None = None,
    png: Path | None = None,
    json: bool = False,
) -> None:
    """Plan a schedule for a budget: print the schedule to train with and the reason for each choice.

    Pass the bounds as --bounds or --curve, and the budget as --steps, as --epochs and --steps-per-epoch, or in minutes
    with --step-seconds.

    With --measure, other numbers of cycles are tried on TASK in short trainings, which take about half as many steps as
    the training itself; another number than the usual one is planned only if it is significantly better.

    Args:
        task: With --measure, the task: a built-in one, file.py:function or module:function, with validation data.
        bounds: Lower and upper bound of the learning rate; by default those of --curve.
        curve: A range test saved by `cyclr find --out`, to read the bounds from; by default none.
        signal: The signal of that curve to read the bounds from: loss or a recorded metric.
        epochs: Budget in epochs; by default it is in steps or minutes.
        steps_per_epoch: Optimizer steps in an epoch; by default unknown.
        steps: Budget in optimizer steps; by default from epochs or minutes.
        minutes: Budget in minutes of training; by default from steps or epochs.
        step_seconds: Measured time of a step, in seconds; by default that of the range test in --curve.
        cycles: Number of cycles; by default one, which ended best in our tests. More cycles also give usable models
            during training. For other goals, the number of snapshots.
        no_anneal: End at the lower bound instead of annealing to zero.
        goal: What the training is for: final, one good model; ensemble, several whose predictions are averaged;
            average, several whose weights are averaged; anytime, a good model whenever the training must stop.
        measure: Try several numbers of cycles on TASK.
        seeds: With --measure, trainings of each length for each number.
        outputs: With --measure for an ensemble, what the model returns: logits of classes, binary_logits, or values; by
            default what the task says or its loss implies.
        out: Save the plan to this JSON file, for `cyclr report`; by default it is not saved.
        png: Also save a plot of the schedule to this image file; by default none.
        json: Print one JSON document instead of a table and a chart.
    """
    _console.check_target(out)
    _console.check_target(png, image=True)
    if bounds is None and curve is None:
        raise ValueError("--bounds LOW HIGH or --curve FILE must be given; `cyclr find TASK --out FILE` makes a curve")
    if (task is not None) != measure:
        raise ValueError("TASK and --measure must be given together: cyclr plan TASK --measure --steps N")
    length: dict[str, Any] = {"epochs": epochs, "steps_per_epoch": steps_per_epoch, "steps": steps}
    if minutes is not None and step_seconds is None and curve is not None:
        step_seconds = Curve.load(curve).step_seconds
    length |= {"minutes": minutes, "step_seconds": step_seconds}
    how: dict[str, Any] = {"cycles": cycles, "anneal": not no_anneal, "goal": goal}
    shown: object = (made := _planned(bounds, curve, signal, length | how))
    if task is not None:
        if cycles is not None or no_anneal:
            raise ValueError("--measure chooses the number of cycles and anneals; leave out --cycles and --no-anneal")
        shown = measured = _measured(task, made, seeds, outputs)
        made = measured.plan
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
        _sections.show(describe(shown))


def _planned(bounds: tuple[float, float] | None, curve: Path | None, signal: str, how: dict[str, Any]) -> Plan:
    """The plan, with the bounds for its length."""
    trial = make_plan(Bounds(0.1, 1.0), **how)
    found = bounds_of(bounds, curve, signal, budget=trial.steps)
    assert found is not None
    return make_plan(found, **how)


def _measured(task: str, made: Plan, seeds: int, outputs: str | None) -> MeasuredCycles:
    """The number of cycles that short trainings speak for."""
    from cyclr.tasks import _find as tasks
    from cyclr.torch import measure_cycles

    with progress(f"cycles for {task}", 0) as tell:
        return measure_cycles(
            partial(tasks.build, task, tuning=True),
            made.bounds,
            steps=made.steps,
            goal=made.goal,
            seeds=seeds,
            outputs=outputs if made.goal == "ensemble" else None,
            progress=lambda done, total, beside: tell(done, beside, total),
        )


def bounds_of(
    bounds: tuple[float, float] | None, curve: Path | None, signal: str = "loss", *, budget: int | None = None
) -> Bounds | None:
    """The bounds that were given, or those read off a curve file, for a training of `budget` steps; None if neither."""
    if bounds is not None and curve is not None:
        raise ValueError("--bounds and --curve must not both be given; leave one out")
    if bounds is not None:
        return Bounds(*bounds)
    return None if curve is None else Curve.load(curve).bounds(signal, budget=budget)
