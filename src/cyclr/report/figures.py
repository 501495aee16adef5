"""Figures by Plotly, as the JSON that its script draws."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cyclr._range.bounds import Bounds
from cyclr._range.curve import Curve
from cyclr._schedules import Schedule
from cyclr._study.stats import Summary
from cyclr._view import COLOURS, in_words, sample, settled, smoothed, window
from cyclr.report.parts import clean

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Array = NDArray[np.float64]

_DASHES = ("solid", "dash", "dashdot", "dot")
_GREY = "#8a8a8a"
_LINES = "rgba(128, 128, 128, 0.25)"
_LONGEST = 40  # characters of a name in a figure
_SMALL_POINTS = 2001


def schedules(schedule: Schedule, steps: int, *, highest: float) -> str:
    """A small picture of a schedule; those of one study share their height."""
    at = sample(schedule, steps, points=_SMALL_POINTS)
    figure = _figure(x="step", y="learning rate", margin={"l": 5, "r": 5, "t": 5, "b": 5}, showlegend=False)
    _line(figure, at, schedule(at), COLOURS[0])
    figure.update_yaxes(range=[0, 1.05 * highest], title=None, nticks=4)
    figure.update_xaxes(title=None, nticks=4)
    return _json(figure)


def plan(schedule: Schedule, steps: int, snapshots: Sequence[int], epoch: int | None) -> str:
    """A plan's schedule and where its cycles close."""
    at, scale = sample(schedule, steps), epoch or 1
    figure = _figure(x="epoch" if epoch else "step", y="learning rate")
    _line(figure, at / scale, schedule(at), COLOURS[0], name="learning rate")
    ends = np.array(snapshots, dtype=np.int64)
    _dots(figure, ends / scale, schedule(ends), COLOURS[1], name="snapshot: a cycle has closed", cliponaxis=False)
    figure.update_yaxes(rangemode="tozero")
    return _json(figure)


def range_test(curve: Curve, signal: str, bounds: Bounds | None, rules: Mapping[str, float | None]) -> str:
    """A range test: each repeat, their smoothed median, both bounds, and where the published rules point to."""
    values = curve.losses if signal == "loss" else curve.metrics[signal]
    rates, middle = smoothed(curve, signal)
    figure = _figure(x="learning rate", y=label(in_words(signal)), hovermode="closest")
    for index, row in enumerate(values):
        known = np.isfinite(row)
        _line(figure, curve.rates[known], row[known], _GREY, width=1, opacity=0.6, name="one repeat",
              legendgroup="repeats", showlegend=index == 0)  # fmt: skip
    _line(figure, rates, middle, COLOURS[0], width=3, name="median, smoothed" if len(values) > 1 else "smoothed")
    if bounds is not None:
        _bounds(figure, bounds)
    found = {name: rate for name, rate in rules.items() if rate is not None}
    if found and len(rates):
        heights = np.interp(list(found.values()), rates, middle)
        _dots(figure, np.array(list(found.values())), heights, COLOURS[5], name="published rules", symbol="diamond",
              text=[label(name) for name in found], hovertemplate="%{text}: %{x:.3g}<extra></extra>")  # fmt: skip
    low, high = curve.rates[0], curve.rates[-1]
    log = curve.scale == "log"
    figure.update_xaxes(
        type="log" if log else "linear",
        range=[math.log10(low), math.log10(high)] if log else [low, high],
        exponentformat="power",
    )
    figure.update_yaxes(range=list(window(values, middle)))
    return _json(figure)


def runs(series: Mapping[str, tuple[Array, Array]], metric: str, *, fraction: bool, epoch: int = 0) -> str:
    """A metric over the steps: for each policy the mean of its runs and what lies between least and greatest.

    Args:
        series: By policy, the steps and the values there, one row a run.
        metric: Its name.
        fraction: Whether to show it in percent.
        epoch: Steps in an epoch, if known.
    """
    text = ".2%" if fraction else ".4~g"
    figure = _figure(
        x=f"step ({epoch:,} an epoch)" if epoch else "step", y=label(in_words(metric)), hovermode="x unified"
    )
    for index, (policy, (steps, values)) in enumerate(series.items()):
        colour, dash = COLOURS[index % len(COLOURS)], _DASHES[index % len(_DASHES)]
        known = np.isfinite(values).any(axis=0)
        low, high = np.nanmin(values[:, known], axis=0), np.nanmax(values[:, known], axis=0)
        figure.add_scatter(
            x=np.concatenate([steps[known], steps[known][::-1]]),
            y=np.concatenate([high, low[::-1]]).astype(np.float32),
            fill="toself", fillcolor=colour, opacity=min(0.12, 0.5 / len(series)), line={"width": 0}, mode="lines",
            hoverinfo="skip", legendgroup=str(index), showlegend=False,
        )  # fmt: skip
        _line(figure, steps[known], values[:, known].mean(axis=0), colour, dash=dash, name=label(policy),
              legendgroup=str(index), customdata=np.column_stack([low, high]).astype(np.float32),
              hovertemplate=f"%{{y:{text}}} (%{{customdata[0]:{text}}} – %{{customdata[1]:{text}}})")  # fmt: skip
    shown = settled(series.values())
    figure.update_yaxes(range=shown and list(shown), tickformat=".0%" if fraction else "")
    return _json(figure)


