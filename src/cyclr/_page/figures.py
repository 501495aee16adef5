"""The figures as data; other modules draw them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from cyclr._page.blocks import Array, Axis, Figure, Line, Mark, Points
from cyclr._page.numbers import Unit, count, in_words, rate, whole
from cyclr._page.sampling import by_step, sample, settled, smoothed, window
from cyclr._range.bounds import Bounds
from cyclr._range.curve import Curve
from cyclr._schedules import Schedule, parse
from cyclr.study._records import Run
from cyclr.study._summary import Summary

# Okabe and Ito's colours, which are distinguishable for colour-blind readers, without yellow, too pale on white, and
# with brown in place of black, invisible on dark.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#A65628", "#7F7F7F")
GREY = "#8a8a8a"
DASHES = 4  # styles of lines; see `dash`
_BASE, _MAX, _RULES, _SNAPSHOTS = 2, 1, 5, 1  # indices of COLOURS
_FEW = 2001  # points of a small figure
_SOME = 801  # points of a line, one of many
_MOST_ENDS = 100  # ends of cycles that are marked on a line; more would cover it


def dash(place: int) -> int:
    """The style of the line at a place: lines of the same colour have different ones.

    >>> dash(0), dash(1), dash(8)
    (0, 1, 1)
    """
    return (place + place // len(COLOURS)) % DASHES


def schedule(value: Schedule, steps: int | None = None, *, epoch: int | None = None, name: str = "") -> Figure:
    """A schedule against steps, or against epochs if their length is given."""
    at = sample(value, steps)
    scale = epoch or 1
    line = Line(at / scale, np.asarray(value(at)), name)
    x = Axis("epoch" if epoch else "step", range=(0, at[-1] / scale))
    return Figure("schedule/rate", "The learning rate.", x, Axis("learning rate", zero=True), (line,))


def small_schedule(key: str, caption: str, code: str, value: Schedule | None, steps: int, highest: float) -> Figure:
    """A schedule as one of several figures of equal height, with its text; None draws nothing."""
    lines: tuple[Line, ...] = ()
    if value is not None:
        at = sample(value, steps, points=_FEW)
        with np.errstate(all="ignore"):  # a record may contain any schedule
            lines = (Line(at, np.asarray(value(at))),)
    y = Axis("", range=(0, 1.05 * highest))
    return Figure(key, caption, Axis(""), y, lines, code=code, height=170)


def plan(value: Schedule, steps: int, snapshots: Sequence[int], epoch: int | None) -> Figure:
    """The schedule of a plan, and the steps at which its cycles end."""
    at, scale = sample(value, steps), epoch or 1
    line = Line(at / scale, np.asarray(value(at)), f"plan for {count(steps, 'step')}")
    ends = np.array(snapshots, dtype=np.int64)
    closed = Points(ends / scale, np.asarray(value(ends)), "snapshot at the end of a cycle", _SNAPSHOTS)
    return Figure(
        "plan/schedule", "The learning rate.", Axis("epoch" if epoch else "step", range=(0, at[-1] / scale)),
        Axis("learning rate", zero=True), (line,), (closed,),
    )  # fmt: skip


def range_test(
    curve: Curve, signal: str = "loss", bounds: Bounds | None = None, rules: Mapping[str, float | None] | None = None
) -> Figure:
    """A range test: each repeat, the smoothed median, the bounds, and the suggestions of published rules."""
    values = curve.losses if signal == "loss" else curve.metrics[signal]
    rates, middle = smoothed(curve, signal)
    lines = []
    for index, row in enumerate(values):
        known = np.isfinite(row)
        lines.append(Line(curve.rates[known], row[known], "" if index else "one repeat", colour=None))
    steady = curve.reference if signal == "loss" else np.empty((0, 0))
    for index, row in enumerate(steady):  # from which the bounds come
        known = np.isfinite(row)
        lines.append(Line(curve.rates[known], row[known], "" if index else "two batches set aside"))
    if not len(steady):
        lines.append(Line(rates, middle, "median, smoothed" if len(values) > 1 else "smoothed"))
    points: tuple[Points, ...] = ()
    found = {rule: value for rule, value in (rules or {}).items() if value is not None}
    if found and len(rates):
        at = np.array(list(found.values()))
        points = (Points(at, np.interp(at, rates, middle), "published rules", _RULES, "diamond", tuple(found)),)
    repeats = "" if len(values) == 1 else f", {len(values)} repeats and their median"
    caption = f"The {in_words(signal)} against the learning rate{repeats}"
    if len(steady):
        caption = f"The {in_words(signal)} of each step against the learning rate, and that of two batches set aside"
    return Figure(
        f"range-test/{signal}",
        caption + ("." if bounds is None else "; bounds dashed, their intervals shaded."),
        Axis("learning rate", curve.scale, (float(curve.rates[0]), float(curve.rates[-1]))),
        Axis(in_words(signal), range=window(np.vstack([values, *steady]), middle, rising=signal in curve.maximize)),
        tuple(lines), points, () if bounds is None else _bounds(bounds),
    )  # fmt: skip


def bounds(found: Bounds) -> Figure:
    """Bounds on their own, on an axis of rates with a decade to each side."""
    x = Axis("learning rate", "log", (found.base_lr / 10, found.max_lr * 10))
    caption = "The bounds dashed, their intervals shaded."
    return Figure("bounds", caption, x, Axis("", range=(0, 1)), marks=_bounds(found), height=200)


def _bounds(bounds: Bounds) -> tuple[Mark, ...]:
    return (
        Mark(bounds.base_lr, f"base_lr = {rate(bounds.base_lr)}", _BASE, bounds.base_interval, "b"),
        Mark(bounds.max_lr, f"max_lr = {rate(bounds.max_lr)}", _MAX, bounds.max_interval, "M"),
    )


def metric(runs: Iterable[Run], name: str, unit: Unit, *, epoch: int | None = None) -> Figure:
    """A metric during training: for each policy the mean over its runs, and a band from the lowest to the highest.

    Args:
        runs: The runs; each must have measured the metric.
        name: The metric.
        unit: How its values are formatted.
        epoch: Steps in an epoch; if given, the axis counts epochs.
    """
    own: dict[str, list[Run]] = {}
    for run in runs:
        own.setdefault(run.policy, []).append(run)
    series = {policy: by_step(group, name) for policy, group in own.items()}
    scale = epoch or 1
    lines = tuple(_banded(at / scale, rows, policy, i) for i, (policy, (at, rows)) in enumerate(series.items()))
    lengths = {run.steps_per_epoch for group in own.values() for run in group}
    per_epoch = lengths.pop() if len(lengths) == 1 else 0
    fewest, most = (pick(map(len, own.values())) for pick in (min, max))
    seeds = f"{most} seed{'s' * (most > 1)}" if fewest == most else f"{fewest} to {most} seeds"
    return Figure(
        "study/metric",
        f"The {in_words(name)} during training: the mean over the seeds, shaded from the lowest to the highest.",
        Axis(
            "epoch" if epoch else f"step ({whole(per_epoch)} per epoch)" if per_epoch else "step",
            range=(0, max(float(at[-1]) for at, _ in series.values()) / scale),
        ),
        Axis(f"{in_words(name)}, mean of {seeds}", range=settled(series.values()), percent=unit.percent),
        lines,
        height=480,
    )


def training(runs: Sequence[Run], name: str, unit: Unit) -> Figure:
    """A metric during training, and below it the rate of each policy on the same axis; dots are the ends of cycles."""
    made = metric(runs, name, unit)
    ends: list[Points] = []
    rates: list[Line] = []
    closed: list[Points] = []
    for index, line in enumerate(made.lines):
        found = _rates(next(run for run in runs if run.policy == line.name), index)
        if found is not None:
            rates.append(found[0])
            closed.append(found[1])
            at = found[1].x[found[1].x >= line.x[0]]
            ends.append(Points(at, np.interp(at, line.x, line.y), line.name, index))
    below = Figure("study/rates-during", "", made.x, Axis("learning rate", zero=True), tuple(rates), tuple(closed))
    caption = f"{made.caption} Below, the learning rate of the first seed; dots are the ends of cycles."
    return replace(made, caption=caption, points=tuple(ends), height=640, below=below) if rates else made


def _rates(run: Run, colour: int) -> tuple[Line, Points] | None:
    """The rate of a run at its steps, and at the ends of its cycles; None if its schedule cannot be read or drawn."""
    value = parsed(run.schedule)
    if value is None:
        return None
    try:
        with np.errstate(all="ignore"):  # a record may contain any schedule
            steps, ends = sample(value, run.steps, points=_SOME), value.cycle_ends(until=run.steps)
            at = np.array(ends if len(ends) <= _MOST_ENDS else [], dtype=np.float64)
            before = np.array([value.take(int(end))(int(end)) for end in at], dtype=np.float64)
            return Line(steps, np.asarray(value(steps)), run.policy, colour), Points(at, before, run.policy, colour)
    except (ValueError, ArithmeticError, RecursionError):
        return None


def parsed(spec: str) -> Schedule | None:
    """The schedule that a record names; None if it names none."""
    try:
        return parse(spec)
    except (ValueError, ArithmeticError, RecursionError):  # a record may contain any text
        return None


def _banded(at: Array, values: Array, name: str, colour: int) -> Line:
    known = np.isfinite(values).any(axis=0)
    values = values[:, known]
    return Line(at[known], values.mean(axis=0), name, colour, np.nanmin(values, axis=0), np.nanmax(values, axis=0))


def differences(rows: Iterable[Summary], baseline: str, unit: Unit) -> Figure:
    """The final difference of each policy from the baseline, with intervals; hollow and grey if not significant."""
    found = [(row.policy, row.difference, row.differs) for row in rows if row.difference is not None]
    groups = []
    for differs, colour, symbol, name in (
        (True, 0, "circle", "significant"),
        (False, None, "hollow", "not significant"),
    ):
        here = [(place, policy, change) for place, (policy, change, differing) in enumerate(found)
                if differing == differs and math.isfinite(change.mean)]  # fmt: skip
        if not here:
            continue
        means = unit.scale * np.array([change.mean for _, _, change in here])
        ends = unit.scale * np.array([(change.low, change.high) for _, _, change in here])
        low, high = np.where(np.isfinite(ends), ends, means[:, None]).T  # the interval of one seed is unbounded
        places = np.array([place for place, _, _ in here])
        labels = tuple(policy for _, policy, _ in here)
        groups.append(Points(means, places, name, colour, symbol, labels, low, high))
    return Figure(
        "study/differences",
        f"The difference of each policy from {baseline} at the end: the mean over paired seeds and its 95 % CI.",
        Axis(unit.of_change(f"difference from {baseline}")),
        Axis("", range=(len(found) - 0.5, -0.5), ticks=tuple(policy for policy, _, _ in found)),
        points=tuple(groups),
        marks=(Mark(0.0),),
        height=120 + 34 * len(found),
    )


def losses(run: Run) -> Figure | None:
    """The training loss of one run; None if fewer than two values are finite."""
    steps, values = run.series("loss")
    if sum(map(math.isfinite, values)) < 2:
        return None
    line = Line(np.array(steps), np.array(values))
    return Figure("run/loss", "The training loss.", Axis("step"), Axis(in_words("loss")), (line,))
