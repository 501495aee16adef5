"""Pictures with matplotlib: Axes in, Axes out.

Each function draws on `ax`, or on a new figure of its own when none is given, and returns the Axes. No pyplot, no
global state: `plot_schedule(schedule).figure.savefig("schedule.png")` works everywhere, and a notebook shows the
figure when it is the last value of a cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cyclr import _check
from cyclr._range.bounds import Bounds
from cyclr._range.curve import Curve
from cyclr._schedules import Schedule
from cyclr._view import COLOURS as COLOURS
from cyclr._view import by_step, in_words, settled
from cyclr._view import sample as sample
from cyclr._view import smoothed as smoothed
from cyclr._view import window as window
from cyclr.study._records import Study
from cyclr.study._summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = ("-", "--", "-.", ":")


def plot_schedule(
    schedule: Schedule, ax: Axes | None = None, *, steps: int | None = None, epoch: int | None = None, label: str = ""
) -> Axes:
    """The rate over the steps.

    Args:
        schedule: What to draw.
        ax: Where; a new figure by default.
        steps: Up to which step; the whole schedule by default, so an endless one needs it.
        epoch: Steps in an epoch; then the axis counts epochs.
        label: For a legend.

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
    at = sample(schedule, steps)
    scale = 1 if epoch is None else _check.count("epoch", epoch)
    ax = _axes(ax)
    colour, line = _style(len(ax.lines))
    ax.plot(at / scale, schedule(at), label=label or None, color=colour, ls=line, lw=1.8)
    ax.set_xlabel("step" if epoch is None else "epoch")
    ax.set_ylabel("learning rate")
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    ax.set_xlim(0, max(at[-1] / scale, ax.get_xlim()[1] if len(ax.lines) > 1 else 0))
    return ax


def plot_curve(curve: Curve, bounds: Bounds | None = None, ax: Axes | None = None, *, signal: str = "loss") -> Axes:
    """A range test: the signal over the rate, each repeat, their smoothed median, and the bounds with their intervals.

    Args:
        curve: What was seen.
        bounds: What was found in it, if anything.
        ax: Where; a new figure by default.
        signal: "loss" or the name of a metric.

    Returns:
        The Axes.

    Raises:
        ValueError: If there is no such signal.
        ImportError: If matplotlib is not installed.
    """
    _check.choice("signal", signal, curve.signals)
    values = curve.losses if signal == "loss" else curve.metrics[signal]
    ax = _axes(ax)
    if curve.scale == "log":
        ax.set_xscale("log")
    for index, row in enumerate(values):
        known = np.isfinite(row)
        ax.plot(curve.rates[known], row[known], color="0.7", lw=0.8, label="one repeat" if index == 0 else None)
    rates, middle = smoothed(curve, signal)
    ax.plot(rates, middle, color=COLOURS[0], lw=2.2, label="median, smoothed" if len(values) > 1 else "smoothed")
    if bounds is not None:
        _draw_bounds(ax, bounds)
    ax.set_xlim(curve.rates[0], curve.rates[-1])
    ax.set_ylim(*window(values, middle, rising=signal in curve.maximize))
    ax.set_xlabel("learning rate")
    ax.set_ylabel(in_words(signal))
    ax.legend(frameon=False, fontsize="small")
    return ax


