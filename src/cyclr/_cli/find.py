"""`cyclr find`: a range test on a task and the resulting bounds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclr import _check, plot
from cyclr._cli import _console, _sections
from cyclr._cli._data import curve_data
from cyclr._cli._progress import steps_of
from cyclr._page.registry import describe
from cyclr._page.views import Reading
from cyclr._range import Inconclusive, Ramp, effort_for

if TYPE_CHECKING:
    from cyclr.torch import Task

PLACE = 1  # among the verbs, in the order in which they are used
EXAMPLES = (
    "cyclr find fashion --budget 4000",
    "cyclr find my_task.py:task --low 1e-5 --high 1 --out curve.json --png curve.png",
    "cyclr find my_package.tasks:task --scale linear --high 0.1 --steps 500",
)


def find(
    task: str,
    /,
    *,
    seed: int = 0,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 300,
    repeats: int | None = None,
    scale: Literal["log", "linear"] = "log",
    effort: Literal["quick", "thorough"] | None = None,
    budget: int | None = None,
    signal: str = "loss",
    out: Path | None = None,
    png: Path | None = None,
    json: bool = False,
) -> None:
    """Find lower and upper bounds of the learning rate with a range test (learning-rate finder).

    Trains while the rate increases from --low to --high, and reads the bounds off the recorded curve: max_lr, well
    below the rate at which training becomes unstable, and base_lr, a quarter to a half of it. For losses, also shows
    the suggestions of published rules, which differ by a factor of 5 to 20.

    Args:
        task: A built-in task, file.py:function or module:function.
        seed: Random seed for the task.
        low: Learning rate at the start of a sweep.
        high: Learning rate at the end of a sweep.
        steps: Optimizer steps of one sweep.
        repeats: Number of sweeps; more of them make the bounds more precise. Each makes the task anew, with the next
            seed, and so begins from other weights. By default 3, but none is begun after the first 5 seconds; and with
            --budget 1, unless 3 sweeps of full length cost no more than its 15 %.
        scale: How the rate increases: log, by equal factors; or linear, by equal differences, as in the paper.
        effort: quick, the sweeps alone; or thorough, then three to five short cycles with peaks around their result,
            which takes 540 to 900 more steps, or with --budget what its 15 % allow. By default quick, or thorough for a
            budget of 1,000 steps or more.
        budget: Optimizer steps of the training to come: the test then costs at most 15 % of them, and the bounds are
            for a training of this length. By default the test has full size, and the bounds are for about 3,000 steps.
        signal: The signal to read the bounds from: loss, or a metric of the task, measured on its held-out data.
        out: Save the curve to this JSON file, for `cyclr plan --curve`; by default it is not saved.
        png: Also save a plot to this image file; by default none.
        json: Print one JSON document instead of a table and a chart.
    """
    _console.check_target(out)
    _console.check_target(png, image=True)
    budget = None if budget is None else _check.count("--budget", budget)
    from cyclr.tasks import _find as tasks
    from cyclr.tasks import _run as work

    made = tasks.build(task, seed, tuning=signal != "loss")  # only then do built-in tasks hold out data
    ramp = Ramp(low, high, steps, scale)
    chosen = effort or ("quick" if budget is None or signal != "loss" else effort_for(budget))
    with steps_of(f"range test on {task}") as tell:
        how = {"repeats": repeats, "effort": chosen, "budget": budget, "signal": signal, "strict": True}
        again = partial(_again, task, seed, tuning=signal != "loss")
        curve = work.find_curve(made, task, ramp=ramp, progress=tell, again=again, **how)
    if out is not None:
        curve.save(out)
    reading = Reading.of(curve, signal, budget=budget)
    if png is not None:
        figure, (ax,) = plot.figure()
        plot.plot_curve(curve, reading.bounds, ax, signal=signal)
        figure.savefig(png)
    if json:
        _console.document({
            "task": task, "seed": seed, "signal": signal, "bounds": reading.bounds,
            "inconclusive": reading.why or None, "rules": reading.rules, "steps": curve.tuning_cost,
            "curve": curve_data(curve),
        })  # fmt: skip
    else:
        _sections.show(describe(reading))
    if reading.bounds is None:
        raise Inconclusive(reading.why)


def _again(task: str, seed: int, number: int, *, tuning: bool) -> Task:
    """The task of a later repeat."""
    from cyclr.tasks import _find as tasks

    return tasks.build(task, seed + number, tuning=tuning)
