from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cyclr._cli import _chart
from cyclr._page.blocks import Axis, Figure, Line, Mark, Points

TINY = 5e-324
HUGE = 1.7976931348623157e308


def lines(
    x: Any,
    y: Any,
    *,
    width: int,
    fine: bool,
    x_label: str = "",
    y_range: tuple[float, float] | None = None,
    log: bool = False,
    marks: tuple[tuple[float, str], ...] = (),
) -> list[str]:
    """The chart of a figure with one line."""
    line = Line(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
    crossing = tuple(Mark(at, letter, 1, letter=letter) for at, letter in marks)
    x_axis, y_axis = Axis(x_label, "log" if log else "linear"), Axis("", range=y_range)
    return _chart.lines(Figure("a", "A.", x_axis, y_axis, (line,), (), crossing), width=width, fine=fine)


def body(chart: list[str]) -> list[str]:
    return [line.split("┤" if "┤" in line else "|", 1)[1] for line in chart[:12]]


values = st.lists(st.floats(), min_size=1, max_size=50)
spans = st.none() | st.tuples(st.floats(), st.floats()).map(lambda ends: (min(ends), max(ends)))


@given(values, spans, st.integers(10, 200), st.booleans())
@example([TINY, math.nan], None, 60, True)  # was a division by zero: a tenth of the smallest float is zero
@example([TINY, 2 * TINY], None, 60, True)
@example([HUGE, -HUGE], None, 60, True)  # their difference overflows
@example([HUGE, HUGE], None, 60, True)
@example([math.inf, -math.inf, 1.0], None, 60, True)
@example([0.0, HUGE], (0.0, TINY), 60, True)
@example([1.0], None, 60, True)
def test_a_chart_of_any_floats_is_never_wider_than_it_may_be(
    values: list[float], span: tuple[float, float] | None, width: int, fine: bool
) -> None:
    chart = lines(range(len(values)), values, width=width, fine=fine, x_label="step", y_range=span)
    assert max(map(len, chart)) <= max(width, 20 + 2 + 11)
    assert len(chart) == 14
    assert fine or all(line.isascii() for line in chart)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9, unique=True), st.booleans())
@example([-HUGE, HUGE], False)
@example([0.0, TINY], False)
@example([TINY, HUGE], True)
def test_a_chart_over_any_rates_is_drawn(rates: list[float], log: bool) -> None:
    across = sorted({abs(rate) or 1.0 for rate in rates} if log else rates)
    chart = lines(across, np.linspace(0, 1, len(across)), width=60, fine=False, log=log, marks=((across[-1], "M"),))
    assert len(chart) == 15
    assert any("*" in row for row in body(chart)) or len(across) == 1


@given(st.integers(-300, 300), st.integers(2, 40))
def test_the_unit_of_the_values_does_not_change_their_places(power: int, count: int) -> None:
    y = np.sin(7 * np.linspace(0, 1, count))
    places = [_chart._unit(each, float(each.min()), float(each.max())) for each in (y, y * 10.0**power)]
    assert places[0] == pytest.approx(places[1], abs=1e-9)


def test_a_line_goes_from_corner_to_corner() -> None:
    rows = body(lines([0, 1], [0, 1], width=60, fine=False))
    assert [row.find("*") for row in rows] == sorted((row.find("*") for row in rows), reverse=True)
    assert rows[-1].startswith("*")
    assert rows[0].rstrip().endswith("*")
    assert all("*" in row for row in rows)


def test_braille_shows_the_same_line_as_ascii() -> None:
    x = np.linspace(0, 1, 30)
    rows = {fine: body(lines(x, np.sin(7 * x), width=80, fine=fine)) for fine in (True, False)}
    for fine, coarse in zip(rows[True], rows[False], strict=True):
        inked = {k for k, char in enumerate(coarse) if char == "*"}
        for k, char in enumerate(fine):
            assert char == " " or any(abs(k - other) <= 3 for other in inked | {k} if other in inked) or not inked


def test_gaps_stay_gaps_and_what_is_outside_is_cut() -> None:
    rows = body(lines(range(5), [1, 1, math.nan, 2, 2], width=60, fine=False))
    middle = len(rows[0].ljust(50)) // 2
    assert all(row[middle - 2 : middle + 2].strip() == "" for row in rows)
    cut = body(lines(range(3), [0, 1e9, 0], width=60, fine=False, y_range=(0, 1)))
    assert sum(row.count("*") for row in cut) < 2 * 12 + 4


def test_a_log_axis_spaces_decades_equally() -> None:
    chart = lines([1e-4, 1e-2, 1], [0, 1, 0], width=60, fine=False, log=True, marks=((1e-2, "M"),))
    foot = chart[-2]
    columns = len(body(chart)[-1].rstrip())
    assert foot.index("M") - chart[0].index("|") - 1 == pytest.approx(columns / 2, abs=1)


def test_marks_stand_at_their_place_and_do_not_hide_the_line() -> None:
    chart = lines([0, 10], [0, 0.01], width=60, fine=False, marks=((0, "b"), (10, "M"), (99, "x")))
    assert chart[-2].strip().startswith("b")
    assert "*" in chart[11]


@pytest.mark.parametrize("gap", [math.inf, -math.inf, math.nan])
def test_an_infinite_value_is_a_gap(gap: float) -> None:
    assert lines(range(3), [1, gap, 2], width=60, fine=False) == lines(range(3), [1, math.nan, 2], width=60, fine=False)


def test_zero_is_shown_where_the_figure_wants_it() -> None:
    line = Line(np.arange(3.0), np.array([5.0, 6.0, 7.0]))
    chart = _chart.lines(Figure("a", "A.", Axis("x"), Axis("y", zero=True), (line,)), width=60, fine=False)
    assert chart[11].strip().startswith("0 |")
    assert chart[0].strip().startswith("7 |")


def test_a_figure_without_one_main_line_has_no_chart() -> None:
    line, points = Line(np.arange(3.0), np.arange(3.0)), Points(np.arange(3.0), np.arange(3.0), "p")
    for figure in (
        Figure("a", "A.", Axis("x"), Axis("y"), (line, line)),
        Figure("a", "A.", Axis("x"), Axis("y"), points=(points,)),
    ):
        assert _chart.lines(figure, width=60, fine=True) == []


def test_a_line_without_points_is_an_empty_chart() -> None:
    assert len(lines([], [], width=60, fine=True)) == 14


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0, 0.0], [math.nan, math.nan], [-3.0, -3.0], [TINY, TINY]])
def test_a_flat_or_empty_line_is_drawn_too(values: list[float]) -> None:
    chart = lines([0, 1], values, width=60, fine=False)
    assert len(chart) == 14
    assert ["*" in row for row in body(chart)].count(True) == (0 if math.isnan(values[0]) else 1)