def differences(rows: Sequence[Summary], baseline: str, *, points: bool) -> str:
    """How far each policy's end is from the baseline's, with intervals, and whether that is a difference found."""
    scale, unit = (100, " points") if points else (1, "")
    found = [(row.policy, row.difference, row.differs) for row in rows if row.difference is not None]
    axis = f"difference from {label(baseline)}{' in points' if points else ''}"
    figure = _figure(x=axis, y="", hovermode="closest", showlegend=True)
    kinds = ((True, COLOURS[0], "circle", "difference found"), (False, _GREY, "circle-open", "no difference found"))
    for differs, colour, symbol, name in kinds:
        here = [(place, policy, change) for place, (policy, change, differing) in enumerate(found)
                if differing == differs and math.isfinite(change.mean)]  # fmt: skip
        if not here:
            continue
        middle = scale * np.array([change.mean for _, _, change in here])
        ends = scale * np.array([(change.low, change.high) for _, _, change in here])
        ends = np.where(np.isfinite(ends), ends, middle[:, None])  # one seed bounds nothing
        _dots(
            figure, middle, np.array([place for place, _, _ in here], dtype=np.float64), colour,
            symbol=symbol, size=11, name=name, text=[label(policy) for _, policy, _ in here], customdata=ends,
            error_x={"symmetric": False, "array": ends[:, 1] - middle, "arrayminus": middle - ends[:, 0],
                     "color": colour, "thickness": 2.5, "width": 4},
            hovertemplate=f"%{{text}}: %{{x:+.3~f}}{unit} (%{{customdata[0]:+.3~f}} to %{{customdata[1]:+.3~f}})"
            "<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=0, line={"width": 1.5, "color": "#333333"})
    # Places are numbers: a policy that is called 1e3 or 2020-01-01 would else become one, or a date.
    figure.update_yaxes(
        tickvals=list(range(len(found))),
        ticktext=[label(policy) for policy, _, _ in found],
        range=[len(found) - 0.5, -0.5],
    )
    return _json(figure)


def label(text: str) -> str:
    """`text` as Plotly is to show it: a few HTML tags mean something to it, and names from records are no tags."""
    text = clean(text).replace("\n", " ")
    return html.escape(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…", quote=False)


def _figure(*, x: str, y: str, **layout: Any) -> Figure:
    from plotly.graph_objects import Figure

    figure = Figure()
    figure.update_layout(
        template="none", paper_bgcolor="rgba(0, 0, 0, 0)", plot_bgcolor="rgba(0, 0, 0, 0)", colorway=COLOURS,
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#222222"},
        margin={"l": 60, "r": 15, "t": 30, "b": 50},
        modebar={"bgcolor": "rgba(0, 0, 0, 0)", "color": _GREY, "activecolor": "#222222"},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
    )  # fmt: skip
    figure.update_layout(**layout)
    figure.update_xaxes(title={"text": x}, gridcolor=_LINES, zeroline=False, automargin=True)
    figure.update_yaxes(title={"text": y}, gridcolor=_LINES, zeroline=False, automargin=True)
    return figure


def _line(
    figure: Figure, x: Array, y: Array, colour: str, *, width: float = 2, dash: str = "solid", **more: Any
) -> None:
    line = {"color": colour, "width": width, "dash": dash}
    figure.add_scatter(x=x, y=np.asarray(y, dtype=np.float32), mode="lines", line=line, **more)


def _dots(
    figure: Figure, x: Array, y: Array, colour: str, *, symbol: str = "circle", size: int = 9, **more: Any
) -> None:
    marker = {"color": colour, "symbol": symbol, "size": size, "line": {"width": 1.5, "color": colour}}
    figure.add_scatter(x=x, y=y, mode="markers", marker=marker, **more)


def _bounds(figure: Figure, bounds: Bounds) -> None:
    for name, value, interval, colour in (
        ("base_lr", bounds.base_lr, bounds.base_interval, COLOURS[2]),
        ("max_lr", bounds.max_lr, bounds.max_interval, COLOURS[1]),
    ):
        # Named in the legend: Plotly puts a note at a line of a logarithmic axis in a wrong place.
        line = {"color": colour, "width": 2, "dash": "dash"}
        figure.add_vline(x=value, line=line, name=f"{name} = {value:.3g}", showlegend=True)
        if interval is not None:
            figure.add_vrect(*interval, fillcolor=colour, opacity=0.12, line={"width": 0}, layer="below")


def _json(figure: Figure) -> str:
    """Its data and layout; Plotly's own writer leaves no `<`, `>` or `/` in them that could end a script."""
    return str(figure.to_json())
