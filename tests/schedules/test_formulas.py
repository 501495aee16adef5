"""The formulas against independent statements of them, straight from the papers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cyclr
from tests.schedules import reference
from tests.schedules.many import assert_near
from tests.schedules.strategies import bounds, rates, sizes

BASE, MAX, SIZE, GAMMA = 0.001, 0.006, 2000, 0.99994
STEPS = range(10_000)


@given(bounds(), sizes, st.none() | sizes, st.integers(0, 2**53 - 1))
def test_triangular_is_the_exact_wave(limits, up, down, step):
    wave = cyclr.Triangular(*limits, step_size=up, step_size_down=down)
    assert wave(step) == pytest.approx(reference.triangular(step, *limits, up, down), rel=1e-13)


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        (cyclr.Triangular(BASE, MAX, step_size=SIZE), lambda t: reference.paper(t, BASE, MAX, SIZE)),
        (cyclr.Triangular2(BASE, MAX, step_size=SIZE), lambda t: reference.triangular2(t, BASE, MAX, SIZE)),
        (
            cyclr.ExpRange(BASE, MAX, step_size=SIZE, gamma=GAMMA),
            lambda t: reference.exp_range_amplitude(t, BASE, MAX, SIZE, GAMMA),
        ),
        (
            cyclr.ExpRange(BASE, MAX, step_size=SIZE, gamma=GAMMA, decay="bounds"),
            lambda t: reference.exp_range_bounds(t, BASE, MAX, SIZE, GAMMA),
        ),
        (cyclr.Welch(BASE, MAX, step_size=SIZE), lambda t: reference.window(t, BASE, MAX, SIZE, "welch")),
        (cyclr.Hann(BASE, MAX, step_size=SIZE), lambda t: reference.window(t, BASE, MAX, SIZE, "hann")),
    ],
    ids=lambda value: repr(value) if isinstance(value, cyclr.Schedule) else None,
)
def test_waves_are_the_formulas_of_the_paper(schedule, formula):
    expected = [formula(t) for t in STEPS]
    assert_near([schedule(t) for t in STEPS], expected, rel=1e-12)
    assert_near(schedule(np.arange(len(STEPS))), expected, rel=1e-12)


def test_a_logarithmic_wave_is_a_linear_wave_of_the_logarithm():
    wave = cyclr.Triangular(BASE, MAX, step_size=SIZE, scale="log")
    expected = [math.exp(reference.paper(t, math.log(BASE), math.log(MAX), SIZE)) for t in STEPS]
    assert_near([wave(t) for t in STEPS], expected, rel=1e-12)


@given(bounds(), sizes, st.integers(1, 5), st.integers(0, 2_000_000))
def test_warm_restarts_are_the_cosine_counted_off_cycle_by_cycle(limits, period, growth, step):
    schedule = cyclr.WarmRestarts(*limits, period=period, growth=growth)
    step = min(step, 300 * period)  # the reference walks
    expected = reference.warm_restarts(step, *limits, period, growth)
    assert schedule(step) == pytest.approx(expected, rel=1e-12)
    assert schedule(np.array([step]))[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("period", "growth"), [(3, 3), (10, 3), (1, 10), (7, 7), (100, 5)])
def test_every_restart_is_at_the_peak_where_a_logarithm_slips(period, growth):
    schedule = cyclr.WarmRestarts(0.0, 0.1, period=period, growth=growth)
    restarts = [period * (growth**n - 1) // (growth - 1) for n in range(1, 16)]
    restarts = [restart for restart in restarts if restart < 2**53]
    assert [schedule(restart) for restart in restarts] == [0.1] * len(restarts)
    assert schedule(np.array(restarts)).tolist() == [0.1] * len(restarts)
    assert schedule.cycle_ends(until=restarts[-1]) == tuple(restarts)


@pytest.mark.parametrize("name", ["Linear", "Cosine", "Exponential", "Power", "Rex", "Sqrt"])
@given(start=rates, end=rates, steps=sizes, step=st.integers(0, 6000))
def test_pieces_are_their_formulas(name, start, end, steps, step):
    piece = getattr(cyclr, name)(start, end, steps=steps)
    expected = reference.piece(name, step, start, end, steps)
    assert piece(step) == pytest.approx(expected, rel=1e-9, abs=1e-13)
    assert piece(0) == start
    assert piece(steps) == end


def test_golden_curves():
    """Values worked out by hand."""
    t = range(9)
    assert [round(cyclr.Triangular(0, 1, step_size=2)(i), 9) for i in t] == [0, 0.5, 1, 0.5, 0, 0.5, 1, 0.5, 0]
    assert [cyclr.Triangular2(0, 1, step_size=2)(i) for i in t] == [0, 0.5, 1, 0.5, 0, 0.25, 0.5, 0.25, 0]
    assert [cyclr.Welch(0, 1, step_size=2)(i) for i in t] == [0, 0.75, 1, 0.75, 0, 0.75, 1, 0.75, 0]
    assert [round(cyclr.Hann(0, 1, step_size=2)(i), 9) for i in t] == [0, 0.5, 1, 0.5, 0, 0.5, 1, 0.5, 0]
    assert [round(cyclr.WarmRestarts(0, 1, period=2, growth=2)(i), 6) for i in t] == [
        1,
        0.5,
        1,
        0.853553,
        0.5,
        0.146447,
        1,
        0.96194,
        0.853553,
    ]
    assert [cyclr.Linear(0, 1, steps=4)(i) for i in t] == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    table_2 = (
        cyclr.Triangular(1e-3, 5e-3, step_size=2000).take(16_000)
        >> cyclr.Triangular(1e-4, 5e-4, step_size=1000).take(6_000)
        >> cyclr.Triangular(1e-5, 5e-5, step_size=500).take(3_000)
    )
    assert table_2.duration == 25_000
    assert len(table_2.cycle_ends()) == 4 + 3 + 3
    assert [table_2(t) for t in (2000, 16_000, 17_000, 22_500, 25_000)] == [5e-3, 1e-4, 5e-4, 5e-5, 1e-5]
