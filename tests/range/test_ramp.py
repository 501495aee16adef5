"""Ramps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Ramp


@given(st.floats(1e-8, 1e-1), st.floats(2, 1e6), st.integers(2, 2000), st.sampled_from(["log", "linear"]))
def test_a_ramp_rises_evenly_from_low_to_high(low, factor, steps, scale):
    ramp = Ramp(low, low * factor, steps=steps, scale=scale)
    rates = ramp.rates
    reference = np.geomspace if scale == "log" else np.linspace
    assert np.allclose(rates, reference(low, low * factor, steps), rtol=1e-9)
    assert rates[0] == low
    assert ramp.slower(3) == Ramp(low, low * factor, 3 * steps, scale)


def test_a_linear_ramp_may_start_at_zero():
    assert Ramp(0, 1, steps=3, scale="linear").schedule(1) == 0.5


@pytest.mark.parametrize(
    ("low", "high", "steps", "scale", "kind"),
    [
        (0, 1, 10, "log", ValueError),
        (-1, 1, 10, "linear", ValueError),
        (1, 1, 10, "log", ValueError),
        (2, 1, 10, "log", ValueError),
        (1e-3, float("inf"), 10, "log", ValueError),
        (1e-3, float("nan"), 10, "log", ValueError),
        (1e-3, 1, 1, "log", ValueError),
        (1e-3, 1, 10.0, "log", TypeError),
        (True, 1, 10, "log", TypeError),
        ("1e-3", 1, 10, "log", TypeError),
        (1e-3, 1, 10, "exp", ValueError),
    ],
)
def test_a_wrong_ramp_is_refused(low, high, steps, scale, kind):
    with pytest.raises(kind):
        Ramp(low, high, steps=steps, scale=scale)
