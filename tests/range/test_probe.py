"""Probe cycles and what they add to the bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Curve
from cyclr._range import candidates, cycle
from cyclr._range.probe import best


def bowl(centre, peaks, length=80):
    """Cycles that end the lower, the nearer their peak is to the centre, on a parabola."""
    ends = (np.log(peaks) - np.log(centre)) ** 2
    return np.linspace(np.full(len(peaks), 50.0), ends, length, axis=1) * (np.arange(length) < 60) + ends[:, None] * (
        np.arange(length) >= 60
    )


@given(st.floats(1e-6, 1), st.floats(0.2, 5))
def test_the_bottom_of_a_parabola_is_found_between_the_candidates(middle, off):
    peaks = np.array(candidates(middle))
    assert best(peaks, bowl(middle * off, peaks)) == pytest.approx(middle * off)


def test_a_cycle_that_diverged_is_not_the_best():
    peaks = np.array(candidates(0.1))
    probes = bowl(10.0, peaks)
    probes[-2:, 30:] = np.nan
    assert best(peaks, probes) == peaks[-3]


def test_if_all_diverged_there_is_no_best():
    assert best(np.array([0.1, 1.0]), np.full((2, 80), np.nan)) is None


@given(st.floats(1e-6, 1))
def test_a_cycle_touches_its_peak_and_ends_at_zero(peak):
    schedule = cycle(peak)
    assert schedule.highest == peak
    assert schedule(schedule.duration) == 0


def ramped():
    rates = np.geomspace(1e-6, 10, 300)
    losses = 2.3 - 1.5 / (1 + 1e-3 / rates) + np.minimum((rates / 0.3) ** 3, 9)
    return Curve(rates, losses + 0.05 * np.random.default_rng(0).normal(size=300))


def test_probes_draw_the_upper_bound_half_the_way():
    curve = ramped()
    plain = curve.bounds()
    peaks = np.array(candidates(plain.max_lr))
    for off in (0.3, 3):
        probed = replace(curve, peaks=peaks, probes=bowl(1.4 * off * plain.max_lr, peaks)).bounds()
        assert probed.max_lr == pytest.approx(plain.max_lr * off**0.5, rel=0.01)
        assert probed.steps == plain.steps + 400
        assert "probe" in probed.evidence[1]


def test_a_curve_with_probes_is_saved_and_loaded(tmp_path):
    peaks = np.array(candidates(0.1))
    probes = bowl(0.1, peaks)
    probes[-1, 40:] = np.nan
    curve = replace(ramped(), peaks=peaks, probes=probes)
    curve.save(tmp_path / "curve.json")
    back = Curve.load(tmp_path / "curve.json")
    assert np.array_equal(back.peaks, peaks)
    assert np.array_equal(back.probes, probes, equal_nan=True)
    assert back.bounds() == curve.bounds()
    assert curve.cost == 300 + 4 * 80 + 41


@pytest.mark.parametrize(
    ("peaks", "probes", "says"),
    [
        ([0.1, 0.01], np.ones((2, 8)), "increase"),
        ([0.0, 0.1], np.ones((2, 8)), "positive"),
        ([0.1], np.ones((2, 8)), "one row"),
        ([], np.ones((2, 8)), "one row"),
        ([0.1], [], "one row"),
    ],
)
def test_wrong_probes_are_refused(peaks, probes, says):
    with pytest.raises(ValueError, match=says):
        replace(ramped(), peaks=peaks, probes=probes)
