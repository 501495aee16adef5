"""Plots with matplotlib: Axes in, Axes out.

Each function draws on `ax`, or on a new figure of its own when none is given, and returns the Axes. Neither pyplot
nor global state is used: `plot_schedule(schedule).figure.savefig("schedule.png")` works everywhere. A notebook shows
the plot of a schedule, curve, plan or study that is the last value of a cell, and that of Axes by `ax.figure`. The
HTML report (`cyclr.report`) shows the same figures.
"""

from __future__ import annotations

import html
import io
from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from cyclr import _check
from cyclr._page import figures
from cyclr._page.blocks import Axis, Figure, Line, Mark, Points, clean
from cyclr._page.numbers import Unit
from cyclr._page.registry import describe
from cyclr._page.views import Comparison, Reading, Shown
from cyclr._plan import Plan
from cyclr._range.bounds import Bounds
from cyclr._range.curve import Curve
from cyclr._renamed import has_new_name
from cyclr._schedules import Schedule
from cyclr.study._records import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

__all__ = ["figure", "image", "plot_curve", "plot_differences", "plot_plan", "plot_runs", "plot_schedule", "show"]

_DASHES = ("-", "--", "-.", ":")
_SYMBOLS = {"circle": "o", "hollow": "o", "diamond": "D"}
_GREY = "0.55"
_NEUTRAL = "#7a7a7a"  # readable on white and on black


def __getattr__(name: str) -> Callable[[object], str]:
    """The former name of `image`."""
    if name != "picture":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    has_new_name("cyclr.plot.picture", "cyclr.plot.image")
    return image


def plot_schedule(
    schedule: Schedule, ax: Axes | None = None, *, steps: int | None = None, epoch: int | None = None, label: str = ""
) -> Axes:
    """Plot the learning rate against the step.

    Args:
        schedule: The schedule to draw.
        ax: Axes to draw on; by default those of a new figure. Several schedules on one Axes get different colours.
        steps: Number of steps to draw; by default the whole schedule. Required for an endless schedule.
        epoch: Steps in an epoch; if given, the axis counts epochs.
        label: Name in the legend.

    Returns:
        The Axes.

    Raises:
        ValueError: If the schedule is endless and `steps` is not given.
        ImportError: If matplotlib is not installed.

    >>> from cyclr import Triangular
    >>> ax = plot_schedule(Triangular(0.001, 0.006, step_size=2000).take(12000), epoch=500)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('epoch', 'learning rate')
    """
    return _draw(figures.schedule(schedule, steps, epoch=_epoch(epoch), name=label), ax, legend=False)


def plot_plan(plan: Plan, ax: Axes | None = None) -> Axes:
    """Plot the schedule of a plan and mark the steps at which its cycles end.

    Args:
        plan: From `cyclr.plan`.
        ax: Axes to draw on; by default those of a new figure.

    Returns:
        The Axes.

    Raises:
        ImportError: If matplotlib is not installed.

    >>> from cyclr import Bounds, plan
    >>> plot_plan(plan(Bounds(0.001, 0.01), epochs=5, steps_per_epoch=100)).get_xlabel()
    'epoch'
    """
    return _draw(figures.plan(plan.schedule, plan.steps, plan.snapshots, plan.steps_per_epoch), ax)


def plot_curve(curve: Curve, bounds: Bounds | None = None, ax: Axes | None = None, *, signal: str = "loss") -> Axes:
    """Plot a range test: the signal against the rate for each repeat, the smoothed median, and bounds with intervals.

    Args:
        curve: From a range test.
        bounds: From `curve.bounds()`; marked in the plot.
        ax: Axes to draw on; by default those of a new figure.
        signal: "loss" or the name of a metric.

    Returns:
        The Axes.

    Raises:
        ValueError: If there is no such signal.
        ImportError: If matplotlib is not installed.

    >>> import numpy as np
    >>> rates = np.geomspace(1e-5, 1, 100)
    >>> plot_curve(Curve(rates, 2 - 1.5 / (1 + (1e-3 / rates) ** 2) + rates**2)).get_xscale()
    'log'
    """
    _check.choice("signal", signal, curve.signals)
    return _draw(figures.range_test(curve, signal, bounds), ax)


