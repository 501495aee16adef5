"""Probe cycles and what they add to the bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Curve
from cyclr._range.probe import LENGTH, MOST, SHIFT, SPREAD, TAIL, candidates, cycle, ends, further, probed

START = 50.0  #: the loss before any training
centres = st.floats(1e-5, 1)


def bowl(centre, peaks):
    """Cycles that fall from START to an end that is the lower, the nearer their peak is to the centre."""
    levels = np.minimum((np.log(peaks) - np.log(centre)) ** 2, START)
    losses = np.linspace(np.full(len(peaks), START), levels, LENGTH, axis=1)
    return np.concatenate([losses, np.tile(levels[:, None], TAIL)], axis=1)


def walked(centre, first):
    """What is tried if the cycles end as a bowl around the centre says."""
    peaks = np.array(candidates(first))
    while (peak := further(peaks, bowl(centre, peaks))) is not None:
        assert not np.isclose(np.log(peaks), np.log(peak)).any()
        peaks = np.sort([*peaks, peak])
    return peaks


@given(centres, st.floats(0.05, 20))
def test_the_peaks_go_towards_the_best_until_it_lies_between_two_of_them(centre, off):
    peaks = walked(centre, centre * off)
    assert 3 <= len(peaks) <= MOST
    assert np.diff(np.log(peaks)) == pytest.approx(np.log(SPREAD))
    best = int(np.argmin(ends(bowl(centre, peaks))))
    assert 0 < best < len(peaks) - 1 or len(peaks) == MOST
    if 0.1 < off < 10:
        assert peaks[0] < centre < peaks[-1]


def test_where_all_cycles_diverge_the_next_is_lower():
    peaks = np.array(candidates(1.0))
    assert further(peaks, np.full((3, LENGTH + TAIL), np.nan)) == pytest.approx(peaks[0] / SPREAD)


def test_a_cycle_is_judged_by_its_last_steps_and_one_that_diverged_by_none():
    probes = bowl(0.1, np.array([0.1, 1.0]))
    probes[1, 40:] = np.nan
    assert ends(probes).tolist() == [0.0, np.inf]


@given(centres)
def test_a_cycle_touches_its_peak_and_ends_at_zero(peak):
    schedule = cycle(peak)
    assert schedule.highest == peak
    assert schedule(schedule.duration) == 0
    assert schedule.duration == LENGTH


def best(ramp, peaks, probes, start=START):
    at = np.log(peaks[0]) + np.arange(-4, 9, 0.01)
    return float(np.exp(at[np.argmin(probed(at, ramp(at), start, peaks, probes))]))


def flat(at):
    return np.zeros(len(at))


@given(centres, st.floats(0.4, 2.5))
def test_alone_the_probes_speak_for_their_best_peak_less_what_short_cycles_bear_more(centre, off):
    peaks = walked(centre, centre * off)
    assert 0.4 < best(flat, peaks, bowl(centre, peaks)) / (centre * np.exp(-SHIFT)) < 1.5


@given(centres, st.floats(0.01, 100), st.floats(-100, 100))
def test_scaling_and_shifting_the_loss_changes_nothing(centre, scale, shift):
    peaks = walked(centre, centre)
    probes = bowl(centre, peaks)
    assert best(flat, peaks, scale * probes + shift, scale * START + shift) == pytest.approx(best(flat, peaks, probes))


def test_the_ramp_draws_the_answer_towards_its_own():
    peaks = np.array(candidates(0.1))
    probes = bowl(0.15, peaks)
    alone = best(flat, peaks, probes)
    for rate in (0.01, 1.0):
        drawn = best(lambda at, rate=rate: np.clip(np.abs(at - np.log(rate)) / 4, 0, 1), peaks, probes)
        assert (drawn > alone) == (rate > alone)


def test_a_cycle_that_diverged_gained_nothing():
    peaks = np.array(candidates(0.1))
    probes = bowl(0.1, peaks)
    worse = probes.copy()
    worse[-1, 30:] = np.nan
    assert best(flat, peaks, worse) < best(flat, peaks, probes)


def test_if_no_cycle_gained_anything_the_answer_lies_below_them_where_the_ramp_is_best():
    peaks = np.array(candidates(0.1))
    nothing = np.full((3, LENGTH + TAIL), np.nan)
    for rate in (0.005, 0.1):
        below = min(rate, peaks[0] * np.exp(-SHIFT))
        assert best(lambda at, rate=rate: np.abs(at - np.log(rate)) / 20, peaks, nothing) == pytest.approx(below, 0.02)


def ramped():
    rates = np.geomspace(1e-6, 10, 300)
    losses = START - 40 / (1 + 1e-3 / rates) + np.minimum((rates / 0.3) ** 3, 200)
    return Curve(rates, losses + np.random.default_rng(0).normal(size=300))


@pytest.mark.parametrize("off", [0.3, 3])
def test_probes_draw_the_upper_bound_towards_themselves(off):
    curve = ramped()
    plain = curve.bounds()
    peaks = walked(off * plain.max_lr, plain.max_lr)
    made = replace(curve, peaks=peaks, probes=bowl(off * plain.max_lr, peaks)).bounds()
    assert (made.max_lr > plain.max_lr) == (off > 1)
    assert made.base_lr <= made.max_lr / 2
    assert made.tuning_cost == plain.tuning_cost + len(peaks) * (LENGTH + TAIL)
    assert "probe" in made.evidence[1]


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
    assert curve.tuning_cost == 300 + 2 * (LENGTH + TAIL) + 41


@pytest.mark.parametrize(
    ("peaks", "probes", "says"),
    [
        ([0.1, 0.01], np.ones((2, 8)), "increasing"),
        ([0.0, 0.1], np.ones((2, 8)), "positive"),
        ([0.1], np.ones((2, 8)), "one row"),
        ([], np.ones((2, 8)), "one row"),
        ([0.1], [], "one row"),
    ],
)
def test_wrong_probes_are_refused(peaks, probes, says):
    with pytest.raises(ValueError, match=says):
        replace(ramped(), peaks=peaks, probes=probes)
