"""What a rate costs that is right but for an unknown factor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.stats import norm

from cyclr._range.risk import grid, risk

where = np.linspace(-4, 4, 161)
doubts = st.floats(0.1, 1.0)


def costs(seed):
    """A fall, a valley and a rise of random places and steepness."""
    rng = np.random.default_rng(seed)
    fall, rise = np.sort(rng.uniform(-2, 2, size=2))
    return 1 / (1 + np.exp(rng.uniform(1, 5) * (where - fall))) + 1 / (1 + np.exp(rng.uniform(1, 9) * (rise - where)))


@given(st.integers(0, 1000), doubts, st.floats(-0.5, 0.5))
def test_it_is_the_mean_over_a_normal_doubt_as_an_integral_gives_it(seed, doubt, shift):
    cost = costs(seed)

    # The sum ends in the middle of the step of 0.3 beyond its last term, at 2.4 deviations.
    z = np.linspace(-2.55, 2.55, 5001)
    for x in (-0.5, 0.0, 0.8):
        reference = trapezoid(np.interp(x + shift + doubt * z, where, cost) * norm.pdf(z), z) / trapezoid(
            norm.pdf(z), z
        )
        assert risk(np.array([x]), where, cost, doubt=doubt, shift=shift)[0] == pytest.approx(reference, abs=0.01)


@given(st.integers(0, 1000), doubts)
def test_it_lies_between_the_lowest_and_the_highest_cost(seed, doubt):
    cost = costs(seed)
    found = risk(where[40:120], where, cost, doubt=doubt)
    assert (found >= cost.min() - 1e-12).all()
    assert (found <= max(cost.max(), 1) + 1e-12).all()


@given(doubts, st.floats(-1, 1), st.floats(-3, 3))
def test_a_straight_line_stays_one_and_is_moved_by_the_shift(doubt, shift, slope):
    found = risk(np.array([-0.3, 0.0, 0.5]), where, slope * where, doubt=doubt, shift=shift, above=slope * where[-1])
    assert found == pytest.approx(slope * (np.array([-0.3, 0.0, 0.5]) + shift), abs=1e-9)


@given(st.integers(0, 1000), doubts, st.floats(-9, 9))
def test_the_unit_of_the_rate_does_not_matter(seed, doubt, unit):
    cost, at = costs(seed), np.linspace(-2, 2, 9)
    moved = risk(at + unit, where + unit, cost, doubt=doubt)
    assert moved == pytest.approx(risk(at, where, cost, doubt=doubt), abs=1e-9)


@given(st.floats(0.2, 1.0))
def test_more_doubt_stays_further_from_a_cliff(doubt):
    cliff = np.where(where < 1, 0.02 * (1 - where), 1.0)
    best = [where[np.argmin(risk(where, where, cliff, doubt=one))] for one in (doubt, 1.2 * doubt)]
    assert best[1] <= best[0] < 1


def test_beyond_the_highest_rate_the_cost_is_the_given_one_and_below_the_lowest_that_of_the_lowest():
    cost = np.full(len(where), 0.5)
    assert risk(np.array([-50.0, 50.0]), where, cost, doubt=1.0, above=0.9) == pytest.approx([0.5, 0.9])


@given(st.floats(-20, 3), st.floats(0, 9))
def test_a_grid_reaches_from_end_to_end_in_even_steps(low, width):
    made = grid(low, low + width)
    assert made[0] <= low + 1e-9
    assert made[-1] >= low + width - 1e-9
    assert np.diff(made) == pytest.approx(0.02)