def plot_runs(study: Study, ax: Axes | None = None, *, metric: str | None = None, epoch: int | None = None) -> Axes:
    """Plot a metric during training: for each policy the mean over its runs, and a band from the lowest to the highest.

    Runs that were evaluated at different steps are interpolated between their evaluations; the mean ends where the
    shortest run ends.

    Args:
        study: The runs, from `cyclr.study` or `cyclr.report.read`.
        ax: Axes to draw on; by default those of a new figure.
        metric: A name in the runs' points; by default the metric of the study.
        epoch: Steps in an epoch; if given, the axis counts epochs.

    Returns:
        The Axes.

    Raises:
        ValueError: If there is no run, or one lacks the metric.
        ImportError: If matplotlib is not installed.
    """
    if not study.runs:
        raise ValueError(_check.problem("a study must have runs to be drawn", study.runs))
    name = study.metric if metric is None else metric
    ax = _draw(figures.metric(study.runs, name, Unit(), epoch=_epoch(epoch)), ax)
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def plot_differences(study: Study, ax: Axes | None = None) -> Axes:
    """Plot each policy's final difference from the baseline with a 95 % interval; grey and hollow if not significant.

    Args:
        study: The runs, from `cyclr.study` or `cyclr.report.read`; its metric and baseline are used.
        ax: Axes to draw on; by default those of a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If there is no run, or the runs cannot be compared.
        ImportError: If matplotlib is not installed.
    """
    if not study.runs:
        raise ValueError(_check.problem("a study must have runs to be drawn", study.runs))
    compared = Comparison.of(study)
    if not compared.rows:
        raise ValueError(compared.why)
    return _draw(figures.differences(compared.rows, compared.study.baseline, compared.unit), ax)


def show(thing: object, ax: Axes | None = None) -> Axes:
    """Draw an object as its method `plot` does: a schedule, curve, plan or study, or bounds.

    Objects with the same horizontal axis can share Axes; bounds on the Axes of a schedule are horizontal lines.

    Args:
        thing: The object.
        ax: Axes to draw on; by default those of a new figure.

    Returns:
        The Axes.

    Raises:
        TypeError: If the object cannot be drawn.
        ValueError: If there is nothing to draw, or `ax` has another horizontal axis.
        ImportError: If matplotlib is not installed.

    >>> from cyclr import Linear
    >>> ax = show(Linear(0, 0.1, steps=100))
    >>> show(Bounds(0.01, 0.1), ax) is ax
    True
    """
    match thing:
        case Schedule():
            return _draw(figures.schedule(thing, Shown.of(thing).steps, name=_short(repr(thing))), ax)
        case Plan():
            epoch = None if ax is not None and ax.get_xlabel() == "step" else thing.steps_per_epoch
            return _draw(figures.plan(thing.schedule, thing.steps, thing.snapshots, epoch), ax)
        case Curve():
            return plot_curve(thing, Reading.of(thing).bounds, ax)
        case Bounds() if ax is not None and ax.get_ylabel() == "learning rate":
            return _across(ax, figures.bounds(thing).marks)
        case Bounds():
            return _draw(figures.bounds(thing), ax)
        case Study():
            return plot_runs(thing, ax)
    raise TypeError(_check.problem("a Schedule, Curve, Bounds, Plan or Study must be given", thing))


def image(thing: object) -> str:
    """What `show` draws, as an HTML image that contains its data and an alternative text for screen readers.

    Args:
        thing: As for `show`.

    Returns:
        An <img> element.

    Raises:
        TypeError: If it is of another kind.
        ValueError: If there is nothing to draw.
        ImportError: If matplotlib is not installed.

    >>> from cyclr import Triangular
    >>> image(Triangular(0.001, 0.006, step_size=100).take(400))[:9]
    '<img alt='
    """
    file = io.BytesIO()
    canvas = show(thing).get_figure(root=True)
    assert canvas is not None
    _make_neutral(canvas)
    canvas.savefig(file, format="png", transparent=True)
    title = html.escape(clean(describe(thing).title))
    return (
        f'<img alt="{title}" style="max-width: 100%" src="data:image/png;base64,{b64encode(file.getvalue()).decode()}">'
    )


def _make_neutral(canvas: Canvas) -> None:
    """Colours that can be read on a light and on a dark page, without a background."""
    from matplotlib.text import Text

    for text in canvas.findobj(Text):
        assert isinstance(text, Text)
        text.set_color(_NEUTRAL)
    for ax in canvas.axes:
        ax.tick_params(which="both", color=_NEUTRAL)
        ax.spines[:].set_color(_NEUTRAL)
        ax.grid(visible=True, color=_NEUTRAL, alpha=0.3, lw=0.8)


