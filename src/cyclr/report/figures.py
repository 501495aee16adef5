"""Figures by Plotly, as the JSON that its script draws."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclr._page.blocks import clean
from cyclr._range.bounds import Bounds
from cyclr._range.curve import Curve
from cyclr._schedules import Schedule
from cyclr._view import COLOURS, in_words, sample, settled, smoothed, window
from cyclr.study._summary import Summary

Array = NDArray[np.float64]
Part = dict[str, Any]

_DASHES = ("solid", "dash", "dashdot", "dot")
_GREY = "#8a8a8a"
_LINES = "rgba(128, 128, 128, 0.25)"
_LONGEST = 40  # characters of a name in a figure
_SMALL_POINTS = 2001


def schedules(schedule: Schedule, steps: int, *, highest: float) -> str:
    """A small picture of a schedule; those of one study share their height."""
    at = sample(schedule, steps, points=_SMALL_POINTS)
    few = {"title": None, "nticks": 4}
    return _json(
        [_line(at, schedule(at), COLOURS[0])],
        xaxis=few,
        yaxis={**few, "range": [0, 1.05 * highest]},
        margin={"l": 5, "r": 5, "t": 5, "b": 5},
        showlegend=False,
    )


def plan(schedule: Schedule, steps: int, snapshots: Sequence[int], epoch: int | None) -> str:
    """A plan's schedule and where its cycles close."""
    at, scale = sample(schedule, steps), epoch or 1
    ends = np.array(snapshots, dtype=np.int64)
    rate = _line(at / scale, schedule(at), COLOURS[0], name="learning rate")
    closed = _dots(ends / scale, schedule(ends), COLOURS[1], name="snapshot: a cycle has closed", cliponaxis=False)
    return _json([rate, closed], x="epoch" if epoch else "step", y="learning rate", yaxis={"rangemode": "tozero"})


def range_test(curve: Curve, signal: str, bounds: Bounds | None, rules: Mapping[str, float | None]) -> str:
    """A range test: each repeat, their smoothed median, both bounds, and where the published rules point to."""
    values = curve.losses if signal == "loss" else curve.metrics[signal]
    rates, middle = smoothed(curve, signal)
    traces: list[Part] = []
    for index, row in enumerate(values):
        known = np.isfinite(row)
        traces.append(_line(curve.rates[known], row[known], _GREY, width=1, opacity=0.6, name="one repeat",
                            legendgroup="repeats", showlegend=index == 0))  # fmt: skip
    name = "median, smoothed" if len(values) > 1 else "smoothed"
    traces.append(_line(rates, middle, COLOURS[0], width=3, name=name))
    found = {rule: rate for rule, rate in rules.items() if rate is not None}
    if found and len(rates):
        at = np.array(list(found.values()))
        traces.append(_dots(at, np.interp(at, rates, middle), COLOURS[5], name="published rules", symbol="diamond",
                            text=list(found), hovertemplate="%{text}: %{x:.3g}<extra></extra>"))  # fmt: skip
    low, high = curve.rates[0], curve.rates[-1]
    log = curve.scale == "log"
    ends = [math.log10(low), math.log10(high)] if log else [low, high]
    return _json(
        traces,
        x="learning rate",
        y=label(in_words(signal)),
        xaxis={"type": curve.scale, "range": ends, "exponentformat": "power"},
        yaxis={"range": window(values, middle, rising=signal in curve.maximize)},
        shapes=[] if bounds is None else _bounds(bounds),
        hovermode="closest",
    )


def runs(series: Mapping[str, tuple[Array, Array]], metric: str, *, fraction: bool, epoch: int = 0) -> str:
    """A metric over the steps: for each policy the mean of its runs and what lies between least and greatest.

    Args:
        series: By policy, the steps and the values there, one row a run.
        metric: Its name.
        fraction: Whether to show it in percent.
        epoch: Steps in an epoch, if known.
    """
    text = ".2%" if fraction else ".4~g"
    hover = f"%{{y:{text}}} (%{{customdata[0]:{text}}} – %{{customdata[1]:{text}}})"
    traces: list[Part] = []
    for index, (policy, (steps, values)) in enumerate(series.items()):
        colour, group = COLOURS[index % len(COLOURS)], str(index)
        known = np.isfinite(values).any(axis=0)
        at, low, high = steps[known], np.nanmin(values[:, known], axis=0), np.nanmax(values[:, known], axis=0)
        around, edge = np.concatenate([at, at[::-1]]), np.concatenate([high, low[::-1]])
        traces += [
            _line(around, edge, colour, width=0, fill="toself", fillcolor=colour, opacity=min(0.12, 0.5 / len(series)),
                  hoverinfo="skip", legendgroup=group, showlegend=False),
            _line(at, values[:, known].mean(axis=0), colour, dash=_DASHES[index % len(_DASHES)], name=label(policy),
                  legendgroup=group, customdata=np.column_stack([low, high]).astype(np.float32), hovertemplate=hover),
        ]  # fmt: skip
    return _json(
        traces,
        x=f"step ({epoch:,} an epoch)" if epoch else "step",
        y=label(in_words(metric)),
        yaxis={"range": settled(series.values()), "tickformat": ".0%" if fraction else ""},
        hovermode="x unified",
    )


