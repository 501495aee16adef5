"""Converts a figure's data to JSON for Plotly's script."""

from __future__ import annotations

import html
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclr._page.blocks import Array, Axis, Figure, Line, Mark, Points, clean
from cyclr._page.figures import COLOURS, GREY, dash

Piece = dict[str, Any]

_DASHES = ("solid", "dash", "dashdot", "dot")
_GRID = "rgba(128, 128, 128, 0.25)"
_LONGEST = 40  # maximum characters of a name in a figure
_LONGEST_TITLE = 80  # maximum characters of an axis title
_WIDE_TITLE = 34  # more of them do not fit a phone
_SYMBOLS = {"circle": "circle", "hollow": "circle-open", "diamond": "diamond"}


def draw(figure: Figure) -> str | None:
    """Plotly's data and layout as JSON, safe inside a script; None if there is nothing to draw."""
    from plotly.graph_objects import Figure as Plot

    if not figure.lines and not figure.points:
        return None
    with np.errstate(all="ignore"):  # values beyond float32 become infinite, which Plotly leaves out
        bands = sum(line.low is not None for line in figure.lines)
        traces = [
            piece for index, line in enumerate(figure.lines) for piece in _line(line, str(index), bands, figure.y)
        ]
        traces += [_points(points, figure) for points in figure.points]
        if figure.below is not None:
            traces += _below(figure.below)
    shapes = [piece for mark in figure.marks for piece in _mark(mark)]
    named = any(item.name for item in (*figure.lines, *figure.points, *figure.marks))
    layout = _layout(figure) | {"shapes": shapes, "showlegend": named, "hovermode": "x unified" if bands else "closest"}
    if figure.below is not None:
        layout |= _two_rows(figure, figure.below)
    if not figure.x.name:  # one of several small ones
        layout["margin"] = {"l": 5, "r": 5, "t": 5, "b": 5}
    return str(Plot(data=traces, layout=layout).to_json())


def _below(figure: Figure) -> list[Piece]:
    """The traces of a figure below another one; the upper one's legend is for both."""
    lines = [piece for index, line in enumerate(figure.lines) for piece in _line(line, str(index), 0, figure.y)]
    pieces = [*lines, *(_points(points, figure) for points in figure.points)]
    return [piece | {"yaxis": "y2", "showlegend": False} for piece in pieces]


def _two_rows(upper: Figure, lower: Figure) -> Piece:
    x = _axis(upper.x) | {"anchor": "y2"}
    rows = {"yaxis": _axis(upper.y) | {"domain": [0.42, 1]}, "yaxis2": _axis(lower.y) | {"domain": [0, 0.34]}}
    return {"xaxis": x, **rows, "hoversubplots": "axis"}


def label(text: str, longest: int = _LONGEST) -> str:
    """`text` escaped for Plotly, which interprets a few HTML tags."""
    text = clean(text).replace("\n", " ")
    return html.escape(text if len(text) <= longest else text[: longest - 1] + "…", quote=False)


def _line(line: Line, group: str, bands: int, y: Axis) -> list[Piece]:
    colour = GREY if line.colour is None else COLOURS[line.colour % len(COLOURS)]
    many = {"name": label(line.name), "showlegend": bool(line.name)}
    if line.colour is None:
        return [_trace(line.x, line.y, GREY, width=1, opacity=0.6, legendgroup="grey", **many)]
    style = _DASHES[dash(line.colour)]
    if line.low is None or line.high is None:
        return [_trace(line.x, line.y, colour, width=3 if line.name else 2, dash=style, legendgroup=group, **many)]
    text = ".2%" if y.percent else ".4~g"
    hover = f"%{{y:{text}}} [%{{customdata[0]:{text}}}, %{{customdata[1]:{text}}}]"
    around, edge = np.concatenate([line.x, line.x[::-1]]), np.concatenate([line.high, line.low[::-1]])
    return [
        _trace(around, edge, colour, width=0, fill="toself", fillcolor=colour, opacity=min(0.12, 0.5 / bands),
               hoverinfo="skip", legendgroup=group, showlegend=False),
        _trace(line.x, line.y, colour, dash=style, legendgroup=group, hovertemplate=hover,
               customdata=np.column_stack([line.low, line.high]).astype(np.float32), **many),
    ]  # fmt: skip