def _short(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _across(ax: Axes, marks: tuple[Mark, ...]) -> Axes:
    """Bounds as horizontal lines, where the rate is the vertical axis."""
    for mark in marks:
        colour = _free(ax, mark.colour or 0)
        ax.axhline(mark.at, color=colour, lw=1.8, ls="--", label=mark.name)
        if mark.interval is not None:
            ax.axhspan(*mark.interval, color=colour, alpha=0.15, lw=0)
    ax.legend(frameon=False, fontsize="small")
    return ax


def figure(rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (8, 4.5)) -> tuple[Canvas, list[Axes]]:
    """A new figure that is not registered with pyplot, and its Axes in reading order.

    Args:
        rows: Number of rows of Axes.
        columns: Number of columns of Axes.
        size: Width and height in inches.

    Returns:
        The figure and its Axes.

    Raises:
        ImportError: If matplotlib is not installed.

    >>> canvas, axes = figure(2, 3)
    >>> len(axes)
    6
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise ImportError("matplotlib is not installed; pip install cyclr[plot]") from error
    made = Canvas(figsize=size, dpi=120, layout="constrained")
    axes = list(made.subplots(rows, columns, squeeze=False).flat)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(visible=True, color="0.9", lw=0.8)
        ax.set_axisbelow(True)
    return made, axes


def _epoch(epoch: int | None) -> int | None:
    return None if epoch is None else _check.count("epoch", epoch)


def _draw(shown: Figure, ax: Axes | None, *, legend: bool = True) -> Axes:
    """Draw a figure's data on `ax`, without changing its style, or on those of a new figure."""
    ax = figure()[1][0] if ax is None else ax
    before = len(ax.lines)
    there = ax.get_xlabel()
    if before and there != shown.x.name and {there, shown.x.name} <= {"step", "epoch", "learning rate"}:
        raise ValueError(
            f"the horizontal axis must be {shown.x.name!r}, got Axes that show {there!r}; use other Axes, or pass "
            "epoch to plot_schedule"
        )
    for line in shown.lines:
        _line(ax, line, before)
    for points in shown.points:
        _points(ax, points)
    for mark in shown.marks:
        _mark(ax, mark)
    _scale_x(ax, shown.x, fresh=before == 0)
    _scale_y(ax, shown.y, fresh=before == 0)
    if legend and ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="small")
    return ax


def _line(ax: Axes, line: Line, before: int) -> None:
    if line.colour is None:
        ax.plot(line.x, line.y, color="0.5", alpha=0.5, lw=0.8, label=line.name or None)
        return
    place = line.colour + before
    colour, dashes = figures.COLOURS[place % len(figures.COLOURS)], _DASHES[figures.dash(place)]
    ax.plot(line.x, line.y, label=line.name or None, color=colour, ls=dashes, lw=1.8)
    if line.low is not None and line.high is not None:
        ax.fill_between(line.x, line.low, line.high, color=colour, alpha=0.08, lw=0)


def _free(ax: Axes, place: int) -> str:
    """The colour at a place, or the next one that no line on the Axes has."""
    taken = {line.get_color() for line in ax.lines}
    colours = [figures.COLOURS[(place + further) % len(figures.COLOURS)] for further in range(len(figures.COLOURS))]
    return next((colour for colour in colours if colour not in taken), colours[0])


def _points(ax: Axes, points: Points) -> None:
    colour = _GREY if points.colour is None else _free(ax, points.colour)
    if points.low is not None and points.high is not None:
        for low, high, y in zip(points.low, points.high, points.y, strict=True):
            if low < high:
                ax.plot([low, high], [y, y], color=colour, lw=2.5, solid_capstyle="round")
    inside = "white" if points.symbol == "hollow" else colour
    ax.plot(points.x, points.y, ls="", marker=_SYMBOLS[points.symbol], color=colour, mfc=inside, ms=7,
            label=points.name, clip_on=False)  # fmt: skip


def _mark(ax: Axes, mark: Mark) -> None:
    if mark.colour is None:
        ax.axvline(mark.at, color="0.4", lw=1)
        return
    colour = _free(ax, mark.colour)
    ax.axvline(mark.at, color=colour, lw=1.8, ls="--", label=mark.name)
    if mark.interval is not None:
        ax.axvspan(*mark.interval, color=colour, alpha=0.15, lw=0)


def _scale_x(ax: Axes, axis: Axis, *, fresh: bool) -> None:
    ax.set_xscale(axis.scale)
    ax.set_xlabel(axis.name)
    if axis.range is not None:
        low, high = axis.range
        shown = (low, high) if fresh else ax.get_xlim()
        ax.set_xlim(min(low, shown[0]), max(high, shown[1]))


def _scale_y(ax: Axes, axis: Axis, *, fresh: bool) -> None:
    if fresh or axis.name:
        ax.set_ylabel(axis.name)
    if axis.ticks:
        ax.set_yticks(np.arange(len(axis.ticks)), list(axis.ticks))
        ax.grid(visible=False, axis="y")
    elif fresh and not axis.name:
        ax.set_yticks([])
    if axis.range is not None:
        low, high = axis.range
        if not fresh and axis.name:
            low, high = min(low, ax.get_ylim()[0]), max(high, ax.get_ylim()[1])
        if fresh or axis.name:
            ax.set_ylim(low, high)
    elif axis.zero:
        ax.autoscale(axis="y")  # for what was there before, too
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))


def __dir__() -> list[str]:
    """The public names, which are what a reader looks for."""
    return __all__