def differences(rows: Sequence[Summary], baseline: str, *, points: bool) -> str:
    """How far each policy's end is from the baseline's, with intervals, and whether that is a difference found."""
    scale, unit = (100, " points") if points else (1, "")
    found = [(row.policy, row.difference, row.differs) for row in rows if row.difference is not None]
    hover = f"%{{text}}: %{{x:+.3~f}}{unit} (%{{customdata[0]:+.3~f}} to %{{customdata[1]:+.3~f}})<extra></extra>"
    kinds = ((True, COLOURS[0], "circle", "difference found"), (False, _GREY, "circle-open", "no difference found"))
    traces: list[Part] = []
    for differs, colour, symbol, name in kinds:
        here = [(place, policy, change) for place, (policy, change, differing) in enumerate(found)
                if differing == differs and math.isfinite(change.mean)]  # fmt: skip
        if not here:
            continue
        middle = scale * np.array([change.mean for _, _, change in here])
        ends = scale * np.array([(change.low, change.high) for _, _, change in here])
        ends = np.where(np.isfinite(ends), ends, middle[:, None])  # one seed bounds nothing
        bar = {"symmetric": False, "array": ends[:, 1] - middle, "arrayminus": middle - ends[:, 0],
               "color": colour, "thickness": 2.5, "width": 4}  # fmt: skip
        places, names = [place for place, _, _ in here], [label(policy) for _, policy, _ in here]
        traces.append(_dots(middle, places, colour, symbol=symbol, size=11, name=name, text=names, customdata=ends,
                            error_x=bar, hovertemplate=hover))  # fmt: skip
    return _json(
        traces,
        x=f"difference from {label(baseline)}{' in points' if points else ''}",
        # Places are numbers: a policy that is called 1e3 or 2020-01-01 would else become one, or a date.
        yaxis={
            "tickvals": list(range(len(found))),
            "ticktext": [label(policy) for policy, _, _ in found],
            "range": [len(found) - 0.5, -0.5],
        },
        shapes=[_across(0, {"width": 1.5, "color": "#333333"})],
        hovermode="closest",
        showlegend=True,
    )


def label(text: str) -> str:
    """`text` as Plotly is to show it: a few HTML tags mean something to it, and names from records are no tags."""
    text = clean(text).replace("\n", " ")
    return html.escape(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…", quote=False)


def _line(x: Array, y: Array, colour: str, *, width: float = 2, dash: str = "solid", **more: Any) -> Part:
    line = {"color": colour, "width": width, "dash": dash}
    return {"type": "scatter", "mode": "lines", "x": x, "y": np.asarray(y, dtype=np.float32), "line": line, **more}


def _dots(x: Array, y: Any, colour: str, *, symbol: str = "circle", size: int = 9, **more: Any) -> Part:
    marker = {"color": colour, "symbol": symbol, "size": size, "line": {"width": 1.5, "color": colour}}
    return {"type": "scatter", "mode": "markers", "x": x, "y": y, "marker": marker, **more}


def _across(x: float, line: Part, **more: Any) -> Part:
    """A line from top to bottom."""
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line, **more}


def _bounds(bounds: Bounds) -> list[Part]:
    """Lines at both, named in the legend, and their intervals shaded."""
    shapes: list[Part] = []
    for name, value, interval, colour in (
        ("base_lr", bounds.base_lr, bounds.base_interval, COLOURS[2]),
        ("max_lr", bounds.max_lr, bounds.max_interval, COLOURS[1]),
    ):
        line = {"color": colour, "width": 2, "dash": "dash"}
        shapes.append(_across(value, line, name=f"{name} = {value:.3g}", showlegend=True))
        if interval is not None:
            low, high = interval
            shapes.append({"type": "rect", "x0": low, "x1": high, "y0": 0, "y1": 1, "yref": "paper", "layer": "below",
                           "fillcolor": colour, "opacity": 0.12, "line": {"width": 0}})  # fmt: skip
    return shapes


def _json(traces: list[Part], *, x: str = "", y: str = "", xaxis: Part | None = None, yaxis: Part | None = None,
          **layout: Any) -> str:  # fmt: skip
    """Data and layout; Plotly's own writer leaves no `<`, `>` or `/` in them that could end a script."""
    from plotly.graph_objects import Figure

    nothing = "rgba(0, 0, 0, 0)"
    axis = {"gridcolor": _LINES, "zeroline": False, "automargin": True}
    look = {
        "template": "none", "paper_bgcolor": nothing, "plot_bgcolor": nothing,
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#222222"},
        "margin": {"l": 60, "r": 15, "t": 30, "b": 50},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        "modebar": {"bgcolor": nothing, "color": _GREY, "activecolor": "#222222"},
        "xaxis": {"title": {"text": x}, **axis, **(xaxis or {})},
        "yaxis": {"title": {"text": y}, **axis, **(yaxis or {})},
    }  # fmt: skip
    return str(Figure(data=traces, layout=look | layout).to_json())
