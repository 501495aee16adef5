"""Charts in the terminal: dots of braille, or plain ASCII where there is no terminal that shows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from cyclr._cli import output

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille character, four rows of two
_HEIGHT = 12  # lines
_FINEST = 4  # points for each dot across; more cannot be seen


def chart(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_label: str = "",
    y_range: tuple[float, float] | None = None,
    log: bool = False,
    marks: Sequence[tuple[float, str]] = (),
) -> None:
    """Prints a line chart as wide as the output.

    Args:
        x: Increasing.
        y: A value for each x; NaN is a gap.
        x_label: Printed below.
        y_range: What part of the values is shown.
        log: Whether x is on a log axis.
        marks: Vertical lines: where, and the letter that stands at their foot.
    """
    console = output.stdout()
    for line in lines(x, y, width=min(console.width, 120) - 1, fine=output.fancy(console), x_label=x_label,
                      y_range=y_range, log=log, marks=marks):  # fmt: skip
        output.say(line)


def lines(
    x: ArrayLike,
    y: ArrayLike,
    *,
    width: int,
    fine: bool,
    x_label: str = "",
    y_range: tuple[float, float] | None = None,
    log: bool = False,
    marks: Sequence[tuple[float, str]] = (),
) -> list[str]:
    """The chart's lines; see `chart`. `fine`: braille, not ASCII."""
    across, up = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    finite = up[np.isfinite(up)]
    low, high = y_range or ((float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0))
    if not high > low:
        low, high = low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
    names = [output.number(value) for value in (high, (low + high) / 2, low)]
    margin = max(map(len, names))
    columns = max(20, width - margin - 2)
    grain_x, grain_y = (2, 4) if fine else (1, 1)
    dots = np.zeros((_HEIGHT * grain_y, columns * grain_x), dtype=bool)
    if len(across) > _FINEST * dots.shape[1]:
        fewer = (np.geomspace if log else np.linspace)(across[0], across[-1], _FINEST * dots.shape[1])
        across, up = fewer, np.interp(fewer, across, up)
    place = _placer(across, dots.shape[1], log=log)
    _trace(dots, place(across), (high - up) / (high - low) * (dots.shape[0] - 1))
    rows = _braille(dots) if fine else _ascii(dots)
    foot = [" "] * columns
    for value, letter in marks:
        at = int(np.clip(place(np.array([value]))[0] // grain_x, 0, columns - 1))
        rows = [row[:at] + ("│" if fine else "|") + row[at + 1 :] if row[at] in " \u2800" else row for row in rows]
        foot[at] = letter
    side = {0: names[0], _HEIGHT // 2: names[1], _HEIGHT - 1: names[2]}
    wall, corner, floor = ("┤", "└", "─") if fine else ("|", "+", "-")
    chart = [f"{side.get(index, ''):>{margin}} {wall}{row.rstrip()}" for index, row in enumerate(rows)]
    chart.append(" " * (margin + 1) + corner + floor * columns)
    if marks:
        chart.append(" " * (margin + 2) + "".join(foot).rstrip())
    return [*chart, " " * (margin + 2) + _scale(across, columns, x_label)]


def _placer(across: np.ndarray, width: int, *, log: bool) -> Callable[[np.ndarray], np.ndarray]:
    """From x to a column of dots."""

    def place(value: np.ndarray) -> np.ndarray:
        ends = np.log(across[[0, -1]]) if log else across[[0, -1]]
        return ((np.log(value) if log else value) - ends[0]) / ((ends[1] - ends[0]) or 1) * (width - 1)

    return place


def _trace(dots: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> None:
    """A line through the points, cut at the edge of the canvas; gaps stay gaps."""
    height, width = dots.shape
    for (c0, r0), (c1, r1) in pairwise(zip(columns.tolist(), rows.tolist(), strict=True)):
        if not all(map(math.isfinite, (c0, r0, c1, r1))):
            continue
        # From where to where on the way from the first point to the second the canvas is crossed.
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


def _scale(across: np.ndarray, columns: int, label: str) -> str:
    first, last = f"{across[0]:.4g}", f"{across[-1]:.6g}"
    return first + label.center(columns - len(first) - len(last)) + last
