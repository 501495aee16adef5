"""Charts made of characters: braille dots, or ASCII if the output cannot show them."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from cyclr._page.blocks import Array, Axis, Figure, Line
from cyclr._page.numbers import number, precise

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille character, four rows of two
_HEIGHT = 12  # lines
_FINEST = 4  # points per horizontal dot; more would be invisible
_FAR = 1e6  # in heights of the chart: a line that goes further outside is drawn as vertical


def lines(figure: Figure, *, width: int, fine: bool) -> list[str]:
    """The highlighted line of a figure and its marks, as lines of text.

    Args:
        figure: The figure to draw.
        width: Characters per line.
        fine: Whether to draw with braille dots instead of ASCII.

    Returns:
        The lines; empty if the figure has no such line. NaN and infinite values are gaps.

    >>> from cyclr import Linear
    >>> from cyclr._page.figures import schedule
    >>> chart = lines(schedule(Linear(0, 1, steps=10)), width=30, fine=False)
    >>> print(chart[0], chart[-1], sep=chr(10))
      1 |                       **
         0         step         10
    """
    line = figure.main
    if line is None:
        return []
    low, high = _limits(line, figure.y)
    names = [number(value) for value in (high, low / 2 + high / 2, low)] if low < high else ["", number(low), ""]
    margin = max(map(len, names))
    columns = max(20, width - margin - 2)
    grain_x, grain_y = (2, 4) if fine else (1, 1)
    dots = np.zeros((_HEIGHT * grain_y, columns * grain_x), dtype=bool)
    left, right = (float(line.x[0]), float(line.x[-1])) if len(line.x) else (figure.x.range or (0.0, 1.0))
    log = figure.x.scale == "log"
    place = _unit(line.x, left, right, log=log)
    up = 1 - _unit(line.y, low, high)
    if len(place) > _FINEST * dots.shape[1]:
        fewer = np.linspace(0, 1, _FINEST * dots.shape[1])
        place, up = fewer, np.interp(fewer, place, up)
    _trace(dots, place * (dots.shape[1] - 1), up * (dots.shape[0] - 1))
    rows = _braille(dots) if fine else _ascii(dots)
    foot = [" "] * columns
    named = [mark for mark in figure.marks if mark.name]
    for mark in named:
        across = float(_unit(np.array([mark.at]), left, right, log=log)[0])
        at = round(min(max(across, 0.0), 1.0) * (columns - 1))
        rows = [row[:at] + ("│" if fine else "|") + row[at + 1 :] if row[at] in " \u2800" else row for row in rows]
        foot[at] = mark.letter
    side = {0: names[0], _HEIGHT // 2: names[1], _HEIGHT - 1: names[2]}
    wall, corner, floor = ("┤", "└", "─") if fine else ("|", "+", "-")
    chart = [f"{side.get(index, ''):>{margin}} {wall}{row.rstrip()}" for index, row in enumerate(rows)]
    chart.append(" " * (margin + 1) + corner + floor * columns)
    if named:
        chart.append(" " * (margin + 2) + "".join(foot).rstrip())
    return [*chart, " " * (margin + 2) + _scale(left, right, columns, figure.x.name)]


def _limits(line: Line, axis: Axis) -> tuple[float, float]:
    """Limits of the vertical axis: the part of the figure's range that the line covers."""
    finite = line.y[np.isfinite(line.y)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if axis.zero:
        low = min(0.0, low)
    bottom, top = axis.range or (low, high)
    return (max(low, bottom), min(high, top)) if low <= top and high >= bottom else (low, high)


def _unit(values: Array, low: float, high: float, *, log: bool = False) -> Array:
    """`values` scaled so that `low` is 0 and `high` is 1; 0.5 if both are equal, NaN where not finite.

    Everything is first divided by the largest magnitude, so that differences of very large floats do not overflow and
    those of very small ones do not vanish.
    """
    with np.errstate(all="ignore"):
        if log:
            values, low, high = np.log(values), math.log(low), math.log(high)
        size = max(abs(low), abs(high)) or 1.0
        bottom, top = low / size, high / size
        shares = (values / size - bottom) / (top - bottom) if top > bottom else np.full(len(values), 0.5)
        return np.where(np.isfinite(values), np.clip(shares, -_FAR, _FAR), math.nan)


def _trace(dots: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> None:
    """A line through the points, clipped at the edge of the canvas; gaps stay gaps."""
    height, width = dots.shape
    for (c0, r0), (c1, r1) in pairwise(zip(columns.tolist(), rows.tolist(), strict=True)):
        if not all(map(math.isfinite, (c0, r0, c1, r1))):
            continue
        # The part of the segment that lies on the canvas.
        ends = sorted((edge - r0) / (r1 - r0) for edge in (-0.4, height - 0.6)) if r0 != r1 else [0.0, 1.0]
        begin, end = max(0.0, ends[0]), min(1.0, ends[1])
        if begin > end:
            continue
        way = np.linspace(begin, end, int(max(abs(c1 - c0), min(abs(r1 - r0), height))) + 2)
        r, c = np.rint(r0 + way * (r1 - r0)).astype(int), np.rint(c0 + way * (c1 - c0)).astype(int)
        inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
        dots[r[inside], c[inside]] = True


def _braille(dots: np.ndarray) -> list[str]:
    cells = np.zeros((dots.shape[0] // 4, dots.shape[1] // 2), dtype=int)
    for row in range(4):
        for column in range(2):
            cells += dots[row::4, column::2] * _DOTS[row][column]
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in row) for row in cells.tolist()]


def _ascii(dots: np.ndarray) -> list[str]:
    return ["".join("*" if dot else " " for dot in row) for row in dots.tolist()]


def _scale(left: float, right: float, columns: int, label: str) -> str:
    first, last = number(left), precise(right)
    return first + label.center(columns - len(first) - len(last)) + last