def _trace(x: Array, y: Array, colour: str, *, width: float = 2, dash: str = "solid", **more: object) -> Piece:
    line = {"color": colour, "width": width, "dash": dash}
    return {
        "type": "scatter",
        "mode": "lines",
        "x": _packed(x),
        "y": np.asarray(y, dtype=np.float32),
        "line": line,
        **more,
    }


def _packed(x: Array) -> NDArray[Any]:
    """Steps as integers, which take half the place."""
    small = np.asarray(x, dtype=np.float64)
    return small.astype(np.int32) if np.array_equal(small, small.astype(np.int32)) else small


def _points(points: Points, figure: Figure) -> Piece:
    colour = GREY if points.colour is None else COLOURS[points.colour % len(COLOURS)]
    marker = {"color": colour, "symbol": _SYMBOLS[points.symbol], "size": 10, "line": {"width": 1.5, "color": colour}}
    trace: Piece = {"type": "scatter", "mode": "markers", "x": points.x, "y": points.y, "marker": marker,
                    "name": label(points.name), "cliponaxis": False}  # fmt: skip
    if any(line.name == points.name for line in figure.lines):  # one name in the legend for both
        trace |= {"legendgroup": str(points.colour), "showlegend": False}
        trace["hovertemplate"] = "end of a cycle<extra></extra>"
        marker |= {"size": 7}
    if points.labels:
        trace["text"] = [label(text) for text in points.labels]
        trace["hovertemplate"] = "%{text}: %{x:.3g}<extra></extra>"
    if points.low is not None and points.high is not None:
        trace["customdata"] = np.column_stack([points.low, points.high])
        trace["error_x"] = {"symmetric": False, "array": points.high - points.x, "arrayminus": points.x - points.low,
                            "color": colour, "thickness": 2.5, "width": 4}  # fmt: skip
        trace["hovertemplate"] = "%{text}: %{x:+.3~f} [%{customdata[0]:.3~f}, %{customdata[1]:.3~f}]<extra></extra>"
    return trace


def _mark(mark: Mark) -> list[Piece]:
    colour = "#333333" if mark.colour is None else COLOURS[mark.colour % len(COLOURS)]
    line = {"color": colour, "width": 2, "dash": "solid" if mark.colour is None else "dash"}
    upright = {"y0": 0, "y1": 1, "yref": "paper"}
    name = {"name": label(mark.name), "showlegend": True} if mark.name else {}
    pieces: list[Piece] = [{"type": "line", "x0": mark.at, "x1": mark.at, **upright, "line": line, **name}]
    if mark.interval is not None:
        low, high = mark.interval
        pieces.append({"type": "rect", "x0": low, "x1": high, **upright, "layer": "below", "fillcolor": colour,
                       "opacity": 0.12, "line": {"width": 0}})  # fmt: skip
    return pieces


def _layout(figure: Figure) -> Piece:
    nothing = "rgba(0, 0, 0, 0)"
    return {
        "template": "none", "paper_bgcolor": nothing, "plot_bgcolor": nothing,
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#222222"},
        "margin": {"l": 60, "r": 15, "t": 30, "b": 50},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        "modebar": {"bgcolor": nothing, "color": GREY, "activecolor": "#222222"},
        "xaxis": _below_itself(_axis(figure.x)), "yaxis": _axis(figure.y),
    }  # fmt: skip


def _below_itself(axis: Piece) -> Piece:
    """The axis with the unit of a long title on a line of its own: Plotly would cut it off on a phone."""
    title = axis.get("title", {"text": ""})["text"]
    return axis | {"title": {"text": title.replace(" (", "<br>(", 1)}} if len(title) > _WIDE_TITLE else axis


def _axis(axis: Axis) -> Piece:
    made: Piece = {"gridcolor": _GRID, "zeroline": False, "automargin": True, "type": axis.scale}
    made |= {"title": {"text": label(axis.name, _LONGEST_TITLE)}} if axis.name else {"nticks": 4}
    if axis.range is not None:
        made["range"] = [math.log10(end) for end in axis.range] if axis.scale == "log" else list(axis.range)
    elif axis.zero:
        made["rangemode"] = "tozero"
    if axis.scale == "log":
        made["exponentformat"] = "power"
    if axis.percent:
        made["tickformat"] = ".0%"
    if axis.ticks:  # numeric positions: Plotly would turn a policy named 1e3 or 2020-01-01 into a number or a date
        made |= {"tickvals": list(range(len(axis.ticks))), "ticktext": [label(text) for text in axis.ticks]}
    return made
