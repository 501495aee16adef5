"""`cyclr show`: a schedule in the terminal."""

from __future__ import annotations

import math
from pathlib import Path

from cyclr import _check, plot
from cyclr._cli import draw, output
from cyclr._schedules import Schedule, parse

_MOST_ENDS = 8  # cycle ends that fit on a line


def show(
    spec: str, /, *, epoch: int | None = None, steps: int | None = None, png: Path | None = None, json: bool = False
) -> None:
    """Draw a schedule and its key facts.

    Args:
        spec: The schedule as text, such as "Triangular(1e-3, 6e-3, step_size=2000)".
        epoch: Steps in an epoch; SPEC may then use the word epoch for it.
        steps: How many steps to draw; by default all, or three cycles of an endless schedule.
        png: Write a picture there, too.
        json: Print one JSON document instead.
    """
    output.check_target(png, picture=True)
    names = {} if epoch is None else {"epoch": _check.count("epoch", epoch)}
    schedule = parse(spec, **names)
    last = _window(schedule) if steps is None else _check.count("steps", steps)
    at = plot.sample(schedule, last)
    rates = schedule(at)
    ends = schedule.cycle_ends(until=last)
    if png is not None:
        figure, (ax,) = plot.figure()
        plot.plot_schedule(schedule, ax, steps=last, epoch=epoch)
        figure.savefig(png)
    if json:
        output.document({
            "schedule": repr(schedule), "duration": schedule.duration, "lowest": schedule.lowest,
            "highest": schedule.highest, "cycle_ends": ends, "steps": at.tolist(), "rates": rates.tolist(),
        })  # fmt: skip
        return
    draw.chart(at, rates, x_label="step", y_range=(min(0.0, float(rates.min())), float(rates.max())))
    output.say()
    output.facts([
        ("schedule", repr(schedule)),
        ("duration", _duration(schedule, epoch)),
        ("lowest", f"{schedule.lowest:.6g}"),
        ("highest", f"{schedule.highest:.6g}"),
        ("cycle ends", _ends(ends, last)),
        *([("picture", str(png))] if png is not None else []),
    ])  # fmt: skip


def _window(schedule: Schedule) -> int:
    """The whole schedule; of an endless one three cycles, or a thousand steps where it has none."""
    if schedule.duration != math.inf:
        return int(schedule.duration)
    until = 1000
    while until < 10**9:
        if len(ends := schedule.cycle_ends(until=until)) >= 3:
            return ends[2]
        until *= 10
    return 1000


def _duration(schedule: Schedule, epoch: int | None) -> str:
    if schedule.duration == math.inf:
        return "endless"
    return f"{schedule.duration} steps" + ("" if epoch is None else f" ({schedule.duration / epoch:.4g} epochs)")


def _ends(ends: tuple[int, ...], last: int) -> str:
    if not ends:
        return f"none up to step {last}"
    listed = ", ".join(map(str, ends[:_MOST_ENDS]))
    more = len(ends) - _MOST_ENDS
    return f"at step {listed}" + (f" and {more} more up to {ends[-1]}" if more > 0 else "")
