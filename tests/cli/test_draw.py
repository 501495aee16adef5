from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr._cli.draw import lines


def body(chart: list[str]) -> list[str]:
    return [line.split("┤" if "┤" in line else "|", 1)[1] for line in chart[:12]]


@given(
    st.lists(st.floats(-1e30, 1e30) | st.just(math.nan), min_size=2, max_size=50), st.integers(10, 200), st.booleans()
)
def test_a_chart_is_never_wider_than_it_may_be(values: list[float], width: int, fine: bool) -> None:
    chart = lines(range(len(values)), values, width=width, fine=fine, x_label="step")
    assert max(map(len, chart)) <= max(width, 20 + 2 + 11)
    assert len(chart) == 14
    assert fine or all(line.isascii() for line in chart)


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
    chart = lines([1e-4, 1e-2, 1], [0, 1, 0], width=60, fine=False, log=True, marks=[(1e-2, "M")])
    foot = chart[-2]
    columns = len(body(chart)[-1].rstrip())
    assert foot.index("M") - chart[0].index("|") - 1 == pytest.approx(columns / 2, abs=1)


def test_marks_stand_at_their_place_and_do_not_hide_the_line() -> None:
    chart = lines([0, 10], [0, 0.01], width=60, fine=False, y_range=(0, 1), marks=[(0, "b"), (10, "M"), (99, "x")])
    assert chart[-2].strip().startswith("b")
    assert "*" in chart[11]


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0, 0.0], [math.nan, math.nan], [-3.0, -3.0]])
def test_a_flat_or_empty_line_is_drawn_too(values: list[float]) -> None:
    assert len(lines([0, 1], values, width=60, fine=True)) == 14