def plot_runs(study: Study, ax: Axes | None = None, *, metric: str = "test_accuracy", epoch: int | None = None) -> Axes:
    """A metric over the steps: for each policy the mean of its runs, and faintly from the least to the greatest.

    Runs that were looked at at different steps meet on straight lines between their points; a mean ends where the first
    of its runs does.

    Args:
        study: The runs.
        ax: Where; a new figure by default.
        metric: A name in the runs' points.
        epoch: Steps in an epoch; then the axis counts epochs.

    Returns:
        The Axes.

    Raises:
        ValueError: If there is no run, or one lacks the metric.
        ImportError: If matplotlib is not installed.
    """
    if not study.runs:
        raise ValueError(_check.problem("a study must have runs to be drawn", study.runs))
    scale = 1 if epoch is None else _check.count("epoch", epoch)
    found = {policy: by_step(study.of(policy).values(), metric) for policy in study.policies}
    ax = _axes(ax)
    drawn = []
    for index, (policy, (at, values)) in enumerate(found.items()):
        steps = at / scale
        colour, line = _style(index)
        drawn.append((steps, values))
        ax.plot(steps, values.mean(axis=0), label=policy, color=colour, ls=line, lw=1.8)
        ax.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.08, lw=0)
    ax.set_xlabel("step" if epoch is None else "epoch")
    fewest, most = (pick(len(values) for _, values in drawn) for pick in (min, max))
    seeds = f"{fewest} to {most}" if fewest < most else f"{most}"
    ax.set_ylabel(f"{in_words(metric)}, mean of {seeds} seed{'s' * (most > 1)}")
    ax.set_xlim(0, max(steps[-1] for steps, _ in drawn))
    if shown := settled(drawn):
        ax.set_ylim(*shown)
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def plot_differences(rows: Sequence[Summary], baseline: str, ax: Axes | None = None, *, unit: str = "") -> Axes:
    """How far each policy's end is from the baseline's, with intervals: what is grey is no difference found.

    Args:
        rows: From `summarize`.
        baseline: What the others are compared with.
        ax: Where; a new figure by default.
        unit: "%" if the metric is a fraction to be shown in points; else the metric as it is.

    Returns:
        The Axes.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    ax = _axes(ax)
    scale = 100 if unit == "%" else 1
    found = {row.policy: (row.difference, row.differs) for row in rows if row.difference is not None}
    for place, (change, differs) in enumerate(found.values()):
        colour = COLOURS[0] if differs else "0.55"
        low, high = scale * change.low, scale * change.high
        if math.isfinite(low) and math.isfinite(high):
            ax.plot([low, high], [place, place], color=colour, lw=2.5, solid_capstyle="round")
        ax.plot(scale * change.mean, place, "o", color=colour, ms=8)
    ax.axvline(0, color="0.2", lw=1)
    ax.set_yticks(range(len(found)), list(found))
    ax.set_ylim(len(found) - 0.5, -0.5)
    ax.set_xlabel(f"difference from {baseline}{' in points' if unit == '%' else ''}, 95 % interval")
    ax.grid(visible=False, axis="y")
    return ax


def _draw_bounds(ax: Axes, bounds: Bounds) -> None:
    for name, value, interval, colour in (
        ("base_lr", bounds.base_lr, bounds.base_interval, COLOURS[2]),
        ("max_lr", bounds.max_lr, bounds.max_interval, COLOURS[1]),
    ):
        ax.axvline(value, color=colour, lw=1.8, ls="--", label=f"{name} = {value:.2g}")
        if interval is not None:
            ax.axvspan(*interval, color=colour, alpha=0.15, lw=0)


def figure(rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (8, 4.5)) -> tuple[Figure, list[Axes]]:
    """A new figure that pyplot knows nothing of, and its Axes in reading order.

    Args:
        rows: Of Axes.
        columns: Of Axes.
        size: In inches.

    Returns:
        The figure and its Axes.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("matplotlib is not installed; pip install cyclr[plot]") from error
    made = Figure(figsize=size, dpi=120, layout="constrained")
    axes = list(made.subplots(rows, columns, squeeze=False).flat)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(visible=True, color="0.9", lw=0.8)
        ax.set_axisbelow(True)
    return made, axes


def _axes(ax: Axes | None) -> Axes:
    """`ax`, as its owner styled it, or that of a new figure."""
    return figure()[1][0] if ax is None else ax


def _style(index: int) -> tuple[str, str]:
    """Colour and dashes; both differ between neighbours."""
    return COLOURS[index % len(COLOURS)], _LINES[index % len(_LINES)]
