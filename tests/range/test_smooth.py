"""Smoothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr._range.smooth import calm, smooth


def wave(steps):
    x = np.linspace(-3, 3, steps)
    return x, 1 / (1 + np.exp(3 * x))


@given(st.integers(0, 1000), st.integers(60, 300), st.floats(0.01, 0.2))
def test_smoothing_brings_noisy_values_nearer_to_the_truth(seed, steps, noise):
    x, truth = wave(steps)
    noisy = truth + noise * np.random.default_rng(seed).normal(size=steps)
    assert np.mean((smooth(x, noisy) - truth) ** 2) < 0.75 * np.mean((noisy - truth) ** 2)


@given(st.integers(0, 100), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_smoothing_goes_along_with_shift_and_scale(seed, shift, scale):
    x, truth = wave(60)
    noisy = truth + 0.05 * np.random.default_rng(seed).normal(size=60)
    assert smooth(x, shift + scale * noisy) == pytest.approx(shift + scale * smooth(x, noisy), abs=1e-3 * scale)


@given(st.integers(0, 100))
def test_smoothing_has_no_lag(seed):
    x, truth = wave(200)
    noisy = truth + 0.05 * np.random.default_rng(seed).normal(size=200)
    backwards = smooth(-x[::-1], noisy[::-1])[::-1]
    assert smooth(x, noisy) == pytest.approx(backwards, abs=1e-3)


@given(st.integers(0, 100), st.integers(10, 180))
def test_a_spike_moves_the_smooth_little(seed, place):
    x, truth = wave(200)
    noisy = truth + 0.02 * np.random.default_rng(seed).normal(size=200)
    spiked = noisy.copy()
    spiked[place] += 100
    assert np.abs(smooth(x, spiked) - smooth(x, noisy)).max() < 0.15


@pytest.mark.parametrize("steps", [8, 9, 20])
def test_a_flat_curve_stays_flat(steps):
    assert smooth(np.arange(steps), np.full(steps, 2.5)) == pytest.approx(2.5)


@given(st.lists(st.floats(-1e3, 1e3), min_size=8, max_size=40))
def test_calming_never_leaves_the_range_of_the_values(values):
    calmed = calm(np.array(values))
    assert calmed.min() >= min(values) - 1e-9
    assert calmed.max() <= max(values) + 1e-9
