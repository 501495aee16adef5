"""Policies by name: equal budgets, equal peaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Bounds, policy
from cyclr._policies import POLICIES

names = st.sampled_from(sorted(POLICIES))
SOME = Bounds(0.001, 0.01)


@given(names, st.integers(20, 3000), st.none() | st.integers(1, 100))
def test_all_policies_have_the_same_length_and_the_same_peak(name, steps, steps_per_epoch):
    schedule = policy(name, SOME, steps=steps, steps_per_epoch=steps_per_epoch)
    rates = schedule(np.arange(steps))
    assert schedule.duration == steps
    assert schedule.highest == 0.01
    assert rates.max() <= 0.01 * (1 + 1e-12)
    # ExpRange has decayed before its first peak.
    assert rates.max() > (0.002 if name == "exp_range" else 0.0099)


@given(st.sampled_from(["auto", "linear", "cosine", "rex", "one_cycle", "wsd"]), st.integers(100, 3000))
def test_annealing_policies_end_at_zero(name, steps):
    schedule = policy(name, SOME, steps=steps)
    assert schedule(steps) == pytest.approx(0, abs=1e-12)
    assert schedule(steps - 1) > 0


@given(st.integers(20, 3000), st.integers(1, 100))
def test_triangular_is_a_whole_number_of_cycles(steps, steps_per_epoch):
    assert policy("triangular", SOME, steps=steps, steps_per_epoch=steps_per_epoch).cycle_ends()[-1] == steps


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (("cosin", SOME, 100), ValueError, "did you mean 'cosine'"),
        ((3, SOME, 100), TypeError, "policy"),
        (("cosine", (1, 2), 100), TypeError, "Bounds"),
        (("cosine", SOME, 0), ValueError, "steps"),
        (("cosine", SOME, 10.0), TypeError, "steps"),
    ],
)
def test_a_wrong_policy_is_refused(arguments, kind, says):
    name, bounds, steps = arguments
    with pytest.raises(kind, match=says):
        policy(name, bounds, steps=steps)
