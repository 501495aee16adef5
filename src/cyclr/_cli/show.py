"""`cyclr show`: a schedule in the terminal."""

from __future__ import annotations

from pathlib import Path

from cyclr import _check, plot
from cyclr._cli import _console, _sections
from cyclr._page.registry import describe
from cyclr._page.sampling import sample
from cyclr._page.views import Shown
from cyclr._schedules import parse

PLACE = 0  # among the verbs, in the order in which they are used
EXAMPLES = (
    'cyclr show "Triangular(1e-3, 6e-3, step_size=2000)"',
    'cyclr show "Linear(0, 0.01, steps=epoch) >> Cosine(0.01, 0, steps=9*epoch)" --epoch 390',
    'cyclr show "one_cycle(0.1, steps=1200)" --png one_cycle.png',
)


def show(
    spec: str, /, *, epoch: int | None = None, steps: int | None = None, png: Path | None = None, json: bool = False
) -> None:
    """Draw a schedule and print its key facts.

    Args:
        spec: The schedule as text, such as "Triangular(1e-3, 6e-3, step_size=2000)".
        epoch: Steps in an epoch, if SPEC uses the name epoch; by default that name is an error.
        steps: Number of steps to draw; by default all of them, or three cycles of an endless schedule.
        png: Also save a plot to this image file; by default none.
        json: Print one JSON document instead of a table and a chart.
    """
    _console.check_target(png, image=True)
    names = {} if epoch is None else {"epoch": _check.count("epoch", epoch)}
    shown = Shown.of(parse(spec, **names), steps, epoch)
    schedule = shown.schedule
    if png is not None:
        figure, (ax,) = plot.figure()
        plot.plot_schedule(schedule, ax, steps=shown.steps, epoch=epoch)
        figure.savefig(png)
        _console.note(f"wrote {png}")
    if not json:
        return _sections.show(describe(shown))
    at = sample(schedule, shown.steps)
    return _console.document({
        "schedule": repr(schedule), "duration": schedule.duration, "lowest": schedule.lowest,
        "highest": schedule.highest, "cycle_ends": schedule.cycle_ends(until=shown.steps), "steps": at.tolist(),
        "rates": schedule(at).tolist(),
    })  # fmt: skip
